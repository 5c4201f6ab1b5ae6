//! Writing values to the directory, only for people whose PBX part succeeded.

use std::panic::resume_unwind;
use std::thread;

use log::warn;
use secrecy::ExposeSecret;

use super::bases;
use super::{Run, RunError};
use crate::directory::{DirectoryWrite, NewValue, RawValue, WriteOutcome};
use crate::journal::{ChangeRecord, Journal, JournalError, StoredOtherwise, Written};
use crate::person::{Field, Note, SmolStr};
use crate::picture;
use crate::plan::{Change, Conflict, PersonPlan, Plan, Side};
use crate::report::{Outcome, PersonOutcome};

/// Values sent between two looks at whether the run was cancelled.
const LOT: usize = 1_000;
/// A photo counts as so many values, because of its size.
const PHOTO_WEIGHT: usize = 40;
/// Outcome of a value of which nothing more is known: the program ended, or the connection failed.
const SENT: &str = "perhaps sent; not known whether it arrived";

/// Ids of values that were stored, and servers whose links were not stored as they were given.
type Stored = Result<(Vec<i64>, Vec<StoredOtherwise>), JournalError>;

/// Values that are sent together.
struct Lot<'p> {
    /// How many values come before these.
    before: u64,
    /// The people, by their places in the plan, with their values.
    sent: Vec<(usize, &'p Change)>,
    writes: Vec<DirectoryWrite>,
    /// What the history is told before anything is sent.
    records: Vec<ChangeRecord>,
    /// Ids of the records, once they are stored.
    ids: Vec<i64>,
}

