//! The first synchronisation with the directory that the demo uses where there is no slapd.

mod support;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use support::build::built;
use support::directory::{Directory, Kind};
use support::first_sync::{awkward_people, only_people, tell};
use support::people::ldif;
use support::world::World;
use support::{have, root};

const PEOPLE: &str = "ou=people,dc=example,dc=test";

/// A directory inside the host program, which ends with this value.
struct Embedded {
    child: Child,
    directory: Directory,
}

impl Drop for Embedded {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn awkward_people_become_employees() {
    if !have("the embedded directory's counterpart", &["ldapsearch", "ldapmodify"], false) {
        return;
    }
    let world = World::new();
    let people = awkward_people(world.pbx());
    let tree = format!("{TREE}{}", ldif(&only_people(&people), Kind::OpenLdap, PEOPLE));
    let file = world.path().join("people.ldif");
    std::fs::write(&file, tree).expect("the people");
    let embedded = start(&file);
    tell(&world, &embedded.directory, &people, "none");
}

/// The host program tells the address it listens on in its first line.
fn start(ldif: &std::path::Path) -> Embedded {
    let mut command = Command::new(&built().host);
    command.args(["demo-directory", "--listen", "127.0.0.1:0", "--ldif"]).arg(ldif).stdout(Stdio::piped());
    let mut child = command.spawn().expect("the host program can be started");
    let mut first = String::new();
    let stdout = child.stdout.take().expect("stdout is piped");
    BufReader::new(stdout).read_line(&mut first).expect("a first line");
    let port = first.trim().rsplit(':').next().and_then(|port| port.parse().ok());
    let port = port.unwrap_or_else(|| panic!("no port in {first:?}"));
    let account = ("cn=pbx,ou=service,dc=example,dc=test".to_owned(), "pbx-Passw0rd".to_owned());
    let directory = Directory {
        kind: Kind::OpenLdap,
        host: "127.0.0.1".to_owned(),
        port,
        tls_port: 0,
        ca: root().join("LICENSE"),
        base: "dc=example,dc=test".to_owned(),
        people: PEOPLE.to_owned(),
        admin: account.clone(),
        service: account,
        admin_over_tls: false,
    };
    Embedded { child, directory }
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
