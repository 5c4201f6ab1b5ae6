//! `cargo xtask`: every multi-step command of the project.

mod demo;
mod packages;
mod steps;
mod test;

use clap::{Parser, Subcommand};

/// Every multi-step command of the project.
///
/// See it work:      cargo xtask demo
/// Prove it works:   cargo xtask test
#[derive(Parser)]
#[command(name = "cargo xtask", verbatim_doc_comment)]
struct Arguments {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    Demo(demo::Options),
    Test(test::Options),
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Task::Demo(options) => demo::demo(&options),
        Task::Test(options) => test::test(&options),
    }
}
