//! OpenLDAP's slapd as a private process.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::guard::Guard;
use super::tls;
use crate::support::directory::{Directory, Kind};
use crate::support::people::{self, Someone};
use crate::support::{free_port, have, program, run};

pub(crate) const SERVICE: &str = "cn=pbx,ou=service,dc=example,dc=test";

/// What may differ from one test to the next.
pub(crate) struct Options {
    /// subjectAltName of the server's certificate.
    pub(crate) names: &'static str,
    /// Most entries the service account gets from one search; 0 is no limit.
    pub(crate) size_limit: u32,
    /// Attributes the service account may write, separated by commas.
    pub(crate) writable: &'static str,
    /// How many changes are remembered for content synchronisation (slapo-syncprov(5)); `None` is no such overlay.
    pub(crate) session_log: Option<u32>,
    /// The service account's limits and rights, in place of those the tests otherwise give it.
    pub(crate) rights: Option<String>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            names: "IP:127.0.0.1,DNS:localhost",
            size_limit: 0,
            writable: "telephoneNumber,mobile,mail,jpegPhoto",
            session_log: Some(1000),
            rights: None,
        }
    }
}

/// A running slapd.
pub(crate) struct Slapd {
    /// How to reach it.
    pub(crate) directory: Directory,
    /// Its process.
    pub(crate) guard: Guard,
    _files: tempfile::TempDir,
}

impl std::ops::Deref for Slapd {
    type Target = Directory;

    fn deref(&self) -> &Directory {
        &self.directory
    }
}

/// Starts a slapd that holds `people`; `None` when the machine has no slapd.
pub(crate) fn start(people: &[Someone]) -> Option<Slapd> {
    start_with(people, &Options::default())
}

/// The same with options.
pub(crate) fn start_with(people: &[Someone], options: &Options) -> Option<Slapd> {
    if !have("slapd", &["slapd", "ldapsearch", "ldapmodify", "openssl"], false) {
        return None;
    }
    let files = tempfile::Builder::new().prefix("slapd-").tempdir().expect("a temporary directory");
    let home = files.path();
    let certificates = tls::make(&home.join("tls"), options.names);
    let slapd = copy_of_slapd(home);
    fs::create_dir(home.join("db")).expect("a directory for the database");
    fs::write(home.join("sip.schema"), SCHEMA).expect("the schema");
    fs::write(home.join("slapd.conf"), configuration(home, &certificates, options)).expect("the configuration");
    fs::write(home.join("people.ldif"), format!("{TREE}{}", people::ldif(people, Kind::OpenLdap, PEOPLE)))
        .expect("the people");
    let load = ["-q", "-f", "slapd.conf", "-b", "dc=example,dc=test", "-l", "people.ldif"];
    run(Command::new(&slapd).arg0("slapadd").current_dir(home).args(load));

    let (port, tls_port) = (free_port(), free_port());
    let mut server = Command::new(&slapd);
    server.arg("-f").arg(home.join("slapd.conf")).args(["-d", "stats", "-h"]);
    server.arg(format!("ldap://127.0.0.1:{port} ldaps://127.0.0.1:{tls_port}"));
    let guard = Guard::start(home, &server, "");
    let directory = Directory {
        kind: Kind::OpenLdap,
        host: "127.0.0.1".to_owned(),
        port,
        tls_port,
        ca: certificates.ca,
        base: "dc=example,dc=test".to_owned(),
        people: PEOPLE.to_owned(),
        admin: ("cn=admin,dc=example,dc=test".to_owned(), "secret".to_owned()),
        service: (SERVICE.to_owned(), "pbx-Passw0rd".to_owned()),
        admin_over_tls: false,
    };
    guard.wait_ready("slapd", || directory.answers());
    Some(Slapd { directory, guard, _files: files })
}

const PEOPLE: &str = "ou=people,dc=example,dc=test";

/// A copy, because Debian's AppArmor profile forbids the packaged path other directories than its own. Another process
/// makes it: a child that another test starts meanwhile would inherit the open file, and it could not be executed.
fn copy_of_slapd(home: &Path) -> PathBuf {
    let copy = home.join("slapd");
    run(Command::new("cp").arg(program("slapd").expect("slapd was found before")).arg(&copy));
    copy
}

fn configuration(home: &Path, certificates: &tls::Certificates, options: &Options) -> String {
    let (home, writable) = (home.display(), options.writable);
    let limit = if options.size_limit == 0 { "unlimited".to_owned() } else { options.size_limit.to_string() };
    let (ca, certificate, key) =
        (certificates.ca.display(), certificates.certificate.display(), certificates.key.display());
    let rights = options.rights.clone().unwrap_or_else(|| {
        format!(
            "limits dn.exact=\"{SERVICE}\" size={limit} time=unlimited
access to attrs={writable} by dn.exact=\"{SERVICE}\" write by users read by * none
access to attrs=userPassword by anonymous auth by * none
access to * by users read by * none
"
        )
    });
    let (module, overlay) = match options.session_log {
        None => (String::new(), String::new()),
        Some(0) => ("moduleload syncprov\n".to_owned(), "overlay syncprov\n".to_owned()),
        Some(log) => ("moduleload syncprov\n".to_owned(), format!("overlay syncprov\nsyncprov-sessionlog {log}\n")),
    };
    format!(
        "include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
include {home}/sip.schema
modulepath /usr/lib/ldap
moduleload back_mdb
{module}pidfile {home}/slapd.pid
argsfile {home}/slapd.args
TLSCACertificateFile {ca}
TLSCertificateFile {certificate}
TLSCertificateKeyFile {key}
sizelimit 500
database mdb
suffix dc=example,dc=test
rootdn cn=admin,dc=example,dc=test
rootpw secret
directory {home}/db
maxsize 4294967296
dbnosync
index objectClass,entryUUID,entryCSN,uid,mail eq
{rights}
access to attrs=userPassword by anonymous auth by * none
{overlay}"
    )
}

/// An attribute without an equality of its own spelling is not needed; a SIP number and a status are.
const SCHEMA: &str = "attributetype ( 1.3.6.1.4.1.99999.1.2 NAME 'sipExtension'
  EQUALITY caseIgnoreMatch SUBSTR caseIgnoreSubstringsMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15{32} SINGLE-VALUE )
objectclass ( 1.3.6.1.4.1.99999.2.1 NAME 'sipAccount' SUP top AUXILIARY MAY ( sipExtension ) )
";

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
