//! The PBX's database: the only place that knows MikoPBX's tables. Facts and their sources: `docs/MIKOPBX.md`.
//!
//! [`Pbx::read`] takes a snapshot, [`Pbx::apply`] writes a batch of [`Task`]s in one short transaction, and
//! [`Pbx::find_applied`] tells after a crash whether a task had been committed.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension, TransactionBehavior};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::host::Host;
use crate::numbering::SmallestNumbers;
use crate::person::{Employee, EmployeeRows, Field, Note, SmolStr, Values};
use crate::statements::Statements;
use crate::vault::Vault;

mod account;
mod avatar;
mod batch;
mod create;
mod decide;
mod derived;
mod error;
mod events;
mod find;
mod index;
mod lock;
mod relations;
mod schema;
pub mod secret;
mod snapshot;
mod state;
mod update;
mod uses;
mod writer;

pub use derived::{caller_id, search_index, unique_id};

use avatar::Places;
use index::{Index, Indexed};
use schema::Schema;

/// How long a read waits while somebody else holds the database's lock.
const READ_PATIENCE: Duration = Duration::from_secs(5);

/// Prepared statements that are kept: more than the different ones a batch needs.
const STATEMENTS_KEPT: usize = 128;

/// Longer than the steps in which Linux sets the time of a file, in milliseconds.
const FILE_TIME_STEP: u32 = 25;

/// The PBX's database, opened for reading and writing, with the directories its photos live in.
pub struct Pbx {
    connection: Connection,
    statements: Statements,
    database: PathBuf,
    places: Places,
    vault: Arc<Vault>,
    /// Whether the photos an earlier process left in the middle of a batch have been put right.
    swept: bool,
    index: Option<Arc<Index>>,
    seen: i64,
    identity: Option<(u64, u64)>,
}

impl std::fmt::Debug for Pbx {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Pbx").field("database", &self.database).finish_non_exhaustive()
    }
}

impl Pbx {
    /// Opens the PBX's database and checks that it holds the tables the module needs; never creates a file.
    ///
    /// `media` is the PBX's media directory (photos are served from its `avatars`), `spool` holds new photos named by
    /// their MD5, `replaced_photos` takes the bytes of photos before they are overwritten, named the same way. `vault` takes
    /// the SIP secrets that are met.
    pub fn open(
        database: &Path,
        media: &Path,
        spool: &Path,
        replaced_photos: &Path,
        vault: Arc<Vault>,
    ) -> Result<Pbx, PbxError> {
        if !database.is_file() {
            return Err(PbxError::new(format!(
                "the PBX's database {} does not exist or is not a file; check the path in the module's configuration",
                database.display()
            )));
        }
        let explain = |error| error::explain(database, "opening", error);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(database, flags).map_err(explain)?;
        let statements = Statements::of(&mut connection).map_err(explain)?;
        connection.busy_timeout(READ_PATIENCE).map_err(explain)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
        // MikoPBX never switches foreign keys on, and checkpoints belong outside the write mutex (docs/MIKOPBX.md, Locks).
        connection
            .execute_batch("PRAGMA foreign_keys = OFF; PRAGMA wal_autocheckpoint = 0; PRAGMA temp_store = MEMORY;")
            .map_err(explain)?;
        Schema::read(&connection).map_err(explain)?.check(database)?;
        let identity = file_identity(database);
        let places =
            Places { media: media.to_owned(), spool: spool.to_owned(), replaced_photos: replaced_photos.to_owned() };
        Ok(Pbx {
            connection,
            statements,
            database: database.to_owned(),
            places,
            vault,
            swept: false,
            index: None,
            seen: 0,
            identity,
        })
    }

    /// How many SQL statements were run on the PBX's database, for the log.
    pub fn statements(&self) -> u64 {
        self.statements.count()
    }

