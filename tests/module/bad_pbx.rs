//! PBX databases and module directories that cannot be used: the message names the file and what to do, and both sides
//! stay as they were.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::host::Plugin;
use crate::support::people::crowd;
use crate::support::servers::slapd::{self, Slapd};
use crate::support::world::{Sides, World, count, sync};
use rusqlite::Connection;
use serde_json::{Value, json};

/// Status of a database that cannot be used.
const DATABASE: i64 = 6;

/// An installed module that never ran, and its directory.
struct Scene {
    world: World,
    server: Slapd,
    id: Value,
    before: Sides,
}

impl Scene {
    fn make() -> Option<Scene> {
        let server = slapd::start(&crowd(6))?;
        let world = World::new();
        let (mut plugin, id) = world.install(&server.settings("none"));
        plugin.stop();
        let before = world.sides(&server);
        Some(Scene { world, server, id, before })
    }

    /// Preview and synchronisation fail with `words` in the message.
    fn fails(&self, plugin: &mut Plugin, words: &[&str]) {
        for action in ["preview-sync", "sync-ldap-users"] {
            self.fails_in(plugin, action, words);
        }
    }

    fn fails_in(&self, plugin: &mut Plugin, action: &str, words: &[&str]) {
        let answer = plugin.request(action, json!({"id": self.id}));
        assert_eq!(answer.status, DATABASE, "{action}: {}", answer.body);
        for word in words {
            assert!(answer.errors().contains(word), "{action} does not say {word:?}: {}", answer.errors());
        }
    }

    fn database(&self) -> &Path {
        &self.world.pbx().database
    }

    fn unchanged(&self, what: &str) {
        self.world.assert_unchanged(&self.server, &self.before, what);
        assert_eq!(self.world.installation.announced(), [], "{what}");
    }
}

#[test]
fn the_database_is_missing() {
    let Some(scene) = Scene::make() else { return };
    let away = scene.world.path().join("away.db");
    fs::rename(scene.database(), &away).expect("a file can be moved");
    let mut plugin = scene.world.installation.start();
    scene.fails(&mut plugin, &["mikopbx.db"]);
    assert!(!scene.database().exists(), "a missing database is not made");
    fs::rename(&away, scene.database()).expect("a file can be moved back");
    scene.unchanged("a missing database");
    assert_eq!(count(sync(&mut plugin, &scene.id).list(), "UPDATED"), 6, "it works again without a restart");
}

#[test]
fn the_database_is_none() {
    for content in [
        &b""[..],
        b"This is not a database, and it is longer than a header of SQLite's, which has 100 bytes in all, you see.",
    ] {
        let Some(scene) = Scene::make() else { return };
        let away = scene.world.path().join("away.db");
        fs::rename(scene.database(), &away).expect("a file can be moved");
        fs::write(scene.database(), content).expect("a file");
        let mut plugin = scene.world.installation.start();
        scene.fails(&mut plugin, &["mikopbx.db"]);
        assert_eq!(fs::read(scene.database()).expect("the file"), content, "the file is left as it was");
        fs::rename(&away, scene.database()).expect("a file can be moved back");
        scene.unchanged("a file that is no database");
    }
}

#[test]
fn the_database_is_of_something_else() {
    let Some(scene) = Scene::make() else { return };
    scene.world.pbx().execute("alter table m_Sip rename to m_Sip_of_another_time", &[]);
    let mut plugin = scene.world.installation.start();
    scene.fails(&mut plugin, &["mikopbx.db", "m_Sip"]);
    scene.world.pbx().execute("alter table m_Sip_of_another_time rename to m_Sip", &[]);
    scene.unchanged("a database without a table");
}

#[test]
fn an_older_database_is_written_in_its_own_shape() {
    let Some(scene) = Scene::make() else { return };
    for column in ["cid_source", "cid_custom_header", "did_source", "cid_did_debug"] {
        scene.world.pbx().execute(&format!("alter table m_Sip drop column {column}"), &[]);
    }
    scene.world.pbx().execute("alter table m_Sip add column receive_calls_without_auth VARCHAR(0)", &[]);
    let mut plugin = scene.world.installation.start();
    assert_eq!(count(sync(&mut plugin, &scene.id).list(), "UPDATED"), 6);
    scene.world.assert_rows_are_mikopbx(112);
}

