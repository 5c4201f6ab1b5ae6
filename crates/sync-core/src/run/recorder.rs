//! Stores what a run has done and what it intends next. Where there is much of it that happens on a thread of its own, over
//! a second connection, while the PBX is written to.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, Scope};

use log::warn;

use super::intended::{Done, Intended};
use crate::journal::{Journal, JournalError, SettleBatch, StoredOtherwise};

/// The run whose work is stored.
#[derive(Clone)]
pub(super) struct Of {
    pub(super) run_id: i64,
    pub(super) server_id: i64,
    /// Fingerprint of the settings the run began with.
    pub(super) fingerprint: String,
}

/// What to store in one transaction: what was done, then what is intended.
#[derive(Default)]
pub(super) struct Order {
    pub(super) done: Done,
    pub(super) intended: Vec<Intended>,
}

/// An order that could not be stored.
pub(super) struct NotStored {
    pub(super) error: JournalError,
    /// What was done.
    pub(super) done: SettleBatch,
}

/// What was intended, now with the ids of its intents, and what the log is to tell.
type Answer = Result<(Vec<Intended>, Vec<StoredOtherwise>), Box<NotStored>>;

/// Takes one order at a time.
pub(super) enum Recorder {
    /// On the thread of the run.
    Here { of: Of, answer: Option<Box<Answer>> },
    /// On a thread of its own, which sends the answer, or what it has panicked with.
    Beside { orders: SyncSender<Order>, answers: Receiver<thread::Result<Answer>>, waiting: bool },
}

impl Recorder {
    /// A recorder on the run's own thread.
    pub(super) fn here(of: Of) -> Recorder {
        Recorder::Here { of, answer: None }
    }

    /// A recorder on a thread of `scope`, which ends with this recorder; on the run's own thread where there can be no other.
    pub(super) fn beside<'scope>(of: Of, mut journal: Journal, scope: &'scope Scope<'scope, '_>) -> Recorder {
        let (orders, ordered) = sync_channel::<Order>(1);
        let (answer, answers) = sync_channel(1);
        let beside = of.clone();
        let body = move || {
            for order in ordered {
                let answered = catch_unwind(AssertUnwindSafe(|| record(&beside, order, &mut journal)));
                let ends = answered.is_err();
                if answer.send(answered).is_err() || ends {
                    break;
                }
            }
        };
        match thread::Builder::new().spawn_scoped(scope, body) {
            Ok(_) => Recorder::Beside { orders, answers, waiting: false },
            Err(error) => {
                warn!("no thread can be had to store what the run does, which takes longer so: {error}");
                Recorder::here(of)
            }
        }
    }

    /// Begins to store. `journal` is the run's own connection.
    pub(super) fn begin(&mut self, order: Order, journal: &mut Journal) {
        match self {
            Recorder::Here { of, answer } => *answer = Some(Box::new(record(of, order, journal))),
            Recorder::Beside { orders, waiting, .. } => {
                *waiting = true;
                // When the thread is gone, the end of this tells.
                let _ = orders.send(order);
            }
        }
    }

    /// Waits until what was begun is stored; without anything begun there is nothing to wait for.
    pub(super) fn end(&mut self) -> Result<Vec<Intended>, Box<NotStored>> {
        let answer = match self {
            Recorder::Here { answer, .. } => answer.take().map(|answer| *answer),
            Recorder::Beside { answers, waiting, .. } => std::mem::take(waiting).then(|| match answers.recv() {
                Ok(Ok(answer)) => answer,
                Ok(Err(panicked)) => resume_unwind(panicked),
                Err(gone) => resume_unwind(Box::new(gone)),
            }),
        };
        let Some(answer) = answer else { return Ok(Vec::new()) };
        let (intended, otherwise) = answer?;
        otherwise.into_iter().for_each(StoredOtherwise::log);
        Ok(intended)
    }
}

fn record(of: &Of, order: Order, journal: &mut Journal) -> Answer {
    let Order { done, mut intended } = order;
    let intents: Vec<_> = intended.iter().flat_map(|batch| batch.intents(of.run_id, of.server_id)).collect();
    let batch = done.into_batch(of.run_id, &of.fingerprint);
    let recorded = match journal.settle_and_intend(&batch, &intents) {
        Ok(recorded) => recorded,
        Err(error) => return Err(Box::new(NotStored { error, done: batch })),
    };
    let mut ids = recorded.intents.into_iter();
    for batch in &mut intended {
        batch.intents = ids.by_ref().take(batch.tasks.len()).collect();
    }
    Ok((intended, recorded.otherwise))
}
