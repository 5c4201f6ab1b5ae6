//! The program as an administrator calls it, against a double of the library with canned answers.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use support::FakeLibrary;
use tempfile::TempDir;

struct Setup {
    library: FakeLibrary,
    directory: TempDir,
}

impl Setup {
    fn new(answers: &[(&str, &str)]) -> Setup {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("db")).unwrap();
        for (action, data) in answers {
            let json = format!(r#"{{"result":true,"data":{data},"messages":{{"error":[],"info":["all well"]}}}}"#);
            fs::write(directory.path().join(format!("{action}.json")), json).unwrap();
        }
        Setup { library: FakeLibrary::build(1), directory }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn run(&self, arguments: &[&str], input: &str) -> Output {
        let mut child = Command::new(env!("CARGO_BIN_EXE_pbx-host"))
            .args(arguments)
            .env("LDAP_SYNC_LIBRARY", self.library.path())
            .env("LDAP_SYNC_MODULE_DIR", self.path())
            .env("LDAP_SYNC_PBX_DATABASE", self.path().join("mikopbx.db"))
            .env("LDAP_SYNC_MEDIA_DIR", self.path())
            .env("FAKE_ANSWERS", self.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // The program need not read its input.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    }
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

const ONE_SERVER: &str = r#"{"version":"0.1.0","servers":[{"id":3,"provider":"OpenLDAP","server":"ldap.example.test",
    "autosync":true,"syncedEmployees":42,"lastRun":null,"nextRun":null,"heldRun":null}]}"#;

#[test]
fn the_only_server_need_not_be_named() {
    let conflicts = r#"[{"id":1,"person":"李小龙","field":"number","directoryValue":"2000","pbxValue":"",
        "errors":["2000 is the queue Sales"],"count":2,"lastTime":null}]"#;
    let setup = Setup::new(&[("get-status", ONE_SERVER), ("get-server-conflicts", conflicts)]);
    let output = setup.run(&["conflicts"], "");
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    let text = out(&output);
    assert!(text.contains("李小龙") && text.contains("2000 is the queue Sales") && text.contains("all well"), "{text}");
    assert!(!text.contains('\u{1b}'), "no colours where there is no terminal: {text:?}");
    assert!(out(&setup.run(&["status"], "")).contains("ldap.example.test"));
}

