//! Rules of a synchronisation that only show over several runs, after a fault, or while somebody else acts.

mod keeping_up;
mod pbx_support;
mod scenario_support;

use std::cell::RefCell;
use std::rc::Rc;

use pbx_support::{md5, photo};
use scenario_support::{ANOTHER_MAPPING, Scene, about, conflicts_of, partial, reasons, save_server, told};
use sync_core::decision::{Choice, Decision};
use sync_core::journal::DecisionRecord;
use sync_core::link::LinkState;
use sync_core::person::DirectoryKey;
use sync_core::person::Field::{Email, Mobile, Name, Number};
use sync_core::report;
use sync_core::run::RunError;

/// People written in one transaction, at most, unless they exchange values.
const BATCH: usize = 200;

// Photos

#[test]
fn a_photo_that_cannot_be_stored_keeps_no_number_from_the_directory_and_arrives_later() {
    let mut scene = Scene::new();
    scene.directory.add("eve", &[(Name, "Eve New")]);
    scene.directory.set_photo("eve", photo(7));
    scene.without_media(Scene::sync);
    assert_eq!(scene.directory.value("eve", Number), "205", "the number is written back all the same");
    scene.sync();
    assert!(scene.user_column("avatar", "Eve New").contains(&md5(&photo(7))), "the photo arrives");
    scene.assert_settled();
}

#[test]
fn a_photo_that_could_not_be_stored_before_a_crash_arrives_after_it() {
    let mut scene = Scene::new();
    scene.directory.add("eve", &[(Name, "Eve New")]);
    scene.directory.set_photo("eve", photo(7));
    scene.sync();
    scene.directory.set("eve", Name, "Eve Newer");
    scene.directory.set_photo("eve", photo(9));
    scene.without_media(Scene::sync_without_settling);
    scene.sync();
    scene.sync();
    assert!(scene.user_column("avatar", "Eve Newer").contains(&md5(&photo(9))));
}

// Identity: nobody is made twice, nobody is guessed

#[test]
fn an_account_made_anew_in_the_directory_is_a_conflict_and_no_second_employee() {
    let mut scene = Scene::new();
    let person = [(Name, "Eve New"), (Email, "eve@x.test"), (Mobile, "+7 903 123-45-67")];
    scene.directory.add("old", &person);
    scene.directory.add("zed", &[(Name, "Zed")]);
    scene.sync();
    scene.directory.keep_only(|key| key != "old");
    scene.directory.add("new", &person);
    // Also once the first account is known to have left.
    for _ in 0..2 {
        let report = scene.sync();
        assert_eq!(scene.employees_named("Eve New"), 1, "{}", told(&report));
        assert!(!conflicts_of(&report, "new").is_empty(), "{}", told(&report));
    }
}

#[test]
fn a_person_whom_another_server_keeps_in_step_is_a_conflict_and_no_second_employee() {
    let mut scene = Scene::new();
    let person = [(Name, "Eve New"), (Email, "eve@x.test")];
    scene.directory.add("one", &person);
    scene.sync();
    scene.switch_to_another_server();
    scene.directory.add("two", &person);
    let report = scene.sync();
    assert_eq!(scene.employees_named("Eve New"), 1, "{}", told(&report));
    assert!(!conflicts_of(&report, "two").is_empty(), "{}", told(&report));
}

#[test]
fn an_id_that_the_pbx_gave_to_somebody_else_is_a_conflict_and_no_second_employee() {
    let mut scene = Scene::new();
    scene.directory.add("eve", &[(Name, "Eve New")]);
    scene.sync();
    // A backup was restored, and the id that had been Eve's went to Carol.
    scene.pbx.sql(
        "UPDATE m_Users SET username = 'Carol Hand', email = 'carol@x.test' WHERE username = 'Eve New';
         UPDATE m_Sip SET uniqid = 'SIP-PHONE-99999999' WHERE extension = '205'",
    );
    scene.directory.add("carol", &[(Name, "Carol Hand"), (Email, "carol@x.test")]);
    for _ in 0..2 {
        let report = scene.sync();
        assert_eq!(scene.employees_named("Carol Hand"), 1, "{}", told(&report));
        assert_eq!(scene.employees_named("Eve New"), 0, "Carol is not renamed, Eve is not made again");
        assert!(!conflicts_of(&report, "eve").is_empty(), "{}", told(&report));
    }
}

