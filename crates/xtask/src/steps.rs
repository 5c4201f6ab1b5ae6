//! Running one step after the other, with its time.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Context;

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().and_then(Path::parent).expect("this crate stands in crates/xtask").to_owned()
}

/// The cargo that runs us, at the root of the repository.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root()).args(arguments);
    command
}

/// What was run and how it ended.
#[derive(Default)]
pub(crate) struct Steps {
    done: Vec<(String, Duration, bool)>,
}

impl Steps {
    /// Runs one step and shows its command and its time. A failure is remembered, and the next step still runs: one
    /// look at the end shows everything that is wrong. Answers whether it succeeded.
    pub(crate) fn run(&mut self, name: &str, command: &mut Command) -> anyhow::Result<bool> {
        println!("\n=== {name}: {}", shown(command));
        let start = Instant::now();
        let status = command.status().with_context(|| format!("{} cannot be started", shown(command)))?;
        let time = start.elapsed();
        println!(
            "=== {name}: {} after {:.1} s",
            if status.success() { "passed" } else { "FAILED" },
            time.as_secs_f64()
        );
        self.done.push((name.to_owned(), time, status.success()));
        Ok(status.success())
    }

    /// Shows all steps with their times; an error when one failed.
    pub(crate) fn finish(&self) -> anyhow::Result<()> {
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

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
