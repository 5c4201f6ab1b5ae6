//! The loader against a double of the library: version, answers, callbacks, and a library that breaks its ABI.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use log::Level;
use pbx_host::calls;
use pbx_host::loader::{Answer, Error, Module};
use pbx_host::services::HostServices;
use serde_json::{Value, json};
use support::FakeLibrary;

#[derive(Default)]
struct Recorder {
    seen: Mutex<Vec<String>>,
    panics: bool,
}

impl Recorder {
    fn note(&self, what: String) {
        self.seen.lock().unwrap().push(what);
        assert!(!self.panics, "a callback that panics");
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }
}

impl HostServices for Recorder {
    fn log(&self, level: Level, text: &str) {
        self.note(format!("log {level} {text}"));
    }
    fn announce(&self, events: &str) -> bool {
        self.note(format!("announce {events}"));
        true
    }
    fn progress(&self, json: &str) {
        self.note(format!("progress {json}"));
    }
    fn begin_write(&self, timeout: Duration) -> bool {
        self.note(format!("begin_write {timeout:?}"));
        true
    }
    fn end_write(&self) {
        self.note("end_write".to_owned());
    }
    fn now(&self) -> i64 {
        self.note("now".to_owned());
        1_700_000_000_123
    }
}

fn open(library: &FakeLibrary) -> Module {
    Module::open(&library.path(), Arc::<Recorder>::default(), "{}").unwrap()
}

fn data(answer: Result<Answer, Error>) -> Value {
    serde_json::from_str::<Value>(&answer.unwrap().json).unwrap()["data"].take()
}

#[test]
fn a_library_of_another_version_is_refused_with_both_numbers() {
    let library = FakeLibrary::build(2);
    let error = Module::open(&library.path(), Arc::<Recorder>::default(), "{}").err().unwrap();
    assert!(matches!(error, Error::Version { found: 2, .. }));
    assert!(error.to_string().contains("version 2") && error.to_string().contains("version 1"), "{error}");
}

#[test]
fn a_missing_or_foreign_file_is_a_clear_error() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing.so");
    let text = directory.path().join("text.so");
    std::fs::write(&text, "not a library").unwrap();
    for path in [missing, text] {
        let error = Module::open(&path, Arc::<Recorder>::default(), "{}").err().unwrap().to_string();
        assert!(error.contains(path.to_str().unwrap()) && error.contains("--library"), "{error}");
    }
}

#[test]
fn a_refused_open_tells_what_the_library_logged() {
    let library = FakeLibrary::build(1);
    let error = Module::open(&library.path(), Arc::<Recorder>::default(), "refuse").err().unwrap();
    assert!(matches!(&error, Error::Open { status: 6, reason } if reason == "no such PBX"), "{error}");
}

#[test]
fn every_hook_answers() {
    let library = FakeLibrary::build(1);
    let module = open(&library);
    assert_eq!(data(module.install()), "install");
    assert_eq!(data(module.uninstall(false)), "uninstall");
    assert_eq!(data(module.uninstall(true)), "uninstall, kept");
    assert_eq!(data(module.worker_tick()), "worker_tick");
    assert_eq!(data(module.config_save(r#"{"id":1}"#)), json!({"hook": "config_save", "body": {"id": 1}}));
    assert_eq!(data(module.models_changed("[]")), json!({"hook": "models_changed", "body": []}));
    assert_eq!(data(module.request("echo", r#""Ёлка 李""#)), json!({"hook": "request", "body": "Ёлка 李"}));
    assert_eq!(data(module.request("echo", "")), json!({"hook": "request", "body": null}), "nothing is NULL");
    assert_eq!(module.request("refuse", "").unwrap().status, 5);
    assert!(matches!(module.request("a\0b", ""), Err(Error::Action(_))));
}

#[test]
fn callbacks_arrive_with_their_arguments() {
    let library = FakeLibrary::build(1);
    let recorder = Arc::<Recorder>::default();
    let module = Module::open(&library.path(), Arc::clone(&recorder) as Arc<dyn HostServices>, "{}").unwrap();
    assert_eq!(
        data(module.request("callbacks", "")),
        json!({"begun": 0, "announced": 0, "now": 1_700_000_000_123_i64})
    );
    drop(module);
    assert_eq!(
        recorder.seen(),
        [
            "log WARN a warning",
            r#"progress {"runId":7,"phase":"applying","done":1,"total":2}"#,
            "begin_write 50ms",
            r#"announce [{"recordId":"1"},{"recordId":"2"}]"#,
            "end_write",
            "now",
            "log INFO closed",
        ]
    );
}

#[test]
fn a_panic_in_a_callback_stays_in_the_host_and_answers_no() {
    let library = FakeLibrary::build(1);
    let recorder = Arc::new(Recorder { panics: true, ..Recorder::default() });
    let module = Module::open(&library.path(), recorder, "{}").unwrap();
    assert_eq!(data(module.request("callbacks", "")), json!({"begun": 1, "announced": 1, "now": 0}));
}

#[test]
fn a_library_that_breaks_its_abi_is_found_out() {
    let library = FakeLibrary::build(1);
    let module = open(&library);
    assert!(matches!(module.request("silent", ""), Err(Error::Answers { answers: 0, status: 99, .. })));
    assert!(matches!(module.request("twice", ""), Err(Error::Answers { answers: 2, .. })));
    assert!(matches!(module.request("not-utf8", ""), Err(Error::NotUtf8 { .. })));
}

#[test]
fn the_driver_answers_every_line() {
    let library = FakeLibrary::build(1);
    let input = concat!(
        r#"{"hook":"uninstall","keep":true}"#,
        "\n\n",
        r#"{"hook":"config_save","body":{"a":"b"}}"#,
        "\n",
        r#"{"hook":"request","action":"refuse"}"#,
        "\n",
        r#"{"hook":"request","action":"echo","text":"oops}"}"#,
        "\n",
        r#"{"hook":"request","action":"silent"}"#,
        "\n",
        r#"{"hook":"reboot"}"#,
        "\nnonsense\n",
        r#"{"parallel":[{"hook":"request","action":"slow"},{"hook":"install","afterMs":1}]}"#,
        "\n",
    );
    let mut output = Vec::new();
    calls::drive(&open(&library), input.as_bytes(), &mut output).unwrap();
    let lines: Vec<Value> =
        String::from_utf8(output).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["answer"]["data"], "uninstall, kept");
    assert_eq!(lines[1]["answer"]["data"]["body"], json!({"a": "b"}));
    assert_eq!(lines[2]["status"], 5);
    assert!(lines[3]["error"].as_str().unwrap().contains("not JSON"));
    assert!(lines[4]["error"].as_str().unwrap().contains("answered 0 times"));
    assert!(lines[5]["error"].as_str().unwrap().contains("reboot"));
    assert!(lines[6]["error"].as_str().unwrap().contains("nonsense"));
    assert_eq!(lines[7]["parallel"][0]["answer"]["data"], "slow");
    assert_eq!(lines[7]["parallel"][1]["answer"]["data"], "install");
    assert_eq!(lines.len(), 8);
}
