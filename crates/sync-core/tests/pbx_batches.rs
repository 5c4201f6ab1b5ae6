//! Batches: swaps, chains, refusals that pull others along, and random batches against what must always hold.

mod pbx_support;

use std::cell::Cell;
use std::collections::BTreeMap;

use pbx_support::{Fixture, NOTHING, assert_announced, create, differences, update};
use proptest::prelude::*;
use sync_core::host::Host;
use sync_core::pbx::{Task, TaskOutcome, UpdateTask};
use sync_core::person::Field::{self, Email, Mobile, Name, Number};

fn updates(fixture: &Fixture, changes: &[(i64, Field, &str)]) -> Vec<Task> {
    changes.iter().map(|&(user, field, value)| Task::Update(update(fixture, user, &[(field, value)]))).collect()
}

fn reasons(outcomes: &[TaskOutcome]) -> Vec<&str> {
    outcomes
        .iter()
        .map(|outcome| match outcome {
            TaskOutcome::Applied(_) => "",
            TaskOutcome::Refused { reason, .. } => reason,
        })
        .collect()
}

fn value(fixture: &Fixture, user_id: i64, field: Field) -> String {
    let snapshot = fixture.open().read().expect("reads");
    let employee = snapshot.employees.iter().find(|employee| employee.user_id == user_id).expect("the employee");
    employee.values[field].to_string()
}

#[test]
fn two_people_swap_numbers() {
    let fixture = Fixture::new();
    let outcomes = fixture.apply(&updates(&fixture, &[(110, Number, "202"), (111, Number, "201")]));
    assert_eq!(reasons(&outcomes), ["", ""]);
    assert_eq!((value(&fixture, 110, Number), value(&fixture, 111, Number)), ("202".into(), "201".into()));
    // Everything that pointed at a person still does.
    assert_eq!(fixture.text("SELECT group_concat(extension) FROM m_CallQueueMembers"), "202,201");
    assert_eq!(fixture.text("SELECT timeout_extension FROM m_IvrMenu"), "202");
    assert_eq!(fixture.text("SELECT forwardingonbusy FROM m_ExtensionForwardingRights WHERE extension = '201'"), "202");
    assert_eq!(
        fixture.text("SELECT uniqid FROM m_Sip WHERE extension = '201'"),
        "SIP-PHONE-00000000000000000000000000000111"
    );
    assert_eq!(fixture.inconsistencies(), NOTHING);
}

#[test]
fn two_people_swap_mobiles_and_emails() {
    let fixture = Fixture::new();
    fixture.sql("UPDATE m_Users SET email = 'a@example.com' WHERE id = 110");
    let swap = [
        Task::Update(update(&fixture, 110, &[(Mobile, "79260000004"), (Email, "dora@example.com")])),
        Task::Update(update(&fixture, 113, &[(Mobile, "79260000001"), (Email, "A@example.com")])),
    ];
    assert_eq!(reasons(&fixture.apply(&swap)), ["", ""]);
    assert_eq!(value(&fixture, 113, Mobile), "79260000001");
    // Anna's forwardings follow her mobile, Boris's follows Dora's.
    assert_eq!(
        fixture.text("SELECT forwarding FROM m_ExtensionForwardingRights WHERE extension = '201'"),
        "79260000004"
    );
    let boris = "SELECT forwardingonunavailable FROM m_ExtensionForwardingRights WHERE extension = '202'";
    assert_eq!(fixture.text(boris), "79260000001");
    assert_eq!(fixture.inconsistencies(), NOTHING);
}

#[test]
fn a_chain_moves_in_any_order() {
    for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2]] {
        let fixture = Fixture::new();
        let chain = [(110, Number, "202"), (111, Number, "203"), (112, Number, "299")];
        let outcomes = fixture.apply(&updates(&fixture, &order.map(|index| chain[index])));
        assert_eq!(reasons(&outcomes), ["", "", ""]);
        for (user, _, number) in chain {
            assert_eq!(value(&fixture, user, Number), number);
        }
        assert_eq!(fixture.inconsistencies(), NOTHING);
    }
}

#[test]
fn a_refused_move_pulls_those_who_counted_on_it_along() {
    let fixture = Fixture::new();
    let before = fixture.dump();
    let outcomes =
        fixture.apply(&updates(&fixture, &[(110, Number, "202"), (111, Number, "203"), (112, Number, "2001")]));
    assert!(reasons(&outcomes)[2].contains("QUEUE"), "{outcomes:?}");
    assert!(reasons(&outcomes)[1].contains("taken on the PBX by SIP 'Clara Dorn'"), "{outcomes:?}");
    assert!(reasons(&outcomes)[0].contains("taken on the PBX by SIP 'Boris Cole'"), "{outcomes:?}");
    assert_eq!(differences(&before, &fixture.dump()), NOTHING);
}

