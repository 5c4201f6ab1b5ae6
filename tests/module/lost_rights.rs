//! Rights to read that the directory account loses: to one attribute, to all of a person's, to the people themselves.
//! Nobody has left, and nothing was cleared.

use crate::support::people::crowd;
use crate::support::servers::slapd::{self, SERVICE};
use crate::support::world::{World, sync};
use serde_json::{Value, json};

/// Who is a member of the group may read and write.
const RIGHTS: &str = "\
access to dn.subtree=\"ou=people,dc=example,dc=test\" attrs=mail
  by group.exact=\"cn=address,ou=service,dc=example,dc=test\" write by * none
access to dn.subtree=\"ou=people,dc=example,dc=test\" attrs=displayName,cn,sn,givenName,telephoneNumber,mobile,jpegPhoto
  by group.exact=\"cn=values,ou=service,dc=example,dc=test\" write by * none
access to dn.children=\"ou=people,dc=example,dc=test\" attrs=entry
  by group.exact=\"cn=people,ou=service,dc=example,dc=test\" read by * none
access to attrs=userPassword by anonymous auth by * none
access to * by users read by * none
";

#[test]
fn nobody_leaves_and_nothing_is_cleared_when_rights_to_read_are_lost() {
    let limits = format!("limits dn.exact=\"{SERVICE}\" size=unlimited time=unlimited\n");
    let options = slapd::Options { rights: Some(limits + RIGHTS), ..slapd::Options::default() };
    let people = crowd(25);
    let Some(server) = slapd::start_with(&people, &options) else { return };
    let dn = |group: &str| format!("cn={group},ou=service,dc=example,dc=test");
    for group in ["address", "values", "people"] {
        let members = format!("member: {}\nmember: {SERVICE}", server.admin.0);
        server.add(&format!("dn: {}\nobjectClass: groupOfNames\ncn: {group}\n{members}\n\n", dn(group)));
    }
    let membership = |change: &str, group: &str| {
        server.modify(&format!("dn: {}\nchangetype: modify\n{change}: member\nmember: {SERVICE}\n", dn(group)));
    };
    let world = World::new();
    let (mut plugin, id) = world.install(&server.settings("none"));
    assert_eq!(sync(&mut plugin, &id).list().len(), people.len());
    sync(&mut plugin, &id);
    let left = |plugin: &mut crate::support::host::Plugin| -> Vec<Value> {
        plugin.request("get-disabled-ldap-users", json!({"id": id})).list().to_vec()
    };

    for (group, words) in [("address", vec!["mail"]), ("values", vec!["displayName", "mobile", "telephoneNumber"])] {
        membership("delete", group);
        let lost = world.sides(&server);
        for _ in 0..2 {
            let answer = plugin.request("sync-ldap-users", json!({"id": id}));
            world.assert_unchanged(&server, &lost, &format!("the lost right to {group}"));
            let said = answer.body.to_string();
            assert!(words.iter().all(|word| said.contains(word)), "the answer does not name {words:?}: {said}");
        }
        assert_eq!(left(&mut plugin), Vec::<Value>::new());
        membership("add", group);
        let back = world.sides(&server);
        sync(&mut plugin, &id);
        world.assert_unchanged(&server, &back, &format!("the right to {group}, given back"));
    }

    membership("delete", "people");
    let lost = world.sides(&server);
    let refused = plugin.request("sync-ldap-users", json!({"id": id}));
    assert_eq!(refused.status, 5, "{}", refused.body);
    world.assert_unchanged(&server, &lost, "people who may not be seen");
    assert_eq!(left(&mut plugin), Vec::<Value>::new());
    membership("add", "people");

    // Everything goes on where it stood.
    server.set(&people[0].login, "mail", "edited@example.test");
    sync(&mut plugin, &id);
    assert_eq!(world.pbx().employee_named(&people[0].name).email, "edited@example.test");
    world.assert_rows_are_mikopbx(112);
}
