//! Values that only one employee can have: internal numbers, mobiles, e-mails.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::{Action, Inputs, PersonPlan, Policy, Side, Why, wait};
use crate::claims::{Claim, Verdict, settle};
use crate::decision::Choice;
use crate::normalise::{NumberWish, Rules, respell_number};
use crate::numbering::{Allocator, Numbering, RoutePattern};
use crate::pbx::{EmailHolder, Holder};
use crate::person::{Field, Note, SmolStr, Values};

/// Settles what must be unique: internal numbers and mobiles, which share one namespace in the PBX, and e-mails.
pub(super) fn settle_claims(plans: &mut [PersonPlan], inputs: Inputs<'_>) {
    let phones = &inputs.phones;
    let wants = |field: Field| {
        let mut changes = plans.iter().flat_map(|plan| &plan.changes);
        changes.any(|change| (change.side, change.field) == (Side::Pbx, field))
    };
    let (any_number, any_email) = (wants(Field::Number) || wants(Field::Mobile), wants(Field::Email));
    let numbers = || -> BTreeMap<String, String> {
        inputs
            .pbx
            .numbers
            .iter()
            .map(|(number, holder)| {
                let shown = describe(holder);
                (if holder.kind == "EXTERNAL" { phones.comparable(number) } else { number.clone() }, shown)
            })
            .collect()
    };
    let as_number =
        |field: Field, value: &str| if field == Field::Mobile { phones.comparable(value) } else { value.to_owned() };
    if any_number {
        settle_fields(plans, &[Field::Number, Field::Mobile], &numbers(), &as_number, inputs);
    }
    if any_email {
        let described = |(email, holders): (&String, &Vec<EmailHolder>)| {
            Some((email.clone(), describe_user(holders.first()?, inputs)))
        };
        let emails: BTreeMap<String, String> = inputs.pbx.emails.iter().filter_map(described).collect();
        settle_fields(plans, &[Field::Email], &emails, &|_, value: &str| value.to_lowercase(), inputs);
    }
}

/// Who has an e-mail address, in words.
fn describe_user(holder: &EmailHolder, inputs: Inputs<'_>) -> String {
    let employee = inputs.pbx.employees.binary_search_by_key(&holder.user_id, |employee| employee.user_id);
    match employee {
        Ok(at) => format!("employee {} ({})", inputs.pbx.employees[at].values[Field::Number], holder.name),
        Err(_) => format!("the PBX's user {} ({}), who has no internal number", holder.user_id, holder.name),
    }
}

/// Who has a number, in words: `queue "Sales office"`, `parking`.
fn describe(holder: &Holder) -> String {
    let kind = match holder.kind.as_str() {
        "SIP" => "employee",
        "EXTERNAL" => "the mobile of",
        Holder::LEFTOVER => "a leftover record of the PBX,",
        other => &other.to_lowercase(),
    };
    if holder.label.is_empty() { kind.to_owned() } else { format!("{kind} {:?}", holder.label) }
}

fn settle_fields(
    plans: &mut [PersonPlan],
    fields: &[Field],
    held: &BTreeMap<String, String>,
    key: &dyn Fn(Field, &str) -> String,
    inputs: Inputs<'_>,
) {
    let text = |field: Field, value: &str| (!value.is_empty()).then(|| SmolStr::from(key(field, value)));
    let mut claimants = Vec::new();
    let mut claims = Vec::new();
    for (at, plan) in plans.iter().enumerate() {
        for change in plan.changes.iter().filter(|change| change.side == Side::Pbx && fields.contains(&change.field)) {
            let claim = Claim { from: text(change.field, &change.old), to: text(change.field, &change.new) };
            // Another spelling of the own value takes nothing from anybody.
            if claim.from != claim.to {
                claimants.push((at, change.field));
                claims.push(claim);
            }
        }
    }
    let verdicts = settle(&claims, |value| held.contains_key(value));
    for (((at, field), claim), verdict) in claimants.into_iter().zip(claims).zip(verdicts) {
        let value = claim.to.unwrap_or_default();
        match verdict {
            Verdict::Granted => {}
            Verdict::Held => {
                let holder = held.get(value.as_str()).map_or("somebody else", String::as_str);
                refuse(&mut plans[at], field, "taken", &format!("{value} is taken by {holder}"), inputs);
            }
            Verdict::Contested => {
                refuse(
                    &mut plans[at],
                    field,
                    "contested",
                    &format!("more than one person of the directory has {value}"),
                    inputs,
                );
            }
        }
    }
}

