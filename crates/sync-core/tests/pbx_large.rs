//! A PBX with many employees: how long the write lock is held, and how that grows.

mod pbx_support;

use std::cell::Cell;
use std::time::{Duration, Instant};

use pbx_support::{Fixture, create};
use rusqlite::params;
use sync_core::host::Host;
use sync_core::pbx::{CreateTask, Pbx, Task, TaskOutcome, UpdateTask};
use sync_core::person::Field::{self, Email, Mobile, Name, Number};
use sync_core::person::Values;

/// A host that knows how long its mutex was held.
#[derive(Default)]
struct TimingHost {
    since: Cell<Option<Instant>>,
    held: Cell<Duration>,
}

impl Host for TimingHost {
    fn announce(&self, _events: &str) -> bool {
        true
    }

    fn progress(&self, _json: &str) {}

    fn begin_write(&self, _timeout_ms: u32) -> bool {
        self.since.set(Some(Instant::now()));
        true
    }

    fn end_write(&self) {
        let held = self.since.take().expect("the mutex was taken").elapsed();
        self.held.set(self.held.get() + held);
    }

    fn now(&self) -> i64 {
        0
    }

    fn pause(&self, _ms: u32) {}
}

fn number(index: usize) -> String {
    (20_000 + index).to_string()
}

fn mobile(index: usize) -> String {
    (79_100_000_000_u64 + index as u64).to_string()
}

/// The fixture and so many employees more, each with a mobile and forwardings to it.
fn large(people: usize) -> Fixture {
    let fixture = Fixture::new();
    let mut connection = fixture.connect();
    connection.execute_batch("PRAGMA journal_mode = WAL").expect("SQL");
    let transaction = connection.transaction().expect("begins");
    for index in 0..people {
        let (user, number, mobile) = (1000 + index as i64, number(index), mobile(index));
        for (sql, values) in [
            (
                "INSERT INTO m_Users (id, email, username, language, avatar)
                 VALUES (?1, 'u' || ?1 || '@example.com', 'User ' || ?1, 'en-en', '')",
                params![user],
            ),
            (
                "INSERT INTO m_Extensions (number, type, callerid, userid, is_general_user_number)
                 VALUES (?1, 'SIP', 'User ' || ?3, ?3, '1'), (?2, 'EXTERNAL', 'User ' || ?3, ?3, '1')",
                params![number, mobile, user],
            ),
            (
                "INSERT INTO m_Sip (uniqid, disabled, extension, type, secret)
                 VALUES ('SIP-PHONE-' || ?2, '0', ?1, 'peer', 'kept')",
                params![number, user],
            ),
            (
                "INSERT INTO m_ExternalPhones (extension, uniqid, dialstring, disabled)
                 VALUES (?1, 'EXTERNAL-' || ?2, ?1, '0')",
                params![mobile, user],
            ),
            (
                "INSERT INTO m_ExtensionForwardingRights (extension, forwarding, forwardingonbusy, forwardingonunavailable)
                 VALUES (?1, ?2, ?2, ?2)",
                params![number, mobile],
            ),
        ] {
            transaction.prepare_cached(sql).expect("SQL").execute(values).expect("a row");
        }
    }
    transaction.commit().expect("commits");
    fixture
}

/// A change of one of [`large`]'s employees.
fn change(index: usize, pairs: &[(Field, &str)]) -> Task {
    let user = 1000 + index;
    let mut old = Values::default();
    old[Name] = format!("User {user}").into();
    old[Email] = format!("u{user}@example.com").into();
    old[Number] = number(index).into();
    old[Mobile] = mobile(index).into();
    let mut new = old.clone();
    for (field, value) in pairs {
        new[*field] = (*value).into();
    }
    Task::Update(UpdateTask {
        user_id: user as i64,
        sip_uniqid: format!("SIP-PHONE-{user}"),
        old,
        new,
        fields: pairs.iter().map(|(field, _)| *field).collect(),
        external_uniqid: format!("EXTERNAL-NEW{user}"),
        forward_to_mobile: true,
        ..UpdateTask::default()
    })
}

fn new_employee(index: usize) -> Task {
    let pairs = [(Name, format!("New {index}")), (Email, format!("n{index}@example.com"))];
    let mut task: CreateTask =
        create(0, &[(Number, &(80_000 + index).to_string()), (Mobile, &mobile(500_000 + index))]);
    for (field, value) in pairs {
        task.values[field] = value.into();
    }
    task.sip_uniqid = format!("SIP-PHONE-{index:08X}");
    task.external_uniqid = format!("EXTERNAL-{index:08X}");
    Task::Create(task)
}

