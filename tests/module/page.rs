//! The admin page in a real browser: Chromium shows what the library answers through the host program's web server.

use crate::support::browser::Browser;
use crate::support::directory::Kind;
use crate::support::have;
use crate::support::host::Plugin;
use crate::support::people::{self, Someone};
use crate::support::servers::slapd;
use crate::support::site::{Site, check};
use crate::support::world::{World, assert_pbx_unchanged, sync};
use serde_json::{Value, json};

#[test]
fn the_page_shows_status_people_and_conflicts() {
    if !have("Chromium", &["chromium"], false) {
        return;
    }
    let people = [
        Someone::new("ann", "Ann O'Neil").mail("ann@example.test"),
        Someone::new("tom", "<b>Tom</b> & <i>Co</i>").mail("tom@example.test"),
        Someone::new("yael", "יעל כהן").mail("yael@example.test"),
        Someone::new("park", "Wants Parking").number("801"),
    ];
    let Some(server) = slapd::start(&people) else { return };
    let world = World::new();
    let (mut plugin, id) = world.install(&server.settings("ldaps"));
    let site = Site::start(&world);
    let before = world.pbx().dump();

    check(&site.show("/?lang=en#/servers/1/preview"), &["Ann O'Neil", "801 is taken by parking"]);
    assert_pbx_unchanged(&before, &world.pbx().dump(), "showing a preview");
    sync(&mut plugin, &id);

    let overview = site.show("/?lang=en");
    // A name from the directory is text, never markup.
    check(&overview, &["Directory servers", "OpenLDAP", "Ann O'Neil", "&lt;b&gt;Tom&lt;/b&gt; &amp;", "יעל כהן"]);
    assert!(!overview.contains("<b>Tom</b>"), "a name became markup");
    check(&site.show("/?lang=ru"), &["Обзор", "Ann O'Neil"]);
    check(&site.show("/?lang=en#/conflicts"), &["Wants Parking", "801 is taken by parking"]);
    check(&site.show("/?lang=en#/runs"), &["3 new"]);
    let last = plugin.request("get-runs", json!({ "id": id })).list()[0]["runId"].to_string();
    check(&site.show(&format!("/?lang=en#/runs/{last}")), &["Ann O'Neil", "ann@example.test"]);
}

#[test]
fn the_first_server_can_be_added_from_the_page() {
    if !have("Chromium", &["chromium"], false) {
        return;
    }
    let world = World::new();
    world.installation.start().install().data();
    let site = Site::start(&world);
    check(&site.show("/?lang=en"), &["No directory server yet", "href=\"#/servers/new\"", "Add a server"]);
    check(
        &site.show("/?lang=en#/servers/new"),
        &["<form", "Server address", "Base DN", "give one from the pool", "Save"],
    );
}

#[test]
fn a_broken_address_shows_the_overview() {
    if !have("Chromium", &["chromium"], false) {
        return;
    }
    let world = World::new();
    world.installation.start().install().data();
    let site = Site::start(&world);
    check(&site.show("/?lang=en#/runs/%"), &["No directory server yet"]);
}

#[test]
fn a_connection_test_that_fails_shows_its_steps_and_the_certificate() {
    if !have("Chromium", &["chromium"], false) {
        return;
    }
    let Some(server) = slapd::start(&[]) else { return };
    let world = World::new();
    let mut settings = server.settings("ldaps");
    // Without its authority the server's certificate cannot be verified, so the reader decides about it.
    settings["caCertificate"] = "".into();
    world.install(&settings);
    let site = Site::start(&world);
    let shown = site.show("/?lang=en#/servers/1/test");
    check(
        &shown,
        &["Reach the server", "Encryption", "The connection does not work yet", "SHA-256", "Trust this certificate"],
    );
}

/// A PBX in step with a directory of these people, served.
fn in_step(people: &[Someone], change: impl FnOnce(&mut Value)) -> Option<(slapd::Slapd, World, Plugin, Value, Site)> {
    if !have("Chromium", &["chromium"], false) {
        return None;
    }
    let server = slapd::start(people)?;
    let world = World::new();
    let mut settings = server.settings("ldaps");
    change(&mut settings);
    let (mut plugin, id) = world.install(&settings);
    sync(&mut plugin, &id);
    let site = Site::start(&world);
    Some((server, world, plugin, id, site))
}

