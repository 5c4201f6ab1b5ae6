//! The life of the module in MikoPBX: its PHP on stand-ins of MikoPBX's classes, with the real package, the real host
//! program, the real library, a real directory, beanstalkd, Redis and a PBX's database.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::pbx::differences;
use crate::support::people::crowd;
use crate::support::php::{Php, is_alive, signal};
use crate::support::servers::pbx_services::{self, PbxServices};
use crate::support::servers::slapd::{self, Slapd};
use crate::support::world::World;
use crate::support::{have, root, run, run_unchecked, wait_until};
use rusqlite::Connection;
use serde_json::{Value, json};

const PEOPLE: usize = 6;
const EDITS: &str = "ModuleLdapSync-edits";
const EVENTS: &str = "MikoPBX-Core-Workers-WorkerModelsEvents";

/// A PBX with everything around it; the module is not unpacked yet.
struct Scene {
    php: Php,
    services: PbxServices,
    server: Slapd,
    world: World,
}

impl Scene {
    fn make() -> Option<Scene> {
        let services = pbx_services::start()?;
        let server = slapd::start(&crowd(PEOPLE))?;
        let world = World::new();
        let php = Php::new(&world, &services)?;
        Some(Scene { php, services, server, world })
    }

    /// Saves the directory's settings through the REST interface; answers the server's id.
    fn save(&self) -> Value {
        self.php.rest("config-save", &self.server.settings("none")).data()["id"].clone()
    }

    /// Makes the server due, as time would.
    fn make_due(&self) {
        let module = Connection::open(self.world.module_database()).expect("module.db");
        module.execute("UPDATE servers SET next_run = 0", []).expect("the servers");
    }

    /// When the edits the library knows of were made, Unix time in milliseconds.
    fn edits_made(&self) -> Vec<i64> {
        let module = Connection::open(self.world.module_database()).expect("module.db");
        let mut edits = module.prepare("SELECT made FROM pbx_edits").expect("the table");
        let made = edits.query_map([], |row| row.get(0)).expect("the edits");
        made.collect::<Result<_, _>>().expect("times")
    }

    fn key_mode(&self, directory: &Path) -> u32 {
        fs::metadata(directory.join("secret.key")).expect("the key").permissions().mode() & 0o777
    }
}

#[test]
fn every_php_file_is_valid() {
    if !have("PHP", &["php"], false) {
        return;
    }
    let mut files = Vec::new();
    for directory in ["mikopbx", "tests/php"] {
        php_files(&root().join(directory), &mut files);
    }
    assert!(files.len() > 10, "only {} files: {files:?}", files.len());
    for file in files {
        let output = run_unchecked(Command::new("php").args(["-d", "error_reporting=-1", "-l"]).arg(&file), "");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.starts_with("No syntax errors"), "{}: {text}", file.display());
    }
}

fn php_files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            php_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "php") {
            found.push(path);
        }
    }
}

#[test]
fn an_installed_module_leaves_the_pbxs_own_two_rows_and_synchronises() {
    let Some(scene) = Scene::make() else { return };
    let before = scene.world.pbx().dump();
    scene.php.install();
    let changed = differences(&before, &scene.world.pbx().dump());
    let tables: Vec<&str> = changed.iter().map(|difference| difference.table.as_str()).collect();
    assert!(tables.iter().all(|table| ["m_PbxExtensionModules", "m_PbxSettings"].contains(table)), "{changed:?}");
    let value = |column: &str| {
        let found = changed.iter().find(|difference| difference.column == column);
        found.and_then(|difference| difference.new.clone()).unwrap_or_else(|| panic!("no {column} in {changed:?}"))
    };
    assert_eq!(value("uniqid"), "text:ModuleLdapSync");
    assert_eq!(value("version"), format!("text:{}", env!("CARGO_PKG_VERSION")));
    assert_eq!(value("name"), "text:Synchronization with LDAP/AD", "a word of Messages/en.php");
    assert_eq!(value("disabled"), "text:0");
    assert!(value("value").contains("BreadcrumbModuleLdapSync"), "the menu");
    assert_eq!(
        scene.key_mode(&scene.php.module().join("db")),
        0o600,
        "the installer loosened it and it is tight again"
    );

    let id = scene.save();
    let start = Instant::now();
    let rows = scene.php.rest("sync-ldap-users", &json!({"id": id.to_string()}));
    println!("{PEOPLE} people synchronised through PHP in {} ms", start.elapsed().as_millis());
    assert_eq!(rows.list().iter().filter(|row| row["usersSyncResult"] == "UPDATED").count(), PEOPLE, "{}", rows.body);
    scene.world.assert_rows_are_mikopbx(112);
    let jobs = scene.services.jobs(EVENTS);
    assert_eq!(jobs.iter().filter(|job| job["model"] == r"MikoPBX\Common\Models\Sip").count(), PEOPLE, "announced");
    assert!(
        scene.services.bus.messages().iter().any(|(_, body)| body["type"] == "ldap-sync-progress"),
        "{}",
        scene.php.syslog()
    );
}

