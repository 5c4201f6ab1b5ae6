//! The C boundary, misused by programs in C. That a panic is caught and poisons the handle is tried where a panic can be
//! made: in the unit tests of `src/boundary.rs`, because no input is known to cause one.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::build::built;
use crate::support::people::crowd;
use crate::support::servers::slapd;
use crate::support::world::{World, assert_pbx_unchanged};
use crate::support::{root, run, run_unchecked};
use serde_json::json;

#[test]
fn every_misuse_of_a_hook_is_answered() {
    let world = World::new();
    let before = world.pbx().dump();
    let program = compile(&root().join("tests/c/boundary_probe.c"), world.path());
    let mut probe = Command::new(program);
    probe.arg(&built().library).arg(&world.installation.module);
    probe.arg(&world.pbx().database).arg(&world.pbx().media);
    let output = run_unchecked(&mut probe, "");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}:\n{text}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    println!("{text}");
    assert_pbx_unchanged(&before, &world.pbx().dump(), "misuse of the hooks");
}

#[test]
fn the_example_in_c_shows_a_preview() {
    let world = World::new();
    let Some(server) = slapd::start(&crowd(5)) else { return };
    let (mut plugin, id) = world.install(&server.settings("none"));
    plugin.stop();
    let before = world.sides(&server);
    let program = compile(&root().join("examples/preview.c"), world.path());
    let mut preview = Command::new(program);
    preview.env("LD_LIBRARY_PATH", built().library.parent().expect("a library stands in a directory"));
    preview.arg(&world.installation.module).arg(&world.pbx().database).arg(&world.pbx().media);
    let shown = run(preview.arg(id.as_str().map_or_else(|| id.to_string(), str::to_owned)));
    for person in crowd(5) {
        assert!(shown.contains(&person.name), "{} is missing in {shown}", person.name);
    }
    world.assert_unchanged(&server, &before, "the example");
}

#[test]
fn numbers_and_switches_are_taken_as_text_and_unknown_keys_are_named() {
    let world = World::new();
    let mut plugin = world.installation.start();
    plugin.install().data();
    let answer = plugin.save(&json!({
        "id": "", "ldapType": "OpenLDAP", "serverName": "ldap.example.test", "serverPort": "389", "useTLS": "1",
        "administrativeLogin": "cn=pbx", "administrativePasswordHidden": "pass-Word", "baseDN": "dc=example,dc=test",
        "userFilter": "(objectClass=inetOrgPerson)", "userNameAttribute": "cn", "userExtensionAttribute": "telephoneNumber",
        "userMobileAttribute": "mobile", "userEmailAttribute": "mail", "updateAttributes": "on", "autosync": "true",
        "colourOfTheRoom": "green",
    }));
    let saved = answer.data().clone();
    assert!(answer.information().contains("colourOfTheRoom"), "{}", answer.body);
    assert_eq!(saved["serverPort"], json!(389));
    assert_eq!(saved["security"], json!("starttls"));
    assert_eq!((&saved["updateAttributes"], &saved["autosync"]), (&json!(true), &json!(true)));
    for body in
        [saved.to_string(), plugin.request("get-servers", json!({})).body.to_string(), world.installation.log_text()]
    {
        assert!(!body.contains("pass-Word"), "a password came back: {body}");
    }
    let stored = std::fs::read(world.module_database()).expect("the module's database");
    assert!(!stored.windows(9).any(|window| window == b"pass-Word"), "the password stands in the clear in module.db");
}

#[test]
fn every_action_that_is_offered_is_served() {
    let world = World::new();
    let mut plugin = world.installation.start();
    plugin.install().data();
    let offered: Vec<String> = plugin
        .request("get-actions", json!({}))
        .list()
        .iter()
        .filter_map(|name| name.as_str().map(str::to_owned))
        .collect();
    let expected = [
        "get-actions",
        "get-servers",
        "get-server",
        "delete-server",
        "set-autosync",
        "test-connection",
        "get-available-ldap-users",
        "preview-sync",
        "sync-ldap-users",
        "get-server-conflicts",
        "delete-server-conflict",
        "delete-server-conflicts",
        "get-status",
        "get-people",
        "get-runs",
        "get-run",
        "cancel-run",
    ];
    for action in expected {
        assert!(offered.iter().any(|name| name == action), "{action} is not offered: {offered:?}");
    }
    for action in &offered {
        let answer =
            plugin.request(action, json!({"id": "4711", "runId": "4711", "recordId": "4711", "autosync": true}));
        assert!([0, 1, 5].contains(&answer.status), "{action} answers {}: {}", answer.status, answer.body);
        assert!(!answer.errors().contains("unknown action"), "{action}: {}", answer.errors());
    }
}

/// Compiles a C file against the committed header, with every warning an error.
fn compile(source: &Path, into: &Path) -> PathBuf {
    let program = into.join(source.file_stem().expect("a C file has a name"));
    let mut compiler = Command::new("cc");
    compiler.args(["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-g", "-I"]).arg(root().join("include"));
    let libraries = built().library.parent().expect("a library stands in a directory");
    compiler.arg(source).arg("-o").arg(&program).arg("-L").arg(libraries).args([
        "-ldl",
        "-lpthread",
        "-Wl,--as-needed",
    ]);
    compiler.arg("-lmodule_ldap_sync");
    run(&mut compiler);
    program
}
