//! Writing to the PBX: intents first, then a short transaction, then what is known to have happened.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::tasks::{PersonTask, batches, fields, tasks_of, without};
use super::{Run, RunError, bases, deliver};
use crate::journal::{self, ChangeRecord, Intent, SettleBatch};
use crate::link::Link;
use crate::pbx::{Applied, Task, TaskOutcome};
use crate::person::{Field, Values};
use crate::plan::{Action, PersonPlan, Plan, Side};
use crate::report::{Outcome, PersonOutcome};

/// Batches of new people whose intents are recorded in one transaction, together with what the batches before them did.
/// What a new employee's intent came to is certain after a crash, whatever happened to the batches around it.
const INTENDED_AT_ONCE: usize = 5;

/// How long what was done may wait to be announced while a run goes on, in milliseconds: well below the time within which
/// the PBX's report of a change of ours is known as such ([`crate::recency`]).
const UNTOLD: i64 = 30_000;

/// How often the number of people dealt with is noted, in milliseconds.
const PROGRESS_NOTED: i64 = 1_000;

/// The word for an account as a whole in the record of a run.
const ACCOUNT: &str = "account";

/// What an intent keeps besides its task: what to store once the task is known to be done.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct AfterTask {
    /// The link; its `user_id` is 0 for an employee who is still to be made.
    pub(super) link: Link,
    /// Field (none: the account as a whole), value before, value after, reason: for the record of the run.
    pub(super) changes: Vec<(Option<Field>, String, String, String)>,
    /// The person's name.
    pub(super) person: String,
    /// Fingerprint of the settings the run began with.
    pub(super) fingerprint: String,
    /// The directory's side of the base before, and the PBX's.
    pub(super) base: (Values, Values),
    /// The fields that had a base.
    #[serde(default)]
    pub(super) based: BTreeSet<Field>,
    /// The link that goes: another entry's whose place is taken, or that of an employee who is deleted.
    #[serde(default)]
    pub(super) unlinks: Option<i64>,
}

impl AfterTask {
    /// Leaves the base of a field where it was: the PBX does not hold what the task was to write.
    pub(super) fn keep_base(&mut self, field: Field) {
        self.link.directory[field] = self.base.0[field].clone();
        self.link.pbx[field] = self.base.1[field].clone();
        if !self.based.contains(&field) {
            self.link.based.remove(&field);
        }
        if field == Field::Photo {
            // The next run asks for it again.
            self.link.change_mark.clear();
        }
    }

    /// What becomes of the links once the task is done.
    pub(super) fn settle_link(self, batch: &mut SettleBatch) {
        let deleted = self.unlinks == Some(self.link.id) && self.link.id != 0;
        batch.unlinked.extend(self.unlinks);
        if !deleted {
            batch.links.push(self.link);
        }
    }

    /// The records of the run once the task is done.
    pub(super) fn records(&self, run_id: i64, applied: &Applied) -> Vec<ChangeRecord> {
        let mut replaced = serde_json::to_string(&applied.replaced).unwrap_or_default();
        self.changes
            .iter()
            .filter(|(field, ..)| field.is_none_or(|field| applied.holds(field)))
            .map(|(field, old, new, why)| ChangeRecord {
                run_id,
                key: self.link.key.clone(),
                user_id: Some(applied.user_id),
                person: self.person.clone(),
                field: field.map_or(ACCOUNT, Field::name).to_owned(),
                side: Side::Pbx.name().to_owned(),
                old: old.clone(),
                new: new.clone(),
                why: why.clone(),
                outcome: "done".to_owned(),
                // The rows belong to the person as a whole; they are kept once.
                replaced_json: std::mem::replace(&mut replaced, "[]".to_owned()),
            })
            .collect()
    }
}

/// One batch with everything that was chosen and recorded for it.
struct Intended {
    tasks: Vec<PersonTask>,
    after: Vec<AfterTask>,
    intents: Vec<i64>,
}

/// How far the batches are, and when that was noted and told last, Unix time in milliseconds.
struct Pace {
    total: usize,
    done: usize,
    noted: i64,
    told: i64,
}

impl Run<'_, '_> {
    /// Carries out the PBX's side of the plan, batch by batch. What some batches did is settled together with the intents of
    /// the next ones, in any case before this ends.
    pub(super) fn apply(&mut self, plan: &Plan, outcomes: &mut [PersonOutcome]) -> Result<(), RunError> {
        let mut settled = SettleBatch::default();
        let ended = self.apply_batches(plan, outcomes, &mut settled);
        if settled != SettleBatch::default() {
            self.session.journal.settle(&settled)?;
        }
        ended
    }