#[test]
fn which_server_is_asked_when_there_are_none_or_several() {
    let none = Setup::new(&[("get-status", r#"{"servers":[]}"#)]);
    let output = none.run(&["preview"], "");
    assert_eq!(output.status.code(), Some(70));
    assert!(err(&output).contains("configure"), "{}", err(&output));
    let two = Setup::new(&[("get-status", r#"{"servers":[{"id":1,"server":"a"},{"id":2,"server":"b"}]}"#)]);
    assert!(err(&two.run(&["preview"], "")).contains("1 (\"a\"), 2 (\"b\")"));
}

#[test]
fn the_librarys_status_is_the_exit_status() {
    let setup = Setup::new(&[]);
    let output = setup.run(&["request", "refuse"], "");
    assert_eq!(output.status.code(), Some(5));
    assert!(out(&output).contains("held"));
    let output = setup.run(&["status"], "");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(err(&output), "error: no such action\n");
    let output = setup.run(&["preview", "--json", "9"], "");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(out(&output).trim(), r#"{"result":false,"messages":{"error":["no such action"]}}"#);
}

#[test]
fn configure_sends_the_settings_and_never_shows_the_password() {
    let setup = Setup::new(&[]);
    let base = ["configure", "--json", "--host=new", "--login=cn=pbx", "--password-stdin"];
    let output = setup.run(&base, "s3cret\n");
    let text = out(&output);
    assert!(text.contains(r#""serverName":"new""#) && text.contains(r#""administrativePassword":"s3cret""#), "{text}");
    let changed = out(&setup.run(&["configure", "--json", "--id=3", "--base-dn=dc=x"], ""));
    assert!(changed.contains(r#""body":{"baseDN":"dc=x","id":3}"#), "{changed}");
    let shown = setup.run(&["configure", "--host=new", "--password-stdin"], "s3cret\n");
    assert!(!out(&shown).contains("s3cret") && !err(&shown).contains("s3cret"));
}

#[test]
fn calls_are_answered_line_by_line() {
    let output =
        Setup::new(&[]).run(&["calls"], "{\"hook\":\"install\"}\n{\"hook\":\"request\",\"action\":\"refuse\"}\n");
    let text = out(&output);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert!(lines[0].contains(r#""status":0"#) && lines[1].contains(r#""status":5"#), "{text}");
}

#[test]
fn announcements_and_progress_go_where_they_are_told() {
    let setup = Setup::new(&[]);
    let log = setup.path().join("announced");
    let log = log.to_str().unwrap();
    let output = setup.run(&["request", "callbacks", "--announce-log", log, "--json-progress"], "");
    assert_eq!(fs::read_to_string(log).unwrap(), "{\"recordId\":\"1\"}\n{\"recordId\":\"2\"}\n");
    assert!(err(&output).contains(r#""phase":"applying""#), "{}", err(&output));
    assert!(err(&output).contains("warning: a warning"), "{}", err(&output));
    let quiet = setup.run(&["--quiet", "request", "callbacks"], "");
    assert_eq!(err(&quiet), "");
    assert!(out(&quiet).contains("\"begun\": 0"));
}

#[test]
fn wrong_calls_are_told_apart_from_the_librarys_statuses() {
    let setup = Setup::new(&[]);
    assert_eq!(setup.run(&["no-such-command"], "").status.code(), Some(64));
    assert_eq!(setup.run(&["configure", "--password", "x"], "").status.code(), Some(64));
    let help = setup.run(&["--help"], "");
    assert_eq!(help.status.code(), Some(0));
    assert!(out(&help).contains("Examples:") && out(&help).contains("Exit status:"));
    let output = setup.run(&["--library", "/nonexistent.so", "status"], "");
    assert_eq!(output.status.code(), Some(70));
    assert!(err(&output).contains("/nonexistent.so"), "{}", err(&output));
}

/// Canned answers for the demo; `result` is that of every synchronisation.
fn demo_answers(result: &str) -> Setup {
    let row = r#""name":"李小龙","number":"205","mobile":"","email":"li@example.test""#;
    let change = r#"{"side":"directory","field":"number","old":"","new":"205","outcome":"done"}"#;
    let preview = format!(
        r#"{{"coverage":"full","counts":{{"create":1}},"people":[{{{row},"action":"create","changes":[{change}],"conflicts":[],"notes":[]}}]}}"#
    );
    let sync =
        format!(r#"[{{{row},"action":"create","usersSyncResult":"{result}","changes":[{change}],"reason":""}}]"#);
    let steps = r#"{"steps":[{"step":"reach","ok":true,"text":"reached"}]}"#;
    Setup::new(&[
        ("preview-sync", &preview),
        ("sync-ldap-users", &sync),
        ("test-connection", steps),
        ("get-server-conflicts", "[]"),
    ])
}

#[test]
fn the_demo_tells_its_steps_in_order() {
    let setup = demo_answers("SKIPPED");
    let keep = setup.path().join("kept");
    let keep = keep.to_str().unwrap();
    let output = setup.run(&["demo", "--once", "--directory=embedded", "--keep", keep], "");
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    let text = out(&output);
    let mut from = 0;
    for part in [
        "1. A PBX and a directory",
        "2. The module",
        "3. The connection",
        "✓ reached",
        "4. Preview",
        "New employees",
        "李小龙",
        "5. Synchronisation",
        "All well",
        "Values written back to the directory: 1.",
        "6. What waits",
        "Nothing waits for a decision.",
        "7. Once more",
        "1 person: everything is up to date",
        "Everything is kept in",
    ] {
        from += text[from..].find(part).unwrap_or_else(|| panic!("{part:?} is missing after {from} in\n{text}"));
    }
    assert!(fs::metadata(Path::new(keep).join("mikopbx.db")).unwrap().len() > 0);
    let again = setup.run(&["demo", "--once", "--directory=embedded", "--keep", keep], "");
    assert!(err(&again).contains("is not empty"), "{}", err(&again));
}

#[test]
fn the_demo_fails_when_the_second_synchronisation_changes_something() {
    let output = demo_answers("UPDATED").run(&["demo", "--once", "--directory=embedded"], "");
    assert_eq!(output.status.code(), Some(70));
    assert!(err(&output).contains("the second synchronisation changed 1 person"), "{}", err(&output));
}

#[test]
fn ctrl_c_stops_the_server_cleanly() {
    let setup = Setup::new(&[]);
    let mut child = Command::new(env!("CARGO_BIN_EXE_pbx-host"))
        .args(["--module-dir=.", "--pbx-database=x", "--media-dir=.", "serve", "--listen=127.0.0.1:0", "--tick=1"])
        .arg("--public")
        .arg(setup.path())
        .env("LDAP_SYNC_LIBRARY", setup.library.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("The page is on http://127.0.0.1:"), "{line}");
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
