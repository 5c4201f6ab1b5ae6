//! Accounts of people who left: switched off, on again, or deleted as MikoPBX deletes an employee (docs/MIKOPBX.md,
//! Employees who leave).

use std::collections::BTreeSet;

use super::decide::{Refusal, employee, refuse};
use super::index::Indexed;
use super::schema::Table;
use super::state::{Person, State, people};
use super::writer::{Writer, words};
use super::{AccountTask, Applied, DeleteTask, events};
use crate::vault::Vault;

/// Whether an account can be switched.
pub(super) fn check_switch(state: &State, task: &AccountTask, seen: &mut BTreeSet<String>) -> Result<(), Refusal> {
    let person = employee(state, task.user_id, &task.sip_uniqid, seen)?;
    if person.sip.is_none() {
        return refuse(None, "the employee has no SIP account on the PBX");
    }
    if person.sip_disabled == task.disabled {
        return refuse(None, "the SIP account was switched on the PBX meanwhile");
    }
    Ok(())
}

/// Writes `m_Sip.disabled`.
pub(super) fn switch(writer: &mut Writer<'_>, person: &Person, disabled: bool) -> rusqlite::Result<()> {
    let Some(sip) = person.sip else { return Ok(()) };
    writer.update(Table::Sip, sip, &[("disabled", words(if disabled { "1" } else { "0" }))])
}

/// Whether an employee can be deleted: still the same, and nothing points at them.
pub(super) fn check_delete<'a>(
    state: &'a State,
    task: &DeleteTask,
    seen: &mut BTreeSet<String>,
) -> Result<&'a Person, Refusal> {
    let person = employee(state, task.user_id, &task.sip_uniqid, seen)?;
    if [&person.number, &person.mobile] != [&task.numbers[0], &task.numbers[1]] {
        return refuse(None, "the employee's numbers have changed since the plan was made");
    }
    if person.further_numbers > 0 {
        return refuse(None, "the employee has further numbers on the PBX; delete the employee there");
    }
    let uses = [&person.number, &person.mobile].into_iter().filter_map(|number| state.uses.get(number));
    let uses: Vec<&str> = uses.flatten().map(String::as_str).collect();
    if !uses.is_empty() {
        return refuse(None, format!("the PBX still uses the employee's numbers: {}", uses.join(", ")));
    }
    Ok(person)
}

/// Deletes the employee's rows.
pub(super) fn delete(writer: &mut Writer<'_>, person: &Person) -> rusqlite::Result<()> {
    rows(person).into_iter().try_for_each(|(table, row)| writer.delete(table, row))
}

/// An employee's rows in the order in which MikoPBX deletes them.
fn rows(person: &Person) -> Vec<(Table, i64)> {
    let mut rows: Vec<(Table, i64)> = person.forwarding.iter().map(|row| (Table::Forwarding, row.id)).collect();
    rows.extend(person.sip.map(|row| (Table::Sip, row)));
    rows.push((Table::Extensions, person.sip_extension));
    rows.extend(person.phones.iter().map(|(row, _)| (Table::ExternalPhones, *row)));
    rows.extend(person.external_extension.map(|row| (Table::Extensions, row)));
    rows.push((Table::Users, person.user_id));
    rows
}

/// See [`super::Pbx::delete_task`].
pub(super) fn delete_task(
    indexed: Indexed<'_>,
    user_id: i64,
    sip_uniqid: &str,
    vault: &Vault,
) -> rusqlite::Result<Option<DeleteTask>> {
    let found = people(indexed, &BTreeSet::from([user_id]), vault)?.remove(&user_id);
    Ok(found.filter(|person| person.sip_uniqid == sip_uniqid).map(|person| DeleteTask {
        user_id,
        sip_uniqid: person.sip_uniqid.clone(),
        numbers: [person.number.clone(), person.mobile.clone()],
        rows: rows(&person).into_iter().map(|(table, row)| (table.name().to_owned(), row)).collect(),
    }))
}

/// After a crash: the account stands as the task wanted it.
pub(super) fn find_switched(
    indexed: Indexed<'_>,
    vault: &Vault,
    task: &AccountTask,
) -> rusqlite::Result<Option<Applied>> {
    let found = people(indexed, &BTreeSet::from([task.user_id]), vault)?.remove(&task.user_id);
    let same = |person: &Person| person.sip_uniqid == task.sip_uniqid && person.sip_disabled == task.disabled;
    let sip = found.filter(same).and_then(|person| person.sip);
    Ok(sip.map(|row| Applied {
        user_id: task.user_id,
        events: vec![events::updated(Table::Sip, row, vec!["disabled".to_owned()])],
        ..Applied::default()
    }))
}

/// After a crash: the employee is gone. Whoever deleted them, it is announced.
pub(super) fn find_deleted(
    indexed: Indexed<'_>,
    vault: &Vault,
    task: &DeleteTask,
) -> rusqlite::Result<Option<Applied>> {
    let found = people(indexed, &BTreeSet::from([task.user_id]), vault)?.remove(&task.user_id);
    if found.is_some_and(|person| person.sip_uniqid == task.sip_uniqid) {
        return Ok(None);
    }
    let rows = task.rows.iter().filter_map(|(table, row)| Some((Table::from_name(table)?, *row)));
    let events = rows.map(|(table, row)| events::deleted(indexed.schema, table, row)).collect();
    Ok(Some(Applied { user_id: task.user_id, events, ..Applied::default() }))
}
