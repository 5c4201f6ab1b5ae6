//! Edits on both sides with 389 Directory Server, which has neither the assertion control nor times of attributes.

use crate::support::both_directions::{people, tell};
use crate::support::servers::ds389;
use crate::support::world::World;

#[test]
fn edits_on_both_sides_reach_each_other() {
    let writable = "telephoneNumber || mobile || mail || displayName || jpegPhoto || carLicense";
    let Some(server) = ds389::start_with(&people(), writable) else { return };
    tell(&World::new(), &server, "ldaps");
}
