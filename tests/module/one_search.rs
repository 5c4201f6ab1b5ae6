//! A thousand people cost one search, and no question about anybody who did not change.

use crate::support::people::crowd;
use crate::support::servers::slapd;
use crate::support::world::{World, count, sync};
use serde_json::json;

#[test]
fn a_thousand_unchanged_people_cost_one_search_and_no_query_each() {
    let world = World::new();
    world.pbx().set_setting("PBXInternalExtensionLength", "4");
    let people = crowd(1000);
    let Some(server) = slapd::start(&people) else { return };
    let mut settings = server.settings("ldaps");
    settings["numberFrom"] = json!("3000");
    settings["numberTo"] = json!("4999");
    let (mut plugin, id) = world.install(&settings);
    assert_eq!(count(sync(&mut plugin, &id).list(), "UPDATED"), people.len());

    world.installation.forget();
    let told_before = server.guard.log_text().len();
    assert_eq!(count(sync(&mut plugin, &id).list(), "SKIPPED"), people.len());
    let log = world.installation.log_text();
    let searches: Vec<&str> = log.lines().filter(|line| line.contains("entries in ")).collect();
    assert_eq!(searches.len(), 1, "the searches of a run over unchanged people: {searches:#?}");
    assert!(searches[0].contains("1000 entries"), "{}", searches[0]);
    for person in people.iter().step_by(97) {
        let lines: Vec<&str> =
            log.lines().filter(|line| line.contains(&person.login) || line.contains(&person.mail)).collect();
        assert!(lines.is_empty(), "the run asked about {}: {lines:#?}", person.name);
    }
    let told = log.lines().find(|line| line.contains("SQL statements")).expect("the log tells the SQL statements");
    let statements: Vec<u64> = told.split(|c: char| !c.is_ascii_digit()).filter_map(|word| word.parse().ok()).collect();
    assert!(statements[1..].iter().all(|count| (1..150).contains(count)), "queries that grow with people: {told}");
    let lines = log.lines().count();
    assert!(lines < 200, "the log of a run over unchanged people grows with them: {lines} lines");

    // What the server itself saw (its statistics log, one SRCH line per page): the pages of that one search.
    let seen = server.guard.log_text();
    let pages: Vec<&str> = seen[told_before..].lines().filter(|line| line.contains("SRCH base=\"ou=people")).collect();
    assert!((1..=2).contains(&pages.len()), "pages of 500 to 1,000 people: {pages:#?}");
    assert!(!seen[told_before..].contains(" MOD dn="), "unchanged people are not written");
}
