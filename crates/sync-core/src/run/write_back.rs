//! Writing values to the directory, only for people whose PBX part succeeded.

use super::{Run, RunError};
use crate::directory::{DirectoryWrite, WriteOutcome};
use crate::journal::ChangeRecord;
use crate::person::{Field, Note};
use crate::plan::{Change, Conflict, PersonPlan, Plan, Side};
use crate::report::{Outcome, PersonOutcome};

/// Values sent between two looks at whether the run was cancelled.
const CHUNK: usize = 500;
/// Outcome of a value that was sent and of which nothing more is known: the program ended, or the connection failed.
const SENT: &str = "sent; not known whether it arrived";

impl Run<'_, '_> {
    /// Writes what the plan sends to the directory. An error means that the connection failed; what was written before
    /// is in the outcomes.
    pub(super) fn write_back(&mut self, plan: &Plan, outcomes: &mut [PersonOutcome]) -> Result<(), RunError> {
        let (mut places, mut writes) = (Vec::new(), Vec::new());
        for (at, person) in plan.people.iter().enumerate().filter(|(at, _)| pbx_part_succeeded(&outcomes[*at])) {
            for change in person.changes.iter().filter(|change| change.side == Side::Directory) {
                places.push((at, change));
                writes.push(directory_write(person, change));
            }
        }
        let host = self.session.host;
        self.progress.enter("writing-back", writes.len() as u64, host);
        let mut done = 0;
        while done < writes.len() {
            self.stop_if_cancelled()?;
            let end = chunk_end(&places, done);
            self.write_chunk(plan, &places[done..end], &writes[done..end], outcomes, done as u64)?;
            done = end;
        }
        Ok(())
    }

    /// Writes some values, after `before` others. What they replace is in the journal before anything is sent.
    fn write_chunk(
        &mut self,
        plan: &Plan,
        places: &[(usize, &Change)],
        writes: &[DirectoryWrite],
        outcomes: &mut [PersonOutcome],
        before: u64,
    ) -> Result<(), RunError> {
        let records: Vec<ChangeRecord> =
            places.iter().map(|(at, change)| record(self.run_id, &plan.people[*at], change, &outcomes[*at])).collect();
        let ids = self.session.journal.record_changes(&records)?;
        let mut known: Vec<(i64, String)> = Vec::new();
        let (progress, host) = (&mut self.progress, self.session.host);
        let written = self.session.directory.write(writes, &mut |index, result| {
            let (at, change) = places[index];
            let noted = note_written(&plan.people[at], change, result, &mut outcomes[at]);
            known.push((ids[index], noted));
            progress.step(before + known.len() as u64, host);
        });
        self.session.journal.finish_changes(&known)?;
        Ok(written?)
    }
}

/// Where the chunk that begins at `start` ends: the values of one person are never parted.
fn chunk_end(places: &[(usize, &Change)], start: usize) -> usize {
    let mut end = places.len().min(start + CHUNK);
    while end < places.len() && places[end].0 == places[end - 1].0 {
        end += 1;
    }
    end
}

fn pbx_part_succeeded(outcome: &PersonOutcome) -> bool {
    outcome.user_id.is_some()
        && outcome.changes.iter().all(|((side, field), result)| {
            // A photo that could not be stored is no reason to keep a number from the directory.
            *side != Side::Pbx || *field == Field::Photo || *result == Outcome::Done
        })
}

fn directory_write(person: &PersonPlan, change: &Change) -> DirectoryWrite {
    let person = &person.person;
    DirectoryWrite {
        key: person.key.clone(),
        dn: person.dn.clone(),
        change_mark: person.change_mark.clone(),
        field: change.field,
        seen: person.seen.get(&change.field).cloned().unwrap_or_default(),
        replaces: person.ours.get(&change.field).cloned(),
        value: change.new.clone(),
    }
}

fn note_written(person: &PersonPlan, change: &Change, result: &WriteOutcome, outcome: &mut PersonOutcome) -> String {
    let not_done = |text: &str| Outcome::NotDone(text.to_owned());
    let noted = match result {
        WriteOutcome::Written { change_mark } => {
            outcome.change_mark = change_mark.clone();
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
    outcome.changes.insert((Side::Directory, change.field), noted);
    told
}

/// A value that did not get into the directory: shown are the two values of the change, as the directory spells them.
fn conflict(person: &PersonPlan, change: &Change, cause: &'static str, reason: &str) -> Conflict {
    Conflict {
        directory_value: change.old.clone(),
        pbx_value: change.new.clone(),
        ..person.conflict_about(Some(change.field), Side::Directory, cause, reason.to_owned())
    }
}

fn record(run_id: i64, person: &PersonPlan, change: &Change, outcome: &PersonOutcome) -> ChangeRecord {
    ChangeRecord {
        run_id,
        key: person.person.key.clone(),
        user_id: outcome.user_id,
        person: person.name(),
        field: change.field.name().to_owned(),
        side: Side::Directory.name().to_owned(),
        old: change.old.clone(),
        new: change.new.clone(),
        why: change.why.text().to_owned(),
        outcome: SENT.to_owned(),
        replaced_json: "[]".to_owned(),
    }
}
