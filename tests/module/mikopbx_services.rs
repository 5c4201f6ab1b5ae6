//! The helper beside the services of a live MikoPBX: a real beanstalkd and a real Redis.

use std::collections::BTreeSet;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;
use std::time::{Duration, Instant};
use std::{fs, net::TcpListener};

use crate::support::inside::Inside;
use crate::support::pbx::{RecordEvent, Rows, expected_events};
use crate::support::people::{Someone, crowd};
use crate::support::servers::pbx_services::{self, PbxServices};
use crate::support::servers::slapd::{self, Slapd};
use crate::support::world::World;
use crate::support::{is_root, pause, run, run_unchecked, wait_until};
use pbx_host::mikopbx::mutex::WriteMutex;
use serde_json::{Value, json};

/// The tube of MikoPBX's worker, and ours.
const EVENTS: &str = "MikoPBX-Core-Workers-WorkerModelsEvents";
const EDITS: &str = "ModuleLdapSync-edits";
/// MikoPBX's write mutex in database 1.
const MUTEX: &str = "_PH_REDIS_CLIENT:mutex:db-write";
const CANCELLED: i64 = 8;

/// A PBX with its services and a directory, the module installed.
struct Scene {
    world: World,
    services: PbxServices,
    inside: Inside,
    server: Slapd,
    id: Value,
    before: Rows,
}

impl Scene {
    fn make(people: &[Someone]) -> Option<Scene> {
        let services = pbx_services::start()?;
        let server = slapd::start(people)?;
        let world = World::new();
        // Three digits are too few for a crowd.
        world.pbx().set_setting("PBXInternalExtensionLength", "4");
        let inside = Inside::new(&world, &services);
        let id = inside.install(&server.settings("none"));
        let before = world.pbx().dump();
        Some(Scene { world, services, inside, server, id, before })
    }

    fn sync_call(&self) -> Value {
        json!({"hook": "request", "action": "sync-ldap-users", "body": {"id": self.id}})
    }

    /// What the database says must have been announced.
    fn expected(&self) -> BTreeSet<RecordEvent> {
        expected_events(&self.before, &self.world.pbx().dump())
    }

    fn pbx_unchanged(&self) -> bool {
        self.world.pbx().dump() == self.before
    }

    /// Whether the PBX has somebody who was not there before.
    fn somebody_new(&self) -> bool {
        self.world.pbx().last_user_id() > 112
    }
}

