//! The rights that docs/INSTALL.md gives the directory account: enough to read everybody and to write numbers, mobiles,
//! e-mails, names and photos back, and no more. The documented commands themselves are tried.

use std::fs;

use crate::support::directory::Directory;
use crate::support::people::{Someone, crowd};
use crate::support::root;
use crate::support::servers::{ds389, samba, slapd};
use crate::support::world::{World, sync};
use serde_json::json;

/// Written back for everybody: nobody has a number yet.
const PEOPLE: usize = 5;

#[test]
fn the_documented_access_for_openldap_is_enough_and_no_more() {
    let rights = documented("openldap").replace("dc=com", "dc=test");
    let options = slapd::Options { rights: Some(rights), ..slapd::Options::default() };
    let Some(server) = slapd::start_with(&people(), &options) else { return };
    check(&server, "none", "userPassword");
}

#[test]
fn the_documented_access_for_389ds_is_enough_and_no_more() {
    let rights = documented("389ds").replace("dc=com", "dc=test");
    let Some(mut server) = ds389::start_with_rights(&people(), &rights) else { return };
    // Nothing above the people may be read.
    server.directory.base = server.directory.people.clone();
    check(&server, "none", "userPassword");
}

#[test]
fn the_documented_rights_for_samba_are_enough_and_no_more() {
    let commands = documented("samba");
    let entry = |line: &str| Some(line.split("--sddl=\"").nth(1)?.split('"').next()?.to_owned());
    let rights: Vec<String> = commands.lines().filter_map(entry).collect();
    assert_eq!(rights.len(), 5, "{commands}");
    let Some(server) = samba::start(&people(), &samba::Options { rights, ..samba::Options::default() }) else { return };
    check(&server, "ldaps", "description");
}

fn people() -> Vec<Someone> {
    let mut people = crowd(PEOPLE);
    people.push(Someone::new("zora", "Zora Write"));
    people
}

/// The block of code after the mark `tested: <name>`.
fn documented(name: &str) -> String {
    let text = fs::read_to_string(root().join("docs/INSTALL.md")).expect("docs/INSTALL.md");
    let mark = format!("<!-- tested: {name} -->\n");
    let block = text.split(&mark).nth(1).unwrap_or_else(|| panic!("docs/INSTALL.md has no {mark}"));
    let code = block.split("```").nth(1).and_then(|code| code.split_once('\n')).expect("a block of code");
    code.1.to_owned()
}

/// Everybody is read and gets a number in the directory; anything else may not be written.
fn check(server: &Directory, security: &str, forbidden: &str) {
    let world = World::new();
    let (mut plugin, id) = world.install(&server.settings(security));
    let answer = sync(&mut plugin, &id);
    assert_eq!(answer.list().len(), PEOPLE + 1, "everybody is read: {}", answer.body);
    assert!(plugin.stop().success());
    let employee = world.pbx().employee_named("Zora Write");
    assert_eq!(server.values("zora", "telephoneNumber"), [employee.number], "written back: {}", answer.body);
    for attribute in ["telephoneNumber", "mobile", "mail", "displayName", server.kind.photo_attribute()] {
        assert!(!server.service_may_not_write("zora", attribute), "{attribute} may not be written");
    }
    for attribute in ["sn", forbidden] {
        assert!(server.service_may_not_write("zora", attribute), "{attribute} may be written");
    }
    let tested = world.installation.start().request("test-connection", json!({"id": id}));
    println!("the connection test says: {}", tested.body);
    assert_eq!(tested.status, 0, "{}", tested.errors());
}
