//! `cargo xtask demo`.

use std::process::Command;

use anyhow::Context;
use clap::Args;

use crate::steps::{cargo, root};

/// Builds everything and shows people of a directory becoming employees of a demo PBX.
///
/// Needs a Rust toolchain and a C compiler, nothing else. A directory and a PBX with demo content are made in a
/// temporary directory; afterwards the admin page is served on http://127.0.0.1:8080 until Ctrl-C.
///
///   cargo xtask demo --once                      ends after the tables
///   cargo xtask demo --listen 127.0.0.1:9000     serves the page elsewhere
///   cargo xtask demo -- --help                   everything the demo takes
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Options {
    /// Passed on to `pbx-host demo`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENT")]
    arguments: Vec<String>,
}

/// Builds in the dev profile, which compiles in a fraction of the release profile's time and whose dependencies are
/// optimised, so that a first demo is quick.
pub(crate) fn demo(options: &Options) -> anyhow::Result<()> {
    println!("Building the library and the host program; the first time takes a few minutes.");
    let status = cargo(&["build", "--package", "module-ldap-sync", "--package", "pbx-host", "--lib", "--bins"])
        .status()
        .context("cargo cannot be started")?;
    anyhow::ensure!(status.success(), "the build failed");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |path| root().join(path));
    let program = target.join("debug/pbx-host");
    let mut demo = Command::new(&program);
    demo.current_dir(root()).arg("demo").args(&options.arguments);
    let status = demo.status().with_context(|| format!("{} cannot be started", program.display()))?;
    anyhow::ensure!(status.success(), "the demo failed");
    Ok(())
}
