//! MikoPBX's event bus, through which open pages of its admin cabinet hear of changes: best effort, never waited for.

use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use ureq::Agent;

/// Messages that wait at most; the bus itself keeps 50, and a page asks for the state again anyway.
const WAITING: usize = 256;

/// How long one message may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long nothing is sent after a message that could not be delivered.
const REST: Duration = Duration::from_secs(10);

/// Sends messages from a thread of its own.
pub struct EventBus {
    sender: Option<SyncSender<String>>,
    thread: Option<JoinHandle<()>>,
}

impl EventBus {
    /// The bus behind the web server on `port` of this machine; without a port nothing is sent.
    pub fn new(port: Option<u16>) -> EventBus {
        let Some(port) = port else { return EventBus { sender: None, thread: None } };
        let (sender, messages) = mpsc::sync_channel(WAITING);
        let url = format!("http://127.0.0.1:{port}/pbxcore/api/nchan/pub/event-bus");
        let thread = thread::Builder::new().name("event bus".to_owned()).spawn(move || post_all(&url, &messages));
        match thread {
            Ok(thread) => EventBus { sender: Some(sender), thread: Some(thread) },
            Err(error) => {
                log::warn!("open pages are not told of changes: no thread can be started: {error}");
                EventBus { sender: None, thread: None }
            }
        }
    }

    /// Sends a message of the type `kind`; dropped where too many wait already.
    pub fn publish(&self, kind: &str, data: &Value) {
        if let Some(sender) = &self.sender {
            let _ = sender.try_send(json!({"type": kind, "data": data}).to_string());
        }
    }
}

impl Drop for EventBus {
    /// Sends what still waits.
    fn drop(&mut self) {
        drop(self.sender.take());
        if let Some(thread) = self.thread.take() {
            // Nothing depends on how it ended.
            let _ = thread.join();
        }
    }
}

fn post_all(url: &str, messages: &Receiver<String>) {
    let agent: Agent = Agent::config_builder().timeout_global(Some(PATIENCE)).proxy(None).build().into();
    let mut resting_since: Option<Instant> = None;
    for message in messages {
        if resting_since.is_some_and(|since| since.elapsed() < REST) {
            continue;
        }
        let sent = agent.post(url).header("Content-Type", "application/json").send(message);
        resting_since = match sent {
            Ok(_) => None,
            Err(error) => {
                log::debug!("the event bus did not take a message: {error}");
                Some(Instant::now())
            }
        };
    }
}
