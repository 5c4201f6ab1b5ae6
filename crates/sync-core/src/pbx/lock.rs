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

/// How often what was read before the lock may turn out to be stale until it is read inside it.
const STALE_READS: u32 = 3;

/// Runs `body` in one immediate transaction inside the host's write mutex, with what `prepare` read before either lock
/// was taken: MikoPBX's tables have no indexes, so reading takes time that grows with the number of employees, and
/// writing by id does not. Whether another connection has committed anything in between is asked inside the lock (SQLite,
/// PRAGMA data_version); if so, the locks are released and `prepare` runs again, after three times in vain inside them.
///
/// A lock that somebody else holds is tried again for ten seconds in all, with the mutex released in between. The mutex
/// is released on every path, also by a panic.
pub(super) fn write<P, T>(
    connection: &mut Connection,
    database: &Path,
    host: &dyn Host,
    mut prepare: impl FnMut(&Transaction<'_>) -> Result<P, Failure>,
    mut body: impl FnMut(&Transaction<'_>, &P) -> Result<T, Failure>,
) -> Result<T, PbxError> {
    connection.busy_timeout(BUSY_TIMEOUT).map_err(|error| error::explain(database, "writing", error))?;
    let mut patience = Patience::begin(host);
    let mut prepared = None;
    let mut stale = 0;
    loop {
        let result = match prepared.take().map_or_else(|| read(connection, &mut prepare), Ok) {
            Err(failure) => Err(failure),
            Ok(read) => match Mutex::take(host, patience.left()) {
                None => {
                    prepared = Some(read);
                    Ok(Attempt::NoMutex)
                }
                Some(_mutex) => attempt(connection, read, stale >= STALE_READS, &mut prepare, &mut body),
            },
        };
        let last_busy = match result {
            Ok(Attempt::Done(value)) => return Ok(value),
            Ok(Attempt::Stale) => {
                stale += 1;
                continue;
            }
            Ok(Attempt::NoMutex) => None,
            Err(Failure::Sql(error)) if error::is_busy(&error) => Some(error),
            Err(Failure::Sql(error)) => return Err(error::explain(database, "writing", error)),
            Err(Failure::Other(error)) => return Err(error),
        };
        if patience.is_over() {
            return Err(gave_up(database, last_busy));
        }
        patience.pause();
    }
}

enum Attempt<T> {
    Done(T),
    /// Another connection has committed since the read.
    Stale,
    NoMutex,
}

/// What was read, and the state of the database it was read from.
struct Read<P> {
    version: i64,
    value: P,
}

fn read<P>(
    connection: &mut Connection,
    prepare: &mut impl FnMut(&Transaction<'_>) -> Result<P, Failure>,
) -> Result<Read<P>, Failure> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Deferred)?;
    Ok(Read { version: version(&transaction)?, value: prepare(&transaction)? })
}

/// A number that another connection's commits change and our own do not.
pub(super) fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "data_version", |row| row.get(0))
}

fn attempt<P, T>(
    connection: &mut Connection,
    read: Read<P>,
    read_again_inside: bool,
    prepare: &mut impl FnMut(&Transaction<'_>) -> Result<P, Failure>,
    body: &mut impl FnMut(&Transaction<'_>, &P) -> Result<T, Failure>,
) -> Result<Attempt<T>, Failure> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut prepared = read.value;
    if version(&transaction)? != read.version {
        if !read_again_inside {
            return Ok(Attempt::Stale);
        }
        prepared = prepare(&transaction)?;
    }
    let value = body(&transaction, &prepared)?;
    transaction.commit()?;
    Ok(Attempt::Done(value))
}

/// How long we go on trying, and how long we wait in between.
struct Patience<'a> {
    host: &'a dyn Host,
    started: i64,
    paused: i64,
    pause: u32,
}

