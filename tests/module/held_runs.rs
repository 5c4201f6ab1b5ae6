//! What the limits hold waits for an administrator: approved, rejected, kept up to date, and never an answer of nobody.

use crate::support::host::Plugin;
use crate::support::in_step::InStep;
use crate::support::people::crowd;
use crate::support::servers::slapd;
use crate::support::world::{World, assert_pbx_unchanged, sync};
use serde_json::{Value, json};

impl InStep {
    /// Gives the first `count` people other e-mail addresses.
    fn change_addresses(&self, count: usize) {
        for person in &self.people[..count] {
            self.server.set(&person.login, "mail", &format!("new.{}@example.test", person.login));
        }
    }

    fn held(&mut self) -> Value {
        self.plugin.request("get-status", json!({})).data()["servers"][0]["heldRun"].clone()
    }

    fn new_addresses(&self) -> usize {
        self.world.pbx().employees().iter().filter(|row| row.email.starts_with("new.")).count()
    }
}

#[test]
fn what_is_held_is_made_once_it_is_approved() {
    let Some(mut both) = InStep::make(20, "none") else { return };
    both.change_addresses(8);
    both.server.set(&both.people[19].login, "displayName", "Safe Change");
    let before = both.world.pbx().dump();
    sync(&mut both.plugin, &both.id);
    assert_eq!(both.new_addresses(), 0, "held");
    both.world.pbx().employee_named("Safe Change");
    let held = both.held();
    assert_eq!((held["held"][0]["what"].as_str(), held["held"][0]["count"].as_i64()), (Some("email changed"), Some(8)));

    // Another run changes nothing and makes no second held run; one that has grown has another number.
    sync(&mut both.plugin, &both.id);
    assert_eq!(both.held()["runId"], held["runId"]);
    both.change_addresses(9);
    let refused = both.plugin.request("approve-held-run", json!({"runId": held["runId"]}));
    assert_eq!(refused.status, 5, "{}", refused.body);
    assert!(refused.errors().contains("more is held now"), "{}", refused.errors());
    assert_eq!(both.new_addresses(), 0);
    let grown = both.held();
    assert_ne!(grown["runId"], held["runId"]);

    both.world.installation.forget();
    let approved = both.plugin.request("approve-held-run", json!({"runId": grown["runId"]}));
    assert_eq!(approved.list().iter().filter(|row| row["usersSyncResult"] == json!("UPDATED")).count(), 9);
    assert_eq!(both.new_addresses(), 9);
    assert_eq!(both.held(), Value::Null);
    both.world.assert_rows_are_mikopbx(112);
    let again = both.plugin.request("approve-held-run", json!({"runId": grown["runId"]}));
    assert_eq!(again.status, 5, "{}", again.body);
    assert!(before != both.world.pbx().dump());
}

#[test]
fn what_is_rejected_is_not_asked_about_again_until_it_grows() {
    let Some(mut both) = InStep::make(20, "none") else { return };
    both.change_addresses(8);
    sync(&mut both.plugin, &both.id);
    let held = both.held();
    both.plugin.request("reject-held-run", json!({"runId": held["runId"]})).data();
    assert_eq!(both.held(), Value::Null);
    let answer = sync(&mut both.plugin, &both.id);
    assert!(answer.information().contains("held"), "the run says so all the same: {}", answer.information());
    assert_eq!((both.held(), both.new_addresses()), (Value::Null, 0));
    both.change_addresses(10);
    sync(&mut both.plugin, &both.id);
    assert_eq!(both.held()["held"][0]["count"], json!(10));
}

#[test]
fn a_filter_that_drops_nearly_everybody_makes_nobody_leave() {
    let Some(mut both) = InStep::make(30, "none") else { return };
    let settings = json!({"id": both.id, "userFilter": "(&(objectClass=inetOrgPerson)(uid=person00001))"});
    both.plugin.save(&settings).data();
    let before = both.world.pbx().dump();
    let directory = both.server.dump();
    let answer = sync(&mut both.plugin, &both.id);
    assert!(answer.information().contains("departures"), "{}", answer.information());
    assert_pbx_unchanged(&before, &both.world.pbx().dump(), "the other filter");
    assert!(directory == both.server.dump());
    assert!(both.plugin.request("get-disabled-ldap-users", json!({"id": both.id})).list().is_empty());
}

#[test]
fn an_answer_of_nobody_cannot_be_approved() {
    let Some(mut both) = InStep::make(10, "none") else { return };
    both.plugin.save(&json!({"id": both.id, "userFilter": "(uid=nobody)"})).data();
    let before = both.world.pbx().dump();
    let refused = both.plugin.request("sync-ldap-users", json!({"id": both.id}));
    assert_eq!(refused.status, 5, "{}", refused.body);
    assert_eq!(both.held(), Value::Null);
    assert_pbx_unchanged(&before, &both.world.pbx().dump(), "an answer of nobody");
}

#[test]
fn the_first_run_of_a_server_waits_for_approval_when_nobody_makes_it() {
    let people = crowd(12);
    let Some(server) = slapd::start(&people) else { return };
    let world = World::new();
    let (mut plugin, id) = world.install(&server.settings("none"));
    let before = world.sides(&server);
    plugin.tick().data();
    world.assert_unchanged(&server, &before, "the tick before the first run");
    let status = plugin.request("get-status", json!({})).data()["servers"][0].clone();
    assert_eq!(status["waitsForFirstRun"], json!(true));
    assert_eq!(status["heldRun"]["held"][0]["what"], json!("first run"), "{status}");
    assert_eq!(status["heldRun"]["held"][0]["count"], json!(12));
    let run = status["heldRun"]["runId"].clone();
    plugin.request("approve-held-run", json!({"runId": run})).list();
    assert_eq!(world.pbx().employees().len(), 3 + people.len());
    let status = plugin.request("get-status", json!({})).data()["servers"][0].clone();
    assert_eq!((&status["waitsForFirstRun"], &status["heldRun"]), (&json!(false), &Value::Null), "{status}");
    let after = world.sides(&server);
    sync(&mut plugin, &id);
    world.assert_unchanged(&server, &after, "the run after the approved one");
}

#[test]
fn a_run_asked_for_is_made_by_the_next_tick() {
    let people = crowd(5);
    let Some(server) = slapd::start(&people) else { return };
    let world = World::new();
    let mut settings = server.settings("none");
    settings["autosync"] = json!(false);
    let (mut plugin, id) = world.install(&settings);
    let asked = plugin.request("start-sync", json!({"id": id})).data()["runId"].clone();
    assert_eq!(plugin.request("start-sync", json!({"id": id})).data()["runId"], asked, "asked for once");
    let run = |plugin: &mut Plugin| plugin.request("get-run", json!({"runId": asked})).data().clone();
    assert_eq!(run(&mut plugin)["state"], json!("queued"));
    let tick = plugin.tick();
    assert_eq!(tick.data()["ran"][0]["runId"], asked, "{}", tick.body);
    let done = run(&mut plugin);
    assert_eq!((&done["state"], &done["kind"]), (&json!("done"), &json!("manual")));
    assert_eq!(world.pbx().employees().len(), 3 + people.len());
    assert!(plugin.tick().data()["ran"].as_array().is_some_and(Vec::is_empty), "made once");

    let other = plugin.request("start-sync", json!({"id": id})).data()["runId"].clone();
    plugin.request("cancel-run", json!({"runId": other})).data();
    assert!(plugin.tick().data()["ran"].as_array().is_some_and(Vec::is_empty), "cancelled before it began");
}
