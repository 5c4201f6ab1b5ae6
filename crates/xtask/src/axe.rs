//! axe-core, the accessibility checks of the page's tests: fetched once from the npm registry, never part of the module.

use std::fs;
use std::process::Command;

use anyhow::{Context, ensure};

use crate::steps::root;

/// The release the tests run.
const PACKAGE: &str = "axe-core@4.14.1";

/// Puts it where the tests look: `target/axe/package/axe.min.js`.
pub(crate) fn provide() -> anyhow::Result<()> {
    let place = root().join("target/axe");
    if place.join("package/axe.min.js").is_file() {
        return Ok(());
    }
    fs::create_dir_all(&place).with_context(|| format!("{} cannot be made", place.display()))?;
    println!("Fetching {PACKAGE} into {}", place.display());
    let packed = Command::new("npm").args(["pack", "--silent", PACKAGE]).current_dir(&place).output();
    let packed = packed.context("npm cannot be started")?;
    ensure!(packed.status.success(), "npm pack failed: {}", String::from_utf8_lossy(&packed.stderr));
    let name = String::from_utf8_lossy(&packed.stdout).trim().to_owned();
    let unpacked = Command::new("tar").arg("-xzf").arg(&name).current_dir(&place).status();
    ensure!(unpacked.context("tar cannot be started")?.success(), "{name} cannot be unpacked");
    Ok(())
}
