//! Writes single rows and keeps account: one event per record of the batch, and every value that was replaced.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use super::avatar;
use super::events;
use super::index::{self, Placed};
use super::schema::{Schema, Table};
use super::{ModelEvent, ReplacedValue};

/// Writes rows by id. A record that several tasks touch gets one event, given to the first of them.
pub(super) struct Writer<'a> {
    connection: &'a Connection,
    schema: &'a Schema,
    task: usize,
    touched: Vec<Touched>,
    known: BTreeMap<(Table, i64), usize>,
    replaced: BTreeMap<usize, Vec<ReplacedValue>>,
    placed: Placed,
    /// How rows were inserted last, by table.
    insertions: BTreeMap<Table, Insertion>,
}

/// A statement that inserts a row, and where its values come from.
struct Insertion {
    /// The columns that values are given for.
    names: Vec<&'static str>,
    sql: String,
    sources: Vec<Source>,
}

enum Source {
    Given(usize),
    Default(Value),
}

impl Insertion {
    fn new(schema: &Schema, table: Table, values: &[(&'static str, Value)]) -> Insertion {
        let (mut columns, mut sources) = (Vec::new(), Vec::new());
        for column in schema.columns(table) {
            let given = values.iter().position(|(name, _)| *name == column.name);
            if given.is_none() && !column.must_be_given {
                continue;
            }
            let none = if column.is_integer { Value::Integer(0) } else { Value::Text(String::new()) };
            sources.push(given.map_or(Source::Default(none), Source::Given));
            columns.push(column.name.as_str());
        }
        let places = vec!["?"; columns.len()].join(", ");
        let sql = format!("INSERT INTO {} ({}) VALUES ({places})", table.name(), list(&columns));
        Insertion { names: values.iter().map(|(name, _)| *name).collect(), sql, sources }
    }
}

struct Touched {
    task: usize,
    table: Table,
    row: i64,
    action: Action,
    columns: BTreeSet<String>,
}

#[derive(PartialEq, Eq)]
enum Action {
    Insert,
    Update,
    Delete,
}

/// What a batch wrote for one task.
#[derive(Default)]
pub(super) struct Written {
    pub(super) events: Vec<ModelEvent>,
    pub(super) replaced: Vec<ReplacedValue>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(connection: &'a Connection, schema: &'a Schema) -> Writer<'a> {
        Writer {
            connection,
            schema,
            task: 0,
            touched: Vec::new(),
            known: BTreeMap::new(),
            replaced: BTreeMap::new(),
            placed: Placed::default(),
            insertions: BTreeMap::new(),
        }
    }

    /// The writes that follow belong to this task.
    pub(super) fn begin_task(&mut self, task: usize) {
        self.task = task;
    }

    /// Inserts a row and answers its id. Columns the table does not have are left out; unknown columns that must have a
    /// value get an empty one.
    pub(super) fn insert(&mut self, table: Table, values: &[(&'static str, Value)]) -> rusqlite::Result<i64> {
        let given_for = |insertion: &Insertion| insertion.names.iter().eq(values.iter().map(|(name, _)| name));
        if !self.insertions.get(&table).is_some_and(given_for) {
            self.insertions.insert(table, Insertion::new(self.schema, table, values));
        }
        let insertion = &self.insertions[&table];
        let given = insertion.sources.iter().map(|source| match source {
            Source::Given(at) => &values[*at].1,
            Source::Default(value) => value,
        });
        let row = self.connection.prepare_cached(&insertion.sql)?.insert(params_from_iter(given))?;
        self.touch(table, row, Action::Insert, []);
        values.iter().for_each(|(column, value)| self.place(table, row, column, value));
        let text = |name: &str| values.iter().find(|(column, _)| *column == name).and_then(|(_, value)| as_text(value));
        if table == Table::Extensions && text("type").as_deref() == Some("SIP") {
            self.placed.add_number(text("number").unwrap_or_default());
        }
        Ok(row)
    }

    /// Sets those of the columns that exist and differ; a row in which nothing differs is not touched.
    pub(super) fn update(&mut self, table: Table, row: i64, values: &[(&str, Value)]) -> rusqlite::Result<()> {
        let values: Vec<_> = values.iter().filter(|(column, _)| self.schema.has(table, column)).collect();
        let names: Vec<_> = values.iter().map(|(column, _)| *column).collect();
        if names.is_empty() {
            return Ok(());
        }
        let stored = self.stored(table, row, &names)?;
        let changes: Vec<_> = values
            .iter()
            .zip(stored)
            .filter(|((_, new), old)| differ(old, new))
            .map(|((c, n), o)| (*c, n, o))
            .collect();
        if changes.is_empty() {
            return Ok(());
        }
        let assignments: Vec<_> = changes.iter().map(|(column, ..)| format!("{column} = ?")).collect();
        let sql = format!("UPDATE {} SET {} WHERE id = ?", table.name(), assignments.join(", "));
        let parameters = changes.iter().map(|(_, new, _)| (*new).clone()).chain([Value::Integer(row)]);
        self.connection.prepare_cached(&sql)?.execute(params_from_iter(parameters))?;
        self.touch(table, row, Action::Update, changes.iter().map(|(column, ..)| (*column).to_owned()));
        for (column, new, old) in changes {
            self.place(table, row, column, new);
            self.replace(table, row, column, as_text(&old), as_text(new));
        }
        Ok(())
    }

    /// Deletes a row.
    pub(super) fn delete(&mut self, table: Table, row: i64) -> rusqlite::Result<()> {
        let names: Vec<_> = self.schema.columns(table).iter().map(|column| column.name.as_str()).collect();
        let stored = self.stored(table, row, &names)?;
        let sql = format!("DELETE FROM {} WHERE id = ?1", table.name());
        self.connection.prepare_cached(&sql)?.execute([row])?;
        self.touch(table, row, Action::Delete, []);
        for (column, old) in names.into_iter().zip(stored) {
            self.replace(table, row, column, as_text(&old), None);
        }
        Ok(())
    }

    /// What was written, per task.
    pub(super) fn finish(self) -> (BTreeMap<usize, Written>, Placed) {
        let mut written: BTreeMap<usize, Written> = BTreeMap::new();
        for touched in &self.touched {
            let event = match touched.action {
                Action::Insert => events::created(self.schema, touched.table, touched.row),
                Action::Delete => events::deleted(self.schema, touched.table, touched.row),
                Action::Update => {
                    let mut fields = events::columns_without_id(self.schema, touched.table);
                    fields.retain(|field| touched.columns.contains(field));
                    events::updated(touched.table, touched.row, fields)
                }
            };
            written.entry(touched.task).or_default().events.push(event);
        }
        for (task, replaced) in self.replaced {
            written.entry(task).or_default().replaced = replaced;
        }
        (written, self.placed)
    }

    /// Notes where a value stands now, for the index.
    fn place(&mut self, table: Table, row: i64, column: &str, value: &Value) {
        if index::is_indexed(table, column) {
            self.placed.add(table, column, &as_text(value).unwrap_or_default(), row);
        }
    }

    fn stored(&self, table: Table, row: i64, columns: &[&str]) -> rusqlite::Result<Vec<Value>> {
        let sql = format!("SELECT {} FROM {} WHERE id = ?1", list(columns), table.name());
        self.connection
            .prepare_cached(&sql)?
            .query_row([row], |found| (0..columns.len()).map(|index| value(found, index)).collect())
    }

    fn touch(&mut self, table: Table, row: i64, action: Action, columns: impl IntoIterator<Item = String>) {
        let index = *self.known.entry((table, row)).or_insert_with(|| {
            self.touched.push(Touched {
                task: self.task,
                table,
                row,
                action: Action::Update,
                columns: BTreeSet::new(),
            });
            self.touched.len() - 1
        });
        let touched = &mut self.touched[index];
        touched.columns.extend(columns);
        if action != Action::Update {
            touched.action = action;
        }
    }

    fn replace(&mut self, table: Table, row: i64, column: &str, old: Option<String>, new: Option<String>) {
        // A SIP secret must not reach the journal.
        if self.inserted(table, row) || column == "secret" {
            return;
        }
        let old = match (table, column) {
            (Table::Users, "avatar") => old.map(|avatar| avatar::for_journal(row, avatar)),
            _ => old,
        };
        let replaced = self.replaced.entry(self.task).or_default();
        let table = table.name();
        match replaced.iter_mut().find(|known| known.table == table && known.row == row && known.column == column) {
            Some(known) => known.new = new,
            None => replaced.push(ReplacedValue { table: table.to_owned(), row, column: column.to_owned(), old, new }),
        }
    }

    fn inserted(&self, table: Table, row: i64) -> bool {
        self.known.get(&(table, row)).is_some_and(|&index| self.touched[index].action == Action::Insert)
    }
}

/// Quoted, because a module or a later version may have added a column whose name is a keyword.
fn list(columns: &[&str]) -> String {
    columns.iter().map(|column| format!("\"{}\"", column.replace('"', "\"\""))).collect::<Vec<_>>().join(", ")
}

/// A text value.
pub(super) fn words(text: impl AsRef<str>) -> Value {
    Value::Text(text.as_ref().to_owned())
}

/// NULL where an empty text is wanted is no difference: MikoPBX reads both alike.
fn differ(old: &Value, new: &Value) -> bool {
    old != new && !(*old == Value::Null && *new == Value::Text(String::new()))
}

fn value(row: &rusqlite::Row<'_>, index: usize) -> rusqlite::Result<Value> {
    // Broken UTF-8 in a row must not stop the run.
    match row.get_ref(index)? {
        rusqlite::types::ValueRef::Text(bytes) => Ok(Value::Text(String::from_utf8_lossy(bytes).into_owned())),
        other => other.try_into().map_err(rusqlite::Error::from),
    }
}

fn as_text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::Integer(number) => Some(number.to_string()),
        Value::Real(number) => Some(number.to_string()),
        Value::Text(text) => Some(text.clone()),
        Value::Blob(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
    }
}
