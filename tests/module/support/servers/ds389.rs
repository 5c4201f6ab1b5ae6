//! 389 Directory Server as a private process. Its tools know only the system's own directories, so an instance with a
//! name of its own is made there and removed at the end.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::guard::Guard;
use super::tls;
use crate::support::directory::{Directory, Kind};
use crate::support::people::{self, Someone};
use crate::support::{free_port, have, run};

const SUFFIX: &str = "dc=example,dc=test";
const PEOPLE: &str = "ou=people,dc=example,dc=test";
const SERVICE: &str = "cn=pbx,ou=service,dc=example,dc=test";
const ADMIN_PASSWORD: &str = "dm-Passw0rd";
const DEFAULTS: &str = "/usr/share/dirsrv/inf/defaults.inf";

/// A running 389 Directory Server.
pub(crate) struct Ds389 {
    /// How to reach it.
    pub(crate) directory: Directory,
    /// Its process.
    pub(crate) guard: Guard,
    _files: tempfile::TempDir,
}

impl std::ops::Deref for Ds389 {
    type Target = Directory;

    fn deref(&self) -> &Directory {
        &self.directory
    }
}

/// Starts a server that holds `people`; `None` when the machine has none. The service account may read, and may write
/// `telephoneNumber`, `mobile`, `mail` and `jpegPhoto`, nothing else.
pub(crate) fn start(people: &[Someone]) -> Option<Ds389> {
    start_with(people, "telephoneNumber || mobile || mail || jpegPhoto")
}

/// The same, with other attributes that the service account may write.
pub(crate) fn start_with(people: &[Someone], writable: &str) -> Option<Ds389> {
    start_with_rights(people, &ACCESS.replace("WRITABLE", writable))
}

/// The same with the service account's rights as LDIF.
pub(crate) fn start_with_rights(people: &[Someone], access: &str) -> Option<Ds389> {
    if !have("389 Directory Server", &["ns-slapd", "dscreate", "ldapsearch", "ldapadd", "openssl"], true) {
        return None;
    }
    let files = tempfile::Builder::new().prefix("ds389-").tempdir().expect("a temporary directory");
    let (port, tls_port) = (free_port(), free_port());
    let instance = Instance::create(files.path(), port, tls_port);
    let ca = instance.use_certificate(&tls::make(&files.path().join("tls"), "IP:127.0.0.1,DNS:localhost"));
    instance.listen_on_loopback();

    let mut server = Command::new("ns-slapd");
    server.arg("-D").arg(&instance.configuration).arg("-i").arg(files.path().join("ns-slapd.pid")).args(["-d", "0"]);
    let guard = Guard::start(files.path(), &server, &instance.removal());
    let directory = Directory {
        kind: Kind::Ds389,
        host: "127.0.0.1".to_owned(),
        port,
        tls_port,
        ca,
        base: SUFFIX.to_owned(),
        people: PEOPLE.to_owned(),
        admin: ("cn=Directory Manager".to_owned(), ADMIN_PASSWORD.to_owned()),
        service: (SERVICE.to_owned(), "pbx-Passw0rd".to_owned()),
        admin_over_tls: false,
    };
    guard.wait_ready("389 Directory Server", || directory.answers());
    directory.add(TREE);
    directory.modify(access);
    directory.add(&people::ldif(people, Kind::Ds389, PEOPLE));
    Some(Ds389 { directory, guard, _files: files })
}

struct Instance {
    name: String,
    configuration: PathBuf,
}

impl Instance {
    fn create(home: &Path, port: u16, tls_port: u16) -> Instance {
        let name = format!("ldapsync{}-{port}", std::process::id());
        let template = home.join("instance.inf");
        fs::write(&template, instance_template(&name, port, tls_port)).expect("the instance's template");
        // dscreate talks to systemd unless its defaults say otherwise; other tests may be editing the same file.
        let lock = File::create(std::env::temp_dir().join("ldap-sync-test-389ds.lock")).expect("a lock file");
        lock.lock().expect("a lock on a local file");
        without_systemd();
        for directory in ["/run/lock/dirsrv", "/run/dirsrv"] {
            run(Command::new("install").args(["-d", "-o", "dirsrv", "-g", "dirsrv", directory]));
        }
        run(Command::new("/usr/bin/python3").arg("/usr/sbin/dscreate").arg("from-file").arg(&template));
        let configuration = PathBuf::from(format!("/etc/dirsrv/slapd-{name}"));
        Instance { name, configuration }
    }

