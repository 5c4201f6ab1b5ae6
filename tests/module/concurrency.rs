//! Calls while a run is under way: a second run is refused, everything else is answered, cancelling keeps what was done.
//! A run is made to last by stopping the directory's process, or by holding the PBX's own write lock.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::support::host::Plugin;
use crate::support::pbx::md5_hex;
use crate::support::people::{Someone, crowd};
use crate::support::servers::slapd::{self, Slapd};
use crate::support::world::{World, assert_pbx_unchanged, count, preview, sync};
use crate::support::{run_unchecked, wait_until};
use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use serde_json::{Value, json};

const BUSY: i64 = 4;
const CANCELLED: i64 = 8;

/// Longer than anything waited for here takes, shorter than the directory's time limit.
const SOON: Duration = Duration::from_secs(20);

/// An installed module that never ran, and its directory.
struct Scene {
    world: World,
    server: Slapd,
    people: Vec<Someone>,
    id: Value,
    plugin: Plugin,
}

impl Scene {
    fn make(count: usize) -> Option<Scene> {
        let people = crowd(count);
        let server = slapd::start(&people)?;
        let world = World::new();
        world.pbx().set_setting("PBXInternalExtensionLength", "4");
        let (plugin, id) = world.install(&server.settings("none"));
        Some(Scene { world, server, people, id, plugin })
    }

    fn synchronise(&self) -> Value {
        request("sync-ldap-users", json!({"id": self.id}))
    }

    /// The run under way, as another process sees it.
    fn running(&self, plugin: &mut Plugin) -> Option<Value> {
        let runs = plugin.request("get-runs", json!({"id": self.id}));
        runs.list().iter().find(|run| run["state"] == "running").cloned()
    }

    /// A value of the module's database.
    fn stored(&self, sql: &str) -> i64 {
        let database = self.world.module_database();
        let module = Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_ONLY).expect("module.db");
        module.busy_timeout(SOON).expect("patience");
        module.query_row(sql, [], |row| row.get(0)).expect("a number")
    }

    /// Everybody is an employee exactly once, with the same number on both sides, in rows as MikoPBX writes them.
    fn assert_everybody_once(&self) {
        let employees = self.world.pbx().employees();
        let numbers = self.server.by_login("telephoneNumber");
        for person in &self.people {
            let found: Vec<_> = employees.iter().filter(|row| row.email == person.mail).collect();
            assert_eq!(found.len(), 1, "{} is {found:?}", person.name);
            assert_eq!(numbers[&person.login], [found[0].number.clone()], "both sides of {}", person.name);
        }
        self.world.assert_rows_are_mikopbx(112);
    }
}

fn request(action: &str, body: Value) -> Value {
    json!({"hook": "request", "action": action, "body": body})
}

fn after(milliseconds: u64, mut call: Value) -> Value {
    call["afterMs"] = milliseconds.into();
    call
}

#[test]
fn a_second_run_is_refused_and_everything_else_is_answered_during_a_run() {
    let Some(mut scene) = Scene::make(20) else { return };
    let mut other_settings = scene.server.settings("none");
    other_settings["serverName"] = json!("localhost");
    let id = json!({"id": scene.id});
    let event = json!({
        "source": "ModelsBase->sendChangesToBackend", "model": r"MikoPBX\Common\Models\Users", "recordId": "110",
        "action": "afterSave", "changedFields": ["email"],
    });
    scene.server.guard.signal("STOP");
    let calls = [
        scene.synchronise(),
        after(500, scene.synchronise()),
        after(500, json!({"hook": "config_save", "body": other_settings})),
        after(500, json!({"hook": "models_changed", "body": [event]})),
        after(1000, request("get-runs", id.clone())),
        after(1000, request("get-actions", json!({}))),
        after(1000, request("get-servers", json!({}))),
        after(1000, request("get-server", id.clone())),
        after(1000, request("get-status", json!({}))),
        after(1000, request("get-people", id.clone())),
        after(1000, request("get-server-conflicts", id.clone())),
        after(1000, request("get-run", json!({"runId": 1}))),
    ];
    scene.plugin.send(&json!({"parallel": calls})).expect("the plugin takes calls");

    // The two writing calls are through while the directory still does not answer the run.
    let through = wait_until(SOON, || {
        (scene.stored("SELECT count(*) FROM servers"), scene.stored("SELECT count(*) FROM pbx_edits")) == (2, 1)
    });
    assert!(through, "config_save and models_changed wait for the run");
    assert_eq!(scene.stored("SELECT count(*) FROM runs WHERE state = 'running'"), 1);
    crate::support::pause(2000);
    scene.server.guard.signal("CONT");

    let answers = scene.plugin.answers_together();
    assert_eq!(count(answers[0].list(), "UPDATED"), scene.people.len(), "the run itself is not disturbed");
    assert_eq!(answers[1].status, BUSY, "{}", answers[1].body);
    assert!(answers[1].errors().contains("another run"), "{}", answers[1].errors());
    for (call, answer) in calls.iter().zip(&answers).skip(2) {
        assert_eq!(answer.status, 0, "{call}: {}", answer.body);
    }
    let runs = calls.iter().position(|call| call["action"] == "get-runs").expect("one of the calls");
    assert_eq!(answers[runs].list()[0]["state"], "running", "it was answered during the run");
    scene.assert_everybody_once();
}

