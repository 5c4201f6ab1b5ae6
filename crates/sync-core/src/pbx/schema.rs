//! Which of MikoPBX's tables and columns this PBX has. Column order and the set of columns differ between versions
//! (docs/MIKOPBX.md, Tables), so nothing is assumed.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};

use super::PbxError;

/// The tables this module knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Table {
    Users,
    Extensions,
    Sip,
    Forwarding,
    ExternalPhones,
    DialplanApplications,
    ConferenceRooms,
    CallQueues,
    CallQueueMembers,
    IncomingRouting,
    OutWorkTimes,
    IvrMenu,
    IvrMenuActions,
    OutgoingRouting,
    Settings,
}

const ALL: [Table; 15] = [
    Table::Users,
    Table::Extensions,
    Table::Sip,
    Table::Forwarding,
    Table::ExternalPhones,
    Table::DialplanApplications,
    Table::ConferenceRooms,
    Table::CallQueues,
    Table::CallQueueMembers,
    Table::IncomingRouting,
    Table::OutWorkTimes,
    Table::IvrMenu,
    Table::IvrMenuActions,
    Table::OutgoingRouting,
    Table::Settings,
];

/// Without these no employee can be read or written; everything else is used where it exists.
const REQUIRED: [(Table, &[&str]); 6] = [
    (Table::Users, &["id", "email", "username", "avatar"]),
    (Table::Extensions, &["id", "number", "type", "callerid", "userid", "is_general_user_number"]),
    (Table::Sip, &["id", "uniqid", "disabled", "extension", "type", "secret", "description"]),
    (
        Table::Forwarding,
        &["id", "extension", "forwarding", "forwardingonbusy", "forwardingonunavailable", "ringlength"],
    ),
    (Table::ExternalPhones, &["id", "extension", "uniqid", "dialstring", "disabled"]),
    (Table::Settings, &["key", "value"]),
];

impl Table {
    /// The table's name in SQL.
    pub(super) fn name(self) -> &'static str {
        match self {
            Table::Users => "m_Users",
            Table::Extensions => "m_Extensions",
            Table::Sip => "m_Sip",
            Table::Forwarding => "m_ExtensionForwardingRights",
            Table::ExternalPhones => "m_ExternalPhones",
            Table::DialplanApplications => "m_DialplanApplications",
            Table::ConferenceRooms => "m_ConferenceRooms",
            Table::CallQueues => "m_CallQueues",
            Table::CallQueueMembers => "m_CallQueueMembers",
            Table::IncomingRouting => "m_IncomingRoutingTable",
            Table::OutWorkTimes => "m_OutWorkTimes",
            Table::IvrMenu => "m_IvrMenu",
            Table::IvrMenuActions => "m_IvrMenuActions",
            Table::OutgoingRouting => "m_OutgoingRoutingTable",
            Table::Settings => "m_PbxSettings",
        }
    }

    /// The table with this name in SQL, if this module knows it.
    pub(super) fn from_name(name: &str) -> Option<Table> {
        ALL.into_iter().find(|table| table.name() == name)
    }

    /// The PHP class that stands for the table in events: the table's name without `m_`.
    pub(super) fn model(self) -> String {
        format!("MikoPBX\\Common\\Models\\{}", &self.name()["m_".len()..])
    }
}

/// One column as SQLite describes it.
pub(super) struct Column {
    pub(super) name: String,
    pub(super) is_integer: bool,
    /// NOT NULL without a default: an INSERT must give it a value.
    pub(super) must_be_given: bool,
}

/// The tables that exist.
pub(super) struct Schema(BTreeMap<Table, Shape>);

struct Shape {
    /// In physical order.
    columns: Vec<Column>,
    /// The names of all of them, `id` last.
    of_new: Arc<[String]>,
}

impl Shape {
    fn new(columns: Vec<Column>) -> Shape {
        let names = columns.iter().map(|column| column.name.clone()).filter(|name| name != "id");
        let of_new = names.chain(["id".to_owned()]).collect();
        Shape { columns, of_new }
    }
}

impl Schema {
    /// Asks SQLite for the shape of every table this module knows.
    pub(super) fn read(connection: &Connection) -> rusqlite::Result<Schema> {
        let mut tables = BTreeMap::new();
        let mut statement =
            connection.prepare_cached("SELECT name, type, \"notnull\", dflt_value, pk FROM pragma_table_info(?1)")?;
        for table in ALL {
            let columns = statement
                .query_map([table.name()], |row| {
                    let declared: String = row.get(1)?;
                    let required =
                        row.get::<_, bool>(2)? && row.get_ref(3)? == ValueRef::Null && row.get::<_, i64>(4)? == 0;
                    Ok(Column {
                        name: row.get(0)?,
                        is_integer: declared.to_ascii_uppercase().contains("INT"),
                        must_be_given: required,
                    })
                })?
                .collect::<rusqlite::Result<Vec<_>>>()?;
            if !columns.is_empty() {
                tables.insert(table, Shape::new(columns));
            }
        }
        Ok(Schema(tables))
    }

    /// Refuses a database that is not MikoPBX's.
    pub(super) fn check(&self, database: &Path) -> Result<(), PbxError> {
        let missing: Vec<String> = REQUIRED
            .iter()
            .flat_map(|(table, columns)| columns.iter().map(move |column| (*table, *column)))
            .filter(|(table, column)| !self.has(*table, column))
            .map(|(table, column)| format!("{}.{column}", table.name()))
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(PbxError::new(format!(
            "{} is not the database of a MikoPBX this module can work with: it lacks {}; check the path in the module's \
             configuration and the PBX's version",
            database.display(),
            missing.join(", ")
        )))
    }

    /// True when the table exists and has the column.
    pub(super) fn has(&self, table: Table, column: &str) -> bool {
        self.columns(table).iter().any(|known| known.name == column)
    }

    /// The table's columns in physical order; none when the table does not exist.
    pub(super) fn columns(&self, table: Table) -> &[Column] {
        self.0.get(&table).map_or(&[], |shape| shape.columns.as_slice())
    }

    /// The columns that the announcement of a new row names: all of them, `id` last.
    pub(super) fn columns_of_new(&self, table: Table) -> Arc<[String]> {
        self.0.get(&table).map_or_else(Arc::default, |shape| Arc::clone(&shape.of_new))
    }

    /// Those of `columns` that the table has.
    pub(super) fn existing<'a>(&self, table: Table, columns: &[&'a str]) -> Vec<&'a str> {
        columns.iter().copied().filter(|column| self.has(table, column)).collect()
    }
}

/// A column as text: NULL is empty, numbers are written out, broken UTF-8 is replaced, so that no row of the PBX can stop
/// a run.
pub(super) fn text(row: &Row<'_>, index: usize) -> rusqlite::Result<String> {
    Ok(match row.get_ref(index)? {
        ValueRef::Null => String::new(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => number.to_string(),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => String::from_utf8_lossy(bytes).into_owned(),
    })
}
