//! What the module's database keeps: servers, links, intents, conflicts, runs, announcements and edits.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant, UNIX_EPOCH};

use rusqlite::Connection;
use sync_core::journal::{
    ChangeRecord, Compared, Intent, Journal, JournalError, Link, LinkState, MAX_EDITS, NewConflict, OUTBOX_UNMERGED,
    PeopleQuery, PeopleSort, Progress, RUNS_KEPT, SettleBatch,
};
use sync_core::person::{DirectoryKey, Field, Values};
use tempfile::TempDir;

/// 2026-01-01 in milliseconds.
const NOW: i64 = 1_767_225_600_000;
const DAY: i64 = 86_400_000;

struct Module {
    dir: TempDir,
    journal: Journal,
    server: i64,
}

fn module() -> Module {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut journal = Journal::install(dir.path()).expect("an installed module");
    let server = journal.save_server(None, "{}", false, None, "").expect("a server").id;
    Module { dir, journal, server }
}

impl Module {
    fn raw(&self) -> Connection {
        Connection::open(self.journal.paths().database()).expect("module.db opens")
    }

    fn count(&self, table: &str) -> i64 {
        let query = format!("SELECT count(*) FROM {table}");
        self.raw().query_row(&query, [], |row| row.get(0)).expect("a count")
    }

    fn run(&mut self, started: i64) -> i64 {
        self.journal.begin_run(self.server, "manual", started).expect("a run")
    }

    fn ended_run(&mut self, at: i64) -> i64 {
        let run = self.run(at);
        self.journal.end_run(run, at, "done", "nothing to do", "{}", "").expect("an end");
        run
    }

    fn store(&mut self, links: Vec<Link>) {
        self.journal.settle(&SettleBatch { links, ..SettleBatch::default() }).expect("links are stored");
    }

    fn settle_events(&mut self, events: &[String]) {
        self.journal
            .settle(&SettleBatch { events: events.to_vec(), ..SettleBatch::default() })
            .expect("events are kept");
    }

    /// Every event that waits.
    fn waiting(&self) -> Vec<serde_json::Value> {
        let (_, events) = self.journal.outbox(usize::MAX).expect("the outbox");
        serde_json::from_str(&events).expect("a JSON array")
    }

    fn links(&self) -> Vec<Link> {
        self.journal.links(self.server).expect("links")
    }
}

fn key(text: &str) -> DirectoryKey {
    DirectoryKey(text.to_owned())
}

fn values(name: &str, number: &str) -> Values {
    let mut values = Values::default();
    values[Field::Name] = name.into();
    values[Field::Number] = number.into();
    values[Field::Email] = format!("{number}@example.org").into();
    values[Field::Mobile] = format!("7916{number:0>7}").into();
    values
}

fn link(server_id: i64, user_id: i64, name: &str, number: &str) -> Link {
    Link {
        server_id,
        key: key(&format!("key-{user_id:06}")),
        user_id,
        sip_uniqid: format!("SIP-PHONE-{user_id:08X}"),
        dn: format!("uid={user_id},dc=example,dc=org"),
        change_mark: "20260101000000.000000Z#000000#000#000000".to_owned(),
        directory: values(name, number),
        pbx: values(name, number),
        based: Field::ALL.into(),
        shown: values(name, number),
        since: NOW + user_id,
        created_by_sync: user_id % 2 == 0,
        ..Link::default()
    }
}

// Servers

#[test]
fn a_server_is_noted_switched_and_deleted_with_what_hangs_on_it() {
    let mut m = module();
    let other = m.journal.save_server(None, "{\"host\":\"b\"}", true, None, "abc").unwrap().id;
    assert!(m.journal.approve_first_run(other, "abc").unwrap());
    m.journal.note_run(other, NOW + 2, NOW + 3).unwrap();
    assert!(m.journal.set_autosync(other, false).unwrap());
    assert!(!m.journal.set_autosync(99, false).unwrap());
    let server = m.journal.server(other).unwrap().unwrap();
    assert_eq!(
        (server.settings.as_str(), server.autosync, server.fingerprint.as_str()),
        ("{\"host\":\"b\"}", false, "abc")
    );
    assert_eq!((server.approved_first_run, server.last_attempt, server.next_run), (true, NOW + 2, NOW + 3));

    let run = m.journal.begin_run(other, "tick", NOW).unwrap();
    m.journal.record_intents(&[Intent { run_id: run, server_id: other, ..Intent::default() }]).unwrap();
    m.store(vec![link(other, 1, "Ann", "201"), link(m.server, 2, "Bob", "202")]);
    m.journal.replace_conflicts(other, &[NewConflict::default()], NOW, Compared::Everybody).unwrap();
    m.journal
        .settle(&SettleBatch {
            events: vec!["{}".to_owned()],
            changes: vec![ChangeRecord { run_id: run, side: "pbx".to_owned(), ..ChangeRecord::default() }],
            ..SettleBatch::default()
        })
        .unwrap();

    assert!(m.journal.delete_server(other).unwrap());
    assert!(!m.journal.delete_server(other).unwrap());
    let counts = ["servers", "links", "intents", "conflicts", "runs", "run_changes", "outbox"].map(|t| m.count(t));
    assert_eq!(counts, [1, 1, 0, 0, 0, 0, 1], "the other server's link and the announcement stay");
    let next = m.journal.save_server(None, "{}", false, None, "").unwrap().id;
    assert!(next > other, "an id is never given again");
}