#[test]
fn a_value_changed_on_both_sides_is_decided_from_the_page() {
    let people = [Someone::new("ann", "Ann O'Neil").mail("ann@example.test").number("301")];
    let ask = |settings: &mut Value| settings["fieldConflicts"] = json!({"email": "ask"});
    let Some((server, world, mut plugin, id, site)) = in_step(&people, ask) else { return };
    server.set("ann", "mail", "ann.oneil@example.test");
    let user = world.pbx().employee_named("Ann O'Neil").user_id;
    world.pbx().set_email(user, "ann@pbx.test");
    sync(&mut plugin, &id);

    let mut browser = Browser::start();
    browser.open(&format!("{}/?lang=en#/conflicts", site.address), "Changed on both sides");
    let shown = browser.text();
    check(&shown, &["ann.oneil@example.test", "ann@pbx.test", "Use the directory's value", "Leave this person out"]);
    browser.press("Use the directory's value");
    browser.wait_for("The next synchronisation carries it out.");
    browser.press("Take back");
    browser.wait_gone("The next synchronisation carries it out.");
    browser.press("Use the PBX's value");
    browser.wait_for("The next synchronisation carries it out.");
    browser.press("Sync now");
    browser.wait_for("Synchronisation finished.");
    browser.wait_for("Updated: Ann O'Neil");
    assert_eq!(server.values("ann", "mail"), ["ann@pbx.test"]);
    browser.open(&format!("{}/?lang=en#/conflicts", site.address), "No conflicts");

    browser.open(&format!("{}/?lang=en#/people/{user}", site.address), "Ann O'Neil");
    browser.wait_for("decided by an administrator");
    browser.open(&format!("{}/?lang=ru#/people/{user}", site.address), "решение администратора");
}

#[test]
fn a_run_under_way_is_shown_and_can_be_stopped_from_the_page() {
    let people = [Someone::new("ann", "Ann O'Neil").mail("ann@example.test")];
    let Some((server, _world, mut plugin, id, site)) = in_step(&people, |_| {}) else { return };
    server.set("ann", "mail", "ann.oneil@example.test");
    server.guard.signal("STOP");
    let mut browser = Browser::start();
    browser.open(&format!("{}/?lang=en", site.address), "Ann O'Neil");
    browser.press("Sync now");
    browser.wait_for("Synchronising, running for");
    browser.press("Stop this run");
    browser.wait_gone("Stop this run");
    server.guard.signal("CONT");
    browser.wait_for("the run was cancelled");
    let runs = plugin.request("get-runs", json!({ "id": id }));
    assert_eq!(runs.list()[0]["state"], json!("cancelled"), "{}", runs.body);
}

#[test]
fn a_person_left_out_from_the_page_stays_listed_until_taken_back() {
    let people = [Someone::new("ann", "Ann O'Neil"), Someone::new("park", "Wants Parking").number("801")];
    let Some((_server, _world, mut plugin, id, site)) = in_step(&people, |_| {}) else { return };
    let mut browser = Browser::start();
    browser.open(&format!("{}/?lang=en#/conflicts", site.address), "Wants Parking");
    browser.press("Leave this person out");
    browser.wait_for("The next synchronisation carries it out.");
    sync(&mut plugin, &id);
    browser.open(&format!("{}/?lang=en#/conflicts", site.address), "Decisions that stand");
    check(&browser.text(), &["No conflicts", "Wants Parking", "Not synchronised until you take it back."]);
    browser.press("Take back");
    browser.wait_gone("Decisions that stand");
    assert_eq!(plugin.request("get-decisions", json!({})).list(), &[] as &[Value]);
}

