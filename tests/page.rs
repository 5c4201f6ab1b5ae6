//! The admin page in a real browser: Chromium shows what the library answers through the host program's web server.

mod support;

use serde_json::json;
use support::browser::{Site, check};
use support::have;
use support::people::Someone;
use support::servers::slapd;
use support::world::{World, assert_pbx_unchanged, sync};

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
