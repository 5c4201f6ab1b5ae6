//! Writing beside a live PBX: its write mutex, SQLite's lock inside it, and patience (docs/MIKOPBX.md, Locks).

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::PbxError;
use super::error::{self, Failure};
use crate::host::Host;

/// How long SQLite waits for its lock while we hold the PBX's mutex.
const BUSY_TIMEOUT: Duration = Duration::from_millis(250);
/// How long the whole write may take to get both locks, in milliseconds.
const PATIENCE: i64 = 10_000;
const FIRST_PAUSE: u32 = 50;
const LONGEST_PAUSE: u32 = 500;

/// Runs `body` in one immediate transaction inside the host's write mutex. A lock that somebody else holds is tried again
/// for ten seconds in all, with the mutex released in between. The mutex is released on every path, also by a panic.
pub(super) fn write<T>(
    connection: &mut Connection,
    database: &Path,
    host: &dyn Host,
    mut body: impl FnMut(&Transaction<'_>) -> Result<T, Failure>,
) -> Result<T, PbxError> {
    connection.busy_timeout(BUSY_TIMEOUT).map_err(|error| error::explain(database, "writing", error))?;
    let started = host.now();
    let mut paused: i64 = 0;
    let mut pause = FIRST_PAUSE;
    loop {
        // A clock that stands still or runs backwards must not make us wait for ever.
        let waited = host.now().saturating_sub(started).max(paused);
        let last_busy = match Mutex::take(host, PATIENCE.saturating_sub(waited)) {
            None => None,
            Some(_mutex) => match attempt(connection, &mut body) {
                Ok(value) => return Ok(value),
                Err(Failure::Sql(error)) if error::is_busy(&error) => Some(error),
                Err(Failure::Sql(error)) => return Err(error::explain(database, "writing", error)),
                Err(Failure::Other(error)) => return Err(error),
            },
        };
        if host.now().saturating_sub(started).max(paused) >= PATIENCE {
            return Err(gave_up(database, last_busy));
        }
        host.pause(pause);
        paused += i64::from(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

fn attempt<T>(
    connection: &mut Connection,
    body: &mut impl FnMut(&Transaction<'_>) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let value = body(&transaction)?;
    transaction.commit()?;
    Ok(value)
}

fn gave_up(database: &Path, busy: Option<rusqlite::Error>) -> PbxError {
    let seconds = PATIENCE / 1000;
    let path = database.display();
    let message = if busy.is_some() {
        format!(
            "writing the PBX's database {path}: another program has held its lock for {seconds} seconds; nothing was \
             changed; try again, and see which program writes to it if this repeats"
        )
    } else {
        format!(
            "writing the PBX's database {path}: the PBX's write mutex was not free for {seconds} seconds; nothing was \
             changed; try again, and see whether a save on the PBX hangs if this repeats"
        )
    };
    PbxError { message, source: busy }
}

/// Moves what the write-ahead log holds into the database, as far as that needs no waiting. It belongs outside the mutex,
/// and a checkpoint that cannot run now is made by the next one, here or in the PBX.
pub(super) fn checkpoint(connection: &Connection) {
    if let Err(error) = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())) {
        log::debug!("no checkpoint of the PBX's database now: {error}");
    }
}

/// The PBX's write mutex, held until dropped.
struct Mutex<'a>(&'a dyn Host);

impl Mutex<'_> {
    fn take(host: &dyn Host, timeout_ms: i64) -> Option<Mutex<'_>> {
        host.begin_write(u32::try_from(timeout_ms.max(0)).unwrap_or(u32::MAX)).then(|| Mutex(host))
    }
}

impl Drop for Mutex<'_> {
    fn drop(&mut self) {
        self.0.end_write();
    }
}
