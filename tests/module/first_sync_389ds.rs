//! The first synchronisation with 389 Directory Server, which is also what FreeIPA stands on.

use crate::support::first_sync::{awkward_people, only_people, tell};
use crate::support::servers::ds389;
use crate::support::world::World;

#[test]
fn awkward_people_become_employees() {
    let world = World::new();
    let people = awkward_people(world.pbx());
    let Some(server) = ds389::start(&only_people(&people)) else { return };
    assert!(server.service_may_not_write("anna", "displayName"), "the account has more rights than it needs");
    tell(&world, &server, &people, "ldaps");
}
