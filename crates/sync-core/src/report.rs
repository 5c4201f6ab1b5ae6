//! What a run tells: one row per person, counts, and a summary sentence. Never markup, a secret or a photo's bytes.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::directory::Coverage;
use crate::limits::Hold;
use crate::person::{AccountState, Field, Note, SmolStr, Values};
use crate::plan::{AccountPlan, AccountStep, Action, Change, Conflict, Departure, EXCLUDED, PersonPlan, Plan, Side};

/// How many people a run concerns, by what it does for them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// New employees.
    pub create: usize,
    /// Employees that become linked.
    pub adopt: usize,
    /// Linked employees with a change on either side.
    pub update: usize,
    /// Linked employees without a change.
    pub unchanged: usize,
    /// People with something to decide.
    pub conflict: usize,
    /// People without an active account, or held by the limits.
    pub left_out: usize,
    /// Linked people who have left the directory.
    pub departed: usize,
    /// People with a value that goes to the directory.
    pub write_back: usize,
    /// SIP accounts of people who left that are switched off.
    pub stopped: usize,
    /// SIP accounts of people who came back that are switched on again.
    pub started: usize,
    /// Employees who left and are deleted.
    pub deleted: usize,
}

/// What became of one change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It stands.
    Done,
    /// It does not; the sentence says why.
    NotDone(String),
}

/// What became of the changes that were tried, per side and field. Most are done, and those take no room of their own: a
/// large run has very many.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcomes {
    /// One bit per side and field.
    done: u16,
    not_done: BTreeMap<(Side, Field), String>,
}

impl Outcomes {
    /// Notes what became of a change.
    pub fn set(&mut self, side: Side, field: Field, outcome: Outcome) {
        match outcome {
            Outcome::Done => {
                self.done |= bit(side, field);
                self.not_done.remove(&(side, field));
            }
            Outcome::NotDone(why) => {
                self.done &= !bit(side, field);
                self.not_done.insert((side, field), why);
            }
        }
    }

    /// Whether the change stands.
    pub fn is_done(&self, side: Side, field: Field) -> bool {
        self.done & bit(side, field) != 0
    }

    /// Whether any change of the side stands.
    pub fn any_done(&self, side: Side) -> bool {
        Field::ALL.into_iter().any(|field| self.is_done(side, field))
    }

    /// The changes that do not stand, with the sentence that says why.
    pub fn not_done(&self) -> &BTreeMap<(Side, Field), String> {
        &self.not_done
    }

    /// Whether any change of the side was tried.
    pub fn tried(&self, side: Side) -> bool {
        self.any_done(side) || self.not_done.keys().any(|(one, _)| *one == side)
    }
}

fn bit(side: Side, field: Field) -> u16 {
    1 << (side as usize * Field::ALL.len() + field as usize)
}

/// What stands in the directory after a write.
#[derive(Clone, Debug, Default)]
pub struct InDirectory {
    /// The entry's new change mark, when the directory told it.
    pub change_mark: String,
    /// MD5 of the photo as it was written, which may need another form than the PBX.
    pub photo: SmolStr,
}

/// What became of one person's plan. A plan without outcomes is a preview.
#[derive(Clone, Debug, Default)]
pub struct PersonOutcome {
    /// `m_Users.id`, when the person has an employee now.
    pub user_id: Option<i64>,
    /// `m_Sip.uniqid`, when the run made the employee.
    pub sip_uniqid: SmolStr,
    /// One per change that was tried.
    pub changes: Outcomes,
    /// What was left for a human while the plan was carried out.
    pub conflicts: Vec<Conflict>,
    /// What was odd while the plan was carried out.
    pub notes: Vec<Note>,
    /// Whether the link that follows from the PBX's part is stored already.
    pub stored: bool,
    /// Whether the link that follows from what was written to the directory is stored already, too.
    pub settled: bool,
    /// What stands in the directory now, where something was sent to it: most people of a large run have nothing to send.
    pub in_directory: Option<Box<InDirectory>>,
}

