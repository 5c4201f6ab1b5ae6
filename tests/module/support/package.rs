//! The package, made of the binaries the tests build, and unpacked as MikoPBX unpacks it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use tempfile::TempDir;

use super::build::{built, output_directory};
use super::{root, run};

/// `cargo xtask package` with these arguments, without optimisation; answers what it printed.
pub(crate) fn make(arguments: &[&str]) -> String {
    let target = output_directory();
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root()).args(["run", "--quiet", "--package", "xtask", "--target-dir"]);
    command.arg(target.parent().expect("target/<profile> has a parent")).args(["--", "package"]);
    // Compiled in a fraction of the time; what the binaries ask of the system stays the same.
    for (setting, value) in [("LTO", "off"), ("OPT_LEVEL", "0"), ("CODEGEN_UNITS", "256")] {
        command.env(format!("CARGO_PROFILE_RELEASE_{setting}"), value);
    }
    run(command.args(arguments))
}

/// The package of the tests' binaries, made once; `LDAP_SYNC_PACKAGE` names a finished one to be tested in its place.
pub(crate) fn made() -> &'static Path {
    static MADE: OnceLock<(PathBuf, Option<TempDir>)> = OnceLock::new();
    &MADE
        .get_or_init(|| match std::env::var_os("LDAP_SYNC_PACKAGE") {
            Some(zip) => (std::path::absolute(zip).expect("the working directory"), None),
            None => {
                let directory = tempfile::tempdir().expect("a temporary directory");
                (make_in(directory.path()), Some(directory))
            }
        })
        .0
}

/// Makes a package of the tests' binaries in `directory`; answers the zip.
pub(crate) fn make_in(directory: &Path) -> PathBuf {
    let binaries = built().host.parent().expect("a program stands in a directory").to_owned();
    let text = |path: &Path| path.to_str().expect("our paths are UTF-8").to_owned();
    make(&["--binaries", &text(&binaries), "--output", &text(directory)]);
    let zip = directory.join(format!("ModuleLdapSync-{}.zip", env!("CARGO_PKG_VERSION")));
    assert!(zip.is_file(), "there is no {}", zip.display());
    zip
}

/// Unpacks a package into `directory`. Like PHP's ZipArchive, Python's gives nothing the right to be executed.
pub(crate) fn unpack(zip: &Path, directory: &Path) {
    run(Command::new("python3").args(["-m", "zipfile", "-e"]).arg(zip).arg(directory));
}

/// The names in a package, sorted.
pub(crate) fn names(zip: &Path) -> Vec<String> {
    let program = "import sys, zipfile; print('\\n'.join(sorted(zipfile.ZipFile(sys.argv[1]).namelist())))";
    run(Command::new("python3").args(["-c", program]).arg(zip)).lines().map(str::to_owned).collect()
}
