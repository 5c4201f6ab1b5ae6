//! `cargo xtask bench`: how long a synchronisation takes against what it cannot do without, measured in the same run:
//! OpenLDAP's own ldapsearch of the same attributes, and SQLite's insertion of the same rows.
//!
//! `BENCH_PEOPLE` says with how many people, separated by commas.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::bare;
use crate::support::directory::Directory;
use crate::support::host::Plugin;
use crate::support::people::{Someone, crowd};
use crate::support::servers::slapd::{self, Options};
use crate::support::world::World;
use rusqlite::Connection;
use rusqlite::types::Value as Cell;
use serde_json::{Value, json};

/// Where nothing else is said.
const PEOPLE: &str = "1000,10000";
/// Each baseline is measured so often; the shortest counts.
const TURNS: u32 = 3;
/// The interval between two ticks, in milliseconds.
const INTERVAL: i64 = 30_000;
/// Rows of people that a first synchronisation writes.
const TABLES: [&str; 5] = ["m_Users", "m_Extensions", "m_Sip", "m_ExtensionForwardingRights", "m_ExternalPhones"];

#[test]
#[ignore = "a measurement: cargo xtask bench"]
fn a_directory_becomes_employees() {
    println!("| people | what | time | baseline | baseline's time | ratio |");
    println!("|---|---|---|---|---|---|");
    let sizes = std::env::var("BENCH_PEOPLE").unwrap_or_else(|_| PEOPLE.to_owned());
    for size in sizes.split(',').map(|size| size.trim().parse().expect("a number of people")) {
        measure(size);
    }
}

fn measure(size: usize) {
    let people = crowd(size);
    let options = Options { session_log: Some(100_000), ..Options::default() };
    let server = slapd::start_with(&people, &options).expect("slapd");
    let world = World::new();
    world.pbx().set_setting(
        "PBXInternalExtensionLength",
        if size > 80_000 {
            "7"
        } else if size > 8_000 {
            "6"
        } else {
            "4"
        },
    );
    let empty = world.copy();
    let mut settings = server.settings("none");
    settings["updateAttributes"] = json!(false);
    settings["syncInterval"] = json!(30);
    let (mut plugin, id) = world.install(&settings);

    // As the page asks for it and the worker makes it: nobody waits for a list of everybody.
    plugin.request("start-sync", json!({"id": id})).data();
    let first = timed(|| drop(plugin.tick().data().clone()));
    let attributes = ["displayName", "telephoneNumber", "mobile", "mail", "entryUUID", "entryCSN", "jpegPhoto"];
    let search = ldapsearch(&server, &attributes);
    let insert = insertion(&world, &empty);
    line(size, "first synchronisation, PBX side", first, "ldapsearch + the same rows inserted", search + insert);
    mutex(size, &world);
    println!("| {size} | peak memory of the host program after it | {} MiB | | | |", plugin.peak_memory() / 1024);

    let search = ldapsearch(&server, &attributes[..6]);
    let mut again = || {
        plugin.request("start-sync", json!({"id": id})).data();
        timed(|| drop(plugin.tick().data().clone()))
    };
    let again = (0..TURNS).map(|_| again()).min().expect("some turns");
    line(size, "full pass, nothing changed", again, "ldapsearch without photos", search);
    ticks(size, &world, &server, &people);
    let page = timed(|| drop(plugin.request("get-people", json!({"perPage": 50, "search": "иван"})).data().clone()));
    println!("| {size} | get-people with a search | {} ms | | | |", page.as_millis());
    phases(&world);
    println!("| {size} | peak memory of the host program in all | {} MiB | | | |", plugin.peak_memory() / 1024);
    write_back(size, &world, &server, &settings, &id);
}