#[test]
fn a_namesake_counts_though_the_account_is_disabled() {
    let mut scene = Scene::new();
    scene.directory.add("one", &[(Name, "Boris Cole")]);
    scene.directory.disable("one");
    scene.directory.add("two", &[(Name, "Boris Cole")]);
    let report = scene.sync();
    assert_eq!(scene.link("two"), None, "which of both is the employee cannot be known: {}", told(&report));
    assert!(!conflicts_of(&report, "two").is_empty(), "{}", told(&report));
    assert_eq!(scene.employees_named("Boris Cole"), 1);
}

#[test]
fn a_partial_read_adopts_by_email_only() {
    let mut scene = Scene::new();
    scene.directory.add("boris", &[(Name, "Boris Cole")]);
    scene.directory.add("dora", &[(Name, "Dora"), (Email, "dora@example.com")]);
    scene.directory.coverage = Some(partial());
    let report = scene.sync();
    assert_eq!(scene.link("boris"), None, "a namesake may be in the part that is missing: {}", told(&report));
    assert_eq!(scene.employees_named("Boris Cole"), 1);
    assert_eq!(scene.link("dora").map(|link| link.user_id), Some(113));

    scene.directory.coverage = None;
    scene.sync();
    assert_eq!(scene.link("boris").map(|link| link.user_id), Some(111), "a whole read proves it");
}

#[test]
fn an_employee_without_a_sip_account_is_not_adopted() {
    let mut scene = Scene::new();
    scene.pbx.sql("DELETE FROM m_Sip WHERE extension IN ('201', '202')");
    scene.directory.add("anna", &[(Name, "Anna Berg"), (Number, "201"), (Mobile, "79260000001")]);
    scene.directory.add("boris", &[(Name, "Boris Cole"), (Number, "202"), (Mobile, "79260000002")]);
    for _ in 0..2 {
        let before = scene.pbx.dump();
        let report = scene.sync();
        assert_eq!(scene.pbx.dump(), before, "{}", told(&report));
        for key in ["anna", "boris"] {
            assert_eq!(scene.link(key), None, "a link needs the SIP account's id: {}", told(&report));
            assert!(!conflicts_of(&report, key).is_empty(), "{}", told(&report));
        }
    }
}

// Numbers, mobiles, e-mails

#[test]
fn a_number_from_the_pool_in_place_of_a_taken_one_settles() {
    let mut scene = Scene::new();
    scene.policy.pool_when_taken = true;
    // The parking holds 801.
    scene.directory.add("eve", &[(Name, "Eve New"), (Number, "801")]);
    scene.sync();
    assert_eq!(scene.number_of("Eve New"), "205");
    scene.assert_settled();
    assert_eq!(scene.number_of("Eve New"), "205");
}

#[test]
fn a_leftover_record_of_a_number_does_not_keep_a_person_out() {
    let mut scene = Scene::new();
    scene.pbx.sql("INSERT INTO m_ExtensionForwardingRights (id, extension) VALUES (99, '205')");
    scene.directory.add("eve", &[(Name, "Eve New")]);
    made_within_two_runs(&mut scene);
}

#[test]
fn an_email_of_a_user_without_a_number_does_not_keep_a_person_out() {
    let mut scene = Scene::new();
    scene.pbx.sql("INSERT INTO m_Users (id, email, username) VALUES (900, 'eve@x.test', 'ghost')");
    scene.directory.add("eve", &[(Name, "Eve New"), (Email, "eve@x.test")]);
    made_within_two_runs(&mut scene);
    assert_eq!(scene.user_column("email", "ghost"), "eve@x.test", "nothing is taken from anybody");
}

#[test]
fn a_mobile_that_looks_like_the_next_free_number_does_not_keep_a_person_out() {
    let mut scene = Scene::new();
    scene.directory.add("eve", &[(Name, "Eve New"), (Mobile, "205")]);
    made_within_two_runs(&mut scene);
}

