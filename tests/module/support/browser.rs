//! A real Chromium that a test drives as a reader would: it opens an address, presses buttons and reads the text.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::pause;

/// How long a page may take to show something; the machine may be busy with other tests.
const PATIENCE: Duration = Duration::from_secs(60);

/// A browser with one page. It ends with this value.
pub(crate) struct Browser {
    child: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
    session: Option<String>,
    last_id: u64,
    /// Errors the page wrote to its console or did not catch.
    errors: Vec<String>,
    _profile: tempfile::TempDir,
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if !std::thread::panicking() {
            assert_eq!(self.errors, Vec::<String>::new(), "errors on the page's console");
        }
    }
}

impl Browser {
    /// Starts Chromium with an empty page.
    pub(crate) fn start() -> Browser {
        let profile = tempfile::tempdir().expect("a temporary directory");
        // Chromium reads commands from descriptor 3 and answers on 4; the shell puts our pipes there.
        let mut command = Command::new("sh");
        command.args(["-c", "exec \"$@\" 3<&0 4>&1 </dev/null >/dev/null", "sh", "chromium", "--headless"]);
        command.args(["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]);
        command.args(["--disable-background-networking", "--disable-component-update", "--remote-debugging-pipe"]);
        command.arg(format!("--user-data-dir={}", profile.path().display()));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("chromium can be started");
        let commands = child.stdin.take().expect("stdin is piped");
        let answers = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let mut browser =
            Browser { child, commands, answers, session: None, last_id: 0, errors: Vec::new(), _profile: profile };
        let target = browser.send("Target.createTarget", json!({"url": "about:blank"}))["targetId"].clone();
        let attached = browser.send("Target.attachToTarget", json!({"targetId": target, "flatten": true}));
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        browser.send("Runtime.enable", json!({}));
        browser
    }

    /// Sends one command of the DevTools protocol and waits for its answer; of the events in between only errors
    /// are kept.
    fn send(&mut self, method: &str, parameters: Value) -> Value {
        self.last_id += 1;
        let mut message = json!({"id": self.last_id, "method": method, "params": parameters});
        if let Some(session) = &self.session {
            message["sessionId"] = session.as_str().into();
        }
        let text = format!("{message}\0");
        self.commands.write_all(text.as_bytes()).expect("chromium takes commands");
        loop {
            let mut answer = Vec::new();
            let length = self.answers.read_until(0, &mut answer).expect("chromium answers");
            assert!(length > 0, "chromium has ended");
            let answer: Value = serde_json::from_slice(answer.strip_suffix(b"\0").unwrap_or(&answer)).expect("JSON");
            if answer["id"] == json!(self.last_id) {
                assert!(answer["error"].is_null(), "{method}: {}", answer["error"]);
                return answer["result"].clone();
            }
            self.errors.extend(error_of(&answer));
        }
    }

    /// Makes the page so many pixels wide and high.
    pub(crate) fn resize(&mut self, width: u32, height: u32) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.send("Emulation.setDeviceMetricsOverride", size);
    }

    /// A picture of what the reader sees without scrolling, PNG.
    pub(crate) fn screenshot(&mut self) -> Vec<u8> {
        let taken = self.send("Page.captureScreenshot", json!({"format": "png"}));
        STANDARD.decode(taken["data"].as_str().expect("a picture")).expect("base64")
    }

    /// The value of a JavaScript expression.
    pub(crate) fn evaluate(&mut self, expression: &str) -> Value {
        let asked = json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        let answer = self.send("Runtime.evaluate", asked);
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {}", answer["exceptionDetails"]);
        answer["result"]["value"].clone()
    }

    /// Opens an address anew and waits until the page shows `text`.
    #[track_caller]
    pub(crate) fn open(&mut self, address: &str, text: &str) {
        // The part behind # alone would not load the page again.
        self.send("Page.navigate", json!({"url": "about:blank"}));
        self.send("Page.navigate", json!({"url": address}));
        self.wait_for(text);
    }

    /// The text a reader sees now, without the marks that isolate values of another direction (U+2066 to U+2069).
    pub(crate) fn text(&mut self) -> String {
        let text = self.evaluate("document.body ? document.body.innerText : ''");
        text.as_str().unwrap_or_default().replace(['\u{2066}', '\u{2067}', '\u{2068}', '\u{2069}'], "")
    }

    /// Waits until the page shows `text`.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, text: &str) {
        self.wait_until(&format!("{text:?} is not on the page"), |shown| shown.contains(text));
    }

    /// Waits until the page shows `text` no more.
    #[track_caller]
    pub(crate) fn wait_gone(&mut self, text: &str) {
        self.wait_until(&format!("{text:?} is still on the page"), |shown| !shown.contains(text));
    }

    #[track_caller]
    fn wait_until(&mut self, otherwise: &str, done: impl Fn(&str) -> bool) {
        let end = Instant::now() + PATIENCE;
        loop {
            let shown = self.text();
            if done(&shown) {
                return;
            }
            assert!(Instant::now() < end, "{otherwise}:\n{shown}");
            pause(50);
        }
    }

    /// Presses the first visible button or link that reads `words`, in the question that is open if there is one.
    #[track_caller]
    pub(crate) fn press(&mut self, words: &str) {
        let wanted = json!(words);
        let pressed = self.evaluate(&format!(
            "(() => {{
                const place = document.querySelector('dialog[open]') || document;
                const found = [...place.querySelectorAll('button, a')]
                    .find((one) => one.innerText.trim() === {wanted} && one.getClientRects().length > 0);
                if (found) found.click();
                return Boolean(found);
            }})()"
        ));
        assert_eq!(pressed, json!(true), "there is nothing to press that reads {words:?}:\n{}", self.text());
    }

    /// Types `value` into a field of a form, or chooses it there.
    #[track_caller]
    pub(crate) fn set(&mut self, field: &str, value: &str) {
        let (field, value) = (json!(field), json!(value));
        self.evaluate(&format!(
            "(() => {{
                const control = document.querySelector(`[data-field=\"${{{field}}}\"]`);
                control.value = {value};
                control.dispatchEvent(new Event('input', {{ bubbles: true }}));
            }})()"
        ));
    }

    /// Chooses an entry of a list in a form.
    #[track_caller]
    pub(crate) fn choose(&mut self, field: &str, value: &str) {
        let (field, value) = (json!(field), json!(value));
        self.evaluate(&format!(
            "(() => {{
                const control = document.querySelector(`[data-field=\"${{{field}}}\"]`);
                control.value = {value};
                control.dispatchEvent(new Event('change', {{ bubbles: true }}));
            }})()"
        ));
    }

    /// What the field of a form holds.
    pub(crate) fn value(&mut self, field: &str) -> String {
        let field = json!(field);
        let value = self.evaluate(&format!("document.querySelector(`[data-field=\"${{{field}}}\"]`).value"));
        value.as_str().unwrap_or_default().to_owned()
    }
}

/// The error an event tells of: an exception nobody caught, or a line of the console.
fn error_of(event: &Value) -> Option<String> {
    let parameters = &event["params"];
    match event["method"].as_str()? {
        "Runtime.exceptionThrown" => Some(parameters["exceptionDetails"].to_string()),
        "Runtime.consoleAPICalled" if parameters["type"] == json!("error") => Some(parameters["args"].to_string()),
        _ => None,
    }
}