    fn apply_batches(
        &mut self,
        plan: &Plan,
        outcomes: &mut [PersonOutcome],
        settled: &mut SettleBatch,
    ) -> Result<(), RunError> {
        let batches = batches(plan);
        let total = batches.iter().map(Vec::len).sum();
        let host = self.session.host;
        self.progress.enter("applying", total as u64, host);
        let mut pace = Pace { total, done: 0, noted: host.now(), told: host.now() };
        let are_new = |batch: &Vec<usize>| batch.iter().all(|at| plan.people[*at].action == Action::Create);
        let alike = batches.chunk_by(|one, next| are_new(one) && are_new(next));
        for some in alike.flat_map(|batches| batches.chunks(INTENDED_AT_ONCE)) {
            self.stop_if_cancelled()?;
            let mut intended = self.intend(plan, some, settled)?.into_iter();
            while let Some(batch) = intended.next() {
                let people = batch.tasks.len();
                let ended = self.apply_batch(plan, batch, outcomes, settled);
                let ended = ended.and_then(|()| self.keep_pace(&mut pace, people, settled));
                let ended = ended.and_then(|()| if intended.len() > 0 { self.stop_if_cancelled() } else { Ok(()) });
                if ended.is_err() {
                    // What was not begun has not happened.
                    settled.intents_done.extend(intended.flat_map(|batch| batch.intents));
                    return ended;
                }
            }
        }
        Ok(())
    }

    /// After a batch: the progress is shown and from time to time noted, and what has waited long is announced.
    fn keep_pace(&mut self, pace: &mut Pace, people: usize, settled: &mut SettleBatch) -> Result<(), RunError> {
        let host = self.session.host;
        let now = host.now();
        pace.done += people;
        self.progress.step(pace.done as u64, host);
        let progress =
            Some(journal::Progress { run_id: self.run_id, done: pace.done as i64, total: pace.total as i64 });
        settled.progress = progress;
        if now - pace.told >= UNTOLD {
            self.session.journal.settle(&std::mem::take(settled))?;
            deliver(self.session.journal, host)?;
            (pace.told, pace.noted) = (now, now);
        } else if now - pace.noted >= PROGRESS_NOTED {
            self.session.journal.settle(&SettleBatch { progress, ..SettleBatch::default() })?;
            pace.noted = now;
        }
        Ok(())
    }

    /// Chooses everything random for some batches and records their intents, in one transaction with what was done before.
    fn intend(
        &mut self,
        plan: &Plan,
        batches: &[Vec<usize>],
        settled: &mut SettleBatch,
    ) -> Result<Vec<Intended>, RunError> {
        let forward = self.job.policy.forward_to_mobile;
        let (vault, random) = (&self.session.vault, &mut *self.session.random);
        let tasks: Vec<_> = batches.iter().map(|batch| tasks_of(plan, batch, forward, vault, random)).collect();
        self.record(plan, tasks, settled)
    }

    fn record(
        &mut self,
        plan: &Plan,
        batches: Vec<Vec<PersonTask>>,
        settled: &mut SettleBatch,
    ) -> Result<Vec<Intended>, RunError> {
        let terms = self.terms(plan, self.session.host.now());
        let with_after = |tasks: Vec<PersonTask>| {
            let after = tasks.iter().map(|one| self.after_task(&plan.people[one.at], &one.task, terms)).collect();
            Intended { tasks, after, intents: Vec::new() }
        };
        let mut intended: Vec<Intended> = batches.into_iter().map(with_after).collect();
        let intents: Vec<Intent> = intended.iter().flat_map(|batch| self.intents(batch)).collect();
        let mut ids = self.session.journal.settle_and_intend(settled, &intents)?.into_iter();
        *settled = SettleBatch::default();
        for batch in &mut intended {
            batch.intents = ids.by_ref().take(batch.tasks.len()).collect();
        }
        Ok(intended)
    }

    /// Applies one batch and leaves in `settled` what follows from it. Whoever was refused one field is tried once more,
    /// without it, before the next batch.
    fn apply_batch(
        &mut self,
        plan: &Plan,
        batch: Intended,
        outcomes: &mut [PersonOutcome],
        settled: &mut SettleBatch,
    ) -> Result<(), RunError> {
        let again = self.apply_tasks(plan, batch, outcomes, settled)?;
        if again.is_empty() {
            return Ok(());
        }
        for batch in self.record(plan, vec![again], settled)? {
            self.apply_tasks(plan, batch, outcomes, settled)?;
        }
        Ok(())
    }

