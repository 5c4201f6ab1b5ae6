//! Samba as an Active Directory domain controller, its LDAP service only, on a loopback address of its own.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use super::guard::Guard;
use super::tls;
use crate::support::directory::{Directory, Kind};
use crate::support::people::{self, Someone};
use crate::support::{have, run};

const BASE: &str = "DC=example,DC=test";
const STAFF: &str = "OU=Staff,DC=example,DC=test";
const ADMIN_PASSWORD: &str = "Adm1n-Passw0rd";
const SERVICE_PASSWORD: &str = "Pbx-Passw0rd-7";

/// What may differ from one test to the next.
#[derive(Default)]
pub(crate) struct Options {
    /// Leave the certificate to Samba, which makes one without subjectAltName.
    pub(crate) own_certificate: bool,
    /// Let the service account write every attribute of users below `OU=Staff`.
    pub(crate) writes_everything: bool,
    /// Access control entries for the service account below `OU=Staff`, with SID in the place of its identifier; those
    /// the tests otherwise give it where there are none.
    pub(crate) rights: Vec<String>,
    /// Give the service account "Replicating Directory Changes" on the domain, which DirSync takes.
    pub(crate) replicates: bool,
}

/// A running domain controller.
pub(crate) struct Samba {
    /// How to reach it.
    pub(crate) directory: Directory,
    /// Its processes.
    pub(crate) guard: Guard,
    _address: Address,
    _files: tempfile::TempDir,
}

impl std::ops::Deref for Samba {
    type Target = Directory;

    fn deref(&self) -> &Directory {
        &self.directory
    }
}

/// Starts a domain controller that holds `people` below `OU=Staff`; `None` when the machine has no Samba. The service
/// account may read, and may write `telephoneNumber` of users below `OU=Staff`, nothing else.
pub(crate) fn start(people: &[Someone], options: &Options) -> Option<Samba> {
    let programs = ["samba", "samba-tool", "ldbadd", "ldapsearch", "ldapmodify", "openssl"];
    if !have("Samba", &programs, true) {
        return None;
    }
    let files = tempfile::Builder::new().prefix("samba-").tempdir().expect("a temporary directory");
    let home = files.path();
    let address = Address::take();
    provision(home, &address.ip);
    let certificates = tls::make(&home.join("own-tls"), &format!("IP:{},DNS:dc1.example.test", address.ip));
    configure(home, &address.ip, (!options.own_certificate).then_some(&certificates));
    load(home, people);
    delegate(home, options);

    let mut server = Command::new("samba");
    server.arg("-s").arg(home.join("smb.conf")).args(["-i", "--no-process-group"]).env("TDB_NO_FSYNC", "1");
    let guard = Guard::start(home, &server, "");
    let ca = if options.own_certificate { home.join("private/tls/ca.pem") } else { certificates.ca };
    let directory = Directory {
        kind: Kind::ActiveDirectory,
        host: address.ip.clone(),
        port: 389,
        tls_port: 636,
        ca,
        base: BASE.to_owned(),
        people: STAFF.to_owned(),
        admin: ("administrator@example.test".to_owned(), ADMIN_PASSWORD.to_owned()),
        service: ("pbx@example.test".to_owned(), SERVICE_PASSWORD.to_owned()),
        admin_over_tls: true,
    };
    guard.wait_ready("Samba", || directory.answers());
    Some(Samba { directory, guard, _address: address, _files: files })
}

/// A loopback address whose LDAP ports are ours: they are fixed in Samba, so each instance needs an address.
struct Address {
    ip: String,
    _lock: File,
}

impl Address {
    fn take() -> Address {
        (21..=99).map(|last| format!("127.0.0.{last}")).find_map(Address::try_take).expect("a free loopback address")
    }

    fn try_take(ip: String) -> Option<Address> {
        let path = std::env::temp_dir().join(format!("ldap-sync-test-samba-{ip}.lock"));
        let lock = File::create(path).ok()?;
        lock.try_lock().ok()?;
        let free = [389, 636, 3268, 3269].iter().all(|port| TcpListener::bind((ip.as_str(), *port)).is_ok());
        free.then_some(Address { ip, _lock: lock })
    }
}

/// `samba-tool` as Debian ships it: another Python earlier in `PATH` would not find Samba's modules.
fn samba_tool(home: &Path) -> Command {
    let mut command = Command::new("/usr/bin/python3");
    command.arg("/usr/bin/samba-tool").current_dir(home).env("TDB_NO_FSYNC", "1");
    command
}

