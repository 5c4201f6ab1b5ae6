//! What a run is asked to do: at once by the page, or by `start-sync` for the worker's next tick.

use plugin_abi::status::ldap_sync_status::*;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sync_core::host::Host;
use sync_core::journal::{Journal, RunRecord, ServerRecord};
use sync_core::limits::Limits;

use crate::actions::{required_id, server};
use crate::answer::{Answer, Failure};
use crate::plugin::Plugin;
use crate::runs::{self, Wanted};

/// What somebody wants done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Order {
    /// Whatever directory and PBX call for.
    Everything,
    /// What the preview of this id showed, and nothing else.
    Plan(String),
    /// Also what the limits held under this run.
    Held(i64),
}

impl Order {
    /// What a body of `start-sync` asks for.
    fn from_body(body: &Value) -> Result<Order, Failure> {
        match (&body["planId"], &body["heldRunId"]) {
            (Value::Null, Value::Null) => Ok(Order::Everything),
            (Value::String(plan_id), Value::Null) => Ok(Order::Plan(plan_id.clone())),
            (Value::Null, _) => required_id(body, "heldRunId").map(Order::Held),
            (_, Value::Null) => Err(no_plan_id()),
            _ => Err(Failure::field("heldRunId", "either a preview is applied or a held run approved, not both")),
        }
    }

    /// As a queued run keeps it.
    pub(crate) fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The run that does it; a refusal when that cannot be done any more.
    fn wanted(&self, journal: &Journal, record: &ServerRecord) -> Result<Wanted, Failure> {
        match self {
            Order::Everything => Ok(Wanted::default()),
            Order::Plan(plan_id) => {
                let (_, previewed) =
                    journal.preview(plan_id)?.filter(|(server_id, _)| *server_id == record.id).ok_or_else(outdated)?;
                Ok(Wanted { exactly: Some(previewed), ..Wanted::default() })
            }
            Order::Held(run_id) => {
                let held = journal.held(record.id)?.filter(|held| held.run_id == *run_id);
                let held = held.ok_or_else(|| nothing_held(*run_id))?;
                // The limits of a tick are in force, so that a crowd of new people is compared with the one approved.
                let first_run = !record.approved_first_run;
                let limits = Limits { tick: true, first_run, approved: held.holds, ..Limits::default() };
                Ok(Wanted { limits, all_or_nothing: true, ..Wanted::default() })
            }
        }
    }
}

fn no_plan_id() -> Failure {
    Failure::field("planId", "the planId of a preview is expected")
}

fn outdated() -> Failure {
    let text = "this preview is not the server's last one any more: make a preview again and apply that";
    Failure::new(LDAP_SYNC_REFUSED, text)
}

pub(crate) fn nothing_held(run_id: i64) -> Failure {
    let text = format!("nothing is held under run {run_id} any more; get-status names what is held now");
    Failure::new(LDAP_SYNC_REFUSED, text)
}

/// Carries out an order now. To be called without the run lock.
pub(crate) fn carry_out(
    plugin: &Plugin,
    journal: &mut Journal,
    record: &ServerRecord,
    order: &Order,
) -> Result<Answer, Failure> {
    let _lock = plugin.run_lock()?;
    let wanted = order.wanted(journal, record)?;
    runs::synchronise_now(plugin, journal, record, wanted)
}

/// `apply-plan`: exactly what a preview showed.
pub(crate) fn apply_plan(plugin: &Plugin, body: &Value) -> Result<Answer, Failure> {
    let Value::String(plan_id) = &body["planId"] else {
        return Err(no_plan_id());
    };
    let mut journal = plugin.journal()?;
    let (server_id, _) = journal.preview(plan_id)?.ok_or_else(outdated)?;
    let record = server(&journal, server_id)?;
    carry_out(plugin, &mut journal, &record, &Order::Plan(plan_id.clone()))
}

/// `start-sync`: asks for a run, which the next tick makes; answers its id at once.
pub(crate) fn start(plugin: &Plugin, body: &Value) -> Result<Answer, Failure> {
    let mut journal = plugin.journal()?;
    let record = server(&journal, required_id(body, "id")?)?;
    let order = Order::from_body(body)?;
    order.wanted(&journal, &record)?;
    let run_id = journal.queue_run(record.id, &order.text(), plugin.host.now())?;
    let told = "the run begins with the next tick of the worker".to_owned();
    Ok(Answer::new(json!({"runId": run_id})).with_info([told]))
}

/// The run that a queued row asks for.
pub(crate) fn wanted_by(journal: &Journal, record: &ServerRecord, run: &RunRecord) -> Result<Wanted, Failure> {
    // Runs asked for by an earlier version of the module name nothing.
    let order = if run.asked.is_empty() { Ok(Order::Everything) } else { serde_json::from_str(&run.asked) };
    let order = order.map_err(|_| Failure::argument("this version of the module does not know what was asked for"))?;
    Ok(Wanted { queued: Some(run.id), ..order.wanted(journal, record)? })
}
