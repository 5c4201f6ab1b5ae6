//! The module's own database, `db/module.db`: the only place that knows its tables.
//!
//! It holds the directory servers with their sealed passwords, who belongs to whom and what both sides last agreed on,
//! what is about to be done (intents), what is left for a person (conflicts), what was done (runs), what the PBX must
//! still be told (outbox) and what the PBX has told us (edits). The tables are described in `db/*.sql`.
//!
//! The journal mode is DELETE: MikoPBX backs the module's `db` directory up by copying its files, and a `-wal` file
//! would be lost or torn there. Times are Unix time in milliseconds and always come from the caller.

mod conflicts;
mod decisions;
mod edits;
mod error;
mod files;
mod held;
mod intents;
mod legacy;
mod links;
mod lock;
mod migrations;
mod people;
mod previews;
mod runs;
mod seal;
mod servers;
mod watches;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

use crate::statements::Statements;
use crate::vault::Vault;

pub use crate::link::{Link, LinkState};
pub use conflicts::{Compared, ConflictRecord, NewConflict};
pub use decisions::DecisionRecord;
pub use edits::MAX_EDITS;
pub use error::JournalError;
pub use held::HeldRun;
pub use intents::{Intent, OUTBOX_UNMERGED, Progress, Recorded, SettleBatch, StoredOtherwise};
pub use legacy::{LegacyServer, TakenOver};
pub use lock::RunLock;
pub use migrations::MIGRATIONS;
pub use people::{PeopleQuery, PeopleSort};
pub use runs::{ChangeRecord, RUNS_KEPT, RunRecord, Written};
pub use servers::{Saved, ServerRecord};
pub use watches::Watch;

/// How long one statement waits for another connection's lock.
const BUSY_TIMEOUT: Duration = Duration::from_millis(5000);

/// Where the module keeps its files; all of them below `<moduleDir>/db`, the only directory that survives an upgrade of
/// the module.
#[derive(Clone, Debug)]
pub struct Paths {
    directory: PathBuf,
}

impl Paths {
    /// The paths below `module_dir`.
    pub fn new(module_dir: &Path) -> Paths {
        Paths { directory: module_dir.join("db") }
    }

    /// The directory of all others.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The database.
    pub fn database(&self) -> PathBuf {
        self.directory.join("module.db")
    }

    /// The key that seals stored passwords.
    pub fn key(&self) -> PathBuf {
        self.directory.join("secret.key")
    }

    /// The file that is locked while a run goes on.
    pub fn run_lock(&self) -> PathBuf {
        self.directory.join("run.lock")
    }

    /// Photos on their way from the directory to the PBX.
    pub fn spool(&self) -> PathBuf {
        self.directory.join("spool")
    }

    /// Photos that were replaced on the PBX, named by their MD5, for an undo.
    pub fn replaced_photos(&self) -> PathBuf {
        self.directory.join("replaced-photos")
    }

    /// Removes everything the module keeps: settings, links, journal, key. To be called with the run lock held.
    pub fn remove(&self) -> Result<(), JournalError> {
        match fs::remove_dir_all(self.directory()) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(source) => Err(JournalError::NotWritable { path: self.directory().to_owned(), source: source.into() }),
        }
    }
}

/// The module's database, opened: one connection, to be used by one thread at a time. Several may be open at once, also
/// in several processes.
pub struct Journal {
    connection: Connection,
    statements: Statements,
    paths: Paths,
}

impl Journal {
    /// Makes the `db` directory, the database and the key where they are missing and brings the tables to the present
    /// version. Tables of the module's PHP predecessor in the same file stay as they are. Doing it again changes
    /// nothing.
    pub fn install(module_dir: &Path) -> Result<Journal, JournalError> {
        let paths = Paths::new(module_dir);
        let not_writable = |path: &Path| {
            let path = path.to_owned();
            |source: std::io::Error| JournalError::NotWritable { path, source: source.into() }
        };
        for directory in [paths.directory().to_owned(), paths.spool(), paths.replaced_photos()] {
            files::ensure_directory(&directory).map_err(not_writable(&directory))?;
        }
        files::ensure_file(&paths.database()).map_err(not_writable(&paths.database()))?;
        let mut journal = Journal::connect(paths)?;
        journal.migrate()?;
        let key = journal.paths.key();
        // The database's write lock keeps a second process from making another key at the same moment.
        journal.write(|_| seal::ensure_key(&key))?;
        seal::tighten(&key);
        Ok(journal)
    }

