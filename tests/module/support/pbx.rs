//! The PBX's database seen from outside the plugin: every row of every table, and what changed between two readings.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use md5::{Digest, Md5};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};

/// A PBX's database and media directory.
#[derive(Clone, Debug)]
pub(crate) struct Pbx {
    pub(crate) database: PathBuf,
    pub(crate) media: PathBuf,
}

/// Rows by table and id, columns by name, values with their SQLite type: `text:201`, `integer:110`, `null`.
pub(crate) type Rows = BTreeMap<(String, String), BTreeMap<String, String>>;

/// One column of one row that differs; `None` where the row does not exist.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Difference {
    pub(crate) table: String,
    pub(crate) id: String,
    pub(crate) column: String,
    pub(crate) old: Option<String>,
    pub(crate) new: Option<String>,
}

/// What MikoPBX announces about one record: (short model name, id, `afterSave` or `afterDelete`).
pub(crate) type RecordEvent = (String, String, String);

/// One employee, as the PBX stores the values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct EmployeeRow {
    pub(crate) user_id: i64,
    pub(crate) name: String,
    pub(crate) email: String,
    pub(crate) number: String,
    pub(crate) mobile: String,
    pub(crate) avatar: String,
    pub(crate) sip_uniqid: String,
}

impl Pbx {
    /// Everything the PBX holds: all rows, and the files of the media directory as rows of a table `files`.
    pub(crate) fn dump(&self) -> Rows {
        let connection = self.open();
        let mut rows = Rows::new();
        for table in tables(&connection) {
            read_table(&connection, &table, &mut rows);
        }
        files(&self.media, &self.media, &mut rows);
        rows
    }

    /// All employees by e-mail address would lose those without one; so: a list in the order of their ids.
    pub(crate) fn employees(&self) -> Vec<EmployeeRow> {
        let connection = self.open();
        let sql = "select u.id, coalesce(u.username, ''), coalesce(u.email, ''), s.number, coalesce(m.number, ''),
                coalesce(u.avatar, ''), coalesce(p.uniqid, '')
            from m_Users u
            join m_Extensions s on s.userid = u.id and s.type = 'SIP' and s.is_general_user_number = '1'
            left join m_Extensions m on m.userid = u.id and m.type = 'EXTERNAL' and m.is_general_user_number = '1'
            left join m_Sip p on p.extension = s.number and p.type = 'peer'
            order by u.id";
        let mut statement = connection.prepare(sql).expect("the PBX's tables");
        let rows = statement.query_map([], |row| {
            Ok(EmployeeRow {
                user_id: row.get(0)?,
                name: row.get(1)?,
                email: row.get(2)?,
                number: row.get(3)?,
                mobile: row.get(4)?,
                avatar: row.get(5)?,
                sip_uniqid: row.get(6)?,
            })
        });
        rows.expect("the employees").collect::<Result<_, _>>().expect("the employees' values")
    }

    /// The one employee with this id.
    pub(crate) fn employee(&self, user_id: i64) -> EmployeeRow {
        let found = self.employees().into_iter().find(|employee| employee.user_id == user_id);
        found.unwrap_or_else(|| panic!("the PBX has no employee {user_id}"))
    }

    /// The one employee with this name.
    pub(crate) fn employee_named(&self, name: &str) -> EmployeeRow {
        let mut found: Vec<EmployeeRow> = self.employees().into_iter().filter(|row| row.name == name).collect();
        assert_eq!(found.len(), 1, "employees called {name}: {found:?}");
        found.remove(0)
    }

    /// Sets one value of the PBX's settings, as an administrator would.
    pub(crate) fn set_setting(&self, key: &str, value: &str) {
        self.execute("insert or replace into m_PbxSettings (key, value) values (?1, ?2)", &[key, value]);
    }

    /// Runs one statement against the PBX's database.
    pub(crate) fn execute(&self, sql: &str, parameters: &[&str]) {
        let connection = Connection::open(&self.database).expect("the PBX's database");
        connection.execute(sql, rusqlite::params_from_iter(parameters)).expect("a statement of the test");
    }