/// What the worker's ticks cost: an idle one, and one after ten changes. The clock stands still, so each tick has a host of
/// its own time; the first of them makes a complete run.
fn ticks(size: usize, world: &World, server: &Directory, people: &[Someone]) {
    // After this day's complete run, so that no other falls due.
    let mut now = midday();
    let (mut plugin, clock) = world.installation.start_with_clock(now);
    let mut due = |late: i64| {
        now += late;
        clock.set(now);
        timed(|| drop(plugin.tick().data().clone()))
    };
    for _ in 0..3 {
        due(INTERVAL);
    }
    let bare = bare::Client::open(server);
    let ask = median(50, || timed(|| drop(bare.read_context())));
    let idle = median(50, || due(INTERVAL));
    micro(size, "idle tick that is due, median of 50", idle, "one search for contextCSN, median", ask);
    let ten = |turn: usize| {
        for person in &people[turn * 10..turn * 10 + 10] {
            server.set(&person.login, "mail", &format!("new{turn}.{}@example.test", person.login));
        }
    };
    let mut turn = 0;
    let changes = median(5, || {
        turn += 1;
        ten(turn);
        due(INTERVAL)
    });
    micro(size, "ten changes, directory to PBX, median of 5", changes, "one search for contextCSN, median", ask);
    let early = median(50, || due(1)).as_micros();
    println!("| {size} | tick that is not due, through the host program's pipe, median of 50 | {early} us | | | |");
}

/// Everybody's number to the directory, against the same changes made by a bare loop of ldap3 with as many at once.
fn write_back(size: usize, world: &World, server: &Directory, settings: &Value, id: &Value) {
    let mut plugin = world.installation.start();
    let mut settings = settings.clone();
    settings["updateAttributes"] = json!(true);
    settings["id"] = id.clone();
    plugin.save(&settings).data();
    let lines = std::fs::read_to_string(&world.installation.log).unwrap_or_default().lines().count();
    run(&mut plugin, "sync-ldap-users", id);
    let log = std::fs::read_to_string(&world.installation.log).unwrap_or_default();
    let phase = log.lines().skip(lines).find_map(|line| line.split("writing-back took ").nth(1)?.strip_suffix(" ms"));
    let ours = Duration::from_millis(phase.and_then(|text| text.parse().ok()).expect("the phase is logged"));
    let numbers = server.by_login("telephoneNumber");
    let numbers: Vec<(String, String)> =
        numbers.into_iter().filter_map(|(login, mut values)| Some((server.dn(&login), values.pop()?))).collect();
    let client = bare::Client::open(server);
    client.replace_all("telephoneNumber", &numbers, "8");
    let bare = timed(|| client.replace_all("telephoneNumber", &numbers, ""));
    line(size, "write-back of every number (phase)", ours, "the same changes by a bare loop of ldap3", bare);
}

/// How long the write mutex was held, as the host program says.
fn mutex(size: usize, world: &World) {
    let log = std::fs::read_to_string(&world.installation.log).unwrap_or_default();
    let held =
        log.lines().filter_map(|line| line.split("mutex was held for ").nth(1)?.strip_suffix(" us")?.parse().ok());
    let mut held: Vec<u64> = held.collect();
    held.sort_unstable();
    let at = |share: usize| held[(held.len() * share / 100).min(held.len() - 1)];
    println!(
        "| {size} | write mutex held, {} times | median {} us, 99th percentile {} us | | | |",
        held.len(),
        at(50),
        at(99)
    );
}

/// The median of several measurements.
fn median(turns: usize, measure: impl FnMut() -> Duration) -> Duration {
    let mut times: Vec<Duration> = std::iter::repeat_with(measure).take(turns).collect();
    times.sort_unstable();
    times[turns / 2]
}

/// Midday of tomorrow by UTC, Unix time in milliseconds.
fn midday() -> i64 {
    const DAY: i64 = 24 * 60 * 60 * 1000;
    (pbx_host::services::system_time().div_euclid(DAY) + 1) * DAY + DAY / 2
}

fn micro(size: usize, what: &str, time: Duration, baseline: &str, base: Duration) {
    println!("| {size} | {what} | {} us | {baseline} | {} us | |", time.as_micros(), base.as_micros());
}