    /// Reads everything a plan needs, in one read transaction and a fixed number of queries.
    pub fn read(&mut self) -> Result<PbxSnapshot, PbxError> {
        let explain = |error| error::explain(&self.database, "reading", error);
        self.connection.busy_timeout(READ_PATIENCE).map_err(explain)?;
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Deferred).map_err(explain)?;
        let schema = Schema::read(&transaction).map_err(explain)?;
        schema.check(&self.database)?;
        snapshot::read(&transaction, &schema, &self.places.media, &self.vault).map_err(explain)
    }

    /// Reads what concerns some people and values, as far as a plan for these people needs it. How long that takes does
    /// not depend on how many others there are, once the index is there.
    pub fn read_about(&mut self, about: &About) -> Result<PbxSnapshot, PbxError> {
        let (media, vault) = (self.places.media.clone(), Arc::clone(&self.vault));
        let snapshot = self.indexed(|indexed| snapshot::read_about(indexed, about, &media, &vault))?;
        Ok(PbxSnapshot { index: self.index.clone(), ..snapshot })
    }

    /// What tells whether anybody has written to the PBX's database since, this connection included: a text that differs
    /// when the file or its write-ahead log does. [`Pbx::mark_of_ours`] tells later whether it was this connection alone.
    pub fn mark(&mut self) -> Result<String, PbxError> {
        self.seen =
            lock::version(&self.connection).map_err(|error| error::explain(&self.database, "reading", error))?;
        Ok(file_mark(&self.database))
    }

    /// The mark as it is now, or an empty text when somebody else has written since [`Pbx::mark`] answered `before`.
    pub fn mark_of_ours(&mut self, before: &str, host: &dyn Host) -> Result<String, PbxError> {
        if file_mark(&self.database) != before {
            // The time of a file moves in steps: only after one of them a later write is sure to give it another.
            host.pause(FILE_TIME_STEP);
        }
        let mark = file_mark(&self.database);
        let version =
            lock::version(&self.connection).map_err(|error| error::explain(&self.database, "reading", error))?;
        Ok(if version == self.seen { mark } else { String::new() })
    }

    /// Whether the database this connection has open is still the one at its path.
    pub fn is_current(&self) -> bool {
        file_identity(&self.database) == self.identity
    }

    /// Begins to work for another session: with its spool and its secrets.
    pub fn begin_session(&mut self, spool: &Path, vault: Arc<Vault>) {
        self.places.spool = spool.to_owned();
        self.vault = vault;
        self.swept = false;
    }

    /// See [`PbxSnapshot::ids_given`].
    pub fn ids_given(&self) -> Result<i64, PbxError> {
        snapshot::ids_given(&self.connection).map_err(|error| error::explain(&self.database, "reading", error))
    }

    /// The photo of an employee, whose MD5 must be `md5`; a sentence says why it cannot be had.
    pub fn photo(&self, user_id: i64, md5: &str) -> Result<Vec<u8>, String> {
        avatar::bytes(&self.avatar(user_id)?, md5, &self.places.media)
    }

    /// The photo that the employee with this SIP account has now, whichever it is; a sentence says why it cannot be had.
    /// Nothing when the account is another employee's. Where `sip_uniqid` is empty it is not asked.
    pub fn current_photo(&self, user_id: i64, sip_uniqid: &str) -> Result<Option<Vec<u8>>, String> {
        let query = "SELECT count(*) FROM m_Extensions AS extension
                     JOIN m_Sip AS sip ON sip.extension = extension.number
                     WHERE extension.userid = ?1 AND (?2 = '' OR sip.uniqid = ?2)";
        let found: rusqlite::Result<i64> = self.connection.query_row(query, (user_id, sip_uniqid), |row| row.get(0));
        if found.map_err(|error| error::explain(&self.database, "reading", error).to_string())? == 0 {
            return Ok(None);
        }
        let avatar = self.avatar(user_id)?;
        let md5 = avatar::hash(&avatar, &self.places.media)?;
        if md5.is_empty() { Ok(None) } else { avatar::bytes(&avatar, &md5, &self.places.media).map(Some) }
    }

    fn avatar(&self, user_id: i64) -> Result<String, String> {
        let query = "SELECT avatar FROM m_Users WHERE id = ?1";
        let column = self.connection.query_row(query, [user_id], |row| schema::text(row, 0)).optional();
        let column = column.map_err(|error| error::explain(&self.database, "reading", error).to_string())?;
        column.ok_or_else(|| format!("there is no employee with the id {user_id}"))
    }

    /// The task that deletes an employee with all their rows; `None` when there is no such employee.
    pub fn delete_task(&mut self, user_id: i64, sip_uniqid: &str) -> Result<Option<DeleteTask>, PbxError> {
        let vault = Arc::clone(&self.vault);
        self.indexed(|indexed| account::delete_task(indexed, user_id, sip_uniqid, &vault))
    }

    /// Reads in one transaction, with the index.
    fn indexed<T>(&mut self, read: impl FnOnce(Indexed<'_>) -> rusqlite::Result<T>) -> Result<T, PbxError> {
        let explain = |error| error::explain(&self.database, "reading", error);
        self.connection.busy_timeout(READ_PATIENCE).map_err(explain)?;
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Deferred).map_err(explain)?;
        let schema = Schema::read(&transaction).map_err(explain)?;
        schema.check(&self.database)?;
        let index = Index::current(&mut self.index, &transaction, &schema).map_err(explain)?;
        read(Indexed { connection: &transaction, schema: &schema, index }).map_err(explain)
    }

    /// Does the tasks in one short write transaction, inside the host's write mutex, and answers one outcome per task in
    /// their order. What takes longer on a larger PBX is read before the mutex is taken. A refused task writes nothing; the others are committed together. On an error nothing is written.
    pub fn apply(&mut self, tasks: &[Task], host: &dyn Host) -> Result<Vec<TaskOutcome>, PbxError> {
        if tasks.is_empty() {
            return Ok(Vec::new());
        }
        self.sweep();
        let staged = avatar::stage(&self.places, tasks);
        let database = &self.database;
        let (places, vault, index) = (&self.places, &*self.vault, &mut self.index);
        let done = lock::write(
            &mut self.connection,
            database,
            host,
            |transaction| batch::prepare(transaction, database, index, places, vault, tasks, &staged),
            |transaction, prepared| batch::run(transaction, prepared, places, tasks, &staged),
        )?;
        if let Some(index) = &mut self.index {
            Arc::make_mut(index).add(done.placed);
        }
        done.photos.finish();
        lock::checkpoint(&self.connection);
        Ok(done.outcomes)
    }

    /// Puts the photos right that an earlier process left in the middle of a batch, once. Nobody else may be writing with
    /// this module, as in [`Pbx::apply`].
    fn sweep(&mut self) {
        if std::mem::replace(&mut self.swept, true) {
            return;
        }
        avatar::sweep(&self.places, |user_id| {
            let avatar = self
                .connection
                .query_row("SELECT avatar FROM m_Users WHERE id = ?1", [user_id], |row| schema::text(row, 0))
                .optional()?;
            Ok(avatar.unwrap_or_default())
        });
    }

    /// Tells whether a task was committed by an earlier process: a create by its `m_Sip.uniqid`, an update by its
    /// values. An update is answered as done unless every value it changes is still the old one: a transaction is whole,
    /// and a later edit on the PBX must not lose the announcements of ours.
    ///
    /// The events are those of every row the task may have touched, so that announcing them leaves nothing out; an update
    /// of which nothing is left is announced as well, though it may never have been made. `notes` names every field of
    /// the task that does not hold its new value: only fields without a note may be taken for written, in a base or in
    /// the record of a run. `replaced` stays empty: the old values are gone from the PBX.
    ///
    /// An update that changes nothing is `None`. An employee without a peer has no `m_Sip.uniqid`; then `m_Users.id` is
    /// all that says who it is.
    pub fn find_applied(&mut self, task: &Task) -> Result<Option<Applied>, PbxError> {
        self.sweep();
        let (media, vault) = (self.places.media.clone(), Arc::clone(&self.vault));
        self.indexed(|indexed| find::find_applied(indexed, &media, &vault, task))
    }
}