#[test]
fn every_action_is_served_over_rest_and_nothing_else() {
    let Some(scene) = Scene::make() else { return };
    scene.php.install();
    let id = scene.save();
    scene.php.rest("sync-ldap-users", &json!({"id": id})).list();
    let actions = scene.php.rest("get-actions", &json!({})).list().to_vec();
    assert!(actions.len() > 10, "{actions:?}");
    // What ends the server comes last.
    let (ending, others): (Vec<&Value>, Vec<&Value>) = actions.iter().partition(|action| *action == "delete-server");
    for action in others.into_iter().chain(ending) {
        let action = action.as_str().expect("an action is a name");
        let answer =
            scene.php.rest(action, &json!({"id": id, "runId": "1", "recordId": "1", "userId": "113", "autosync": "0"}));
        let errors = answer.errors();
        assert_eq!(answer.status == 0, errors.is_empty(), "{action}: {}", answer.body);
        assert!(!errors.contains("there is no action") && !errors.contains("did not work"), "{action}: {errors}");
        assert!(
            !answer.body.to_string().contains("ip_srv"),
            "{action}: what the PBX adds is not handed on: {}",
            answer.body
        );
        assert_eq!(answer.body["function"], action);
    }
    for hook in ["install", "uninstall", "worker_tick", "models_changed", "worker-tick", "no-such-action"] {
        let answer = scene.php.rest(hook, &json!({"keep": false}));
        assert!(answer.errors().contains("there is no action"), "{hook}: {}", answer.body);
    }
    assert!(scene.world.module_database().is_file());
    let check = scene.php.drive(&json!({"do": "rest", "action": "check", "data": {}}));
    assert_eq!(check["result"], true, "the PBX's own action");
}

#[test]
fn the_old_forms_texts_are_understood() {
    let Some(scene) = Scene::make() else { return };
    scene.php.install();
    let form = json!({
        "id": "", "serverName": "127.0.0.1", "serverPort": scene.server.port.to_string(), "useTLS": "0",
        "administrativeLogin": scene.server.service.0, "administrativePasswordHidden": scene.server.service.1,
        "baseDN": scene.server.people, "userFilter": "(objectClass=inetOrgPerson)", "ldapType": "OpenLDAP",
        "userNameAttribute": "displayName", "userExtensionAttribute": "telephoneNumber", "userMobileAttribute": "mobile",
        "userEmailAttribute": "mail", "userAvatarAttribute": "jpegPhoto", "userAccountControl": "",
        "userPasswordAttribute": "", "organizationalUnit": "", "updateAttributes": "on", "autosync": "on",
    });
    let people = scene.php.rest("get-available-ldap-users", &form);
    assert_eq!(people.list().len(), PEOPLE);
    let saved = scene.php.rest("config-save", &form);
    assert!(saved.data()["id"].is_number(), "{}", saved.body);
    assert!(!saved.body.to_string().contains(&scene.server.service.1), "no answer tells a password");
}

