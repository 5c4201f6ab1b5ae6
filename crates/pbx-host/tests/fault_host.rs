//! The fault host does what its environment says: every fault is seen by the library's double.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use support::FakeLibrary;

/// SIGKILL's number on Linux.
const SIGKILL: i32 = 9;

/// `cargo test` builds the examples, unless targets are chosen.
fn fault_host() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().and_then(|deps| deps.parent()).unwrap();
    let program = profile.join("examples/fault_host");
    assert!(program.is_file(), "run `cargo build -p pbx-host --example fault_host` first");
    program
}

fn run(environment: &[(&str, &str)], calls: &str) -> Output {
    let library = FakeLibrary::build(1);
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("db")).unwrap();
    let mut child = Command::new(fault_host())
        .arg(library.path())
        .args([directory.path(), &directory.path().join("pbx"), directory.path()])
        .envs(environment.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A host that was killed does not read any more.
    let _ = child.stdin.take().unwrap().write_all(calls.as_bytes());
    child.wait_with_output().unwrap()
}

fn lines(output: &Output) -> Vec<Value> {
    String::from_utf8_lossy(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

const CALLBACKS: &str = r#"{"hook":"request","action":"callbacks"}"#;

#[test]
fn callbacks_are_counted() {
    let output = run(&[("FAULT_AT_CALLBACK", "0")], CALLBACKS);
    // log, progress, begin_write, announce, end_write, now, and the log of close.
    assert_eq!(lines(&output).last(), Some(&json!({"callbacks": 7})));
}

#[test]
fn it_dies_at_the_callback_it_was_told_to_die_at() {
    for at in ["1", "4", "6"] {
        let output = run(&[("FAULT_AT_CALLBACK", at)], CALLBACKS);
        assert_eq!(output.status.signal(), Some(SIGKILL), "{at}");
        assert!(output.stdout.is_empty(), "{at}: the call was not answered");
    }
    let output = run(&[("FAULT_AT_CALLBACK", "7")], CALLBACKS);
    assert_eq!((output.status.signal(), lines(&output).len()), (Some(SIGKILL), 1), "it died while closing");
    assert!(run(&[("FAULT_AT_CALLBACK", "8")], CALLBACKS).status.success(), "there is no eighth");
}

#[test]
fn busy_refused_and_frozen() {
    let environment = [("FAULT_BEGIN_WRITE_BUSY", "1"), ("FAULT_ANNOUNCE", "1"), ("FAULT_NOW", "1234")];
    let answers = lines(&run(&environment, &format!("{CALLBACKS}\n{CALLBACKS}\n")));
    assert_eq!(answers[0]["answer"]["data"], json!({"begun": 1, "announced": 1, "now": 1234}));
    assert_eq!(answers[1]["answer"]["data"], json!({"begun": 0, "announced": 1, "now": 1234}), "busy only once");
}

#[test]
fn a_fault_that_is_no_number_is_an_error() {
    let output = run(&[("FAULT_AT_CALLBACK", "soon")], CALLBACKS);
    assert_eq!(output.status.code(), Some(70));
    assert!(String::from_utf8_lossy(&output.stderr).contains("FAULT_AT_CALLBACK=soon"));
}