/// The first try may teach what is taken; the second makes the person, once, with records that contradict nobody's.
fn made_within_two_runs(scene: &mut Scene) {
    let before = scene.pbx.inconsistencies();
    scene.sync();
    let report = scene.sync();
    assert_eq!(scene.employees_named("Eve New"), 1, "{}", told(&report));
    assert_eq!(scene.directory.value("eve", Number), scene.number_of("Eve New"));
    let new: Vec<String> = scene.pbx.inconsistencies().into_iter().filter(|found| !before.contains(found)).collect();
    assert_eq!(new, pbx_support::NOTHING);
    scene.assert_settled();
}

#[test]
fn a_number_cleared_in_the_directory_is_written_back_though_the_pbx_changed_it() {
    let mut scene = Scene::new();
    scene.directory.add("anna", &[(Name, "Anna Berg"), (Number, "201"), (Mobile, "79260000001")]);
    scene.sync();
    scene.edit_on_pbx(110, &[(Number, "299")]);
    scene.directory.set("anna", Number, "");
    scene.sync();
    assert_eq!(scene.number_of("Anna Berg"), "299");
    assert_eq!(scene.directory.value("anna", Number), "299");
    scene.assert_settled();
}

#[test]
fn a_mobile_goes_to_the_directory_in_international_form() {
    let mut scene = Scene::new();
    scene.directory.add("anna", &[(Name, "Anna Berg"), (Number, "201"), (Mobile, "+7 926 000-00-01")]);
    scene.sync();
    scene.edit_on_pbx(110, &[(Mobile, "79260000099")]);
    scene.sync();
    assert_eq!(scene.directory.value("anna", Mobile), "+79260000099");
    scene.assert_settled();
}

#[test]
fn another_language_of_the_pbx_changes_nobodys_mobile() {
    let mut scene = Scene::new();
    scene.directory.add("eve", &[(Name, "Eve New"), (Mobile, "8 903 123-45-67")]);
    scene.sync();
    assert_eq!(scene.mobile_of("Eve New"), "79031234567");
    // The language gives the region of numbers without a country code.
    scene.pbx.sql("UPDATE m_PbxSettings SET value = 'en-en' WHERE key = 'PBXLanguage'");
    scene.assert_settled();
    assert_eq!(scene.mobile_of("Eve New"), "79031234567");
}

#[test]
fn one_refused_field_does_not_hold_the_others() {
    let mut scene = Scene::new();
    scene.directory.add("anna", &[(Name, "Anna Berg"), (Number, "201"), (Mobile, "79260000001")]);
    scene.sync();
    scene.directory.set("anna", Name, "Anna <script> Berg");
    scene.directory.set("anna", Email, "anna@x.test");
    let report = scene.sync();
    assert_eq!(scene.user_column("email", "Anna Berg"), "anna@x.test", "{}", told(&report));
    assert!(reasons(&report, "anna", Name).contains("MikoPBX"), "{}", told(&report));
}

// Limits

/// Linked people `p0` to `p7` with mobiles.
fn eight_people() -> Scene {
    let mut scene = Scene::new();
    for n in 0..8 {
        let (name, mobile) = (format!("Person {n}"), format!("+7903111111{n}"));
        scene.directory.add(&format!("p{n}"), &[(Name, &name), (Mobile, &mobile)]);
    }
    scene.sync();
    scene
}

#[test]
fn a_held_change_gives_nothing_up_and_holds_nobody_else() {
    let mut scene = eight_people();
    for n in 0..8 {
        scene.directory.set(&format!("p{n}"), Mobile, &format!("+7903222222{n}"));
    }
    // Zed wants the mobile that Person 0 would give up.
    scene.directory.add("zed", &[(Name, "Zed"), (Mobile, "+79031111110")]);
    let report = scene.sync();
    assert_eq!(report.holds.len(), 1, "{}", told(&report));
    assert_eq!(scene.mobile_of("Person 0"), "79031111110");
    assert_eq!(scene.employees_named("Zed"), 1, "{}", told(&report));
    assert_eq!(scene.mobile_of("Zed"), "");
    assert!(reasons(&report, "zed", Mobile).contains("79031111110"), "{}", told(&report));
}

