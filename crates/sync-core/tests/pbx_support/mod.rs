//! A PBX database in a temporary directory, a host that records what is asked of it, and what changed between two looks.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use md5::{Digest, Md5};
use rusqlite::Connection;
use rusqlite::types::Value;
use secrecy::SecretString;
use sync_core::host::Host;
use sync_core::pbx::{Applied, CreateTask, ModelEvent, Pbx, Task, TaskOutcome, UpdateTask};
use sync_core::person::{Field, Values};
use sync_core::vault::Vault;
use tempfile::TempDir;

/// What a list of complaints should be.
pub(crate) const NOTHING: [&str; 0] = [];

pub(crate) const SECRET: &str = "Kj8sHd72LmQp4Xz9Vb3T";

/// A PBX: its database, media, spool and the place for replaced photos.
pub(crate) struct Fixture {
    pub(crate) directory: TempDir,
}

impl Fixture {
    pub(crate) fn new() -> Fixture {
        Fixture::from_sql(include_str!("../fixtures/pbx.sql"))
    }

    pub(crate) fn from_sql(sql: &str) -> Fixture {
        let fixture = Fixture { directory: TempDir::new().expect("temporary directory") };
        for directory in [fixture.media().join("avatars"), fixture.spool(), fixture.replaced()] {
            fs::create_dir_all(directory).expect("directory");
        }
        fixture.sql(sql);
        fixture
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.directory.path().join("mikopbx.db")
    }

    pub(crate) fn media(&self) -> PathBuf {
        self.directory.path().join("media")
    }

    pub(crate) fn spool(&self) -> PathBuf {
        self.directory.path().join("spool")
    }

    pub(crate) fn replaced(&self) -> PathBuf {
        self.directory.path().join("replaced")
    }

    pub(crate) fn photo_of(&self, user_id: i64) -> PathBuf {
        self.media().join(format!("avatars/user_{user_id}.jpg"))
    }

    pub(crate) fn connect(&self) -> Connection {
        Connection::open(self.database()).expect("database")
    }

    pub(crate) fn sql(&self, sql: &str) {
        self.connect().execute_batch(sql).expect("SQL");
    }

    pub(crate) fn text(&self, sql: &str) -> String {
        self.connect().query_row(sql, [], |row| row.get::<_, Value>(0)).map(|value| shown(&value)).expect("one row")
    }

    pub(crate) fn open(&self) -> Pbx {
        Pbx::open(&self.database(), &self.media(), &self.spool(), &self.replaced(), vault()).expect("opens")
    }

    /// Puts bytes into the spool and answers their MD5.
    pub(crate) fn spool_photo(&self, bytes: &[u8]) -> String {
        let md5 = md5(bytes);
        fs::write(self.spool().join(&md5), bytes).expect("spool");
        md5
    }

    /// Applies the tasks and checks that the events are exactly the row differences.
    pub(crate) fn apply(&self, tasks: &[Task]) -> Vec<TaskOutcome> {
        let before = self.dump();
        let host = RecordingHost::default();
        let outcomes = self.open().apply(tasks, &host).expect("applies");
        assert!(!host.held.get(), "the mutex is released");
        assert_eq!(outcomes.len(), tasks.len());
        assert_announced(&before, &self.dump(), &outcomes);
        outcomes
    }

    pub(crate) fn applied(&self, task: Task) -> Applied {
        match self.apply(&[task]).remove(0) {
            TaskOutcome::Applied(applied) => applied,
            TaskOutcome::Refused { reason, .. } => panic!("refused: {reason}"),
        }
    }

    /// The reason; nothing may have changed.
    pub(crate) fn refused(&self, task: Task) -> (Option<Field>, String) {
        let before = self.dump();
        let outcome = self.apply(&[task]).remove(0);
        assert_eq!(self.dump(), before);
        match outcome {
            TaskOutcome::Refused { field, reason } => (field, reason),
            TaskOutcome::Applied(applied) => panic!("applied: {applied:?}"),
        }
    }

    /// Every row of every table.
    pub(crate) fn dump(&self) -> Dump {
        let connection = self.connect();
        let mut tables = connection
            .prepare("SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE 'm\\_%' ESCAPE '\\'")
            .expect("SQL");
        let names: Vec<String> =
            tables.query_map([], |row| row.get(0)).expect("tables").collect::<Result<_, _>>().expect("names");
        let mut dump = Dump::new();
        for table in names.into_iter().filter(|name| name != "m_PbxSettings") {
            let mut statement = connection.prepare(&format!("SELECT * FROM {table}")).expect("SQL");
            let columns: Vec<String> = statement.column_names().map(str::to_owned).collect();
            let mut rows = statement.query([]).expect("rows");
            while let Some(row) = rows.next().expect("row") {
                let cells = columns.iter().enumerate();
                let cells: BTreeMap<_, _> =
                    cells.map(|(index, name)| (name.clone(), shown(&row.get(index).expect("cell")))).collect();
                dump.insert((table.clone(), cells["id"].clone()), cells);
            }
        }
        dump
    }

