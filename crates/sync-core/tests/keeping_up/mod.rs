//! Automatic runs that look at nobody but those who may have changed: they end where a complete run would.

use proptest::prelude::*;
use sync_core::link::LinkState;
use sync_core::person::Field::{self, Email, Mobile, Name, Number};
use sync_core::plan::Action;

use crate::pbx_support::photo;
use crate::scenario_support::{Scene, about, told};

/// A scene with six people in step.
fn settled() -> Scene {
    let mut scene = Scene::new();
    for (key, name) in [("ann", "Ann"), ("bob", "Bob"), ("cyd", "Cyd"), ("dan", "Dan"), ("eve", "Eve"), ("fay", "Fay")]
    {
        let mail = format!("{key}@x.test");
        scene.directory.add(key, &[(Name, name), (Email, &mail), (Mobile, &format!("+7 903 000-00-0{}", key.len()))]);
        scene.directory.set(
            key,
            Mobile,
            &format!("+7 903 555-00-{}", 10 + key.bytes().next().unwrap_or_default() % 80),
        );
    }
    scene.sync();
    scene.tick();
    scene
}

#[test]
fn where_nothing_has_changed_nothing_is_read_and_no_run_is_recorded() {
    let mut scene = settled();
    let runs = scene.journal.runs(scene.policy.server_id, 10).expect("runs").len();
    let reads = scene.directory.reads;
    for _ in 0..3 {
        assert!(scene.tick().is_none());
    }
    assert_eq!(scene.directory.reads, reads);
    assert_eq!(scene.journal.runs(scene.policy.server_id, 10).expect("runs").len(), runs);
}

#[test]
fn one_edit_in_the_directory_reads_one_entry() {
    let mut scene = settled();
    let entries = scene.directory.entries_read;
    scene.directory.set("bob", Email, "robert@x.test");
    let report = scene.tick().expect("something to do");
    assert_eq!(scene.directory.entries_read - entries, 1, "{}", told(&report));
    assert_eq!(scene.user_column("email", "Bob"), "robert@x.test");
    assert!(scene.tick().is_none());
    scene.assert_settled();
}

#[test]
fn one_edit_on_the_pbx_reads_one_entry_and_reaches_it() {
    let mut scene = settled();
    let entries = scene.directory.entries_read;
    let user_id = scene.link("cyd").expect("a link").user_id;
    scene.edit_on_pbx(user_id, &[(Email, "cyd.new@x.test")]);
    scene.tick().expect("something to do");
    assert_eq!(scene.directory.entries_read - entries, 1);
    assert_eq!(scene.directory.value("cyd", Email), "cyd.new@x.test");
    // The module's own edit of the directory is looked at once more, and nothing comes of it.
    assert!(scene.tick().is_none());
    scene.assert_settled();
}

#[test]
fn a_new_person_gets_the_next_free_number() {
    let mut scene = settled();
    scene.directory.add("gus", &[(Name, "Gus New"), (Email, "gus@x.test")]);
    let report = scene.tick().expect("something to do");
    assert_eq!(about(&report, "gus").0.action, Action::Create);
    let number = scene.number_of("Gus New");
    assert_eq!(scene.directory.value("gus", Number), number);
    scene.tick();
    scene.assert_settled();
}

#[test]
fn an_employee_who_was_there_is_recognised_by_a_mobile_in_another_spelling() {
    let mut scene = settled();
    let (name, mobile) = {
        let snapshot = scene.pbx.open().read().expect("reads");
        let linked: Vec<i64> =
            scene.journal.links(scene.policy.server_id).expect("links").iter().map(|l| l.user_id).collect();
        let free =
            snapshot.employees.iter().find(|one| !linked.contains(&one.user_id) && !one.values[Mobile].is_empty());
        let free = free.expect("an employee with a mobile and without a link");
        (free.values[Name].clone(), free.values[Mobile].clone())
    };
    scene.directory.add("old", &[(Name, &name), (Mobile, &format!("({}) {}", &mobile[..3], &mobile[3..]))]);
    let report = scene.tick().expect("something to do");
    assert!(matches!(about(&report, "old").0.action, Action::Adopt(_)), "{}", told(&report));
    assert_eq!(scene.employees_named(&name), 1);
    scene.tick();
    scene.assert_settled();
}

#[test]
fn somebody_who_left_is_listed_and_others_tell_that_the_directory_can_still_be_read() {
    let mut scene = settled();
    scene.directory.keep_only(|key| key != "dan");
    scene.tick().expect("something to do");
    assert_eq!(scene.link("dan").expect("a link").state, LinkState::Absent);
    assert!(scene.tick().is_none());
}

