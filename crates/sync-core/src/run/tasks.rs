//! From the plan to the PBX's tasks, in batches that keep the database's lock short.

use std::collections::BTreeMap;

use crate::pbx::{CreateTask, Task, UpdateTask, secret, unique_id};
use crate::person::{Field, SmolStr};
use crate::plan::{Action, Change, PersonPlan, Plan, Side};
use crate::vault::Vault;

/// People written in one transaction, at most, unless more of them pass values to each other.
const BATCH: usize = 200;

/// One person's task.
pub(super) struct PersonTask {
    /// Index of the person in the plan.
    pub(super) at: usize,
    /// What to do.
    pub(super) task: Task,
}

/// The people of a plan, by their places in it, for whom the PBX is written to, in batches. First everybody who gives up a unique value, those who pass values to each other together, so
/// that people can swap; then the other changes; then the new people, who may get what was given up.
pub(super) fn batches(plan: &Plan) -> Vec<Vec<usize>> {
    let (mut moves, mut changes, mut new) = (Vec::new(), Vec::new(), Vec::new());
    for (at, person) in plan.people.iter().enumerate() {
        match person.action {
            Action::Create => new.push(at),
            Action::Keep | Action::Adopt(_) if moves_a_unique_value(person) => moves.push(at),
            Action::Keep | Action::Adopt(_) if person.changes_on(Side::Pbx) => changes.push(at),
            _ => {}
        }
    }
    let groups = chains(plan, &moves);
    pack(groups.iter().map(Vec::as_slice).chain(changes.iter().chain(&new).map(std::slice::from_ref)))
}

/// The tasks of one batch, with everything random chosen.
pub(super) fn tasks_of(
    plan: &Plan,
    batch: &[usize],
    forward: bool,
    vault: &Vault,
    random: &mut dyn FnMut(&mut [u8]),
) -> Vec<PersonTask> {
    let mut task = |at: usize| {
        let person = &plan.people[at];
        let task = match person.action {
            Action::Create => create_task(person, forward, vault, random),
            _ => update_task(person, forward, vault, random),
        };
        PersonTask { at, task }
    };
    batch.iter().map(|at| task(*at)).collect()
}

fn moves_a_unique_value(person: &PersonPlan) -> bool {
    unique_changes(person).any(|change| !change.old.is_empty())
}

fn unique_changes(person: &PersonPlan) -> impl Iterator<Item = &Change> {
    let unique = |field| matches!(field, Field::Number | Field::Mobile | Field::Email);
    person.changes.iter().filter(move |change| change.side == Side::Pbx && unique(change.field))
}

/// Groups people who want what another of them gives up, directly or through others.
fn chains(plan: &Plan, moves: &[usize]) -> Vec<Vec<usize>> {
    let mut given_up: BTreeMap<(Field, String), usize> = BTreeMap::new();
    for (index, &at) in moves.iter().enumerate() {
        let old = unique_changes(&plan.people[at]).filter(|change| !change.old.is_empty());
        given_up.extend(old.map(|change| ((change.field, change.old.to_lowercase()), index)));
    }
    // Every member points at another one of its group, the first at itself.
    let mut leader: Vec<usize> = (0..moves.len()).collect();
    for (index, &at) in moves.iter().enumerate() {
        for change in unique_changes(&plan.people[at]) {
            if let Some(&holder) = given_up.get(&(change.field, change.new.to_lowercase())) {
                let (one, other) = (find(&mut leader, index), find(&mut leader, holder));
                leader[one.max(other)] = one.min(other);
            }
        }
    }
    let mut groups: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (index, &at) in moves.iter().enumerate() {
        groups.entry(find(&mut leader, index)).or_default().push(at);
    }
    groups.into_values().collect()
}

fn find(leader: &mut [usize], mut index: usize) -> usize {
    while leader[index] != index {
        leader[index] = leader[leader[index]];
        index = leader[index];
    }
    index
}

/// Fills batches with whole groups, in their order.
fn pack<'g>(groups: impl Iterator<Item = &'g [usize]>) -> Vec<Vec<usize>> {
    let mut batches: Vec<Vec<usize>> = Vec::new();
    for group in groups {
        match batches.last_mut() {
            Some(last) if last.len() + group.len() <= BATCH => last.extend(group),
            _ => batches.push(group.to_vec()),
        }
    }
    batches
}

fn create_task(person: &PersonPlan, forward: bool, vault: &Vault, random: &mut dyn FnMut(&mut [u8])) -> Task {
    Task::Create(CreateTask {
        sip_uniqid: unique_id("SIP-PHONE", random),
        external_uniqid: unique_id("EXTERNAL", random),
        secret: vault.open(&person.after[Field::Secret]).unwrap_or_else(|| secret::generate(random)),
        values: person.after.clone(),
        forward_to_mobile: forward,
    })
}

