//! A private slapd on loopback, with its own authority and people.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::ops::ControlFlow;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use directory::{Attributes, LdapDirectory, Security, ServerSettings, Timeouts, Vendor};
use sync_core::directory::{Directory, DirectoryError, DirectorySnapshot, KnownPhotos, ReadRequest};
use sync_core::person::{DirectoryEntry, DirectoryKey, Photo};
use sync_core::vault::Vault;
use tempfile::TempDir;

const SLAPD: &str = "/usr/sbin/slapd";
/// 21 November 2026, 00:00 UTC.
pub(crate) const NOW: i64 = 1_795_219_200_000;
pub(crate) const BASE: &str = "dc=example,dc=test";
pub(crate) const PEOPLE: &str = "ou=people,dc=example,dc=test";
pub(crate) const PBX: &str = "cn=pbx,ou=service,dc=example,dc=test";

/// Which certificate the server shows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Certificate {
    /// For 127.0.0.1 and localhost, by the test's authority.
    Good,
    /// Without a subjectAltName.
    Nameless,
    /// For another host.
    OtherHost,
    /// Over since long ago.
    Expired,
    /// Marked as an authority's (CA:TRUE), as some appliances make it.
    Authority,
}

/// A running slapd, ended by its drop.
pub(crate) struct Slapd {
    pub(crate) directory: TempDir,
    child: Child,
    pub(crate) port: u16,
    pub(crate) tls_port: u16,
    pub(crate) ca: String,
}

