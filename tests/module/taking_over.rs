//! Installing over the PHP module: its servers, links and conflicts are taken over, its clear passwords wiped.

use std::fs;

use crate::support::people::crowd;
use crate::support::servers::slapd;
use crate::support::world::{World, sync};
use rusqlite::Connection;
use serde_json::{Value, json};

/// The tables as MikoPBX made them for the PHP module.
const TABLES: &str = "
    CREATE TABLE \"m_ModuleLdapSyncServers\" (`id` INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
        `serverName` VARCHAR(0) NOT NULL, `serverPort` VARCHAR(0) NOT NULL, `useTLS` VARCHAR(1) DEFAULT \"0\" NOT NULL,
        `administrativeLogin` VARCHAR(0) NOT NULL, `administrativePassword` VARCHAR(0) NOT NULL,
        `baseDN` VARCHAR(0) NOT NULL, `userFilter` VARCHAR(0) NULL, `ldapType` VARCHAR(0) NOT NULL,
        `attributes` VARCHAR(0) NOT NULL, `organizationalUnit` VARCHAR(0) NULL,
        `updateAttributes` VARCHAR(1) NOT NULL, `disabled` VARCHAR(1) NOT NULL);
    CREATE TABLE \"m_ModuleLdapSync\" (`id` INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL);
    CREATE TABLE \"m_ModuleLdapSync_Users\" (`id` INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
        `user_id` VARCHAR(0) NOT NULL, `server_id` VARCHAR(0) NOT NULL, `guid` VARCHAR(0) NOT NULL,
        `localParamsHash` VARCHAR(0) NULL, `domainParamsHash` VARCHAR(0) NULL, `disabled` VARCHAR(0) NULL);
    CREATE TABLE \"m_ModuleLdapSync_Conflicts\" (`id` INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
        `lastTime` VARCHAR(0) NULL, `errors` VARCHAR(0) NULL, `params` VARCHAR(0) NULL, `paramsHash` VARCHAR(0) NULL,
        `side` VARCHAR(0) NULL, `server_id` VARCHAR(0) NOT NULL);
";
const PASSWORD: &str = "pbx-Passw0rd";

#[test]
fn servers_links_and_conflicts_are_taken_over_once() {
    let people = crowd(5);
    let Some(server) = slapd::start(&people) else { return };
    let world = World::new();
    let attributes = json!({
        "userNameAttribute": "displayName", "userMobileAttribute": "mobile", "userExtensionAttribute": "telephoneNumber",
        "userEmailAttribute": "mail", "userAvatarAttribute": "jpegPhoto", "userAccountControl": "", "userDisabled": "x",
    });
    // Two people of the directory are employees 110 and 111 for the PHP module.
    let uuid = |at: usize| server.values(&people[at].login, "entryUUID").remove(0).to_uppercase();
    fs::create_dir_all(world.installation.module.join("db")).expect("the module's database directory");
    let old = Connection::open(world.module_database()).expect("a database");
    old.execute_batch(TABLES).expect("the PHP module's tables");
    old.execute(
        "insert into m_ModuleLdapSyncServers values (7, '127.0.0.1', ?1, '0', ?2, ?3, ?4,
            '(objectClass=inetOrgPerson)', 'OpenLDAP', ?5, '', '1', '0')",
        (server.port.to_string(), &server.service.0, PASSWORD, &server.base, attributes.to_string()),
    )
    .expect("a server");
    for (user, guid) in [("110", uuid(0)), ("111", uuid(1)), ("111", uuid(2)), ("", uuid(3))] {
        let sql =
            "insert into m_ModuleLdapSync_Users (user_id, server_id, guid, localParamsHash) values (?1, '7', ?2, 'x')";
        old.execute(sql, (user, guid)).expect("a link");
    }
    old.execute(
        "insert into m_ModuleLdapSync_Conflicts (lastTime, errors, params, side, server_id) values
            ('2026-01-01 10:00:00', '{\"save\":[\"number is taken\"]}',
             '{\"displayName\":\"Somebody\",\"sip_secret\":\"Secret-4711\"}', 'LDAP_UPDATE_CONFLICT', '7')",
        [],
    )
    .expect("a conflict");
    drop(old);

    let mut plugin = world.installation.start();
    let installed = plugin.install();
    assert_eq!(installed.data()["takenOver"][0]["links"], json!(2), "{}", installed.body);
    assert!(installed.information().contains("not encrypted"), "told that it is not safe: {}", installed.information());
    assert_eq!(plugin.install().data()["takenOver"], json!([]), "once");
    let files = fs::read_dir(world.installation.module.join("db")).expect("the files");
    for file in files.map(|file| file.expect("a file").path()).filter(|file| file.is_file()) {
        let bytes = fs::read(file).expect("a file");
        let text = String::from_utf8_lossy(&bytes).into_owned();
        assert!(!text.contains(PASSWORD), "the clear password is wiped");
    }
    let servers = plugin.request("get-servers", json!({}));
    let taken = &servers.list()[0];
    assert_eq!(
        (&taken["security"], &taken["updateAttributes"], &taken["autosync"]),
        (&json!("none"), &json!(true), &json!(true))
    );
    let id: Value = taken["id"].clone();
    let conflicts = plugin.request("get-server-conflicts", json!({"id": id}));
    let conflict = &conflicts.list()[0];
    assert_eq!((&conflict["cause"], &conflict["person"]), (&json!("taken-over"), &json!("Somebody")));
    assert!(!conflicts.body.to_string().contains("Secret-4711"));

    // The first run overwrites nobody: what differs waits, what is empty is filled.
    let before = world.pbx().employee(110);
    plugin.tick().data();
    assert_eq!(world.pbx().employee(110), before, "a tick makes no first run");
    sync(&mut plugin, &id);
    let after = world.pbx().employee(110);
    assert_eq!((&after.name, &after.number, &after.mobile), (&before.name, &before.number, &before.mobile));
    assert_eq!(after.email, people[0].mail, "an empty value is filled");
    assert_eq!(server.values(&people[0].login, "telephoneNumber"), std::slice::from_ref(&before.number));
    let conflicts = plugin.request("get-server-conflicts", json!({"id": id}));
    let about = |user: i64, field: &str| {
        conflicts.list().iter().any(|row| row["userId"] == json!(user) && row["field"] == json!(field))
    };
    assert!(about(110, "name") && about(110, "mobile") && about(111, "name"), "{}", conflicts.body);
    assert!(conflicts.list().iter().all(|row| row["cause"] != json!("taken-over")), "looked at anew");
    assert_eq!(world.pbx().employees().len(), 3 + 3, "those without a link become employees");
    world.assert_rows_are_mikopbx(112);
}