#[test]
fn a_person_is_linked_from_the_page() {
    // The PBX has one Collins Melanie, so it is not certain which of the two she is.
    let people = [
        Someone::new("mc1", "Collins Melanie").mail("melanie@example.test"),
        Someone::new("mc2", "Collins Melanie").mail("m.collins@example.test"),
    ];
    let Some((_server, world, mut plugin, id, site)) = in_step(&people, |_| {}) else { return };
    let employee = world.pbx().employee_named("Collins Melanie");
    let mut browser = Browser::start();
    browser.open(&format!("{}/?lang=en#/conflicts", site.address), "It is not certain who this is");
    browser.press("Link with an employee…");
    browser.wait_for("Which employee is Collins Melanie?");
    browser.set("userId", "99999");
    browser.wait_for("the PBX has no employee with the id 99999");
    browser.set("userId", &employee.user_id.to_string());
    browser.wait_for(&format!("This is Collins Melanie, {}.", employee.number));
    browser.press("Link");
    browser.wait_for("1 decision waits for the next synchronisation.");
    sync(&mut plugin, &id);
    let linked = plugin.request("get-people", json!({})).data().clone();
    assert_eq!(linked["people"][0]["userId"], json!(employee.user_id), "{linked}");
    let decisions = plugin.request("get-decisions", json!({}));
    assert_eq!(decisions.list(), &[] as &[Value], "carried out");
}

#[test]
fn a_held_run_is_approved_from_the_page() {
    if !have("Chromium", &["chromium"], false) {
        return;
    }
    let people = [Someone::new("ann", "Ann O'Neil"), Someone::new("tom", "Tom Ford")];
    let Some(server) = slapd::start(&people) else { return };
    let world = World::new();
    let (mut plugin, _) = world.install(&server.settings("ldaps"));
    plugin.tick().data();
    let site = Site::start(&world);
    let mut browser = Browser::start();
    browser.open(&format!("{}/?lang=en", site.address), "Held back for your decision");
    check(&browser.text(), &["The first run: 2", "Nobody has looked at a run with these settings yet."]);
    browser.evaluate("document.querySelector('.ls-held details').open = true");
    browser.wait_for("Tom Ford");
    browser.press("Approve");
    browser.wait_for("Do what was held?");

    // Meanwhile it grows, so nothing at all is done.
    let third = people::ldif(&[Someone::new("zoe", "Zoë New")], Kind::OpenLdap, &server.people);
    server.add(&third);
    let before = world.pbx().dump();
    browser.press("Approve");
    browser.wait_for("more is held now than was approved");
    assert_pbx_unchanged(&before, &world.pbx().dump(), "approving less than is held");
    browser.wait_for("The first run: 3");
    browser.press("Approve");
    browser.press("Approve");
    browser.wait_for("Synchronisation finished.");
    browser.wait_gone("Held back for your decision");
    world.pbx().employee_named("Zoë New");
}

#[test]
fn a_held_run_rejected_from_the_page_is_not_asked_about_again() {
    if !have("Chromium", &["chromium"], false) {
        return;
    }
    let Some(server) = slapd::start(&[Someone::new("ann", "Ann O'Neil")]) else { return };
    let world = World::new();
    let (mut plugin, _) = world.install(&server.settings("ldaps"));
    plugin.tick().data();
    let site = Site::start(&world);
    let before = world.pbx().dump();
    let mut browser = Browser::start();
    browser.open(&format!("{}/?lang=en", site.address), "Held back for your decision");
    browser.press("Reject");
    browser.wait_for("Leave it undone?");
    browser.press("Reject");
    browser.wait_gone("Held back for your decision");
    assert_pbx_unchanged(&before, &world.pbx().dump(), "a rejection");
}

#[test]
fn people_who_left_are_listed() {
    let people = [Someone::new("ann", "Ann O'Neil").number("301"), Someone::new("tom", "Tom Ford").number("302")];
    let Some((server, _world, mut plugin, id, site)) = in_step(&people, |_| {}) else { return };
    let mut browser = Browser::start();
    let leavers = format!("{}/?lang=en#/servers/1/leavers", site.address);
    browser.open(&leavers, "Nobody has left");
    server.modify(&format!("dn: {}\nchangetype: delete\n", server.dn("tom")));
    sync(&mut plugin, &id);
    browser.open(&leavers, "1 person left");
    check(&browser.text(), &["Tom Ford", "302", "The directory no longer has the entry", "Switched on"]);
    browser.press("Tom Ford");
    browser.wait_for("Values and where they came from");
    check(&browser.text(), &["telephoneNumber", "Not found in the directory", "Run 1"]);
}

