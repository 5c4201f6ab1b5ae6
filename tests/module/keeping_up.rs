//! Ticks that look at people who have changed, with real directories: what each kind of server tells, and what is done
//! when it cannot tell.

use std::time::Duration;

use crate::support::directory::Directory;
use crate::support::host::{Clock, Plugin};
use crate::support::people::{Someone, crowd, ldif};
use crate::support::servers::slapd::{self, Options, Slapd};
use crate::support::servers::{ds389, samba};
use crate::support::wait_until;
use crate::support::world::World;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rusqlite::Connection;
use serde_json::{Value, json};

/// The interval between two automatic runs, in milliseconds.
const INTERVAL: i64 = 60_000;
const PEOPLE: usize = 8;
const WRITABLE: &str = "telephoneNumber,mobile,mail,jpegPhoto,displayName";
/// What the log says where everybody is read.
const EVERYBODY: &str = "everybody is read: ";
/// What the log says where the DirSync control was used.
const BY_DIRSYNC: &str = "named by DirSync";

/// A module in step with a directory, whose worker ticks.
struct Scene<'a> {
    world: World,
    server: &'a Directory,
    plugin: Plugin,
    clock: Clock,
    now: i64,
    id: Value,
}

impl Scene<'_> {
    /// After a first run by hand and the ticks that see the module's own writing.
    fn in_step<'a>(server: &'a Directory, security: &str, change: impl FnOnce(&mut Value)) -> Scene<'a> {
        let world = World::new();
        let mut settings = server.settings(security);
        settings["completeRunAt"] = json!("00:00");
        change(&mut settings);
        let (mut plugin, id) = world.install(&settings);
        assert!(plugin.stop().success());
        // Soon after the day's complete run, wherever the test runs.
        let now = 1_800_000_000_000;
        let (mut plugin, clock) = world.installation.start_with_clock(now);
        plugin.request("sync-ldap-users", json!({"id": id})).list();
        let mut scene = Scene { world, server, plugin, clock, now, id };
        // Changes of 389-ds count as young for five minutes by its own clock.
        scene.tick();
        scene.tick();
        scene
    }

    /// Another server, after a first run by hand.
    fn add_in_step(&mut self, server: &Directory) {
        let id = self.plugin.save_server(&server.settings("none"));
        self.plugin.request("sync-ldap-users", json!({"id": id})).list();
    }

    /// A tick that is due; answers the log of it.
    fn tick(&mut self) -> String {
        self.now += INTERVAL;
        self.clock.set(self.now);
        let before = self.world.installation.log_text().len();
        self.plugin.tick().data();
        self.world.installation.log_text().split_off(before)
    }

    /// A tick that must not read everybody.
    #[track_caller]
    fn short_tick(&mut self) -> String {
        let log = self.tick();
        assert!(!log.contains(EVERYBODY), "{log}");
        log
    }

    fn email(&self, login: &str) -> Option<String> {
        let name = crowd(PEOPLE).into_iter().find(|person| person.login == login).map(|person| person.name);
        let employees = self.world.pbx().employees();
        employees.into_iter().find(|row| Some(&row.name) == name.as_ref()).map(|row| row.email)
    }

    fn left(&mut self) -> Vec<String> {
        let answer = self.plugin.request("get-disabled-ldap-users", json!({"id": self.id}));
        answer.list().iter().filter_map(|row| row["name"].as_str().map(str::to_owned)).collect()
    }

    /// The mark that the last run has left, changed as a test wants it.
    fn change_mark(&self, mark: &str) {
        let module = Connection::open(self.world.module_database()).expect("the module's database");
        let changed = module.execute("UPDATE watches SET mark = ?1", [mark]).expect("a statement");
        assert_eq!(changed, 1, "a run that settled everything notes where the next one begins");
    }

    /// The cookie that the last run has left, changed as a test wants it.
    fn change_cookie(&self, change: impl FnOnce(&str) -> String) {
        let module = Connection::open(self.world.module_database()).expect("the module's database");
        let cookie: String = module.query_row("SELECT cookie FROM watches", [], |row| row.get(0)).expect("a watch");
        assert_ne!(cookie, "", "no cookie is kept");
        module.execute("UPDATE watches SET cookie = ?1", [change(&cookie)]).expect("a statement");
    }

    fn statements(&self) -> (usize, usize) {
        let log = self.world.installation.log_text();
        (log.matches("entries in ").count(), log.matches("SQL statements in").count())
    }
}

fn name_of(login: &str) -> String {
    crowd(PEOPLE).into_iter().find(|person| person.login == login).expect("one of the crowd").name
}