#[test]
fn another_process_is_refused_by_the_file_lock_until_the_holder_ends_or_is_killed() {
    let Some(mut scene) = Scene::make(20) else { return };
    let mut other = scene.world.installation.start();
    scene.server.guard.signal("STOP");
    scene.plugin.send(&scene.synchronise()).expect("the plugin takes calls");
    assert!(wait_until(SOON, || scene.running(&mut other).is_some()), "the run begins");
    for refused in [other.call(&scene.synchronise()), other.tick()] {
        assert_eq!(refused.status, BUSY, "{}", refused.body);
    }
    assert_eq!(other.models_changed(json!([])).status, 0);

    scene.plugin.kill();
    assert!(!scene.plugin.has_answered(), "the first run was killed in the middle");
    scene.server.guard.signal("CONT");
    assert_eq!(count(sync(&mut other, &scene.id).list(), "UPDATED"), scene.people.len(), "nobody holds the lock");
    let runs = other.request("get-runs", json!({"id": scene.id}));
    let states: Vec<&Value> = runs.list().iter().map(|run| &run["state"]).collect();
    assert_eq!(states, ["done", "failed"], "the killed run is not left running");
    scene.assert_everybody_once();
}

#[test]
fn a_cancelled_run_keeps_what_was_done_and_the_next_one_completes_it() {
    let Some(mut scene) = Scene::make(1_000) else { return };
    let mut other = scene.world.installation.start();
    let before = scene.world.pbx().employees().len();
    let mut pbx = Connection::open(&scene.world.pbx().database).expect("the PBX's database");
    pbx.busy_timeout(Duration::from_secs(5)).expect("patience");
    scene.plugin.send(&scene.synchronise()).expect("the plugin takes calls");

    // Once some people are made, the PBX's write lock keeps the run from making the others.
    let begun = wait_until(SOON, || scene.world.pbx().employees().len() > before);
    assert!(begun, "the run makes people");
    let lock = pbx.transaction_with_behavior(TransactionBehavior::Immediate).expect("the PBX's own write lock");
    let run = scene.running(&mut other).expect("the run is under way");
    assert_eq!(run["endedAt"], Value::Null);
    other.request("cancel-run", json!({"runId": run["runId"]})).data();
    lock.rollback().expect("the lock is given back");

    let answer = scene.plugin.answer();
    assert_eq!(answer.status, CANCELLED, "{}", answer.body);
    let made = scene.world.pbx().employees().len() - before;
    assert!((1..scene.people.len()).contains(&made), "{made} people were made");
    scene.world.assert_rows_are_mikopbx(112);
    let again = other.request("cancel-run", json!({"runId": run["runId"]}));
    assert_eq!(again.status, 5, "a run that has ended cannot be cancelled: {}", again.body);

    let rows = sync(&mut other, &scene.id);
    assert_eq!(count(rows.list(), "CONFLICT"), 0, "{}", rows.body);
    scene.assert_everybody_once();
    let runs = other.request("get-runs", json!({"id": scene.id}));
    let states: Vec<&Value> = runs.list().iter().map(|run| &run["state"]).collect();
    assert_eq!(states, ["done", "cancelled"]);
}

