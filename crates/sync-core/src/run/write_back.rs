//! Writing values to the directory, only for people whose PBX part succeeded.

use super::{Run, RunError};
use crate::directory::{DirectoryWrite, WriteOutcome};
use crate::journal::{ChangeRecord, SettleBatch};
use crate::person::Note;
use crate::plan::{Change, Conflict, PersonPlan, Plan, Side};
use crate::report::{Outcome, PersonOutcome};

impl Run<'_, '_> {
    /// Writes what the plan sends to the directory. An error means that the connection failed; what was written before
    /// is in the outcomes.
    pub(super) fn write_back(&mut self, plan: &Plan, outcomes: &mut [PersonOutcome]) -> Result<(), RunError> {
        let mut places = Vec::new();
        let mut writes = Vec::new();
        for (at, person) in plan.people.iter().enumerate().filter(|(at, _)| pbx_part_succeeded(&outcomes[*at])) {
            for change in person.changes.iter().filter(|change| change.side == Side::Directory) {
                places.push((at, change));
                writes.push(directory_write(person, change));
            }
        }
        if writes.is_empty() {
            return Ok(());
        }
        self.stop_if_cancelled()?;
        let host = self.session.host;
        self.progress.enter("writing-back", writes.len() as u64, host);
        let (progress, mut done) = (&mut self.progress, 0);
        let mut records = Vec::new();
        let written = self.session.directory.write(&writes, &mut |index, result| {
            let (at, change) = places[index];
            note_written(&plan.people[at], change, result, &mut outcomes[at]);
            if matches!(result, WriteOutcome::Written { .. }) {
                records.push(record(self.run_id, &plan.people[at], change, &outcomes[at]));
            }
            done += 1;
            progress.step(done, host);
        });
        self.session.journal.settle(&SettleBatch { changes: records, ..SettleBatch::default() })?;
        Ok(written?)
    }
}

fn pbx_part_succeeded(outcome: &PersonOutcome) -> bool {
    outcome.user_id.is_some()
        && outcome.changes.iter().all(|((side, _), result)| *side != Side::Pbx || *result == Outcome::Done)
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

fn note_written(person: &PersonPlan, change: &Change, result: &WriteOutcome, outcome: &mut PersonOutcome) {
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
    outcome.changes.insert((Side::Directory, change.field), noted);
}

fn conflict(person: &PersonPlan, change: &Change, cause: &'static str, reason: &str) -> Conflict {
    Conflict {
        key: person.person.key.clone(),
        user_id: person.user_id,
        person: person.name(),
        field: Some(change.field),
        side: Side::Directory,
        cause,
        reason: reason.to_owned(),
        directory_value: change.old.clone(),
        pbx_value: change.new.clone(),
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
        outcome: "done".to_owned(),
        replaced_json: "[]".to_owned(),
    }
}
