//! The worker's tick: what it runs, when, and what it never does by itself. The host's clock stands where a test puts it.

use crate::support::directory::Kind;
use crate::support::people::{Someone, crowd, ldif};
use crate::support::servers::slapd::{self, Slapd};
use crate::support::world::{World, count, sync};
use serde_json::{Value, json};

/// A moment of 2026, Unix time in milliseconds.
const NOW: i64 = 1_790_000_000_000;
/// The interval between two automatic runs, in milliseconds, unless the settings say otherwise.
const INTERVAL: i64 = 60_000;
/// Most new people of a run that nobody watches.
const MOST_NEW: usize = 100;
const PEOPLE: usize = 6;

/// A module whose server goes by itself.
struct Scene {
    world: World,
    server: Slapd,
    id: Value,
}

impl Scene {
    /// Before the first run.
    fn installed() -> Option<Scene> {
        let server = slapd::start(&crowd(PEOPLE))?;
        let world = World::new();
        let (mut plugin, id) = world.install(&server.settings("none"));
        assert!(plugin.stop().success());
        Some(Scene { world, server, id })
    }

    /// After a first run made by hand at `NOW`.
    fn in_step() -> Option<Scene> {
        let scene = Scene::installed()?;
        let rows = sync(&mut scene.world.installation.start_at(NOW), &scene.id);
        assert_eq!(count(rows.list(), "UPDATED"), PEOPLE, "{}", rows.body);
        Some(scene)
    }

    /// Makes a tick at a time; answers the runs it made.
    fn tick(&self, now: i64) -> Vec<Value> {
        let answer = self.world.installation.start_at(now).tick();
        answer.data()["ran"].as_array().unwrap_or_else(|| panic!("no list of runs in {}", answer.body)).clone()
    }

    /// Adds people to the directory who were not in it before.
    fn hire(&self, more: usize) -> Vec<Someone> {
        let new = crowd(PEOPLE + more).split_off(PEOPLE);
        self.server.add(&ldif(&new, Kind::OpenLdap, &self.server.people));
        new
    }

    /// How many of these people are employees.
    fn employed(&self, people: &[Someone]) -> usize {
        let employees = self.world.pbx().employees();
        people.iter().filter(|person| employees.iter().any(|row| row.email == person.mail)).count()
    }
}

#[test]
fn the_first_run_of_a_server_is_planned_by_a_tick_and_waits_for_somebody() {
    let Some(scene) = Scene::installed() else { return };
    let before = scene.world.sides(&scene.server);
    for now in [NOW, NOW + INTERVAL, NOW + 1000 * INTERVAL] {
        let runs = scene.tick(now);
        assert_eq!(runs.len(), 1, "{runs:?}");
        assert_eq!(runs[0]["held"][0]["what"], json!("first run"), "{runs:?}");
        assert_eq!(runs[0]["held"].as_array().map(Vec::len), Some(1), "{runs:?}");
    }
    scene.world.assert_unchanged(&scene.server, &before, "a tick before the first run");
}

#[test]
fn a_tick_at_the_due_time_runs_and_one_before_it_asks_nobody_anything() {
    let Some(scene) = Scene::in_step() else { return };
    scene.server.set("person00002", "mail", "new.address@example.test");
    let before = scene.world.sides(&scene.server);
    let connections = || scene.server.guard.log_text().matches(" ACCEPT from ").count();
    let told = connections();
    assert_eq!(scene.tick(NOW + INTERVAL - 1), [] as [Value; 0]);
    assert_eq!(connections(), told, "the directory was asked by a tick that is not due");
    scene.world.assert_unchanged(&scene.server, &before, "a tick that is not due");

    let ran = scene.tick(NOW + INTERVAL);
    assert_eq!(ran.len(), 1, "{ran:?}");
    assert_eq!(ran[0]["serverId"], scene.id);
    let changed = scene.world.pbx().employees().into_iter().filter(|row| row.email == "new.address@example.test");
    assert_eq!(changed.count(), 1);
    assert_eq!(scene.tick(NOW + 2 * INTERVAL - 1), [] as [Value; 0], "the interval counts from the last run");
}

#[test]
fn a_server_that_does_not_go_by_itself_is_left_alone() {
    let Some(scene) = Scene::in_step() else { return };
    let mut plugin = scene.world.installation.start();
    plugin.request("set-autosync", json!({"id": scene.id, "autosync": false})).data();
    assert_eq!(scene.tick(NOW + INTERVAL), [] as [Value; 0]);
}

#[test]
fn a_stored_time_in_the_future_counts_as_due() {
    let Some(scene) = Scene::in_step() else { return };
    // The PBX was restarted, and its clock is in 1970 until it is set.
    assert_eq!(scene.tick(5_000).len(), 1);
    assert_eq!(scene.tick(5_000 + INTERVAL - 1), [] as [Value; 0], "and then the interval counts");
    assert_eq!(scene.tick(NOW).len(), 1, "the clock is set again");
}

#[test]
fn more_new_people_than_a_tick_may_make_are_held_and_told() {
    let Some(scene) = Scene::in_step() else { return };
    let new = scene.hire(MOST_NEW + 1);
    let before = scene.world.sides(&scene.server);
    let ran = scene.tick(NOW + INTERVAL);
    assert_eq!(ran.len(), 1, "{ran:?}");
    let held = ran[0]["held"].as_array().expect("what was held");
    assert_eq!(held.len(), 1, "{ran:?}");
    assert_eq!((&held[0]["what"], &held[0]["count"]), (&json!("new people"), &json!(MOST_NEW + 1)));
    scene.world.assert_unchanged(&scene.server, &before, "a tick with too many new people");

    let mut plugin = scene.world.installation.start();
    let status = plugin.request("get-status", json!({}));
    let summary = &status.data()["servers"][0]["lastRun"]["summary"];
    assert!(summary.as_str().is_some_and(|text| text.contains("held")), "the page does not tell it: {}", status.body);
    let rows = sync(&mut plugin, &scene.id);
    assert_eq!(count(rows.list(), "UPDATED"), new.len(), "by hand they are made");
    assert_eq!(scene.employed(&new), new.len());
}

#[test]
fn as_many_new_people_as_a_tick_may_make_are_made() {
    let Some(scene) = Scene::in_step() else { return };
    let new = scene.hire(MOST_NEW);
    let ran = scene.tick(NOW + INTERVAL);
    assert_eq!(ran[0]["held"], json!([]), "{ran:?}");
    assert_eq!(scene.employed(&new), MOST_NEW);
}