#[test]
fn a_login_that_is_shown_nobody_any_more_makes_nobody_leave() {
    let mut scene = settled();
    scene.directory.set("dan", Name, "Daniel");
    scene.directory.hides_everybody = true;
    let report = scene.tick().expect("everybody was read");
    assert!(report.plan.everybody, "{}", told(&report));
    assert!(!report.holds.is_empty());
    assert!(scene.journal.links(scene.policy.server_id).expect("links").iter().all(|l| l.state == LinkState::Active));
    scene.directory.hides_everybody = false;
    scene.tick();
    assert_eq!(scene.employees_named("Daniel"), 1);
    scene.assert_settled();
}

#[test]
fn an_attribute_that_can_no_longer_be_read_is_cleared_for_nobody() {
    let mut scene = settled();
    let mail = scene.user_column("email", "Eve");
    scene.directory.unreadable.insert(Email);
    scene.directory.set("eve", Name, "Eva");
    let report = scene.tick().expect("something to do");
    assert_eq!(scene.user_column("email", "Eva"), mail, "{}", told(&report));
    scene.directory.unreadable.clear();
    scene.tick();
    scene.assert_settled();
}

#[test]
fn a_value_that_was_cleared_is_cleared() {
    let mut scene = settled();
    scene.directory.set("eve", Email, "");
    scene.tick().expect("something to do");
    assert_eq!(scene.user_column("email", "Eve"), "");
    scene.tick();
    scene.assert_settled();
}

#[test]
fn photos_travel_and_go() {
    let mut scene = settled();
    scene.directory.set_photo("fay", photo(3));
    scene.tick().expect("something to do");
    assert_ne!(scene.user_column("avatar", "Fay"), "");
    scene.tick();
    scene.assert_settled();
}

#[test]
fn a_conflict_that_waits_is_looked_at_again_once_something_has_changed() {
    let mut scene = settled();
    let taken = scene.number_of("Ann");
    scene.directory.add("new", &[(Name, "New One"), (Number, &taken)]);
    let report = scene.tick().expect("something to do");
    assert_eq!(about(&report, "new").0.action, Action::Wait, "{}", told(&report));
    assert!(scene.tick().is_none(), "a conflict that nobody touches costs nothing");
    let user_id = scene.link("ann").expect("a link").user_id;
    scene.edit_on_pbx(user_id, &[(Number, "288")]);
    scene.tick().expect("something to do");
    assert_eq!(scene.number_of("New One"), taken);
    scene.tick();
    scene.assert_settled();
}

#[test]
fn settings_that_were_saved_and_marks_of_another_directory_read_everybody() {
    let mut scene = settled();
    scene
        .journal
        .save_server(Some(scene.policy.server_id), "{}", true, None, &scene.policy.fingerprint)
        .expect("saved");
    assert!(scene.tick().expect("a run").plan.everybody);
    assert!(scene.tick().is_none());
    let mut watch = scene.journal.watch(scene.policy.server_id).expect("readable").expect("kept");
    watch.directory.mark = "of another directory".to_owned();
    scene.journal.note_watch(scene.policy.server_id, &watch).expect("noted");
    assert!(scene.tick().expect("a run").plan.everybody);
    scene.assert_settled();
}

#[test]
fn somebody_who_comes_back_under_another_name_is_as_before() {
    let mut scene = settled();
    scene.policy.leavers.stop_after = Some(0);
    scene.directory.disable("bob");
    scene.tick();
    assert_eq!(scene.link("bob").expect("a link").state, LinkState::Disabled);
    scene.directory.enable("bob");
    scene.directory.set("bob", Name, "Robert");
    scene.tick();
    let link = scene.link("bob").expect("a link");
    assert_eq!((link.state, link.stopped), (LinkState::Active, false));
    assert_eq!((link.shown[Name].as_str(), link.pbx[Name].as_str()), ("Robert", "Robert"));
    scene.edit_on_pbx(link.user_id, &[(Name, "Bobby")]);
    scene.tick();
    assert_eq!(scene.directory.value("bob", Name), "Bobby");
    scene.tick();
    scene.assert_settled();
}

#[test]
fn somebody_who_is_hired_again_is_recognised_by_the_companys_number() {
    let mut scene = settled();
    scene.directory.set_employee_number("cyd", "4711");
    scene.tick();
    scene.directory.keep_only(|key| key != "cyd");
    scene.tick();
    scene.directory.add("again", &[(Name, "Cyd Married"), (Email, "married@x.test")]);
    scene.directory.set_employee_number("again", "4711");
    let report = scene.tick().expect("something to tell");
    assert_eq!(about(&report, "again").0.action, Action::Wait, "{}", told(&report));
    assert_eq!(scene.employees_named("Cyd Married"), 0);
}

