//! What the limits hold, approved or rejected by an administrator.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sync_core::host::Host;
use sync_core::journal::{HeldRun, Journal, ServerRecord};
use sync_core::link::Link;
use sync_core::person::{DirectoryKey, Employee, Field};
use sync_core::report;

use crate::actions::required_id;
use crate::answer::{Answer, Failure};
use crate::orders::{self, Order, nothing_held};
use crate::plugin::Plugin;
use crate::{people, runs};

/// People of one hold that `get-held-run` names, at most.
const PEOPLE_TOLD: usize = 1_000;

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

/// `get-held-run`: what is held under a run, whom it concerns, and what points at the numbers of those who are employees.
pub(crate) fn show(plugin: &Plugin, body: &Value) -> Result<Answer, Failure> {
    let journal = plugin.journal()?;
    let (record, held) = find(&journal, required_id(body, "runId")?)?;
    let pbx = runs::read_pbx(plugin, &journal)?;
    let employees: BTreeMap<i64, &Employee> = pbx.employees.iter().map(|found| (found.user_id, found)).collect();
    let links = journal.links(record.id)?;
    let linked: BTreeMap<&DirectoryKey, &Link> = links.iter().map(|link| (&link.key, link)).collect();
    let person = |(key, name): (&DirectoryKey, &String)| {
        let employee = linked.get(key).and_then(|link| employees.get(&link.user_id));
        json!({
            "name": name,
            "directoryId": key.as_str(),
            "userId": employee.map(|employee| employee.user_id),
            "number": employee.map_or("", |employee| employee.values[Field::Number].as_str()),
            "usedBy": employee.map(|employee| people::used_by(employee, &pbx)).unwrap_or_default(),
        })
    };
    let holds: Vec<Value> = held
        .holds
        .iter()
        .map(|hold| {
            let mut row = report::hold_row(hold);
            row["people"] = hold.people.iter().take(PEOPLE_TOLD).map(person).collect();
            row
        })
        .collect();
    Ok(Answer::new(json!({"runId": held.run_id, "serverId": record.id, "since": held.since, "held": holds})))
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
