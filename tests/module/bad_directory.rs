//! Directories that cannot be used: the message names what is wrong, and both sides stay as they were.

use crate::support::directory::Directory;
use crate::support::host::Answer;
use crate::support::people::crowd;
use crate::support::proxy::{self, Then};
use crate::support::servers::samba;
use crate::support::servers::slapd::{self, Options};
use crate::support::world::{World, sync};
use crate::support::{free_port, root};
use serde_json::{Value, json};

/// Status of a directory that cannot be used.
const DIRECTORY: i64 = 7;
/// Status of settings that cannot be right.
const INVALID_ARGUMENT: i64 = 1;

#[test]
fn settings_that_lead_nowhere() {
    let Some(server) = slapd::start(&crowd(10)) else { return };
    let nobody = free_port();
    let stranger = tempfile::tempdir().expect("a temporary directory");
    let other = crate::support::servers::tls::make(stranger.path(), "IP:127.0.0.1");
    let other = std::fs::read_to_string(other.ca).expect("another authority");
    let (plain, tls) = (server.port, server.tls_port);

    let closed = format!("127.0.0.1:{nobody}");
    check(&server, "none", json!({"serverPort": nobody}), &[&closed]);
    check(
        &server,
        "none",
        json!({"serverName": "no-such-host.invalid", "allowPlain": true}),
        &["no-such-host.invalid"],
    );
    check(&server, "ldaps", json!({"serverPort": plain}), &[&format!("127.0.0.1:{plain}"), "TLS"]);
    check(&server, "none", json!({"serverPort": tls}), &[&format!("127.0.0.1:{tls}")]);
    check(&server, "starttls", json!({"serverPort": tls}), &[&format!("127.0.0.1:{tls}")]);
    check(&server, "ldaps", json!({"caCertificate": other}), &["certificate", "authority"]);
    check(&server, "ldaps", json!({"caCertificate": "not a certificate"}), &["certificate"]);
    check(&server, "none", json!({"administrativePassword": "wrong-Passw0rd"}), &["password"]);
    check(&server, "none", json!({"administrativeLogin": "cn=nobody,dc=example,dc=test"}), &["cn=nobody"]);
    check(
        &server,
        "none",
        json!({"baseDN": "dc=nowhere,dc=test", "organizationalUnit": ""}),
        &["base DN", "dc=nowhere"],
    );
    check(&server, "none", json!({"organizationalUnit": "ou=nowhere,dc=example,dc=test"}), &["ou=nowhere"]);
    check(&server, "none", json!({"userFilter": "(&(objectClass=person"}), &["filter"]);
    check(&server, "none", json!({"userFilter": "objectClass="}), &["filter"]);
}

#[test]
fn a_certificate_for_another_host() {
    let options = Options { names: "DNS:other.example.test", ..Options::default() };
    let Some(server) = slapd::start_with(&crowd(10), &options) else { return };
    check(&server, "ldaps", json!({}), &["certificate", "127.0.0.1", "other.example.test"]);
    check(&server, "starttls", json!({}), &["certificate", "127.0.0.1"]);
}

#[test]
fn a_password_over_an_open_network_needs_permission() {
    let Some(server) = slapd::start(&crowd(2)) else { return };
    check(&server, "none", json!({"serverName": "192.0.2.1"}), &["plain"]);
}

#[test]
fn a_server_that_gives_only_a_part() {
    let Some(server) = slapd::start_with(&crowd(120), &Options { size_limit: 50, ..Options::default() }) else {
        return;
    };
    check(&server, "none", json!({}), &["limit"]);
}

#[test]
fn a_server_that_dies_in_the_middle_of_a_search() {
    let Some(server) = slapd::start(&crowd(200)) else { return };
    let port = proxy::start((server.host.clone(), server.port), 20_000, Then::Close);
    check(&server, "none", json!({"serverPort": port}), &[&format!("127.0.0.1:{port}"), "closed"]);
}

#[test]
fn a_server_that_stalls_in_the_middle_of_a_search() {
    let Some(server) = slapd::start(&crowd(200)) else { return };
    let port = proxy::start((server.host.clone(), server.port), 20_000, Then::Stall);
    check(&server, "none", json!({"serverPort": port}), &[&format!("127.0.0.1:{port}"), "within 30 s"]);
}

#[test]
fn a_server_that_never_says_a_word() {
    let Some(server) = slapd::start(&crowd(2)) else { return };
    let port = proxy::silent();
    check(&server, "ldaps", json!({"serverPort": port}), &[&format!("127.0.0.1:{port}")]);
    check(&server, "none", json!({"serverPort": port}), &[&format!("127.0.0.1:{port}")]);
}

