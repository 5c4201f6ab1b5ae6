//! Decisions and conflicts at the end of a run: values in, values out.

use super::accounts::Settled;
use crate::decision::{Choice, Decisions};
use crate::journal::NewConflict;
use crate::person::Field;
use crate::plan::{Action, By, Conflict, PersonPlan, Plan, Side, Why};
use crate::report::PersonOutcome;

/// What is left for a human, without what an administrator wants to see no more.
pub(super) fn conflicts_to_show(
    plan: &Plan,
    outcomes: &[PersonOutcome],
    accounts: &Settled,
    decisions: &Decisions,
) -> Vec<NewConflict> {
    let planned = plan.people.iter().flat_map(|person| &person.conflicts);
    let found = outcomes.iter().flat_map(|outcome| &outcome.conflicts).chain(&accounts.conflicts);
    let shown = |conflict: &&Conflict| {
        let (directory, pbx) = &conflict.compared;
        !decisions.ignores(&conflict.key, conflict.field, conflict.cause, directory, pbx)
    };
    planned.chain(found).filter(shown).map(new_conflict).collect()
}

fn new_conflict(conflict: &Conflict) -> NewConflict {
    NewConflict {
        key: conflict.key.clone(),
        user_id: conflict.user_id,
        person: conflict.person.clone(),
        field: conflict.field.map(Field::name).unwrap_or_default().to_owned(),
        side: conflict.side.name().to_owned(),
        cause: conflict.cause.to_owned(),
        reason: conflict.reason.clone(),
        directory_value: conflict.directory_value.clone(),
        pbx_value: conflict.pbx_value.clone(),
        compared: conflict.compared.clone(),
    }
}

/// Decisions that were carried out, or whose values are no longer those they were made for.
pub(super) fn done(plan: &Plan, outcomes: &[PersonOutcome], decisions: &Decisions) -> Vec<i64> {
    let of_people = plan.people.iter().zip(outcomes);
    of_people.flat_map(|(person, outcome)| done_for(person, outcome, decisions)).collect()
}

fn done_for(person: &PersonPlan, outcome: &PersonOutcome, decisions: &Decisions) -> Vec<i64> {
    let key = &person.person.entry.key;
    let mut ids = Vec::new();
    for (field, decision) in decisions.fields_of(key) {
        let carried_out = person.changes.iter().any(|change| {
            let done = outcome.changes.is_done(change.side, field);
            change.field == field && change.why == Why::Decided && done
        });
        let now = (person.person.values[field].as_str(), person.before[field].as_str());
        let compared = matches!(person.action, Action::Adopt(_) | Action::Keep);
        let outdated = compared && now != (decision.directory_value.as_str(), decision.pbx_value.as_str());
        let agreed = person.agreed.contains(field);
        if carried_out || outdated || agreed {
            ids.push(decision.id);
        }
    }
    if let Some(decision) = decisions.about_person(key) {
        let linked = match decision.choice {
            Choice::Link => person.action == Action::Adopt(By::Administrator),
            Choice::Create => person.action == Action::Create,
            _ => false,
        };
        let in_order = person.action == Action::Keep && matches!(decision.choice, Choice::Link | Choice::Create);
        if (linked && outcome.user_id.is_some()) || in_order {
            ids.push(decision.id);
        }
    }
    ids
}

/// A conflict of somebody of whom nothing is known but the link.
pub(super) fn conflict_of_account(account: &crate::plan::AccountPlan, reason: String) -> Conflict {
    Conflict {
        key: account.link.key.clone(),
        user_id: Some(account.employee.user_id),
        person: account.employee.values[Field::Name].to_string(),
        field: None,
        side: Side::Pbx,
        cause: "pbx-refused",
        reason,
        directory_value: String::new(),
        pbx_value: String::new(),
        compared: (String::new(), String::new()),
        ignored: false,
    }
}
