//! Looking around in a directory before anything is saved: units with their people, attributes with samples, photos.

use crate::support::directory::Directory;
use crate::support::people::crowd;
use crate::support::servers::{samba, slapd};
use crate::support::world::{World, sync};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

const PEOPLE: usize = 60;
/// People the schema is told of. Which ones is the server's choice: Samba goes by their random objectGUIDs.
const LOOKED_AT: usize = 50;

#[test]
fn units_attributes_and_photos_of_openldap() {
    let Some(server) = slapd::start(&crowd(PEOPLE)) else { return };
    check(&server, "none");
}

#[test]
fn units_attributes_and_photos_of_active_directory() {
    let Some(server) = samba::start(&crowd(PEOPLE), &samba::Options::default()) else { return };
    check(&server, "ldaps");
}

fn check(server: &Directory, security: &str) {
    let world = World::new();
    let mut plugin = world.installation.start();
    plugin.install().data();
    let mut settings = server.settings(security);
    settings["attributes"]["userPasswordAttribute"] = json!("employeeNumber");
    // One more than may be left out.
    for person in &crowd(PEOPLE)[..=PEOPLE - LOOKED_AT] {
        server.set(&person.login, "employeeNumber", "Kj8sHd72LmQp4Xz9Vb3T");
    }

    let below = server.add_unit("Вторая линия");
    server.move_to(&crowd(PEOPLE)[3].login, &below);
    let tree = plugin.request("get-directory-tree", settings.clone()).data().clone();
    let units = tree["units"].as_array().expect("units");
    assert_eq!(units[0]["dn"], settings["baseDN"], "{tree}");
    let named = |name: &str| -> &Value {
        units.iter().find(|unit| unit["name"] == json!(name)).unwrap_or_else(|| panic!("{name} is not in {tree}"))
    };
    assert_eq!(named("Вторая линия")["people"], json!(1));
    let own = units.iter().find(|unit| unit["dn"].as_str().is_some_and(|dn| dn.eq_ignore_ascii_case(&server.people)));
    assert_eq!(own.expect("the unit of the people")["people"], json!(PEOPLE - 1), "{tree}");
    let inside: i64 = units.iter().map(|unit| unit["people"].as_i64().expect("a count")).sum();
    assert_eq!((tree["people"].as_i64(), &tree["cut"]), (Some(inside), &json!(false)));
    for (at, unit) in units.iter().enumerate().skip(1) {
        let parent = unit["parent"].as_str().expect("a DN").to_lowercase();
        let before = units[..at].iter().any(|unit| unit["dn"].as_str().is_some_and(|dn| dn.to_lowercase() == parent));
        assert!(before, "{unit} stands before its parent in {tree}");
    }

    let schema = plugin.request("get-directory-schema", settings.clone()).data().clone();
    assert_eq!(schema["people"], json!(LOOKED_AT));
    let attributes = schema["attributes"].as_array().expect("attributes");
    let named = |name: &str| -> &Value {
        attributes
            .iter()
            .find(|row| row["name"] == json!(name))
            .unwrap_or_else(|| panic!("{name} is not in the schema"))
    };
    assert_eq!(named("mail")["filled"], json!(LOOKED_AT));
    assert!(named("mail")["sample"].as_str().is_some_and(|sample| sample.ends_with("@example.test")));
    assert_eq!(named("facsimileTelephoneNumber")["filled"], json!(0));
    assert_eq!(named("employeeNumber")["sample"], json!(""));
    assert!(
        named("employeeNumber")["filled"].as_u64().is_some_and(|filled| filled > 0),
        "nobody with a secret was seen"
    );
    assert!(!schema.to_string().contains("Kj8sHd72"), "a SIP secret");
    assert_eq!(named(server.kind.photo_attribute())["sample"], json!(""), "no text");
    let filled: Vec<i64> = attributes.iter().filter_map(|row| row["filled"].as_i64()).collect();
    assert!(filled.is_sorted_by(|a, b| a >= b), "the most frequent first");
    assert!(!schema.to_string().contains(&server.service.1), "a password");

    settings["userFilter"] = json!("(broken");
    let refused = plugin.request("get-directory-tree", settings.clone());
    assert!(refused.errors().contains("userFilter"), "{}", refused.body);
    settings["userFilter"] = server.settings(security)["userFilter"].clone();
    settings["attributes"]["userPasswordAttribute"] = json!("");
    photos(world, &mut plugin, &settings);
}

/// The photo of somebody who is only in the directory, then of an employee.
fn photos(world: World, plugin: &mut crate::support::host::Plugin, settings: &Value) {
    let id = plugin.save_server(settings);
    let found = plugin.request("get-available-ldap-users", json!({"id": id})).list().to_vec();
    let of = |login: &str| -> Value {
        let mail = json!(format!("{login}@example.test"));
        found.iter().find(|person| person["email"] == mail).expect("a person")["directoryId"].clone()
    };
    let (with, without) = (of("person00010"), of("person00011"));
    for linked in [false, true] {
        if linked {
            sync(plugin, &id);
        }
        let photo = plugin.request("get-photo", json!({"id": id, "directoryId": with})).data().clone();
        let bytes = STANDARD.decode(photo["base64"].as_str().expect("a photo")).expect("base64");
        assert!(bytes.starts_with(b"\xff\xd8\xff") && bytes.len() < 20_000, "{} bytes, linked: {linked}", bytes.len());
        assert_eq!(photo["bytes"], json!(bytes.len()));
        let none = plugin.request("get-photo", json!({"id": id, "directoryId": without}));
        assert_eq!(none.data(), &Value::Null, "linked: {linked}");
    }
    assert!(!world.installation.log_text().contains("/9j/"), "a photo in the log");
}

#[test]
fn where_nobody_answers_the_error_names_the_server() {
    let world = World::new();
    let mut plugin = world.installation.start();
    plugin.install().data();
    let settings = json!({"ldapType": "OpenLDAP", "serverName": "127.0.0.1", "serverPort": 1, "security": "none",
        "administrativeLogin": "cn=a", "administrativePassword": "b", "baseDN": "dc=example,dc=test"});
    for action in ["get-directory-tree", "get-directory-schema"] {
        let answer = plugin.request(action, settings.clone());
        assert_eq!(answer.status, 7, "{}", answer.body);
        assert!(answer.errors().contains("127.0.0.1:1"), "{}", answer.errors());
    }
}
