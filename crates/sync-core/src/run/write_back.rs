//! Writing values to the directory, only for people whose PBX part succeeded.

use secrecy::ExposeSecret;

use super::{Run, RunError};
use crate::directory::{DirectoryWrite, NewValue, RawValue, WriteOutcome};
use crate::journal::ChangeRecord;
use crate::person::{Field, Note, SmolStr};
use crate::picture;
use crate::plan::{Change, Conflict, PersonPlan, Plan, Side};
use crate::report::{Outcome, PersonOutcome};

/// Values sent between two looks at whether the run was cancelled.
const CHUNK: usize = 2_000;
/// A photo counts as so many values, because of its size.
const PHOTO_WEIGHT: usize = 40;
/// Outcome of a value that was sent and of which nothing more is known: the program ended, or the connection failed.
const SENT: &str = "sent; not known whether it arrived";

impl Run<'_, '_> {
    /// Writes what the plan sends to the directory. An error means that the connection failed; what was written before
    /// is in the outcomes.
    pub(super) fn write_back(&mut self, plan: &Plan, outcomes: &mut [PersonOutcome]) -> Result<(), RunError> {
        let mut places = Vec::new();
        for (at, person) in plan.people.iter().enumerate().filter(|(at, _)| pbx_part_succeeded(&outcomes[*at])) {
            let changes = person.changes.iter().filter(|change| change.side == Side::Directory);
            places.extend(changes.map(|change| (at, change)));
        }
        let host = self.session.host;
        self.progress.enter("writing-back", places.len() as u64, host);
        let mut finished = Vec::new();
        let ended = self.write_places(plan, &places, outcomes, &mut finished);
        if !finished.is_empty() {
            self.session.journal.record_changes(&finished, &[])?;
        }
        ended
    }

    fn write_places(
        &mut self,
        plan: &Plan,
        places: &[(usize, &Change)],
        outcomes: &mut [PersonOutcome],
        finished: &mut Vec<(i64, String)>,
    ) -> Result<(), RunError> {
        let mut done = 0;
        while done < places.len() {
            self.stop_if_cancelled()?;
            let end = chunk_end(places, done);
            self.write_chunk(plan, &places[done..end], outcomes, done as u64, finished)?;
            done = end;
        }
        Ok(())
    }

    /// Writes some values, after `before` others. What they replace is in the journal before anything is sent, and what
    /// became of the values of the last chunk is noted with it.
    fn write_chunk(
        &mut self,
        plan: &Plan,
        places: &[(usize, &Change)],
        outcomes: &mut [PersonOutcome],
        before: u64,
        finished: &mut Vec<(i64, String)>,
    ) -> Result<(), RunError> {
        let mut sent = Vec::new();
        let mut writes = Vec::new();
        for &(at, change) in places {
            match self.directory_write(&plan.people[at], change, &mut outcomes[at]) {
                Ok(write) => {
                    sent.push((at, change));
                    writes.push(write);
                }
                Err(reason) => note_unfit(change, reason, &mut outcomes[at]),
            }
        }
        let records: Vec<ChangeRecord> =
            sent.iter().map(|(at, change)| record(self.run_id, &plan.people[*at], change, &outcomes[*at])).collect();
        let ids = self.session.journal.record_changes(finished, &records)?;
        finished.clear();
        let (progress, host) = (&mut self.progress, self.session.host);
        let replaced_photos = self.session.journal.paths().replaced_photos();
        let written = self.session.directory.write(&writes, &replaced_photos, &mut |index, result| {
            let (at, change) = sent[index];
            let noted = note_written(&plan.people[at], change, result, &mut outcomes[at]);
            finished.push((ids[index], noted));
            progress.step(before + finished.len() as u64, host);
        });
        Ok(written?)
    }

    /// The write of one change; a sentence says why there can be none.
    fn directory_write(
        &self,
        person: &PersonPlan,
        change: &Change,
        outcome: &mut PersonOutcome,
    ) -> Result<DirectoryWrite, String> {
        let (entry, field) = (&person.person.entry, change.field);
        let value = if field == Field::Photo {
            let image = self.photo(person, change, outcome)?;
            NewValue::Photo { replaces: change.old.to_string(), image: RawValue(image) }
        } else {
            NewValue::Text {
                seen: self.raw_all(field, entry.attributes.of(field))?,
                replaces: self.raw_all(field, person.person.ours(field))?.pop(),
                value: self.raw(field, &change.new)?,
            }
        };
        let (key, dn, change_mark) = (entry.key.clone(), entry.dn.clone(), entry.change_mark.clone());
        Ok(DirectoryWrite { key, dn, change_mark, field, value })
    }

