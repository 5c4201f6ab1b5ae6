//! Takes the module's version from `module.json`, names the revision, and sets the linker flags of the library.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=module.json");
    // Every commit and checkout adds a line there; a source archive has no such file.
    if std::path::Path::new(".git/logs/HEAD").exists() {
        println!("cargo::rerun-if-changed=.git/logs/HEAD");
    }
    let text = std::fs::read_to_string("module.json").expect("module.json stands beside Cargo.toml");
    let module: serde_json::Value = serde_json::from_str(&text).expect("module.json is JSON");
    let version = module["version"].as_str().expect("module.json has a version");
    println!("cargo::rustc-env=MODULE_VERSION={version}");
    println!("cargo::rustc-env=MODULE_REVISION={}", revision());
    // The library starts threads and keeps thread-local data: unloading it would pull the code from under them.
    println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
    // Its own SQLite must never resolve to a copy that the host has loaded.
    println!("cargo::rustc-cdylib-link-arg=-Wl,-Bsymbolic");
}

/// The short git revision, or `unknown` outside a checkout (a source archive).
fn revision() -> String {
    let output = Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).output();
    match output {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        _ => "unknown".to_owned(),
    }
}