impl Patience<'_> {
    fn begin(host: &dyn Host) -> Patience<'_> {
        Patience { host, started: host.now(), paused: 0, pause: FIRST_PAUSE }
    }

    /// A clock that stands still or runs backwards must not make us wait for ever.
    fn waited(&self) -> i64 {
        self.host.now().saturating_sub(self.started).max(self.paused)
    }

    fn left(&self) -> i64 {
        PATIENCE.saturating_sub(self.waited())
    }

    fn is_over(&self) -> bool {
        self.waited() >= PATIENCE
    }

    fn pause(&mut self) {
        self.host.pause(self.pause);
        self.paused += i64::from(self.pause);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }
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

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    /// A host whose clock stands still.
    #[derive(Default)]
    struct StoppedHost {
        held: Cell<bool>,
        taken: Cell<u32>,
        paused: Cell<u32>,
    }

    impl Host for StoppedHost {
        fn announce(&self, _events: &str) -> bool {
            true
        }
        fn progress(&self, _json: &str) {}
        fn begin_write(&self, _timeout_ms: u32) -> bool {
            self.taken.set(self.taken.get() + 1);
            self.held.set(true);
            true
        }
        fn end_write(&self) {
            self.held.set(false);
        }
        fn now(&self) -> i64 {
            0
        }
        fn pause(&self, ms: u32) {
            self.paused.set(self.paused.get() + ms);
        }
    }

    fn busy() -> Failure {
        Failure::Sql(rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY), None))
    }

    fn nothing(_: &Transaction<'_>) -> Result<(), Failure> {
        Ok(())
    }

    #[test]
    fn a_panic_releases_the_mutex_and_rolls_back() {
        let mut connection = Connection::open_in_memory().expect("opens");
        connection.execute_batch("CREATE TABLE t (x)").expect("SQL");
        let host = StoppedHost::default();
        let result = catch_unwind(AssertUnwindSafe(|| {
            write(&mut connection, Path::new("db"), &host, nothing, |transaction, ()| -> Result<(), Failure> {
                transaction.execute("INSERT INTO t VALUES (1)", [])?;
                panic!("as a test");
            })
        }));
        assert!(result.is_err());
        assert!(!host.held.get());
        assert!(connection.is_autocommit());
        let rows: i64 = connection.query_row("SELECT count(*) FROM t", [], |row| row.get(0)).expect("SQL");
        assert_eq!(rows, 0);
    }

    #[test]
    fn a_clock_that_stands_still_does_not_wait_for_ever() {
        let mut connection = Connection::open_in_memory().expect("opens");
        let host = StoppedHost::default();
        let result =
            write(&mut connection, Path::new("db"), &host, nothing, |_, ()| -> Result<(), Failure> { Err(busy()) });
        assert!(result.expect_err("gave up").message.contains("10 seconds"));
        assert!((10_000..11_000).contains(&host.paused.get()), "{}", host.paused.get());
    }

    #[test]
    fn other_errors_are_not_tried_again() {
        let mut connection = Connection::open_in_memory().expect("opens");
        let host = StoppedHost::default();
        let result =
            write(&mut connection, Path::new("db"), &host, nothing, |transaction, ()| -> Result<(), Failure> {
                transaction.execute("INSERT INTO missing VALUES (1)", [])?;
                Ok(())
            });
        assert!(result.expect_err("fails").message.contains("no such table"));
        assert_eq!((host.taken.get(), host.held.get()), (1, false));
    }

    /// How often `prepare` ran and how often of these inside the mutex, when another connection commits during each of
    /// the first `commits` runs; the number read in the end is the last one committed.
    #[track_caller]
    fn check_stale(commits: i64, expected: (i64, i64)) {
        let directory = tempfile::tempdir().expect("temporary directory");
        let file = directory.path().join("db");
        let other = Connection::open(&file).expect("opens");
        other.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t (x); INSERT INTO t VALUES (0)").expect("SQL");
        let mut connection = Connection::open(&file).expect("opens");
        let host = StoppedHost::default();
        let (mut runs, mut inside) = (0, 0);
        let prepare = |transaction: &Transaction<'_>| {
            runs += 1;
            inside += i64::from(host.held.get());
            let x: i64 = transaction.query_row("SELECT x FROM t", [], |row| row.get(0))?;
            if runs <= commits && !host.held.get() {
                other.execute("UPDATE t SET x = ?1", [runs])?;
            }
            Ok(x)
        };
        let written = write(&mut connection, &file, &host, prepare, |transaction, x| {
            transaction.execute("INSERT INTO t VALUES (100)", [])?;
            Ok(*x)
        });
        assert_eq!(written.expect("written"), commits.min(1 + i64::from(STALE_READS)));
        assert_eq!((runs, inside), expected);
        assert_eq!((host.held.get(), host.paused.get()), (false, 0));
    }

    #[test]
    fn what_was_read_before_the_lock_is_read_again_when_another_connection_commits() {
        check_stale(0, (1, 0));
        check_stale(1, (2, 0));
        check_stale(2, (3, 0));
        check_stale(99, (5, 1));
    }

    #[test]
    fn our_own_commits_are_not_somebody_elses() {
        let directory = tempfile::tempdir().expect("temporary directory");
        for mode in ["WAL", "DELETE"] {
            let mut connection = Connection::open(directory.path().join(mode)).expect("opens");
            connection.execute_batch(&format!("PRAGMA journal_mode = {mode}; CREATE TABLE t (x)")).expect("SQL");
            let before = version(&connection).expect("a number");
            let transaction = connection.transaction().expect("begins");
            transaction.execute("INSERT INTO t VALUES (1)", []).expect("SQL");
            transaction.commit().expect("commits");
            assert_eq!(version(&connection).expect("a number"), before, "{mode}");
        }
    }
}
