//! The packages the tests need, and installing them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Context;

/// Debian packages: a C compiler and tools for the tests of the C boundary, three directory servers, a
/// browser.
const PACKAGES: &[&str] = &[
    "gcc",
    "libc6-dev",
    "binutils",
    "openssl",
    "python3",
    "slapd",
    "ldap-utils",
    "samba",
    "samba-ad-dc",
    "samba-ad-provision",
    "samba-dsdb-modules",
    "samba-vfs-modules",
    "winbind",
    "python3-samba",
    "ldb-tools",
    "tdb-tools",
    "389-ds-base",
    "python3-lib389",
    "libnss3-tools",
    "chromium",
];

const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Whether everything the tests need is on this machine.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packages {
    /// Everything is there or was installed just now.
    Complete,
    /// Something is missing and cannot be installed from here; tests that need it say that they are left out.
    Incomplete,
}

/// Installs what is missing, where that is possible: as root on a system with apt-get. Says what it does.
pub(crate) fn provide() -> anyhow::Result<Packages> {
    if !Path::new("/usr/bin/apt-get").exists() {
        println!("This is no Debian: the tests use what is here. They know {}.", PACKAGES.join(", "));
        return Ok(Packages::Incomplete);
    }
    let missing: Vec<&str> = PACKAGES.iter().copied().filter(|name| !installed(name)).collect();
    if missing.is_empty() {
        println!("All {} packages the tests need are installed.", PACKAGES.len());
        return Ok(Packages::Complete);
    }
    if !is_root() {
        println!("Not root, so not installed: {}.", missing.join(" "));
        println!(
            "Tests that need them are left out; to have them: sudo apt-get install --no-install-recommends {}",
            missing.join(" ")
        );
        return Ok(Packages::Incomplete);
    }
    println!("Installing {}", missing.join(" "));
    let _policy = NoServices::declare()?;
    apt(&["update"])?;
    apt(&[&["install", "--yes", "--no-install-recommends"], &missing[..]].concat())?;
    Ok(Packages::Complete)
}

fn installed(package: &str) -> bool {
    let mut query = Command::new("dpkg-query");
    query.args(["--show", "--showformat=${db:Status-Abbrev}", package]).stderr(Stdio::null());
    query.output().is_ok_and(|output| output.stdout.starts_with(b"ii"))
}

fn apt(arguments: &[&str]) -> anyhow::Result<()> {
    let mut command = Command::new("apt-get");
    command.arg("-q").args(arguments).env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null());
    let status = command.status().context("apt-get cannot be started")?;
    anyhow::ensure!(status.success(), "apt-get {} failed; its own words stand above", arguments.join(" "));
    Ok(())
}

fn is_root() -> bool {
    fs::read_to_string("/proc/self/status").is_ok_and(|text| text.lines().any(|line| line.starts_with("Uid:\t0\t")))
}

/// While this lives, installing a package does not start its service (policy-rc.d of Debian's invoke-rc.d). What stood
/// there before comes back afterwards.
struct NoServices {
    before: Option<(Vec<u8>, fs::Permissions)>,
}

impl NoServices {
    fn declare() -> anyhow::Result<NoServices> {
        let before = match fs::read(POLICY) {
            Ok(text) => Some((text, fs::metadata(POLICY).context(POLICY)?.permissions())),
            Err(_) => None,
        };
        let declared = NoServices { before };
        fs::write(POLICY, "#!/bin/sh\nexit 101\n").with_context(|| format!("{POLICY} cannot be written"))?;
        fs::set_permissions(POLICY, fs::Permissions::from_mode(0o755)).context(POLICY)?;
        Ok(declared)
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        let restored = match &self.before {
            Some((text, permissions)) => {
                fs::write(POLICY, text).and_then(|()| fs::set_permissions(POLICY, permissions.clone()))
            }
            None => fs::remove_file(POLICY),
        };
        if let Err(error) = restored {
            eprintln!("{POLICY} could not be put back as it was: {error}");
        }
    }
}
