//! Actions about what waits for a decision, and about what was decided.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sync_core::decision::{Choice, Decision, choices};
use sync_core::host::Host;
use sync_core::journal::{ConflictRecord, DecisionRecord, Journal, NewConflict};
use sync_core::link::LinkState;
use sync_core::person::{DirectoryKey, Field};
use sync_core::report::shown;

use crate::actions::{optional_server, required_id, server};
use crate::answer::{Answer, Failure};
use crate::plugin::Plugin;
use crate::runs;

/// `get-server-conflicts`.
pub(crate) fn list(plugin: &Plugin, body: &Value) -> Result<Answer, Failure> {
    let journal = plugin.journal()?;
    let id = optional_server(&journal, body)?.map(|record| record.id);
    let decisions = journal.decisions(id)?;
    let mut by_person: BTreeMap<(i64, &DirectoryKey), Vec<&Decision>> = BTreeMap::new();
    for record in &decisions {
        by_person.entry((record.server_id, &record.decision.key)).or_default().push(&record.decision);
    }
    let conflicts = journal.conflicts(id)?;
    let rows = conflicts.iter().map(|record| {
        let about = by_person.get(&(record.server_id, &record.conflict.key)).into_iter().flatten();
        row(record, about.into_iter().find(|decision| answers(decision, &record.conflict)).map(|one| one.choice))
    });
    Ok(Answer::new(rows.collect::<Vec<_>>()))
}

/// Whether a decision is about a conflict as it stands: its values may have changed since.
fn answers(decision: &Decision, conflict: &NewConflict) -> bool {
    match decision.choice {
        Choice::Link | Choice::Create | Choice::Exclude => true,
        Choice::Directory | Choice::Pbx | Choice::Ignore => {
            let values = (&decision.directory_value, &decision.pbx_value);
            let about = (&decision.cause, decision.field) == (&conflict.cause, field_of(conflict));
            about && values == (&conflict.compared.0, &conflict.compared.1)
        }
    }
}

fn field_of(conflict: &NewConflict) -> Option<Field> {
    Field::from_name(&conflict.field)
}

/// A conflict as answers tell it; `decided` is what the next run will do about it.
pub(crate) fn row(record: &ConflictRecord, decided: Option<Choice>) -> Value {
    let conflict = &record.conflict;
    let value = |text: &str| field_of(conflict).map_or(text, |field| shown(field, text)).to_owned();
    json!({
        "id": record.id,
        "serverId": record.server_id,
        "firstTime": record.first_time,
        "lastTime": record.last_time,
        "count": record.count,
        "side": conflict.side,
        "person": conflict.person,
        "userId": conflict.user_id,
        "directoryId": conflict.key.as_str(),
        "field": conflict.field,
        "cause": conflict.cause,
        "errors": [conflict.reason],
        "reason": conflict.reason,
        "directoryValue": value(&conflict.directory_value),
        "pbxValue": value(&conflict.pbx_value),
        "choices": allowed(conflict).into_iter().map(Choice::name).collect::<Vec<_>>(),
        "decision": decided.map(Choice::name),
    })
}

/// What can be decided about a conflict. One that was taken over from the earlier module has no person to decide about.
fn allowed(conflict: &NewConflict) -> Vec<Choice> {
    if conflict.cause == "taken-over" || conflict.key.as_str().is_empty() {
        return Vec::new();
    }
    choices(&conflict.cause, field_of(conflict), conflict.user_id.is_some(), &conflict.compared.1)
}

/// `resolve-conflict`: stores what is decided; the next run carries it out.
pub(crate) fn resolve(plugin: &Plugin, body: &Value) -> Result<Answer, Failure> {
    let record_id = required_id(body, "recordId")?;
    let mut journal = plugin.journal()?;
    let record = journal.conflict(record_id)?.ok_or_else(|| no_record("recordId", "conflict", record_id))?;
    let allowed = allowed(&record.conflict);
    let choice = body["choice"].as_str().and_then(Choice::from_name).filter(|choice| allowed.contains(choice));
    let Some(choice) = choice else {
        let names: Vec<&str> = allowed.into_iter().map(Choice::name).collect();
        let text = match names.as_slice() {
            [] => "nothing can be decided about this conflict; delete it".to_owned(),
            names => format!("one of {} is expected for this conflict", names.join(", ")),
        };
        return Err(Failure::field("choice", text));
    };
    let user_id = if choice == Choice::Link { Some(employee_to_link(plugin, &journal, &record, body)?) } else { None };
    let conflict = &record.conflict;
    let about_field = matches!(choice, Choice::Directory | Choice::Pbx | Choice::Ignore);
    let decision = Decision {
        id: 0,
        key: conflict.key.clone(),
        field: field_of(conflict).filter(|_| about_field),
        cause: conflict.cause.clone(),
        choice,
        user_id,
        directory_value: conflict.compared.0.clone(),
        pbx_value: conflict.compared.1.clone(),
    };
    let (person, made) = (conflict.person.clone(), plugin.host.now());
    let stored = DecisionRecord { server_id: record.server_id, decision, person, made };
    let decision_id = journal.store_decision(&stored)?;
    let told = if choice == Choice::Ignore {
        journal.delete_conflict(record_id)?;
        "the conflict is shown no more until one of its values changes"
    } else {
        "the next run carries it out"
    };
    let data = json!({"recordId": record_id, "choice": choice.name(), "decisionId": decision_id});
    Ok(Answer::new(data).with_info([told.to_owned()]))
}

