//! `cargo xtask package`.

mod archive;
mod binaries;
mod contents;
mod glibc;
mod versions;
mod words;

use std::fs;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use sha2::{Digest, Sha256};

pub(crate) use binaries::provide_tools;

use crate::steps::root;

/// Builds the zip that MikoPBX's module page takes: `target/package/ModuleLdapSync-<version>.zip`.
///
/// The binaries are made by zig, a cross linker, so that they run on systems with glibc 2.31 or older too. Where
/// cargo-zigbuild is not on the PATH it is installed from PyPI into target/zig, for which Python 3 is needed. The same
/// sources give the same bytes. Nothing is built when module.json, Cargo.toml and CHANGELOG.md disagree on the version.
///
///   cargo xtask package                                        for x86_64
///   cargo xtask package --target aarch64-unknown-linux-gnu     after rustup target add aarch64-unknown-linux-gnu
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Options {
    /// The system the binaries are for.
    #[arg(long, default_value = "x86_64-unknown-linux-gnu")]
    target: String,
    /// Take the binaries from this directory, whatever glibc they need: for tests only.
    #[arg(long, value_name = "DIR")]
    binaries: Option<PathBuf>,
    /// Where the zip goes; target/package when not named.
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
}

/// Builds the package and says where it is.
pub(crate) fn package(options: &Options) -> anyhow::Result<()> {
    let version = versions::agreed(&root())?;
    let binaries = match &options.binaries {
        Some(directory) => binaries::Binaries::in_directory(directory),
        None => {
            let built = binaries::build(&options.target)?;
            for file in [&built.program, &built.library] {
                let needed = glibc::check(file)?;
                println!("{} needs glibc {needed}", file.display());
            }
            built
        }
    };
    let entries = contents::collect(&root(), &version, &binaries)?;
    let output = options.output.clone().unwrap_or_else(|| root().join("target/package"));
    fs::create_dir_all(&output).with_context(|| format!("{} cannot be made", output.display()))?;
    let file = output.join(format!("ModuleLdapSync-{version}.zip"));
    let bytes = archive::zip(&entries)?;
    fs::write(&file, &bytes).with_context(|| format!("{} cannot be written", file.display()))?;
    let checksum: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    println!("{} has {} files, {} bytes, SHA-256 {checksum}", file.display(), entries.len(), bytes.len());
    Ok(())
}
