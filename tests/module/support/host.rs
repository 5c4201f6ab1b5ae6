//! The plugin in a child process: the host program loads the library and takes one call per line of JSON.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::{Value, json};

use super::build::built;
use super::pbx::{Pbx, RecordEvent};

/// Longer than any call of a test may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// A running plugin.
pub(crate) struct Plugin {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    log: PathBuf,
}

/// The clock of a host.
pub(crate) struct Clock(PathBuf);

impl Clock {
    /// Sets the time, Unix time in milliseconds.
    pub(crate) fn set(&self, now: i64) {
        let next = self.0.with_extension("next");
        fs::write(&next, now.to_string()).expect("the clock's file");
        fs::rename(next, &self.0).expect("the clock's file");
    }
}

/// What a hook answered.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// The status code; `ldap_sync.h` names them.
    pub(crate) status: i64,
    /// The envelope: `result`, `data`, `messages`.
    pub(crate) body: Value,
}

impl Answer {
    /// The data of a call that must have succeeded.
    pub(crate) fn data(&self) -> &Value {
        assert_eq!(self.status, 0, "the call failed: {}", self.body);
        assert_eq!(self.body["result"], json!(true), "status 0 without result true: {}", self.body);
        &self.body["data"]
    }

    /// The list in the data of a call that must have succeeded.
    pub(crate) fn list(&self) -> &[Value] {
        let data = self.data();
        data.as_array().unwrap_or_else(|| panic!("the data is no list: {data}"))
    }

    /// All error messages as one text.
    pub(crate) fn errors(&self) -> String {
        texts(&self.body["messages"]["error"]).join("\n")
    }

    /// All information messages as one text.
    pub(crate) fn information(&self) -> String {
        texts(&self.body["messages"]["info"]).join("\n")
    }
}

fn texts(list: &Value) -> Vec<String> {
    let text = |item: &Value| match item {
        Value::String(text) => text.clone(),
        Value::Object(_) => {
            format!("{}: {}", item["field"].as_str().unwrap_or(""), item["text"].as_str().unwrap_or(""))
        }
        other => other.to_string(),
    };
    list.as_array().map(|items| items.iter().map(text).collect()).unwrap_or_default()
}

/// Where one installation of the module lives.
#[derive(Clone, Debug)]
pub(crate) struct Installation {
    /// The module's own directory.
    pub(crate) module: PathBuf,
    /// The PBX it works for.
    pub(crate) pbx: Pbx,
    /// What the host was asked to announce, one line per call.
    pub(crate) announced: PathBuf,
    /// The log of all runs.
    pub(crate) log: PathBuf,
}

impl Installation {
    /// Starts the plugin.
    pub(crate) fn start(&self) -> Plugin {
        self.start_command(Command::new(&built().host))
    }

    /// Starts the plugin in the host that kills itself in its `callback`th callback; 0 lives and counts them, and
    /// [`Plugin::callbacks`] tells the number.
    pub(crate) fn start_with_fault(&self, callback: u64) -> Plugin {
        self.start_with_faults(&[("FAULT_AT_CALLBACK", &callback.to_string())])
    }

    /// Starts the plugin in the host whose clock stands still at `now`, Unix time in milliseconds.
    pub(crate) fn start_at(&self, now: i64) -> Plugin {
        self.start_with_faults(&[("FAULT_NOW", &now.to_string())])
    }

    /// Starts the plugin in the host whose clock is a file; [`Clock::set`] sets it.
    pub(crate) fn start_with_clock(&self, now: i64) -> (Plugin, Clock) {
        let clock = Clock(self.log.with_extension("clock"));
        clock.set(now);
        let file = clock.0.to_str().expect("a path of ours is UTF-8").to_owned();
        (self.start_with_faults(&[("FAULT_CLOCK", &file)]), clock)
    }

    /// Starts the plugin in the host that misbehaves; `crates/pbx-host/examples/fault_host.rs` lists its faults.
    pub(crate) fn start_with_faults(&self, faults: &[(&str, &str)]) -> Plugin {
        let mut command = Command::new(&built().fault_host);
        command
            .arg(&built().library)
            .arg(&self.module)
            .arg(&self.pbx.database)
            .arg(&self.pbx.media)
            .arg(&self.announced);
        command.envs(faults.iter().copied());
        self.spawn(command)
    }

    /// Starts the plugin bound by file permissions even where the tests run as root, whose right to pass over them is
    /// taken away.
    pub(crate) fn start_bound_by_permissions(&self) -> Plugin {
        if !super::is_root() {
            return self.start();
        }
        let mut command = Command::new("setpriv");
        command.arg("--bounding-set=-dac_override,-dac_read_search,-fowner").arg(&built().host);
        self.start_command(command)
    }

    fn start_command(&self, mut command: Command) -> Plugin {
        command.arg("-vv").arg("--module-dir").arg(&self.module).arg("--pbx-database").arg(&self.pbx.database);
        command.arg("--media-dir").arg(&self.pbx.media).arg("--announce-log").arg(&self.announced).arg("calls");
        command.env("LDAP_SYNC_LIBRARY", &built().library);
        self.spawn(command)
    }