#[test]
fn the_record_of_a_run_tells_what_was_held() {
    let mut scene = eight_people();
    for n in 0..8 {
        scene.directory.set(&format!("p{n}"), Name, &format!("Renamed {n}"));
    }
    let report = scene.sync();
    assert_eq!(report.holds.len(), 1);
    let stored = &scene.journal.runs(scene.policy.server_id, 1).expect("runs")[0].summary;
    assert_ne!(stored, "everything is up to date");
    assert!(stored.contains("held"), "{stored}");
}

#[test]
fn a_mass_departure_is_held() {
    let mut scene = Scene::new();
    for n in 0..30 {
        scene.directory.add(&format!("p{n:02}"), &[(Name, &format!("Person {n}"))]);
    }
    scene.sync();
    let state = |scene: &Scene, key: &str| scene.link(key).map(|link| link.state);
    scene.directory.keep_only(|key| key >= "p05");
    let report = scene.sync();
    assert_eq!(report.holds, [], "five of thirty may leave");
    assert_eq!(state(&scene, "p00"), Some(LinkState::Absent));

    scene.directory.keep_only(|key| key == "p29");
    let report = scene.sync();
    assert_eq!(report.holds.len(), 1, "{}", told(&report));
    assert_eq!(state(&scene, "p15"), Some(LinkState::Active), "nobody is taken for having left");
    assert_eq!(state(&scene, "p00"), Some(LinkState::Absent));
}

// What is kept and shown

#[test]
fn a_mapping_changed_during_a_run_is_compared_anew_by_the_next() {
    let mut scene = Scene::new();
    scene.directory.add("anna", &[(Name, "Anna Berg")]);
    let (open_journal, server) = (scene.another_journal(), scene.policy.server_id);
    scene.host.on_progress = RefCell::new(Some(Box::new(move |progress| {
        if progress.phase == "writing-back" && progress.done == 0 {
            save_server(&mut open_journal(), Some(server), ANOTHER_MAPPING);
        }
    })));
    scene.sync();
    scene.host.on_progress = RefCell::default();
    scene.policy.fingerprint = ANOTHER_MAPPING.to_owned();
    scene.directory.set("anna", Name, "Anna Other");
    let report = scene.sync();
    assert_eq!(scene.employees_named("Anna Berg"), 1, "differences are reported, not overwritten: {}", told(&report));
    assert!(conflicts_of(&report, "anna").iter().any(|conflict| conflict.field == Some(Name)), "{}", told(&report));
}

#[test]
fn a_person_is_shown_with_a_name_after_the_mapping_changed() {
    let mut scene = Scene::new();
    scene.directory.add("anna", &[(Name, "Anna Berg"), (Email, "a@x.test")]);
    scene.sync();
    scene.change_mapping();
    scene.directory.set("anna", Name, "Anna Other");
    scene.sync();
    assert_eq!(scene.only_listed_person().shown[Name], "Anna Berg");
}

#[test]
fn a_person_who_left_is_shown_with_a_name_after_the_mapping_changed() {
    let mut scene = Scene::new();
    scene.directory.add("anna", &[(Name, "Anna Berg")]);
    scene.directory.add("boris", &[(Name, "Boris Cole")]);
    scene.sync();
    scene.change_mapping();
    scene.directory.keep_only(|key| key != "anna");
    let report = scene.sync();
    let answer = report::preview(&report.plan, &report.holds, scene.policy.server_id, "");
    assert_eq!(answer["departures"][0]["name"], "Anna Berg");
}

// Crashes and cancelling

#[test]
fn a_value_of_the_directory_is_in_the_journal_before_it_is_replaced() {
    let mut scene = Scene::new();
    scene.directory.add("anna", &[(Name, "Anna Berg"), (Number, "777"), (Mobile, "79260000001")]);
    scene.directory.dies_after_writes = Some(1);
    scene.sync_and_die();
    assert_eq!(scene.directory.value("anna", Number), "201", "777 was replaced");
    let last = scene.sync().run_id;
    let changes = (1..=last).flat_map(|run| scene.journal.changes(run, 0, 100).expect("changes"));
    let replaced: Vec<String> = changes.filter(|change| change.side == "directory").map(|change| change.old).collect();
    assert!(replaced.contains(&"777".to_owned()), "777 stands nowhere any more: {replaced:?}");
}