    /// Puts a certificate of our own authority into the instance's NSS database, under the name it expects.
    fn use_certificate(&self, certificates: &tls::Certificates) -> PathBuf {
        let store = self.configuration.join("server.p12");
        let mut export = Command::new("openssl");
        export.args(["pkcs12", "-export", "-name", "Server-Cert", "-passout", "pass:x", "-out"]).arg(&store);
        export.arg("-in").arg(&certificates.certificate).arg("-inkey").arg(&certificates.key);
        run(&mut export);
        let nss = |program: &str, arguments: &[&str]| {
            let mut command = Command::new(program);
            command
                .args(arguments)
                .arg("-d")
                .arg(&self.configuration)
                .arg("-f")
                .arg(self.configuration.join("pwdfile.txt"));
            command
        };
        run(&mut nss("certutil", &["-D", "-n", "Server-Cert"]));
        let password = self.configuration.join("pwdfile.txt");
        let mut import = Command::new("pk12util");
        import.arg("-i").arg(&store).arg("-d").arg(&self.configuration).args(["-W", "x", "-k"]).arg(&password);
        run(&mut import);
        let ca = certificates.ca.display().to_string();
        run(&mut nss("certutil", &["-A", "-n", "Test authority", "-t", "CT,,", "-a", "-i", &ca]));
        fs::remove_file(store).expect("the exported key is ours");
        certificates.ca.clone()
    }

    /// dscreate knows no listen address; the stopped server's own file does.
    fn listen_on_loopback(&self) {
        let file = self.configuration.join("dse.ldif");
        let text = fs::read_to_string(&file).expect("the server's configuration");
        let address = "dn: cn=config\nnsslapd-listenhost: 127.0.0.1\nnsslapd-securelistenhost: 127.0.0.1\n";
        assert!(text.contains("\ndn: cn=config\n") || text.starts_with("dn: cn=config\n"), "dse.ldif has no cn=config");
        fs::write(&file, text.replacen("dn: cn=config\n", address, 1)).expect("the server's configuration");
    }

    /// What removes the instance: the directories that dscreate made for it.
    fn removal(&self) -> String {
        ["/etc/dirsrv", "/var/lib/dirsrv", "/var/log/dirsrv", "/run/lock/dirsrv", "/run/dirsrv", "/var/cache/dirsrv"]
            .map(|parent| format!("rm -rf {parent}/slapd-{}", self.name))
            .join("; ")
    }
}

fn instance_template(name: &str, port: u16, tls_port: u16) -> String {
    format!(
        "[general]
full_machine_name = localhost
start = False
strict_host_checking = False
selinux = False
[slapd]
instance_name = {name}
port = {port}
secure_port = {tls_port}
root_password = {ADMIN_PASSWORD}
self_sign_cert = True
[backend-userroot]
suffix = {SUFFIX}
sample_entries = no
create_suffix_entry = True
"
    )
}

fn without_systemd() {
    let text = fs::read_to_string(DEFAULTS).expect("389-ds-base brings its defaults");
    if text.contains("with_systemd = 1") {
        fs::write(DEFAULTS, text.replace("with_systemd = 1", "with_systemd = 0")).expect("root may edit the defaults");
    }
}

const ACCESS: &str = "dn: dc=example,dc=test
changetype: modify
add: aci
aci: (targetattr != \"userPassword\") (version 3.0; acl \"users read\"; allow (read, search, compare) userdn = \"ldap:///all\";)
aci: (targetattr = \"WRITABLE\") (version 3.0; acl \"pbx writes\"; allow (write) userdn = \"ldap:///cn=pbx,ou=service,dc=example,dc=test\";)
";

const TREE: &str = "dn: ou=people,dc=example,dc=test
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
