//! `cargo xtask bench`.

use clap::Args;

use crate::packages;
use crate::steps::cargo;

/// Measures synchronisations with a real slapd against what they cannot do without.
///
/// Prints a table: our time, the time of ldapsearch and of raw SQLite measured in the same run, and the ratio. Builds in
/// the release profile.
///
///   cargo xtask bench                            with 1,000 and 10,000 people
///   cargo xtask bench --people 100000            with as many as you like
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Options {
    /// How many people, separated by commas.
    #[arg(long, default_value = "1000,10000")]
    people: String,
}

/// Runs the measurements.
pub(crate) fn bench(options: &Options) -> anyhow::Result<()> {
    packages::provide()?;
    let mut command = cargo(&["test", "--release", "--workspace", "--test", "module", "--"]);
    command.args(["--ignored", "--nocapture", "--test-threads=1", "bench::"]).env("BENCH_PEOPLE", &options.people);
    let status = command.status()?;
    anyhow::ensure!(status.success(), "the measurement failed");
    Ok(())
}
