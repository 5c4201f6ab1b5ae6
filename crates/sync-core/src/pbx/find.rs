//! After a crash: was a task committed, and what has to be announced if it was.

use std::collections::BTreeSet;
use std::path::Path;

use rusqlite::{Connection, OptionalExtension};

use super::index::Indexed;
use super::relations::references;
use super::schema::{Schema, Table, text};
use super::state::{Person, extensions_with, people};
use super::{Applied, CreateTask, ModelEvent, Task, UpdateTask, account, events};
use crate::person::{Field, Note, Values};
use crate::vault::Vault;

/// The task's effect, when it is in the database.
pub(super) fn find_applied(
    indexed: Indexed<'_>,
    media: &Path,
    vault: &Vault,
    task: &Task,
) -> rusqlite::Result<Option<Applied>> {
    match task {
        Task::Create(task) => find_created(indexed, media, vault, task),
        Task::Update(task) => find_updated(indexed, media, vault, task),
        Task::Account(task) => account::find_switched(indexed, vault, task),
        Task::Delete(task) => account::find_deleted(indexed, vault, task),
    }
}

fn find_created(
    indexed: Indexed<'_>,
    media: &Path,
    vault: &Vault,
    task: &CreateTask,
) -> rusqlite::Result<Option<Applied>> {
    // Several rows can have no identifier, so an empty one finds nobody.
    if task.sip_uniqid.is_empty() {
        return Ok(None);
    }
    let Some(number) = number_of(indexed, &task.sip_uniqid)? else { return Ok(None) };
    let extensions = extensions_with(indexed, &BTreeSet::from([number.clone()]))?;
    let owner = extensions.iter().find(|row| row.number == number && row.kind == "SIP").and_then(|row| row.user_id);
    let Some(user_id) = owner else { return Ok(None) };
    let Some(person) = people(indexed, &BTreeSet::from([user_id]), vault)?.remove(&user_id) else {
        return Ok(None);
    };
    let events = rows(&person).into_iter().map(|(table, row)| events::created(indexed.schema, table, row)).collect();
    let mut given = Field::ALL.to_vec();
    if task.values[Field::Secret].is_empty() {
        // Secrets are not kept in step: the one made for the employee is not known any more.
        given.retain(|field| *field != Field::Secret);
    }
    let notes = notes(&given, &person.values(media), &task.values);
    Ok(Some(Applied { user_id, events, replaced: Vec::new(), notes }))
}

fn find_updated(
    indexed: Indexed<'_>,
    media: &Path,
    vault: &Vault,
    task: &UpdateTask,
) -> rusqlite::Result<Option<Applied>> {
    let people = people(indexed, &BTreeSet::from([task.user_id]), vault)?;
    let Some(person) = people.get(&task.user_id).filter(|person| person.sip_uniqid == task.sip_uniqid) else {
        return Ok(None);
    };
    let current = person.values(media);
    if !may_be_written(task, &current) {
        return Ok(None);
    }
    let mut events: Vec<ModelEvent> = Vec::new();
    let mut add = |table: Table, row: i64| {
        let event =
            events::updated(table, row, announced_columns(indexed.schema, table, task.fields.contains(&Field::Secret)));
        if !events.contains(&event) {
            events.push(event);
        }
    };
    for (table, row) in rows(person) {
        add(table, row);
    }
    let changed = task.fields.iter().filter(|&&field| matches!(field, Field::Number | Field::Mobile));
    // A number may have moved on since; what pointed at it went along.
    let numbers = changed.flat_map(|&field| [task.new[field].clone(), current[field].clone()]);
    let numbers = numbers.filter(|number| !number.is_empty()).map(|number| number.to_string()).collect();
    for reference in references(indexed, &numbers)?.into_values().flatten() {
        add(reference.table, reference.row);
    }
    if task.fields.contains(&Field::Mobile) {
        for (table, row) in [(Table::ExternalPhones, task.rows.phone), (Table::Extensions, task.rows.mobile)] {
            if row != 0 && !exists(indexed.connection, table, row)? {
                events.push(events::deleted(indexed.schema, table, row));
            }
        }
    }
    let notes = notes(&task.fields, &current, &task.new);
    Ok(Some(Applied { user_id: person.user_id, events, replaced: Vec::new(), notes }))
}

/// The number of the account with this identifier.
fn number_of(indexed: Indexed<'_>, sip_uniqid: &str) -> rusqlite::Result<Option<String>> {
    let list = indexed.index.rows(Table::Sip, "uniqid", [sip_uniqid]);
    let sql = "SELECT extension FROM m_Sip WHERE id IN (SELECT value FROM json_each(?1)) AND uniqid = ?2";
    indexed.connection.prepare_cached(sql)?.query_row([&list, sip_uniqid], |row| text(row, 0)).optional()
}

fn exists(connection: &Connection, table: Table, row: i64) -> rusqlite::Result<bool> {
    connection.prepare_cached(&format!("SELECT 1 FROM {} WHERE id = ?1", table.name()))?.exists([row])
}

/// Whether the update can have been written. A transaction is whole: while every value it changes is the old one, it was
/// not. One value that is not the old one is enough: it is the new one, or an even newer one that somebody put in the
/// place of either, and then nothing tells whether ours had been there. What did not happen may be announced, what did
/// must be.
///
/// A photo that could not be stored does not stop the rest of an update, so it tells only where nothing else does.
fn may_be_written(task: &UpdateTask, current: &Values) -> bool {
    let changes = task.fields.iter().copied().filter(|&field| task.new[field] != task.old[field]);
    let (photo, others): (Vec<Field>, Vec<Field>) = changes.partition(|&field| field == Field::Photo);
    let telling = if others.is_empty() { &photo } else { &others };
    telling.iter().any(|&field| current[field] != task.old[field])
}

/// An employee's own rows, in the order in which MikoPBX makes them.
fn rows(person: &Person) -> Vec<(Table, i64)> {
    let mut rows = vec![(Table::Users, person.user_id), (Table::Extensions, person.sip_extension)];
    rows.extend(person.sip.map(|row| (Table::Sip, row)));
    rows.extend(person.forwarding.as_ref().map(|row| (Table::Forwarding, row.id)));
    rows.extend(person.external_extension.map(|row| (Table::Extensions, row)));
    rows.extend(person.phones.iter().map(|(row, _)| (Table::ExternalPhones, *row)));
    rows
}

fn announced_columns(schema: &Schema, table: Table, secret: bool) -> Vec<String> {
    let mut columns = events::columns_without_id(schema, table);
    columns.retain(|column| secret || column != "secret");
    columns
}

/// A note for each field that does not hold what the task wanted.
fn notes(fields: &[Field], current: &Values, wanted: &Values) -> Vec<Note> {
    let missing = fields.iter().filter(|&&field| current[field] != wanted[field]);
    let note = |&field: &Field| match field {
        Field::Photo => Note::about(field, "the PBX does not have this photo: it was not stored, or changed since"),
        Field::Secret => Note::about(field, "the PBX does not have this SIP secret: it was changed there"),
        _ => Note::about(field, format!("the PBX does not hold '{}': it was changed there", wanted[field])),
    };
    missing.map(note).collect()
}
