//! `pbx-host`: the host program.

mod cli;
mod commands;
mod inside;
mod settings;
mod story;
mod tables;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use log::{Level, LevelFilter};
use pbx_host::loader;

use crate::cli::{Cli, Global};
use crate::commands::Refused;

/// Exit status of a wrong command line (`EX_USAGE` of sysexits.h, apart from the library's statuses).
const USAGE: u8 = 64;
/// Exit status when this program could not do its part (`EX_SOFTWARE` of sysexits.h).
const FAILED: u8 = 70;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Nothing can be done when not even the help can be printed.
            let _ = error.print();
            return if error.use_stderr() { USAGE.into() } else { ExitCode::SUCCESS };
        }
    };
    start_log(&cli.global);
    match commands::run(&cli.global, cli.command) {
        Ok(status) => exit_code(status),
        Err(error) => {
            anstream::eprintln!("pbx-host: {error:#}");
            match (error.downcast_ref::<Refused>(), error.downcast_ref::<loader::Error>()) {
                (Some(refused), _) => exit_code(refused.status),
                (None, Some(loader::Error::Open { status, .. })) => exit_code(*status),
                _ => FAILED.into(),
            }
        }
    }
}

fn exit_code(status: i32) -> ExitCode {
    u8::try_from(status).unwrap_or(FAILED).into()
}

/// Logs to stderr, one line per message with its level.
fn start_log(global: &Global) {
    let filter = match (global.quiet, global.verbose) {
        (true, _) => LevelFilter::Error,
        (false, 0) => LevelFilter::Warn,
        (false, 1) => LevelFilter::Info,
        (false, 2) => LevelFilter::Debug,
        (false, _) => LevelFilter::Trace,
    };
    env_logger::Builder::new()
        .filter_level(filter)
        // What libraries say of each request is of no use to an administrator.
        .filter_module("ureq", LevelFilter::Warn)
        .filter_module("ureq_proto", LevelFilter::Warn)
        .format(|line, record| {
            let level = match record.level() {
                Level::Error => "error",
                Level::Warn => "warning",
                Level::Info => "info",
                Level::Debug => "debug",
                Level::Trace => "trace",
            };
            writeln!(line, "{level}: {}", record.args())
        })
        .init();
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
