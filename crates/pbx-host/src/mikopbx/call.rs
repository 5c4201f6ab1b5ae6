//! One call for MikoPBX's PHP: a line of JSON in, a line of JSON out, within a time limit.
//!
//! Only three workers serve the whole REST interface of a PBX, and a browser gives up after 30 seconds. So a call that
//! takes longer than its limit is ended here, with an answer that says what to do.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use plugin_abi::status::ldap_sync_status::{LDAP_SYNC_BUSY, LDAP_SYNC_CANCELLED};
use serde_json::{Value, json};

use super::config::PbxConfig;
use super::edits;
use super::pbx::PbxServices;
use crate::calls;
use crate::envelope::refusal;
use crate::interrupt;
use crate::loader::Module;
use crate::services::{HostServices, RunningHost};

/// The largest call, bytes.
const LARGEST_CALL: u64 = 4 * 1024 * 1024;

/// How long a run may take to stop after it was cancelled.
const GRACE: Duration = Duration::from_secs(4);

/// How long to wait between two attempts of an uninstall.
const BUSY_PAUSE: Duration = Duration::from_millis(250);

/// The action after which the worker makes its tick at once.
const START: &str = "start-sync";

/// Reads one call, makes it, and writes its answer; the status is in the answer. Whatever is still under way then ends
/// with the process, as the library expects of a process that dies.
pub fn run(
    module: Arc<Module>,
    services: &PbxServices,
    config: &PbxConfig,
    limit: Duration,
    input: impl Read,
    mut output: impl Write,
) -> io::Result<()> {
    let mut line = String::new();
    input.take(LARGEST_CALL).read_to_string(&mut line)?;
    let answers = make(Arc::clone(&module), line.clone(), limit.saturating_sub(BUSY_PAUSE * 4))?;
    let answer = match answers.recv_timeout(limit) {
        Ok(answer) => answer,
        Err(_) => stop(&module, services, &answers, limit),
    };
    if is(&line, "action", START)
        && answer["status"] == 0
        && let Err(error) = edits::wake(config, START)
    {
        log::warn!("the run begins with the next tick, some seconds later: beanstalkd: {error}");
    }
    writeln!(output, "{answer}")?;
    output.flush()
}

fn make(module: Arc<Module>, line: String, patience: Duration) -> io::Result<Receiver<Value>> {
    let (sender, answers) = mpsc::channel();
    thread::Builder::new().name("call".to_owned()).spawn(move || {
        // Nobody may be waiting any more.
        let _ = sender.send(answer(&module, &line, patience));
    })?;
    Ok(answers)
}

/// Makes the call; an uninstall waits for the end of a run, which MikoPBX has just told to stop by ending the worker.
#[expect(clippy::disallowed_methods, reason = "waiting for another process, which tells nobody that it is done")]
fn answer(module: &Module, line: &str, patience: Duration) -> Value {
    let start = Instant::now();
    loop {
        let answer = calls::answer_line(module, line);
        let in_the_way = is(line, "hook", "uninstall") && answer["status"] == LDAP_SYNC_BUSY as i32;
        if !in_the_way || start.elapsed() > patience {
            return answer;
        }
        thread::sleep(BUSY_PAUSE);
    }
}

/// Ends a call that takes too long: a run in order, between two batches; anything else as it is.
fn stop(module: &Module, services: &PbxServices, answers: &Receiver<Value>, limit: Duration) -> Value {
    let text = format!(
        "this took longer than {} seconds and was stopped; what was done until then is kept. A synchronisation, the \
         approval of a held run and the applying of a preview are started with {START} (on the page they are) and work \
         in the background; where only something was read, the directory answers slowly: test the connection",
        limit.as_secs()
    );
    log::warn!("{text}");
    // Only a run can be cancelled; nothing else ends sooner by being waited for.
    let grace = if services.current_run().is_some() { GRACE } else { Duration::ZERO };
    interrupt::cancel(module, services);
    let answer = answers.recv_timeout(grace).ok();
    services.end_write();
    match answer {
        Some(answer) => with_error(answer, &text),
        None => {
            let envelope: Value = serde_json::from_str(&refusal(&text)).unwrap_or_default();
            json!({"status": LDAP_SYNC_CANCELLED as i32, "answer": envelope})
        }
    }
}

/// The answer with one more sentence: an error, or information where it succeeded after all.
fn with_error(mut answer: Value, text: &str) -> Value {
    let kind = if answer["status"] == 0 { "info" } else { "error" };
    let messages = answer.pointer_mut(&format!("/answer/messages/{kind}")).and_then(Value::as_array_mut);
    if let Some(messages) = messages {
        messages.push(text.into());
    }
    answer
}

/// Whether the call has this text under this key.
fn is(line: &str, key: &str, text: &str) -> bool {
    serde_json::from_str::<Value>(line).is_ok_and(|call| call[key] == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sentence_is_an_error_unless_the_call_succeeded() {
        let answer = |status: i32| json!({"status": status, "answer": {"messages": {"error": [], "info": []}}});
        assert_eq!(with_error(answer(8), "late")["answer"]["messages"]["error"], json!(["late"]));
        assert_eq!(with_error(answer(0), "late")["answer"]["messages"]["info"], json!(["late"]));
        assert_eq!(with_error(json!({"error": "x"}), "late"), json!({"error": "x"}));
    }
}