#[test]
fn the_database_is_locked_for_longer_than_we_wait() {
    let Some(scene) = Scene::make() else { return };
    let mut plugin = scene.world.installation.start();
    let holder = Connection::open(scene.database()).expect("the PBX's database");
    holder.execute_batch("begin immediate").expect("the PBX's own write lock");
    let start = Instant::now();
    scene.fails_in(&mut plugin, "sync-ldap-users", &["mikopbx.db", "lock"]);
    let waited = start.elapsed();
    assert!((Duration::from_secs(8)..Duration::from_secs(40)).contains(&waited), "waited {waited:?}, not about 10 s");
    holder.execute_batch("rollback").expect("the lock is given back");
    scene.unchanged("a locked database");
    assert_eq!(count(sync(&mut plugin, &scene.id).list(), "UPDATED"), 6, "it works again without a restart");
    scene.world.assert_rows_are_mikopbx(112);
}

#[test]
fn a_short_lock_is_waited_for() {
    let Some(scene) = Scene::make() else { return };
    let mut plugin = scene.world.installation.start();
    let database = scene.database().to_owned();
    let holder = std::thread::spawn(move || {
        let holder = Connection::open(database).expect("the PBX's database");
        holder.execute_batch("begin immediate").expect("the PBX's own write lock");
        crate::support::pause(2_000);
        holder.execute_batch("rollback").expect("the lock is given back");
    });
    crate::support::pause(200);
    assert_eq!(count(sync(&mut plugin, &scene.id).list(), "UPDATED"), 6);
    holder.join().expect("the other writer");
    scene.world.assert_rows_are_mikopbx(112);
}

#[test]
fn the_database_is_read_only() {
    let Some(scene) = Scene::make() else { return };
    permit(scene.database(), 0o444);
    let mut plugin = scene.world.installation.start_bound_by_permissions();
    scene.fails_in(&mut plugin, "sync-ldap-users", &["mikopbx.db", "read-only"]);
    permit(scene.database(), 0o644);
    scene.unchanged("a database that is read-only");
}

#[test]
fn no_number_is_left() {
    let Some(scene) = Scene::make() else { return };
    let mut settings = scene.server.settings("none");
    settings["id"] = scene.id.clone();
    // 201 is an employee's already.
    (settings["numberFrom"], settings["numberTo"]) = (json!("201"), json!("201"));
    let mut plugin = scene.world.installation.start();
    plugin.save_server(&settings);
    let answer = sync(&mut plugin, &scene.id);
    assert_eq!(count(answer.list(), "CONFLICT"), 6, "{}", answer.body);
    for row in answer.list() {
        assert!(row["reason"].as_str().is_some_and(|reason| reason.contains("number")), "{row}");
    }
    scene.unchanged("a pool without a free number");
}

#[test]
fn the_modules_directory_cannot_be_written() {
    let world = World::new();
    permit(&world.installation.module, 0o555);
    let before = world.pbx().dump();
    let mut plugin = world.installation.start_bound_by_permissions();
    let answer = plugin.install();
    permit(&world.installation.module, 0o755);
    assert_eq!(answer.status, DATABASE, "{}", answer.body);
    assert!(answer.errors().contains("ModuleLdapSync"), "the directory is not named: {}", answer.errors());
    crate::support::world::assert_pbx_unchanged(
        &before,
        &world.pbx().dump(),
        "a module directory that cannot be written",
    );
}

#[test]
fn the_modules_database_is_of_a_newer_version() {
    let Some(scene) = Scene::make() else { return };
    let connection = Connection::open(scene.world.module_database()).expect("the module's database");
    connection.pragma_update(None, "user_version", 9_999).expect("a version of the future");
    drop(connection);
    let stored = fs::read(scene.world.module_database()).expect("the module's database");
    let mut plugin = scene.world.installation.start();
    for answer in [plugin.install(), plugin.request("sync-ldap-users", json!({"id": scene.id})), plugin.tick()] {
        assert_eq!(answer.status, DATABASE, "{}", answer.body);
        assert!(answer.errors().contains("newer"), "{}", answer.errors());
    }
    plugin.stop();
    assert_eq!(fs::read(scene.world.module_database()).expect("the module's database"), stored, "it is left as it was");
    scene.unchanged("a module database of the future");
}

#[test]
fn the_modules_secrets_are_its_owners() {
    let Some(scene) = Scene::make() else { return };
    let mode = |name: &str| {
        let file = scene.world.installation.module.join("db").join(name);
        fs::metadata(file).expect("a file of the module").permissions().mode() & 0o777
    };
    assert_eq!(mode("secret.key"), 0o600);
    permit(&scene.world.installation.module.join("db/secret.key"), 0o644);
    let mut plugin = scene.world.installation.start();
    plugin.request("get-servers", json!({})).data();
    assert_eq!(mode("secret.key"), 0o600, "what the PBX loosens at boot is tightened again");
}

fn permit(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("the owner may set the mode");
}