#[test]
fn a_refused_field_refuses_the_whole_task_and_what_hangs_on_it() {
    let fixture = Fixture::new();
    let tasks = [
        Task::Update(update(&fixture, 110, &[(Number, "299"), (Name, "<script>")])),
        Task::Create(create(1, &[(Name, "New"), (Number, "201")])),
        Task::Update(update(&fixture, 113, &[(Name, "Dora")])),
    ];
    let outcomes = fixture.apply(&tasks);
    assert!(reasons(&outcomes)[0].contains("HTML"), "{outcomes:?}");
    assert!(reasons(&outcomes)[1].contains("taken"), "{outcomes:?}");
    assert_eq!(reasons(&outcomes)[2], "");
}

#[test]
fn a_new_employee_takes_a_number_that_becomes_free_in_the_batch() {
    let fixture = Fixture::new();
    let mut tasks = vec![Task::Create(create(1, &[(Name, "New"), (Number, "201"), (Mobile, "79260000001")]))];
    tasks.push(Task::Update(update(&fixture, 110, &[(Number, "299"), (Mobile, "")])));
    assert_eq!(reasons(&fixture.apply(&tasks)), ["", ""]);
    assert_eq!(value(&fixture, 114, Number), "201");
    assert_eq!(fixture.text("SELECT extension FROM m_CallQueueMembers WHERE id = 1"), "299");
    assert_eq!(fixture.inconsistencies(), NOTHING);
}

#[test]
fn of_two_who_want_the_same_the_first_gets_it() {
    let fixture = Fixture::new();
    let tasks = [
        Task::Create(create(1, &[(Name, "One"), (Number, "250"), (Email, "x@example.com")])),
        Task::Create(create(2, &[(Name, "Two"), (Number, "250")])),
        Task::Create(create(3, &[(Name, "Three"), (Number, "251"), (Email, "X@example.com")])),
        Task::Create(create(1, &[(Name, "Four"), (Number, "252")])),
        Task::Update(update(&fixture, 110, &[(Name, "Anna A")])),
        Task::Update(update(&fixture, 110, &[(Email, "anna@example.com")])),
    ];
    let outcomes = fixture.apply(&tasks);
    let reasons = reasons(&outcomes);
    assert_eq!((reasons[0], reasons[4]), ("", ""));
    for (index, expected) in
        [(1, "number 250 is wanted twice"), (2, "wanted twice"), (3, "must be chosen anew"), (5, "same employee")]
    {
        assert!(reasons[index].contains(expected), "{reasons:?}");
    }
}

#[test]
fn a_number_that_stands_twice_is_not_moved() {
    let fixture = Fixture::new();
    fixture.sql("INSERT INTO m_Extensions (number, type) VALUES ('201', 'QUEUE')");
    let outcomes = fixture.apply(&updates(&fixture, &[(110, Number, "299")]));
    assert!(reasons(&outcomes)[0].contains("stands twice"), "{outcomes:?}");
}

#[test]
fn one_record_that_two_tasks_touch_is_announced_once() {
    let fixture = Fixture::new();
    fixture.sql("UPDATE m_CallQueues SET timeout_extension = '202' WHERE id = 20");
    // The check inside apply fails on a second event for the same record.
    let outcomes = fixture.apply(&updates(&fixture, &[(110, Number, "298"), (111, Number, "299")]));
    assert_eq!(reasons(&outcomes), ["", ""]);
    assert_eq!(
        fixture
            .text("SELECT timeout_extension || ' ' || redirect_to_extension_if_empty FROM m_CallQueues WHERE id = 20"),
        "299 298"
    );
}

/// One random change: whose, and the new value of each field, if it changes.
type RandomChange = (i64, Option<u8>, Option<u8>, Option<u8>, Option<u8>, bool);

fn changes() -> impl Strategy<Value = Vec<Vec<RandomChange>>> {
    let one = (
        110..=113_i64,
        prop::option::weighted(0.6, 0..7_u8),
        prop::option::weighted(0.5, 0..6_u8),
        prop::option::weighted(0.4, 0..4_u8),
        prop::option::weighted(0.3, 0..3_u8),
        any::<bool>(),
    );
    prop::collection::vec(prop::collection::vec(one, 1..5), 1..4)
}

fn task(fixture: &Fixture, change: &RandomChange) -> UpdateTask {
    let (user, number, mobile, email, name, forward) = change;
    let mobiles = ["", "79260000001", "79260000002", "79260000004", "79260000005", "79260000006"];
    let mut pairs = Vec::new();
    let number = number.map(|index| (201 + u32::from(index)).to_string());
    let email = email.map(|index| if index == 0 { String::new() } else { format!("e{index}@example.com") });
    let name = name.map(|index| format!("Person {index}"));
    pairs.extend(number.as_deref().map(|number| (Number, number)));
    pairs.extend(mobile.map(|index| (Mobile, mobiles[usize::from(index)])));
    pairs.extend(email.as_deref().map(|email| (Email, email)));
    pairs.extend(name.as_deref().map(|name| (Name, name)));
    let mut task = update(fixture, *user, &pairs);
    task.forward_to_mobile = *forward;
    task
}