#[test]
fn saving_another_mapping_forgets_the_bases_at_once() {
    let mut m = module();
    let save = |m: &mut Module, fingerprint: &str| {
        let saved = m.journal.save_server(Some(m.server), "{}", true, None, fingerprint).unwrap();
        assert_eq!(saved.id, m.server);
        saved.bases_forgotten
    };
    let approved = |m: &Module| m.journal.server(m.server).unwrap().unwrap().approved_first_run;
    save(&mut m, "old");
    m.store(vec![link(m.server, 1, "Ann", "201"), link(m.server, 2, "Bob", "202")]);
    assert!(m.journal.approve_first_run(m.server, "old").unwrap());
    assert_eq!((save(&mut m, "old"), approved(&m)), (0, true));
    assert!(m.links().iter().all(Link::has_base));

    assert_eq!((save(&mut m, "new"), approved(&m)), (2, false));
    assert!(!m.links().iter().any(Link::has_base));
    assert_eq!(m.journal.server(m.server).unwrap().unwrap().fingerprint, "new");
}

#[test]
fn a_run_with_the_older_mapping_neither_brings_its_bases_back_nor_approves() {
    let mut m = module();
    let settle = |m: &mut Module, user: i64, fingerprint: &str| {
        let links = vec![link(m.server, user, "Ann", "201")];
        let fingerprint = Some(fingerprint.to_owned());
        m.journal.settle(&SettleBatch { links, fingerprint, ..SettleBatch::default() }).unwrap();
    };
    m.journal.save_server(Some(m.server), "{}", true, None, "old").unwrap();
    settle(&mut m, 1, "old");
    // The page saves another mapping while the run goes on.
    Journal::open(m.dir.path()).unwrap().save_server(Some(m.server), "{}", true, None, "new").unwrap();
    settle(&mut m, 1, "old");
    settle(&mut m, 2, "old");
    let links = m.links();
    assert_eq!(links.iter().map(|link| (link.user_id, link.has_base())).collect::<Vec<_>>(), [(1, false), (2, false)]);
    assert!(links.iter().all(|link| link.change_mark.is_empty() && link.shown == values("Ann", "201")));
    assert!(!m.journal.approve_first_run(m.server, "old").unwrap());
    assert!(!m.journal.server(m.server).unwrap().unwrap().approved_first_run);

    settle(&mut m, 1, "new");
    assert!(m.links()[0].has_base());
    assert!(m.journal.approve_first_run(m.server, "new").unwrap());
}

#[test]
fn another_region_forgets_the_bases_of_mobiles_alone() {
    let mut m = module();
    let other = m.journal.save_server(None, "{}", false, None, "").unwrap().id;
    assert_eq!(m.journal.note_region(m.server, "RU").unwrap(), 0);
    m.store(vec![link(m.server, 1, "Ann", "201"), link(other, 2, "Bob", "202")]);
    assert_eq!(m.journal.note_region(m.server, "RU").unwrap(), 0);
    assert_eq!(m.journal.region(m.server).unwrap(), "RU");
    let before = m.links().remove(0);

    assert_eq!(m.journal.note_region(m.server, "").unwrap(), 1);
    let mut wanted = before.clone();
    wanted.forget_base(Field::Mobile);
    assert_eq!(m.links(), [wanted]);
    assert_eq!(before.shown[Field::Mobile], m.links()[0].shown[Field::Mobile]);
    assert_eq!(m.journal.links(other).unwrap()[0].pbx, values("Bob", "202"));
    assert_eq!(m.journal.region(m.server).unwrap(), "");
    assert_eq!(m.journal.region(99).unwrap(), "");
}

// Links

