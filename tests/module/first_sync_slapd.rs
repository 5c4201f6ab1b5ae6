//! The first synchronisation with OpenLDAP.

use crate::support::first_sync::{awkward_people, only_people, tell};
use crate::support::servers::slapd;
use crate::support::world::World;

#[test]
fn awkward_people_become_employees_over_ldaps() {
    check("ldaps");
}

#[test]
fn awkward_people_become_employees_over_starttls() {
    check("starttls");
}

#[test]
fn awkward_people_become_employees_over_plain_loopback() {
    check("none");
}

fn check(security: &str) {
    let world = World::new();
    let people = awkward_people(world.pbx());
    let Some(server) = slapd::start(&only_people(&people)) else { return };
    tell(&world, &server, &people, security);
}