    /// Opens the database for reading only.
    pub(crate) fn open(&self) -> Connection {
        let connection = Connection::open_with_flags(&self.database, OpenFlags::SQLITE_OPEN_READ_ONLY);
        connection.unwrap_or_else(|error| panic!("{} cannot be opened: {error}", self.database.display()))
    }

    /// The largest id of an employee.
    pub(crate) fn last_user_id(&self) -> i64 {
        self.employees().last().map_or(0, |employee| employee.user_id)
    }
}

/// What differs between two readings, column by column.
pub(crate) fn differences(old: &Rows, new: &Rows) -> BTreeSet<Difference> {
    let keys: BTreeSet<_> = old.keys().chain(new.keys()).collect();
    let nothing = BTreeMap::new();
    let mut found = BTreeSet::new();
    for key in keys {
        let (before, after) = (old.get(key), new.get(key));
        let (left, right) = (before.unwrap_or(&nothing), after.unwrap_or(&nothing));
        let columns: BTreeSet<_> = left.keys().chain(right.keys()).collect();
        for column in columns {
            let (was, is) = (left.get(column), right.get(column));
            if was != is {
                found.insert(Difference {
                    table: key.0.clone(),
                    id: key.1.clone(),
                    column: column.clone(),
                    old: was.cloned(),
                    new: is.cloned(),
                });
            }
        }
    }
    found
}

/// The events MikoPBX would announce for these differences: one per changed record of a model.
pub(crate) fn expected_events(old: &Rows, new: &Rows) -> BTreeSet<RecordEvent> {
    let event = |difference: Difference| {
        let model = difference.table.strip_prefix("m_")?.to_owned();
        let gone = !new.contains_key(&(difference.table.clone(), difference.id.clone()));
        let action = if gone { "afterDelete" } else { "afterSave" };
        Some((model, difference.id, action.to_owned()))
    };
    differences(old, new).into_iter().filter_map(event).collect()
}

/// Tables of the PBX, without SQLite's own counters.
fn tables(connection: &Connection) -> Vec<String> {
    let sql = "select name from sqlite_master where type = 'table' and name not like 'sqlite_%' order by name";
    let mut statement = connection.prepare(sql).expect("the list of tables");
    let names = statement.query_map([], |row| row.get(0)).expect("the list of tables");
    names.collect::<Result<_, _>>().expect("the list of tables")
}

fn read_table(connection: &Connection, table: &str, rows: &mut Rows) {
    let mut statement = connection.prepare(&format!("select rowid as own_row, * from \"{table}\"")).expect("a table");
    let columns: Vec<String> = statement.column_names().map(str::to_owned).collect();
    let key = ["id", "key"].into_iter().find(|name| columns.iter().any(|column| column == name)).unwrap_or("own_row");
    let mut cursor = statement.query([]).expect("the rows of a table");
    while let Some(row) = cursor.next().expect("a row") {
        let mut values = BTreeMap::new();
        let mut id = String::new();
        for (index, column) in columns.iter().enumerate() {
            let value = row.get_ref(index).expect("a value");
            if column == key {
                id = shown(value).split_once(':').map_or_else(String::new, |(_, text)| text.to_owned());
            }
            if column != "own_row" {
                values.insert(column.clone(), shown(value));
            }
        }
        rows.insert((table.to_owned(), id), values);
    }
}

fn shown(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Null => "null".to_owned(),
        ValueRef::Integer(number) => format!("integer:{number}"),
        ValueRef::Real(number) => format!("real:{number}"),
        ValueRef::Text(text) => format!("text:{}", String::from_utf8_lossy(text)),
        ValueRef::Blob(bytes) => format!("blob:{}", md5_hex(bytes)),
    }
}

fn files(base: &Path, directory: &Path, rows: &mut Rows) {
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    for path in entries.map(|entry| entry.expect("an entry of the media directory").path()) {
        if path.is_dir() {
            files(base, &path, rows);
        } else {
            let name = path.strip_prefix(base).expect("a file below the media directory").display().to_string();
            let content = md5_hex(&std::fs::read(&path).expect("a file of the media directory"));
            rows.insert(("files".to_owned(), name), BTreeMap::from([("md5".to_owned(), content)]));
        }
    }
}

/// MD5 in lower-case hex, as MikoPBX stores it for photos.
pub(crate) fn md5_hex(bytes: &[u8]) -> String {
    Md5::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