#[test]
fn settings_saved_on_the_page_are_read_back() {
    let Some((_server, _world, mut plugin, id, site)) = in_step(&[Someone::new("ann", "Ann O'Neil")], |_| {}) else {
        return;
    };
    let fields = [
        ("fieldDirections.email", "directory"),
        ("fieldConflicts.mobile", "ask"),
        ("stopLeaversAfter", "30"),
        ("deleteLeaversAfter", "90"),
        ("mostNewPeople", "7"),
        ("completeRunAt", "04:30"),
        ("quietFrom", "22:00"),
        ("quietTo", "06:00"),
        ("attributes.userEmployeeNumberAttribute", "uid"),
    ];
    let address = format!("{}/?lang=en#/servers/1/settings", site.address);
    let mut browser = Browser::start();
    browser.open(&address, "Which way values travel");
    for (field, value) in fields {
        browser.set(field, value);
    }
    browser.press("Save");
    browser.wait_for("The settings were saved.");
    browser.open(&address, "Which way values travel");
    for (field, value) in fields {
        assert_eq!(browser.value(field), value, "{field}");
    }
    let saved = plugin.request("get-server", json!({ "id": id })).data().clone();
    assert_eq!(saved["fieldDirections"]["email"], "directory");
    assert_eq!(saved["fieldDirections"]["name"], "two-way", "what the form did not change");
    assert_eq!(saved["stopLeaversAfter"], 30);

    browser.set("stopLeaversAfter", "");
    browser.press("Save");
    browser.wait_for("The settings were saved.");
    assert_eq!(plugin.request("get-server", json!({ "id": id })).data()["stopLeaversAfter"], Value::Null);
}

/// Answers every call as a server does whose session has ended, until [`SIGN_IN`].
const SIGN_OUT: &str = "window.ownFetch = window.fetch;
    window.fetch = async () => new Response('Unauthorized', { status: 401 }); true";
const SIGN_IN: &str = "window.fetch = window.ownFetch; true";

#[test]
fn what_is_typed_is_still_there_when_the_session_has_ended() {
    let Some((_server, _world, mut plugin, id, site)) = in_step(&[Someone::new("ann", "Ann O'Neil")], |_| {}) else {
        return;
    };
    let mut browser = Browser::start();
    browser.open(&format!("{}/?lang=en#/servers/1/settings", site.address), "Which way values travel");
    browser.set("mostNewPeople", "17");
    browser.set("userFilter", "(&(objectClass=inetOrgPerson)(uid=*))");
    browser.evaluate(SIGN_OUT);
    browser.press("Save");
    browser.wait_for("Your session has ended");
    assert_eq!(browser.value("mostNewPeople"), "17");
    // Somebody who looks elsewhere meanwhile finds it again.
    browser.evaluate("location.hash = '#/conflicts'; true");
    browser.wait_gone("Which way values travel");
    browser.evaluate("location.hash = '#/servers/1/settings'; true");
    browser.evaluate(SIGN_IN);
    browser.evaluate("location.hash = '#/'; true");
    browser.wait_gone("Which way values travel");
    browser.evaluate("location.hash = '#/servers/1/settings'; true");
    browser.wait_for("Which way values travel");
    assert_eq!(browser.value("userFilter"), "(&(objectClass=inetOrgPerson)(uid=*))");
    browser.press("Save");
    browser.wait_for("The settings were saved.");
    let saved = plugin.request("get-server", json!({ "id": id })).data().clone();
    assert_eq!(
        (&saved["mostNewPeople"], saved["userFilter"].as_str()),
        (&json!(17), Some("(&(objectClass=inetOrgPerson)(uid=*))"))
    );
}