#[test]
fn what_was_written_before_a_crash_is_announced_though_somebody_edited_it_since() {
    let mut scene = Scene::new();
    scene.directory.add("anna", &[(Name, "Anna Berg"), (Number, "201"), (Mobile, "79260000001")]);
    scene.sync();
    scene.directory.set("anna", Name, "Anna New");
    scene.directory.set("anna", Number, "299");
    scene.sync_without_settling();
    assert_eq!(scene.number_of("Anna New"), "299");
    scene.pbx.sql("UPDATE m_Users SET username = 'Anna Edited' WHERE id = 110");
    scene.host.announced.take();
    let report = scene.sync();
    let announced = scene.host.announced.take();
    for (model, record) in [("Extensions", "144"), ("Sip", "74"), ("ExtensionForwardingRights", "24")] {
        let event = (model.to_owned(), record.to_owned());
        assert!(announced.contains(&event), "{event:?} was never announced: {announced:?} {}", told(&report));
    }
    assert_eq!(scene.employees_named("Anna Edited"), 1, "the newer edit stays: {}", told(&report));
}

#[test]
fn cancelling_stops_the_writing_back_and_the_next_run_completes_it() {
    let mut scene = with_many_new_numbers();
    let open_journal = scene.another_journal();
    scene.host.on_progress = RefCell::new(Some(Box::new(move |progress| {
        let (done, total) = (progress.done, progress.total);
        assert!(progress.phase != "writing-back" || done <= total, "{done} of {total} values");
        if progress.phase == "writing-back" && progress.done > 1_000 {
            open_journal().request_cancel(progress.run_id, 1).expect("a run to cancel");
        }
    })));
    let ended = scene.try_sync().map(|report| report.summary);
    assert!(matches!(ended, Err(RunError::Cancelled)), "{ended:?}");
    let written = numbered(&scene);
    assert_eq!(written, 2_000, "those of the first two lots");
    let run = &scene.journal.runs(scene.policy.server_id, 1).expect("runs")[0];
    assert_eq!(run.state, "cancelled");
    assert_eq!(told_of_numbers(&scene, run.id), vec!["done"; written]);

    scene.host.on_progress = RefCell::default();
    scene.sync();
    assert_eq!(numbered(&scene), NUMBERS);
    for n in 0..NUMBERS {
        assert_eq!(scene.employees_named(&format!("Person {n}")), 1);
    }
    scene.assert_settled();
}

#[test]
fn numbers_whose_history_cannot_be_stored_are_not_sent_and_the_others_are_not_forgotten() {
    let mut scene = with_many_new_numbers();
    let fault = "CREATE TRIGGER fault BEFORE INSERT ON run_changes WHEN NEW.side = 'directory'
                     AND (SELECT count(*) FROM run_changes WHERE side = 'directory') >= 1000
                 BEGIN SELECT RAISE(ABORT, 'the disk is full'); END";
    scene.module_database().execute_batch(fault).expect("a fault");
    let ended = scene.try_sync().map(|report| report.summary);
    assert!(
        matches!(&ended, Err(RunError::Journal(error)) if error.to_string().contains("the disk is full")),
        "{ended:?}"
    );
    assert_eq!(numbered(&scene), 1000);
    let run = scene.journal.runs(scene.policy.server_id, 1).expect("runs")[0].id;
    assert_eq!(told_of_numbers(&scene, run), vec!["done"; 1000]);
    let links = scene.journal.links(scene.policy.server_id).expect("links");
    assert_eq!(links.iter().filter(|link| !link.directory[Number].is_empty()).count(), 1000);

    scene.module_database().execute_batch("DROP TRIGGER fault").expect("no fault");
    scene.sync();
    assert_eq!(numbered(&scene), NUMBERS);
    scene.assert_settled();
}

