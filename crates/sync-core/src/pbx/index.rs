//! Where values stand in the tables that grow with the number of employees. MikoPBX's tables have no indexes: without
//! this, each question about one person would be a scan over everybody.
//!
//! The index knows hashes only, and forgets nothing while it is kept: what it answers may be too much, never too little.
//! So whoever asks still looks at the rows.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use rusqlite::Connection;
use serde_json::json;

use super::lock;
use super::schema::{Schema, Table, text};
use super::state::comparable_email;
use crate::matching::comparable_name;
use crate::numbering::SmallestNumbers;

/// Columns by whose values rows are looked for. Nothing else may be asked of an [`Index`].
const INDEXED: [(Table, &[&str]); 5] = [
    (Table::Users, &["email", "username"]),
    (Table::Extensions, &["number", "userid"]),
    (Table::Sip, &["extension", "uniqid"]),
    (Table::Forwarding, &["extension", "forwarding", "forwardingonbusy", "forwardingonunavailable"]),
    (Table::ExternalPhones, &["extension", "uniqid"]),
];

/// The last digits of a telephone number, which stand for all its spellings.
const END: &str = "end of number";
/// How many digits that are.
const END_DIGITS: usize = 7;

/// A value in a row: the hash of table, column and value, with zeros where a [`Places`] keeps the row, and the row's `id`.
type Place = (u64, i64);

/// The bits of a [`Place`] that hold the row's `id`: those of rows beyond are very rare.
const ROW: u64 = 0xff_ffff;

/// Rows by the hash of a value. On a large PBX there are very many, so most are eight bytes.
#[derive(Clone, Debug, Default)]
struct Places {
    /// Hash and row in one.
    near: BTreeSet<u64>,
    /// Rows that do not fit in there.
    far: BTreeSet<Place>,
}

impl Places {
    /// Packs very many at once.
    fn new(places: &[Place]) -> Places {
        let near = places.iter().filter_map(|place| packed(*place)).collect();
        let far = places.iter().copied().filter(|place| packed(*place).is_none()).collect();
        Places { near, far }
    }

    /// The rows of a hash.
    fn of(&self, hash: u64) -> impl Iterator<Item = i64> + '_ {
        let near = self.near.range(hash..=hash | ROW).map(|place| (place & ROW) as i64);
        near.chain(self.far.range((hash, i64::MIN)..=(hash, i64::MAX)).map(|(_, row)| *row))
    }

    fn extend(&mut self, places: impl IntoIterator<Item = Place>) {
        for place in places {
            match packed(place) {
                Some(near) => self.near.insert(near),
                None => self.far.insert(place),
            };
        }
    }
}

/// Hash and row in one, where the row fits in.
fn packed((hash, row): Place) -> Option<u64> {
    u64::try_from(row).ok().filter(|row| *row <= ROW).map(|row| hash | row)
}

/// What was written, for the index.
#[derive(Debug, Default)]
pub(super) struct Placed {
    places: Vec<Place>,
    numbers: Vec<String>,
}

impl Placed {
    /// Takes in a value of a row, in a column by which rows are looked for.
    pub(super) fn add(&mut self, table: Table, column: &str, value: &str, row: i64) {
        self.places.extend(places(table, column, value, row));
    }

    /// Takes in the internal number of a new employee.
    pub(super) fn add_number(&mut self, number: String) {
        self.numbers.push(number);
    }
}

/// The database together with its index.
#[derive(Clone, Copy)]
pub(super) struct Indexed<'a> {
    pub(super) connection: &'a Connection,
    pub(super) schema: &'a Schema,
    pub(super) index: &'a Index,
}

/// Where values stand, as of one state of the database.
#[derive(Clone, Debug)]
pub(crate) struct Index {
    places: Places,
    /// Of all employees' internal numbers.
    smallest_numbers: SmallestNumbers,
    /// `PRAGMA data_version` of that state: commits of this connection do not change it.
    version: i64,
}

