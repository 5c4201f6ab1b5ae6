//! Running one step after the other, with its time.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().and_then(Path::parent).expect("this crate stands in crates/xtask").to_owned()
}

/// The cargo that runs us, at the root of the repository. It is not told about our own package, whose name in the
/// environment would make libraries be built for it again.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")) {
            command.env_remove(name);
        }
    }
    command.current_dir(root()).args(arguments);
    command
}

/// What was run and how it ended.
#[derive(Default)]
pub(crate) struct Steps {
    done: Vec<(String, Duration, bool)>,
    failures: Failures,
}

impl Steps {
    /// Runs one step and shows its command and its time. A failure is remembered, and the next step still runs: one
    /// look at the end shows everything that is wrong. Answers whether it succeeded.
    pub(crate) fn run(&mut self, name: &str, command: &mut Command) -> anyhow::Result<bool> {
        self.timed(name, command, |command| Ok(command.status()?))
    }

    /// Runs `cargo test` in the same way; answers how many tests passed and failed.
    pub(crate) fn run_tests(&mut self, name: &str, command: &mut Command) -> anyhow::Result<Tally> {
        let mut tally = Tally::default();
        let mut failures = Failures::default();
        let passed = self.timed(name, command, |command| {
            let mut child = command.stdout(Stdio::piped()).spawn()?;
            let output = child.stdout.take().context("the output is piped")?;
            for line in BufReader::new(output).split(b'\n') {
                let line = line?;
                let text = String::from_utf8_lossy(&line);
                tally.add(&text);
                failures.add(&text);
                let mut shown = std::io::stdout().lock();
                shown.write_all(&line)?;
                shown.write_all(b"\n")?;
            }
            Ok(child.wait()?)
        })?;
        self.failures.lines.extend(failures.lines);
        if !passed && tally.failed == 0 {
            // A program of tests that died, or did not compile, tells no numbers.
            tally.failed = 1;
        }
        Ok(tally)
    }

    fn timed(
        &mut self,
        name: &str,
        command: &mut Command,
        run: impl FnOnce(&mut Command) -> anyhow::Result<ExitStatus>,
    ) -> anyhow::Result<bool> {
        println!("\n=== {name}: {}", shown(command));
        let start = Instant::now();
        let status = run(command).with_context(|| format!("{} cannot be run", shown(command)))?;
        let time = start.elapsed();
        println!(
            "=== {name}: {} after {:.1} s",
            if status.success() { "passed" } else { "FAILED" },
            time.as_secs_f64()
        );
        self.done.push((name.to_owned(), time, status.success()));
        Ok(status.success())
    }

    /// Shows once more what failing tests said, then all steps with their times; an error when one failed.
    pub(crate) fn finish(&self) -> anyhow::Result<()> {
        self.failures.show();
        println!("\n=== Summary");
        for (name, time, passed) in &self.done {
            println!("{:>8.1} s  {}  {name}", time.as_secs_f64(), if *passed { "passed" } else { "FAILED" });
        }
        let total: Duration = self.done.iter().map(|(_, time, _)| *time).sum();
        println!("{:>8.1} s  in all", total.as_secs_f64());
        let failed: Vec<&str> = self.done.iter().filter(|step| !step.2).map(|step| step.0.as_str()).collect();
        anyhow::ensure!(failed.is_empty(), "failed: {}", failed.join(", "));
        Ok(())
    }
}

/// Tests of all test programs together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
}

impl Tally {
    /// Adds what a test program tells at its end: `test result: ok. 3 passed; 0 failed; …`.
    fn add(&mut self, line: &str) {
        let Some(result) = line.strip_prefix("test result: ") else { return };
        let count = |what: &str| {
            let words: Vec<&str> = result.split([' ', ';']).filter(|word| !word.is_empty()).collect();
            words.windows(2).find(|pair| pair[1] == what).and_then(|pair| pair[0].parse::<u64>().ok()).unwrap_or(0)
        };
        self.passed += count("passed");
        self.failed += count("failed");
    }
}

/// What failing tests said: thousands of lines above the end of the output otherwise.
#[derive(Default)]
struct Failures {
    lines: Vec<String>,
    inside: bool,
}

impl Failures {
    /// Adds a line when it stands between `failures:` and the end of the test program.
    fn add(&mut self, line: &str) {
        // A program that dies tells no result, and the next one begins.
        let ends = line.starts_with("test result: ") || line.starts_with("running ");
        self.inside = (self.inside || line == "failures:") && !ends;
        if self.inside {
            self.lines.push(line.to_owned());
        }
    }

    fn show(&self) {
        if !self.lines.is_empty() {
            println!("\n=== What failed\n{}", self.lines.join("\n"));
        }
    }
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_results_of_all_test_programs_are_added() {
        let mut tally = Tally::default();
        for line in [
            "running 3 tests",
            "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 7 filtered out; finished in 0.50s",
            "    test result: ok. 100 passed; 100 failed; quoted by a test",
            "test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.92s",
        ] {
            tally.add(line);
        }
        assert_eq!(tally, Tally { passed: 15, failed: 2 });
    }

    #[test]
    fn what_failing_tests_said_is_kept() {
        let mut failures = Failures::default();
        for end in ["test result: FAILED. 0 passed", "running 2 tests"] {
            for line in ["test a ... FAILED", "failures:", "---- a stdout ----", "left: 1", end, "test b ... ok"] {
                failures.add(line);
            }
        }
        assert_eq!(failures.lines, ["failures:", "---- a stdout ----", "left: 1"].repeat(2));
    }

    #[test]
    fn a_test_program_that_tells_nothing_and_fails_is_a_failure() {
        let mut steps = Steps::default();
        let tally = steps.run_tests("tests", Command::new("sh").args(["-c", "exit 3"])).expect("sh can be started");
        assert_eq!(tally, Tally { passed: 0, failed: 1 });
        assert!(steps.finish().is_err());
    }
}
