//! What becomes of each field of one person, without regard to what other people want.

use std::collections::BTreeSet;

use super::{Action, Inputs, PersonPlan, Side, Why, wait};
use crate::decision::Choice;
use crate::merge::{Merged, Sides, first, merge};
use crate::normalise::{NumberWish, Rules, respell_number, same};
use crate::person::{Field, Note};
use crate::policy::{BothChanged, Direction};
use crate::recency::{Looks, in_directory, newer, on_pbx};

/// What is to happen with one field.
enum Verdict {
    Nothing,
    /// Both sides hold the same, and the base follows.
    Agreed,
    ToPbx(Why),
    ToDirectory(Why),
    /// A human has to decide; the sentence says why.
    Ask(&'static str),
    /// It stays as it is; the sentence says why.
    Note(&'static str),
}

/// Why a value of the PBX is not taken for an edit.
const RESTORED: &str = "the PBX holds again a value that a synchronisation had replaced, and reported no edit, as after a \
    restored backup; neither value is overwritten";

/// Decides every field.
pub(super) fn decide(plan: &mut PersonPlan, inputs: Inputs<'_>, unknown: &BTreeSet<Field>, rules: &Rules<'_>) {
    match plan.action {
        Action::Create => decide_new(plan, inputs),
        Action::Adopt(_) | Action::Keep => {
            let known = |field: &&Field| !unknown.contains(field);
            for &field in inputs.policy.attributes.keys().filter(known) {
                decide_field(plan, field, inputs, rules);
            }
        }
        Action::Wait | Action::LeaveOut | Action::Held => {}
    }
    note_outside_line(plan, inputs);
}

fn note_outside_line(plan: &mut PersonPlan, inputs: Inputs<'_>) {
    if let (NumberWish::OutsideLine(line), Some(attribute)) =
        (&plan.person.wish, inputs.policy.attributes.get(&Field::Number))
    {
        let text = format!(
            "{attribute} holds {line:?}, which is not an internal number of this PBX: it is left alone. To keep internal \
             numbers in the directory map another attribute, for example ipPhone"
        );
        plan.notes.push(Note::about(Field::Number, text));
    }
}

/// A new employee takes what the directory has. A name is needed, whichever way names travel afterwards.
fn decide_new(plan: &mut PersonPlan, inputs: Inputs<'_>) {
    if plan.person.values[Field::Name].is_empty() {
        let attribute = inputs.policy.attributes.get(&Field::Name).map_or("the name attribute", String::as_str);
        return wait(plan, Some(Field::Name), "no-name", format!("{attribute} is empty, and the PBX needs a name"));
    }
    refuse_secret(plan, inputs);
    for field in Field::ALL {
        let value = plan.person.values[field].clone();
        let refused = field == Field::Secret && plan.person.refused_secret.is_some();
        let taken = field == Field::Name || inputs.policy.rule(field).direction.reaches_pbx();
        if !value.is_empty() && taken && !refused {
            plan.change_pbx(field, value, Why::NewPerson);
        }
    }
}

fn decide_field(plan: &mut PersonPlan, field: Field, inputs: Inputs<'_>, rules: &Rules<'_>) {
    if plan.person.unusable.contains(field) || inputs.policy.rule(field).direction == Direction::Off {
        return;
    }
    match verdict(plan, field, inputs) {
        Verdict::Nothing => {}
        Verdict::Agreed => plan.agreed.insert(field),
        Verdict::ToPbx(_) if field == Field::Secret && plan.person.refused_secret.is_some() => {
            refuse_secret(plan, inputs);
        }
        Verdict::ToPbx(why) if plan.person.values[field].is_empty() => clear_on_pbx(plan, field, why, inputs, rules),
        Verdict::ToPbx(why) => {
            let value = plan.person.values[field].clone();
            plan.change_pbx(field, value, why);
        }
        Verdict::ToDirectory(why) => to_directory(plan, field, why, inputs, rules),
        Verdict::Ask(reason) => plan.conflict(Some(field), Side::Pbx, "both-changed", reason.to_owned()),
        Verdict::Note(text) => plan.notes.push(Note::about(field, text)),
    }
}

fn verdict(plan: &PersonPlan, field: Field, inputs: Inputs<'_>) -> Verdict {
    let now = Sides { directory: &plan.person.values[field], pbx: &plan.before[field] };
    if let Some(decision) = inputs.decisions.about_field(&plan.person.entry.key, field, now.directory, now.pbx) {
        return match decision.choice {
            Choice::Directory => Verdict::ToPbx(Why::Decided),
            _ => Verdict::ToDirectory(Why::Decided),
        };
    }
    let merged = match &plan.link {
        Some(link) => {
            let base = link.base(field).map(|(directory, pbx)| Sides { directory, pbx });
            merge(field, now, base, &inputs.phones)
        }
        None => first(field, now, &inputs.phones),
    };
    let direction = inputs.policy.rule(field).direction;
    match merged {
        Merged::Unchanged => Verdict::Nothing,
        Merged::Agreed => Verdict::Agreed,
        // The PBX never loses a number or a secret, whatever else happened.
        Merged::FromDirectory | Merged::BothChanged if is_kept(field) && now.directory.is_empty() => {
            Verdict::ToDirectory(why_kept(field))
        }
        Merged::FromDirectory if direction.reaches_pbx() => Verdict::ToPbx(why_from_directory(plan, field)),
        Merged::FromDirectory if plan.link.is_none() && !now.pbx.is_empty() => Verdict::ToDirectory(Why::PbxPreferred),
        Merged::FromDirectory => {
            Verdict::Note("the directory has another value; this field goes from the PBX to the directory only")
        }
        Merged::FromPbx if is_restored(plan, field, inputs) => Verdict::Ask(RESTORED),
        Merged::FromPbx if direction.reaches_directory() => Verdict::ToDirectory(why_from_pbx(plan, field)),
        Merged::FromPbx => {
            Verdict::Note("the PBX has another value; this field goes from the directory to the PBX only")
        }
        Merged::BothChanged => both_changed(plan, field, now, inputs),
        Merged::Differ => Verdict::Ask(
            "the two sides differ, and nothing tells which of them is right: they were never compared under the present \
             mapping; neither value is overwritten",
        ),
    }
}

/// Fields that an employee cannot be without.
fn is_kept(field: Field) -> bool {
    matches!(field, Field::Number | Field::Secret)
}

fn why_kept(field: Field) -> Why {
    if field == Field::Number { Why::NumberAssigned } else { Why::FillsEmpty }
}

fn why_from_directory(plan: &PersonPlan, field: Field) -> Why {
    match &plan.link {
        Some(_) => Why::DirectoryChanged,
        None if plan.before[field].is_empty() => Why::FillsEmpty,
        None => Why::DirectoryGoesFirst,
    }
}

fn why_from_pbx(plan: &PersonPlan, field: Field) -> Why {
    match (field, plan.person.values[field].is_empty()) {
        (Field::Number, _) => Why::NumberAssigned,
        (_, true) if plan.link.is_none() => Why::FillsEmpty,
        _ => Why::PbxChanged,
    }
}

fn both_changed(plan: &PersonPlan, field: Field, now: Sides<'_>, inputs: Inputs<'_>) -> Verdict {
    let rule = inputs.policy.rule(field);
    match (rule.direction, rule.both_changed) {
        (Direction::Directory, _) | (Direction::TwoWay, BothChanged::Directory) => {
            Verdict::ToPbx(Why::DirectoryPreferred)
        }
        (Direction::Pbx, _) | (Direction::TwoWay, BothChanged::Pbx) if is_restored(plan, field, inputs) => {
            Verdict::Ask(RESTORED)
        }
        (Direction::Pbx, _) | (Direction::TwoWay, BothChanged::Pbx) => Verdict::ToDirectory(Why::PbxPreferred),
        (_, BothChanged::Ask) => {
            Verdict::Ask("changed on both sides since they last agreed; neither value is overwritten")
        }
        _ => match newer_side(plan, field, now, inputs) {
            Some(Side::Directory) => Verdict::ToPbx(Why::NewerInDirectory),
            Some(Side::Pbx) => Verdict::ToDirectory(Why::NewerOnPbx),
            None => Verdict::Ask(
                "changed on both sides since they last agreed, and it is not known for certain which edit is newer; neither \
                 value is overwritten",
            ),
        },
    }
}

/// Whether the PBX's value is an older one that came back without anybody having edited it, as far as is known.
fn is_restored(plan: &PersonPlan, field: Field, inputs: Inputs<'_>) -> bool {
    let Some(link) = &plan.link else { return false };
    let key = (plan.person.entry.key.clone(), field);
    let replaced = inputs.times.replaced.get(&key).into_iter().flatten();
    let reported = inputs.times.reported.get(&(link.user_id, field)).is_some_and(|at| *at >= inputs.times.compared);
    // That a value is gone again is an edit like any other, unless it is known that the database is an older copy.
    let telling = |old: &&String| !old.is_empty() || inputs.times.went_back;
    !reported && replaced.filter(telling).any(|old| same(field, old, &plan.before[field], &inputs.phones))
}

fn newer_side(plan: &PersonPlan, field: Field, now: Sides<'_>, inputs: Inputs<'_>) -> Option<Side> {
    let link = plan.link.as_ref()?;
    let times = inputs.times;
    let looks = |side: Side, value: &str| Looks {
        settled: if link.not_compared || link.was_unsettled(field, side) { i64::MIN } else { times.compared },
        first_seen: link.unsettled_since(field, side, value),
        now: inputs.now,
    };
    let directory = times.directory.get(&(plan.person.entry.key.clone(), field)).copied();
    let reported = times.reported.get(&(link.user_id, field)).copied();
    newer(
        in_directory(directory, looks(Side::Directory, now.directory)),
        on_pbx(reported, link.written, looks(Side::Pbx, now.pbx)),
    )
}

/// A value was cleared in the directory.
fn clear_on_pbx(plan: &mut PersonPlan, field: Field, why: Why, inputs: Inputs<'_>, rules: &Rules<'_>) {
    match field {
        Field::Name => {
            let reason = "the name was cleared in the directory; the PBX keeps the one it has".to_owned();
            plan.conflict(Some(field), Side::Pbx, "name-cleared", reason);
        }
        Field::Number | Field::Secret => to_directory(plan, field, why_kept(field), inputs, rules),
        Field::Mobile => match inputs.pbx.uses.get(plan.before[field].as_str()) {
            Some(uses) if !uses.is_empty() => {
                let reason = format!("cleared in the directory, but still used by {}", uses.join(", "));
                plan.conflict(Some(field), Side::Pbx, "mobile-in-use", reason);
            }
            _ => plan.change_pbx(field, "", why),
        },
        Field::Email | Field::Photo => plan.change_pbx(field, "", why),
    }
}

/// MikoPBX would not take the directory's SIP secret.
fn refuse_secret(plan: &mut PersonPlan, inputs: Inputs<'_>) {
    if let Some(reason) = plan.person.refused_secret.clone()
        && inputs.policy.rule(Field::Secret).direction.reaches_pbx()
        && inputs.policy.attributes.contains_key(&Field::Secret)
    {
        let reason = format!("{reason}; the employee keeps the secret the PBX has");
        plan.conflict(Some(Field::Secret), Side::Pbx, "secret-refused", reason);
    }
}

/// The PBX's value goes to the directory, where the server's settings allow it.
fn to_directory(plan: &mut PersonPlan, field: Field, why: Why, inputs: Inputs<'_>, rules: &Rules<'_>) {
    if !inputs.policy.writes(field) {
        let text = match (inputs.policy.write_back, plan.person.values[field].is_empty()) {
            (false, true) if is_kept(field) => {
                "empty in the directory, and writing to it is switched off for this server"
            }
            (false, _) => "changed on the PBX; writing to the directory is switched off for this server",
            (true, _) => "not written to the directory: this field goes from the directory to the PBX only",
        };
        return plan.notes.push(Note::about(field, text));
    }
    let value = plan.before[field].clone();
    let value = match (field, plan.person.ours(field)) {
        (Field::Number, Some(ours)) => respell_number(ours, &value, rules).into(),
        // Other programs read the directory too: a mobile goes there in the form that is understood everywhere.
        (Field::Mobile, _) => inputs.phones.e164(&value).map_or(value, |digits| format!("+{digits}").into()),
        _ => value,
    };
    plan.change_directory(field, value, why);
}