/// How long applying took in all, and how long the mutex was held; every task must have been done.
fn timed(pbx: &mut Pbx, tasks: &[Task]) -> (Duration, Duration) {
    let host = TimingHost::default();
    let begun = Instant::now();
    let outcomes = pbx.apply(tasks, &host).expect("applies");
    let refused = outcomes.iter().find(|outcome| matches!(outcome, TaskOutcome::Refused { .. }));
    assert_eq!(refused, None);
    (begun.elapsed(), host.held.get())
}

/// 50 new people, 50 new mobiles and 50 removed ones, three times each.
fn batches_of_fifty() -> Vec<(&'static str, Vec<Vec<Task>>)> {
    let groups = || (0..3).map(|group| group * 50..group * 50 + 50);
    let moved = |index: usize| change(index, &[(Mobile, &mobile(900_000 + index))]);
    let removed = |index: usize| change(1000 + index, &[(Mobile, ""), (Email, &format!("x{index}@example.com"))]);
    vec![
        ("new people", groups().map(|group| group.map(new_employee).collect()).collect()),
        ("new mobiles", groups().map(|group| group.map(moved).collect()).collect()),
        ("removed mobiles", groups().map(|group| group.map(removed).collect()).collect()),
    ]
}

#[test]
fn scans_are_made_outside_the_lock() {
    let fixture = large(20_000);
    for (what, batches) in batches_of_fifty() {
        // The index is built anew each time, as at the first batch of a process.
        let times: Vec<_> = batches.iter().map(|batch| timed(&mut fixture.open(), batch)).collect();
        // The shortest of three: other programs of the machine may take a while of any one.
        let shares = times.iter().map(|(all, held)| held.as_secs_f64() / all.as_secs_f64());
        let share = shares.fold(1.0, f64::min);
        assert!(share < 0.5, "{what}: the lock was held for {share:.2} of the time: {times:?}");
    }
    assert_eq!(fixture.inconsistencies(), pbx_support::NOTHING);
}

/// Everybody moves to the next one's number: a ring.
fn ring(people: usize) -> Vec<Task> {
    (0..people).map(|index| change(index, &[(Number, &number((index + 1) % people))])).collect()
}

#[test]
fn a_large_ring_of_moves_takes_time_by_its_size() {
    let shortest = |people: usize| {
        let times = (0..2).map(|_| timed(&mut large(2000).open(), &ring(people)).1.as_secs_f64());
        times.fold(f64::MAX, f64::min)
    };
    let (few, many) = (shortest(250), shortest(2000));
    // Eight times as many: 8 times as long where it is linear, 64 times where each is compared with each.
    assert!(many < few * 24.0, "250 moves: {few:.3} s, 2000 moves: {many:.3} s");
}

#[test]
fn a_refusal_at_the_end_of_a_long_chain_reaches_its_beginning() {
    let people = 1000;
    let fixture = large(people);
    let last = "2001";
    let targets = |index: usize| if index + 1 == people { last.to_owned() } else { number(index + 1) };
    let tasks: Vec<Task> = (0..people).map(|index| change(index, &[(Number, &targets(index))])).collect();
    let before = fixture.dump();
    let begun = Instant::now();
    let outcomes = fixture.open().apply(&tasks, &TimingHost::default()).expect("applies");
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    let refused = outcomes.iter().filter(|outcome| matches!(outcome, TaskOutcome::Refused { field: Some(Number), .. }));
    assert_eq!(refused.count(), people);
    assert_eq!(fixture.dump(), before);
}

#[test]
#[ignore = "a measurement, printed: cargo test --release --test pbx_large -- --ignored --nocapture"]
fn measure() {
    for people in [5_000, 40_000] {
        let fixture = large(people);
        let mut pbx = fixture.open();
        for (what, batches) in batches_of_fifty() {
            let times: Vec<_> = batches.iter().map(|batch| timed(&mut pbx, batch)).collect();
            println!("{people} employees, batch of 50 {what}: (in all, mutex held) {times:?}");
        }
    }
    for people in [500, 1000, 2000] {
        let (all, held) = timed(&mut large(5000).open(), &ring(people));
        println!("5000 employees, one batch of {people} moves: in all {all:?}, mutex held {held:?}");
    }
}