fn update_task(person: &PersonPlan, forward: bool, vault: &Vault, random: &mut dyn FnMut(&mut [u8])) -> Task {
    Task::Update(UpdateTask {
        user_id: person.user_id.unwrap_or_default(),
        sip_uniqid: person.sip_uniqid.clone(),
        old: person.before.clone(),
        new: person.after.clone(),
        fields: person.changes.iter().filter(|change| change.side == Side::Pbx).map(|change| change.field).collect(),
        external_uniqid: unique_id("EXTERNAL", random),
        forward_to_mobile: forward,
        secret: vault.open(&person.after[Field::Secret]).unwrap_or_default(),
        rows: person.rows,
    })
}

/// The task without one field, for another try after MikoPBX's rules or somebody's edit refused that field. A person
/// without a name or a number cannot be made.
pub(super) fn without(task: &Task, field: Field) -> Option<Task> {
    match task.clone() {
        Task::Create(mut create) if matches!(field, Field::Email | Field::Mobile | Field::Photo) => {
            (!create.values[field].is_empty()).then(|| {
                create.values[field] = SmolStr::default();
                Task::Create(create)
            })
        }
        Task::Update(mut update) if update.fields.contains(&field) && update.fields.len() > 1 => {
            update.fields.retain(|one| *one != field);
            update.new[field] = update.old[field].clone();
            Some(Task::Update(update))
        }
        _ => None,
    }
}

/// The fields a task writes.
pub(super) fn fields(task: &Task) -> Vec<Field> {
    match task {
        Task::Create(create) => Field::ALL.into_iter().filter(|field| !create.values[*field].is_empty()).collect(),
        Task::Update(update) => update.fields.clone(),
        Task::Account(_) | Task::Delete(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::Coverage;
    use crate::normalise::Person;
    use crate::person::{EmployeeRows, Fields, Values};
    use crate::phone::PhoneRules;
    use crate::plan::Why;

    /// `201>202` is a person who changes the number, `>245` one who is new and gets it, `name` one who is renamed.
    fn plan(people: &[&str]) -> Plan {
        let person = |text: &&str| {
            let (old, new, field) = match text.split_once('>') {
                Some((old, new)) => (old, new, Field::Number),
                None => ("before", *text, Field::Name),
            };
            let mut person = PersonPlan {
                person: Person::default(),
                action: if old.is_empty() { Action::Create } else { Action::Keep },
                link: None,
                user_id: Some(1),
                sip_uniqid: String::new(),
                sip_disabled: false,
                rows: EmployeeRows::default(),
                instead_of: None,
                before: Values::default(),
                after: Values::default(),
                changes: Vec::new(),
                agreed: Fields::default(),
                conflicts: Vec::new(),
                notes: Vec::new(),
            };
            let (old, new) = (SmolStr::from(old), SmolStr::from(new));
            person.before[field] = old.clone();
            person.after[field] = new.clone();
            person.changes.push(Change { side: Side::Pbx, field, old, new, why: Why::DirectoryChanged });
            person
        };
        let people = people.iter().map(person).collect();
        Plan {
            people,
            departures: Vec::new(),
            accounts: Vec::new(),
            coverage: Coverage::Full,
            everybody: true,
            warnings: Vec::new(),
            linked: 0,
            phones: PhoneRules::default(),
        }
    }

    #[track_caller]
    fn check(people: &[&str], expected: &[&[usize]]) {
        assert_eq!(batches(&plan(people)), expected);
    }

    #[test]
    fn what_is_given_up_comes_before_what_is_taken() {
        check(&[">201", "renamed", "201>300"], &[&[2, 1, 0]]);
        check(&[], &[]);
    }

    #[test]
    fn those_who_pass_values_to_each_other_are_never_parted() {
        // Two places are left in the first batch, then comes a round of four: it does not fit and is not cut.
        let alone = BATCH - 2;
        let mut people: Vec<String> = (0..alone).map(|at| format!("{}>{}", 1000 + at, 3000 + at)).collect();
        people.extend(["201>202", "202>203", "203>204", "204>201"].map(str::to_owned));
        let people: Vec<&str> = people.iter().map(String::as_str).collect();
        let first: Vec<usize> = (0..alone).collect();
        check(&people, &[&first, &[alone, alone + 1, alone + 2, alone + 3]]);
    }

    #[test]
    fn a_chain_longer_than_a_batch_stays_whole() {
        let length = BATCH + 20;
        let people: Vec<String> = (0..length).map(|at| format!("{}>{}", 200 + at, 201 + at)).collect();
        let people: Vec<&str> = people.iter().map(String::as_str).collect();
        let all: Vec<usize> = (0..length).collect();
        check(&people, &[&all]);
    }

    #[test]
    fn a_refused_field_is_left_out_at_the_second_try() {
        let mut update = UpdateTask { fields: vec![Field::Name, Field::Email], ..UpdateTask::default() };
        update.new[Field::Name] = "x".into();
        let rest = without(&Task::Update(update), Field::Name).map(|task| fields(&task));
        assert_eq!(rest, Some(vec![Field::Email]));
        let alone = UpdateTask { fields: vec![Field::Name], ..UpdateTask::default() };
        assert!(without(&Task::Update(alone), Field::Name).is_none());
    }
}
