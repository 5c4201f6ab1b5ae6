//! Changes of an employee, in the order in which MikoPBX saves them (docs/MIKOPBX.md, Changes of an employee).

use std::collections::BTreeMap;

use rusqlite::types::Value;
use secrecy::ExposeSecret;

use super::avatar::{self, Staged};
use super::create::{RING_LENGTH, insert_forwarding, insert_mobile, insert_phone};
use super::relations::Reference;
use super::schema::Table;
use super::state::{Forwarding, Person};
use super::writer::{Writer, words};
use super::{UpdateTask, caller_id, search_index};
use crate::person::{Field, Values};

const FORWARDINGS: [&str; 3] = ["forwarding", "forwardingonbusy", "forwardingonunavailable"];

/// Writes one accepted update. `references` were read before anything of the batch was written.
pub(super) fn update(
    writer: &mut Writer<'_>,
    person: &Person,
    task: &UpdateTask,
    staged: &Staged,
    references: &BTreeMap<String, Vec<Reference>>,
) -> rusqlite::Result<()> {
    let change = Change { person, task, after: values_after(person, task), references };
    change.user(writer, staged)?;
    change.internal_number(writer)?;
    change.peer(writer)?;
    change.own_forwardings(writer)?;
    change.mobile(writer)
}

struct Change<'a> {
    person: &'a Person,
    task: &'a UpdateTask,
    /// The values the employee will have, without the photo.
    after: Values,
    references: &'a BTreeMap<String, Vec<Reference>>,
}

fn values_after(person: &Person, task: &UpdateTask) -> Values {
    let mut values = Values::default();
    values[Field::Name] = person.name.as_str().into();
    values[Field::Email] = person.email.as_str().into();
    values[Field::Mobile] = person.mobile.as_str().into();
    values[Field::Number] = person.number.as_str().into();
    values[Field::Secret] = person.secret.as_str().into();
    for &field in task.fields.iter().filter(|&&field| field != Field::Photo) {
        values[field].clone_from(&task.new[field]);
    }
    values
}