#[test]
fn somebody_who_takes_the_place_of_another_entry_is_linked_at_the_end_and_holds_up_no_other_values() {
    let mut scene = with_many_new_numbers();
    scene.directory.add("a-gone", &[(Name, "Anna Berg"), (Number, "201"), (Mobile, "79260000001")]);
    scene.sync();
    assert_eq!(scene.journal.links(scene.policy.server_id).expect("links")[0].user_id, 110);
    scene.directory.keep_only(|key| key != "a-gone");
    scene.sync();
    // Everybody's number has to be written once more.
    for n in 0..NUMBERS {
        scene.directory.set(&format!("p{n:03}"), Number, "");
    }
    scene.module_database().execute_batch("UPDATE links SET number_directory = '', number_pbx = ''").expect("no bases");
    scene.directory.add("a-new", &[(Name, "Anna Berg"), (Mobile, "79260000001")]);
    let decision = Decision {
        id: 0,
        key: DirectoryKey("a-new".to_owned()),
        field: None,
        cause: "re-hire".to_owned(),
        choice: Choice::Link,
        user_id: Some(110),
        directory_value: String::new(),
        pbx_value: String::new(),
    };
    let (server_id, person) = (scene.policy.server_id, "Anna Berg".to_owned());
    scene.journal.store_decision(&DecisionRecord { server_id, decision, person, made: 1 }).expect("a decision");
    scene.sync();
    assert_eq!(scene.directory.value("a-new", Number), "201");
    assert_eq!(numbered(&scene), NUMBERS);
    let links = scene.journal.links(scene.policy.server_id).expect("links");
    let of_anna: Vec<&str> = links.iter().filter(|link| link.user_id == 110).map(|link| link.key.as_str()).collect();
    assert_eq!(of_anna, ["a-new"]);
    scene.assert_settled();
}

#[test]
fn a_run_whose_links_cannot_be_read_ends_and_changes_nothing() {
    let mut scene = Scene::new();
    scene.directory.add("anna", &[(Name, "Anna Berg"), (Number, "201")]);
    scene.sync();
    scene.directory.set("anna", Name, "Anna Other");
    let (pbx, directory) = (scene.pbx.dump(), scene.directory.values());
    let dn = |value: &str| format!("UPDATE links SET dn = {value}");
    scene.module_database().execute_batch(&dn("CAST(x'ff' AS TEXT)")).expect("a damage");
    let ended = scene.try_sync().map(|report| report.summary);
    assert!(matches!(ended, Err(RunError::Journal(_))), "{ended:?}");
    assert_eq!(scene.directory.values(), directory);
    assert_eq!(pbx_support::differences(&pbx, &scene.pbx.dump()), pbx_support::NOTHING);
    scene.module_database().execute_batch(&dn("'uid=anna'")).expect("no damage");
    scene.sync();
    assert_eq!(scene.employees_named("Anna Other"), 1);
}

/// More numbers than are sent at once, twice.
const NUMBERS: usize = 2_200;

fn with_many_new_numbers() -> Scene {
    let mut scene = Scene::new();
    scene.pbx.sql("UPDATE m_PbxSettings SET value = '4' WHERE key = 'PBXInternalExtensionLength'");
    for n in 0..NUMBERS {
        scene.directory.add(&format!("p{n:03}"), &[(Name, &format!("Person {n}"))]);
    }
    scene
}

/// How many people have a number in the directory.
fn numbered(scene: &Scene) -> usize {
    let numbers = (0..NUMBERS).map(|n| scene.directory.value(&format!("p{n:03}"), Number));
    numbers.filter(|number| !number.is_empty()).count()
}

/// What a run's history says of each value for the directory.
fn told_of_numbers(scene: &Scene, run: i64) -> Vec<String> {
    let changes = scene.journal.changes(run, 0, 100_000).expect("changes");
    changes.into_iter().filter(|change| change.side == "directory").map(|change| change.outcome).collect()
}

// Batches

/// More new people than are intended at once, twice.
const MANY: usize = 1_500;
/// For how many of them there are intents while the first are made: theirs, and those of the next.
const INTENDED: usize = 1_200;

