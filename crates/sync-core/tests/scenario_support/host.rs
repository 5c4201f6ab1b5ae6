//! A host that records what is asked of it and lets a test act in the middle of a run.

use std::cell::{Cell, RefCell};

use serde_json::Value;
use sync_core::host::Host;

type OnProgress = Box<dyn FnMut(&Progress)>;

/// The double. Its clock moves by a millisecond at every look.
#[derive(Default)]
pub(crate) struct HostDouble {
    clock: Cell<i64>,
    held: Cell<bool>,
    /// Every event the PBX was told: model without its namespace, record id.
    pub(crate) announced: RefCell<Vec<(String, String)>>,
    /// Acts in the middle of a run.
    pub(crate) on_progress: RefCell<Option<OnProgress>>,
    /// Called after each write transaction.
    pub(crate) after_write: RefCell<Option<Box<dyn FnMut()>>>,
}

/// A report of progress.
pub(crate) struct Progress {
    pub(crate) run_id: i64,
    pub(crate) phase: String,
    pub(crate) done: u64,
    /// 0: not known.
    pub(crate) total: u64,
}

impl Host for HostDouble {
    fn announce(&self, events: &str) -> bool {
        let events: Vec<Value> = serde_json::from_str(events).expect("an array of events");
        self.announced.borrow_mut().extend(events.iter().map(|event| {
            let model = event["model"].as_str().and_then(|model| model.rsplit('\\').next()).expect("a model");
            (model.to_owned(), event["recordId"].as_str().expect("a record").to_owned())
        }));
        true
    }

    fn progress(&self, json: &str) {
        let report: Value = serde_json::from_str(json).expect("progress is JSON");
        let report = Progress {
            run_id: report["runId"].as_i64().expect("a run"),
            phase: report["phase"].as_str().expect("a phase").to_owned(),
            done: report["done"].as_u64().expect("a count"),
            total: report["total"].as_u64().expect("a count"),
        };
        if let Some(act) = self.on_progress.borrow_mut().as_mut() {
            act(&report);
        }
    }

    fn begin_write(&self, _timeout_ms: u32) -> bool {
        assert!(!self.held.replace(true), "the mutex is not taken twice");
        true
    }

    fn end_write(&self) {
        assert!(self.held.replace(false), "the mutex is released once");
        if let Some(act) = self.after_write.borrow_mut().as_mut() {
            act();
        }
    }

    fn now(&self) -> i64 {
        self.clock.set(self.clock.get() + 1);
        self.clock.get()
    }

    /// Nothing here waits for anybody, but the time of a file has to move on.
    #[expect(clippy::disallowed_methods, reason = "a host waits where it is asked to")]
    fn pause(&self, ms: u32) {
        std::thread::sleep(std::time::Duration::from_millis(u64::from(ms).min(25)));
    }
}