impl Change<'_> {
    fn user(&self, writer: &mut Writer<'_>, staged: &Staged) -> rusqlite::Result<()> {
        let mut values = Vec::new();
        if self.changes(Field::Name) {
            values.push(("username", words(&self.after[Field::Name])));
        }
        if self.changes(Field::Email) {
            values.push(("email", words(&self.after[Field::Email])));
        }
        match staged {
            Staged::Ready { md5, .. } => values.push(("avatar", words(avatar::column(self.person.user_id, md5)))),
            Staged::Removed => values.push(("avatar", words(""))),
            Staged::Unchanged | Staged::Failed(_) => {}
        }
        writer.update(Table::Users, self.person.user_id, &values)
    }

    fn internal_number(&self, writer: &mut Writer<'_>) -> rusqlite::Result<()> {
        if self.changes(Field::Number) {
            self.follow(writer, &self.person.number, &self.after[Field::Number])?;
        }
        let values = self.extension_columns(&self.after[Field::Number], "");
        writer.update(Table::Extensions, self.person.sip_extension, &values)
    }

    fn peer(&self, writer: &mut Writer<'_>) -> rusqlite::Result<()> {
        let Some(sip) = self.person.sip else { return Ok(()) };
        let mut values = Vec::new();
        if self.changes(Field::Name) {
            values.push(("description", words(&self.after[Field::Name])));
        }
        if self.changes(Field::Secret) {
            values.push(("secret", words(self.task.secret.expose_secret())));
        }
        writer.update(Table::Sip, sip, &values)
    }

    /// The web form's rules: a first mobile fills empty forwardings, a removed one leaves those that pointed at it.
    /// Those at a changed mobile follow it with everybody else's.
    fn own_forwardings(&self, writer: &mut Writer<'_>) -> rusqlite::Result<()> {
        let old = &self.person.mobile;
        let new = &self.after[Field::Mobile];
        if old == new {
            return Ok(());
        }
        match &self.person.forwarding {
            Some(row) if new.is_empty() => writer.update(Table::Forwarding, row.id, &redirect(row, old, "", 0)),
            Some(row) if self.task.forward_to_mobile => {
                let mut values = redirect(row, old, new, RING_LENGTH);
                values.retain(|(column, _)| *column != "ringlength" || row.rings_not);
                writer.update(Table::Forwarding, row.id, &values)
            }
            None if self.task.forward_to_mobile && old.is_empty() => {
                insert_forwarding(writer, &self.after[Field::Number], new)
            }
            _ => Ok(()),
        }
    }

    fn mobile(&self, writer: &mut Writer<'_>) -> rusqlite::Result<()> {
        let new = &self.after[Field::Mobile];
        let Some(row) = self.person.external_extension else {
            return if new.is_empty() {
                Ok(())
            } else {
                insert_mobile(writer, self.person.user_id, &self.after, &self.task.external_uniqid)
            };
        };
        if new.is_empty() && self.changes(Field::Mobile) {
            return self.remove_mobile(writer, row);
        }
        if self.changes(Field::Mobile) {
            self.follow(writer, &self.person.mobile, new)?;
        }
        writer.update(Table::Extensions, row, &self.extension_columns(new, new))?;
        if self.changes(Field::Mobile) {
            for (phone, dialstring) in &self.person.phones {
                if *dialstring == self.person.mobile {
                    writer.update(Table::ExternalPhones, *phone, &[("dialstring", words(new))])?;
                }
            }
            if self.person.phones.is_empty() {
                insert_phone(writer, new, &self.task.external_uniqid)?;
            }
        }
        Ok(())
    }

    fn remove_mobile(&self, writer: &mut Writer<'_>, row: i64) -> rusqlite::Result<()> {
        for (phone, _) in &self.person.phones {
            writer.delete(Table::ExternalPhones, *phone)?;
        }
        writer.delete(Table::Extensions, row)
    }

    /// Everything that holds the old number gets the new one, row by row.
    fn follow(&self, writer: &mut Writer<'_>, old: &str, new: &str) -> rusqlite::Result<()> {
        for reference in self.references.get(old).into_iter().flatten() {
            writer.update(reference.table, reference.row, &[(reference.column, words(new))])?;
        }
        Ok(())
    }

    /// The columns of one of the employee's rows in `m_Extensions` that the changes reach. What no change reaches stays as
    /// it is, also where an old version of MikoPBX left something odd.
    fn extension_columns(&self, number: &str, mobile: &str) -> Vec<(&'static str, Value)> {
        let mut values = Vec::new();
        if self.changes(Field::Number) || self.changes(Field::Mobile) {
            values.push(("number", words(number)));
        }
        if self.changes(Field::Name) {
            values.push(("callerid", words(caller_id(&self.after[Field::Name]))));
        }
        if [Field::Name, Field::Email, Field::Number, Field::Mobile].iter().any(|&field| self.changes(field)) {
            let after = &self.after;
            let index = search_index(&after[Field::Name], &after[Field::Email], &after[Field::Number], mobile);
            values.push(("search_index", words(index)));
        }
        values
    }

    fn changes(&self, field: Field) -> bool {
        let before = match field {
            Field::Name => &self.person.name,
            Field::Email => &self.person.email,
            Field::Mobile => &self.person.mobile,
            Field::Number => &self.person.number,
            Field::Secret => &self.person.secret,
            Field::Photo => return false,
        };
        *before != self.after[field]
    }
}

/// The forwardings that equal `from` become `to`; when the main one does, the ring length comes with it.
fn redirect(row: &Forwarding, from: &str, to: &str, ring_length: i64) -> Vec<(&'static str, Value)> {
    let mut values = Vec::new();
    for (column, target) in FORWARDINGS.into_iter().zip(&row.targets) {
        if target == from {
            values.push((column, words(to)));
        }
    }
    if row.targets[0] == from {
        values.push(("ringlength", Value::Integer(ring_length)));
    }
    values
}