    /// Opens the database of an installed module, and brings its tables forward when an older version made them.
    ///
    /// # Errors
    /// [`JournalError::NotInstalled`] when the file or our tables are absent, [`JournalError::Newer`] when a newer
    /// version of the module has used it.
    pub fn open(module_dir: &Path) -> Result<Journal, JournalError> {
        let paths = Paths::new(module_dir);
        let file = paths.database();
        match fs::metadata(&file) {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(JournalError::NotInstalled { path: file });
            }
            Err(source) => return Err(JournalError::NotReadable { path: file, source }),
        }
        let mut journal = Journal::connect(paths)?;
        match journal.read(|tx| migrations::version(tx))? {
            0 => return Err(JournalError::NotInstalled { path: file }),
            found if found == migrations::known() => {}
            _ => journal.migrate()?,
        }
        seal::tighten(&journal.paths.key());
        Ok(journal)
    }

    /// A second connection, for another thread. Its statements count with those of this one.
    pub fn beside(&self) -> Result<Journal, JournalError> {
        let mut beside = Journal::connect(self.paths.clone())?;
        let located = |error: rusqlite::Error| JournalError::from(error).located(&self.paths.database());
        beside.statements = self.statements.with(&mut beside.connection).map_err(located)?;
        Ok(beside)
    }

    /// Where the module keeps its files.
    pub fn paths(&self) -> &Paths {
        &self.paths
    }

    /// An empty vault for the SIP secrets of a run.
    pub fn vault(&self) -> Result<Vault, JournalError> {
        seal::vault(&self.paths.key())
    }

    /// How many SQL statements were run on the module's database, for the log.
    pub fn statements(&self) -> u64 {
        self.statements.count()
    }

    /// Runs `body` in one transaction that holds the write lock from its start: committed when it answers `Ok`, undone
    /// otherwise. The only place that begins a writing transaction.
    pub fn write<T>(
        &mut self,
        body: impl FnOnce(&Transaction<'_>) -> Result<T, JournalError>,
    ) -> Result<T, JournalError> {
        let attempt = (|| {
            let tx = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let answer = body(&tx)?;
            tx.commit()?;
            Ok(answer)
        })();
        attempt.map_err(|error: JournalError| error.located(&self.paths.database()))
    }

    /// Runs `body` in one reading transaction, so that all its queries see the same state.
    fn read<T>(&self, body: impl FnOnce(&Transaction<'_>) -> Result<T, JournalError>) -> Result<T, JournalError> {
        let attempt = (|| {
            let tx = Transaction::new_unchecked(&self.connection, TransactionBehavior::Deferred)?;
            body(&tx)
        })();
        attempt.map_err(|error: JournalError| error.located(&self.paths.database()))
    }

    fn connect(paths: Paths) -> Result<Journal, JournalError> {
        let file = paths.database();
        let located = |error: rusqlite::Error| JournalError::from(error).located(&file);
        let mut connection =
            Connection::open_with_flags(&file, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)
                .map_err(located)?;
        set_up(&connection).map_err(located)?;
        let statements = Statements::of(&mut connection).map_err(located)?;
        Ok(Journal { connection, statements, paths })
    }

    fn migrate(&mut self) -> Result<(), JournalError> {
        let path = self.paths.database();
        migrations::migrate(&mut self.connection, MIGRATIONS).map_err(|error| error.located(&path))
    }
}

fn set_up(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update_and_check(None, "journal_mode", "DELETE", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // 8 MiB, for settling many people at once without writing half-done pages.
    connection.pragma_update(None, "cache_size", -8192)?;
    // Else what a statement would need to be taken back is written to a file, page by page, for every statement.
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(())
}
