//! What the admin page's actions make of odd bodies and of a run whose process died.

use crate::support::host::Plugin;
use crate::support::world::World;
use serde_json::{Value, json};

#[track_caller]
fn check(plugin: &mut Plugin, action: &str, body: Value, status: i64, words: &str) {
    let answer = plugin.request(action, body.clone());
    assert_eq!(answer.status, status, "{action} {body}: {}", answer.body);
    let told = format!("{} {}", answer.errors(), answer.information());
    assert!(told.contains(words), "{action} {body}: {words:?} is not in {}", answer.body);
}

#[test]
fn what_means_nothing_or_has_the_wrong_type_is_named() {
    let world = World::new();
    let mut plugin = world.installation.start();
    plugin.install().data();
    check(&mut plugin, "get-people", json!({"strange": 1}), 0, "strange");
    check(&mut plugin, "get-status", json!({"strange": 1}), 0, "strange");
    check(&mut plugin, "get-people", json!({"search": 201, "page": "2", "perPage": 10, "sort": "-number"}), 0, "");
    check(&mut plugin, "get-people", json!({"id": 99}), 1, "99");
    check(&mut plugin, "get-people", json!({"page": "two"}), 1, "whole number");
    check(&mut plugin, "get-people", json!({"sort": "height"}), 1, "number");
    check(&mut plugin, "get-people", json!({"search": ["a"]}), 1, "text");
    check(&mut plugin, "get-run", json!({"runId": 7}), 1, "7");
    check(&mut plugin, "sync-ldap-users", json!({"id": 5, "serverName": "x"}), 1, "serverName");
}

#[test]
fn a_run_whose_process_died_can_be_cancelled() {
    let world = World::new();
    let settings = json!({
        "ldapType": "OpenLDAP", "serverName": "127.0.0.1", "security": "none", "baseDN": "dc=example,dc=test",
    });
    let (mut plugin, id) = world.install(&settings);
    let database = rusqlite::Connection::open(world.module_database()).expect("the module's own database");
    database
        .execute("INSERT INTO runs (server_id, kind, started) VALUES (?1, 'manual', 1)", [id.as_i64()])
        .expect("a run that nobody is making");
    let runs = plugin.request("get-runs", json!({"id": id}));
    assert_eq!(runs.list()[0]["state"], "running");
    check(&mut plugin, "cancel-run", json!({"runId": runs.list()[0]["runId"]}), 0, "ended in the middle");
    assert_eq!(plugin.request("get-runs", json!({"id": id})).list()[0]["state"], "failed");
}