/// What is known of values that were sent, and not stored yet.
#[derive(Default)]
struct Unstored {
    written: Written,
    /// The people whose links are among it.
    people: Vec<usize>,
}

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
        let mut unstored = Unstored::default();
        let ended = self.write_lots(plan, &places, outcomes, &mut unstored);
        // Links that are left are stored with everybody else's.
        let left = Written { links: Vec::new(), ..unstored.written };
        if !left.outcomes.is_empty() {
            self.session.journal.record_changes(&left, &[])?;
        }
        ended
    }

    /// Sends one lot after the other. What they replace is in the history before: that of the next lot, and what became of
    /// the last one, is stored while a lot is on its way.
    fn write_lots(
        &mut self,
        plan: &Plan,
        places: &[(usize, &Change)],
        outcomes: &mut [PersonOutcome],
        unstored: &mut Unstored,
    ) -> Result<(), RunError> {
        let mut begun = 0;
        let Some(mut lot) = self.next_lot(plan, places, &mut begun, outcomes) else { return Ok(()) };
        let mut beside = if begun == places.len() { None } else { Some(self.session.journal.beside()?) };
        (lot.ids, _) = self.session.journal.record_changes(&Written::default(), &lot.records)?;
        loop {
            if let Err(stopped) = self.stop_if_cancelled() {
                self.forget(&lot);
                return Err(stopped);
            }
            let next = self.next_lot(plan, places, &mut begun, outcomes);
            let (Some(mut next), Some(beside)) = (next, &mut beside) else {
                return self.send(plan, &lot, outcomes, unstored);
            };
            let order = std::mem::take(unstored);
            let (sent, stored) = self.send_and_store(plan, &lot, outcomes, unstored, (&order, &next.records, beside));
            match stored {
                Ok((ids, otherwise)) => {
                    otherwise.into_iter().for_each(StoredOtherwise::log);
                    order.people.iter().for_each(|at| outcomes[*at].settled = true);
                    next.ids = ids;
                }
                Err(error) => {
                    unstored.written.outcomes.extend(order.written.outcomes);
                    if sent.is_err() {
                        warn!("what was written before could not be stored: {error}");
                    }
                    return sent.and(Err(error.into()));
                }
            }
            if let Err(failed) = sent {
                self.forget(&next);
                return Err(failed);
            }
            // What is known when the last lot is sent is stored with everything else.
            if begun < places.len() {
                self.link_lot(plan, &lot, outcomes, unstored);
            }
            lot = next;
        }
    }

    /// Takes a lot that is never sent out of the history.
    fn forget(&mut self, lot: &Lot<'_>) {
        if let Err(error) = self.session.journal.forget_changes(&lot.ids) {
            warn!("run {}: the history holds values that were not sent: {error}", self.run_id);
        }
    }

    /// Sends a lot while what there is to store is stored, over a connection of its own; after it where no thread can be had.
    fn send_and_store(
        &mut self,
        plan: &Plan,
        lot: &Lot<'_>,
        outcomes: &mut [PersonOutcome],
        unstored: &mut Unstored,
        (order, records, beside): (&Unstored, &[ChangeRecord], &mut Journal),
    ) -> (Result<(), RunError>, Stored) {
        let store = |journal: &mut Journal| journal.record_changes(&order.written, records);
        let together = thread::scope(|scope| {
            let thread = thread::Builder::new().spawn_scoped(scope, || store(beside));
            let sent = self.send(plan, lot, outcomes, unstored);
            let thread = thread.map_err(|error| warn!("no thread can be had to store what was written: {error}"));
            (sent, thread.ok().map(|thread| thread.join().unwrap_or_else(|panicked| resume_unwind(panicked))))
        });
        match together {
            (sent, Some(stored)) => (sent, stored),
            (sent, None) => (sent, store(self.session.journal)),
        }
    }

    /// The next values to be sent together, after the `begun` first ones; `None` when there are no more.
    fn next_lot<'p>(
        &mut self,
        plan: &Plan,
        places: &[(usize, &'p Change)],
        begun: &mut usize,
        outcomes: &mut [PersonOutcome],
    ) -> Option<Lot<'p>> {
        let rest = &places[*begun..];
        let size = lot_end(rest);
        let (sent, writes, records, ids) = Default::default();
        let mut lot = Lot { before: *begun as u64, sent, writes, records, ids };
        *begun += size;
        for &(at, change) in &rest[..size] {
            match self.directory_write(&plan.people[at], change, &mut outcomes[at]) {
                Ok(write) => {
                    lot.records.push(record(self.run_id, &plan.people[at], change, &outcomes[at]));
                    lot.sent.push((at, change));
                    lot.writes.push(write);
                }
                Err(reason) => note_unfit(change, reason, &mut outcomes[at]),
            }
        }
        (size > 0).then_some(lot)
    }

    /// Sends a lot whose history is stored.
    fn send(
        &mut self,
        plan: &Plan,
        lot: &Lot<'_>,
        outcomes: &mut [PersonOutcome],
        unstored: &mut Unstored,
    ) -> Result<(), RunError> {
        let (progress, host) = (&mut self.progress, self.session.host);
        let replaced_photos = self.session.journal.paths().replaced_photos();
        let mut done = lot.before;
        self.session.directory.write(&lot.writes, &replaced_photos, &mut |index, result| {
            let (at, change) = lot.sent[index];
            let noted = note_written(&plan.people[at], change, result, &mut outcomes[at]);
            unstored.written.outcomes.push((lot.ids[index], noted));
            done += 1;
            progress.step(done, host);
        })?;
        Ok(())
    }

    /// Adds the links of a lot that was sent to what is to be stored.
    fn link_lot(&self, plan: &Plan, lot: &Lot<'_>, outcomes: &[PersonOutcome], unstored: &mut Unstored) {
        let terms = self.terms(plan, self.session.host.now());
        let switched = bases::switched(plan);
        // The link somebody else's takes the place of is removed at the end of the run, and theirs stored after it.
        let is_alone =
            |person: &PersonPlan| person.instead_of.is_none() && !switched.contains(&person.person.entry.key);
        let mut people: Vec<usize> = lot.sent.iter().map(|(at, _)| *at).collect();
        people.dedup();
        people.retain(|at| is_alone(&plan.people[*at]));
        let links = people.iter().filter_map(|at| bases::changed_link(&plan.people[*at], &outcomes[*at], terms));
        unstored.written.links.extend(links);
        unstored.written.fingerprint = Some(self.job.policy.fingerprint.clone());
        unstored.people.extend(people);
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

/// Where the first lot of `places` ends: the values of one person are never parted.
fn lot_end(places: &[(usize, &Change)]) -> usize {
    let mut weight = 0;
    let mut end = 0;
    while end < places.len() && (weight < LOT || places[end].0 == places[end - 1].0) {
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
        assert_eq!(lot_end(&places), expected);
    }

    #[test]
    fn a_lot_is_bounded_by_the_size_of_its_photos() {
        let numbers: Vec<_> = (0..3_000).map(|at| (at, Field::Number)).collect();
        check(&numbers, 1_000);
        let photos: Vec<_> = (0..3_000).map(|at| (at, Field::Photo)).collect();
        check(&photos, 25);
        check(&photos[..7], 7);
    }
}