/// Device and number of a file.
fn file_identity(path: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

/// Identity, size and time of a database and of its write-ahead log. One without contents is none: SQLite makes and
/// removes it as connections come and go.
fn file_mark(database: &Path) -> String {
    let mut log = database.as_os_str().to_owned();
    log.push("-wal");
    let of = |path: &Path| match std::fs::metadata(path) {
        Ok(file) if file.len() > 0 => {
            format!("{}/{}/{}/{}.{:09}", file.dev(), file.ino(), file.len(), file.mtime(), file.mtime_nsec())
        }
        _ => String::new(),
    };
    format!("{} {}", of(database), of(Path::new(&log)))
}

/// Everything a plan needs to know about the PBX, read in one transaction.
#[derive(Clone, Debug, Default)]
pub struct PbxSnapshot {
    /// Everyone with a general SIP extension, in the order of their ids.
    pub employees: Vec<Employee>,
    /// Who holds each number: every row of `m_Extensions`, by `number`, and rows of other tables that are left over of a
    /// number `m_Extensions` has no longer. [`Pbx::apply`] gives nobody a number that somebody holds.
    pub numbers: BTreeMap<String, Holder>,
    /// Who holds each e-mail address, in lower case and without white space around it: everybody in `m_Users`, also
    /// people without an internal number. [`Pbx::apply`] gives nobody an address that somebody else holds.
    pub emails: BTreeMap<String, Vec<EmailHolder>>,
    /// The smallest internal numbers of all employees, by length.
    pub smallest_numbers: SmallestNumbers,
    /// `PBXInternalExtensionLength`, digits; MikoPBX's default is 3.
    pub extension_length: u32,
    /// `PBXLanguage`, for example `ru-ru`; MikoPBX's default is `en-en`.
    pub language: String,
    /// Outgoing routes: patterns an internal number must not meet.
    pub outgoing: Vec<OutgoingPattern>,
    /// For each number or mobile that queues, IVR menus, routes, work-time rules or *other people's* forwardings point
    /// at: what points at it, in words (`queue Sales office`, `forwarding of 202`).
    pub uses: BTreeMap<String, Vec<String>>,
    /// How many record ids the tables of employees have ever given: it only grows, so a smaller one is an older copy.
    pub ids_given: i64,
    /// Sentences for the report: people with two general numbers, numbers that stand twice, photos that cannot be read.
    pub warnings: Vec<String>,
    /// Where `employees`, `numbers` and `emails` hold only what was asked for: what knows which other numbers are taken.
    pub(crate) index: Option<Arc<Index>>,
}

impl PbxSnapshot {
    /// Whether anything on the PBX holds this number.
    pub fn is_taken(&self, number: &str) -> bool {
        self.numbers.contains_key(number) || self.index.as_ref().is_some_and(|index| index.may_be_taken(number))
    }
}

/// Whom and what a partial reading is about. What stands near it is read too: who else holds one of the values.
#[derive(Clone, Debug, Default)]
pub struct About {
    /// `m_Users.id` of employees.
    pub users: BTreeSet<i64>,
    /// `m_Sip.uniqid` of employees.
    pub sip_uniqids: BTreeSet<String>,
    /// Internal numbers.
    pub numbers: BTreeSet<String>,
    /// Telephone numbers in any spelling: only their last digits are compared.
    pub phones: BTreeSet<String>,
    /// E-mail addresses.
    pub emails: BTreeSet<String>,
    /// Names.
    pub names: BTreeSet<String>,
}

/// Holder of a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// `m_Extensions.type`: SIP, EXTERNAL, QUEUE, IVR MENU, CONFERENCE, DIALPLAN APPLICATION, MODULES, SYSTEM, PARKING;
    /// [`Holder::LEFTOVER`] for a row of another table that no row of `m_Extensions` goes with.
    pub kind: String,
    /// `m_Users.id` of an employee's number.
    pub user_id: Option<i64>,
    /// For messages: `m_Extensions.callerid`, of a leftover its table and id.
    pub label: String,
}

