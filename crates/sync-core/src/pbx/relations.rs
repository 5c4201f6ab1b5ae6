//! Columns that hold a number of `m_Extensions` and follow it when it changes (docs/MIKOPBX.md, Number relations).

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::Connection;

use super::index::{Indexed, is_indexed};
use super::schema::{Schema, Table, text};

/// In the order in which MikoPBX saves them.
const RELATIONS: [(Table, &[&str]); 11] = [
    (Table::Sip, &["extension"]),
    (Table::ExternalPhones, &["extension"]),
    (Table::DialplanApplications, &["extension"]),
    (Table::ConferenceRooms, &["extension"]),
    (
        Table::CallQueues,
        &[
            "extension",
            "timeout_extension",
            "redirect_to_extension_if_empty",
            "redirect_to_extension_if_unanswered",
            "redirect_to_extension_if_repeat_exceeded",
        ],
    ),
    (Table::CallQueueMembers, &["extension"]),
    (Table::IncomingRouting, &["extension"]),
    (Table::OutWorkTimes, &["extension"]),
    (Table::Forwarding, &["extension", "forwarding", "forwardingonbusy", "forwardingonunavailable"]),
    (Table::IvrMenu, &["extension", "timeout_extension"]),
    (Table::IvrMenuActions, &["extension"]),
];

/// Tables whose `extension` is the row's own number.
const OWNERS: [Table; 7] = [
    Table::Sip,
    Table::ExternalPhones,
    Table::DialplanApplications,
    Table::ConferenceRooms,
    Table::CallQueues,
    Table::Forwarding,
    Table::IvrMenu,
];

/// One column of one row that holds a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reference {
    pub(super) table: Table,
    pub(super) row: i64,
    pub(super) column: &'static str,
}

impl Reference {
    /// True when the row belongs to the number rather than pointing at it.
    pub(super) fn is_owner(&self) -> bool {
        self.column == "extension" && OWNERS.contains(&self.table)
    }
}

/// Every reference to each of `numbers`, in the order of [`RELATIONS`] and then of the rows.
pub(super) fn references(
    rows: Indexed<'_>,
    numbers: &BTreeSet<String>,
) -> rusqlite::Result<BTreeMap<String, Vec<Reference>>> {
    let Indexed { connection, schema, index } = rows;
    let mut found: BTreeMap<String, Vec<Reference>> = BTreeMap::new();
    if numbers.is_empty() {
        return Ok(found);
    }
    let list = serde_json::json!(numbers).to_string();
    let wanted: Vec<&str> = numbers.iter().map(String::as_str).collect();
    for (table, columns) in RELATIONS {
        let columns = schema.existing(table, columns);
        if columns.is_empty() {
            continue;
        }
        let indexed = columns.iter().all(|column| is_indexed(table, column));
        let (among, list) = match indexed {
            true => ("id IN (SELECT value FROM json_each(?1))".to_owned(), index.rows_of_any(table, &columns, &wanted)),
            false => (any_among(&columns), list.clone()),
        };
        let sql = format!("SELECT id, {} FROM {} WHERE {among} ORDER BY id", columns.join(", "), table.name());
        let mut statement = connection.prepare_cached(&sql)?;
        let mut rows = statement.query([&list])?;
        while let Some(row) = rows.next()? {
            for (index, &column) in columns.iter().enumerate() {
                let number = text(row, index + 1)?;
                if numbers.contains(&number) {
                    let reference = Reference { table, row: row.get(0)?, column };
                    found.entry(number).or_default().push(reference);
                }
            }
        }
    }
    Ok(found)
}

/// A condition that one of the columns is in the JSON list.
fn any_among(columns: &[&str]) -> String {
    let among: Vec<String> =
        columns.iter().map(|column| format!("{column} IN (SELECT value FROM json_each(?1))")).collect();
    among.join(" OR ")
}

/// Every row that belongs to a number, in the order of [`OWNERS`] and then of the rows: its number, table and id.
pub(super) fn owned(connection: &Connection, schema: &Schema) -> rusqlite::Result<Vec<(String, Table, i64)>> {
    owned_in(connection, schema, &OWNERS)
}

/// The same, of the tables that do not grow with the employees.
pub(super) fn owned_besides_employees(
    connection: &Connection,
    schema: &Schema,
) -> rusqlite::Result<Vec<(String, Table, i64)>> {
    let others: Vec<Table> = OWNERS.into_iter().filter(|table| !is_indexed(*table, "extension")).collect();
    owned_in(connection, schema, &others)
}

fn owned_in(connection: &Connection, schema: &Schema, tables: &[Table]) -> rusqlite::Result<Vec<(String, Table, i64)>> {
    let mut found = Vec::new();
    for table in tables.iter().copied().filter(|&table| schema.has(table, "extension")) {
        let sql = format!("SELECT id, extension FROM {} WHERE extension <> '' ORDER BY id", table.name());
        let mut statement = connection.prepare_cached(&sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            found.push((text(row, 1)?, table, row.get(0)?));
        }
    }
    Ok(found)
}