fn with_many_new_people() -> Scene {
    let mut scene = Scene::new();
    scene.policy.write_back = false;
    scene.pbx.sql("UPDATE m_PbxSettings SET value = '4' WHERE key = 'PBXInternalExtensionLength'");
    for n in 0..MANY {
        scene.directory.add(&format!("p{n:04}"), &[(Name, &format!("Person {n}"))]);
    }
    scene
}

/// After a run that ended with some of them made: the next one makes the others, and nobody twice.
#[track_caller]
fn assert_the_next_run_makes_the_rest(scene: &mut Scene, intents: usize) {
    let made = |scene: &Scene| (0..MANY).map(|n| scene.employees_named(&format!("Person {n}"))).sum::<i64>() as usize;
    assert!((400..MANY).contains(&made(scene)), "{} were made", made(scene));
    assert_eq!(scene.journal.open_intents().expect("intents").len(), intents);
    scene.host.on_progress = RefCell::default();
    scene.sync();
    assert_eq!(made(scene), MANY);
    assert_eq!(scene.journal.links(scene.policy.server_id).expect("links").len(), MANY);
    assert_eq!(scene.journal.open_intents().expect("intents"), []);
    scene.assert_settled();
}

#[test]
fn a_run_cancelled_between_two_batches_leaves_no_intent() {
    let mut scene = with_many_new_people();
    let open_journal = scene.another_journal();
    scene.host.on_progress = RefCell::new(Some(Box::new(move |progress| {
        if progress.phase == "applying" && progress.done >= 400 {
            open_journal().request_cancel(progress.run_id, 1).expect("a run to cancel");
        }
    })));
    let ended = scene.try_sync().map(|report| report.summary);
    assert!(matches!(ended, Err(RunError::Cancelled)), "{ended:?}");
    assert_the_next_run_makes_the_rest(&mut scene, 0);
}

#[test]
fn a_run_that_dies_between_two_batches_is_settled_by_the_next() {
    let mut scene = with_many_new_people();
    scene.host.on_progress = RefCell::new(Some(Box::new(|progress| {
        assert!(progress.phase != "applying" || progress.done < 400, "the process dies");
    })));
    scene.sync_and_die();
    assert_the_next_run_makes_the_rest(&mut scene, INTENDED);
}

#[test]
fn somebody_who_was_refused_a_value_is_made_without_it_while_others_are_intended() {
    let mut scene = with_many_new_people();
    scene.directory.set("p0001", Mobile, "+79161230001");
    let pbx = scene.pbx.connect();
    scene.host.on_progress = RefCell::new(Some(Box::new(move |progress| {
        if progress.phase == "applying" && progress.done == 0 {
            let sql = "INSERT INTO m_Extensions (number, type, callerid, userid, is_general_user_number)
                       VALUES ('79161230001', 'EXTERNAL', 'Somebody', 999, '0')";
            pbx.execute_batch(sql).expect("an edit of somebody else");
        }
    })));
    let report = scene.sync();
    assert!(reasons(&report, "p0001", Mobile).contains("79161230001"), "{}", told(&report));
    let links = scene.journal.links(scene.policy.server_id).expect("links");
    assert_eq!(links.len(), MANY);
    assert!(links.iter().all(|link| scene.employees_named(&link.shown[Name]) == 1));
    assert_eq!(scene.journal.open_intents().expect("intents"), []);
}

#[test]
fn what_could_not_be_stored_while_the_pbx_was_written_to_is_settled_by_the_next_run() {
    let mut scene = with_many_new_people();
    let fault = scene.module_database();
    scene.host.on_progress = RefCell::new(Some(Box::new(move |progress| {
        if progress.phase == "applying" && progress.done == 200 {
            fault
                .execute_batch(
                    "CREATE TRIGGER fault BEFORE INSERT ON links BEGIN SELECT RAISE(ABORT, 'the disk is full'); END",
                )
                .expect("a fault");
        }
    })));
    let ended = scene.try_sync().map(|report| report.summary);
    assert!(
        matches!(&ended, Err(RunError::Journal(error)) if error.to_string().contains("the disk is full")),
        "{ended:?}"
    );
    assert_eq!(scene.journal.links(scene.policy.server_id).expect("links"), []);
    scene.module_database().execute_batch("DROP TRIGGER fault").expect("no fault");
    assert_the_next_run_makes_the_rest(&mut scene, INTENDED);
}

