//! Edits on both sides with OpenLDAP, which proves by an assertion that an entry is as it was read.

mod support;

use support::both_directions::{people, tell};
use support::servers::slapd::{self, Options};
use support::world::World;

#[test]
fn edits_on_both_sides_reach_each_other() {
    let writable = "telephoneNumber,mobile,mail,displayName,jpegPhoto,carLicense";
    let Some(server) = slapd::start_with(&people(), &Options { writable, ..Options::default() }) else { return };
    tell(&World::new(), &server, "ldaps");
}
