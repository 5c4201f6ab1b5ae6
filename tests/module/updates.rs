//! After the first synchronisation: changes made in the directory reach the PBX, one event per changed record.

use crate::support::in_step::InStep;
use crate::support::pbx::EmployeeRow;
use crate::support::people::Someone;
use crate::support::world::{count, row, sync};
use serde_json::{Value, json};

/// One value of an employee.
type Column = fn(&EmployeeRow) -> &String;

impl InStep {
    /// Synchronises after a change of the directory: `changed` people are updated and all others skipped, exactly the
    /// changed records are announced, and the run after that does nothing.
    fn sync_changes(&mut self, changed: usize) -> Value {
        self.world.installation.forget();
        let before = self.world.sides(&self.server);
        let answer = sync(&mut self.plugin, &self.id);
        assert_eq!(count(answer.list(), "UPDATED"), changed, "{}", answer.body);
        assert_eq!(count(answer.list(), "SKIPPED"), self.people.len() - changed, "{}", answer.body);
        self.world.assert_announced_exactly(&before.pbx);
        self.world.assert_rows_are_mikopbx(112);

        self.world.installation.forget();
        let after = self.world.sides(&self.server);
        let again = sync(&mut self.plugin, &self.id);
        assert_eq!(count(again.list(), "SKIPPED"), self.people.len(), "{}", again.body);
        self.world.assert_unchanged(&self.server, &after, "the run after the change");
        assert_eq!(self.world.installation.announced(), []);
        answer.data().clone()
    }
}

#[test]
fn one_changed_value_changes_one_person() {
    let Some(mut both) = InStep::make(12, "ldaps") else { return };
    let login = "person00003";
    let name = both.people[2].name.clone();
    let changes: [(&str, &str, Column, &str); 5] = [
        ("mail", "new.address@example.test", |row| &row.email, "new.address@example.test"),
        ("mobile", "+7 926 765-43-21", |row| &row.mobile, "79267654321"),
        ("telephoneNumber", "377", |row| &row.number, "377"),
        ("mobile", "8 (495) 000-11-22", |row| &row.mobile, "74950001122"),
        ("displayName", "Zoë O’Neill-Ёлкина (new)", |row| &row.name, "Zoë O’Neill-Ёлкина (new)"),
    ];
    let user = both.world.pbx().employee_named(&name).user_id;
    for (attribute, value, column, expected) in changes {
        both.server.set(login, attribute, value);
        let rows = both.sync_changes(1);
        let employee = both.world.pbx().employee(user);
        assert!(column(&employee).ends_with(expected.trim_start_matches(['7', '8'])), "{attribute}: {employee:?}");
        let list = rows.as_array().expect("a list of rows");
        assert_eq!(row(list, &employee.name)["userHadChangesOnTheSide"], json!("OnDomainSide"), "{attribute}");
    }
}

#[test]
fn two_people_swap_numbers_mobiles_and_addresses_in_one_run() {
    let Some(mut both) = InStep::make(12, "ldaps") else { return };
    let (one, two) = (both.people[4].clone(), both.people[7].clone());
    let (was_one, was_two) = (both.world.pbx().employee_named(&one.name), both.world.pbx().employee_named(&two.name));
    for attribute in ["telephoneNumber", "mobile", "mail"] {
        let value = |person: &Someone| both.server.values(&person.login, attribute).remove(0);
        let (first, second) = (value(&one), value(&two));
        both.server.set(&one.login, attribute, &second);
        both.server.set(&two.login, attribute, &first);
    }
    both.sync_changes(2);
    let (is_one, is_two) = (both.world.pbx().employee(was_one.user_id), both.world.pbx().employee(was_two.user_id));
    let swapped = |row: &EmployeeRow| (row.number.clone(), row.mobile.clone(), row.email.clone());
    assert_eq!(swapped(&is_one), swapped(&was_two));
    assert_eq!(swapped(&is_two), swapped(&was_one));
    assert_eq!(
        (&is_one.name, &is_one.sip_uniqid),
        (&was_one.name, &was_one.sip_uniqid),
        "the phone stays the person's"
    );
}

#[test]
fn a_difference_in_spelling_alone_changes_neither_side() {
    let Some(mut both) = InStep::make(12, "ldaps") else { return };
    both.server.set("person00001", "mobile", "8(916)000-00-01");
    both.server.set("person00002", "mail", "PERSON00002@Example.Test");
    let before = both.world.sides(&both.server);
    let answer = sync(&mut both.plugin, &both.id);
    assert_eq!(count(answer.list(), "SKIPPED"), both.people.len(), "{}", answer.body);
    both.world.assert_unchanged(&both.server, &before, "another spelling");
}
