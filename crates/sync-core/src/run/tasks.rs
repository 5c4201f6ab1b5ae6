//! From the plan to the PBX's tasks, in batches that keep the database's lock short.

use crate::pbx::{CreateTask, Task, UpdateTask, secret, unique_id};
use crate::person::Field;
use crate::plan::{Action, PersonPlan, Plan, Side};

/// People written in one transaction, at most; those who exchange values with each other always go together.
const BATCH: usize = 50;

/// One person's task.
pub(super) struct PersonTask {
    /// Index of the person in the plan.
    pub(super) at: usize,
    /// What to do.
    pub(super) task: Task,
}

/// The tasks of a plan. First, in one transaction, everybody who moves from one unique value to another, so that people
/// can swap; then the other changes; then the new people, who may get what was given up.
pub(super) fn batches(plan: &Plan, forward: bool, random: &mut dyn FnMut(&mut [u8])) -> Vec<Vec<PersonTask>> {
    let (mut moves, mut changes, mut new) = (Vec::new(), Vec::new(), Vec::new());
    for (at, person) in plan.people.iter().enumerate() {
        match person.action {
            Action::Create => new.push(PersonTask { at, task: create(person, forward, random) }),
            Action::Keep | Action::Adopt(_) if person.changes_on(Side::Pbx) => {
                let list = if moves_a_unique_value(person) { &mut moves } else { &mut changes };
                list.push(PersonTask { at, task: update(person, forward, random) });
            }
            _ => {}
        }
    }
    let mut batches = if moves.is_empty() { Vec::new() } else { vec![moves] };
    for mut list in [changes, new] {
        while !list.is_empty() {
            let rest = list.split_off(list.len().min(BATCH));
            batches.push(std::mem::replace(&mut list, rest));
        }
    }
    batches
}

fn moves_a_unique_value(person: &PersonPlan) -> bool {
    person.changes.iter().any(|change| {
        change.side == Side::Pbx
            && matches!(change.field, Field::Number | Field::Mobile | Field::Email)
            && !change.old.is_empty()
    })
}

fn create(person: &PersonPlan, forward: bool, random: &mut dyn FnMut(&mut [u8])) -> Task {
    Task::Create(CreateTask {
        sip_uniqid: unique_id("SIP-PHONE", random),
        external_uniqid: unique_id("EXTERNAL", random),
        secret: secret::generate(random),
        values: person.after.clone(),
        forward_to_mobile: forward,
    })
}

fn update(person: &PersonPlan, forward: bool, random: &mut dyn FnMut(&mut [u8])) -> Task {
    Task::Update(UpdateTask {
        user_id: person.user_id.unwrap_or_default(),
        sip_uniqid: person.sip_uniqid.clone(),
        old: person.before.clone(),
        new: person.after.clone(),
        fields: person.changes.iter().filter(|change| change.side == Side::Pbx).map(|change| change.field).collect(),
        external_uniqid: unique_id("EXTERNAL", random),
        forward_to_mobile: forward,
    })
}
