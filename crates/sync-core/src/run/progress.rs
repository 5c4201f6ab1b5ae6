//! Progress of a run as the host hears it.

use serde_json::json;

use crate::host::Host;

/// How far a run has got in its present phase.
#[derive(Debug)]
pub(super) struct Progress {
    run_id: i64,
    phase: &'static str,
    total: u64,
    entered: i64,
}

impl Progress {
    pub(super) fn new(run_id: i64) -> Progress {
        Progress { run_id, phase: "", total: 0, entered: 0 }
    }

    /// Begins a phase of `total` steps; 0 when their number is not known.
    pub(super) fn enter(&mut self, phase: &'static str, total: u64, host: &dyn Host) {
        if !self.phase.is_empty() {
            log::debug!("run {}: {} took {} ms", self.run_id, self.phase, host.now() - self.entered);
        }
        self.phase = phase;
        self.total = total;
        self.entered = host.now();
        self.step(0, host);
    }

    /// Tells that `done` steps of the phase are done.
    pub(super) fn step(&mut self, done: u64, host: &dyn Host) {
        let seconds = (host.now() - self.entered).max(0) as f64 / 1000.0;
        let rate = if seconds > 0.0 { done as f64 / seconds } else { 0.0 };
        let left = self.total.saturating_sub(done) as f64;
        let eta = (rate > 0.0 && self.total > 0).then(|| (left / rate).ceil() as u64);
        let message = json!({
            "runId": self.run_id,
            "phase": self.phase,
            "done": done,
            "total": self.total,
            "rate": (rate * 10.0).round() / 10.0,
            "etaSeconds": eta,
        });
        host.progress(&message.to_string());
    }
}