/// What people do in a directory reaches the PBX by ticks that read nobody else, and the PBX's edits reach the directory.
fn story(scene: &mut Scene<'_>, sees_deletions: bool) {
    scene.server.set("person00001", "mail", "first@example.test");
    scene.short_tick();
    assert_eq!(scene.email("person00001").as_deref(), Some("first@example.test"));

    let new = Someone::new("newcomer", "New Comer").mail("newcomer@example.test").mobile("+7 916 555-00-01");
    let ldif = ldif(&[new], scene.server.kind, &scene.server.people);
    scene.server.add(&ldif);
    scene.short_tick();
    let made = scene.world.pbx().employees().into_iter().find(|row| row.name == "New Comer").expect("an employee");
    assert_eq!(scene.server.values("newcomer", "telephoneNumber"), std::slice::from_ref(&made.number));

    scene.world.pbx().rename(made.user_id, "New Comer-Smith");
    scene.short_tick();
    assert_eq!(scene.server.values("newcomer", "displayName"), ["New Comer-Smith"]);

    let outside = scene.server.outside();
    scene.server.move_to("person00003", &outside);
    scene.short_tick();
    assert_eq!(scene.left(), [name_of("person00003")]);

    scene.server.delete("person00004");
    scene.short_tick();
    let deleted = scene.left().contains(&name_of("person00004"));
    assert_eq!(deleted, sees_deletions);

    // Where times are compared, entries that changed shortly before the newest one are looked at for five minutes more.
    for _ in 0..8 {
        scene.short_tick();
    }
    let before = scene.statements();
    let sides = scene.world.sides(scene.server);
    for _ in 0..5 {
        scene.short_tick();
    }
    scene.world.assert_unchanged(scene.server, &sides, "idle ticks");
    assert_eq!(scene.statements().1, before.1, "idle ticks made runs");
    scene.world.assert_rows_are_mikopbx(112);

    // A complete run finds nothing that was missed.
    let log = {
        scene.now += 24 * 60 * 60 * 1000;
        scene.tick()
    };
    assert!(log.contains(EVERYBODY), "{log}");
    scene.world.assert_unchanged(scene.server, &sides, "the complete run of the next day");
    assert!(scene.left().contains(&name_of("person00004")));
}

fn openldap(session_log: Option<u32>) -> Option<Slapd> {
    slapd::start_with(&crowd(PEOPLE), &Options { session_log, writable: WRITABLE, ..Options::default() })
}

#[test]
fn openldap_with_a_session_log_names_who_changed_and_who_is_gone() {
    let Some(server) = openldap(Some(1000)) else { return };
    let mut scene = Scene::in_step(&server, "ldaps", |_| {});
    story(&mut scene, true);
    let searches = scene.statements().0;
    for _ in 0..10 {
        scene.short_tick();
    }
    assert_eq!(scene.statements().0, searches, "an idle tick searches for nobody");
}

#[test]
fn openldap_without_a_session_log_names_who_is_there() {
    let Some(server) = openldap(Some(0)) else { return };
    story(&mut Scene::in_step(&server, "starttls", |_| {}), true);
}

#[test]
fn openldap_without_content_synchronisation_is_scanned() {
    let Some(server) = openldap(None) else { return };
    story(&mut Scene::in_step(&server, "ldaps", |_| {}), true);
}

#[test]
fn a_domain_controller_counts_and_shows_what_is_deleted_to_administrators_only() {
    let options = samba::Options { writes_everything: true, ..samba::Options::default() };
    let Some(server) = samba::start(&crowd(PEOPLE), &options) else { return };
    let mut scene = Scene::in_step(&server, "ldaps", |_| {});
    story(&mut scene, false);
    assert!(!scene.world.installation.log_text().contains(BY_DIRSYNC));

    let mut scene = Scene::in_step(&server, "ldaps", |settings| {
        settings["administrativeLogin"] = json!(server.admin.0);
        settings["administrativePassword"] = json!(server.admin.1);
    });
    server.delete("person00005");
    let log = scene.short_tick();
    assert!(log.contains(BY_DIRSYNC), "{log}");
    assert_eq!(scene.left(), [name_of("person00005")]);
}

