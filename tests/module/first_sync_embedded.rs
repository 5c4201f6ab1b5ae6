//! The first synchronisation with the directory that the demo uses where there is no slapd.

use crate::support::directory::{Directory, Kind};
use crate::support::first_sync::{awkward_people, only_people, tell};
use crate::support::people::ldif;
use crate::support::world::World;
use crate::support::{have, root};
use pbx_host::demo::directory::{Access, EmbeddedDirectory};

const PEOPLE: &str = "ou=people,dc=example,dc=test";
const SERVICE: &str = "cn=pbx,ou=service,dc=example,dc=test";

#[test]
fn awkward_people_become_employees() {
    if !have("OpenLDAP's tools, with which the test looks into the directory,", &["ldapsearch"], false) {
        return;
    }
    let world = World::new();
    let people = awkward_people(world.pbx());
    let tree = format!("{TREE}{}", ldif(&only_people(&people), Kind::OpenLdap, PEOPLE));
    let writable = ["telephoneNumber", "jpegPhoto"].map(str::to_owned).to_vec();
    let access = Access { service_dn: SERVICE.to_owned(), writable };
    let embedded = EmbeddedDirectory::start(&tree, 0, &access).expect("an embedded directory");
    tell(&world, &reached_at(embedded.port()), &people, "none");
}

/// The embedded directory has no administrator: the plugin's account also shows the test what is there.
fn reached_at(port: u16) -> Directory {
    let account = (SERVICE.to_owned(), "pbx-Passw0rd".to_owned());
    Directory {
        kind: Kind::OpenLdap,
        host: "127.0.0.1".to_owned(),
        port,
        tls_port: 0,
        // There is no TLS; the settings of a plain connection hold no authority.
        ca: root().join("LICENSE"),
        base: "dc=example,dc=test".to_owned(),
        people: PEOPLE.to_owned(),
        admin: account.clone(),
        service: account,
        admin_over_tls: false,
    }
}

const TREE: &str = "dn: dc=example,dc=test
objectClass: dcObject
objectClass: organization
dc: example
o: Example

dn: ou=people,dc=example,dc=test
objectClass: organizationalUnit
ou: people

dn: ou=service,dc=example,dc=test
objectClass: organizationalUnit
ou: service

dn: cn=pbx,ou=service,dc=example,dc=test
objectClass: applicationProcess
objectClass: simpleSecurityObject
cn: pbx
userPassword: pbx-Passw0rd

";
