//! What a preview showed is applied exactly or not at all, at once or by the worker; a run can be exported whole.

use crate::support::in_step::InStep;
use crate::support::people::crowd;
use crate::support::servers::slapd;
use crate::support::world::{World, preview};
use serde_json::{Value, json};

const REFUSED: i64 = 5;

#[test]
fn exactly_what_was_shown_is_applied_and_nothing_else() {
    let people = crowd(8);
    let Some(server) = slapd::start(&people) else { return };
    let world = World::new();
    let (mut plugin, id) = world.install(&server.settings("none"));
    let before = world.sides(&server);
    let shown = preview(&mut plugin, &id);
    assert_eq!(preview(&mut plugin, &id)["planId"], shown["planId"], "the same plan has the same id");
    world.assert_unchanged(&server, &before, "the previews");

    // Somebody edits the directory between looking and applying.
    server.set(&people[2].login, "displayName", "Edited Meanwhile");
    server.delete(&people[3].login);
    let now = world.sides(&server);
    let refused = plugin.request("apply-plan", json!({"planId": shown["planId"]}));
    assert_eq!(refused.status, REFUSED, "{}", refused.body);
    for (at, words) in [(2, "something else would be done now"), (3, "nothing is to be done any more")] {
        let words = format!("{}: {words}", people[at].name);
        assert!(refused.errors().contains(&words), "{words:?} is not in {}", refused.errors());
    }
    world.assert_unchanged(&server, &now, "the refused plan");

    let again = preview(&mut plugin, &id);
    assert_ne!(again["planId"], shown["planId"]);
    let outdated = plugin.request("apply-plan", json!({"planId": shown["planId"]}));
    assert_eq!(outdated.status, REFUSED, "{}", outdated.body);
    let applied = plugin.request("apply-plan", json!({"planId": again["planId"]}));
    assert!(applied.information().starts_with("7 new"), "{}", applied.body);
    for (shown, done) in again["people"].as_array().expect("people").iter().zip(applied.list()) {
        for key in ["name", "number", "mobile", "email", "directoryId"] {
            assert_eq!(shown[key], done[key], "{key}");
        }
        let of = |row: &Value| -> Vec<[Value; 4]> {
            let changes = row["changes"].as_array().expect("changes").iter();
            changes.map(|change| ["side", "field", "old", "new"].map(|key| change[key].clone())).collect()
        };
        assert_eq!(of(shown), of(done));
    }
    world.assert_rows_are_mikopbx(112);
    for body in [json!({"planId": 7}), json!({}), json!({"planId": "0".repeat(32)})] {
        assert_ne!(plugin.request("apply-plan", body).status, 0);
    }
}

#[test]
fn the_worker_applies_a_preview_and_approves_what_was_held() {
    let Some(mut both) = InStep::make(20, "none") else { return };
    both.server.set(&both.people[0].login, "displayName", "Shown Change");
    let plan = preview(&mut both.plugin, &both.id)["planId"].clone();
    let asked = both.start(json!({"id": both.id, "planId": plan}));
    both.plugin.tick().data();
    assert_eq!(both.state_of(&asked), "done");
    both.world.pbx().employee_named("Shown Change");

    // By the time the worker comes the directory has changed: the run fails and says how.
    both.server.set(&both.people[1].login, "displayName", "Second Change");
    let plan = preview(&mut both.plugin, &both.id)["planId"].clone();
    let asked = both.start(json!({"id": both.id, "planId": plan}));
    both.server.set(&both.people[2].login, "displayName", "Third Change");
    let before = both.world.sides(&both.server);
    let _ = both.plugin.tick();
    both.world.assert_unchanged(&both.server, &before, "a plan that is no longer the same");
    assert_eq!(both.state_of(&asked), "failed");
    let run = both.plugin.request("export-run", json!({"runId": asked})).data().clone();
    assert!(run["error"].to_string().contains("Third Change: was not in the preview"), "{run}");

    for person in &both.people[..10] {
        both.server.set(&person.login, "mail", &format!("new.{}@example.test", person.login));
    }
    both.plugin.request("sync-ldap-users", json!({"id": both.id})).list();
    let held = both.plugin.request("get-status", json!({})).data()["servers"][0]["heldRun"]["runId"].clone();
    let both_wanted = json!({"id": both.id, "heldRunId": held, "planId": plan});
    assert_ne!(both.plugin.request("start-sync", both_wanted).status, 0, "one or the other");
    let asked = both.start(json!({"id": both.id, "heldRunId": held}));
    both.plugin.tick().data();
    assert_eq!(both.state_of(&asked), "done");
    let run = both.plugin.request("export-run", json!({"runId": asked})).data().clone();
    assert_eq!((run["changes"].as_array().map(Vec::len), &run["changeCount"]), (Some(10), &json!(10)), "{run}");
    let gone = both.plugin.request("start-sync", json!({"id": both.id, "heldRunId": held}));
    assert_eq!(gone.status, REFUSED, "{}", gone.body);
}

impl InStep {
    fn start(&mut self, body: Value) -> Value {
        self.plugin.request("start-sync", body).data()["runId"].clone()
    }

    fn state_of(&mut self, run: &Value) -> String {
        let run = self.plugin.request("get-run", json!({"runId": run})).data().clone();
        run["state"].as_str().expect("a state").to_owned()
    }
}