impl Holder {
    /// The kind of a number that a leftover row holds: nobody can dial it, and nobody can get it until the row is gone.
    pub const LEFTOVER: &'static str = "LEFTOVER";
}

/// Holder of an e-mail address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmailHolder {
    /// `m_Users.id`.
    pub user_id: i64,
    /// `m_Users.username`, for messages; it may be empty.
    pub name: String,
}

/// One row of `m_OutgoingRoutingTable`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutgoingPattern {
    /// `numberbeginswith`: a regular expression for the beginning, for example `(7|8)`.
    pub begins_with: String,
    /// `restnumbers`: how many digits follow, none when it is 0 or empty; `None` when it is negative: any number may.
    pub rest: Option<u32>,
    /// `rulename`, for messages.
    pub name: String,
}

/// One thing to do in the PBX's database. Everything random was chosen before, so that it can be found again.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    /// Make an employee.
    Create(CreateTask),
    /// Change an employee.
    Update(UpdateTask),
    /// Switch a SIP account off or on again.
    Account(AccountTask),
    /// Delete an employee.
    Delete(DeleteTask),
}

/// A new employee.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CreateTask {
    /// `m_Sip.uniqid`, `SIP-PHONE-` and 8 upper-case hex digits.
    pub sip_uniqid: String,
    /// `m_ExternalPhones.uniqid`, `EXTERNAL-` and 8 upper-case hex digits; used when there is a mobile.
    pub external_uniqid: String,
    /// SIP secret; never stored in an intent, so empty in one that was read back.
    #[serde(skip)]
    pub secret: SecretString,
    /// The values; the photo names a file of the spool.
    pub values: Values,
    /// Point all three forwardings at the mobile, as MikoPBX's web form does for a new employee with a mobile.
    pub forward_to_mobile: bool,
}