#[test]
fn a_domain_controller_names_who_changed_by_dirsync_to_a_login_that_may_replicate() {
    let options = samba::Options { writes_everything: true, replicates: true, ..samba::Options::default() };
    let Some(server) = samba::start(&crowd(PEOPLE), &options) else { return };
    let mut scene = Scene::in_step(&server, "ldaps", |_| {});
    // What nobody reads names nobody.
    server.set("person00001", "description", "not mapped");
    let log = scene.short_tick();
    assert!(log.contains("0 people are named by DirSync"), "{log}");
    story(&mut scene, false);
    assert!(!scene.world.installation.log_text().contains("named by uSNChanged"));

    let of_another = |cookie: &str| {
        let mut bytes = STANDARD.decode(cookie).expect("base64");
        bytes.iter_mut().skip(24).for_each(|byte| *byte ^= 0x5a);
        STANDARD.encode(bytes)
    };
    type Damage<'a> = &'a dyn Fn(&str) -> String;
    let damages: [(&str, Damage<'_>); 4] = [
        ("no base64", &|_| "'; --".to_owned()),
        ("too short", &|cookie| cookie[..8].to_owned()),
        ("hostile", &|_| STANDARD.encode([0xff; 200])),
        ("of another domain controller", &of_another),
    ];
    for (at, (what, damage)) in damages.into_iter().enumerate() {
        scene.change_cookie(damage);
        let left = scene.left();
        let email = format!("changed{at}@example.test");
        server.set("person00002", "mail", &email);
        let log = scene.tick();
        assert!(log.contains(EVERYBODY), "{what}: {log}");
        assert_eq!(scene.email("person00002").as_deref(), Some(email.as_str()), "{what}");
        assert_eq!(scene.left(), left, "{what}");
        server.set("person00002", "mail", &format!("again{at}@example.test"));
        let log = scene.short_tick();
        assert!(log.contains(": 1 people may have changed"), "{what}: {log}");
    }
}

#[test]
fn a_389_directory_server_is_scanned() {
    let Some(server) = ds389::start_with(&crowd(PEOPLE), &WRITABLE.replace(',', " || ")) else { return };
    story(&mut Scene::in_step(&server, "ldaps", |_| {}), true);
}

#[test]
fn marks_that_are_foreign_hostile_or_from_the_future_read_everybody_and_nobody_leaves() {
    let Some(server) = openldap(Some(1000)) else { return };
    let mut scene = Scene::in_step(&server, "ldaps", |_| {});
    let future = "20991231235959.000000Z#000000#000#000000";
    let another = "20200101000000.000000Z#000000#0ff#000000";
    for mark in [future, another, "newest:1/1/1", "rid=1,csn=\u{1}';--", "0123abcd/42", "x"] {
        let sides = scene.world.sides(&server);
        scene.change_mark(mark);
        let log = scene.tick();
        assert!(log.contains(EVERYBODY), "{mark}: {log}");
        scene.world.assert_unchanged(&server, &sides, mark);
        assert_eq!(scene.left(), [""; 0], "{mark}");
        scene.short_tick();
    }
    server.set("person00002", "mail", "second@example.test");
    scene.short_tick();
    assert_eq!(scene.email("person00002").as_deref(), Some("second@example.test"));
}

#[test]
fn a_domain_controller_that_was_restored_or_is_another_one_reads_everybody() {
    let Some(server) = samba::start(&crowd(PEOPLE), &samba::Options::default()) else { return };
    let mut scene = Scene::in_step(&server, "ldaps", |_| {});
    for mark in ["00112233445566778899aabbccddeeff/1", "CN=NTDS Settings,CN=DC2/99999999", "x"] {
        scene.change_mark(mark);
        assert!(scene.tick().contains(EVERYBODY), "{mark}");
        assert_eq!(scene.left(), [""; 0], "{mark}");
        scene.short_tick();
    }
}

#[test]
fn an_edit_on_the_pbx_that_nobody_tells_is_found_and_only_that_person_is_read() {
    let Some(server) = openldap(Some(1000)) else { return };
    let mut scene = Scene::in_step(&server, "ldaps", |_| {});
    let employee = scene.world.pbx().employees().into_iter().find(|row| row.name == name_of("person00005"));
    let employee = employee.expect("an employee");
    scene.world.pbx().rename(employee.user_id, "Another Name");
    let log = scene.short_tick();
    assert!(log.contains(": 1 people may have changed"), "{log}");
    assert_eq!(server.values("person00005", "displayName"), ["Another Name"]);
}

#[test]
fn a_worker_that_starts_anew_knows_where_the_last_one_ended() {
    let Some(server) = openldap(Some(1000)) else { return };
    let mut scene = Scene::in_step(&server, "ldaps", |_| {});
    assert!(scene.plugin.stop().success());
    let (plugin, clock) = scene.world.installation.start_with_clock(scene.now);
    (scene.plugin, scene.clock) = (plugin, clock);
    let runs = scene.statements().1;
    scene.short_tick();
    assert_eq!(scene.statements().1, runs, "nothing has changed meanwhile");
    server.set("person00006", "mail", "sixth@example.test");
    scene.short_tick();
    assert_eq!(scene.email("person00006").as_deref(), Some("sixth@example.test"));
}

#[test]
fn quiet_hours_are_quiet() {
    let Some(server) = openldap(Some(1000)) else { return };
    let mut scene = Scene::in_step(&server, "ldaps", |settings| {
        settings["quietFrom"] = json!("00:00");
        settings["quietTo"] = json!("23:59");
    });
    server.set("person00007", "mail", "seventh@example.test");
    scene.tick();
    assert_ne!(scene.email("person00007").as_deref(), Some("seventh@example.test"));
    scene.plugin.save(&json!({"id": scene.id, "quietFrom": "", "quietTo": ""})).data();
    scene.tick();
    assert_eq!(scene.email("person00007").as_deref(), Some("seventh@example.test"));
}

#[test]
fn a_server_that_does_not_answer_is_asked_less_often() {
    let others = crowd(2 * PEOPLE).split_off(PEOPLE);
    let (Some(dead), Some(server)) = (openldap(Some(1000)), slapd::start(&others)) else { return };
    let mut scene = Scene::in_step(&dead, "none", |_| {});
    scene.add_in_step(&server);
    let failures = |scene: &mut Scene<'_>| scene.plugin.request("get-runs", json!({"id": scene.id})).list().len();
    dead.guard.signal("KILL");
    let before = failures(&mut scene);
    for _ in 0..8 {
        scene.now += INTERVAL;
        scene.clock.set(scene.now);
        let answer = scene.plugin.tick();
        assert!([0, 7].contains(&answer.status), "{}", answer.body);
    }
    // After one, two and four minutes, not after each.
    let made = failures(&mut scene) - before;
    assert!((3..=5).contains(&made), "{made} attempts in eight minutes");
    server.set("person00010", "mail", "tenth@example.test");
    let answer = {
        scene.now += INTERVAL;
        scene.clock.set(scene.now);
        scene.plugin.tick()
    };
    assert!([0, 7].contains(&answer.status), "{}", answer.body);
    let employees = scene.world.pbx().employees();
    assert!(employees.iter().any(|row| row.email == "tenth@example.test"), "the other server is kept in step");
}

#[test]
fn a_server_that_hangs_holds_up_nobody() {
    let others = crowd(2 * PEOPLE).split_off(PEOPLE);
    let (Some(stuck), Some(server)) = (openldap(Some(1000)), slapd::start(&others)) else { return };
    let mut scene = Scene::in_step(&stuck, "none", |_| {});
    scene.add_in_step(&server);
    stuck.guard.signal("STOP");
    server.set("person00010", "mail", "tenth@example.test");
    scene.now += INTERVAL;
    scene.clock.set(scene.now);
    scene.plugin.send(&json!({"hook": "worker_tick"})).expect("the plugin takes calls");
    // The tick itself goes on until the server that hangs has had its time.
    let kept_up = || scene.world.pbx().employees().iter().any(|row| row.email == "tenth@example.test");
    assert!(
        wait_until(Duration::from_secs(20), kept_up),
        "the other server, whose turn comes later, is kept in step meanwhile"
    );
    stuck.guard.signal("CONT");
    let answer = scene.plugin.answer();
    assert_eq!(answer.status, 0, "{}", answer.body);
}

#[test]
fn who_was_asked_for_goes_first_and_new_connections_are_told_of() {
    let others = crowd(2 * PEOPLE).split_off(PEOPLE);
    let (Some(one), Some(other)) = (openldap(Some(1000)), slapd::start(&others)) else { return };
    let unverified = |settings: &mut Value| {
        settings["verifyCertificate"] = json!(false);
        settings["caCertificate"] = json!("");
    };
    let mut scene = Scene::in_step(&one, "ldaps", unverified);
    let mut settings = other.settings("ldaps");
    unverified(&mut settings);
    let id = scene.plugin.save_server(&settings);
    assert!(scene.plugin.stop().success());
    let (plugin, clock) = scene.world.installation.start_with_clock(scene.now);
    (scene.plugin, scene.clock) = (plugin, clock);
    one.set("person00001", "mail", "first@example.test");
    scene.plugin.request("start-sync", json!({"id": id})).data();
    let before = scene.world.installation.log_text().len();
    scene.now += INTERVAL;
    scene.clock.set(scene.now);
    let ran = scene.plugin.tick().data()["ran"].clone();
    let servers: Vec<&Value> = ran.as_array().expect("runs").iter().map(|run| &run["serverId"]).collect();
    assert_eq!(servers, [&id, &scene.id], "{ran}");
    let log = scene.world.installation.log_text().split_off(before);
    assert_eq!(log.matches("is not verified").count(), 2, "{log}");
}