/// What the log says of how long the phases took.
fn phases(world: &World) {
    let log = std::fs::read_to_string(&world.installation.log).unwrap_or_default();
    log.lines().filter(|line| line.contains(" took ")).for_each(|line| eprintln!("{line}"));
}

fn line(size: usize, what: &str, time: Duration, baseline: &str, base: Duration) {
    let ratio = time.as_secs_f64() / base.as_secs_f64();
    println!("| {size} | {what} | {} ms | {baseline} | {} ms | {ratio:.2} |", time.as_millis(), base.as_millis());
}

fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

/// A run that must succeed. The answer's rows are read, as the page does.
fn run(plugin: &mut Plugin, action: &str, id: &Value) {
    plugin.send(&json!({"hook": "request", "action": action, "body": {"id": id}})).expect("the plugin takes calls");
    let answer = plugin.answer();
    assert_eq!(answer.status, 0, "{}", answer.errors());
}

/// How long OpenLDAP's own client takes for the same attributes, in pages of the same size.
fn ldapsearch(server: &Directory, attributes: &[&str]) -> Duration {
    let turn = |_| {
        let mut command = Command::new("ldapsearch");
        command.args(["-x", "-LLL", "-o", "ldif-wrap=no", "-E", "pr=1000/noprompt"]);
        command.arg("-H").arg(format!("ldap://{}:{}", server.host, server.port));
        command.arg("-D").arg(&server.service.0).arg("-w").arg(&server.service.1).arg("-b").arg(&server.people);
        command.arg("(objectClass=inetOrgPerson)").args(attributes).env("LDAPCONF", "/dev/null").stdout(Stdio::null());
        timed(|| assert!(command.status().expect("ldapsearch").success()))
    };
    (0..TURNS).map(turn).min().expect("some turns")
}

/// How long SQLite takes to insert the rows that the synchronisation made: those of the PBX in one transaction, and one
/// row per person in a second file.
fn insertion(full: &World, empty: &World) -> Duration {
    let source = full.pbx().open();
    let rows: Vec<(String, Vec<Vec<Cell>>)> = TABLES.iter().filter_map(|table| rows_of(&source, table)).collect();
    let links = full.pbx().employees();
    let turn = |_| {
        let target = empty.copy();
        let mut pbx = Connection::open(&target.pbx().database).expect("the PBX's database");
        let mut second = Connection::open(target.path().join("links.db")).expect("a database");
        second
            .execute_batch("CREATE TABLE links (key TEXT PRIMARY KEY, user_id, name, number, mobile, email)")
            .expect("a table");
        timed(|| {
            let transaction = pbx.transaction().expect("a transaction");
            for (sql, rows) in &rows {
                let mut statement = transaction.prepare(sql).expect("an insertion");
                for row in rows {
                    statement.execute(rusqlite::params_from_iter(row)).expect("a row");
                }
            }
            transaction.commit().expect("COMMIT");
            let transaction = second.transaction().expect("a transaction");
            {
                let mut statement =
                    transaction.prepare("INSERT INTO links VALUES (?1, ?2, ?3, ?4, ?5, ?6)").expect("an insertion");
                for row in &links {
                    let cells =
                        rusqlite::params![row.sip_uniqid, row.user_id, row.name, row.number, row.mobile, row.email];
                    statement.execute(cells).expect("a row");
                }
            }
            transaction.commit().expect("COMMIT");
        })
    };
    (0..TURNS).map(turn).min().expect("some turns")
}

/// An insertion for a table and its rows, those the demo PBX has itself replaced.
fn rows_of(source: &Connection, table: &str) -> Option<(String, Vec<Vec<Cell>>)> {
    let mut statement = source.prepare(&format!("SELECT * FROM {table}")).ok()?;
    let columns = statement.column_count();
    let marks = vec!["?"; columns].join(", ");
    let rows = statement.query_map([], |row| (0..columns).map(|at| row.get::<_, Cell>(at)).collect()).expect("rows");
    Some((format!("INSERT OR REPLACE INTO {table} VALUES ({marks})"), rows.collect::<Result<_, _>>().expect("rows")))
}