/// Changes of one employee.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct UpdateTask {
    /// `m_Users.id`.
    pub user_id: i64,
    /// `m_Sip.uniqid` the employee must have.
    pub sip_uniqid: String,
    /// The values the plan was made for; those of `fields` must still be there.
    pub old: Values,
    /// The values wanted; only those of `fields` are written.
    pub new: Values,
    /// What changes.
    pub fields: Vec<Field>,
    /// `m_ExternalPhones.uniqid` to use when the employee gets a mobile for the first time.
    pub external_uniqid: String,
    /// Point empty forwardings (and those at the old mobile) at a new mobile, as MikoPBX's web form does.
    pub forward_to_mobile: bool,
    /// The SIP secret wanted, where it changes; never stored in an intent.
    #[serde(skip)]
    pub secret: SecretString,
    /// The employee's rows as they were: those that go have to be announced also when the program ends right after COMMIT.
    #[serde(default)]
    pub rows: EmployeeRows,
}

/// A SIP account that is switched off or on again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountTask {
    /// `m_Users.id`.
    pub user_id: i64,
    /// `m_Sip.uniqid` the employee must have.
    pub sip_uniqid: String,
    /// Switched off; the account must be on until then, and the other way round.
    pub disabled: bool,
}

/// An employee who is deleted, with everything that is theirs and only if nothing else points at them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteTask {
    /// `m_Users.id`.
    pub user_id: i64,
    /// `m_Sip.uniqid` the employee must have.
    pub sip_uniqid: String,
    /// Internal number and mobile the employee must have; the mobile may be empty.
    pub numbers: [String; 2],
    /// The rows, table and id, in the order in which MikoPBX deletes them: what has to be announced also when the
    /// program ends right after COMMIT.
    pub rows: Vec<(String, i64)>,
}

/// What became of one task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskOutcome {
    /// Done and part of the transaction.
    Applied(Applied),
    /// Not done: the PBX has changed since the plan was made, or a rule of MikoPBX forbids it; nothing of it is written.
    Refused {
        /// The field at fault, if one.
        field: Option<Field>,
        /// A plain sentence.
        reason: String,
    },
}

/// A task that was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// `m_Users.id`.
    pub user_id: i64,
    /// One event per changed record, in MikoPBX's order.
    pub events: Vec<ModelEvent>,
    /// Values replaced in rows that exist already, for the journal; never a SIP secret.
    pub replaced: Vec<ReplacedValue>,
    /// What was left out of the task: a photo that could not be stored; after a crash also what was changed since.
    pub notes: Vec<Note>,
}

impl Applied {
    /// Whether the PBX is known to hold the task's new value of a field, which then may be taken for a base.
    pub fn holds(&self, field: Field) -> bool {
        self.notes.iter().all(|note| note.field != Some(field))
    }
}

/// One column of one row that was overwritten, or one row that was deleted (one entry per column).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplacedValue {
    /// Table.
    pub table: String,
    /// The row's `id`.
    pub row: i64,
    /// Column.
    pub column: String,
    /// The value before, as text; `None` for NULL.
    pub old: Option<String>,
    /// The value now, as text; `None` for NULL or a deleted row.
    pub new: Option<String>,
}

/// A change as MikoPBX itself publishes it (`ModelsBase->sendChangesToBackend`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelEvent {
    /// Always `ModelsBase->sendChangesToBackend`.
    pub source: Cow<'static, str>,
    /// PHP class, `MikoPBX\Common\Models\Users` and so on.
    pub model: String,
    /// The row's id, as text.
    #[serde(rename = "recordId")]
    pub record_id: SmolStr,
    /// `afterSave` or `afterDelete`.
    pub action: Cow<'static, str>,
    /// Columns that changed; all of them for a new or deleted row.
    #[serde(rename = "changedFields")]
    pub changed_fields: Arc<[String]>,
}

/// Why the PBX's database could not be used: a sentence that names the file, what was tried and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct PbxError {
    /// The sentence for the administrator.
    pub message: String,
    /// What SQLite said.
    #[source]
    pub source: Option<rusqlite::Error>,
}

impl PbxError {
    /// An error of our own, not SQLite's.
    fn new(message: impl Into<String>) -> PbxError {
        PbxError { message: message.into(), source: None }
    }
}
