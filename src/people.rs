//! Actions about people: everyone kept in step, those who left, and where one person's values came from.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sync_core::journal::{ChangeRecord, Journal, PeopleQuery, PeopleSort};
use sync_core::link::{Link, LinkState};
use sync_core::pbx::PbxSnapshot;
use sync_core::person::{Employee, Field};
use sync_core::report::shown;

use crate::actions::{optional_server, required_id, server, stored_settings};
use crate::answer::{Answer, Failure};
use crate::conflicts;
use crate::plugin::Plugin;
use crate::runs;

/// People on one page of `get-people`, at most.
const LARGEST_PAGE: u32 = 1000;
/// Changes of one person that `explain-person` tells, at most.
const CHANGES_TOLD: u32 = 50;

/// `get-people`: everyone who is linked, page by page.
pub(crate) fn list(plugin: &Plugin, body: &Value) -> Result<Answer, Failure> {
    let journal = plugin.journal()?;
    let server_id = optional_server(&journal, body)?.map(|record| record.id);
    let number = |key: &str, default: u32| match optional_text(body, key)?.as_str() {
        "" => Ok(default),
        text => text.parse().map_err(|_| Failure::field(key, "a whole number from 1 is expected")),
    };
    let (page, per_page) = (number("page", 1)?.max(1), number("perPage", 50)?.clamp(1, LARGEST_PAGE));
    let (sort, descending) = sort_order(&optional_text(body, "sort")?)?;
    let query = PeopleQuery {
        server_id,
        search: optional_text(body, "search")?,
        offset: (page - 1).saturating_mul(per_page),
        limit: per_page,
        sort,
        descending,
    };
    let (links, total) = journal.people(&query)?;
    let people: Vec<Value> = links
        .iter()
        .map(|link| {
            json!({
                "name": link.shown[Field::Name],
                "number": link.shown[Field::Number],
                "mobile": link.shown[Field::Mobile],
                "email": link.shown[Field::Email],
                "userId": link.user_id,
                "directoryId": link.key.as_str(),
                "serverId": link.server_id,
                "state": link.state.name(),
                "since": link.since,
                "createdBySync": link.created_by_sync,
                "ObjectGUID": link.key.as_str(),
                "userDisabled": link.state != LinkState::Active,
                "reason": "",
            })
        })
        .collect();
    Ok(Answer::new(json!({"people": people, "total": total, "page": page, "perPage": per_page})))
}

/// A text in a body, also where it came as a number; empty when it is absent.
fn optional_text(body: &Value, key: &str) -> Result<String, Failure> {
    match &body[key] {
        Value::Null => Ok(String::new()),
        Value::String(text) => Ok(text.trim().to_owned()),
        Value::Number(number) => Ok(number.to_string()),
        _ => Err(Failure::field(key, "a text is expected")),
    }
}

/// The order of the people page: a column, with a leading `-` for the reverse.
fn sort_order(text: &str) -> Result<(PeopleSort, bool), Failure> {
    let (column, descending) = text.strip_prefix('-').map_or((text, false), |column| (column, true));
    let sort = match column {
        "" | "name" => PeopleSort::Name,
        "number" => PeopleSort::Number,
        "mobile" => PeopleSort::Mobile,
        "email" => PeopleSort::Email,
        "state" => PeopleSort::State,
        "since" => PeopleSort::Since,
        _ => {
            let text = "name, number, mobile, email, state or since is expected, with - in front for the reverse order";
            return Err(Failure::field("sort", text));
        }
    };
    Ok((sort, descending))
}

/// `get-disabled-ldap-users`: people who left the directory and are still on the PBX.
pub(crate) fn departed(plugin: &Plugin, body: &Value) -> Result<Answer, Failure> {
    let journal = plugin.journal()?;
    let server_id = optional_server(&journal, body)?.map(|record| record.id);
    let links = journal.departed(server_id)?;
    if links.is_empty() {
        return Ok(Answer::new(json!([])));
    }
    let pbx = runs::read_pbx(plugin, &journal)?;
    let employees: BTreeMap<i64, &Employee> =
        pbx.employees.iter().map(|employee| (employee.user_id, employee)).collect();
    let still_there = links.iter().filter_map(|link| {
        let employee = employees.get(&link.user_id).filter(|employee| is_same(link, employee))?;
        Some(departed_row(link, employee, &pbx))
    });
    Ok(Answer::new(still_there.collect::<Vec<_>>()))
}

/// Whether the employee is still the one of the link.
fn is_same(link: &Link, employee: &Employee) -> bool {
    link.sip_uniqid.is_empty() || link.sip_uniqid == employee.sip_uniqid
}

