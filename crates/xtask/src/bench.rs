//! `cargo xtask bench`.

use std::fs;
use std::path::Path;

use anyhow::Context;
use clap::Args;

use crate::packages;
use crate::steps::{cargo, root};

/// Measures synchronisations with a real slapd against what they cannot do without, and the planner alone.
///
/// Prints tables: our time, the time of ldapsearch, of raw SQLite or of a bare LDAP client measured in the same run, and
/// the ratio. Builds in the release profile. docs/PERFORMANCE.md says what the figures mean.
///
///   cargo xtask bench                            with 1,000 and 10,000 people
///   cargo xtask bench --people 100000            with as many as you like
///   cargo xtask bench --only-planner             the planner alone
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Options {
    /// How many people, separated by commas.
    #[arg(long, default_value = "1000,10000")]
    people: String,
    /// Measure the planner alone, which needs no server.
    #[arg(long)]
    only_planner: bool,
}

/// People of the planner's measurements, as its benchmark has them.
const PLANNED: [&str; 3] = ["1000", "10000", "100000"];

/// Runs the measurements.
pub(crate) fn bench(options: &Options) -> anyhow::Result<()> {
    planner()?;
    if options.only_planner {
        return Ok(());
    }
    packages::provide()?;
    let mut command = cargo(&["test", "--release", "--workspace", "--test", "module", "--"]);
    command.args(["--ignored", "--nocapture", "--test-threads=1", "bench::"]).env("BENCH_PEOPLE", &options.people);
    let status = command.status()?;
    anyhow::ensure!(status.success(), "the measurement failed");
    Ok(())
}

fn planner() -> anyhow::Result<()> {
    let status = cargo(&["bench", "-p", "sync-core", "--bench", "plan", "--", "--quiet"]).status()?;
    anyhow::ensure!(status.success(), "the planner's measurement failed");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), Into::into);
    let results = target.join("criterion/planner");
    println!("| people | planner | time | sorting the same people by key | ratio |\n|---|---|---|---|---|");
    for people in PLANNED {
        let base = mean(&results, "sorted", people)?;
        for what in ["in-step", "all-new"] {
            let time = mean(&results, what, people)?;
            println!("| {people} | {what} | {time:.1} ms | {base:.1} ms | {:.2} |", time / base);
        }
    }
    Ok(())
}

/// The mean that criterion has found, in milliseconds.
fn mean(results: &Path, what: &str, people: &str) -> anyhow::Result<f64> {
    let file = results.join(what).join(people).join("new/estimates.json");
    let text = fs::read_to_string(&file).with_context(|| format!("{} cannot be read", file.display()))?;
    let estimates: serde_json::Value = serde_json::from_str(&text)?;
    let nanoseconds = estimates["mean"]["point_estimate"].as_f64();
    Ok(nanoseconds.with_context(|| format!("{} tells no mean", file.display()))? / 1_000_000.0)
}