#[test]
fn a_link_comes_back_as_it_was_stored() {
    let mut m = module();
    let mut wanted = link(m.server, 12, "Ёлкин Пётр", "201");
    wanted.pbx[Field::Photo] = "0cc175b9c0f1b6a831c399e269772661".into();
    wanted.directory[Field::Mobile] = "+7 (916) 000-02-01".into();
    wanted.state = LinkState::Expired;
    m.store(vec![wanted.clone()]);
    wanted.id = m.links()[0].id;
    assert_eq!(m.links(), [wanted.clone()]);

    wanted.shown[Field::Number] = "305".into();
    wanted.state = LinkState::Absent;
    m.store(vec![Link { id: 0, ..wanted.clone() }]);
    assert_eq!(m.links(), [wanted.clone()], "the same row, whatever the id said");
    assert_eq!(m.journal.linked_elsewhere(m.server).unwrap(), BTreeMap::new());
    assert_eq!(m.journal.linked_elsewhere(99).unwrap(), BTreeMap::from([(12, false)]));
    assert_eq!(m.journal.numbers_used().unwrap().into_iter().collect::<Vec<_>>(), ["201", "305"]);

    assert!(m.journal.delete_link(wanted.id).unwrap());
    assert!(!m.journal.delete_link(wanted.id).unwrap());
    assert_eq!(m.links(), []);
    assert_eq!(m.journal.numbers_used().unwrap().len(), 2, "freed numbers are remembered");
}

#[test]
fn forgotten_bases_are_no_bases_but_still_shown() {
    let mut m = module();
    m.store(vec![link(m.server, 1, "Ann", "201")]);
    assert!(m.journal.approve_first_run(m.server, "").unwrap());
    assert_eq!(m.journal.forget_bases(m.server).unwrap(), 1);
    assert!(!m.journal.server(m.server).unwrap().unwrap().approved_first_run);

    let forgotten = m.links().remove(0);
    assert_eq!((&forgotten.pbx, &forgotten.directory), (&Values::default(), &Values::default()));
    assert!(!forgotten.has_base());
    assert_eq!((forgotten.change_mark.as_str(), forgotten.user_id), ("", 1));
    // Stored again without a base, because the person is gone: still shown by name.
    m.store(vec![Link { state: LinkState::Absent, ..forgotten.clone() }]);
    assert_eq!(m.links()[0].shown, values("Ann", "201"));
    check(&m, PeopleQuery { search: "ann".to_owned(), ..everyone() }, &[1]);

    // Compared anew with the name in conflict: the other fields have a base, and the person is shown as before.
    let based = [Field::Number].into();
    let mut compared = Link { pbx: values("", "201"), directory: values("", "201"), based, ..forgotten };
    m.store(vec![compared.clone()]);
    compared.id = m.links()[0].id;
    assert!(compared.has_base());
    assert_eq!(m.links(), [compared]);
    let (people, _) = m.journal.people(&everyone()).unwrap();
    assert_eq!(people[0].shown, values("Ann", "201"));
    assert_eq!(people[0].pbx[Field::Name], "");

    // Renamed on the PBX while the bases stay behind: shown, found and sorted by the name of today.
    m.store(vec![
        Link { shown: values("Zoe", "201"), ..link(m.server, 1, "Ann", "201") },
        link(m.server, 2, "Bob", "202"),
    ]);
    check(&m, PeopleQuery { search: "zoe".to_owned(), ..everyone() }, &[1]);
    check(&m, everyone(), &[2, 1]);
}

#[test]
fn a_link_that_nobody_has_seen_is_shown_by_its_base() {
    let mut m = module();
    m.store(vec![Link { shown: Values::default(), ..link(m.server, 1, "Ann", "201") }]);
    assert_eq!(m.links()[0].shown, values("Ann", "201"));
}

#[test]
fn an_employee_has_one_link_and_a_reused_id_frees_itself() {
    let mut m = module();
    let ann = link(m.server, 1, "Ann", "201");
    m.store(vec![ann.clone()]);
    let twice = Link { key: key("another"), ..ann.clone() };
    let error = m.journal.settle(&SettleBatch { links: vec![twice.clone()], ..SettleBatch::default() }).unwrap_err();
    assert!(matches!(&error, JournalError::AlreadyLinked { user_id: 1, key, .. } if *key == ann.key), "{error}");

    // The PBX was restored: its next new employee got Ann's id.
    let restored = Link { sip_uniqid: "SIP-PHONE-FFFFFFFF".to_owned(), ..twice };
    m.store(vec![restored.clone()]);
    let links = m.links();
    assert_eq!((links[0].key.as_str(), links[0].user_id), ("another", 1));
    assert_eq!((&links[1].key, links[1].user_id), (&ann.key, -links[1].id));
    assert_eq!(m.journal.linked_elsewhere(99).unwrap(), BTreeMap::from([(1, true)]));
    // Ann gets a new employee and is linked like everybody else.
    m.store(vec![Link { user_id: 40, ..ann }]);
    assert_eq!(m.links()[1].user_id, 40);
}

// Intents, settling, outbox