/// What still points at an employee's number or mobile.
pub(crate) fn used_by<'a>(employee: &Employee, pbx: &'a PbxSnapshot) -> Vec<&'a String> {
    let numbers = [Field::Number, Field::Mobile].map(|field| &employee.values[field]);
    numbers.into_iter().filter_map(|number| pbx.uses.get(number.as_str())).flatten().collect()
}

fn departed_row(link: &Link, employee: &Employee, pbx: &PbxSnapshot) -> Value {
    let values = &employee.values;
    json!({
        "userId": employee.user_id,
        "name": values[Field::Name],
        "number": values[Field::Number],
        "mobile": values[Field::Mobile],
        "email": values[Field::Email],
        "directoryId": link.key.as_str(),
        "serverId": link.server_id,
        "state": link.state.name(),
        "since": link.since,
        "daysGone": link.days_gone,
        "why": link.state.reason(),
        "reason": link.state.reason(),
        "usedBy": used_by(employee, pbx),
        "accountOff": employee.sip_disabled,
        "createdBySync": link.created_by_sync,
    })
}

/// `explain-person`: where each value of an employee came from. The directory is not asked.
pub(crate) fn explain(plugin: &Plugin, body: &Value) -> Result<Answer, Failure> {
    let user_id = required_id(body, "userId")?;
    let journal = plugin.journal()?;
    let links = journal.links_of_user(user_id)?;
    let pbx = runs::read_pbx(plugin, &journal)?;
    let employee = pbx.employees.iter().find(|employee| employee.user_id == user_id);
    if employee.is_none() && links.is_empty() {
        let text = format!("the PBX has no employee with the id {user_id}, and nobody is linked with one");
        return Err(Failure::field("userId", text));
    }
    let changes = journal.changes_of_user(user_id, CHANGES_TOLD)?;
    let none = Employee::default();
    let employee = employee.unwrap_or(&none);
    let servers: Result<Vec<Value>, Failure> =
        links.iter().map(|link| explained_link(&journal, link, employee, &changes)).collect();
    let about: Vec<Value> = journal
        .conflicts(None)?
        .iter()
        .filter(|record| record.conflict.user_id == Some(user_id))
        .map(|record| conflicts::row(record, None))
        .collect();
    Ok(Answer::new(json!({
        "userId": user_id,
        "name": employee.values[Field::Name],
        "number": employee.values[Field::Number],
        "mobile": employee.values[Field::Mobile],
        "email": employee.values[Field::Email],
        "accountOff": employee.sip_disabled,
        "servers": servers?,
        "conflicts": about,
        "changes": changes.iter().map(change_row).collect::<Vec<_>>(),
    })))
}

fn explained_link(
    journal: &Journal,
    link: &Link,
    employee: &Employee,
    changes: &[ChangeRecord],
) -> Result<Value, Failure> {
    let record = server(journal, link.server_id)?;
    let settings = stored_settings(&record)?;
    let mapped = settings.mapped();
    let policy = settings.policy(record.id, "");
    let fields = mapped.iter().map(|(&field, attribute)| {
        let last = changes.iter().find(|change| change.field == field.name() && change.key == link.key);
        let waiting: Vec<Value> = link
            .unsettled
            .iter()
            .filter(|one| one.field == field)
            .map(|one| json!({"side": one.side.name(), "value": shown(field, &one.value), "since": one.since}))
            .collect();
        json!({
            "field": field.name(),
            "attribute": attribute,
            "direction": policy.rule(field).direction,
            "bothChanged": policy.rule(field).both_changed,
            "pbx": shown(field, &employee.values[field]),
            "agreed": link.base(field).map(|(directory, pbx)| {
                json!({"directory": shown(field, directory), "pbx": shown(field, pbx)})
            }),
            "unsettled": waiting,
            "lastChange": last.map(change_row),
        })
    });
    Ok(json!({
        "serverId": link.server_id,
        "server": settings.server_name,
        "directoryId": link.key.as_str(),
        "dn": link.dn,
        "state": link.state.name(),
        "since": link.since,
        "reason": link.state.reason(),
        "createdBySync": link.created_by_sync,
        "fields": fields.collect::<Vec<_>>(),
    }))
}

/// One value that a run changed, as answers tell it.
pub(crate) fn change_row(change: &ChangeRecord) -> Value {
    let value = |text: &str| Field::from_name(&change.field).map_or(text, |field| shown(field, text)).to_owned();
    json!({
        "runId": change.run_id,
        "person": change.person,
        "userId": change.user_id,
        "directoryId": change.key.as_str(),
        "field": change.field,
        "side": change.side,
        "old": value(&change.old),
        "new": value(&change.new),
        "why": change.why,
        "outcome": change.outcome,
    })
}
