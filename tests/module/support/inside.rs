//! The helper inside a MikoPBX: one-shot calls and the worker, as MikoPBX's PHP starts them.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::build::built;
use super::host::Answer;
use super::servers::pbx_services::PbxServices;
use super::world::World;
use super::{run_unchecked, wait_until};

/// One PBX with its services, and how its PHP starts our program.
pub(crate) struct Inside {
    settings: PathBuf,
    web_port: u16,
    log: PathBuf,
}

impl Inside {
    /// The helper of the module in `world`, beside `services`.
    pub(crate) fn new(world: &World, services: &PbxServices) -> Inside {
        Inside { settings: services.settings(world), web_port: services.bus.port, log: world.path().join("helper.log") }
    }

    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(&built().host);
        command.arg("-vv").arg(name).arg("--pbx-settings").arg(&self.settings);
        command.args(["--web-port", &self.web_port.to_string()]).env("LDAP_SYNC_LIBRARY", &built().library);
        command
    }

    /// Makes one call.
    pub(crate) fn call(&self, call: &Value) -> Answer {
        self.call_within(call, 120)
    }

    /// Makes one call that may take this many seconds.
    pub(crate) fn call_within(&self, call: &Value, seconds: u32) -> Answer {
        let mut command = self.command("mikopbx-call");
        let output = run_unchecked(command.args(["--limit", &seconds.to_string()]), &call.to_string());
        let log = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{call} ended with {}: {log}", output.status);
        let line: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
            panic!("{error} in the answer to {call}: {}\n{log}", String::from_utf8_lossy(&output.stdout))
        });
        let status = line["status"].as_i64().unwrap_or_else(|| panic!("no status in {line}\n{log}"));
        Answer { status, body: line["answer"].clone() }
    }

    /// Starts one call and does not wait for its answer.
    pub(crate) fn begin(&self, call: &Value) -> Child {
        use std::io::Write;
        let mut command = self.command("mikopbx-call");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(self.log_file());
        let mut child = command.spawn().expect("the helper can be started");
        let mut stdin = child.stdin.take().expect("stdin is piped");
        stdin.write_all(call.to_string().as_bytes()).expect("the helper reads its call");
        child
    }

    pub(crate) fn request(&self, action: &str, body: Value) -> Answer {
        self.call(&json!({"hook": "request", "action": action, "body": body}))
    }

    /// Installs the module and saves `settings`; answers the server's id.
    pub(crate) fn install(&self, settings: &Value) -> Value {
        self.call(&json!({"hook": "install"})).data();
        self.call(&json!({"hook": "config_save", "body": settings})).data()["id"].clone()
    }

    /// Starts the worker with this many seconds between two ticks.
    pub(crate) fn start_worker(&self, tick: u32) -> Worker {
        let mut command = self.command("mikopbx-worker");
        command.args(["--tick", &tick.to_string()]);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(self.log_file());
        let mut child = command.spawn().expect("the helper can be started");
        let stdin = child.stdin.take();
        Worker { child, stdin }
    }

    fn log_file(&self) -> File {
        File::options().create(true).append(true).open(&self.log).expect("the helper's log")
    }

    /// What the started helpers logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

/// A running worker.
pub(crate) struct Worker {
    child: Child,
    stdin: Option<ChildStdin>,
}

impl Worker {
    /// Ends it as the end of its PHP worker does; `None` when it lives on.
    pub(crate) fn end_input(&mut self) -> Option<ExitStatus> {
        drop(self.stdin.take());
        self.wait()
    }

    /// Sends SIGTERM; `None` when it lives on.
    pub(crate) fn terminate(&mut self) -> Option<ExitStatus> {
        super::run(Command::new("kill").args(["-TERM", &self.child.id().to_string()]));
        self.wait()
    }

    fn wait(&mut self) -> Option<ExitStatus> {
        let mut status = None;
        wait_until(Duration::from_secs(10), || {
            status = self.child.try_wait().expect("a started child can be waited for");
            status.is_some()
        });
        status
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