#[test]
fn the_worker_answers_the_pbx_ticks_and_takes_edits() {
    let Some(scene) = Scene::make() else { return };
    scene.php.install();
    let id = scene.save();
    scene.php.rest("sync-ldap-users", &json!({"id": id})).list();
    let workers = scene.php.drive(&json!({"do": "workers"}));
    assert_eq!((&workers[0]["type"], workers.as_array().map(Vec::len)), (&json!("checkWorkerBeanstalk"), Some(1)));

    let event = |model: &str| {
        json!({"source": "ModelsBase->sendChangesToBackend", "model": format!("MikoPBX\\Common\\Models\\{model}"),
            "recordId": 113, "action": "afterSave", "changedFields": ["email"]})
    };
    let events = [event("Users"), event("Sip"), event("CallQueues"), event("PbxSettings"), json!({"action": "x"})];
    scene.php.succeed(&json!({"do": "event", "data": events}));
    assert_eq!(scene.services.waiting(EDITS), 2, "employees' models only");
    let told = crate::support::real_time();

    let person = scene.world.pbx().employee(scene.world.pbx().last_user_id());
    let login = scene.server.by_login("displayName").into_iter().find(|(_, names)| names.contains(&person.name));
    scene.server.set(&login.expect("everybody is in the directory").0, "mail", "moved@example.test");
    scene.make_due();
    let mut worker = scene.php.start_worker();
    assert!(wait_until(Duration::from_secs(10), || scene.services.waiting(EDITS) == 0), "{}", scene.php.syslog());
    let taken = || scene.edits_made().len() == 2;
    assert!(wait_until(Duration::from_secs(10), taken), "{}", scene.php.syslog());
    assert!(
        scene.edits_made().iter().all(|made| *made <= told),
        "an edit is as old as it is, however late it is taken"
    );
    let moved = || scene.world.pbx().employee(person.user_id).email == "moved@example.test";
    assert!(wait_until(Duration::from_secs(30), moved), "{}", scene.php.syslog());
    let [replied, answer] = [0, 1].map(|part| scene.php.drive(&json!({"do": "ping"}))[part].clone());
    assert_eq!((replied, answer), (json!(true), json!("\"ping:pong\"")));

    scene.php.succeed(&json!({"do": "disable"}));
    let program = worker.program().expect("the host program runs");
    assert!(worker.ended().is_some_and(|status| status.success()), "it ends when the module is disabled");
    assert!(wait_until(Duration::from_secs(10), || !is_alive(program)), "and the host program with it");
    assert_eq!(scene.php.crashes(), 0, "a wanted end is no failure");
}

#[test]
fn however_the_worker_ends_the_host_program_ends_too_and_its_death_is_counted() {
    let Some(scene) = Scene::make() else { return };
    scene.php.install();
    for name in ["TERM", "KILL", "USR1"] {
        let mut worker = scene.php.start_worker();
        let program = worker.program().expect("the host program runs");
        worker.signal(name);
        assert!(worker.ended().is_some(), "{name}");
        assert!(wait_until(Duration::from_secs(10), || !is_alive(program)), "the host program outlived {name}");
    }
    assert_eq!(scene.php.crashes(), 0);
    let mut worker = scene.php.start_worker();
    signal(worker.program().expect("the host program runs"), "KILL");
    assert!(worker.ended().is_some(), "the PBX's supervisor starts both again");
    assert_eq!(scene.php.crashes(), 1);
    let mut again = scene.php.start_worker();
    again.signal("TERM");
    assert!(again.ended().is_some());
}

#[test]
fn an_upgrade_keeps_the_settings_and_an_uninstall_removes_everything() {
    let Some(scene) = Scene::make() else { return };
    scene.php.install();
    let id = scene.save();
    scene.php.rest("sync-ldap-users", &json!({"id": id})).list();
    let before = scene.php.rest("get-servers", &json!({})).data().clone();
    let people = scene.world.pbx().dump();

    scene.php.succeed(&json!({"do": "disable"}));
    scene.php.succeed(&json!({"do": "uninstall", "keep": true}));
    assert!(!scene.php.module().exists());
    let backup = scene.world.path().join("Backup/ModuleLdapSync/db");
    assert_eq!(scene.key_mode(&backup), 0o600, "the copy of the key is nobody else's");
    scene.php.install();
    assert_eq!(scene.php.rest("get-servers", &json!({})).data(), &before);
    let again = scene.php.rest("sync-ldap-users", &json!({"id": id}));
    assert!(
        again.list().iter().all(|row| row["usersSyncResult"] == "SKIPPED"),
        "the password and the links are there: {}",
        again.body
    );
    let employees = |rows: &crate::support::pbx::Rows| rows.iter().filter(|((table, _), _)| table == "m_Users").count();
    assert_eq!(employees(&scene.world.pbx().dump()), employees(&people));

    scene.php.succeed(&json!({"do": "disable"}));
    scene.php.succeed(&json!({"do": "uninstall", "keep": false}));
    assert!(!scene.php.module().exists() && !backup.exists());
    assert_eq!(employees(&scene.world.pbx().dump()), employees(&people), "nobody on the PBX is touched");
    scene.php.install();
    assert!(scene.php.rest("get-status", &json!({})).data()["servers"].as_array().is_some_and(Vec::is_empty));
}

