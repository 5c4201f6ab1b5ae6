//! Pages in a real browser: Chromium shows what the host program's web server serves.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::build::built;
use super::root;
use super::world::World;

/// The host program serving the page; it ends with this value.
pub(crate) struct Site {
    child: Child,
    /// Where it is served: `http://host:port`.
    pub(crate) address: String,
}

impl Drop for Site {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Site {
    /// Serves the page over the module of `world`.
    pub(crate) fn start(world: &World) -> Site {
        Site::start_with(world, &root().join("public"))
    }

    /// Serves the files of `public` over the module of `world`.
    pub(crate) fn start_with(world: &World, public: &Path) -> Site {
        let mut command = Command::new(&built().host);
        command.arg("--library").arg(&built().library);
        command.arg("--module-dir").arg(&world.installation.module);
        command.arg("--pbx-database").arg(&world.pbx().database).arg("--media-dir").arg(&world.pbx().media);
        command.args(["serve", "--listen", "127.0.0.1:0", "--public"]).arg(public);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the host program can be started");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("stdout is piped");
        BufReader::new(stdout).read_line(&mut line).expect("a first line");
        let address = line.split_whitespace().find(|word| word.starts_with("http://")).map(str::to_owned);
        Site { child, address: address.unwrap_or_else(|| panic!("no address in {line:?}")) }
    }

    /// The page at `place` as Chromium has it once its scripts have run.
    pub(crate) fn show(&self, place: &str) -> String {
        let profile = tempfile::tempdir().expect("a temporary directory");
        let mut command = Command::new("chromium");
        command.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]);
        command.args(["--disable-background-networking", "--disable-component-update", "--disable-sync"]);
        command.arg(format!("--user-data-dir={}", profile.path().display()));
        command.args(["--virtual-time-budget=8000", "--dump-dom"]).arg(format!("{}{place}", self.address));
        let output = command.stderr(Stdio::null()).output().expect("chromium can be started");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

/// Every one of `words` is on the page.
#[track_caller]
pub(crate) fn check(page: &str, words: &[&str]) {
    for word in words {
        assert!(page.contains(word), "{word:?} is not on the page:\n{page}");
    }
}