#[test]
fn active_directory_takes_no_password_without_encryption() {
    let Some(server) = samba::start(&crowd(2), &samba::Options::default()) else { return };
    check(&server, "none", json!({}), &["encrypt"]);
}

#[test]
fn a_server_that_goes_away_takes_nobody_off() {
    let people = crowd(30);
    let Some(server) = slapd::start(&people) else { return };
    let world = World::new();
    let mut settings = server.settings("none");
    let (mut plugin, id) = world.install(&settings);
    sync(&mut plugin, &id);
    let before = world.sides(&server);
    settings["id"] = id.clone();
    for (what, port, filter) in [
        ("a server that is down", free_port(), "(objectClass=inetOrgPerson)"),
        (
            "half an answer",
            proxy::start((server.host.clone(), server.port), 9_000, Then::Close),
            "(objectClass=inetOrgPerson)",
        ),
        ("an answer of nobody", server.port, "(objectClass=nobodyAtAll)"),
    ] {
        settings["serverPort"] = json!(port);
        settings["userFilter"] = json!(filter);
        plugin.save_server(&settings);
        let answer = plugin.request("sync-ldap-users", json!({"id": id}));
        world.assert_unchanged(&server, &before, what);
        let departed = plugin.request("preview-sync", json!({"id": id}));
        assert!(departed.body["data"]["departures"].as_array().is_none_or(Vec::is_empty), "{what}: {}", departed.body);
        assert!(answer.status != 0 || answer.body.to_string().contains("nobody"), "{what}: {}", answer.body);
    }
    settings["serverPort"] = json!(server.port);
    settings["userFilter"] = json!("(objectClass=inetOrgPerson)");
    plugin.save_server(&settings);
    sync(&mut plugin, &id);
    world.assert_unchanged(&server, &before, "the server's return");
}

#[test]
fn the_second_host_of_a_list_is_used_when_the_first_is_down() {
    let Some(server) = slapd::start(&crowd(3)) else { return };
    let world = World::new();
    let mut settings = server.settings("none");
    settings["serverName"] = json!("127.0.0.99, 127.0.0.1");
    let (mut plugin, id) = world.install(&settings);
    assert_eq!(sync(&mut plugin, &id).list().len(), 3);
}

#[test]
fn a_licence_is_no_certificate() {
    let text = std::fs::read_to_string(root().join("LICENSE")).expect("the licence");
    let world = World::new();
    let mut plugin = world.installation.start();
    plugin.install().data();
    let answer = plugin.save(&json!({"id": null, "ldapType": "OpenLDAP", "serverName": "h", "serverPort": 636,
        "security": "ldaps", "caCertificate": text, "administrativeLogin": "cn=a", "administrativePassword": "b",
        "baseDN": "dc=example,dc=test", "userFilter": "(uid=*)", "attributes": {"userNameAttribute": "cn"}}));
    assert_eq!(answer.status, INVALID_ARGUMENT, "{}", answer.body);
    assert!(answer.errors().contains("caCertificate"), "{}", answer.errors());
}

/// Saves the server's settings with `changes`; then saving, the test of the connection, the preview and the
/// synchronisation must fail with all of `words` in the message, and nothing may change.
fn check(server: &Directory, security: &str, changes: Value, words: &[&str]) {
    let world = World::new();
    let before = world.sides(server);
    let mut settings = server.settings(security);
    for (key, value) in changes.as_object().expect("changes are an object") {
        settings[key] = value.clone();
    }
    let mut plugin = world.installation.start();
    plugin.install().data();
    let saved = plugin.save(&settings);
    if saved.status == 0 {
        let id = saved.data()["id"].clone();
        for action in ["preview-sync", "sync-ldap-users"] {
            let answer = plugin.request(action, json!({"id": id}));
            assert_eq!(answer.status, DIRECTORY, "{action} with {changes}: {}", answer.body);
            assert_says(&answer, words, &format!("{action} with {changes}"));
        }
        let tested = plugin.request("test-connection", settings).body.to_string();
        let said = words.iter().all(|word| tested.to_lowercase().contains(&word.to_lowercase()));
        assert!(said, "test-connection with {changes} does not say {words:?}: {tested}");
    } else {
        assert_eq!(saved.status, INVALID_ARGUMENT, "{}", saved.body);
        assert_says(&saved, words, &format!("saving {changes}"));
    }
    world.assert_unchanged(server, &before, &format!("{changes}"));
    assert!(!world.installation.log_text().contains(&server.service.1), "the log holds the password");
}

fn assert_says(answer: &Answer, words: &[&str], when: &str) {
    let errors = answer.errors();
    for word in words {
        assert!(errors.to_lowercase().contains(&word.to_lowercase()), "{when} does not say {word:?}: {errors}");
    }
}
