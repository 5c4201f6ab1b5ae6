//! `cargo xtask`: every multi-step command of the project.

mod demo;
mod packages;
mod steps;
mod test;

use std::process::ExitCode;

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

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Task::Demo(options) => demo::demo(&options),
        Task::Test(options) => test::test(&options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
