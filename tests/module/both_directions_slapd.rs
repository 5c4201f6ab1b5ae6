//! Edits on both sides with OpenLDAP, which proves by an assertion that an entry is as it was read.

use crate::support::both_directions::{people, tell};
use crate::support::servers::slapd::{self, Options};
use crate::support::world::World;

#[test]
fn edits_on_both_sides_reach_each_other() {
    let writable = "telephoneNumber,mobile,mail,displayName,jpegPhoto,carLicense";
    let Some(server) = slapd::start_with(&people(), &Options { writable, ..Options::default() }) else { return };
    tell(&World::new(), &server, "ldaps");
}