    fn spawn(&self, mut command: Command) -> Plugin {
        let log = File::options().create(true).append(true).open(&self.log).expect("the log");
        command.env_remove("RUST_LOG").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?} cannot start: {error}"));
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().expect("stdout is piped");
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Plugin { child, stdin, lines, log: self.log.clone() }
    }

    /// Every event announced so far, in order: short model name, id, action.
    pub(crate) fn announced(&self) -> Vec<RecordEvent> {
        let text = fs::read_to_string(&self.announced).unwrap_or_default();
        let events = text.lines().filter(|line| !line.trim().is_empty()).flat_map(|line| {
            // The last line of a host that was killed may be cut short; what the PBX never got was not announced.
            match serde_json::from_str(line) {
                Ok(Value::Array(events)) => events,
                Ok(event) => vec![event],
                Err(_) => Vec::new(),
            }
        });
        events.map(|event| record_event(&event)).collect()
    }

    /// Forgets what was announced and logged so far.
    pub(crate) fn forget(&self) {
        for file in [&self.announced, &self.log] {
            fs::write(file, "").expect("a file of the installation");
        }
    }

    /// What was logged.
    pub(crate) fn log_text(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

fn record_event(event: &Value) -> RecordEvent {
    let model = event["model"].as_str().unwrap_or_else(|| panic!("an event without model: {event}"));
    let id = match &event["recordId"] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let action = event["action"].as_str().unwrap_or_default();
    assert_eq!(event["source"], json!("ModelsBase->sendChangesToBackend"), "{event}");
    assert!(event["changedFields"].as_array().is_some_and(|fields| !fields.is_empty()), "nothing changed in {event}");
    (model.trim_start_matches(r"MikoPBX\Common\Models\").to_owned(), id, action.to_owned())
}

impl Plugin {
    /// Makes one call; ends the test when no answer comes.
    pub(crate) fn call(&mut self, call: &Value) -> Answer {
        self.try_call(call).unwrap_or_else(|| {
            let log = fs::read_to_string(&self.log).unwrap_or_default();
            let tail: Vec<&str> = log.lines().rev().take(30).collect();
            panic!("no answer to {}; the log ends (last line first):\n{}", call["hook"], tail.join("\n"));
        })
    }

    /// Makes one call; `None` when the host ended before it answered.
    pub(crate) fn try_call(&mut self, call: &Value) -> Option<Answer> {
        self.send(call)?;
        let line = self.lines.recv_timeout(PATIENCE).ok()?;
        Some(answer(&serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error} in the answer {line}"))))
    }

    /// The answers to calls that were sent together.
    pub(crate) fn answers_together(&mut self) -> Vec<Answer> {
        let line = self.lines.recv_timeout(PATIENCE).expect("an answer to calls made at once");
        let answers: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error} in {line}"));
        let list = answers["parallel"].as_array().unwrap_or_else(|| panic!("no answers in {line}"));
        list.iter().map(answer).collect()
    }

    /// The answer to a call that was sent before.
    pub(crate) fn answer(&mut self) -> Answer {
        let line = self.lines.recv_timeout(PATIENCE).expect("an answer to the call sent before");
        answer(&serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error} in {line}")))
    }

    /// Sends one call and does not wait for the answer.
    pub(crate) fn send(&mut self, call: &Value) -> Option<()> {
        let stdin = self.stdin.as_mut().expect("the plugin was not stopped");
        writeln!(stdin, "{call}").and_then(|()| stdin.flush()).ok()
    }

    pub(crate) fn install(&mut self) -> Answer {
        self.call(&json!({"hook": "install"}))
    }

    /// Saves the settings of a server and answers its id.
    pub(crate) fn save_server(&mut self, settings: &Value) -> Value {
        let answer = self.save(settings);
        let id = answer.data()["id"].clone();
        assert!(!id.is_null(), "a saved server has an id: {}", answer.body);
        id
    }

    /// Saves settings and answers whatever the plugin says.
    pub(crate) fn save(&mut self, settings: &Value) -> Answer {
        self.call(&json!({"hook": "config_save", "body": settings}))
    }

    pub(crate) fn request(&mut self, action: &str, body: Value) -> Answer {
        self.call(&json!({"hook": "request", "action": action, "body": body}))
    }

    pub(crate) fn tick(&mut self) -> Answer {
        self.call(&json!({"hook": "worker_tick"}))
    }

    pub(crate) fn models_changed(&mut self, events: Value) -> Answer {
        self.call(&json!({"hook": "models_changed", "body": events}))
    }

    /// The most memory the host has used so far, in KiB (`VmHWM`, proc(5)).
    pub(crate) fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("a running process");
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("its peak");
        line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number")
    }

    /// Kills the host with SIGKILL, as a power cut would.
    pub(crate) fn kill(&mut self) {
        // It may have ended by itself; then there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Whether an answer came that nobody has taken yet. Only for a host that has ended.
    pub(crate) fn has_answered(&mut self) -> bool {
        self.lines.recv_timeout(Duration::from_secs(1)).is_ok()
    }

    /// Closes the host's input and waits for its end.
    pub(crate) fn stop(&mut self) -> ExitStatus {
        drop(self.stdin.take());
        self.child.wait().expect("a started child can be waited for")
    }

    /// Ends a host that counted its callbacks; answers how many there were.
    pub(crate) fn callbacks(&mut self) -> u64 {
        drop(self.stdin.take());
        let line = self.lines.recv_timeout(PATIENCE).expect("a host that counts tells the number at its end");
        let count: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error} in {line}"));
        count["callbacks"].as_u64().unwrap_or_else(|| panic!("no number of callbacks in {line}"))
    }
}

fn answer(line: &Value) -> Answer {
    let status = line["status"].as_i64().unwrap_or_else(|| panic!("an answer without status: {line}"));
    Answer { status, body: line["answer"].clone() }
}

impl Drop for Plugin {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let ended = super::wait_until(Duration::from_secs(5), || matches!(self.child.try_wait(), Ok(Some(_))));
        if !ended {
            self.kill();
        }
    }
}
