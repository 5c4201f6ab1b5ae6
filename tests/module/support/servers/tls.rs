//! A certificate authority of a test's own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::run;

/// Files of one certificate authority and one server certificate.
pub(crate) struct Certificates {
    /// The authority's certificate, PEM.
    pub(crate) ca: PathBuf,
    /// The server's certificate, PEM.
    pub(crate) certificate: PathBuf,
    /// The server's key, PEM, readable by its owner only.
    pub(crate) key: PathBuf,
}

/// Makes an authority and a certificate with the subjectAltName `names` (`IP:127.0.0.1,DNS:localhost`); an empty text
/// makes one without subjectAltName, as Samba does for itself.
pub(crate) fn make(directory: &Path, names: &str) -> Certificates {
    fs::create_dir_all(directory).expect("a directory for certificates");
    let file = |name: &str| directory.join(name);
    let openssl = |arguments: &[&str]| {
        run(Command::new("openssl").current_dir(directory).args(arguments));
    };
    let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    let ca_usage = ["-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign"];
    let authority = ["-days", "30", "-subj", "/CN=Test authority", "-keyout", "ca.key", "-out", "ca.pem"];
    openssl(&[&["req", "-x509"], &key[..], &authority, &ca_usage].concat());
    let request = ["-subj", "/CN=directory.example.test", "-keyout", "server.key", "-out", "server.csr"];
    openssl(&[&["req"], &key[..], &request].concat());
    let alternative = if names.is_empty() { String::new() } else { format!("subjectAltName={names}\n") };
    fs::write(file("extensions"), format!("{alternative}extendedKeyUsage=serverAuth\n")).expect("a file of extensions");
    let sign = ["x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"];
    openssl(&[&sign[..], &["-days", "30", "-extfile", "extensions", "-out", "server.pem"]].concat());
    Certificates { ca: file("ca.pem"), certificate: file("server.pem"), key: file("server.key") }
}