impl Drop for Slapd {
    fn drop(&mut self) {
        // It may be gone or stopped already; SIGKILL ends it in either case.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether slapd and the programs beside it are installed. Where they must be, their absence is a failure.
fn installed() -> bool {
    let works = |program: &str, argument: &str| Command::new(program).arg(argument).output().is_ok();
    let present = Path::new(SLAPD).exists()
        && works("openssl", "version")
        && works("ldapmodify", "-VV")
        && works("ldapsearch", "-VV");
    let required = std::env::var("REQUIRE_SERVERS").is_ok_and(|value| value == "1");
    assert!(present || !required, "slapd, ldap-utils or openssl is not installed");
    if !present {
        eprintln!("skipped: slapd, ldap-utils or openssl is not installed");
    }
    present
}

/// A port below those that the system gives to outgoing connections: none takes it before slapd does, and nobody who
/// tries it is connected with himself.
fn free_port() -> u16 {
    let any = || 10_000 + u16::try_from(RandomState::new().build_hasher().finish() % 20_000).expect("a small number");
    std::iter::repeat_with(any)
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .expect("a free port")
}

fn run(directory: &Path, program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).current_dir(directory).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn make_certificates(directory: &Path, kind: Certificate) {
    let subject = match kind {
        Certificate::OtherHost => "/CN=other.example.test",
        _ => "/CN=ldap.example.test",
    };
    let names = match kind {
        Certificate::Nameless => "",
        Certificate::OtherHost => "subjectAltName=DNS:other.example.test\n",
        _ => "subjectAltName=DNS:localhost,IP:127.0.0.1\n",
    };
    let authority = if kind == Certificate::Authority { "basicConstraints=critical,CA:TRUE\n" } else { "" };
    fs::write(directory.join("ext"), format!("{names}{authority}extendedKeyUsage=serverAuth\n")).expect("a file");
    let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    let authority = [
        &["req", "-x509"][..],
        &key,
        &["-days", "30", "-subj", "/CN=Test Authority", "-keyout", "ca.key", "-out", "ca.pem"],
        &["-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign"],
    ];
    run(directory, "openssl", &authority.concat());
    let request = [&["req"][..], &key, &["-subj", subject, "-keyout", "server.key", "-out", "server.csr"]];
    run(directory, "openssl", &request.concat());
    fs::write(directory.join("index.txt"), "").expect("a file");
    let conf = "[ca]\ndefault_ca=own\n[own]\ndatabase=index.txt\nnew_certs_dir=.\nrand_serial=yes\npolicy=any\n\
                default_md=sha256\nunique_subject=no\n[any]\ncommonName=supplied\n";
    fs::write(directory.join("ca.conf"), conf).expect("a file");
    let (start, end) = match kind {
        Certificate::Expired => ("20200101000000Z", "20200201000000Z"),
        _ => ("20200101000000Z", "20490101000000Z"),
    };
    let sign =
        ["ca", "-batch", "-notext", "-config", "ca.conf", "-cert", "ca.pem", "-keyfile", "ca.key", "-extfile", "ext"];
    let sign = [&sign[..], &["-startdate", start, "-enddate", end, "-in", "server.csr", "-out", "server.pem"]];
    run(directory, "openssl", &sign.concat());
}

/// Starts slapd and waits until it answers; nothing when it ended, because somebody took its port meanwhile.
fn spawn(directory: &Path) -> Option<(Child, u16, u16)> {
    let (port, tls_port) = (free_port(), free_port());
    let addresses = format!("ldap://127.0.0.1:{port} ldaps://127.0.0.1:{tls_port}");
    let mut child = Command::new(SLAPD)
        .args(["-d", "0", "-f", "slapd.conf", "-h", &addresses])
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("slapd");
    let end = Instant::now() + Duration::from_secs(20);
    // One after the other begins to listen.
    while [port, tls_port].iter().any(|port| TcpStream::connect((Ipv4Addr::LOCALHOST, *port)).is_err()) {
        if child.try_wait().expect("its state").is_some() {
            return None;
        }
        assert!(Instant::now() < end, "slapd did not come up");
        std::thread::yield_now();
    }
    child.try_wait().expect("its state").is_none().then_some((child, port, tls_port))
}

impl Slapd {
    /// Starts a server with `people` (LDIF below [`PEOPLE`]); `more` are lines of its database's configuration. `None`
    /// when slapd is not installed.
    pub(crate) fn start(people: &str, more: &str, certificate: Certificate) -> Option<Slapd> {
        if !installed() {
            return None;
        }
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path();
        make_certificates(path, certificate);
        fs::create_dir(path.join("db")).expect("a directory");
        fs::write(path.join("slapd.conf"), configuration(path, more)).expect("a file");
        fs::write(path.join("all.ldif"), format!("{TREE}{people}")).expect("a file");
        run(path, "/usr/sbin/slapadd", &["-q", "-f", "slapd.conf", "-b", BASE, "-l", "all.ldif"]);
        let ca = fs::read_to_string(path.join("ca.pem")).expect("the authority");
        let (child, port, tls_port) = (0..5).find_map(|_| spawn(path)).expect("slapd on free ports");
        Some(Slapd { directory, child, port, tls_port, ca })
    }

    /// Sends a signal by name to this server's own process.
    pub(crate) fn signal(&self, name: &str) {
        run(self.directory.path(), "kill", &[name, &self.child.id().to_string()]);
    }

    /// Settings that work.
    pub(crate) fn settings(&self) -> ServerSettings {
        ServerSettings { ca_certificate: self.ca.clone(), ..settings(self.tls_port, Security::Ldaps) }
    }

    /// Somebody else's edit, as the directory's administrator.
    pub(crate) fn edit(&self, ldif: &str) {
        let address = format!("ldap://127.0.0.1:{}", self.port);
        let mut child = Command::new("ldapmodify")
            .args(["-x", "-H", &address, "-D", "cn=admin,dc=example,dc=test", "-w", "secret"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("ldapmodify");
        child.stdin.take().expect("its input").write_all(ldif.as_bytes()).expect("an edit");
        assert!(child.wait().expect("ldapmodify").success(), "{ldif}");
    }

    /// The values of one attribute, read by another program, sorted.
    pub(crate) fn values(&self, dn: &str, attribute: &str) -> Vec<String> {
        let address = format!("ldap://127.0.0.1:{}", self.port);
        let output = Command::new("ldapsearch")
            .args(["-x", "-LLL", "-o", "ldif-wrap=no", "-H", &address, "-D", "cn=admin,dc=example,dc=test"])
            .args(["-w", "secret", "-s", "base", "-b", dn, attribute])
            .output()
            .expect("ldapsearch");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let prefix = format!("{attribute}: ");
        let mut values: Vec<String> =
            text.lines().filter_map(|line| line.strip_prefix(&prefix)).map(str::to_owned).collect();
        values.sort();
        values
    }
}

/// Settings for a server on loopback.
pub(crate) fn settings(port: u16, security: Security) -> ServerSettings {
    ServerSettings {
        vendor: Vendor::OpenLdap,
        hosts: vec!["127.0.0.1".to_owned()],
        port,
        security,
        ca_certificate: String::new(),
        verify_certificate: true,
        pinned_certificate: None,
        allow_plain: false,
        login: PBX.to_owned(),
        password: "pbxpass".into(),
        base_dn: BASE.to_owned(),
        organizational_unit: "people".to_owned(),
        user_filter: "(objectClass=inetOrgPerson)".to_owned(),
        attributes: Attributes {
            name: "displayName".to_owned(),
            number: "telephoneNumber".to_owned(),
            mobile: "mobile".to_owned(),
            email: "mail".to_owned(),
            photo: "jpegPhoto".to_owned(),
            secret: String::new(),
            employee_number: String::new(),
            account_status: "employeeType".to_owned(),
        },
        page_size: 500,
        timeouts: Timeouts { connect: Duration::from_secs(5), operation: Duration::from_secs(5) },
    }
}

fn configuration(directory: &Path, more: &str) -> String {
    let own = directory.display();
    format!(
        "include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile {own}/slapd.pid
TLSCACertificateFile {own}/ca.pem
TLSCertificateFile {own}/server.pem
TLSCertificateKeyFile {own}/server.key
sizelimit 500
database mdb
suffix {BASE}
rootdn cn=admin,{BASE}
rootpw secret
directory {own}/db
maxsize 1073741824
index objectClass,entryUUID eq
{more}
access to attrs=userPassword by anonymous auth by * none
access to attrs=telephoneNumber,jpegPhoto,employeeNumber,facsimileTelephoneNumber by dn.exact=\"{PBX}\" write by users read by * none
access to * by users read by * none
"
    )
}

/// The configuration line that lets the PBX's account read everybody.
pub(crate) const UNLIMITED: &str =
    "limits dn.exact=\"cn=pbx,ou=service,dc=example,dc=test\" size=unlimited time=unlimited";

const TREE: &str = "dn: dc=example,dc=test
objectClass: dcObject
objectClass: organization
o: Example
dc: example

dn: ou=people,dc=example,dc=test
objectClass: organizationalUnit
ou: people

dn: ou=left,dc=example,dc=test
objectClass: organizationalUnit
ou: left

dn: ou=service,dc=example,dc=test
objectClass: organizationalUnit
ou: service

dn: cn=pbx,ou=service,dc=example,dc=test
objectClass: applicationProcess
objectClass: simpleSecurityObject
cn: pbx
userPassword: pbxpass

";

/// LDIF of one person; `more` are further lines.
pub(crate) fn person(uid: &str, more: &str) -> String {
    format!("dn: uid={uid},{PEOPLE}\nobjectClass: inetOrgPerson\nuid: {uid}\ncn: {uid}\nsn: {uid}\n{more}\n")
}

/// LDIF of `count` people with a name each.
pub(crate) fn crowd(count: usize) -> String {
    (0..count).fold(String::new(), |mut ldif, number| {
        let more = format!("displayName: Person {number}\nmail: p{number}@example.test\n");
        write!(ldif, "{}", person(&format!("p{number:04}"), &more)).expect("text");
        ldif
    })
}

/// Reads everybody; photos go to `spool`. Nobody had a photo before.
pub(crate) fn read_with(
    settings: ServerSettings,
    marks: &BTreeMap<DirectoryKey, String>,
    spool: &Path,
    progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
) -> Result<DirectorySnapshot, DirectoryError> {
    let vault = &Vault::new([0; 32]);
    let known = Arc::new(KnownPhotos { marks: marks.clone(), had: BTreeSet::new() });
    let request = ReadRequest { photos: &|| Some(Arc::clone(&known)), only: None, spool, vault, now: NOW };
    LdapDirectory::new(settings).read(&request, progress)
}

/// Reads everybody after a read that brought `before`.
pub(crate) fn read_after(
    settings: ServerSettings,
    before: &[Arc<DirectoryEntry>],
) -> Result<DirectorySnapshot, DirectoryError> {
    let spool = tempfile::tempdir().expect("a directory");
    let marks = before.iter().map(|entry| (entry.key.clone(), entry.change_mark.clone())).collect();
    let had_photo = before.iter().filter(|entry| matches!(entry.photo, Photo::Spooled { .. }));
    let known = Arc::new(KnownPhotos { marks, had: had_photo.map(|entry| entry.key.clone()).collect() });
    let (spool, vault) = (spool.path(), &Vault::new([0; 32]));
    let request = ReadRequest { photos: &|| Some(Arc::clone(&known)), only: None, spool, vault, now: NOW };
    LdapDirectory::new(settings).read(&request, &mut |_| ControlFlow::Continue(()))
}

/// Reads everybody as for the first time.
pub(crate) fn read(settings: ServerSettings) -> Result<DirectorySnapshot, DirectoryError> {
    let spool = tempfile::tempdir().expect("a directory");
    read_with(settings, &BTreeMap::new(), spool.path(), &mut |_| ControlFlow::Continue(()))
}