/// Counts the people of a plan; with outcomes, only what was done counts as done.
pub fn count(plan: &Plan, outcomes: &[PersonOutcome]) -> Counts {
    let accounts = |step| plan.accounts.iter().filter(|account| account.step == step).count();
    let mut counts = Counts {
        departed: plan.departures.len(),
        stopped: accounts(AccountStep::Stop),
        started: accounts(AccountStep::Start),
        deleted: accounts(AccountStep::Delete),
        ..Counts::default()
    };
    for (at, person) in plan.people.iter().enumerate() {
        let outcome = outcomes.get(at);
        let done = |side: Side| {
            person.changes.iter().any(|change| {
                change.side == side && outcome.is_none_or(|outcome| outcome.changes.is_done(side, change.field))
            })
        };
        let employed = outcome.is_none_or(|outcome| outcome.user_id.is_some());
        counts.write_back += usize::from(done(Side::Directory));
        counts.conflict += usize::from(has_conflict(person, outcome));
        match person.action {
            Action::Create if employed => counts.create += 1,
            Action::Create => {}
            Action::Adopt(_) if employed => counts.adopt += 1,
            Action::Adopt(_) => {}
            Action::Keep if done(Side::Pbx) || done(Side::Directory) => counts.update += 1,
            Action::Keep => counts.unchanged += 1,
            Action::Wait => {}
            Action::LeaveOut | Action::Held => counts.left_out += 1,
        }
    }
    counts
}

fn has_conflict(person: &PersonPlan, outcome: Option<&PersonOutcome>) -> bool {
    let found = outcome.into_iter().flat_map(|outcome| &outcome.conflicts);
    person.conflicts.iter().chain(found).any(|conflict| !conflict.ignored)
}

/// The sentence for the administrator.
pub fn summary(plan: &Plan, outcomes: &[PersonOutcome], holds: &[Hold]) -> String {
    let counts = count(plan, outcomes);
    let updated = counts.adopt + counts.update;
    let accounts = counts.stopped + counts.started + counts.deleted;
    let mut sentence = match counts.create + updated + accounts {
        0 if counts.conflict + holds.len() == 0 => "everything is up to date".to_owned(),
        0 => "everything else is up to date".to_owned(),
        _ => format!("{} new, {updated} updated, {} removed", counts.create, counts.deleted),
    };
    for (count, what) in [
        (counts.adopt, "recognised among the employees"),
        (counts.write_back, "written back to the directory"),
        (counts.conflict, "waiting for a decision"),
        (counts.departed, "no longer active in the directory"),
        (counts.stopped, "SIP account(s) switched off"),
        (counts.started, "SIP account(s) switched on again"),
    ] {
        if count > 0 {
            sentence.push_str(&format!("; {count} {what}"));
        }
    }
    if !holds.is_empty() {
        let held: Vec<String> = holds.iter().map(|hold| format!("{} {}", hold.count, hold.what)).collect();
        sentence.push_str(&format!("; held: {}", held.join(", ")));
    }
    sentence
}

/// The answer of `preview-sync`. `plan_id` is what `apply-plan` takes.
pub fn preview(plan: &Plan, holds: &[Hold], server_id: i64, plan_id: &str) -> Value {
    json!({
        "serverId": server_id,
        "planId": plan_id,
        "coverage": coverage(&plan.coverage),
        "counts": count(plan, &[]),
        "people": plan.people.iter().map(|person| person_row(person, None)).collect::<Vec<_>>(),
        "departures": plan.departures.iter().map(departure_row).collect::<Vec<_>>(),
        "accounts": plan.accounts.iter().map(account_row).collect::<Vec<_>>(),
        "held": holds.iter().map(hold_row).collect::<Vec<_>>(),
        "warnings": plan.warnings,
    })
}

/// The rows of `sync-ldap-users`. `attributes` are the LDAP names of the mapped fields, which the rows also carry.
pub fn sync_rows(plan: &Plan, outcomes: &[PersonOutcome], attributes: &BTreeMap<Field, String>) -> Vec<Value> {
    let none = PersonOutcome::default();
    plan.people
        .iter()
        .enumerate()
        .map(|(at, person)| {
            let outcome = outcomes.get(at).unwrap_or(&none);
            let mut row = person_row(person, Some(outcome));
            row.insert("usersSyncResult".into(), sync_result(person, outcome).into());
            row.insert("userHadChangesOnTheSide".into(), changed_side(person).into());
            for (&field, attribute) in attributes {
                row.entry(attribute.clone()).or_insert_with(|| shown(field, &person.person.values[field]).into());
            }
            Value::Object(row)
        })
        .collect()
}