#[test]
fn settling_is_all_or_nothing() {
    let mut m = module();
    let run = m.run(NOW);
    let intent = |name: &str| Intent {
        run_id: run,
        server_id: m.server,
        key: key(name),
        task_json: "{\"create\":{}}".to_owned(),
        link_json: "{}".to_owned(),
        kind: "create".to_owned(),
        ..Intent::default()
    };
    let intents = [intent("a"), intent("b")];
    let ids = m.journal.record_intents(&intents).unwrap();
    let open = m.journal.open_intents().unwrap();
    assert_eq!(open.iter().map(|i| i.id).collect::<Vec<_>>(), ids);
    assert_eq!(Intent { id: 0, ..open[1].clone() }, intents[1]);

    let good = SettleBatch {
        unlinked: vec![],
        intents_done: vec![ids[0]],
        links: vec![link(m.server, 1, "Ann", "201")],
        events: vec!["{\"n\":1}".to_owned(), "{\"n\":2}".to_owned()],
        changes: vec![ChangeRecord {
            run_id: run,
            key: key("a"),
            user_id: Some(1),
            person: "Ann".to_owned(),
            field: "number".to_owned(),
            side: "pbx".to_owned(),
            old: String::new(),
            new: "201".to_owned(),
            why: "new".to_owned(),
            outcome: "written".to_owned(),
            replaced_json: "[]".to_owned(),
        }],
        fingerprint: None,
        progress: None,
    };
    // The last thing stored fails, so nothing of the batch may stay.
    let mut bad = good.clone();
    bad.changes.push(ChangeRecord { run_id: run, side: "nowhere".to_owned(), ..ChangeRecord::default() });
    m.journal.settle(&bad).unwrap_err();
    assert_eq!(["links", "outbox", "run_changes", "numbers_used", "intents"].map(|t| m.count(t)), [0, 0, 0, 0, 2]);

    m.journal.settle(&good).unwrap();
    assert_eq!(["links", "outbox", "run_changes", "numbers_used", "intents"].map(|t| m.count(t)), [1, 1, 1, 1, 1]);
    assert_eq!(m.journal.open_intents().unwrap()[0].key, key("b"));
    assert_eq!(m.journal.changes(run, 0, 10).unwrap(), good.changes);
    assert_eq!(m.journal.changes(run, 1, 10).unwrap(), []);
    assert_eq!(m.journal.change_count(run).unwrap(), 1);
}

#[test]
fn the_outbox_keeps_its_order_until_delivered() {
    let mut m = module();
    let events: Vec<String> = (0..5).map(|n| format!("{{\"n\":{n}}}")).collect();
    m.settle_events(&events[..2]);
    m.settle_events(&events[2..]);
    let (ids, first) = m.journal.outbox(3).unwrap();
    assert_eq!((ids.len(), first), (1, format!("[{}]", events[..2].join(","))));
    m.journal.delivered(&ids).unwrap();
    // Another process finds the rest, also where it asks for less than there is in one row.
    let (ids, rest) = Journal::open(m.dir.path()).unwrap().outbox(1).unwrap();
    assert_eq!((ids.len(), rest), (1, format!("[{}]", events[2..].join(","))));
    m.journal.delivered(&ids).unwrap();
    assert_eq!(m.journal.outbox(100).unwrap(), (vec![], "[]".to_owned()));
}

#[test]
fn very_many_events_come_in_order_and_in_parts() {
    let mut m = module();
    let events: Vec<String> = (0..4_321).map(|n| n.to_string()).collect();
    m.settle_events(&events);
    let mut told = Vec::new();
    loop {
        let (ids, some) = m.journal.outbox(2_000).unwrap();
        let some: Vec<usize> = serde_json::from_str(&some).unwrap();
        if ids.is_empty() {
            break;
        }
        assert!(some.len() <= 2_000);
        told.extend(some);
        m.journal.delivered(&ids).unwrap();
    }
    assert_eq!(told, (0..events.len()).collect::<Vec<_>>());
}

