//! `cargo xtask demo`.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::Context;
use clap::Args;
use serde_json::Value;

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

/// Builds in the dev profile, which compiles in a fraction of the release profile's time, so that a first demo is quick.
pub(crate) fn demo(options: &Options) -> anyhow::Result<()> {
    println!("Building the library and the host program; the first time takes a few minutes.");
    let program = build()?;
    let mut demo = Command::new(&program);
    demo.current_dir(root()).arg("demo").args(&options.arguments);
    let status = demo.status().with_context(|| format!("{} cannot be started", program.display()))?;
    anyhow::ensure!(status.success(), "the demo failed");
    Ok(())
}

/// Builds the library and the host program; answers where cargo put the program. The library stands beside it, where
/// the program looks for it.
fn build() -> anyhow::Result<PathBuf> {
    let mut build = cargo(&["build", "--package", "module-ldap-sync", "--package", "pbx-host", "--lib", "--bins"]);
    build.arg("--message-format=json-render-diagnostics").stderr(Stdio::inherit());
    let output = build.output().context("cargo cannot be started")?;
    anyhow::ensure!(output.status.success(), "the build failed");
    let messages = String::from_utf8(output.stdout).context("cargo's messages are not UTF-8")?;
    messages.lines().find_map(program).context("cargo built no program pbx-host")
}

/// The program pbx-host, when this message of cargo's is about it ("External tools" of the Cargo Book).
fn program(message: &str) -> Option<PathBuf> {
    let message: Value = serde_json::from_str(message).ok()?;
    let is_program = message["reason"] == "compiler-artifact" && message["target"]["name"] == "pbx-host";
    message["executable"].as_str().filter(|_| is_program).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_where_cargo_says() {
        let artifact = r#"{"reason":"compiler-artifact","target":{"kind":["bin"],"name":"pbx-host"},"executable":"/t/x/debug/pbx-host"}"#;
        assert_eq!(program(artifact), Some(PathBuf::from("/t/x/debug/pbx-host")));
        let library = r#"{"reason":"compiler-artifact","target":{"kind":["lib"],"name":"pbx-host"},"executable":null}"#;
        let other = r#"{"reason":"compiler-artifact","target":{"name":"xtask"},"executable":"/t/debug/xtask"}"#;
        for message in [library, other, r#"{"reason":"build-finished","success":true}"#, "no JSON"] {
            assert_eq!(program(message), None, "{message}");
        }
    }
}