/// A person does not get a value. A new person who asked for a number waits; anything else goes on without the value.
fn refuse(plan: &mut PersonPlan, field: Field, kind: &str, reason: &str, inputs: Inputs<'_>) {
    let cause = match (field, kind) {
        (Field::Number, "taken") => "number-taken",
        (Field::Number, _) => "number-contested",
        (Field::Mobile, "taken") => "mobile-taken",
        (Field::Mobile, _) => "mobile-contested",
        (_, "taken") => "email-taken",
        _ => "email-contested",
    };
    plan.drop_change(Side::Pbx, field);
    if plan.action == Action::Create && field == Field::Number {
        if takes_from_pool(plan, inputs) {
            plan.notes.push(Note::about(field, format!("{reason}; a number from the pool is given instead")));
            return;
        }
        plan.changes.clear();
        plan.after = Values::default();
        return wait(plan, Some(field), cause, format!("{reason}; free it or change it in the directory"));
    }
    plan.conflict(Some(field), Side::Pbx, cause, reason.to_owned());
}

/// Whether whoever cannot have the number asked for gets another one: by the server's settings, or because an
/// administrator decided that the employee be made.
fn takes_from_pool(plan: &PersonPlan, inputs: Inputs<'_>) -> bool {
    let decided = inputs.decisions.about_person(&plan.person.entry.key);
    inputs.policy.pool_when_taken || decided.is_some_and(|decision| decision.choice == Choice::Create)
}

pub(super) fn numbering(inputs: Inputs<'_>) -> Numbering {
    let routes = inputs.pbx.outgoing.iter();
    Numbering {
        from: inputs.policy.number_from,
        to: inputs.policy.number_to,
        length: inputs.pbx.extension_length,
        routes: routes.map(|route| RoutePattern::new(&route.begins_with, route.rest, &route.name)).collect(),
    }
}

/// Nobody gets an emergency number or one that an outgoing route claims.
pub(super) fn refuse_forbidden_numbers(plans: &mut [PersonPlan], inputs: Inputs<'_>, numbering: &Numbering) {
    for plan in plans {
        let wanted = plan.changes.iter().find(|change| (change.side, change.field) == (Side::Pbx, Field::Number));
        let Some(reason) = wanted.and_then(|change| numbering.forbidden(&change.new)) else { continue };
        let decided = inputs.decisions.about_person(&plan.person.entry.key);
        if plan.action == Action::Create && decided.is_some_and(|decision| decision.choice == Choice::Create) {
            plan.drop_change(Side::Pbx, Field::Number);
            plan.notes.push(Note::about(Field::Number, format!("{reason}; a number from the pool is given instead")));
        } else if plan.action == Action::Create {
            wait_without_changes(plan, "number-forbidden", reason);
        } else {
            plan.drop_change(Side::Pbx, Field::Number);
            plan.conflict(Some(Field::Number), Side::Pbx, "number-forbidden", reason);
        }
    }
}

/// Gives everybody new who has no number a free one, to be written back.
pub(super) fn assign_numbers(
    plans: &mut [PersonPlan],
    inputs: Inputs<'_>,
    numbering: &Numbering,
    unknown: &BTreeSet<Field>,
    rules: &Rules<'_>,
) {
    if !plans.iter().any(|plan| plan.action == Action::Create && plan.after[Field::Number].is_empty()) {
        return;
    }
    let numbers = plans.iter().map(|plan| &plan.person.values[Field::Number]);
    let wanted = numbers.chain(plans.iter().map(|plan| &plan.after[Field::Mobile]));
    let wanted: HashSet<SmolStr> = wanted.filter(|number| !number.is_empty()).cloned().collect();
    let taken = |number: &str| inputs.pbx.is_taken(number) || wanted.contains(number);
    let pool = numbering.pool(&inputs.pbx.smallest_numbers);
    let mut allocator = Allocator::new(numbering, pool, &taken, inputs.numbers_used);
    for plan in plans.iter_mut().filter(|plan| plan.action == Action::Create && plan.after[Field::Number].is_empty()) {
        if unknown.contains(&Field::Number) {
            let reason = "the attribute of the internal number came back empty for everybody, so it is not known which number this person has";
            wait_without_changes(plan, "number-unknown", reason.to_owned());
        } else if let Some(number) = allocator.next_number() {
            give_number(plan, number, inputs.policy, rules);
        } else {
            let reason = format!(
                "no free internal number is left from {} to {}: widen the pool in the server's settings or lengthen the PBX's numbers",
                pool.0, pool.1
            );
            wait_without_changes(plan, "no-free-number", reason);
        }
    }
}

fn wait_without_changes(plan: &mut PersonPlan, cause: &'static str, reason: String) {
    plan.changes.clear();
    plan.after = plan.before.clone();
    wait(plan, Some(Field::Number), cause, reason);
}

fn give_number(plan: &mut PersonPlan, number: String, policy: &Policy, rules: &Rules<'_>) {
    plan.change_pbx(Field::Number, number.clone(), Why::NumberAssigned);
    let ours_to_write = matches!(plan.person.wish, NumberWish::None | NumberWish::Internal(_));
    if policy.writes(Field::Number) && ours_to_write {
        let value = plan.person.ours(Field::Number).map_or(number.clone(), |ours| respell_number(ours, &number, rules));
        plan.change_directory(Field::Number, value, Why::NumberAssigned);
    }
}