    /// Sentences about numbers that stand twice and rows that point at nothing.
    pub(crate) fn inconsistencies(&self) -> Vec<String> {
        let mut found = Vec::new();
        for (what, sql) in [
            ("twice", "SELECT number FROM m_Extensions GROUP BY number HAVING count(*) > 1"),
            (
                "peer",
                "SELECT extension FROM m_Sip WHERE type = 'peer' AND extension NOT IN (SELECT number FROM m_Extensions)",
            ),
            ("peers", "SELECT extension FROM m_Sip WHERE type = 'peer' GROUP BY extension HAVING count(*) > 1"),
            (
                "phone",
                "SELECT extension FROM m_ExternalPhones WHERE extension NOT IN (SELECT number FROM m_Extensions)",
            ),
            (
                "mobile",
                "SELECT number FROM m_Extensions WHERE type = 'EXTERNAL' AND number NOT IN (SELECT extension FROM m_ExternalPhones)",
            ),
            (
                "forwarding of",
                "SELECT extension FROM m_ExtensionForwardingRights WHERE extension NOT IN (SELECT number FROM m_Extensions)",
            ),
            (
                "member",
                "SELECT extension FROM m_CallQueueMembers WHERE extension NOT IN (SELECT number FROM m_Extensions)",
            ),
            (
                "route",
                "SELECT extension FROM m_IncomingRoutingTable WHERE extension <> '' AND extension NOT IN (SELECT number FROM m_Extensions)",
            ),
            (
                "user",
                "SELECT number FROM m_Extensions WHERE userid IS NOT NULL AND userid NOT IN (SELECT id FROM m_Users)",
            ),
            ("email", "SELECT lower(email) FROM m_Users WHERE email <> '' GROUP BY lower(email) HAVING count(*) > 1"),
            (
                "forwarding to",
                "SELECT f.x FROM (SELECT forwarding x FROM m_ExtensionForwardingRights UNION SELECT forwardingonbusy
               FROM m_ExtensionForwardingRights UNION SELECT forwardingonunavailable FROM m_ExtensionForwardingRights) f
               WHERE f.x <> '' AND f.x NOT IN (SELECT number FROM m_Extensions)",
            ),
        ] {
            let connection = self.connect();
            let mut statement = connection.prepare(sql).expect("SQL");
            let rows = statement.query_map([], |row| row.get::<_, Value>(0)).expect("rows");
            found.extend(rows.map(|value| format!("{what} {}", shown(&value.expect("value")))));
        }
        found
    }
}

/// Rows by table and id; each cell with its storage class.
pub(crate) type Dump = BTreeMap<(String, String), BTreeMap<String, String>>;

/// Text as it is, other classes marked: `#45` an integer, `NULL`.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "NULL".to_owned(),
        Value::Integer(number) => format!("#{number}"),
        Value::Text(text) => text.clone(),
        other => format!("{other:?}"),
    }
}

/// What changed, one line per cell: `~ m_Users #113 email: a -> b`, `+ table id column: value`, `- table id`.
pub(crate) fn differences(before: &Dump, after: &Dump) -> Vec<String> {
    let mut lines = Vec::new();
    for key in before.keys().chain(after.keys()).collect::<BTreeSet<_>>() {
        let (table, id) = key;
        match (before.get(key), after.get(key)) {
            (None, Some(row)) => {
                let cells = row.iter().filter(|(column, _)| *column != "id");
                lines.extend(cells.map(|(column, value)| format!("+ {table} {id} {column}: {value}")));
            }
            (Some(_), None) => lines.push(format!("- {table} {id}")),
            (Some(old), Some(new)) => {
                let changed = old.iter().filter(|(column, value)| new[*column] != **value);
                lines.extend(
                    changed.map(|(column, value)| format!("~ {table} {id} {column}: {value} -> {}", new[column])),
                );
            }
            (None, None) => {}
        }
    }
    lines
}

/// The events of all tasks are the changed records, each once, with the columns that changed.
pub(crate) fn assert_announced(before: &Dump, after: &Dump, outcomes: &[TaskOutcome]) {
    let mut announced = BTreeMap::new();
    for event in outcomes.iter().flat_map(events) {
        assert_eq!(event.source, "ModelsBase->sendChangesToBackend");
        let fields: BTreeSet<String> = event.changed_fields.iter().cloned().collect();
        assert_eq!(fields.len(), event.changed_fields.len(), "each column once");
        let known =
            announced.insert((event.model.clone(), event.record_id.to_string()), (event.action.to_string(), fields));
        assert_eq!(known, None, "{event:?} is announced twice");
    }
    let mut expected = BTreeMap::new();
    for key in before.keys().chain(after.keys()).collect::<BTreeSet<_>>() {
        let (action, fields) = match (before.get(key), after.get(key)) {
            (None, Some(row)) => ("afterSave", row.keys().cloned().collect()),
            (Some(row), None) => ("afterDelete", row.keys().cloned().collect()),
            (Some(old), Some(new)) => (
                "afterSave",
                old.iter().filter(|(column, value)| new[*column] != **value).map(|(c, _)| c.clone()).collect(),
            ),
            (None, None) => unreachable!("the key comes from one of the two"),
        };
        let fields: BTreeSet<String> = fields;
        if !fields.is_empty() {
            let model = format!("MikoPBX\\Common\\Models\\{}", &key.0["m_".len()..]);
            expected.insert((model, key.1.trim_start_matches('#').to_owned()), (action.to_owned(), fields));
        }
    }
    assert_eq!(announced, expected);
}