    /// Answers the tasks to try again without the one field that was refused.
    fn apply_tasks(
        &mut self,
        plan: &Plan,
        batch: Intended,
        outcomes: &mut [PersonOutcome],
        settled: &mut SettleBatch,
    ) -> Result<Vec<PersonTask>, RunError> {
        let Intended { tasks: batch, after, intents } = batch;
        let tasks: Vec<Task> = batch.iter().map(|one| one.task.clone()).collect();
        let now = self.session.host.now();
        let results = self.session.pbx.apply(&tasks, self.session.host)?;
        let mut again = Vec::new();
        settled.intents_done.extend(intents);
        settled.fingerprint = Some(self.job.policy.fingerprint.clone());
        for ((one, mut after), result) in batch.iter().zip(after).zip(results) {
            let (person, outcome) = (&plan.people[one.at], &mut outcomes[one.at]);
            match result {
                TaskOutcome::Applied(applied) => {
                    note_applied(&fields(&one.task), outcome, &applied);
                    if let Task::Create(task) = &one.task {
                        outcome.sip_uniqid = task.sip_uniqid.clone();
                    }
                    settled.events.extend(event_texts(&applied));
                    settled.changes.extend(after.records(self.run_id, &applied));
                    if let Some(link) = bases::link_after(person, outcome, self.terms(plan, now)) {
                        after.link = link;
                        after.settle_link(settled);
                        outcome.stored = true;
                    }
                }
                TaskOutcome::Refused { field, reason } => {
                    let rest = field.and_then(|field| without(&one.task, field));
                    let refused = if rest.is_some() { field.into_iter().collect() } else { fields(&one.task) };
                    note_refused(person, outcome, field, &refused, &reason);
                    again.extend(rest.map(|task| PersonTask { at: one.at, task }));
                }
            }
        }
        Ok(again)
    }

    fn terms(&self, plan: &Plan, now: i64) -> bases::Terms<'_> {
        bases::Terms { policy: self.job.policy, phones: plan.phones, now }
    }

    /// What is to be stored if the whole task turns out to be done.
    fn after_task(&self, person: &PersonPlan, task: &Task, terms: bases::Terms<'_>) -> AfterTask {
        let mut hoped = PersonOutcome { user_id: Some(person.user_id.unwrap_or_default()), ..PersonOutcome::default() };
        let written = fields(task);
        let pbx_changes =
            person.changes.iter().filter(|change| change.side == Side::Pbx && written.contains(&change.field));
        for change in pbx_changes.clone() {
            hoped.changes.set(Side::Pbx, change.field, Outcome::Done);
        }
        let mut link =
            bases::link_after(person, &hoped, terms).or_else(|| person.link.as_deref().cloned()).unwrap_or_default();
        if let Task::Create(create) = task {
            link.sip_uniqid = create.sip_uniqid.clone();
            link.created_by_sync = true;
        }
        let changes = pbx_changes
            .map(|change| (Some(change.field), change.old.clone(), change.new.clone(), change.why.text().to_owned()))
            .collect();
        let before = person.link.as_ref();
        AfterTask {
            link,
            changes,
            person: person.name(),
            fingerprint: self.job.policy.fingerprint.clone(),
            base: before.map(|link| (link.directory.clone(), link.pbx.clone())).unwrap_or_default(),
            based: before.map(|link| link.based.clone()).unwrap_or_default(),
            unlinks: person.instead_of.as_ref().map(|link| link.id),
        }
    }

    fn intents(&self, batch: &Intended) -> Vec<Intent> {
        batch
            .tasks
            .iter()
            .zip(&batch.after)
            .map(|(one, after)| Intent {
                id: 0,
                run_id: self.run_id,
                server_id: self.job.policy.server_id,
                key: after.link.key.clone(),
                task_json: serde_json::to_string(&one.task).unwrap_or_default(),
                link_json: serde_json::to_string(after).unwrap_or_default(),
                kind: if matches!(one.task, Task::Create(_)) { "create" } else { "update" }.to_owned(),
            })
            .collect()
    }
}

/// The events of a task as the outbox keeps them.
pub(super) fn event_texts(applied: &Applied) -> impl Iterator<Item = String> + '_ {
    applied.events.iter().filter_map(|event| serde_json::to_string(event).ok())
}

fn note_applied(fields: &[Field], outcome: &mut PersonOutcome, applied: &Applied) {
    outcome.user_id = Some(applied.user_id);
    for &field in fields {
        let skipped = applied.notes.iter().find(|note| note.field == Some(field));
        let result = skipped.map_or(Outcome::Done, |note| Outcome::NotDone(note.text.clone()));
        outcome.changes.set(Side::Pbx, field, result);
    }
    outcome.notes.extend(applied.notes.iter().cloned());
}

fn note_refused(
    person: &PersonPlan,
    outcome: &mut PersonOutcome,
    field: Option<Field>,
    refused: &[Field],
    reason: &str,
) {
    for &field in refused {
        outcome.changes.set(Side::Pbx, field, Outcome::NotDone(reason.to_owned()));
    }
    outcome.conflicts.push(person.conflict_about(field, Side::Pbx, "pbx-refused", reason.to_owned()));
}