    fn raw_all<'v>(
        &self,
        field: Field,
        values: impl IntoIterator<Item = &'v SmolStr>,
    ) -> Result<Vec<RawValue>, String> {
        values.into_iter().map(|value| self.raw(field, value)).collect()
    }

    /// A value as the directory holds it: of a SIP secret the secret itself.
    fn raw(&self, field: Field, value: &str) -> Result<RawValue, String> {
        if field != Field::Secret || value.is_empty() {
            return Ok(RawValue::text(value));
        }
        let secret = self.session.vault.open(value).ok_or("the SIP secret is not known any more")?;
        Ok(RawValue::text(secret.expose_secret()))
    }

    /// The image for the directory; empty when the photo was removed on the PBX.
    fn photo(&self, person: &PersonPlan, change: &Change, outcome: &mut PersonOutcome) -> Result<Vec<u8>, String> {
        if change.new.is_empty() {
            return Ok(Vec::new());
        }
        let bytes = self.session.pbx.photo(outcome.user_id.unwrap_or_default(), &change.new)?;
        let attribute = self.job.policy.attributes.get(&Field::Photo).map_or("", String::as_str);
        let image = picture::for_directory(&bytes, picture::most_bytes(attribute))
            .map_err(|reason| format!("{reason}; the photo of {} stays on the PBX alone", person.name()))?;
        outcome.in_directory.get_or_insert_default().photo = picture::md5(&image).into();
        Ok(image)
    }
}

/// A value that could not even be sent.
fn note_unfit(change: &Change, reason: String, outcome: &mut PersonOutcome) {
    outcome.notes.push(Note::about(change.field, reason.clone()));
    outcome.changes.set(Side::Directory, change.field, Outcome::NotDone(reason));
}

/// Where the chunk that begins at `start` ends: the values of one person are never parted.
fn chunk_end(places: &[(usize, &Change)], start: usize) -> usize {
    let mut weight = 0;
    let mut end = start;
    while end < places.len() && (weight < CHUNK || places[end].0 == places[end - 1].0) {
        weight += if places[end].1.field == Field::Photo { PHOTO_WEIGHT } else { 1 };
        end += 1;
    }
    end
}

fn pbx_part_succeeded(outcome: &PersonOutcome) -> bool {
    outcome.user_id.is_some()
        && outcome.changes.not_done().keys().all(|(side, field)| {
            // A photo that could not be stored is no reason to keep a number from the directory.
            *side != Side::Pbx || *field == Field::Photo
        })
}

fn note_written(person: &PersonPlan, change: &Change, result: &WriteOutcome, outcome: &mut PersonOutcome) -> String {
    let not_done = |text: &str| Outcome::NotDone(text.to_owned());
    let noted = match result {
        WriteOutcome::Written { change_mark } => {
            outcome.in_directory.get_or_insert_default().change_mark.clone_from(change_mark);
            Outcome::Done
        }
        WriteOutcome::ChangedMeanwhile => {
            let text = "somebody changed the entry in the directory meanwhile; the next run looks at it again";
            outcome.notes.push(Note::about(change.field, text));
            not_done(text)
        }
        WriteOutcome::NoRights(reason) => {
            outcome.conflicts.push(conflict(person, change, "no-rights", reason));
            not_done(reason)
        }
        WriteOutcome::Refused(reason) => {
            outcome.conflicts.push(conflict(person, change, "directory-refused", reason));
            not_done(reason)
        }
    };
    let told = match &noted {
        Outcome::Done => "done".to_owned(),
        Outcome::NotDone(why) => why.clone(),
    };
    outcome.changes.set(Side::Directory, change.field, noted);
    told
}

/// A value that did not get into the directory: shown are the two values of the change, as the directory spells them.
fn conflict(person: &PersonPlan, change: &Change, cause: &'static str, reason: &str) -> Conflict {
    Conflict {
        directory_value: change.old.to_string(),
        pbx_value: change.new.to_string(),
        ..person.conflict_about(Some(change.field), Side::Directory, cause, reason.to_owned())
    }
}

fn record(run_id: i64, person: &PersonPlan, change: &Change, outcome: &PersonOutcome) -> ChangeRecord {
    ChangeRecord {
        run_id,
        key: person.person.entry.key.clone(),
        user_id: outcome.user_id,
        person: person.name(),
        field: change.field.name().to_owned(),
        side: Side::Directory.name().to_owned(),
        old: change.old.to_string(),
        new: change.new.to_string(),
        why: change.why.text().to_owned(),
        outcome: SENT.to_owned(),
        replaced_json: "[]".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Why;

    #[track_caller]
    fn check(values: &[(usize, Field)], expected: usize) {
        let change =
            |field| Change { side: Side::Directory, field, old: "".into(), new: "".into(), why: Why::FillsEmpty };
        let changes: Vec<(usize, Change)> = values.iter().map(|(at, field)| (*at, change(*field))).collect();
        let places: Vec<(usize, &Change)> = changes.iter().map(|(at, change)| (*at, change)).collect();
        assert_eq!(chunk_end(&places, 0), expected);
    }

    #[test]
    fn a_lot_is_bounded_by_the_size_of_its_photos() {
        let numbers: Vec<_> = (0..3_000).map(|at| (at, Field::Number)).collect();
        check(&numbers, 2_000);
        let photos: Vec<_> = (0..3_000).map(|at| (at, Field::Photo)).collect();
        check(&photos, 50);
        check(&photos[..7], 7);
    }
}