/// The employee to be linked: the one named, else the one the conflict is about; must exist and be nobody else's.
fn employee_to_link(plugin: &Plugin, journal: &Journal, record: &ConflictRecord, body: &Value) -> Result<i64, Failure> {
    let refused = |text: String| Failure::field("userId", text);
    let user_id = match (&body["userId"], record.conflict.user_id) {
        (Value::Null, Some(user_id)) => user_id,
        _ => required_id(body, "userId")?,
    };
    let pbx = runs::read_pbx(plugin, journal)?;
    let employee = pbx.employees.iter().find(|employee| employee.user_id == user_id);
    match employee {
        None => return Err(refused(format!("the PBX has no employee with the id {user_id}"))),
        Some(employee) if employee.sip_uniqid.is_empty() => {
            return Err(refused(format!(
                "the employee with the id {user_id} has no SIP account: repair the employee on the PBX first"
            )));
        }
        Some(_) => {}
    }
    let other = journal.links_of_user(user_id)?.into_iter().find(|link| {
        link.server_id == record.server_id && link.key != record.conflict.key && link.state == LinkState::Active
    });
    match other {
        Some(link) => {
            Err(refused(format!("the employee with the id {user_id} is linked to {}, which is in use", link.dn)))
        }
        None => Ok(user_id),
    }
}

fn no_record(key: &str, what: &str, id: i64) -> Failure {
    Failure::field(key, format!("there is no {what} {id}"))
}

/// `delete-server-conflict`.
pub(crate) fn delete(plugin: &Plugin, body: &Value) -> Result<Answer, Failure> {
    let id = required_id(body, "recordId")?;
    if plugin.journal()?.delete_conflict(id)? {
        Ok(Answer::new(json!({"recordId": id})))
    } else {
        Err(no_record("recordId", "conflict", id))
    }
}

/// `delete-server-conflicts`.
pub(crate) fn delete_all(plugin: &Plugin, body: &Value) -> Result<Answer, Failure> {
    let id = required_id(body, "id")?;
    let mut journal = plugin.journal()?;
    server(&journal, id)?;
    let deleted = journal.delete_conflicts(id)?;
    Ok(Answer::new(json!({"id": id, "deleted": deleted})))
}

/// `get-decisions`: what was decided and stands.
pub(crate) fn decisions(plugin: &Plugin, body: &Value) -> Result<Answer, Failure> {
    let journal = plugin.journal()?;
    let id = optional_server(&journal, body)?.map(|record| record.id);
    let rows: Vec<Value> = journal.decisions(id)?.iter().map(decision_row).collect();
    Ok(Answer::new(rows))
}

fn decision_row(record: &DecisionRecord) -> Value {
    let decision = &record.decision;
    json!({
        "id": decision.id,
        "serverId": record.server_id,
        "person": record.person,
        "directoryId": decision.key.as_str(),
        "field": decision.field.map_or("", Field::name),
        "cause": decision.cause,
        "choice": decision.choice.name(),
        "userId": decision.user_id,
        "made": record.made,
    })
}

/// `delete-decision`: takes a decision back; the next run looks at the person anew.
pub(crate) fn delete_decision(plugin: &Plugin, body: &Value) -> Result<Answer, Failure> {
    let id = required_id(body, "recordId")?;
    if plugin.journal()?.delete_decision(id)? {
        let told = "taken back; the next run looks at it anew".to_owned();
        Ok(Answer::new(json!({"recordId": id})).with_info([told]))
    } else {
        Err(no_record("recordId", "decision", id))
    }
}