fn provision(home: &Path, ip: &str) {
    for name in ["run", "cache", "log", "ncalrpc", "ntp", "wb", "tls"] {
        fs::create_dir(home.join(name)).expect("a directory of Samba's");
    }
    let mut command = samba_tool(home);
    command.args(["domain", "provision", "--realm=EXAMPLE.TEST", "--domain=EXAMPLE", "--server-role=dc"]);
    command.args(["--dns-backend=NONE", "--host-name=dc1", "--quiet", "--option=bind interfaces only=yes"]);
    command.arg(format!("--adminpass={ADMIN_PASSWORD}")).arg(format!("--targetdir={}", home.display()));
    command.arg(format!("--host-ip={ip}")).arg(format!("--option=interfaces={ip}/8"));
    run(&mut command);
}

fn configure(home: &Path, ip: &str, certificates: Option<&tls::Certificates>) {
    let tls = certificates.map_or(String::new(), |files| {
        format!(
            "tls keyfile = {}\ntls certfile = {}\ntls cafile = {}\n",
            files.key.display(),
            files.certificate.display(),
            files.ca.display()
        )
    });
    let home_text = home.display();
    // Without the /8 Samba cannot work out a broadcast address and does not listen.
    let text = format!(
        "[global]
netbios name = DC1
realm = EXAMPLE.TEST
workgroup = EXAMPLE
server role = active directory domain controller
server services = ldap
dcerpc endpoint servers = none
interfaces = {ip}/8
bind interfaces only = yes
private dir = {home_text}/private
state directory = {home_text}/state
cache directory = {home_text}/cache
lock directory = {home_text}
pid directory = {home_text}/run
ncalrpc dir = {home_text}/ncalrpc
ntp signd socket directory = {home_text}/ntp
winbindd socket directory = {home_text}/wb
binddns dir = {home_text}/bind-dns
log file = {home_text}/log/log.samba
tls enabled = yes
{tls}"
    );
    fs::write(home.join("smb.conf"), text).expect("Samba's configuration");
}

fn load(home: &Path, people: &[Someone]) {
    let tree = format!("dn: {STAFF}\nobjectClass: organizationalUnit\nou: Staff\n\n");
    let ldif = tree + &people::ldif(people, Kind::ActiveDirectory, STAFF);
    fs::write(home.join("people.ldif"), ldif).expect("the people");
    let mut command = Command::new("ldbadd");
    command.env("TDB_NO_FSYNC", "1").arg("-H").arg(home.join("private/sam.ldb")).arg(home.join("people.ldif"));
    run(&mut command);
}

/// The service account with the right to write one attribute: WP (write property) on `telephoneNumber`
/// (bf967a49-0de6-11d0-a285-00aa003049e2) of user objects (bf967aba-...), [MS-ADTS] 5.1.3; or as the options say.
fn delegate(home: &Path, options: &Options) {
    let database = home.join("private/sam.ldb");
    let tool = |arguments: &[&str]| {
        let mut command = samba_tool(home);
        command
            .args(arguments)
            .arg("-H")
            .arg(&database)
            .arg(format!("--configfile={}", home.join("smb.conf").display()));
        run(&mut command)
    };
    tool(&["user", "create", "pbx", SERVICE_PASSWORD]);
    let shown = tool(&["user", "show", "pbx", "--attributes=objectSid"]);
    let sid = shown.lines().find_map(|line| line.strip_prefix("objectSid: ")).expect("a user has a SID");
    let user = "bf967aba-0de6-11d0-a285-00aa003049e2";
    let number_and_photo = ["bf967a49-0de6-11d0-a285-00aa003049e2", "8d3bca50-1d7e-11d0-a081-00aa006c33ed"];
    let attributes = if options.writes_everything { &[""][..] } else { &number_and_photo };
    let own: Vec<String> = attributes.iter().map(|attribute| format!("(OA;CI;WP;{attribute};{user};SID)")).collect();
    let allow = |object: &str, ace: &str| {
        let (object, ace) = (format!("--objectdn={object}"), format!("--sddl={}", ace.replace("SID", sid)));
        tool(&["dsacl", "set", "--action=allow", &object, &ace]);
    };
    for ace in if options.rights.is_empty() { &own[..] } else { &options.rights[..] } {
        allow(STAFF, ace);
    }
    if options.replicates {
        // DS-Replication-Get-Changes (MS-ADTS 5.1.3.2.1).
        allow(BASE, "(OA;;CR;1131f6aa-9c07-11d1-f79f-00c04fc2dcd2;;SID)");
    }
}