fn event(record: usize, action: &str, fields: &str) -> String {
    format!(r#"{{"model":"Users","recordId":"{record}","action":"{action}","changedFields":[{fields}]}}"#)
}

#[test]
fn an_outbox_that_nobody_empties_is_bounded_by_the_number_of_records() {
    let mut m = module();
    let crowd: Vec<String> = (0..OUTBOX_UNMERGED).map(|n| event(n, "afterSave", r#""email""#)).collect();
    m.settle_events(&crowd);
    m.journal.merge_outbox().unwrap();
    assert_eq!(m.waiting().len(), OUTBOX_UNMERGED, "up to here nothing is merged");
    m.settle_events(&[
        event(7, "afterSave", r#""username""#),
        event(7, "afterSave", r#""avatar""#),
        event(7, "afterDelete", ""),
        event(8, "afterSave", r#""email""#),
    ]);
    m.journal.merge_outbox().unwrap();
    let events = m.waiting();
    assert_eq!(events.len(), OUTBOX_UNMERGED + 1, "7 thrice became once, and its end is another action");
    let expected = [
        event(7, "afterSave", r#""avatar","email","username""#),
        event(7, "afterDelete", ""),
        event(8, "afterSave", r#""email""#),
    ];
    let parsed = |text: &String| -> serde_json::Value { serde_json::from_str(text).unwrap() };
    assert_eq!(events[events.len() - 3..], expected.each_ref().map(parsed));
    assert_eq!(events.iter().filter(|event| event["recordId"] == "7").count(), 2);
    // However often the same people change, there is no more of it than may wait unmerged.
    for _ in 0..500 {
        m.settle_events(&(0..50).map(|n| event(n, "afterSave", r#""email""#)).collect::<Vec<_>>());
        m.journal.merge_outbox().unwrap();
        let waiting: i64 = m.raw().query_row("SELECT sum(events) FROM outbox", [], |row| row.get(0)).unwrap();
        assert!(waiting <= 2 * OUTBOX_UNMERGED as i64 + 1);
    }
}

#[test]
fn a_server_deleted_in_the_middle_of_its_run_loses_no_announcement() {
    let mut m = module();
    let run = m.run(NOW);
    let ids = m.journal.record_intents(&[Intent { run_id: run, server_id: m.server, ..Intent::default() }]).unwrap();
    Journal::open(m.dir.path()).unwrap().delete_server(m.server).unwrap();
    assert!(m.journal.cancel_requested(run).unwrap(), "the run is to stop");
    m.journal
        .settle(&SettleBatch {
            unlinked: vec![],
            intents_done: ids,
            links: vec![link(m.server, 1, "Ann", "201")],
            events: vec!["{}".to_owned()],
            changes: vec![ChangeRecord { run_id: run, side: "pbx".to_owned(), ..ChangeRecord::default() }],
            fingerprint: Some(String::new()),
            progress: None,
        })
        .unwrap();
    assert_eq!(["outbox", "links", "run_changes", "intents"].map(|t| m.count(t)), [1, 0, 0, 0]);
    m.journal.replace_conflicts(m.server, &[NewConflict::default()], NOW, Compared::Everybody).unwrap();
    m.journal.end_run(run, NOW, "cancelled", "", "{}", "").unwrap();
    let error = m.journal.begin_run(m.server, "tick", NOW).unwrap_err();
    assert!(error.to_string().contains("there is no server"), "{error}");
}

// Conflicts

fn conflict(name: &str, field: &str, reason: &str) -> NewConflict {
    NewConflict {
        compared: ("d".to_owned(), "p".to_owned()),
        key: key(name),
        user_id: None,
        person: name.to_owned(),
        field: field.to_owned(),
        side: "pbx".to_owned(),
        cause: "number-taken".to_owned(),
        reason: reason.to_owned(),
        directory_value: "201".to_owned(),
        pbx_value: String::new(),
    }
}

#[test]
fn a_conflict_is_counted_refreshed_and_goes_when_solved() {
    let mut m = module();
    let (ann, bob) = (conflict("ann", "number", "201 is the queue Sales"), conflict("bob", "number", "202 is taken"));
    m.journal.replace_conflicts(m.server, &[ann.clone(), bob, ann.clone()], NOW, Compared::Everybody).unwrap();
    let conflicts = m.journal.conflicts(Some(m.server)).unwrap();
    assert_eq!(conflicts.len(), 2);
    assert!(
        conflicts.iter().all(|c| (c.count, c.first_time, c.last_time) == (1, NOW, NOW) && c.conflict.user_id.is_none())
    );

    // A run that was not complete removes nothing; the clock has gone back, the time seen last does not.
    let refreshed = conflict("ann", "number", "201 is the queue Support");
    m.journal.replace_conflicts(m.server, &[refreshed], NOW - 5000, Compared::Part).unwrap();
    let conflicts = m.journal.conflicts(None).unwrap();
    assert_eq!(conflicts.len(), 2);
    let found = conflicts.iter().find(|c| c.conflict.person == "ann").unwrap();
    assert_eq!((found.count, found.first_time, found.last_time), (2, NOW, NOW));
    assert_eq!(found.conflict, conflict("ann", "number", "201 is the queue Support"));
    let id = found.id;

    m.journal.replace_conflicts(m.server, &[ann], NOW + 1, Compared::Everybody).unwrap();
    let conflicts = m.journal.conflicts(Some(m.server)).unwrap();
    assert_eq!(conflicts.iter().map(|c| (c.id, c.count, c.last_time)).collect::<Vec<_>>(), [(id, 3, NOW + 1)]);
    m.journal.replace_conflicts(m.server, &[], NOW + 2, Compared::Everybody).unwrap();
    assert_eq!(m.journal.conflicts(None).unwrap(), []);
}

#[test]
fn conflicts_differ_by_person_field_side_and_cause() {
    let mut m = module();
    let base = conflict("ann", "number", "a reason");
    let different = [
        base.clone(),
        NewConflict { key: key("bob"), ..base.clone() },
        NewConflict { user_id: Some(7), ..base.clone() },
        NewConflict { field: "mobile".to_owned(), ..base.clone() },
        NewConflict { side: "directory".to_owned(), ..base.clone() },
        NewConflict { cause: "no-rights".to_owned(), ..base.clone() },
    ];
    m.journal.replace_conflicts(m.server, &different, NOW, Compared::Everybody).unwrap();
    m.journal.replace_conflicts(m.server, &different, NOW + 1, Compared::Everybody).unwrap();
    let conflicts = m.journal.conflicts(Some(m.server)).unwrap();
    assert_eq!(conflicts.len(), different.len());
    assert!(conflicts.iter().all(|c| c.count == 2));
    assert_eq!(conflicts.iter().filter(|c| c.conflict.user_id == Some(7)).count(), 1);
}

#[test]
fn conflicts_are_deleted_one_by_one_and_by_server() {
    let mut m = module();
    let other = m.journal.save_server(None, "{}", false, None, "").unwrap().id;
    let seen = [conflict("ann", "number", "a"), conflict("bob", "number", "b")];
    m.journal.replace_conflicts(m.server, &seen, NOW, Compared::Everybody).unwrap();
    m.journal.replace_conflicts(other, &seen, NOW, Compared::Everybody).unwrap();
    m.journal.replace_conflicts(other, &[], NOW, Compared::Part).unwrap();
    assert_eq!(m.journal.conflicts(None).unwrap().len(), 4);

    let id = m.journal.conflicts(Some(m.server)).unwrap()[0].id;
    assert!(m.journal.delete_conflict(id).unwrap());
    assert!(!m.journal.delete_conflict(id).unwrap());
    assert_eq!(m.journal.delete_conflicts(other).unwrap(), 2);
    assert_eq!(m.journal.conflicts(None).unwrap().len(), 1);
}

// Runs

#[test]
fn a_run_goes_from_beginning_to_end() {
    let mut m = module();
    let run = m.run(NOW);
    let progress = Some(Progress { run_id: run, done: 30, total: 100 });
    m.journal.settle(&SettleBatch { progress, ..SettleBatch::default() }).unwrap();
    let running = m.journal.run(run).unwrap().unwrap();
    assert_eq!((running.state.as_str(), running.ended, running.done, running.total), ("running", None, 30, 100));
    assert!(!m.journal.cancel_requested(run).unwrap());
    // The page asks from its own connection.
    assert!(Journal::open(m.dir.path()).unwrap().request_cancel(run, NOW).unwrap());
    assert!(m.journal.cancel_requested(run).unwrap());

    m.journal.end_run(run, NOW - 10, "cancelled", "stopped after 30 of 100", "{\"updated\":3}", "").unwrap();
    let ended = m.journal.run(run).unwrap().unwrap();
    assert_eq!((ended.state.as_str(), ended.ended), ("cancelled", Some(NOW)), "an end is not before its beginning");
    assert_eq!((ended.summary.as_str(), ended.counts_json.as_str()), ("stopped after 30 of 100", "{\"updated\":3}"));
    assert!(!m.journal.request_cancel(run, NOW).unwrap());
    assert!(!m.journal.request_cancel(99, NOW).unwrap());
    assert_eq!(m.journal.run(99).unwrap(), None);

    let second = m.ended_run(NOW + 1);
    let ids = |limit| m.journal.runs(m.server, limit).unwrap().iter().map(|r| r.id).collect::<Vec<_>>();
    assert_eq!((ids(10), ids(1)), (vec![second, run], vec![second]));
}

#[test]
fn a_run_that_could_not_begin_is_the_last_run() {
    let mut m = module();
    m.ended_run(NOW);
    let id = m.journal.note_failed_run(m.server, "tick", NOW + 1, "the PBX's database is missing").unwrap();
    let last = m.journal.runs(m.server, 1).unwrap().remove(0);
    assert_eq!((last.id, last.state.as_str(), last.ended), (id, "failed", Some(NOW + 1)));
    assert_eq!((last.kind.as_str(), last.error.as_str()), ("tick", "the PBX's database is missing"));
    assert!(matches!(m.journal.note_failed_run(99, "tick", NOW, ""), Err(JournalError::NoServer { id: 99 })));
}

#[test]
fn runs_of_a_dead_program_are_closed() {
    let mut m = module();
    let done = m.ended_run(NOW);
    let abandoned = m.run(NOW);
    let mut next = Journal::open(m.dir.path()).unwrap();
    assert_eq!(next.close_abandoned_runs(NOW + 5).unwrap(), 1);
    assert_eq!(next.close_abandoned_runs(NOW + 6).unwrap(), 0);
    let run = next.run(abandoned).unwrap().unwrap();
    assert_eq!((run.state.as_str(), run.ended), ("failed", Some(NOW + 5)));
    assert!(run.error.contains("the program ended in the middle"), "{}", run.error);
    assert_eq!(next.run(done).unwrap().unwrap().state, "done");
}

#[test]
fn pruning_keeps_the_last_runs_open_intents_and_photos_still_wanted() {
    let mut m = module();
    let old = NOW - 100 * DAY;
    let first = m.ended_run(old);
    let with_intent = m.ended_run(old);
    m.journal.record_intents(&[Intent { run_id: with_intent, server_id: m.server, ..Intent::default() }]).unwrap();
    let kept: Vec<i64> = (0..i64::from(RUNS_KEPT)).map(|n| m.ended_run(old + n)).collect();
    let photo = |run_id, md5: &str| ChangeRecord {
        run_id,
        field: "photo".to_owned(),
        side: "pbx".to_owned(),
        old: md5.to_owned(),
        ..ChangeRecord::default()
    };
    let changes = vec![photo(first, "aaaa"), photo(kept[0], "bbbb"), photo(kept[0], "cccc")];
    m.journal.settle(&SettleBatch { changes, ..SettleBatch::default() }).unwrap();
    let photos = m.journal.paths().replaced_photos();
    let written = UNIX_EPOCH + Duration::from_millis(old as u64);
    for (name, time) in [
        ("aaaa.jpg", written),
        ("bbbb.jpg", written),
        ("cccc", written),
        ("dddd", UNIX_EPOCH + Duration::from_millis(NOW as u64)),
    ] {
        fs::File::create(photos.join(name)).unwrap().set_modified(time).unwrap();
    }

    // A PBX whose clock is not set yet lives in 1970 and forgets nothing.
    assert_eq!(m.journal.prune(5000, 30).unwrap(), 0);
    assert_eq!(m.journal.prune(NOW, 101).unwrap(), 0);
    assert_eq!(fs::read_dir(&photos).unwrap().count(), 4);
    assert_eq!(m.journal.prune(NOW, 30).unwrap(), 1);
    let ids: Vec<i64> = m.journal.runs(m.server, 100).unwrap().iter().rev().map(|run| run.id).collect();
    assert_eq!(ids, [vec![with_intent], kept].concat());
    assert_eq!(m.count("run_changes"), 2);
    let mut names: Vec<_> = fs::read_dir(&photos).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["bbbb.jpg", "cccc", "dddd"]);
}

// Edits

#[test]
fn edits_are_bounded_and_pruned() {
    let mut m = module();
    let batch = |from: usize, to: usize, at: i64| (from..to).map(|n| (n.to_string(), at)).collect::<Vec<_>>();
    m.journal.append_edits(&batch(0, MAX_EDITS - 1, NOW)).unwrap();
    m.journal.append_edits(&batch(MAX_EDITS - 1, MAX_EDITS + 9, NOW)).unwrap();
    assert_eq!(m.count("pbx_edits"), MAX_EDITS as i64);
    assert_eq!(m.journal.edits_since(NOW).unwrap()[..2], batch(9, 11, NOW));
    assert_eq!(m.journal.edits_since(NOW + 1).unwrap(), []);

    m.journal.prune(NOW + 29 * DAY, 30).unwrap();
    assert_eq!(m.count("pbx_edits"), MAX_EDITS as i64, "not old enough");
    m.journal.append_edits(&batch(0, 1, NOW + 2 * DAY)).unwrap();
    m.journal.prune(NOW + 31 * DAY, 30).unwrap();
    assert_eq!(m.count("pbx_edits"), 1, "an old hint is of no use, whether a run has seen it or not");

    m.journal.append_edits(&batch(0, MAX_EDITS + 1, NOW)).unwrap();
    assert_eq!(m.count("pbx_edits"), MAX_EDITS as i64);
    assert_eq!(m.journal.edits_since(NOW).unwrap()[0].0, "1");
}

// The people page

fn everyone() -> PeopleQuery {
    PeopleQuery { limit: 100, ..PeopleQuery::default() }
}

fn crowd() -> Module {
    let mut m = module();
    let other = m.journal.save_server(None, "{}", false, None, "").expect("a server").id;
    let mut links = vec![
        link(m.server, 1, "Ann_Lee", "1000"),
        link(m.server, 2, "50% Bob", "201"),
        link(m.server, 3, "ЁЛКИН Пётр", "99"),
        link(m.server, 4, "Жуков Иван", "202"),
        link(m.server, 5, "Дмитриев Олег", "203"),
        link(m.server, 6, "O'Neil \\ Ünal", "204"),
        link(other, 7, "王小明", "205"),
    ];
    links[3].state = LinkState::Disabled;
    links[4].state = LinkState::Absent;
    links[0].shown[Field::Email] = "Zed@Example.ORG".into();
    links[1].shown[Field::Email] = "yan@example.org".into();
    m.store(links);
    m
}

#[track_caller]
fn check(m: &Module, query: PeopleQuery, expect: &[i64]) {
    let (people, total) = m.journal.people(&query).expect("people");
    assert_eq!(people.iter().map(|link| link.user_id).collect::<Vec<_>>(), expect, "{query:?}");
    assert_eq!(total as usize, expect.len(), "{query:?}");
}

#[test]
fn people_are_found_whatever_the_case_and_without_wildcards() {
    let m = crowd();
    let find = |text: &str, expect: &[i64]| check(&m, PeopleQuery { search: text.to_owned(), ..everyone() }, expect);
    find("%", &[2]);
    find("_", &[1]);
    find("50% bob", &[2]);
    find("n_l", &[1]);
    find("\\", &[6]);
    find("'", &[6]);
    find("\"", &[]);
    find("* OR 1=1", &[]);
    find("ёлкин", &[3]);
    find("ЕЛКИН", &[3]);
    find("ПЕТР", &[3]);
    find("жУКОВ", &[4]);
    find("üNAL", &[6]);
    find("小明", &[7]);
    find("ZED@example", &[1]);
    find("  203 ", &[5]);
    find("+7 (916) 000-02-02", &[4]);
    find("nobody", &[]);
    // A search never runs over from one value into the next.
    find("bob 201", &[]);
}

#[test]
fn people_are_sorted_filtered_and_paged() {
    let m = crowd();
    let sort = |sort, descending, expect: &[i64]| check(&m, PeopleQuery { sort, descending, ..everyone() }, expect);
    sort(PeopleSort::Name, false, &[2, 1, 6, 5, 3, 4, 7]);
    sort(PeopleSort::Name, true, &[7, 4, 3, 5, 6, 1, 2]);
    sort(PeopleSort::Number, false, &[3, 2, 4, 5, 6, 7, 1]);
    sort(PeopleSort::Mobile, true, &[1, 7, 6, 5, 4, 2, 3]);
    sort(PeopleSort::Email, false, &[4, 5, 6, 7, 3, 2, 1]);
    sort(PeopleSort::State, false, &[5, 2, 1, 6, 3, 7, 4]);
    sort(PeopleSort::Since, true, &[7, 6, 5, 4, 3, 2, 1]);

    check(&m, PeopleQuery { server_id: Some(m.server + 1), ..everyone() }, &[7]);
    check(&m, PeopleQuery { server_id: Some(m.server), search: "204".to_owned(), ..everyone() }, &[6]);
    check(&m, PeopleQuery { server_id: Some(99), ..everyone() }, &[]);
    let (page, total) = m.journal.people(&PeopleQuery { offset: 2, limit: 3, ..everyone() }).unwrap();
    assert_eq!((page.iter().map(|link| link.user_id).collect::<Vec<_>>(), total), (vec![6, 5, 3], 7));
    let (page, total) = m.journal.people(&PeopleQuery { offset: u32::MAX, limit: u32::MAX, ..everyone() }).unwrap();
    assert_eq!((page.len(), total), (0, 7));
}

/// Prints how long it takes; the assertions are about the answers, and that the page is read from its index alone.
#[test]
fn a_hundred_thousand_people() {
    let mut m = module();
    let links = (1..=100_000)
        .map(|n| link(m.server, n, &format!("Person {:05} Семёнов", (n * 7919) % 100_000), &n.to_string()));
    let batch = SettleBatch { links: links.collect(), ..SettleBatch::default() };
    timed("store", || m.journal.settle(&batch).unwrap());
    assert_eq!(timed("links", || m.links()).len(), 100_000);
    assert_eq!(timed("numbers used", || m.journal.numbers_used().unwrap()).len(), 100_000);
    for sort in [
        PeopleSort::Name,
        PeopleSort::Number,
        PeopleSort::Mobile,
        PeopleSort::Email,
        PeopleSort::State,
        PeopleSort::Since,
    ] {
        for (server_id, offset) in [(None, 0), (Some(m.server), 99_000)] {
            let query = PeopleQuery { server_id, offset, limit: 50, sort, ..PeopleQuery::default() };
            let (people, total) = timed(&format!("{sort:?} from {offset}"), || m.journal.people(&query).unwrap());
            assert_eq!((people.len(), total), (50, 100_000));
        }
    }
    let query = PeopleQuery { server_id: Some(m.server), search: "04242 СЕМ".to_owned(), ..everyone() };
    assert_eq!(timed("search", || m.journal.people(&query).unwrap()).1, 1);

    for (order, sorted) in [("sort_name, id", false), ("email_shown COLLATE NOCASE, id", true)] {
        let sql = format!(
            "EXPLAIN QUERY PLAN SELECT id FROM links INDEXED BY links_page WHERE server_id = 1 ORDER BY {order} LIMIT 50"
        );
        let raw = m.raw();
        let mut plan = raw.prepare(&sql).unwrap();
        let steps = plan.query_map([], |row| row.get::<_, String>(3)).unwrap().map(Result::unwrap);
        let steps: Vec<String> = steps.collect();
        assert!(steps[0].contains("USING COVERING INDEX links_page"), "{order}: {steps:?}");
        assert_eq!(steps.len() > 1, sorted, "{order}: {steps:?}");
    }
}

fn timed<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let answer = work();
    println!("{what}: {:?}", start.elapsed());
    answer
}