#[test]
fn a_namesake_of_somebody_who_is_in_use_and_was_not_asked_about_is_a_new_person() {
    let mut scene = settled();
    scene.directory.add("ann2", &[(Name, "Ann")]);
    let report = scene.tick().expect("something to do");
    assert_eq!(about(&report, "ann2").0.action, Action::Create, "{}", told(&report));
    assert_eq!(scene.employees_named("Ann"), 2);
    scene.tick();
    scene.assert_settled();
}

#[test]
fn a_number_that_somebody_else_frees_on_the_pbx_ends_the_waiting() {
    let mut scene = settled();
    scene.pbx.sql("INSERT INTO m_Extensions (number, type, callerid) VALUES ('277', 'QUEUE', 'Old queue')");
    scene.directory.add("new", &[(Name, "New One"), (Number, "277")]);
    let report = scene.tick().expect("something to tell");
    assert_eq!(about(&report, "new").0.action, Action::Wait, "{}", told(&report));
    assert!(scene.tick().is_none());
    scene.pbx.sql("DELETE FROM m_Extensions WHERE number = '277'");
    scene.tick().expect("something to do");
    assert_eq!(scene.number_of("New One"), "277");
    scene.tick();
    scene.assert_settled();
}

#[test]
fn everybody_edited_at_once_and_then_hidden_is_nobody_who_left() {
    let mut scene = settled();
    for key in ["ann", "bob", "cyd", "dan", "eve", "fay"] {
        scene.directory.set(key, Email, &format!("{key}.new@x.test"));
    }
    scene.directory.hides_everybody = true;
    let report = scene.tick().expect("everybody was read");
    assert!(report.plan.everybody && !report.holds.is_empty(), "{}", told(&report));
    assert!(scene.journal.links(scene.policy.server_id).expect("links").iter().all(|l| l.state == LinkState::Active));
}

/// One thing somebody does between two ticks.
#[derive(Clone, Debug)]
enum Step {
    InDirectory(usize, Field, usize),
    OnPbx(usize, Field, usize),
    Joins(usize),
    Leaves(usize),
    Tick,
}

const KEYS: [&str; 8] = ["ann", "bob", "cyd", "dan", "eve", "fay", "gus", "hal"];

fn value(field: Field, number: usize) -> String {
    match field {
        Email => format!("mail{number}@x.test"),
        Mobile => format!("7903111000{number}"),
        Number => format!("30{number}"),
        _ => format!("Name {number}"),
    }
}

fn step() -> impl Strategy<Value = Step> {
    let (who, field, value) = (0..KEYS.len(), prop::sample::select(vec![Name, Email, Mobile, Number]), 0..6usize);
    prop_oneof![
        3 => (who.clone(), field.clone(), value.clone()).prop_map(|(who, field, value)| Step::InDirectory(who, field, value)),
        3 => (who.clone(), field, value).prop_map(|(who, field, value)| Step::OnPbx(who, field, value)),
        1 => who.clone().prop_map(Step::Joins),
        1 => who.prop_map(Step::Leaves),
        3 => Just(Step::Tick),
    ]
}

fn act(scene: &mut Scene, step: &Step) {
    match *step {
        Step::InDirectory(who, field, number) if scene.directory.has(KEYS[who]) => {
            scene.directory.set(KEYS[who], field, &value(field, number));
        }
        Step::OnPbx(who, field, number) => {
            let Some(link) = scene.link(KEYS[who]) else { return };
            scene.try_edit_on_pbx(link.user_id, &[(field, &value(field, number))]);
        }
        Step::Joins(who) if !scene.directory.has(KEYS[who]) => {
            let key = KEYS[who];
            scene.directory.add(key, &[(Name, &format!("Joined {key}")), (Email, &format!("{key}@joined.test"))]);
        }
        Step::Leaves(who) => scene.directory.keep_only(|key| key != KEYS[who]),
        Step::Tick => drop(scene.tick()),
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_a_complete_run_finds_nothing_that_was_missed(steps in prop::collection::vec(step(), 1..14)) {
        let mut scene = settled();
        for step in &steps {
            act(&mut scene, step);
        }
        // What is written back is seen once more; values that somebody gave up may be taken one run later.
        for _ in 0..3 {
            scene.tick();
        }
        scene.assert_settled();
    }
}
