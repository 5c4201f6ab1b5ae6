//! The packages the tests need, and installing them.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{fs, io};

use anyhow::Context;

/// Debian packages: a C compiler and tools for the tests of the C boundary, three directory servers, a browser, what runs
/// beside a PBX, and PHP with SQLite.
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
    "beanstalkd",
    "redis-server",
    "php-cli",
    "php-sqlite3",
];

/// What invoke-rc.d asks whether a service may be started (`policy-rc.d` of Debian's init-system-helpers).
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Where the machine's own policy waits while ours is in its place.
const OWN_POLICY: &str = "/usr/sbin/policy-rc.d.before-xtask";

/// The line by which our policy is known again.
const MARK: &str = "# Written by `cargo xtask` while it installs packages: no service is started.";

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
    if is_root() {
        Policy::machine().put_back().with_context(|| format!("{POLICY} is a left-over and stays"))?;
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
    let _policy = NoServices::declare(Policy::machine())?;
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

/// The policy of a machine.
struct Policy {
    path: PathBuf,
    own: PathBuf,
}

impl Policy {
    fn machine() -> Policy {
        Policy { path: POLICY.into(), own: OWN_POLICY.into() }
    }

    /// Puts ours in place; what stood there is moved, so that even a killed program does not lose it.
    fn forbid_services(&self) -> io::Result<()> {
        self.put_back()?;
        if self.path.exists() {
            fs::rename(&self.path, &self.own)?;
        }
        fs::write(&self.path, format!("#!/bin/sh\n{MARK}\nexit 101\n"))?;
        fs::set_permissions(&self.path, fs::Permissions::from_mode(0o755))
    }

    /// Removes ours, also one that a killed program left behind, and moves the machine's own back.
    fn put_back(&self) -> io::Result<()> {
        if fs::read_to_string(&self.path).is_ok_and(|text| text.contains(MARK)) {
            fs::remove_file(&self.path)?;
        }
        if self.own.exists() && !self.path.exists() {
            fs::rename(&self.own, &self.path)?;
        }
        Ok(())
    }
}

/// While this lives, installing a package does not start its service. What stood there before comes back afterwards;
/// after Ctrl-C, at the next start.
struct NoServices(Policy);

impl NoServices {
    fn declare(policy: Policy) -> anyhow::Result<NoServices> {
        let declared = NoServices(policy);
        declared.0.forbid_services().with_context(|| format!("{} cannot be written", declared.0.path.display()))?;
        Ok(declared)
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if let Err(error) = self.0.put_back() {
            eprintln!("{} could not be put back as it was: {error}", self.0.path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(directory: &Path) -> Policy {
        Policy { path: directory.join("policy-rc.d"), own: directory.join("policy-rc.d.before") }
    }

    #[test]
    fn what_stood_there_comes_back_even_after_a_kill() -> io::Result<()> {
        let directory = tempfile::tempdir()?;
        let path = policy(directory.path()).path;
        fs::write(&path, "the machine's own")?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o711))?;
        // A killed program drops nothing.
        std::mem::forget(NoServices::declare(policy(directory.path())).expect("declared"));
        assert!(fs::read_to_string(&path)?.ends_with("exit 101\n"));
        let second = NoServices::declare(policy(directory.path())).expect("declared");
        assert!(fs::read_to_string(&path)?.ends_with("exit 101\n"));
        drop(second);
        assert_eq!(fs::read_to_string(&path)?, "the machine's own");
        assert_eq!(fs::metadata(&path)?.permissions().mode() & 0o777, 0o711);
        assert_eq!(fs::read_dir(directory.path())?.count(), 1);
        Ok(())
    }

    #[test]
    fn a_left_over_of_ours_goes() -> io::Result<()> {
        let directory = tempfile::tempdir()?;
        std::mem::forget(NoServices::declare(policy(directory.path())).expect("declared"));
        policy(directory.path()).put_back()?;
        assert_eq!(fs::read_dir(directory.path())?.count(), 0);
        Ok(())
    }
}
