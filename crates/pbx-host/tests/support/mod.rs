//! Compiles the double of the library.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// The double, built into a directory of its own.
pub(crate) struct FakeLibrary {
    directory: TempDir,
}

impl FakeLibrary {
    /// Compiles it with the C compiler.
    pub(crate) fn build(abi_version: u32) -> FakeLibrary {
        let directory = tempfile::tempdir().unwrap();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/fake.c");
        let status = Command::new("cc")
            .args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"])
            .arg(format!("-DABI_VERSION={abi_version}"))
            .arg(source)
            .arg("-o")
            .arg(directory.path().join("libmodule_ldap_sync.so"))
            .status()
            .expect("a C compiler named cc");
        assert!(status.success());
        FakeLibrary { directory }
    }

    /// The shared library.
    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("libmodule_ldap_sync.so")
    }
}
