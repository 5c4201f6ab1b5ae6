//! What a preview showed is applied exactly or not at all, at once or by the worker; a run can be exported whole.

use std::time::Duration;

use crate::support::in_step::InStep;
use crate::support::people::crowd;
use crate::support::servers::slapd;
use crate::support::wait_until;
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

#[test]
fn what_waits_for_the_worker_can_be_taken_back() {
    let Some(mut both) = InStep::make(20, "none") else { return };
    for person in &both.people[..10] {
        both.server.set(&person.login, "mail", &format!("new.{}@example.test", person.login));
    }
    both.plugin.request("sync-ldap-users", json!({"id": both.id})).list();
    let held = |both: &mut InStep| both.plugin.request("get-status", json!({})).data()["servers"][0]["heldRun"].clone();
    let run = held(&mut both)["runId"].clone();

    // A preview that is not applied leaves what is held where it is.
    let plan = preview(&mut both.plugin, &both.id)["planId"].clone();
    both.server.set(&both.people[15].login, "displayName", "Changed Meanwhile");
    assert_eq!(both.plugin.request("apply-plan", json!({"planId": plan})).status, REFUSED);
    assert_eq!(held(&mut both)["runId"], run);

    // A rejection also takes back an approval that waits.
    let approval = both.start(json!({"id": both.id, "heldRunId": run}));
    let everything = both.start(json!({"id": both.id}));
    assert_ne!(approval, everything, "two different orders");
    let shown = both.plugin.request("get-status", json!({})).data()["servers"][0]["lastRun"]["runId"].clone();
    assert_eq!(shown, approval, "the first that waits");
    both.plugin.request("reject-held-run", json!({"runId": run})).data();
    assert_eq!(both.state_of(&approval), "cancelled");
    both.plugin.tick().data();
    assert_eq!((both.state_of(&approval), both.state_of(&everything)), ("cancelled".to_owned(), "done".to_owned()));
    let employees = both.world.pbx().employees();
    assert!(employees.iter().all(|row| !row.email.starts_with("new.")), "rejected, so not done");

    // Cancelled while the tick makes another run: it is not made after that one.
    let first = both.start(json!({"id": both.id}));
    let plan = preview(&mut both.plugin, &both.id)["planId"].clone();
    let second = both.start(json!({"id": both.id, "planId": plan}));
    both.server.guard.signal("STOP");
    both.plugin.send(&json!({"hook": "worker_tick"})).expect("the plugin takes calls");
    let mut page = both.world.installation.start();
    let begun = wait_until(Duration::from_secs(20), || {
        page.request("get-run", json!({"runId": first})).data()["state"] == json!("running")
    });
    assert!(begun, "the first run begins");
    page.request("cancel-run", json!({"runId": second})).data();
    both.server.guard.signal("CONT");
    both.plugin.answer();
    assert_eq!((both.state_of(&first), both.state_of(&second)), ("done".to_owned(), "cancelled".to_owned()));
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