#[test]
fn the_older_modules_database_is_installed_over() {
    let Some(scene) = Scene::make() else { return };
    // What the PBX keeps of the older module for an upgrade.
    let backup = scene.world.path().join("Backup/ModuleLdapSync/db");
    fs::create_dir_all(&backup).expect("a directory");
    let old = Connection::open(backup.join("module.db")).expect("a database");
    old.execute_batch(OLDER_MODULE).expect("the older module's tables");
    drop(old);
    scene.php.install();
    let servers = scene.php.rest("get-servers", &json!({}));
    assert!(servers.data().to_string().contains("old.example.test"), "its server is taken over: {}", servers.body);
    assert!(!servers.body.to_string().contains("old-Passw0rd"), "{}", servers.body);
    let id = scene.save();
    assert_eq!(scene.php.rest("sync-ldap-users", &json!({"id": id})).list().len(), PEOPLE);
}

/// Tables of the older module with one server that is switched off.
const OLDER_MODULE: &str = "
    CREATE TABLE m_ModuleLdapSync (id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL);
    CREATE TABLE m_ModuleLdapSyncServers (id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, serverName VARCHAR(0) NOT NULL,
        serverPort VARCHAR(0) NOT NULL, useTLS VARCHAR(1) DEFAULT '0' NOT NULL, administrativeLogin VARCHAR(0) NOT NULL,
        administrativePassword VARCHAR(0) NOT NULL, baseDN VARCHAR(0) NOT NULL, userFilter VARCHAR(0) NULL,
        ldapType VARCHAR(0) NOT NULL, attributes VARCHAR(0) NOT NULL, organizationalUnit VARCHAR(0) NULL,
        updateAttributes VARCHAR(1) DEFAULT '0' NULL, disabled VARCHAR(1) DEFAULT '1' NULL);
    CREATE TABLE m_ModuleLdapSync_Users (id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, user_id VARCHAR(0) NOT NULL,
        server_id VARCHAR(0) NOT NULL, guid VARCHAR(0) NOT NULL, localParamsHash VARCHAR(0) NULL,
        domainParamsHash VARCHAR(0) NULL, disabled VARCHAR(1) DEFAULT '0' NULL);
    CREATE TABLE m_ModuleLdapSync_Conflicts (id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, lastTime VARCHAR(0) NULL,
        errors VARCHAR(0) NULL, params VARCHAR(0) NULL, paramsHash VARCHAR(0) NULL, side VARCHAR(0) NULL,
        server_id VARCHAR(0) NULL);
    INSERT INTO m_ModuleLdapSyncServers VALUES (1, 'old.example.test', '389', '0', 'cn=old', 'old-Passw0rd',
        'dc=old,dc=test', '(objectClass=inetOrgPerson)', 'OpenLDAP', '{\"userNameAttribute\":\"displayName\"}', '', '0',
        '1');
";

