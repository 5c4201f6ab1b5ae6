//! The host program and the library, built for old systems.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

use crate::steps::{cargo, root};

/// The glibc the binaries are linked against: older than what the package promises.
const GLIBC: &str = "2.28";

/// From PyPI, where the machine has no cargo-zigbuild of its own.
const TOOLS: [&str; 2] = ["ziglang==0.17.1", "cargo-zigbuild==0.24.1"];

/// Where the binaries are.
pub(crate) struct Binaries {
    /// `pbx-host`.
    pub(crate) program: PathBuf,
    /// The library.
    pub(crate) library: PathBuf,
}

impl Binaries {
    /// Both in one directory, as cargo leaves them.
    pub(crate) fn in_directory(directory: &Path) -> Binaries {
        Binaries { program: directory.join("pbx-host"), library: directory.join("libmodule_ldap_sync.so") }
    }
}

/// Installs what is missing for [`build`].
pub(crate) fn provide_tools() -> anyhow::Result<()> {
    path_with_zig().map(drop)
}

/// Builds both for `target`, without a trace of where they were built.
pub(crate) fn build(target: &str) -> anyhow::Result<Binaries> {
    let path = path_with_zig()?;
    let directory = root().join("target/package-build");
    let linked_against = format!("{target}.{GLIBC}");
    let mut command = cargo(&["zigbuild", "--release", "--locked", "--target", &linked_against, "--lib", "--bins"]);
    command.args(["--package", "module-ldap-sync", "--package", "pbx-host", "--target-dir"]).arg(&directory);
    command.env("PATH", path).env("RUSTFLAGS", flags()).env("CARGO_PROFILE_RELEASE_STRIP", "symbols");
    println!("Building for {linked_against}; the first time takes some minutes.");
    let status = command.status().context("cargo cannot be started")?;
    ensure!(status.success(), "the build failed; its own words stand above");
    Ok(Binaries::in_directory(&directory.join(target).join("release")))
}

/// No path of this machine gets into the binaries.
fn flags() -> OsString {
    let home = env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let cargo_home = env::var_os("CARGO_HOME").map_or_else(|| home.join(".cargo"), PathBuf::from);
    let mut flags = OsString::new();
    for (from, to) in [(cargo_home, "cargo"), (root(), "source")] {
        flags.push("--remap-path-prefix=");
        flags.push(from);
        flags.push(format!("={to} "));
    }
    flags
}

/// A `PATH` on which cargo finds cargo-zigbuild and zig.
fn path_with_zig() -> anyhow::Result<OsString> {
    let path = env::var_os("PATH").unwrap_or_default();
    if env::split_paths(&path).any(|directory| directory.join("cargo-zigbuild").is_file()) {
        return Ok(path);
    }
    let tools = root().join("target/zig/venv");
    let programs = tools.join("bin");
    if !programs.join("cargo-zigbuild").is_file() {
        println!("Installing {} into {}", TOOLS.join(" and "), tools.display());
        run(Command::new("python3").args(["-m", "venv"]).arg(&tools))?;
        run(Command::new(programs.join("pip")).args(["install", "--quiet"]).args(TOOLS))?;
    }
    env::join_paths([programs].into_iter().chain(env::split_paths(&path))).context("the PATH cannot be extended")
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let shown = command.get_program().to_string_lossy().into_owned();
    let status = command.status().with_context(|| format!("{shown} cannot be started; the cross linker needs it"))?;
    ensure!(status.success(), "{shown} failed; its own words stand above");
    Ok(())
}