/// The rows of `get-available-ldap-users`: what the directory holds, before any rule compares it with the PBX.
pub fn available_rows(plan: &Plan, attributes: &BTreeMap<Field, String>) -> Vec<Value> {
    plan.people
        .iter()
        .map(|plan| {
            let person = &plan.person;
            let mut row = values_row(&person.values);
            row.insert("userId".into(), plan.user_id.into());
            row.insert("directoryId".into(), person.entry.key.as_str().into());
            row.insert("ObjectGUID".into(), person.entry.key.as_str().into());
            row.insert("userDisabled".into(), (person.entry.account != AccountState::Active).into());
            row.insert("notes".into(), notes_rows(&person.notes));
            row.insert("reason".into(), "".into());
            for (&field, attribute) in attributes {
                let spelled: Vec<&str> = person.entry.attributes.of(field).map(SmolStr::as_str).collect();
                row.entry(attribute.clone()).or_insert_with(|| match field {
                    Field::Secret => shown(field, &person.values[field]).into(),
                    _ if spelled.is_empty() => shown(field, &person.values[field]).into(),
                    _ => spelled.join(", ").into(),
                });
            }
            Value::Object(row)
        })
        .collect()
}

fn sync_result(person: &PersonPlan, outcome: &PersonOutcome) -> &'static str {
    let done = outcome.changes.any_done(Side::Pbx) || outcome.changes.any_done(Side::Directory);
    let joined = matches!(person.action, Action::Create | Action::Adopt(_)) && outcome.user_id.is_some();
    match (has_conflict(person, Some(outcome)), done || joined) {
        (true, _) => "CONFLICT",
        (false, true) => "UPDATED",
        (false, false) => "SKIPPED",
    }
}

fn changed_side(person: &PersonPlan) -> &'static str {
    match (person.changes_on(Side::Pbx), person.changes_on(Side::Directory)) {
        (true, true) => "OnBothSides",
        (true, false) => "OnDomainSide",
        (false, true) => "OnPBXSide",
        (false, false) => "",
    }
}

fn person_row(plan: &PersonPlan, outcome: Option<&PersonOutcome>) -> Map<String, Value> {
    let mut values = plan.person.values.clone();
    for field in Field::ALL {
        if !plan.after[field].is_empty() {
            values[field] = plan.after[field].clone();
        }
    }
    let mut row = values_row(&values);
    row.insert("name".into(), plan.name().into());
    row.insert("userId".into(), outcome.and_then(|outcome| outcome.user_id).or(plan.user_id).into());
    row.insert("directoryId".into(), plan.person.entry.key.as_str().into());
    row.insert("ObjectGUID".into(), plan.person.entry.key.as_str().into());
    row.insert("userDisabled".into(), (plan.person.entry.account != AccountState::Active).into());
    row.insert("action".into(), action_name(plan).into());
    let matched = if let Action::Adopt(by) = plan.action { Some(by.name()) } else { None };
    row.insert("matchedBy".into(), matched.into());
    let changes: Vec<Value> = plan.changes.iter().map(|change| change_row(change, outcome)).collect();
    row.insert("changes".into(), changes.into());
    let conflicts = plan.conflicts.iter().chain(outcome.into_iter().flat_map(|outcome| &outcome.conflicts));
    row.insert("conflicts".into(), conflicts.clone().map(conflict_row).collect::<Vec<_>>().into());
    let notes: Vec<Note> =
        plan.notes.iter().chain(outcome.into_iter().flat_map(|outcome| &outcome.notes)).cloned().collect();
    row.insert("notes".into(), notes_rows(&notes));
    let reasons: Vec<&str> = conflicts.map(|conflict| conflict.reason.as_str()).collect();
    row.insert("reason".into(), reason(plan, &reasons).into());
    row
}