#[test]
fn a_broken_module_says_what_is_broken_and_can_be_removed() {
    let Some(scene) = Scene::make() else { return };
    scene.php.install();
    fs::write(scene.php.module().join("bin/libmodule_ldap_sync.so"), "no library").expect("the library");
    let answer = scene.php.rest("get-status", &json!({}));
    assert!(answer.errors().contains("did not work"), "the answer says what is broken: {}", answer.body);
    assert!(scene.php.syslog().contains("cannot load the library"), "and the log why: {}", scene.php.syslog());
    scene.php.succeed(&json!({"do": "uninstall", "keep": false}));
    assert!(!scene.php.module().exists());

    scene.php.install();
    fs::remove_file(scene.php.module().join("bin/pbx-host")).expect("the host program");
    let answer = scene.php.rest("get-status", &json!({}));
    assert!(answer.errors().contains("install the module again"), "{}", answer.body);
    scene.php.succeed(&json!({"do": "uninstall", "keep": false}));
}

#[test]
fn a_boot_makes_the_key_readable_and_the_module_protects_it_again() {
    let Some(scene) = Scene::make() else { return };
    scene.php.install();
    scene.php.succeed(&json!({"do": "boot"}));
    assert_eq!(scene.key_mode(&scene.php.module().join("db")), 0o600);
}

#[test]
fn a_slow_directory_does_not_hold_the_pbxs_rest_interface() {
    let Some(scene) = Scene::make() else { return };
    scene.php.install();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let mut settings = scene.server.settings("none");
    settings["serverPort"] = silent.local_addr().expect("an address").port().into();
    let start = Instant::now();
    let answer = scene.php.rest("test-connection", &settings);
    println!("a directory that says nothing held a call for {} ms", start.elapsed().as_millis());
    assert!(start.elapsed() < Duration::from_secs(28), "browsers give up after 30 s: {:?}", start.elapsed());
    assert_ne!(answer.status, 0, "{}", answer.body);
}

#[test]
fn the_page_and_the_marks_are_where_the_pbx_looks() {
    let Some(scene) = Scene::make() else { return };
    scene.php.install();
    let id = scene.save();
    let page = |action: &str, parameters: Value, post: Value| {
        scene.php.drive(&json!({"do": "page", "action": action, "parameters": parameters, "post": post}))
    };
    let index = page("index", json!([]), Value::Null);
    let script = index["variables"]["pageScript"].as_str().expect("a script").to_owned();
    let below = script.strip_prefix("/admin-cabinet/assets/js/cache/ModuleLdapSync/").expect("where the PBX links it");
    assert!(scene.php.module().join("public/assets/js").join(below).is_file(), "{script}");
    let view = index["view"].as_str().expect("a view").replace("Modules/ModuleLdapSync/", "App/Views/");
    assert!(scene.php.module().join(format!("{view}.volt")).is_file(), "{view}");
    assert_eq!(index["styles"], json!(["css/cache/ModuleLdapSync/ldap-sync.css"]));
    assert_eq!(page("modify", json!(["7"]), Value::Null)["variables"]["startView"], "#/servers/7/settings");
    assert_eq!(page("modify", json!([]), Value::Null)["variables"]["startView"], "#/servers/new");

    let asked = |answer: &Value| answer["variables"]["success"].clone();
    assert_eq!(asked(&page("disable", json!([id.to_string()]), Value::Null)), Value::Null, "a link changes nothing");
    assert_eq!(asked(&page("disable", json!([id.to_string()]), json!({}))), true);
    let autosync = scene.php.rest("get-server", &json!({"id": id})).data()["autosync"].clone();
    assert_eq!(autosync, false);

    let marks = |controller: &str, action: &str, block: &str| {
        scene.php.drive(&json!({"do": "marks", "controller": controller, "action": action, "block": block}))
    };
    let list = marks("Extensions", "index", "Footer");
    assert_eq!((&list["scripts"], &list["template"]), (&json!(["js/cache/ModuleLdapSync/employees.js"]), &json!("")));
    assert!(scene.php.module().join("public/assets/js/employees.js").is_file());
    let form = marks("Extensions", "modify", "GeneralTabFields");
    assert!(Path::new(&format!("{}.volt", form["template"].as_str().expect("a template"))).is_file(), "{form}");
    assert_eq!(marks("CallQueues", "index", "GeneralTabFields"), json!({"scripts": [], "template": ""}));
    run(Command::new("php")
        .args(["-r", "exit(count(require $argv[1]) > 4 ? 0 : 1);"])
        .arg(scene.php.module().join("Messages/ru.php")));
}
