//! Where values stand in the tables that grow with the number of employees. MikoPBX's tables have no indexes: without
//! this, each question about one person would be a scan over everybody.
//!
//! The index knows hashes only, and forgets nothing while it is kept: what it answers may be too much, never too little.
//! So whoever asks still looks at the rows.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use rusqlite::Connection;
use serde_json::json;

use super::lock;
use super::schema::{Schema, Table, text};
use super::state::comparable_email;
use crate::matching::comparable_name;

/// Columns by whose values rows are looked for. Nothing else may be asked of an [`Index`].
const INDEXED: [(Table, &[&str]); 5] = [
    (Table::Users, &["email", "username"]),
    (Table::Extensions, &["number", "userid"]),
    (Table::Sip, &["extension", "uniqid"]),
    (Table::Forwarding, &["extension", "forwarding", "forwardingonbusy", "forwardingonunavailable"]),
    (Table::ExternalPhones, &["extension", "uniqid"]),
];

/// A value in a row: the hash of table, column and value, and the row's `id`.
pub(super) type Place = (u64, i64);

/// The database together with its index.
#[derive(Clone, Copy)]
pub(super) struct Indexed<'a> {
    pub(super) connection: &'a Connection,
    pub(super) schema: &'a Schema,
    pub(super) index: &'a Index,
}

/// Where values stand, as of one state of the database.
#[derive(Debug)]
pub(super) struct Index {
    places: BTreeSet<Place>,
    /// `PRAGMA data_version` of that state: commits of this connection do not change it.
    version: i64,
}

impl Index {
    /// The index of the database as it is in this transaction: the one kept, or a new one where somebody else has
    /// committed since.
    pub(super) fn current<'a>(
        kept: &'a mut Option<Index>,
        transaction: &Connection,
        schema: &Schema,
    ) -> rusqlite::Result<&'a Index> {
        let version = lock::version(transaction)?;
        let index = match kept.take().filter(|index| index.version == version) {
            Some(index) => index,
            None => Index::read(transaction, schema, version)?,
        };
        Ok(kept.insert(index))
    }

    /// Reads the tables, one scan each.
    fn read(connection: &Connection, schema: &Schema, version: i64) -> rusqlite::Result<Index> {
        let mut places: Vec<Place> = Vec::new();
        for (table, columns) in INDEXED {
            let columns = schema.existing(table, columns);
            let sql = format!("SELECT id, {} FROM {}", columns.join(", "), table.name());
            let mut statement = connection.prepare_cached(&sql)?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let id = row.get(0)?;
                for (at, column) in columns.iter().enumerate() {
                    places.extend(place(table, column, &text(row, at + 1)?, id));
                }
            }
        }
        places.sort_unstable();
        Ok(Index { places: places.into_iter().collect(), version })
    }

    /// Takes in what this connection has committed.
    pub(super) fn add(&mut self, places: Vec<Place>) {
        self.places.extend(places);
    }

    /// Every row of `table` that has one of the values in `column`, as the JSON list an SQL statement takes.
    pub(super) fn rows<'a>(&self, table: Table, column: &str, values: impl IntoIterator<Item = &'a str>) -> String {
        let mut rows = BTreeSet::new();
        self.collect(table, column, values, &mut rows);
        json!(rows).to_string()
    }

    /// As [`Index::rows`], for several columns.
    pub(super) fn rows_of_any(&self, table: Table, columns: &[&str], values: &[&str]) -> String {
        let mut rows = BTreeSet::new();
        for column in columns {
            self.collect(table, column, values.iter().copied(), &mut rows);
        }
        json!(rows).to_string()
    }

    /// Whether a row may have the value.
    pub(super) fn may_hold(&self, table: Table, column: &str, value: &str) -> bool {
        place(table, column, value, 0).is_some_and(|(hash, _)| self.with(hash).next().is_some())
    }

    fn collect<'a>(
        &self,
        table: Table,
        column: &str,
        values: impl IntoIterator<Item = &'a str>,
        rows: &mut BTreeSet<i64>,
    ) {
        for (hash, _) in values.into_iter().filter_map(|value| place(table, column, value, 0)) {
            rows.extend(self.with(hash));
        }
    }

    fn with(&self, hash: u64) -> impl Iterator<Item = i64> + '_ {
        self.places.range((hash, i64::MIN)..=(hash, i64::MAX)).map(|(_, row)| *row)
    }
}

/// Whether rows of a table are looked for by the values of a column.
pub(super) fn is_indexed(table: Table, column: &str) -> bool {
    INDEXED.iter().any(|(one, columns)| *one == table && columns.contains(&column))
}

/// The place of a value; an empty one is not looked for.
pub(super) fn place(table: Table, column: &str, value: &str, row: i64) -> Option<Place> {
    if value.is_empty() {
        return None;
    }
    let mut hasher = DefaultHasher::new();
    (table as u8, column).hash(&mut hasher);
    match (table, column) {
        (Table::Users, "email") => comparable_email(value).hash(&mut hasher),
        (Table::Users, "username") => comparable_name(value).hash(&mut hasher),
        _ => value.hash(&mut hasher),
    }
    Some((hasher.finish(), row))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_however_they_are_spelled_and_empty_ones_never() {
        let mut index = Index { places: BTreeSet::new(), version: 1 };
        let given = [
            place(Table::Users, "email", " Anna@Example.test", 7),
            place(Table::Users, "username", "Пётр", 8),
            place(Table::Extensions, "number", "201", 9),
            place(Table::Forwarding, "forwarding", "201", 10),
        ];
        index.add(given.into_iter().flatten().collect());
        let rows = |table, column, value| index.rows(table, column, [value]);
        assert_eq!(rows(Table::Users, "email", "anna@example.test"), "[7]");
        assert_eq!(rows(Table::Users, "username", "петр"), "[8]");
        assert_eq!(rows(Table::Extensions, "number", "201"), "[9]");
        assert_eq!(rows(Table::Extensions, "number", ""), "[]");
        assert_eq!(rows(Table::Extensions, "userid", "201"), "[]");
        let forwardings = index.rows_of_any(Table::Forwarding, &["extension", "forwarding"], &["201", "202"]);
        assert_eq!(forwardings, "[10]");
        assert!(index.may_hold(Table::Extensions, "number", "201"));
        assert!(!index.may_hold(Table::Extensions, "number", "202"));
    }
}
