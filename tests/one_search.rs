//! A thousand people cost one search, and no question about anybody who did not change.

mod support;

use serde_json::json;
use support::people::crowd;
use support::servers::slapd;
use support::world::{World, count, sync};

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
    assert_eq!(count(sync(&mut plugin, &id).list(), "SKIPPED"), people.len());
    let log = world.installation.log_text();
    let searches = log.lines().filter(|line| line.contains("search of ")).collect::<Vec<_>>();
    assert_eq!(searches.len(), 1, "the searches of a run over unchanged people: {searches:#?}");
    for person in people.iter().step_by(97) {
        let lines: Vec<&str> =
            log.lines().filter(|line| line.contains(&person.login) || line.contains(&person.mail)).collect();
        assert!(lines.is_empty(), "the run asked about {}: {lines:#?}", person.name);
    }
    assert!(
        log.lines().count() < 200,
        "the log of an unchanged run grows with the people: {} lines",
        log.lines().count()
    );
}
