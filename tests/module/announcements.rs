//! A PBX that takes no announcements, or whose write mutex somebody else holds: nothing is lost and nothing is told twice.

use crate::support::people::crowd;
use crate::support::servers::slapd::{self, Slapd};
use crate::support::world::{Sides, World, count, sync};
use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};

/// Status of a database that cannot be used.
const DATABASE: i64 = 6;
const PEOPLE: usize = 8;

/// An installed module that never ran, and its directory.
struct Scene {
    world: World,
    server: Slapd,
    id: Value,
    before: Sides,
}

impl Scene {
    fn make() -> Option<Scene> {
        let server = slapd::start(&crowd(PEOPLE))?;
        let world = World::new();
        let (mut plugin, id) = world.install(&server.settings("none"));
        assert!(plugin.stop().success());
        let before = world.sides(&server);
        Some(Scene { world, server, id, before })
    }

    /// The announcements that wait, oldest first: model and record.
    fn waiting(&self) -> Vec<(String, String)> {
        let database = self.world.module_database();
        let module = Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_ONLY).expect("module.db");
        let mut outbox = module.prepare("SELECT event FROM outbox ORDER BY id").expect("the outbox");
        let events = outbox.query_map([], |row| row.get::<_, String>(0)).expect("events");
        let events = events.flat_map(|row| -> Vec<Value> {
            serde_json::from_str(&format!("[{}]", row.expect("a row"))).expect("events are JSON")
        });
        let events = events.map(|event| {
            let text = |key: &str| event[key].as_str().expect("a text").to_owned();
            (text("model").trim_start_matches(r"MikoPBX\Common\Models\").to_owned(), text("recordId"))
        });
        events.collect()
    }

    fn announced(&self) -> Vec<(String, String)> {
        self.world.installation.announced().into_iter().map(|(model, record, _)| (model, record)).collect()
    }
}

#[test]
fn refused_announcements_are_delivered_by_the_next_tick_once_and_in_order() {
    let Some(scene) = Scene::make() else { return };
    let mut refused = scene.world.installation.start_with_faults(&[("FAULT_ANNOUNCE", "1")]);
    assert_eq!(count(sync(&mut refused, &scene.id).list(), "UPDATED"), PEOPLE, "the run itself is not disturbed");
    assert_eq!(refused.tick().status, 0);
    assert!(refused.stop().success());
    assert_eq!(scene.announced(), []);
    let waiting = scene.waiting();
    assert!(waiting.len() > PEOPLE, "every new row waits to be told: {waiting:?}");

    let mut plugin = scene.world.installation.start();
    plugin.tick().data();
    assert_eq!(scene.announced(), waiting, "in the order of the changes");
    scene.world.assert_announced_exactly(&scene.before.pbx);
    assert_eq!(scene.waiting(), []);

    plugin.tick().data();
    sync(&mut plugin, &scene.id);
    assert_eq!(scene.announced(), waiting, "nothing is told twice");
}

#[test]
fn a_write_mutex_that_is_busy_for_a_moment_is_waited_for() {
    let Some(scene) = Scene::make() else { return };
    let mut plugin = scene.world.installation.start_with_faults(&[("FAULT_BEGIN_WRITE_BUSY", "3")]);
    assert_eq!(count(sync(&mut plugin, &scene.id).list(), "UPDATED"), PEOPLE);
    scene.world.assert_rows_are_mikopbx(112);
    scene.world.assert_announced_exactly(&scene.before.pbx);
}

#[test]
fn a_write_mutex_that_stays_busy_ends_the_run_and_changes_nothing() {
    let Some(scene) = Scene::make() else { return };
    let mut plugin = scene.world.installation.start_with_faults(&[("FAULT_BEGIN_WRITE_BUSY", "1000000")]);
    let answer = plugin.request("sync-ldap-users", json!({"id": scene.id}));
    assert_eq!(answer.status, DATABASE, "{}", answer.body);
    assert!(answer.errors().contains("write mutex"), "the mutex is not named: {}", answer.errors());
    assert!(plugin.stop().success());
    scene.world.assert_unchanged(&scene.server, &scene.before, "a busy write mutex");
    assert_eq!(scene.announced(), []);

    let mut plugin = scene.world.installation.start();
    assert_eq!(count(sync(&mut plugin, &scene.id).list(), "UPDATED"), PEOPLE, "it works again");
    scene.world.assert_rows_are_mikopbx(112);
    scene.world.assert_announced_exactly(&scene.before.pbx);
}