pub(crate) fn events(outcome: &TaskOutcome) -> &[ModelEvent] {
    match outcome {
        TaskOutcome::Applied(applied) => &applied.events,
        TaskOutcome::Refused { .. } => &[],
    }
}

/// The events in short: `Users 113 email`, `-ExternalPhones 21`.
pub(crate) fn short(events: &[ModelEvent]) -> Vec<String> {
    events
        .iter()
        .map(|event| {
            let model = event.model.rsplit('\\').next().expect("a class");
            match &*event.action {
                "afterDelete" => format!("-{model} {}", event.record_id),
                _ => format!("{model} {} {}", event.record_id, event.changed_fields.join(",")),
            }
        })
        .collect()
}

/// A host with a clock of its own.
#[derive(Default)]
pub(crate) struct RecordingHost {
    pub(crate) now: Cell<i64>,
    pub(crate) held: Cell<bool>,
    pub(crate) taken: Cell<u32>,
    pub(crate) refuses: Cell<bool>,
    pub(crate) pauses: RefCell<Vec<u32>>,
    /// Runs in every pause.
    pub(crate) during_pause: RefCell<Option<Box<dyn FnMut()>>>,
}

impl Host for RecordingHost {
    fn announce(&self, _events: &str) -> bool {
        panic!("announcing is not the writer's business")
    }

    fn progress(&self, _json: &str) {}

    fn begin_write(&self, _timeout_ms: u32) -> bool {
        assert!(!self.held.get(), "the mutex is not taken twice");
        // A second passes, so that a test of patience does not take ten real ones.
        self.now.set(self.now.get() + 1000);
        if self.refuses.get() {
            return false;
        }
        self.taken.set(self.taken.get() + 1);
        self.held.set(true);
        true
    }

    fn end_write(&self) {
        assert!(self.held.get(), "the mutex is released once");
        self.held.set(false);
    }

    fn now(&self) -> i64 {
        self.now.get()
    }

    fn pause(&self, ms: u32) {
        assert!(!self.held.get(), "nobody waits while holding the mutex");
        self.now.set(self.now.get() + i64::from(ms));
        self.pauses.borrow_mut().push(ms);
        if let Some(action) = self.during_pause.borrow_mut().as_mut() {
            action();
        }
    }
}

pub(crate) fn values(pairs: &[(Field, &str)]) -> Values {
    let mut values = Values::default();
    for (field, value) in pairs {
        values[*field] = (*value).into();
    }
    values
}

/// A new employee; `tag` is the last two digits of the record identifiers.
pub(crate) fn create(tag: u32, pairs: &[(Field, &str)]) -> CreateTask {
    CreateTask {
        sip_uniqid: format!("SIP-PHONE-ABCDEF{tag:02}"),
        external_uniqid: format!("EXTERNAL-ABCDEF{tag:02}"),
        secret: SecretString::from(SECRET),
        values: values(pairs),
        forward_to_mobile: true,
    }
}

/// Changes of an employee as they stand now.
pub(crate) fn update(fixture: &Fixture, user_id: i64, pairs: &[(Field, &str)]) -> UpdateTask {
    let snapshot = fixture.open().read().expect("reads");
    let employee = snapshot.employees.iter().find(|employee| employee.user_id == user_id).expect("the employee");
    let mut new = employee.values.clone();
    for (field, value) in pairs {
        new[*field] = (*value).into();
    }
    UpdateTask {
        user_id,
        sip_uniqid: employee.sip_uniqid.clone(),
        old: employee.values.clone(),
        new,
        fields: pairs.iter().map(|(field, _)| *field).collect(),
        external_uniqid: format!("EXTERNAL-FEDC0{user_id}"),
        forward_to_mobile: true,
        secret: SecretString::default(),
        rows: employee.rows,
    }
}

/// An empty vault.
pub(crate) fn vault() -> Arc<Vault> {
    Arc::new(Vault::new([5; 32]))
}

/// A JPEG; `mark` tells one from another.
pub(crate) fn photo(mark: u8) -> Vec<u8> {
    [include_bytes!("../../../../tests/data/photo.jpg").as_slice(), &[mark]].concat()
}

pub(crate) fn md5(bytes: &[u8]) -> String {
    Md5::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
