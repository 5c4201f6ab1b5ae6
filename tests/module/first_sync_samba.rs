//! The first synchronisation with Active Directory, as Samba speaks it: over ldaps, as an account that may read, and
//! write nothing but the number.

use crate::support::first_sync::{Fate, awkward_people, many, only_people, tell};
use crate::support::people::{Someone, crowd};
use crate::support::servers::samba::{self, Options};
use crate::support::world::{World, assert_pbx_unchanged, preview};
use serde_json::json;

#[test]
fn awkward_people_become_employees() {
    let world = World::new();
    let people: Vec<(Someone, Fate)> = awkward_people(world.pbx());
    let Some(server) = samba::start(&only_people(&people), &Options::default()) else { return };
    assert!(server.service_may_not_write("anna", "mobile"), "the account has more rights than it needs");
    tell(&world, &server, &people, "ldaps");
}

#[test]
fn eleven_hundred_people_become_employees() {
    let world = World::new();
    world.pbx().set_setting("PBXInternalExtensionLength", "4");
    let people = crowd(1100);
    let Some(server) = samba::start(&people, &Options::default()) else { return };
    many(&world, &server, &people, "ldaps", 3000, 4999);
}

#[test]
fn switched_off_accounts_and_system_accounts_are_left_out() {
    let world = World::new();
    let people = [crowd(3), vec![Someone::new("gone", "Gone Away").mail("gone@example.test").switched_off()]].concat();
    let Some(server) = samba::start(&people, &Options::default()) else { return };
    let mut settings = server.settings("ldaps");
    // The whole domain, with Guest, krbtgt and the plugin's own account in CN=Users.
    settings["organizationalUnit"] = json!("");
    let (mut plugin, id) = world.install(&settings);
    let plan = preview(&mut plugin, &id);
    let created: Vec<&str> = plan["people"]
        .as_array()
        .expect("a preview lists people")
        .iter()
        .filter(|person| person["action"] == json!("create"))
        .filter_map(|person| person["name"].as_str())
        .collect();
    for person in crowd(3) {
        assert!(created.contains(&person.name.as_str()), "{} is missing in {created:?}", person.name);
    }
    for name in ["Gone Away", "Guest", "krbtgt"] {
        assert!(!created.contains(&name), "{name} would become an employee: {created:?}");
    }
}

#[test]
fn a_plain_sign_in_is_refused_and_the_message_says_what_to_do() {
    let world = World::new();
    let Some(server) = samba::start(&crowd(2), &Options::default()) else { return };
    let (mut plugin, id) = world.install(&server.settings("none"));
    let before = world.pbx().dump();
    let refused = plugin.request("preview-sync", json!({"id": id}));
    assert_eq!(refused.status, 7, "{}", refused.body);
    let told = refused.errors().to_lowercase();
    assert!(told.contains("strong authentication required") && told.contains("ldaps"), "{told}");
    assert_pbx_unchanged(&before, &world.pbx().dump(), "a refused sign-in");
}

#[test]
fn a_certificate_without_names_is_shown_and_can_be_pinned() {
    let world = World::new();
    let Some(server) = samba::start(&crowd(2), &Options { own_certificate: true, ..Options::default() }) else {
        return;
    };
    let mut settings = server.settings("ldaps");
    let (mut plugin, id) = world.install(&settings);
    let refused = plugin.request("preview-sync", json!({"id": id}));
    assert_eq!(refused.status, 7, "{}", refused.body);
    assert!(refused.errors().contains("subjectAltName"), "{}", refused.errors());

    let shown = plugin.request("test-connection", settings.clone()).body.to_string();
    let fingerprint = shown.split(|character: char| !character.is_ascii_hexdigit()).find(|word| word.len() == 64);
    settings["pinnedCertificate"] =
        json!(fingerprint.unwrap_or_else(|| panic!("no SHA-256 of the certificate in {shown}")));
    let id = plugin.save_server(&settings);
    assert_eq!(preview(&mut plugin, &id)["counts"]["create"], json!(2));
}
