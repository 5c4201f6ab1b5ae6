//! One batch: look and decide before the lock, write and put the photos into place inside it.

use std::path::Path;
use std::sync::Arc;

use rusqlite::Transaction;

use super::avatar::{self, Places, Stage, Staged, Swap, Swapped};
use super::decide::{Refusal, decide};
use super::error::Failure;
use super::index::{Index, Indexed, Placed};
use super::schema::Schema;
use super::state::State;
use super::writer::Writer;
use super::{Applied, Task, TaskOutcome, account, create, update};
use crate::person::{Field, Note};
use crate::vault::Vault;

/// What is known and decided before the lock is taken.
pub(super) struct Prepared {
    schema: Schema,
    state: State,
    verdicts: Vec<Result<(), Refusal>>,
}

/// What a batch did.
pub(super) struct Done {
    pub(super) outcomes: Vec<TaskOutcome>,
    pub(super) photos: Swapped,
    /// Values written, for the index.
    pub(super) placed: Placed,
}

/// Looks and decides.
pub(super) fn prepare(
    transaction: &Transaction<'_>,
    database: &Path,
    kept: &mut Option<Arc<Index>>,
    places: &Places,
    vault: &Vault,
    tasks: &[Task],
    staged: &Stage,
) -> Result<Prepared, Failure> {
    let schema = Schema::read(transaction)?;
    schema.check(database)?;
    let index = Index::current(kept, transaction, &schema)?;
    let state = State::load(Indexed { connection: transaction, schema: &schema, index }, vault, tasks)?;
    let verdicts = decide(&state, tasks, staged, &places.media);
    Ok(Prepared { schema, state, verdicts })
}

/// Does the tasks that can be done. The photos are in place when it returns, and go back when the answer is dropped before
/// its `finish`.
pub(super) fn run(
    transaction: &Transaction<'_>,
    prepared: &Prepared,
    places: &Places,
    tasks: &[Task],
    staged: &Stage,
) -> Result<Done, Failure> {
    let Prepared { schema, state, verdicts } = prepared;
    let mut writer = Writer::new(transaction, schema);
    let mut outcomes = Vec::with_capacity(tasks.len());
    let mut swaps = Vec::new();
    for (index, (task, verdict)) in tasks.iter().zip(verdicts).enumerate() {
        if let Err(refusal) = verdict {
            outcomes.push(TaskOutcome::Refused { field: refusal.field, reason: refusal.reason.clone() });
            continue;
        }
        writer.begin_task(index);
        let staged = &staged[index];
        let (user_id, previous) = write(&mut writer, state, task, staged)?;
        if matches!(staged, Staged::Ready { .. } | Staged::Removed) {
            swaps.push(Swap { user_id, previous, staged });
        }
        outcomes.push(TaskOutcome::Applied(Applied { user_id, notes: notes(staged), ..Applied::default() }));
    }
    let (written, placed) = writer.finish();
    for (index, written) in written {
        if let TaskOutcome::Applied(applied) = &mut outcomes[index] {
            applied.events = written.events;
            applied.replaced = written.replaced;
        }
    }
    let photos = avatar::swap(places, &swaps)?;
    Ok(Done { outcomes, photos, placed })
}

/// Answers the employee's id and the old `m_Users.avatar`.
fn write(writer: &mut Writer<'_>, state: &State, task: &Task, staged: &Staged) -> rusqlite::Result<(i64, String)> {
    match task {
        Task::Create(task) => {
            let photo = match staged {
                Staged::Ready { md5, .. } => Some(md5.as_str()),
                _ => None,
            };
            Ok((create::create(writer, task, &state.language, photo)?, String::new()))
        }
        Task::Update(task) => {
            let person = &state.people[&task.user_id];
            update::update(writer, person, task, staged, &state.references)?;
            Ok((person.user_id, person.avatar.clone()))
        }
        Task::Account(task) => {
            let person = &state.people[&task.user_id];
            account::switch(writer, person, task.disabled)?;
            Ok((person.user_id, person.avatar.clone()))
        }
        Task::Delete(task) => {
            let person = &state.people[&task.user_id];
            account::delete(writer, person)?;
            Ok((person.user_id, person.avatar.clone()))
        }
    }
}

fn notes(staged: &Staged) -> Vec<Note> {
    match staged {
        Staged::Failed(reason) => vec![Note::about(Field::Photo, reason.clone())],
        _ => Vec::new(),
    }
}