/// Who each queue member, menu and forwarding means, by `m_Users.id`.
fn meanings(fixture: &Fixture) -> BTreeMap<String, String> {
    let mut meanings = BTreeMap::new();
    for (what, sql) in [
        ("member 1", "SELECT extension FROM m_CallQueueMembers WHERE id = 1"),
        ("member 2", "SELECT extension FROM m_CallQueueMembers WHERE id = 2"),
        ("menu", "SELECT timeout_extension FROM m_IvrMenu"),
        ("queue", "SELECT timeout_extension FROM m_CallQueues WHERE id = 21"),
        ("route", "SELECT extension FROM m_IncomingRoutingTable WHERE id = 2"),
        ("forwarding", "SELECT forwardingonbusy FROM m_ExtensionForwardingRights WHERE id = 25"),
        ("menu key", "SELECT extension FROM m_IvrMenuActions WHERE id = 35"),
        ("night", "SELECT extension FROM m_OutWorkTimes WHERE id = 2"),
        ("default route", "SELECT extension FROM m_IncomingRoutingTable WHERE id = 1"),
        ("peer", "SELECT extension FROM m_Sip WHERE id = 76"),
    ] {
        let number = fixture.text(sql);
        let owner =
            format!("SELECT coalesce(max(userid || type), 'nobody') FROM m_Extensions WHERE number = '{number}'");
        meanings.insert(what.to_owned(), fixture.text(&owner));
    }
    meanings
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_batches_keep_the_pbx_whole(batches in changes()) {
        let fixture = Fixture::new();
        for batch in &batches {
            let tasks: Vec<UpdateTask> = batch.iter().map(|change| task(&fixture, change)).collect();
            let all: Vec<Task> = tasks.iter().cloned().map(Task::Update).collect();
            let (before, meant) = (fixture.dump(), meanings(&fixture));
            let values = fixture.open().read().expect("reads").employees;
            let outcomes = fixture.apply(&all);
            assert_announced(&before, &fixture.dump(), &outcomes);
            prop_assert_eq!(fixture.inconsistencies(), NOTHING);
            prop_assert_eq!(meanings(&fixture), meant);
            let after = fixture.open().read().expect("reads").employees;
            for (old, new) in values.iter().zip(&after) {
                let applied = tasks.iter().zip(&outcomes).find(|(task, outcome)| {
                    task.user_id == old.user_id && matches!(outcome, TaskOutcome::Applied(_))
                });
                let expected = applied.map_or(&old.values, |(task, _)| &task.new);
                prop_assert_eq!(&new.values, expected);
                prop_assert_eq!(&new.sip_uniqid, &old.sip_uniqid);
            }
        }
    }
}

/// A host during whose wait for the mutex somebody else saves.
struct LateHost<'a> {
    fixture: &'a Fixture,
    sql: Cell<Option<&'static str>>,
}

impl Host for LateHost<'_> {
    fn announce(&self, _events: &str) -> bool {
        true
    }

    fn progress(&self, _json: &str) {}

    fn begin_write(&self, _timeout_ms: u32) -> bool {
        if let Some(sql) = self.sql.take() {
            self.fixture.sql(sql);
        }
        true
    }

    fn end_write(&self) {}

    fn now(&self) -> i64 {
        0
    }

    fn pause(&self, _ms: u32) {}
}

#[test]
fn a_save_between_the_look_and_the_lock_is_seen() {
    for (mode, sql, expected) in [
        ("wal", "UPDATE m_Users SET username = 'Newer' WHERE id = 110", "it is now 'Newer'"),
        ("delete", "UPDATE m_Users SET username = 'Newer' WHERE id = 110", "it is now 'Newer'"),
        (
            "wal",
            "INSERT INTO m_Extensions (number, type, callerid) VALUES ('299', 'QUEUE', 'Late')",
            "taken on the PBX",
        ),
        ("wal", "INSERT INTO m_Users (email) VALUES ('NEW@Example.com ')", "belongs to the PBX's user"),
        ("wal", "UPDATE m_Sip SET uniqid = 'SIP-PHONE-ABCDEF01' WHERE id = 76", "must be chosen anew"),
    ] {
        let fixture = Fixture::new();
        fixture.sql(&format!("PRAGMA journal_mode = {mode}"));
        let tasks = [
            Task::Update(update(&fixture, 110, &[(Name, "Other")])),
            Task::Create(create(1, &[(Name, "New"), (Number, "299"), (Email, "new@example.com")])),
        ];
        let host = LateHost { fixture: &fixture, sql: Cell::new(Some(sql)) };
        let outcomes = fixture.open().apply(&tasks, &host).expect("applies");
        let found = reasons(&outcomes).into_iter().any(|reason| reason.contains(expected));
        assert!(found, "{sql}: {outcomes:?}");
        assert_eq!(outcomes.iter().filter(|outcome| matches!(outcome, TaskOutcome::Applied(_))).count(), 1);
    }
}