// Transactions

/// Employees of the fixture's kind, known by their e-mail, each with a mobile of their own.
fn with_employees(count: usize) -> Scene {
    let mut scene = Scene::new();
    let rows = (0..count).map(|n| {
        format!(
            "INSERT INTO m_Users (id, email, username, language, avatar)
                 VALUES ({id}, 'u{n}@x.test', 'User {n}', 'en-en', '');
             INSERT INTO m_Extensions (number, type, callerid, userid, is_general_user_number)
                 VALUES ('{number}', 'SIP', 'User {n}', {id}, '1'), ('{mobile}', 'EXTERNAL', 'User {n}', {id}, '1');
             INSERT INTO m_Sip (uniqid, disabled, extension, type, secret)
                 VALUES ('SIP-X-{n}', '0', '{number}', 'peer', 's');
             INSERT INTO m_ExternalPhones (extension, uniqid, dialstring, disabled)
                 VALUES ('{mobile}', 'EXTERNAL-X-{n}', '{mobile}', '0');
             INSERT INTO m_ExtensionForwardingRights (extension, forwarding) VALUES ('{number}', '{mobile}');",
            id = 1000 + n,
            number = 300 + n,
            mobile = old_mobile(n),
        )
    });
    scene.pbx.sql(&format!("BEGIN; {} COMMIT;", rows.collect::<String>()));
    for n in 0..count {
        let (name, email) = (format!("User {n}"), format!("u{n}@x.test"));
        scene.directory.add(&format!("u{n:03}"), &[(Name, &name), (Email, &email)]);
    }
    scene
}

fn old_mobile(n: usize) -> String {
    format!("7910{n:07}")
}

/// Synchronises; answers how many mobiles each write transaction changed.
fn mobiles_changed_by_transaction(scene: &mut Scene, count: usize) -> Vec<usize> {
    let read = {
        let connection = scene.pbx.connect();
        move || -> Vec<String> {
            let sql =
                "SELECT e.number FROM m_Extensions e WHERE e.type = 'EXTERNAL' AND e.userid >= 1000 ORDER BY userid";
            let mut statement = connection.prepare(sql).expect("SQL");
            let numbers = statement.query_map([], |row| row.get(0)).expect("rows");
            numbers.collect::<Result<_, _>>().expect("numbers")
        }
    };
    let changed = Rc::new(RefCell::new(Vec::new()));
    let (noted, mut before) = (Rc::clone(&changed), read());
    assert_eq!(before.len(), count);
    scene.host.after_write = RefCell::new(Some(Box::new(move || {
        let now = read();
        noted.borrow_mut().push(now.iter().zip(&before).filter(|(new, old)| new != old).count());
        before = now;
    })));
    let report = scene.sync();
    scene.host.after_write = RefCell::default();
    assert_eq!(about(&report, "u000").1.user_id, Some(1000), "{}", told(&report));
    changed.take()
}

#[test]
fn people_who_exchange_nothing_are_written_at_most_fifty_in_a_transaction() {
    let mut scene = with_employees(120);
    for n in 0..120 {
        scene.directory.set(&format!("u{n:03}"), Mobile, &format!("+7920{n:07}"));
    }
    let changed = mobiles_changed_by_transaction(&mut scene, 120);
    assert_eq!(changed.iter().sum::<usize>(), 120, "everybody got the new mobile");
    assert!(changed.iter().all(|&people| people <= BATCH), "people by transaction: {changed:?}");
}

#[test]
fn people_who_exchange_values_are_written_together() {
    let mut scene = with_employees(60);
    // Everybody gets the next one's mobile, the last one the first one's.
    for n in 0..60 {
        scene.directory.set(&format!("u{n:03}"), Mobile, &format!("+{}", old_mobile((n + 1) % 60)));
    }
    let changed = mobiles_changed_by_transaction(&mut scene, 60);
    assert!(changed.contains(&60), "people by transaction: {changed:?}");
    assert_eq!(scene.mobile_of("User 59"), old_mobile(0));
}
