//! A power cut at every moment of a first synchronisation: afterwards everybody stands once and both sides agree.

use crate::support::crash::{self, Template};
use crate::support::directory::Directory;
use crate::support::host::Installation;
use crate::support::pbx::Rows;
use crate::support::people::{Someone, crowd};
use crate::support::servers::slapd;
use crate::support::world::{World, count, sync};
use serde_json::Value;

const PEOPLE: usize = 100;

#[test]
fn killed_at_every_odd_callback() {
    let Some(story) = Story::make() else { return };
    crash::kill_at_every_second_callback(&story, 1);
}

#[test]
fn killed_at_every_even_callback() {
    let Some(story) = Story::make() else { return };
    crash::kill_at_every_second_callback(&story, 2);
}

#[test]
fn killed_at_random_moments() {
    let Some(story) = Story::make() else { return };
    crash::kill_at_random_moments(&story);
}

/// An installed module that never ran, copied for every scene, and the people its directory holds.
struct Story {
    world: World,
    id: Value,
    people: Vec<Someone>,
    pristine: Rows,
    server: slapd::Slapd,
}

impl Story {
    fn make() -> Option<Story> {
        let people = crowd(PEOPLE);
        let server = slapd::start(&people)?;
        let world = World::new();
        let (mut plugin, id) = world.install(&server.settings("none"));
        assert!(plugin.stop().success());
        let pristine = world.pbx().dump();
        Some(Story { world, id, people, pristine, server })
    }

    fn everybody_once(&self, world: &World, when: &str) {
        let employees = world.pbx().employees();
        let numbers = self.server.by_login("telephoneNumber");
        for person in &self.people {
            let found: Vec<_> =
                employees.iter().filter(|row| row.email == person.mail || row.name == person.name).collect();
            assert_eq!(found.len(), 1, "killed at {when}, {} is {found:?}", person.name);
            assert_eq!(
                numbers[&person.login],
                [found[0].number.clone()],
                "killed at {when}: both sides of {}",
                person.name
            );
            assert!(!found[0].mobile.is_empty(), "killed at {when}: {} has no mobile", person.name);
        }
        assert_eq!(employees.len(), self.world.pbx().employees().len() + self.people.len(), "killed at {when}");
    }
}

impl Template for Story {
    fn server_id(&self) -> &Value {
        &self.id
    }

    fn scene(&self) -> World {
        take_numbers_out(&self.server);
        let world = self.world.copy();
        world.installation.forget();
        world
    }

    fn recover(&self, world: &World, when: &str) {
        let installation: &Installation = &world.installation;
        let mut plugin = installation.start();
        let answer = sync(&mut plugin, &self.id);
        assert_eq!(count(answer.list(), "CONFLICT"), 0, "killed at {when}: {}", answer.body);
        self.everybody_once(world, when);
        world.assert_rows_are_mikopbx(112);
        world.assert_announced_at_least(&self.pristine);

        let settled = world.sides(&self.server);
        installation.forget();
        sync(&mut plugin, &self.id);
        world.assert_unchanged(&self.server, &settled, &format!("the run after recovery ({when})"));
        assert_eq!(installation.announced(), [], "killed at {when}");
    }
}

/// Puts the directory back into the state before the first synchronisation.
fn take_numbers_out(server: &Directory) {
    let numbered = server.by_login("telephoneNumber").into_iter().filter(|(_, values)| !values.is_empty());
    let change = |login: String| format!("dn: {}\nchangetype: modify\ndelete: telephoneNumber\n\n", server.dn(&login));
    let ldif: String = numbered.map(|(login, _)| change(login)).collect();
    if !ldif.is_empty() {
        server.modify(&ldif);
    }
}