fn reason(plan: &PersonPlan, conflicts: &[&str]) -> String {
    match plan.action {
        _ if !conflicts.is_empty() => conflicts.join("; "),
        Action::LeaveOut if plan.person.entry.account == AccountState::Expired => {
            "the account has expired in the directory".into()
        }
        Action::LeaveOut if plan.person.entry.account == AccountState::Disabled => {
            "the account is disabled in the directory".into()
        }
        Action::LeaveOut => EXCLUDED.into(),
        Action::Held => plan.notes.last().map(|note| note.text.clone()).unwrap_or_default(),
        _ => String::new(),
    }
}

fn action_name(plan: &PersonPlan) -> &'static str {
    match plan.action {
        Action::Create => "create",
        Action::Adopt(_) => "adopt",
        Action::Keep if !plan.changes.is_empty() => "update",
        Action::Keep if !plan.conflicts.is_empty() => "conflict",
        Action::Keep => "unchanged",
        Action::Wait => "conflict",
        Action::LeaveOut | Action::Held => "left-out",
    }
}

fn values_row(values: &Values) -> Map<String, Value> {
    [Field::Name, Field::Number, Field::Mobile, Field::Email]
        .into_iter()
        .map(|field| (field.name().to_owned(), Value::from(values[field].as_str())))
        .collect()
}

fn change_row(change: &Change, outcome: Option<&PersonOutcome>) -> Value {
    let mut row = json!({
        "field": change.field.name(),
        "side": change.side.name(),
        "old": shown(change.field, &change.old),
        "new": shown(change.field, &change.new),
        "why": change.why.text(),
    });
    if let Some(outcome) = outcome {
        row["outcome"] = match outcome.changes.not_done().get(&(change.side, change.field)) {
            Some(why) => why.as_str().into(),
            None if outcome.changes.is_done(change.side, change.field) => "done".into(),
            None => "not reached".into(),
        };
    }
    row
}

/// A conflict as preview and sync show it.
fn conflict_row(conflict: &Conflict) -> Value {
    let shown = |value: &str| conflict.field.map_or(value.to_owned(), |field| shown(field, value).to_owned());
    json!({
        "field": conflict.field.map(Field::name),
        "side": conflict.side.name(),
        "cause": conflict.cause,
        "reason": conflict.reason,
        "directoryValue": shown(&conflict.directory_value),
        "pbxValue": shown(&conflict.pbx_value),
    })
}

fn departure_row(departure: &Departure) -> Value {
    let link = &departure.link;
    json!({
        "name": link.shown[Field::Name],
        "number": link.shown[Field::Number],
        "mobile": link.shown[Field::Mobile],
        "email": link.shown[Field::Email],
        "userId": link.user_id,
        "directoryId": link.key.as_str(),
        "state": departure.state.name(),
        "reason": departure.reason(),
        "held": departure.held,
    })
}

fn account_row(account: &AccountPlan) -> Value {
    let values = &account.employee.values;
    json!({
        "name": values[Field::Name],
        "number": values[Field::Number],
        "userId": account.employee.user_id,
        "directoryId": account.link.key.as_str(),
        "step": account.step.name(),
        "reason": account.why,
    })
}

/// A hold as answers show it.
pub fn hold_row(hold: &Hold) -> Value {
    json!({"what": hold.what, "count": hold.count, "limit": hold.limit, "reason": hold.reason})
}

fn notes_rows(notes: &[Note]) -> Value {
    notes.iter().map(|note| json!({"field": note.field.map(Field::name), "text": note.text})).collect()
}

/// How much of the directory was read, in words.
pub fn coverage(coverage: &Coverage) -> String {
    match coverage {
        Coverage::Full => "full".to_owned(),
        Coverage::Partial(why) => format!("partial: {why}"),
    }
}

/// A value as people see it: a photo is only "photo", a SIP secret only "secret".
pub fn shown(field: Field, value: &str) -> &str {
    match field {
        Field::Photo if !value.is_empty() => "photo",
        Field::Secret if !value.is_empty() => "secret",
        _ => value,
    }
}
