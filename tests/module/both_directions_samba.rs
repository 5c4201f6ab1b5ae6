//! Edits on both sides with Active Directory, as Samba speaks it, which knows the time of each attribute's edit.

use crate::support::both_directions::{people, tell};
use crate::support::servers::samba::{self, Options};
use crate::support::world::World;

#[test]
fn edits_on_both_sides_reach_each_other() {
    let options = Options { writes_everything: true, ..Options::default() };
    let Some(server) = samba::start(&people(), &options) else { return };
    tell(&World::new(), &server, "ldaps");
}
