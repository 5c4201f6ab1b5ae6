//! Writing to the PBX: intents first, then a short transaction, then what is known to have happened.

use std::sync::Arc;

use super::intended::{AfterTask, Done, Intended};
use super::recorder::{Of, Order, Recorder};
use super::tasks::{PersonTask, batches, fields, tasks_of, without};
use super::{Run, RunError, bases, deliver};
use crate::journal::{Progress, SettleBatch};
use crate::pbx::{Applied, Task, TaskOutcome};
use crate::person::Field;
use crate::plan::{Action, PersonPlan, Plan, Side};
use crate::report::{Outcome, PersonOutcome};

/// Batches of new people whose intents are recorded in one transaction, together with what the batches before them did.
/// What a new employee's intent came to is certain after a crash, whatever happened to the batches around it.
const INTENDED_AT_ONCE: usize = 3;

/// How long what was done may wait to be announced while a run goes on, in milliseconds: well below the time within which
/// the PBX's report of a change of ours is known as such ([`crate::recency`]).
const UNTOLD: i64 = 30_000;

/// Batches whose intents are recorded in one transaction: some of new people, or one of others.
struct Group<'b> {
    batches: &'b [Vec<usize>],
    /// Whether it is about new people.
    new: bool,
}

fn groups<'b>(plan: &Plan, batches: &'b [Vec<usize>]) -> Vec<Group<'b>> {
    let are_new = |batch: &Vec<usize>| batch.iter().all(|at| plan.people[*at].action == Action::Create);
    let alike = batches.chunk_by(|one, next| are_new(one) && are_new(next));
    let groups = alike.flat_map(|batches| batches.chunks(INTENDED_AT_ONCE));
    groups.map(|batches| Group { batches, new: batches.iter().all(are_new) }).collect()
}

/// How far the groups are.
struct State<'p> {
    plan: &'p Plan,
    recorder: Recorder,
    /// Recorded, and not begun.
    ahead: Vec<Intended>,
    /// Done, and not stored.
    done: Done,
    /// Done, and the attempt to store it has failed.
    not_stored: Vec<SettleBatch>,
    /// People dealt with.
    applied: usize,
    /// People there are to deal with.
    total: usize,
    /// When what was done was announced last, Unix time in milliseconds.
    told: i64,
}

impl State<'_> {
    /// How far the run is goes with what is stored next.
    fn note_progress(&mut self, run_id: i64) {
        let (done, total) = (self.applied as i64, self.total as i64);
        self.done.progress = Some(Progress { run_id, done, total });
    }
}

impl Run<'_, '_> {
    /// Carries out the PBX's side of the plan, batch by batch. What some batches did is stored together with the intents of
    /// later ones, in any case before this ends.
    pub(super) fn apply(&mut self, plan: &Plan, outcomes: &mut [PersonOutcome]) -> Result<(), RunError> {
        let batches = batches(plan);
        let groups = groups(plan, &batches);
        let (server_id, fingerprint) = (self.job.policy.server_id, self.job.policy.fingerprint.clone());
        let of = Of { run_id: self.run_id, server_id, fingerprint };
        if !groups.windows(2).any(|two| two[0].new && two[1].new) {
            return self.apply_groups(plan, &groups, Recorder::here(of), outcomes);
        }
        let journal = self.session.journal.beside()?;
        std::thread::scope(|scope| self.apply_groups(plan, &groups, Recorder::beside(of, journal, scope), outcomes))
    }

