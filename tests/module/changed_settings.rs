//! Settings saved after the first synchronisation: what they put off, and what goes on being shown.

use crate::support::host::Plugin;
use crate::support::people::crowd;
use crate::support::servers::slapd;
use crate::support::world::{World, sync};
use serde_json::{Value, json};

/// The status REFUSED of `ldap_sync.h`.
const REFUSED: i64 = 5;

fn waits_for_first_run(plugin: &mut Plugin) -> bool {
    plugin.request("get-status", json!({})).data()["servers"][0]["waitsForFirstRun"] == json!(true)
}

fn names(plugin: &mut Plugin) -> Vec<Value> {
    let answer = plugin.request("get-people", json!({"sort": "name"}));
    answer.data()["people"].as_array().expect("people").iter().map(|person| person["name"].clone()).collect()
}

#[test]
fn a_changed_filter_that_finds_nobody_is_not_approved_by_trying_it() {
    let Some(server) = slapd::start(&crowd(8)) else { return };
    let world = World::new();
    let (mut plugin, id) = world.install(&server.settings("ldaps"));
    assert!(waits_for_first_run(&mut plugin));
    sync(&mut plugin, &id);
    assert!(!waits_for_first_run(&mut plugin));
    let people = names(&mut plugin);
    assert_eq!(people.len(), 8);

    let saved = plugin.save(&json!({"id": id, "userFilter": "(uid=nobody)"}));
    assert!(saved.information().contains("compares both sides anew"), "{}", saved.body);
    assert!(waits_for_first_run(&mut plugin));
    let before = world.sides(&server);
    let answer = plugin.request("sync-ldap-users", json!({"id": id}));
    assert_eq!(answer.status, REFUSED, "{}", answer.body);
    assert!(waits_for_first_run(&mut plugin), "a run that found nobody was taken for an approval");
    assert_eq!(plugin.tick().data()["ran"], json!([]));
    world.assert_unchanged(&server, &before, "a filter that finds nobody");
    assert_eq!(names(&mut plugin), people, "everybody is shown, with or without a base");

    plugin.save(&json!({"id": id, "userFilter": "(objectClass=inetOrgPerson)"})).data();
    sync(&mut plugin, &id);
    assert!(!waits_for_first_run(&mut plugin));
    world.assert_unchanged(&server, &before, "comparing anew");
    assert_eq!(names(&mut plugin), people);
}
