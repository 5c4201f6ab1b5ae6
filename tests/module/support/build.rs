//! Builds the programs the tests start, once per test binary, in the profile the test itself was built with.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::root;

/// What was built.
pub(crate) struct Built {
    /// `libmodule_ldap_sync.so`.
    pub(crate) library: PathBuf,
    /// The host program.
    pub(crate) host: PathBuf,
    /// The host program that kills itself in the callback named by `FAULT_AT_CALLBACK`.
    pub(crate) fault_host: PathBuf,
}

/// Builds them at the first call.
pub(crate) fn built() -> &'static Built {
    static BUILT: OnceLock<Built> = OnceLock::new();
    BUILT.get_or_init(|| {
        let output = output_directory();
        build(&output);
        Built {
            library: existing(output.join("libmodule_ldap_sync.so")),
            host: existing(output.join("pbx-host")),
            fault_host: existing(output.join("examples/fault_host")),
        }
    })
}

/// `target/<profile>`: this test binary stands in its `deps`.
pub(crate) fn output_directory() -> PathBuf {
    let test = std::env::current_exe().expect("a process knows its program");
    let output = test.parent().and_then(Path::parent).expect("test binaries stand in target/<profile>/deps");
    output.to_owned()
}

fn build(output: &Path) {
    let profile = output.file_name().filter(|name| *name != "debug").unwrap_or("dev".as_ref());
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // The same as `cargo xtask test` builds before it runs us, and without what cargo tells us about our own package:
    // libraries would be compiled again for it.
    for (name, _) in std::env::vars_os().filter(|(name, _)| is_about_a_package(name)) {
        command.env_remove(name);
    }
    command.current_dir(root()).args(["build", "--quiet", "--workspace", "--lib", "--bins", "--examples", "--profile"]);
    command.arg(profile).arg("--target-dir").arg(output.parent().expect("target/<profile> has a parent"));
    super::run(&mut command);
}

fn is_about_a_package(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    name == "OUT_DIR" || name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
}

fn existing(file: PathBuf) -> PathBuf {
    assert!(file.is_file(), "the build did not make {}", file.display());
    file
}
