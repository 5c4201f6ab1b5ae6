//! The accounts of people who left or came back: switched off, on again, or deleted.

use super::decided::conflict_of_account;
use super::intended::AfterTask;
use super::{Run, RunError};
use crate::journal::{Intent, SettleBatch};
use crate::link::Link;
use crate::pbx::{AccountTask, Task, TaskOutcome};
use crate::plan::{AccountPlan, AccountStep, Conflict, Plan};

/// Accounts changed in one transaction, at most.
const BATCH: usize = 50;

/// What became of the accounts.
#[derive(Default)]
pub(super) struct Settled {
    /// Links of accounts that were switched, and of employees who are gone.
    done: Vec<(Link, AccountStep)>,
    /// What the PBX refused.
    pub(super) conflicts: Vec<Conflict>,
}

impl Settled {
    /// Brings what was done into the links that are about to be stored: they were made before it.
    pub(super) fn complete(&self, links: &mut Vec<Link>) {
        for (link, step) in &self.done {
            match step {
                AccountStep::Delete => links.retain(|other| other.key != link.key),
                _ => links.iter_mut().filter(|other| other.key == link.key).for_each(|other| {
                    other.stopped = link.stopped;
                    other.written = link.written;
                }),
            }
        }
    }
}

impl Run<'_, '_> {
    /// Carries out what the plan wants of accounts.
    pub(super) fn apply_accounts(&mut self, plan: &Plan) -> Result<Settled, RunError> {
        let mut settled = Settled::default();
        for batch in plan.accounts.chunks(BATCH) {
            self.stop_if_cancelled()?;
            let mut tasks = Vec::new();
            for account in batch {
                match self.task(account)? {
                    Some(task) => tasks.push((account, task)),
                    None => settled.conflicts.push(gone(account)),
                }
            }
            self.apply_account_batch(&tasks, &mut settled)?;
        }
        Ok(settled)
    }

    fn task(&mut self, account: &AccountPlan) -> Result<Option<Task>, RunError> {
        let (user_id, sip_uniqid) = (account.employee.user_id, account.employee.sip_uniqid.clone());
        let switch = |disabled| Some(Task::Account(AccountTask { user_id, sip_uniqid: sip_uniqid.clone(), disabled }));
        Ok(match account.step {
            AccountStep::Stop => switch(true),
            AccountStep::Start => switch(false),
            AccountStep::Delete => self.session.pbx.delete_task(user_id, &sip_uniqid)?.map(Task::Delete),
        })
    }

    fn apply_account_batch(&mut self, batch: &[(&AccountPlan, Task)], settled: &mut Settled) -> Result<(), RunError> {
        let now = self.session.host.now();
        let prepared: Vec<AfterTask> = batch.iter().map(|(account, _)| self.after_account(account, now)).collect();
        let (run_id, server_id) = (self.run_id, self.job.policy.server_id);
        let intent = |((account, task), after): (&(&AccountPlan, Task), &AfterTask)| {
            after.intent(run_id, server_id, task, account.step.name())
        };
        let intents: Vec<Intent> = batch.iter().zip(&prepared).map(intent).collect();
        let ids = self.session.journal.record_intents(&intents)?;
        let tasks: Vec<Task> = batch.iter().map(|(_, task)| task.clone()).collect();
        let results = self.session.pbx.apply(&tasks, self.session.host)?;
        let fingerprint = Some(self.job.policy.fingerprint.clone());
        let mut done = SettleBatch { intents_done: ids, fingerprint, ..SettleBatch::default() };
        for (((account, _), after), result) in batch.iter().zip(prepared).zip(results) {
            match result {
                TaskOutcome::Applied(applied) => {
                    settled.done.push((after.link.clone(), account.step));
                    after.settle(self.run_id, &applied, true, &mut done);
                }
                TaskOutcome::Refused { reason, .. } => settled.conflicts.push(conflict_of_account(account, reason)),
            }
        }
        self.session.journal.settle(&done)?;
        Ok(())
    }

    fn after_account(&self, account: &AccountPlan, now: i64) -> AfterTask {
        let (old, new) = account.step.words();
        let link = Link { stopped: account.step == AccountStep::Stop, written: now, ..account.link.clone() };
        AfterTask {
            changes: vec![(None, old.into(), new.into(), account.why.clone().into())],
            person: account.employee.values[crate::person::Field::Name].to_string(),
            fingerprint: self.job.policy.fingerprint.as_str().into(),
            base: (link.directory.clone(), link.pbx.clone()),
            based: link.based,
            unlinks: (account.step == AccountStep::Delete).then_some(link.id).or(account.instead_of),
            link,
        }
    }
}

fn gone(account: &AccountPlan) -> Conflict {
    conflict_of_account(account, "the employee no longer exists on the PBX".to_owned())
}
