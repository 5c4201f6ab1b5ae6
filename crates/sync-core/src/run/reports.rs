//! The PBX's reports of edits, brought to the employees' fields: pure functions.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::person::{Employee, Field};

/// The part of a model event that says what was edited (docs/MIKOPBX.md, Announcements).
#[derive(Deserialize)]
struct Event {
    model: String,
    #[serde(rename = "recordId")]
    record_id: serde_json::Value,
    #[serde(rename = "changedFields", default)]
    changed_fields: Vec<String>,
}

/// The latest reported edit of each value, by `m_Users.id` and field. A report is a hint: what the PBX holds is read from
/// its database.
pub(super) fn reported(edits: &[(String, i64)], employees: &[Employee]) -> BTreeMap<(i64, Field), i64> {
    let mut owners: BTreeMap<(&str, i64), (i64, Field)> = BTreeMap::new();
    for employee in employees {
        let rows = employee.rows;
        for (model, row, field) in [
            ("Extensions", rows.number, Field::Number),
            ("Extensions", rows.mobile, Field::Mobile),
            ("Sip", rows.sip, Field::Secret),
        ] {
            owners.insert((model, row), (employee.user_id, field));
        }
    }
    let mut latest = BTreeMap::new();
    for (text, made) in edits {
        let Ok(event) = serde_json::from_str::<Event>(text) else { continue };
        for about in edited(&event, &owners) {
            let time: &mut i64 = latest.entry(about).or_insert(*made);
            *time = (*time).max(*made);
        }
    }
    latest
}

fn edited(event: &Event, owners: &BTreeMap<(&str, i64), (i64, Field)>) -> Vec<(i64, Field)> {
    let row = match &event.record_id {
        serde_json::Value::String(text) => text.parse().ok(),
        other => other.as_i64(),
    };
    let Some(row) = row else { return Vec::new() };
    let changed = |column: &str| event.changed_fields.iter().any(|field| field == column);
    let model = event.model.rsplit('\\').next().unwrap_or_default();
    if model == "Users" {
        let columns = [("username", Field::Name), ("email", Field::Email), ("avatar", Field::Photo)];
        return columns.into_iter().filter(|(column, _)| changed(column)).map(|(_, field)| (row, field)).collect();
    }
    let column = if model == "Sip" { "secret" } else { "number" };
    owners.get(&(model, row)).filter(|_| changed(column)).copied().into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::person::EmployeeRows;

    #[track_caller]
    fn check(model: &str, record: &str, fields: &str, expected: &[(i64, Field)]) {
        let employee = Employee {
            user_id: 7,
            rows: EmployeeRows { number: 70, mobile: 71, sip: 72, phone: 73 },
            ..Employee::default()
        };
        let event = format!(
            r#"{{"model":"MikoPBX\\Common\\Models\\{model}","recordId":{record},"action":"afterSave","changedFields":{fields}}}"#
        );
        let found = reported(&[(event.clone(), 5), (event, 9), ("no JSON".into(), 11)], &[employee]);
        assert_eq!(found, expected.iter().map(|about| (*about, 9)).collect(), "{model} {record} {fields}");
    }

    #[test]
    fn reports_are_brought_to_fields() {
        check("Users", "\"7\"", r#"["email","avatar"]"#, &[(7, Field::Email), (7, Field::Photo)]);
        check("Users", "7", r#"["language"]"#, &[]);
        check("Extensions", "\"70\"", r#"["number","search_index"]"#, &[(7, Field::Number)]);
        check("Extensions", "71", r#"["number"]"#, &[(7, Field::Mobile)]);
        check("Extensions", "71", r#"["callerid"]"#, &[]);
        check("Sip", "72", r#"["secret"]"#, &[(7, Field::Secret)]);
        check("Sip", "73", r#"["secret"]"#, &[]);
    }
}
