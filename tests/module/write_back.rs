//! Values on their way to the directory: rights that are missing, and people who are faster.

use std::time::Duration;

use crate::support::in_step::InStep;
use crate::support::people::crowd;
use crate::support::servers::slapd;
use crate::support::wait_until;
use crate::support::world::{World, row, sync};
use serde_json::json;

#[test]
fn a_missing_right_is_a_conflict_that_names_the_attribute_and_stays_until_it_is_given() {
    // The login may write the number, the mobile and the e-mail address, and not the name.
    let Some(both) = InStep::make(6, "none") else { return };
    let InStep { world, server, mut plugin, id, people } = both;
    let user = world.pbx().employee_named(&people[0].name).user_id;
    world.pbx().rename(user, "Renamed Here");
    world.pbx().set_mobile(user, "79261112233");
    for turn in 1..=2 {
        let answer = sync(&mut plugin, &id);
        assert_eq!(server.values(&people[0].login, "mobile"), ["+79261112233"], "the rest goes through");
        assert_eq!(server.values(&people[0].login, "displayName"), [people[0].name.clone()]);
        let person = row(answer.list(), "Renamed Here");
        assert_eq!(person["usersSyncResult"], json!("CONFLICT"), "{person}");
        let conflicts = plugin.request("get-server-conflicts", json!({"id": id}));
        let conflict = &conflicts.list()[0];
        assert_eq!((conflict["cause"].as_str(), conflict["count"].as_i64()), (Some("no-rights"), Some(turn)));
        assert!(conflict["reason"].to_string().contains("displayName"), "{conflict}");
        assert_eq!(conflicts.list().len(), 1);
    }
    // Dropped by decision: the PBX takes the directory's name.
    let conflict = plugin.request("get-server-conflicts", json!({"id": id})).list()[0].clone();
    plugin.request("resolve-conflict", json!({"recordId": conflict["id"], "choice": "directory"})).data();
    sync(&mut plugin, &id);
    assert_eq!(world.pbx().employee(user).name, people[0].name);
    assert!(plugin.request("get-server-conflicts", json!({"id": id})).list().is_empty());
    world.assert_rows_are_mikopbx(112);
}

#[test]
fn somebody_who_edits_the_directory_between_our_read_and_our_write_is_not_overwritten() {
    let Some(both) = InStep::make(6, "none") else { return };
    let InStep { world, server, mut plugin, id, people } = both;
    let user = world.pbx().employee_named(&people[0].name).user_id;
    world.pbx().set_mobile(user, "79261112233");
    // A change for the PBX too, so that the run has to wait for its database, which somebody holds.
    server.set(&people[1].login, "displayName", "Renamed There");
    world.installation.forget();
    let connection = rusqlite::Connection::open(&world.pbx().database).expect("the PBX's database");
    connection.execute_batch("begin immediate").expect("the lock");
    plugin.send(&json!({"hook": "request", "action": "sync-ldap-users", "body": {"id": id}}));
    let planned = || world.installation.log_text().contains("PBX: ");
    assert!(wait_until(Duration::from_secs(20), planned), "the run has read both sides");
    server.set(&people[0].login, "mobile", "+7 926 999-99-99");
    connection.execute_batch("rollback").expect("the lock is released");
    let answer = plugin.answer();
    assert_eq!(server.values(&people[0].login, "mobile"), ["+7 926 999-99-99"], "the human's edit survives");
    let person = row(answer.list(), &people[0].name);
    assert!(person["notes"].to_string().contains("meanwhile"), "{person}");
    assert_eq!(world.pbx().employee_named("Renamed There").name, "Renamed There");
    // Now both sides have changed, and it is not known which edit is newer: nothing is lost.
    sync(&mut plugin, &id);
    let conflicts = plugin.request("get-server-conflicts", json!({"id": id}));
    assert_eq!(conflicts.list()[0]["cause"], json!("both-changed"), "{}", conflicts.body);
    assert_eq!(world.pbx().employee(user).mobile, "79261112233");
}

#[test]
fn a_pbx_restored_from_yesterdays_copy_overwrites_nothing_in_the_directory() {
    let people = crowd(8);
    let Some(server) = slapd::start(&people[..7]) else { return };
    let world = World::new();
    let (mut plugin, id) = world.install(&server.settings("none"));
    sync(&mut plugin, &id);
    let user = world.pbx().employee_named(&people[0].name).user_id;
    let yesterday = std::fs::read(&world.pbx().database).expect("a copy");

    server.set(&people[0].login, "mail", "today@directory.test");
    world.pbx().set_mobile(user, "79261112233");
    server.add(&crate::support::people::ldif(&people[7..], server.kind, &server.people));
    sync(&mut plugin, &id);
    assert_eq!(server.values(&people[0].login, "mobile"), ["+79261112233"]);

    for side in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{side}", world.pbx().database.display()));
    }
    std::fs::write(&world.pbx().database, yesterday).expect("the copy is put back");
    let before = world.sides(&server);
    let mut plugin = world.installation.start();
    sync(&mut plugin, &id);
    world.assert_unchanged(&server, &before, "the run after the restore");
    let conflicts = plugin.request("get-server-conflicts", json!({"id": id}));
    let causes = |cause: &str| conflicts.list().iter().filter(|row| row["cause"] == json!(cause)).count();
    assert_eq!((causes("both-changed"), causes("employee-deleted")), (2, 1), "{}", conflicts.body);

    // The administrator lets the directory stand, and has the missing employee made again.
    for conflict in conflicts.list().to_vec() {
        let choice = if conflict["cause"] == json!("employee-deleted") { "create" } else { "directory" };
        plugin.request("resolve-conflict", json!({"recordId": conflict["id"], "choice": choice})).data();
    }
    sync(&mut plugin, &id);
    assert!(plugin.request("get-server-conflicts", json!({"id": id})).list().is_empty());
    let employee = world.pbx().employee(user);
    assert_eq!((employee.email.as_str(), employee.mobile.as_str()), ("today@directory.test", "79261112233"));
    assert_eq!(world.pbx().employee_named(&people[7].name).email, people[7].mail);
    world.assert_rows_are_mikopbx(112);
    let after = world.sides(&server);
    sync(&mut plugin, &id);
    world.assert_unchanged(&server, &after, "the run after all that");
}
