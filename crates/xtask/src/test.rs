//! `cargo xtask test`.

use std::process::Command;

use clap::Args;

use crate::packages::{self, Packages};
use crate::steps::{Steps, Tally, cargo};
use crate::{axe, package};

/// Tests that run at the same time: most of them wait for a server most of the time.
const SIDE_BY_SIDE: &str = "4";

/// Runs every check and every test.
///
/// On Debian as root it first installs the servers the tests use (slapd, Samba AD DC, 389 Directory Server, beanstalkd,
/// Redis), PHP, Chromium, axe-core and the linker for old systems; elsewhere it uses what is there, and tests of what is absent say that
/// they are left out. Takes less than half an hour on two cores. Every server is private, on loopback, and stopped by the
/// test that started it.
///
///   cargo xtask test             everything
///   cargo xtask test --quick     no real servers: a few minutes, for the time between two edits
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Options {
    /// Leave out the tests against real servers, and install nothing.
    #[arg(long)]
    quick: bool,
}

/// Runs all steps and fails when one failed. The last line of the output is the number of tests passed and failed; tests
/// that could not even be built count as one failure.
pub(crate) fn test(options: &Options) -> anyhow::Result<()> {
    let packages = if options.quick { Packages::Incomplete } else { provide()? };
    let mut steps = Steps::default();
    steps.run("format", &mut cargo(&["fmt", "--all", "--check"]))?;
    steps.run("lints", &mut cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    let mut tally = Tally { passed: 0, failed: 1 };
    // The tests start these programs: tests/module/support/build.rs asks for the same and finds them done.
    let programs = ["build", "--workspace", "--lib", "--bins", "--examples"];
    if steps.run("programs", &mut cargo(&programs))?
        && steps.run("test programs", &mut cargo(&["test", "--workspace", "--no-run"]))?
    {
        let mut test = cargo(&["test", "--workspace", "--no-fail-fast"]);
        test.env("RUST_TEST_THREADS", SIDE_BY_SIDE);
        servers(&mut test, options.quick, packages);
        tally = steps.run_tests("tests", &mut test)?;
    }
    let mut documentation = cargo(&["doc", "--workspace", "--no-deps", "--document-private-items"]);
    steps.run("documentation", documentation.env("RUSTDOCFLAGS", "-D warnings"))?;
    let result = steps.finish();
    println!("{} passed, {} failed", tally.passed, tally.failed);
    result
}

/// Everything the tests need that is not built here: the packages, the linker for old systems, the accessibility checks.
fn provide() -> anyhow::Result<Packages> {
    let mut packages = packages::provide()?;
    let more = [("the linker for old systems", package::provide_tools()), ("axe-core", axe::provide())];
    for (what, provided) in more {
        if let Err(error) = provided {
            println!("Without {what} its test is left out: {error:#}");
            packages = Packages::Incomplete;
        }
    }
    Ok(packages)
}

/// Tells the tests whether a server that is absent is a failure.
fn servers(test: &mut Command, quick: bool, packages: Packages) {
    let in_ci = std::env::var("CI").is_ok_and(|value| value == "true");
    if quick {
        test.env("WITHOUT_SERVERS", "1");
    } else if packages == Packages::Complete || in_ci {
        test.env("REQUIRE_SERVERS", "1");
    }
}