#[test]
fn a_run_cancelled_while_it_reads_changes_nothing() {
    let Some(mut scene) = Scene::make(20) else { return };
    let mut other = scene.world.installation.start();
    let before = scene.world.sides(&scene.server);
    scene.server.guard.signal("STOP");
    scene.plugin.send(&scene.synchronise()).expect("the plugin takes calls");
    let mut run = None;
    let begun = wait_until(SOON, || {
        run = scene.running(&mut other);
        run.is_some()
    });
    assert!(begun, "the run begins");
    let run = run.expect("the run under way");
    other.request("cancel-run", json!({"runId": run["runId"]})).data();
    scene.server.guard.signal("CONT");
    let answer = scene.plugin.answer();
    assert_eq!(answer.status, CANCELLED, "{}", answer.body);
    scene.world.assert_unchanged(&scene.server, &before, "a run cancelled while it reads");
    assert_eq!(count(sync(&mut other, &scene.id).list(), "UPDATED"), scene.people.len());
    scene.assert_everybody_once();
}

#[test]
fn a_preview_during_a_run_shows_what_is_left_and_takes_nothing_from_the_run() {
    let Some(mut scene) = Scene::make(20) else { return };
    let mut other = scene.world.installation.start();
    let before = scene.world.pbx().dump();
    let mut pbx = Connection::open(&scene.world.pbx().database).expect("the PBX's database");
    // The PBX's write lock keeps the run, which has read the directory and its photos, from making people.
    let lock = pbx.transaction_with_behavior(TransactionBehavior::Immediate).expect("the PBX's own write lock");
    scene.plugin.send(&scene.synchronise()).expect("the plugin takes calls");
    let intended = wait_until(SOON, || scene.stored("SELECT count(*) FROM intents") > 0);
    assert!(intended, "the run is about to make people");
    let plan = preview(&mut other, &scene.id);
    assert_eq!(plan["counts"]["create"], scene.people.len(), "{plan}");
    lock.rollback().expect("the lock is given back");

    assert_eq!(count(scene.plugin.answer().list(), "UPDATED"), scene.people.len());
    scene.assert_everybody_once();
    scene.world.assert_announced_exactly(&before);
    let employees = scene.world.pbx().employees();
    for person in scene.people.iter().filter(|person| person.photo) {
        let row = employees.iter().find(|row| row.email == person.mail).expect("an employee");
        let hash = md5_hex(&person.photo_bytes());
        assert!(row.avatar.contains(&hash), "the photo of {}: {:?}", person.name, row.avatar);
    }
}

#[test]
fn copies_of_the_modules_files_made_during_a_run_can_be_used() {
    let Some(mut scene) = Scene::make(150) else { return };
    let place = tempfile::tempdir().expect("a temporary directory");
    let module = scene.world.module_database().parent().expect("db").to_owned();
    let run = scene.synchronise();
    scene.plugin.send(&run).expect("the plugin takes calls");
    // As MikoPBX makes a backup of a module: file by file, without asking anybody.
    let copies: Vec<PathBuf> = (0..15).map(|copy| place.path().join(copy.to_string())).collect();
    for copy in &copies {
        // A journal that goes away meanwhile makes cp complain, and the copy is what it is.
        run_unchecked(Command::new("cp").arg("-r").arg(&module).arg(copy), "");
        crate::support::pause(25);
    }
    let done = scene.plugin.answer();
    assert_eq!(count(done.list(), "UPDATED"), scene.people.len());
    let mut made_during_the_run = 0;
    for copy in &copies {
        // Whatever moment it is of, the module goes on from it: everybody is recognised, and nobody is made twice.
        let world = scene.world.copy();
        let module = world.module_database().parent().expect("db").to_owned();
        crate::support::run(Command::new("rm").arg("-r").arg(&module));
        crate::support::run(Command::new("cp").arg("-r").arg(copy).arg(&module));
        let before = world.pbx().dump();
        let mut plugin = world.installation.start();
        plugin.install().data();
        let runs = plugin.request("get-runs", json!({"id": scene.id})).list().to_vec();
        made_during_the_run += u64::from(runs.first().is_some_and(|run| run["state"] == "running"));
        sync(&mut plugin, &scene.id);
        assert_pbx_unchanged(&before, &world.pbx().dump(), "a run with an older copy of the module's files");
        let people = plugin.request("get-people", json!({"id": scene.id, "perPage": 1}));
        assert_eq!(people.data()["total"], json!(scene.people.len()));
    }
    assert!(made_during_the_run > 5, "only {made_during_the_run} copies were made during the run");
}