/// A job as (short model name, record, action), after a look at its form.
fn event(job: &Value) -> RecordEvent {
    let keys: BTreeSet<&str> = job.as_object().expect("a job is an object").keys().map(String::as_str).collect();
    assert_eq!(keys, BTreeSet::from(["source", "model", "recordId", "action", "changedFields"]), "{job}");
    assert_eq!(job["source"], "ModelsBase->sendChangesToBackend");
    let model = job["model"].as_str().and_then(|name| name.strip_prefix(r"MikoPBX\Common\Models\"));
    let record = job["recordId"].as_str().map_or_else(|| job["recordId"].to_string(), str::to_owned);
    let action = job["action"].as_str().expect("an action");
    assert!(job["changedFields"].as_array().is_some_and(|fields| !fields.is_empty()), "{job}");
    (model.unwrap_or_else(|| panic!("no model of MikoPBX: {job}")).to_owned(), record, action.to_owned())
}

#[test]
fn every_changed_record_is_announced_in_order_and_the_stale_keys_are_cleared() {
    let Some(scene) = Scene::make(&[Someone::new("anna", "Anna Berg").mail("a@example.test").mobile("+79001112233")])
    else {
        return;
    };
    let stale = ["Users:Workers-WorkerCdr-initSettings", "Extensions:a", "Sip:b", "ExternalPhones:c", "Users:d"];
    let others = ["CallQueues:x", "Models:Extensions:SystemExtensions"];
    for key in stale.iter().chain(&others) {
        scene.services.redis(4, &["set", &format!("_PH_MANAGED_CACHE:{key}"), "1"]);
    }
    scene.services.redis(2, &["set", "_PH_MANAGED_CACHE:Users:other-database", "1"]);

    scene.inside.call(&scene.sync_call()).list();

    let announced: Vec<RecordEvent> = scene.services.jobs(EVENTS).iter().map(event).collect();
    assert_eq!(announced.iter().cloned().collect::<BTreeSet<_>>(), scene.expected());
    let models: Vec<&str> = announced.iter().map(|(model, ..)| model.as_str()).collect();
    let order = ["Users", "Extensions", "Sip", "ExtensionForwardingRights", "Extensions", "ExternalPhones"];
    assert_eq!(models, order, "the order of the PBX's own saves, none twice");
    let keys = scene.services.redis(4, &["keys", "*"]);
    let left: BTreeSet<&str> = keys.lines().collect();
    assert_eq!(
        left,
        BTreeSet::from(["_PH_MANAGED_CACHE:CallQueues:x", "_PH_MANAGED_CACHE:Models:Extensions:SystemExtensions"])
    );
    assert_eq!(scene.services.redis(2, &["dbsize"]), "1", "another database is not touched");
    scene.world.assert_rows_are_mikopbx(112);
    assert_eq!(scene.services.redis(1, &["get", MUTEX]), "", "the mutex was released");
    the_pages_heard(&scene, announced.len());
}

/// The event bus got one message per record and the run's progress, its end last.
fn the_pages_heard(scene: &Scene, records: usize) {
    let messages = scene.services.bus.messages();
    assert!(messages.iter().all(|(path, _)| path == "/pbxcore/api/nchan/pub/event-bus"), "{messages:?}");
    let of =
        |kind: &str| messages.iter().filter(|(_, body)| body["type"] == kind).map(|(_, body)| &body["data"]).collect();
    let changes: Vec<&Value> = of("models-changed");
    assert_eq!(changes.len(), records);
    assert!(changes.iter().all(|data| data["source"].is_null() && data["recordId"] != Value::Null), "{changes:?}");
    let progress: Vec<&Value> = of("ldap-sync-progress");
    assert_eq!(progress.last().map(|data| data["phase"].clone()), Some(json!("done")), "{progress:?}");
}

#[test]
fn what_was_committed_and_not_announced_when_the_process_was_killed_is_announced_by_the_next_tick() {
    let Some(scene) = Scene::make(&crowd(5)) else { return };
    scene.services.queue.signal("STOP");
    let mut child = scene.inside.begin(&scene.sync_call());
    assert!(wait_until(Duration::from_secs(30), || scene.somebody_new()), "nobody was made: {}", scene.inside.log());
    child.kill().expect("the helper was started");
    child.wait().expect("a killed child can be waited for");
    scene.services.queue.signal("CONT");
    scene.services.jobs(EVENTS);

    let mut worker = scene.inside.start_worker(1);
    let mut announced = Vec::new();
    let all = wait_until(Duration::from_secs(40), || {
        announced.extend(scene.services.jobs(EVENTS).iter().map(event));
        let set: BTreeSet<_> = announced.iter().cloned().collect();
        !set.is_empty() && set.is_superset(&scene.expected())
    });
    assert!(all, "announced {announced:?} of {:?}", scene.expected());
    assert!(worker.end_input().is_some_and(|status| status.success()));
    let users =
        announced.iter().filter(|(model, ..)| model == "Users").map(|(_, id, _)| id.parse::<u32>().expect("an id"));
    assert!(users.collect::<Vec<_>>().is_sorted(), "in the order they were written: {announced:?}");
}

#[test]
fn nothing_is_written_while_somebody_else_holds_the_mutex_and_afterwards_it_is_released() {
    let Some(scene) = Scene::make(&crowd(5)) else { return };
    scene.services.redis(1, &["set", MUTEX, "the PBX's own save", "EX", "30"]);
    let mut child = scene.inside.begin(&scene.sync_call());
    pause(2500);
    assert!(scene.pbx_unchanged(), "written without the mutex");
    assert_eq!(scene.services.redis(1, &["get", MUTEX]), "the PBX's own save", "the holder's mutex stays the holder's");
    assert!(child.try_wait().expect("a started child").is_none(), "it waits for the mutex");
    scene.services.redis(1, &["del", MUTEX]);
    let released = Instant::now();
    assert!(wait_until(Duration::from_secs(10), || scene.somebody_new()), "{}", scene.inside.log());
    println!("written {} ms after the mutex was free", released.elapsed().as_millis());
    let output = child.wait_with_output().expect("the helper ends");
    let answer: Value = serde_json::from_slice(&output.stdout).expect("an answer");
    assert_eq!(answer["status"], 0, "{answer}");
    assert_eq!(scene.services.redis(1, &["get", MUTEX]), "", "released");
    assert_eq!(scene.services.redis(1, &["dbsize"]), "0", "nothing else is left in the PBX's database of Redis");
}

#[test]
fn without_redis_nothing_is_written_and_the_answer_says_why() {
    let Some(scene) = Scene::make(&crowd(2)) else { return };
    scene.services.redis.signal("KILL");
    let answer = scene.inside.call(&scene.sync_call());
    assert!(scene.pbx_unchanged(), "written without the mutex");
    let rows = answer.body["data"].to_string();
    assert!(answer.status != 0 || !rows.contains("UPDATED"), "{}", answer.body);
}

#[test]
fn a_killed_holder_is_forgotten_after_its_expiry() {
    let Some(scene) = Scene::make(&[Someone::new("anna", "Anna Berg").mail("a@example.test")]) else { return };
    scene.services.redis(1, &["set", MUTEX, "of a killed process", "PX", "1500"]);
    let start = Instant::now();
    scene.inside.call(&scene.sync_call()).list();
    let waited = start.elapsed();
    println!("the run took {} ms beside a mutex that expired after 1500 ms", waited.as_millis());
    assert!(waited > Duration::from_millis(1000), "it did not wait: {waited:?}");
    assert!(scene.somebody_new());
    let info = scene.services.redis(1, &["info", "commandstats"]);
    assert!(info.contains("cmdstat_eval:"), "released by comparing the token: {info}");
    assert_eq!(scene.services.redis(1, &["get", MUTEX]), "");
}

#[test]
fn only_the_holder_releases_the_mutex_and_a_lost_one_is_told() {
    let Some(services) = pbx_services::start() else { return };
    let mutex = || WriteMutex::new(&format!("127.0.0.1:{}", services.redis_port));
    let (first, second) = (mutex(), mutex());
    assert_eq!(first.acquire(Duration::ZERO), Ok(true));
    let token = services.redis(1, &["get", MUTEX]);
    assert!(token.len() == 32 && token.chars().all(|digit| digit.is_ascii_hexdigit()), "as the PBX's own: {token:?}");
    let left: u64 = services.redis(1, &["ttl", MUTEX]).parse().expect("seconds");
    assert!((25..=30).contains(&left), "it expires after {left} s");
    assert_eq!(second.acquire(Duration::from_millis(100)), Ok(false), "held by the first");
    assert_eq!(first.release(), Ok(()));
    assert_eq!(second.acquire(Duration::ZERO), Ok(true));
    services.redis(1, &["set", MUTEX, "another"]);
    assert!(second.release().is_err_and(|error| error.contains("was lost")));
    assert_eq!(services.redis(1, &["get", MUTEX]), "another", "never taken from somebody else");
    services.redis(1, &["del", MUTEX]);
    assert_eq!(first.acquire(Duration::ZERO), Ok(true));
    services.redis(1, &["expire", MUTEX, "13"]);
    services.redis(1, &["client", "kill", "type", "normal"]);
    pause(11_000);
    let left: i64 = services.redis(1, &["ttl", MUTEX]).parse().expect("seconds");
    assert!(left > 20, "a held mutex is renewed: {left} s are left");
    drop(first);
    assert_eq!(services.redis(1, &["get", MUTEX]), "", "released with its holder, over a new connection");
}

#[test]
fn a_call_that_is_told_to_end_stops_its_run_between_batches_and_the_next_one_goes_on() {
    let Some(scene) = Scene::make(&crowd(3000)) else { return };
    let child = scene.inside.begin(&scene.sync_call());
    assert!(wait_until(Duration::from_secs(30), || scene.somebody_new()), "{}", scene.inside.log());
    run(Command::new("kill").args(["-TERM", &child.id().to_string()]));
    let start = Instant::now();
    let output = child.wait_with_output().expect("the helper ends");
    let made = scene.world.pbx().employees().len() - 3;
    println!("the call ended {} ms after SIGTERM, with {made} of 3000 people made", start.elapsed().as_millis());
    let answer: Value = serde_json::from_slice(&output.stdout).expect("an answer");
    assert_eq!(answer["status"], CANCELLED, "{}", answer["answer"]["messages"]);
    assert_eq!(scene.services.redis(1, &["get", MUTEX]), "");
    scene.world.assert_rows_are_mikopbx(112);
    scene.inside.call(&scene.sync_call()).list();
    assert_eq!(scene.world.pbx().employees().len(), 3003, "the next run makes the others, nobody twice");
    let announced: BTreeSet<RecordEvent> = scene.services.jobs(EVENTS).iter().map(event).collect();
    let missing: Vec<_> = scene.expected().difference(&announced).cloned().collect();
    assert!(missing.is_empty(), "changed and never announced: {missing:?}");
}

#[test]
fn what_root_makes_belongs_to_the_owner_of_the_modules_directory() {
    if !is_root() {
        return println!("left out: only root can give files away");
    }
    let Some(services) = pbx_services::start() else { return };
    let Some(server) = slapd::start(&[Someone::new("anna", "Anna Berg").with_photo()]) else { return };
    let world = World::new();
    let avatars = world.pbx().media.join("avatars");
    for directory in [&world.installation.module, &world.pbx().media] {
        run(Command::new("chown").args(["-R", "1011:1011"]).arg(directory));
    }
    let inside = Inside::new(&world, &services);
    let id = inside.install(&server.settings("none"));
    inside.request("sync-ldap-users", json!({"id": id})).list();
    let mut files = Vec::new();
    for directory in [world.installation.module.join("db"), avatars] {
        files.extend(fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("an entry")));
    }
    assert!(files.len() > 5, "{files:?}");
    for file in files {
        let owner = file.metadata().expect("an existing file");
        assert_eq!((owner.uid(), owner.gid()), (1011, 1011), "{:?}", file.path());
    }
}

#[test]
fn the_pbxs_edits_reach_the_library_in_batches_and_a_wake_makes_a_tick() {
    let Some(scene) = Scene::make(&[]) else { return };
    let edit = |id: &str| {
        json!({"source": "ModelsBase->sendChangesToBackend", "model": r"MikoPBX\Common\Models\Users", "recordId": id,
            "action": "afterSave", "changedFields": ["email"]})
        .to_string()
    };
    let php = |text: &str| format!("s:{}:\"{text}\";", text.len());
    let jobs: Vec<String> = (0..120).map(|id| edit(&id.to_string())).collect();
    let mut client = scene.services.client();
    client.put(EDITS, &jobs, Duration::from_secs(60)).expect("jobs are taken");
    client.put(EDITS, &[php(&edit("Ж")), "no job".to_owned()], Duration::from_secs(60)).expect("jobs are taken");

    let mut worker = scene.inside.start_worker(3600);
    let handed_over = || scene.inside.log().contains("121 edits made on the PBX were handed over");
    assert!(wait_until(Duration::from_secs(20), handed_over), "{}", scene.inside.log());
    let ticks = || scene.inside.log().matches("tick: {").count();
    assert!(wait_until(Duration::from_secs(5), || ticks() == 1), "{}", scene.inside.log());
    let asked = Instant::now();
    client.put(EDITS, &[json!({"wake": "start-sync"}).to_string()], Duration::from_secs(60)).expect("a job is taken");
    assert!(wait_until(Duration::from_secs(5), || ticks() == 2), "{}", scene.inside.log());
    println!("a tick {} ms after it was asked for", asked.elapsed().as_millis());
    assert_eq!(scene.services.jobs(EDITS), Vec::<Value>::new(), "every job was ended");
    assert!(worker.end_input().is_some_and(|status| status.success()));
}

#[test]
fn edits_wait_while_they_cannot_be_stored() {
    let Some(scene) = Scene::make(&[]) else { return };
    let database = scene.world.module_database();
    let aside = database.with_extension("aside");
    fs::rename(&database, &aside).expect("the database can be moved");
    let edit = json!({"model": r"MikoPBX\Common\Models\Users", "recordId": "1", "action": "afterSave"}).to_string();
    scene.services.client().put(EDITS, &[edit], Duration::from_secs(60)).expect("a job is taken");
    let mut worker = scene.inside.start_worker(3600);
    let refused = || scene.inside.log().contains("1 edits are handed over again later");
    assert!(wait_until(Duration::from_secs(20), refused), "{}", scene.inside.log());
    assert!(worker.terminate().is_some_and(|status| status.success()));
    fs::rename(&aside, &database).expect("the database can be moved");
    let mut worker = scene.inside.start_worker(3600);
    let handed_over = || scene.inside.log().contains("1 edits made on the PBX were handed over");
    assert!(wait_until(Duration::from_secs(45), handed_over), "{}", scene.inside.log());
    assert!(worker.terminate().is_some_and(|status| status.success()));
}

#[test]
fn the_worker_goes_on_when_the_queue_comes_back_and_ends_with_its_input() {
    let Some(scene) = Scene::make(&[]) else { return };
    scene.services.queue.signal("KILL");
    let mut worker = scene.inside.start_worker(1);
    let told = || scene.inside.log().contains("edits made on the PBX are not heard of at the moment");
    assert!(wait_until(Duration::from_secs(20), told), "{}", scene.inside.log());
    let ticks = || scene.inside.log().matches("tick: {").count();
    assert!(wait_until(Duration::from_secs(10), || ticks() >= 2), "ticks go on: {}", scene.inside.log());
    let start = Instant::now();
    assert!(worker.end_input().is_some_and(|status| status.success()), "{}", scene.inside.log());
    println!("the worker ended {} ms after its input", start.elapsed().as_millis());
}

#[test]
fn a_call_that_takes_too_long_ends_with_an_answer_and_leaves_no_mutex() {
    let Some(scene) = Scene::make(&[]) else { return };
    // A directory that takes the connection and never says anything.
    let silent = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let mut settings = scene.server.settings("none");
    settings["serverPort"] = silent.local_addr().expect("an address").port().into();
    let call = json!({"hook": "request", "action": "test-connection", "body": settings});
    let start = Instant::now();
    let answer = scene.inside.call_within(&call, 1);
    assert!(start.elapsed() < Duration::from_secs(8), "it took {:?}", start.elapsed());
    println!("a call of 1 s was ended after {} ms", start.elapsed().as_millis());
    assert_eq!(answer.status, CANCELLED);
    assert!(answer.errors().contains("start-sync"), "the answer says what to do: {}", answer.body);
    assert_eq!(scene.services.redis(1, &["get", MUTEX]), "");
}

#[test]
fn a_run_that_takes_too_long_stops_in_order_and_keeps_what_it_did() {
    let Some(scene) = Scene::make(&crowd(4000)) else { return };
    let answer = scene.inside.call_within(&scene.sync_call(), 2);
    assert_eq!(answer.status, CANCELLED, "{}", answer.errors());
    assert!(answer.errors().contains("start-sync"), "the answer says what to do: {}", answer.errors());
    assert_eq!(scene.services.redis(1, &["get", MUTEX]), "");
    let made = scene.world.pbx().employees().len() - 3;
    println!("{made} of 4000 people were made within 2 s");
    let announced: BTreeSet<RecordEvent> = scene.services.jobs(EVENTS).iter().map(event).collect();
    assert!(announced.is_superset(&scene.expected()), "what was done is announced");
    scene.world.assert_rows_are_mikopbx(112);
}

#[test]
fn a_started_synchronisation_is_made_by_the_running_worker_at_once() {
    let Some(scene) = Scene::make(&crowd(3)) else { return };
    let served = scene.inside.request("get-actions", json!({}));
    if !served.list().contains(&json!("start-sync")) {
        return println!("left out: this library does not serve start-sync");
    }
    // The next tick by itself would be in an hour.
    let mut worker = scene.inside.start_worker(3600);
    assert!(wait_until(Duration::from_secs(10), || scene.inside.log().contains("tick: {")), "{}", scene.inside.log());
    let asked = Instant::now();
    let answer = scene.inside.request("start-sync", json!({"id": scene.id}));
    println!("start-sync answered after {} ms", asked.elapsed().as_millis());
    assert!(!answer.data()["runId"].is_null(), "{}", answer.body);
    assert!(wait_until(Duration::from_secs(10), || scene.somebody_new()), "{}", scene.inside.log());
    println!("the first employee was there {} ms after the request", asked.elapsed().as_millis());
    assert!(worker.end_input().is_some_and(|status| status.success()));
}

#[test]
fn an_uninstall_waits_for_the_run_that_is_ending() {
    let Some(scene) = Scene::make(&crowd(3)) else { return };
    // Somebody else's save keeps the run waiting for the mutex.
    scene.services.redis(1, &["set", MUTEX, "the PBX's own save", "PX", "3000"]);
    let mut run = scene.inside.begin(&scene.sync_call());
    let lock = scene.world.installation.module.join("db/run.lock");
    let taken = || !run_unchecked(Command::new("flock").arg("-n").arg(&lock).arg("true"), "").status.success();
    assert!(wait_until(Duration::from_secs(10), || lock.exists() && taken()), "{}", scene.inside.log());
    let start = Instant::now();
    scene.inside.call(&json!({"hook": "uninstall", "keep": true})).data();
    println!("the uninstall waited {} ms for the run", start.elapsed().as_millis());
    assert!(run.wait().expect("a started child").success());
}

#[test]
fn the_key_is_for_its_owner_alone_again_after_an_install_or_a_boot_loosened_it() {
    let Some(scene) = Scene::make(&[]) else { return };
    let key = scene.world.installation.module.join("db/secret.key");
    let mode = || fs::metadata(&key).expect("the key").permissions().mode() & 0o777;
    assert_eq!(mode(), 0o600);
    run(Command::new("chmod").arg("644").arg(&key));
    scene.inside.request("get-status", json!({})).data();
    assert_eq!(mode(), 0o600, "after a call");
    run(Command::new("chmod").arg("644").arg(&key));
    let mut worker = scene.inside.start_worker(3600);
    assert!(wait_until(Duration::from_secs(10), || mode() == 0o600), "after the worker's start");
    assert!(worker.end_input().is_some());
}
