//! What the limits hold, approved or rejected by an administrator.

use serde_json::{Value, json};
use sync_core::host::Host;
use sync_core::journal::{HeldRun, Journal, ServerRecord};
use sync_core::report;

use crate::actions::required_id;
use crate::answer::{Answer, Failure};
use crate::orders::{self, Order, nothing_held};
use crate::plugin::Plugin;

/// What is held, as `get-status` tells it.
pub(crate) fn row(held: &HeldRun) -> Value {
    let holds: Vec<Value> = held.holds.iter().map(report::hold_row).collect();
    json!({"runId": held.run_id, "since": held.since, "held": holds})
}

/// What is held under a run, with its server.
fn find(journal: &Journal, run_id: i64) -> Result<(ServerRecord, HeldRun), Failure> {
    for record in journal.servers()? {
        if let Some(held) = journal.held(record.id)?.filter(|held| held.run_id == run_id) {
            return Ok((record, held));
        }
    }
    Err(nothing_held(run_id))
}

/// `approve-held-run`: plans again and makes the run, with what was held; refuses when that has grown meanwhile.
pub(crate) fn approve(plugin: &Plugin, body: &Value) -> Result<Answer, Failure> {
    let run_id = required_id(body, "runId")?;
    let mut journal = plugin.journal()?;
    let (record, _) = find(&journal, run_id)?;
    orders::carry_out(plugin, &mut journal, &record, &Order::Held(run_id))
}

/// `reject-held-run`: what is held stays undone, and is not asked about again until it grows.
pub(crate) fn reject(plugin: &Plugin, body: &Value) -> Result<Answer, Failure> {
    let run_id = required_id(body, "runId")?;
    let mut journal = plugin.journal()?;
    let (record, _) = find(&journal, run_id)?;
    journal.reject_held(run_id)?;
    // Somebody else may have asked the worker for it already.
    journal.cancel_asked(record.id, &Order::Held(run_id).text(), plugin.host.now())?;
    let told = "what was held stays undone; it is asked about again when it grows".to_owned();
    Ok(Answer::new(json!({"runId": run_id})).with_info([told]))
}
