//! `cargo xtask`: every multi-step command of the project.

mod axe;
mod bench;
mod demo;
mod package;
mod packages;
mod steps;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Every multi-step command of the project.
///
/// See it work:      cargo xtask demo
/// Prove it works:   cargo xtask test
/// Make the module:  cargo xtask package
/// Measure it:       cargo xtask bench
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
    Package(package::Options),
    Bench(bench::Options),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Task::Demo(options) => demo::demo(&options),
        Task::Test(options) => test::test(&options),
        Task::Package(options) => package::package(&options),
        Task::Bench(options) => bench::bench(&options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
