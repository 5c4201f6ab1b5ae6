//! A server process that cannot outlive the test: its keeper waits on a pipe from the test process, and when that
//! closes (the guard was dropped, or the test process ended in whatever way) it stops the server and cleans up.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use crate::support::wait_until;

/// Arguments: the directory of the server's files, a shell text that cleans up elsewhere, then the server's command. The keeper leads a process
/// group of its own, so that signalling the group reaches the server and all its children and nobody else.
const KEEPER: &str = r#"
home=$1 cleanup=$2
shift 2
"$@" </dev/null >"$home/server.log" 2>&1 &
server=$!
echo "$server" >"$home/keeper.pid"
read -r _
trap '' TERM
kill -TERM 0
( sleep 10; kill -KILL "$server" ) 2>/dev/null &
wait "$server" 2>/dev/null
eval "$cleanup"
rm -rf -- "$home"
kill -KILL 0
"#;

/// One running server.
pub(crate) struct Guard {
    keeper: Child,
    pipe: Option<ChildStdin>,
    pid_file: PathBuf,
    log: PathBuf,
}

impl Guard {
    /// Starts `server`; its files stand in `directory`, which is
    /// removed after it ended. `cleanup` runs in a shell before that.
    pub(crate) fn start(directory: &Path, server: &Command, cleanup: &str) -> Guard {
        let log = directory.join("server.log");
        let pid_file = directory.join("keeper.pid");
        let mut command = Command::new("sh");
        command.args(["-c", KEEPER, "keeper"]).arg(directory).arg(cleanup);
        command.arg(server.get_program()).args(server.get_args());
        for (name, value) in server.get_envs() {
            command.env(name, value.unwrap_or_default());
        }
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut keeper = command.spawn().expect("sh can be started");
        let pipe = keeper.stdin.take();
        Guard { keeper, pipe, pid_file, log }
    }

    /// Waits until `answers` holds; ends the test with the server's log when it does not.
    pub(crate) fn wait_ready(&self, name: &str, answers: impl FnMut() -> bool) {
        if !wait_until(Duration::from_secs(60), answers) {
            panic!("{name} did not answer within a minute; its log:\n{}", self.log_text());
        }
    }

    /// The server's process id.
    pub(crate) fn pid(&self) -> u32 {
        let text = fs::read_to_string(&self.pid_file).expect("the keeper wrote the server's process id");
        text.trim().parse().expect("a process id is a number")
    }

    /// Sends a signal (`STOP`, `CONT`, `KILL`) to the server, not to its keeper.
    pub(crate) fn signal(&self, name: &str) {
        super::super::run(Command::new("sh").arg("-c").arg(format!("kill -{name} {}", self.pid())));
    }

    /// What the server wrote to its standard output and error.
    pub(crate) fn log_text(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.pipe.take());
        let _ = self.keeper.wait();
    }
}
