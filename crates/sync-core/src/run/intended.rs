//! What is intended for some people, and what it came to: the two ends of every write to the PBX, as the journal keeps them.

use std::borrow::Cow;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::tasks::PersonTask;
use crate::journal::{ChangeRecord, Intent, Progress, SettleBatch};
use crate::link::Link;
use crate::pbx::{Applied, Task};
use crate::person::{Field, Fields, SmolStr, Values};
use crate::plan::Side;

/// The word for an account as a whole in the record of a run.
const ACCOUNT: &str = "account";

/// What an intent keeps besides its task: what to store once the task is known to be done.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct AfterTask {
    /// The link; its `user_id` is 0 for an employee who is still to be made.
    pub(super) link: Link,
    /// Field (none: the account as a whole), value before, value after, reason: for the record of the run.
    pub(super) changes: Vec<(Option<Field>, SmolStr, SmolStr, Cow<'static, str>)>,
    /// The person's name.
    pub(super) person: String,
    /// Fingerprint of the settings the run began with.
    pub(super) fingerprint: Arc<str>,
    /// The directory's side of the base before, and the PBX's.
    pub(super) base: (Values, Values),
    /// The fields that had a base.
    #[serde(default)]
    pub(super) based: Fields,
    /// The link that goes: another entry's whose place is taken, or that of an employee who is deleted.
    #[serde(default)]
    pub(super) unlinks: Option<i64>,
}

impl AfterTask {
    /// Leaves the base of a field where it was: the PBX does not hold what the task was to write.
    pub(super) fn keep_base(&mut self, field: Field) {
        self.link.directory[field] = self.base.0[field].clone();
        self.link.pbx[field] = self.base.1[field].clone();
        if !self.based.contains(field) {
            self.link.based.remove(field);
        }
        if field == Field::Photo {
            // The next run asks for it again.
            self.link.change_mark.clear();
        }
    }

    /// What has to be stored now that the task is done: the announcements, the records of the run, and what becomes of the
    /// links, where `links` says so.
    pub(super) fn settle(self, run_id: i64, applied: &Applied, links: bool, batch: &mut SettleBatch) {
        batch.events.extend(applied.events.iter().filter_map(|event| serde_json::to_string(event).ok()));
        batch.changes.extend(self.records(run_id, applied));
        if links {
            self.settle_link(batch);
        }
    }

    fn settle_link(self, batch: &mut SettleBatch) {
        let deleted = self.unlinks == Some(self.link.id) && self.link.id != 0;
        batch.unlinked.extend(self.unlinks);
        if !deleted {
            batch.links.push(self.link);
        }
    }

    fn records(&self, run_id: i64, applied: &Applied) -> Vec<ChangeRecord> {
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
                old: old.to_string(),
                new: new.to_string(),
                why: why.to_string(),
                outcome: "done".to_owned(),
                // The rows belong to the person as a whole; they are kept once.
                replaced_json: std::mem::replace(&mut replaced, "[]".to_owned()),
            })
            .collect()
    }

    /// The intent to do `task`, a `kind` of task.
    pub(super) fn intent(&self, run_id: i64, server_id: i64, task: &Task, kind: &str) -> Intent {
        Intent {
            id: 0,
            run_id,
            server_id,
            key: self.link.key.clone(),
            task_json: serde_json::to_string(task).unwrap_or_default(),
            link_json: serde_json::to_string(self).unwrap_or_default(),
            kind: kind.to_owned(),
        }
    }
}

/// One batch with everything that was chosen for it.
pub(super) struct Intended {
    pub(super) tasks: Vec<PersonTask>,
    /// One per task.
    pub(super) after: Vec<AfterTask>,
    /// Ids of the intents, one per task once they are recorded.
    pub(super) intents: Vec<i64>,
}

impl Intended {
    /// The intents to record, one per task.
    pub(super) fn intents(&self, run_id: i64, server_id: i64) -> impl Iterator<Item = Intent> {
        self.tasks.iter().zip(&self.after).map(move |(one, after)| {
            let kind = if matches!(one.task, Task::Create(_)) { "create" } else { "update" };
            after.intent(run_id, server_id, &one.task, kind)
        })
    }
}

/// What became of intents, not stored yet.
#[derive(Default)]
pub(super) struct Done {
    /// Intents that are done or known not to have happened.
    pub(super) intents: Vec<i64>,
    /// What was done, each with what to store and whether that goes for the links too.
    pub(super) people: Vec<(AfterTask, Applied, bool)>,
    /// How far the run has got.
    pub(super) progress: Option<Progress>,
}

impl Done {
    /// Whether there is nothing to store.
    pub(super) fn is_empty(&self) -> bool {
        self.intents.is_empty() && self.people.is_empty() && self.progress.is_none()
    }

    /// As the journal stores it, for a run that began with the settings of this fingerprint.
    pub(super) fn into_batch(self, run_id: i64, fingerprint: &str) -> SettleBatch {
        let mut batch = SettleBatch {
            intents_done: self.intents,
            progress: self.progress,
            fingerprint: Some(fingerprint.to_owned()),
            ..SettleBatch::default()
        };
        for (after, applied, links) in self.people {
            after.settle(run_id, &applied, links, &mut batch);
        }
        batch
    }
}
