//! Drives a module by JSON lines: one call per line in, one answer per line out.
//!
//! | line | answer |
//! |---|---|
//! | `{"hook":"install"}`, `{"hook":"worker_tick"}` | `{"status":0,"answer":{…}}` |
//! | `{"hook":"uninstall","keep":true}` | the same |
//! | `{"hook":"config_save","body":{…}}`, `{"hook":"models_changed","body":[…]}` | the same |
//! | `{"hook":"request","action":"get-status","body":{…}}` | the same |
//! | `{"parallel":[{…},{…}]}`, each on a thread of its own | `{"parallel":[{…},{…}]}`, in the order of the calls |
//!
//! `"text": "…"` in place of `body` is handed over as it is, for input that is not JSON. `"afterMs": n` waits first. A
//! line that is no call, and a library that breaks its ABI, answer `{"error":"…"}`; the calls after it are still made.

use std::io::{self, BufRead, Write};
use std::thread;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::loader::{Answer, Error, Module};

/// Makes every call of `input` and writes its answer to `output` before the next one is read.
pub fn drive(module: &Module, input: impl BufRead, mut output: impl Write) -> io::Result<()> {
    for line in input.lines() {
        let line = line?;
        if line.trim().is_empty() {
            continue;
        }
        writeln!(output, "{}", answer_line(module, &line))?;
        output.flush()?;
    }
    Ok(())
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Parallel { parallel: Vec<Call> },
    One(Call),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Call {
    hook: String,
    #[serde(default)]
    action: String,
    body: Option<Value>,
    text: Option<String>,
    #[serde(default)]
    keep: bool,
    #[serde(default, rename = "afterMs")]
    after_ms: u64,
}

/// Makes the call of one line and answers it.
pub fn answer_line(module: &Module, line: &str) -> Value {
    match serde_json::from_str(line) {
        Ok(Line::One(call)) => outcome(module, &call),
        Ok(Line::Parallel { parallel }) => json!({"parallel": outcomes(module, &parallel)}),
        Err(error) => json!({"error": format!("this line is no call ({error}): {line}")}),
    }
}

fn outcomes(module: &Module, calls: &[Call]) -> Vec<Value> {
    thread::scope(|scope| {
        let threads: Vec<_> = calls.iter().map(|call| scope.spawn(|| outcome(module, call))).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| json!({"error": "the call panicked in the host"})))
            .collect()
    })
}

#[expect(clippy::disallowed_methods, reason = "the driver's own `afterMs`")]
fn outcome(module: &Module, call: &Call) -> Value {
    if call.after_ms > 0 {
        thread::sleep(Duration::from_millis(call.after_ms));
    }
    match run(module, call) {
        Some(Ok(answer)) => answered(&answer),
        Some(Err(error)) => json!({"error": error.to_string()}),
        None => json!({"error": format!("there is no hook {:?}", call.hook)}),
    }
}

/// Makes one call; `None` when there is no such hook.
fn run(module: &Module, call: &Call) -> Option<Result<Answer, Error>> {
    let body = match (&call.text, &call.body) {
        (Some(text), _) => text.clone(),
        (None, Some(body)) => body.to_string(),
        (None, None) => String::new(),
    };
    Some(match call.hook.as_str() {
        "install" => module.install(),
        "uninstall" => module.uninstall(call.keep),
        "worker_tick" => module.worker_tick(),
        "config_save" => module.config_save(body),
        "models_changed" => module.models_changed(body),
        "request" => module.request(&call.action, body),
        _ => return None,
    })
}

fn answered(answer: &Answer) -> Value {
    match serde_json::from_str::<Value>(&answer.json) {
        Ok(envelope) => json!({"status": answer.status, "answer": envelope}),
        Err(error) => {
            json!({"status": answer.status, "error": format!("the answer is not JSON ({error})"), "text": answer.json})
        }
    }
}
