//! `cargo xtask bench`: how long a synchronisation takes against what it cannot do without, measured in the same run:
//! OpenLDAP's own ldapsearch of the same attributes, and SQLite's insertion of the same rows.
//!
//! `BENCH_PEOPLE` says with how many people, separated by commas.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::directory::Directory;
use crate::support::host::Plugin;
use crate::support::people::crowd;
use crate::support::servers::slapd;
use crate::support::world::World;
use rusqlite::Connection;
use rusqlite::types::Value as Cell;
use serde_json::{Value, json};

/// Where nothing else is said.
const PEOPLE: &str = "1000,10000";
/// Each baseline is measured so often; the shortest counts.
const TURNS: u32 = 3;
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
    let server = slapd::start(&people).expect("slapd");
    let world = World::new();
    world.pbx().set_setting("PBXInternalExtensionLength", if size > 8_000 { "6" } else { "4" });
    let empty = world.copy();
    let mut settings = server.settings("none");
    settings["updateAttributes"] = json!(false);
    let (mut plugin, id) = world.install(&settings);

    let first = timed(|| run(&mut plugin, "sync-ldap-users", &id));
    let search = ldapsearch(
        &server,
        &["displayName", "telephoneNumber", "mobile", "mail", "entryUUID", "entryCSN", "jpegPhoto"],
    );
    let insert = insertion(&world, &empty);
    line(size, "first synchronisation, PBX side", first, "ldapsearch + the same rows inserted", search + insert);

    let search = ldapsearch(&server, &["displayName", "telephoneNumber", "mobile", "mail", "entryUUID", "entryCSN"]);
    let again = (0..TURNS).map(|_| timed(|| run(&mut plugin, "sync-ldap-users", &id))).min().expect("some turns");
    line(size, "full pass, nothing changed", again, "ldapsearch without photos", search);

    for person in &people[..10] {
        server.set(&person.login, "mail", &format!("new.{}@example.test", person.login));
    }
    let changes = timed(|| run(&mut plugin, "sync-ldap-users", &id));
    line(size, "ten changes", changes, "ldapsearch without photos", search);
    let page = timed(|| drop(plugin.request("get-people", json!({"perPage": 50, "search": "иван"})).data().clone()));
    println!("| {size} | get-people with a search | {} ms | | | |", page.as_millis());
    phases(&world);
    println!("| {size} | peak memory of the host program | {} MiB | | | |", plugin.peak_memory() / 1024);
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