    fn apply_groups(
        &mut self,
        plan: &Plan,
        groups: &[Group<'_>],
        recorder: Recorder,
        outcomes: &mut [PersonOutcome],
    ) -> Result<(), RunError> {
        let total: usize = groups.iter().flat_map(|group| group.batches).map(Vec::len).sum();
        self.progress.enter("applying", total as u64, self.session.host);
        let mut state = State {
            plan,
            recorder,
            ahead: Vec::new(),
            done: Done::default(),
            not_stored: Vec::new(),
            applied: 0,
            total,
            told: self.session.host.now(),
        };
        if total > 0 {
            state.note_progress(self.run_id);
        }
        let ended = groups.iter().enumerate().try_for_each(|(at, group)| {
            let next = groups.get(at + 1).filter(|next| group.new && next.new);
            self.apply_group(group, next, &mut state, outcomes)
        });
        let stored = self.store_rest(&mut state);
        ended.and(stored)
    }

    /// Applies a group, while the intents of the `next` one are recorded.
    fn apply_group(
        &mut self,
        group: &Group<'_>,
        next: Option<&Group<'_>>,
        state: &mut State<'_>,
        outcomes: &mut [PersonOutcome],
    ) -> Result<(), RunError> {
        self.stop_if_cancelled()?;
        if state.ahead.is_empty() {
            let intended = self.intended(state.plan, group);
            self.begin(intended, state);
            self.end(state)?;
        }
        let mut intended = std::mem::take(&mut state.ahead).into_iter();
        if let Some(next) = next {
            let intended = self.intended(state.plan, next);
            self.begin(intended, state);
        }
        while let Some(batch) = intended.next() {
            let ended = self.apply_batch(batch, state, outcomes);
            let ended = ended.and_then(|()| if intended.len() > 0 { self.stop_between_batches() } else { Ok(()) });
            if ended.is_err() {
                // What was not begun has not happened.
                state.done.intents.extend(intended.flat_map(|batch| batch.intents));
                return ended;
            }
        }
        self.end(state)?;
        self.tell(state)
    }

    /// While the recorder commits the question goes unanswered; it is asked again after the next batch.
    fn stop_between_batches(&self) -> Result<(), RunError> {
        let cancelled = self.session.journal.cancel_requested_at_once(self.run_id);
        if cancelled == Some(true) { Err(RunError::Cancelled) } else { Ok(()) }
    }

    /// Stores what is left, also when the run has ended early.
    fn store_rest(&mut self, state: &mut State<'_>) -> Result<(), RunError> {
        let ended = self.end(state);
        let ahead = std::mem::take(&mut state.ahead);
        state.done.intents.extend(ahead.into_iter().flat_map(|batch| batch.intents));
        let again = std::mem::take(&mut state.not_stored);
        let again = again.iter().try_for_each(|batch| self.session.journal.settle(batch));
        let stored = self.store_done(state);
        ended.and(again.map_err(RunError::from)).and(stored)
    }

    fn store_done(&mut self, state: &mut State<'_>) -> Result<(), RunError> {
        if !state.done.is_empty() {
            self.begin(Vec::new(), state);
        }
        self.end(state)
    }

    /// Begins to store what was done, and what is intended next.
    fn begin(&mut self, intended: Vec<Intended>, state: &mut State<'_>) {
        let done = std::mem::take(&mut state.done);
        state.recorder.begin(Order { done, intended }, self.session.journal);
    }

    /// Waits until what was begun is stored. What was intended with it is ahead then.
    fn end(&mut self, state: &mut State<'_>) -> Result<(), RunError> {
        match state.recorder.end() {
            Ok(intended) => state.ahead.extend(intended),
            Err(not_stored) => {
                state.not_stored.push(not_stored.done);
                return Err(not_stored.error.into());
            }
        }
        Ok(())
    }

    /// Announces what has waited long.
    fn tell(&mut self, state: &mut State<'_>) -> Result<(), RunError> {
        let host = self.session.host;
        if host.now() - state.told < UNTOLD {
            return Ok(());
        }
        self.store_done(state)?;
        deliver(self.session.journal, host)?;
        state.told = host.now();
        Ok(())
    }

    /// Chooses everything random for a group.
    fn intended(&mut self, plan: &Plan, group: &Group<'_>) -> Vec<Intended> {
        let forward = self.job.policy.forward_to_mobile;
        let tasks: Vec<Vec<PersonTask>> = {
            let (vault, random) = (&self.session.vault, &mut *self.session.random);
            group.batches.iter().map(|batch| tasks_of(plan, batch, forward, vault, random)).collect()
        };
        tasks.into_iter().map(|tasks| self.with_after(plan, tasks)).collect()
    }

    fn with_after(&self, plan: &Plan, tasks: Vec<PersonTask>) -> Intended {
        let terms = self.terms(plan, self.session.host.now());
        let fingerprint = Arc::from(self.job.policy.fingerprint.as_str());
        let after = tasks.iter().map(|one| after_task(&plan.people[one.at], &one.task, terms, &fingerprint)).collect();
        Intended { tasks, after, intents: Vec::new() }
    }

    /// Applies one batch. Whoever was refused one field is tried once more, without it, before the next batch.
    fn apply_batch(
        &mut self,
        batch: Intended,
        state: &mut State<'_>,
        outcomes: &mut [PersonOutcome],
    ) -> Result<(), RunError> {
        state.applied += batch.tasks.len();
        let again = self.apply_tasks(batch, state, outcomes)?;
        if !again.is_empty() {
            self.apply_again(again, state, outcomes)?;
        }
        self.progress.step(state.applied as u64, self.session.host);
        state.note_progress(self.run_id);
        Ok(())
    }

    fn apply_again(
        &mut self,
        again: Vec<PersonTask>,
        state: &mut State<'_>,
        outcomes: &mut [PersonOutcome],
    ) -> Result<(), RunError> {
        self.end(state)?;
        let ahead = std::mem::take(&mut state.ahead);
        let intended = self.with_after(state.plan, again);
        self.begin(vec![intended], state);
        let recorded = self.end(state);
        let again = std::mem::replace(&mut state.ahead, ahead);
        recorded?;
        again.into_iter().try_for_each(|batch| self.apply_tasks(batch, state, outcomes).map(drop))
    }

    /// Answers the tasks to try again without the one field that was refused.
    fn apply_tasks(
        &mut self,
        batch: Intended,
        state: &mut State<'_>,
        outcomes: &mut [PersonOutcome],
    ) -> Result<Vec<PersonTask>, RunError> {
        let Intended { tasks: batch, after, intents } = batch;
        let (ats, tasks): (Vec<usize>, Vec<Task>) = batch.into_iter().map(|one| (one.at, one.task)).unzip();
        let now = self.session.host.now();
        let results = self.session.pbx.apply(&tasks, self.session.host)?;
        let mut again = Vec::new();
        state.done.intents.extend(intents);
        for (((at, task), mut after), result) in ats.into_iter().zip(tasks).zip(after).zip(results) {
            let (person, outcome) = (&state.plan.people[at], &mut outcomes[at]);
            match result {
                TaskOutcome::Applied(applied) => {
                    note_applied(&fields(&task), outcome, &applied);
                    if let Task::Create(task) = task {
                        outcome.sip_uniqid = task.sip_uniqid.into();
                    }
                    let link = bases::link_after(person, outcome, self.terms(state.plan, now));
                    outcome.stored = link.is_some();
                    after.link = link.unwrap_or(after.link);
                    state.done.people.push((after, applied, outcome.stored));
                }
                TaskOutcome::Refused { field, reason } => {
                    let rest = field.and_then(|field| without(&task, field));
                    let refused = if rest.is_some() { field.into_iter().collect() } else { fields(&task) };
                    note_refused(person, outcome, field, &refused, &reason);
                    again.extend(rest.map(|task| PersonTask { at, task }));
                }
            }
        }
        Ok(again)
    }

    pub(super) fn terms(&self, plan: &Plan, now: i64) -> bases::Terms<'_> {
        bases::Terms { policy: self.job.policy, phones: plan.phones, now }
    }
}

/// What is to be stored if the whole task turns out to be done.
fn after_task(person: &PersonPlan, task: &Task, terms: bases::Terms<'_>, fingerprint: &Arc<str>) -> AfterTask {
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
        .map(|change| (Some(change.field), change.old.clone(), change.new.clone(), change.why.text().into()))
        .collect();
    let before = person.link.as_ref();
    AfterTask {
        link,
        changes,
        person: person.name(),
        fingerprint: Arc::clone(fingerprint),
        base: before.map(|link| (link.directory.clone(), link.pbx.clone())).unwrap_or_default(),
        based: before.map(|link| link.based).unwrap_or_default(),
        unlinks: person.instead_of.as_ref().map(|link| link.id),
    }
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