impl Index {
    /// The index of the database as it is in this transaction: the one kept, or a new one where somebody else has
    /// committed since.
    pub(super) fn current<'a>(
        kept: &'a mut Option<Arc<Index>>,
        transaction: &Connection,
        schema: &Schema,
    ) -> rusqlite::Result<&'a Arc<Index>> {
        let version = lock::version(transaction)?;
        let index = match kept.take().filter(|index| index.version == version) {
            Some(index) => index,
            None => Arc::new(Index::read(transaction, schema, version)?),
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
                    places.extend(self::places(table, column, &text(row, at + 1)?, id));
                }
            }
        }
        Ok(Index { places: Places::new(&places), smallest_numbers: smallest_numbers(connection)?, version })
    }

    /// Takes in what this connection has committed.
    pub(super) fn add(&mut self, placed: Placed) {
        self.places.extend(placed.places);
        placed.numbers.iter().for_each(|number| self.smallest_numbers.add(number));
    }

    /// The smallest internal numbers of employees. One that was changed since the index was made still counts.
    pub(super) fn smallest_numbers(&self) -> &SmallestNumbers {
        &self.smallest_numbers
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

    /// The rows of `m_Extensions` with a number that ends like one of these telephone numbers.
    pub(super) fn rows_ending_like<'a>(&self, numbers: impl IntoIterator<Item = &'a str>) -> BTreeSet<i64> {
        let ends: Vec<String> = numbers.into_iter().filter_map(end_of).collect();
        let mut rows = BTreeSet::new();
        self.collect(Table::Extensions, END, ends.iter().map(String::as_str), &mut rows);
        rows
    }

    /// Whether a row may hold the number as its own.
    pub(super) fn may_be_taken(&self, number: &str) -> bool {
        let owners = [
            (Table::Extensions, "number"),
            (Table::Sip, "extension"),
            (Table::Forwarding, "extension"),
            (Table::ExternalPhones, "extension"),
        ];
        let holds = |(table, column)| {
            place(table, column, number, 0).is_some_and(|(hash, _)| self.places.of(hash).next().is_some())
        };
        owners.into_iter().any(holds)
    }

    fn collect<'a>(
        &self,
        table: Table,
        column: &str,
        values: impl IntoIterator<Item = &'a str>,
        rows: &mut BTreeSet<i64>,
    ) {
        for (hash, _) in values.into_iter().filter_map(|value| place(table, column, value, 0)) {
            rows.extend(self.places.of(hash));
        }
    }
}

/// Whether rows of a table are looked for by the values of a column.
pub(super) fn is_indexed(table: Table, column: &str) -> bool {
    INDEXED.iter().any(|(one, columns)| *one == table && columns.contains(&column))
}

/// The internal numbers of employees.
fn smallest_numbers(connection: &Connection) -> rusqlite::Result<SmallestNumbers> {
    let sql = "SELECT number FROM m_Extensions WHERE type = 'SIP' AND is_general_user_number = '1' AND userid <> ''";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([])?;
    let mut smallest = SmallestNumbers::default();
    while let Some(row) = rows.next()? {
        smallest.add(&text(row, 0)?);
    }
    Ok(smallest)
}

/// The last digits of a telephone number; none where it has too few to be one.
fn end_of(number: &str) -> Option<String> {
    let digits: Vec<char> = number.chars().filter(char::is_ascii_digit).collect();
    Some(digits[digits.len().checked_sub(END_DIGITS)?..].iter().collect())
}

/// Where a value is found: under itself, a telephone number under its end as well.
fn places(table: Table, column: &str, value: &str, row: i64) -> impl Iterator<Item = Place> {
    let is_number = (table, column) == (Table::Extensions, "number");
    let end = end_of(value).filter(|_| is_number).and_then(|end| place(table, END, &end, row));
    place(table, column, value, row).into_iter().chain(end)
}

/// The place of a value; an empty one is not looked for.
fn place(table: Table, column: &str, value: &str, row: i64) -> Option<Place> {
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
    Some((hasher.finish() & !ROW, row))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_however_they_are_spelled_and_empty_ones_never() {
        let mut index = Index { places: Places::default(), smallest_numbers: SmallestNumbers::default(), version: 1 };
        let mut placed = Placed::default();
        placed.add(Table::Users, "email", " Anna@Example.test", 7);
        placed.add(Table::Users, "username", "Пётр", 8);
        placed.add(Table::Users, "username", "Петр", i64::MAX);
        placed.add(Table::Extensions, "number", "201", 9);
        placed.add(Table::Extensions, "number", "79161234567", 11);
        placed.add(Table::Forwarding, "forwarding", "201", 10);
        placed.add_number("201".to_owned());
        index.add(placed);
        let rows = |table, column, value| index.rows(table, column, [value]);
        assert_eq!(rows(Table::Users, "email", "anna@example.test"), "[7]");
        assert_eq!(rows(Table::Users, "username", "петр"), "[8,9223372036854775807]");
        assert_eq!(rows(Table::Extensions, "number", "201"), "[9]");
        assert_eq!(rows(Table::Extensions, "number", ""), "[]");
        assert_eq!(rows(Table::Extensions, "userid", "201"), "[]");
        let forwardings = index.rows_of_any(Table::Forwarding, &["extension", "forwarding"], &["201", "202"]);
        assert_eq!(forwardings, "[10]");
        assert!(index.may_be_taken("201"));
        assert!(!index.may_be_taken("202"));
        assert_eq!(index.rows_ending_like(["8 (916) 123-45-67"]), [11].into());
        assert_eq!(index.rows_ending_like(["201", "1234568"]), [].into());
        assert_eq!(index.smallest_numbers().longest(), Some(3));
    }
}
