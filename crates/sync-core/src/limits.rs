//! Safety limits: changes that a mistake in the directory or in the settings would make are held, the rest goes on.

use std::collections::BTreeMap;

use crate::person::{Field, Note};
use crate::plan::{Action, Change, Departure, PersonPlan, Plan, Side};

/// How much may change without somebody approving it.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The run was made by a tick, so nobody is watching.
    pub tick: bool,
    /// Most new employees of a tick's run.
    pub most_new: usize,
    /// Most linked people with the same kind of change, whatever their number.
    pub at_least: usize,
    /// Most linked people with the same kind of change, in percent of all linked people.
    pub percent: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { tick: false, most_new: 100, at_least: 5, percent: 2 }
    }
}

/// A kind of change that is held because it concerns too many people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// What: `renamed`, `renumbered`, `email changed`, `mobile cleared`, `new people` and so on.
    pub what: String,
    /// How many people it concerns.
    pub count: usize,
    /// How many are let through.
    pub limit: usize,
    /// A plain sentence.
    pub reason: String,
}

/// A plan within the limits: the only thing that can be applied.
#[derive(Clone, Debug)]
pub struct ApprovedPlan(Plan);

impl ApprovedPlan {
    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.0
    }

    /// The plan, to be carried out.
    pub fn into_plan(self) -> Plan {
        self.0
    }
}

impl Plan {
    /// Takes out what exceeds the limits; what was taken out is named.
    pub fn approve(mut self, limits: &Limits) -> (ApprovedPlan, Vec<Hold>) {
        let most = limits.at_least.max(self.linked * limits.percent / 100);
        let mut holds: Vec<Hold> =
            [hold_empty_answer(&self), hold_mismatches(&mut self, most), hold_departures(&mut self, most)]
                .into_iter()
                .flatten()
                .collect();
        holds.extend(hold_changes(&mut self, most));
        holds.extend(hold_crowd(&mut self, limits));
        if !holds.is_empty() {
            hold_dependents(&mut self);
        }
        (ApprovedPlan(self), holds)
    }
}

/// A search that finds nobody at all although people are linked.
fn hold_empty_answer(plan: &Plan) -> Option<Hold> {
    (plan.people.is_empty() && plan.linked > 0).then(|| Hold {
        what: "an answer of nobody".to_owned(),
        count: plan.linked,
        limit: 0,
        reason: format!(
            "the directory answered without a single person, but {} are linked: nobody is taken for having left. \
             Check the base DN, the filter and the account's read rights",
            plan.linked
        ),
    })
}

/// Many employees who are no longer who they were: the PBX's database was restored or reset, and nothing is written.
fn hold_mismatches(plan: &mut Plan, limit: usize) -> Option<Hold> {
    let mismatched =
        |person: &&PersonPlan| person.conflicts.iter().any(|conflict| conflict.cause == "identity-mismatch");
    let count = plan.people.iter().filter(mismatched).count();
    if count <= limit {
        return None;
    }
    let reason = format!(
        "{count} linked employees of the PBX are no longer who they were, as after a restored backup: \
         nothing is changed on either side until that is cleared up"
    );
    for person in &mut plan.people {
        hold_person(person, &reason);
    }
    Some(Hold { what: "mistaken identities".to_owned(), count, limit, reason })
}

/// Many people who leave at once: a changed filter or base, or a lost read right, rather than so many leavers.
fn hold_departures(plan: &mut Plan, limit: usize) -> Option<Hold> {
    let leaving = |departure: &&mut Departure| departure.state != departure.link.state;
    let count = plan.departures.iter_mut().filter(leaving).count();
    if count <= limit {
        return None;
    }
    plan.departures.iter_mut().filter(leaving).for_each(|departure| departure.held = true);
    let reason = format!(
        "{count} people would leave at once; more than {limit} are not taken for having left. Check the base DN, the \
         filter and the account's read rights"
    );
    Some(Hold { what: "departures".to_owned(), count, limit, reason })
}

/// Kinds of change that concern too many linked people: values overwritten or cleared, not those merely filled.
fn hold_changes(plan: &mut Plan, limit: usize) -> Vec<Hold> {
    let mut counts: BTreeMap<(Side, Field), (usize, usize)> = BTreeMap::new();
    for person in plan.people.iter().filter(|person| person.link.is_some()) {
        for change in person.changes.iter().filter(|change| !change.old.is_empty()) {
            let (changed, cleared) = counts.entry((change.side, change.field)).or_default();
            *(if change.new.is_empty() { cleared } else { changed }) += 1;
        }
    }
    let mut holds = Vec::new();
    for ((side, field), (changed, cleared)) in counts {
        if changed + cleared > limit {
            let hold = describe(side, field, changed, cleared, limit);
            for person in plan.people.iter_mut().filter(|person| person.link.is_some()) {
                hold_change(person, side, field, &hold.reason);
            }
            holds.push(hold);
        }
    }
    holds
}

fn describe(side: Side, field: Field, changed: usize, cleared: usize, limit: usize) -> Hold {
    let verb = match (changed, cleared) {
        (_, 0) => "changed",
        (0, _) => "cleared",
        _ => "changed or cleared",
    };
    let what = match (field, cleared) {
        (Field::Name, 0) => "renamed".to_owned(),
        (Field::Number, 0) => "renumbered".to_owned(),
        _ => format!("{} {verb}", field.name()),
    };
    let place = match side {
        Side::Pbx => "on the PBX",
        Side::Directory => "in the directory",
    };
    let count = changed + cleared;
    let name = field.name();
    let reason = format!("{count} people would have their {name} {verb} {place} at once; more than {limit} are held");
    Hold { what, count, limit, reason }
}

fn hold_change(person: &mut PersonPlan, side: Side, field: Field, reason: &str) {
    let overwrites = |change: &Change| (change.side, change.field) == (side, field) && !change.old.is_empty();
    if person.changes.iter().any(overwrites) {
        person.drop_change(side, field);
        person.notes.push(Note::about(field, format!("held: {reason}")));
    }
}

/// A scheduled run does not make crowds of new employees.
fn hold_crowd(plan: &mut Plan, limits: &Limits) -> Option<Hold> {
    let count = plan.people.iter().filter(|person| person.action == Action::Create).count();
    if !limits.tick || count <= limits.most_new {
        return None;
    }
    let limit = limits.most_new;
    let reason =
        format!("{count} new people at once; a scheduled run makes at most {limit}. Synchronise by hand to make them");
    for person in plan.people.iter_mut().filter(|person| person.action == Action::Create) {
        hold_person(person, &reason);
    }
    Some(Hold { what: "new people".to_owned(), count, limit, reason })
}

fn hold_person(person: &mut PersonPlan, reason: &str) {
    if matches!(person.action, Action::Create | Action::Adopt(_)) {
        person.action = Action::Held;
    }
    if person.action == Action::Held || !person.changes.is_empty() {
        person.changes.clear();
        person.after = person.before.clone();
        person.notes.push(Note { field: None, text: format!("held: {reason}") });
    }
}

/// Whoever was to get a value that its holder now keeps has to wait too.
fn hold_dependents(plan: &mut Plan) {
    loop {
        let kept: BTreeMap<(Field, String), String> = plan
            .people
            .iter()
            .flat_map(|person| {
                let unique = UNIQUE.into_iter().filter(|field| !person.before[*field].is_empty());
                let staying = unique.filter(|field| person.after[*field] == person.before[*field]);
                staying.map(|field| ((field, person.before[field].to_lowercase()), person.name()))
            })
            .collect();
        let waiting = plan.people.iter_mut().filter_map(|person| {
            let taken = person.changes.iter().find(|change| {
                change.side == Side::Pbx && kept.contains_key(&(change.field, change.new.to_lowercase()))
            })?;
            let reason = format!("{} keeps {} for now", kept[&(taken.field, taken.new.to_lowercase())], taken.new);
            let field = taken.field;
            Some((person, field, reason))
        });
        let mut any = false;
        for (person, field, reason) in waiting {
            any = true;
            if person.action == Action::Create && field == Field::Number {
                hold_person(person, &reason);
            } else {
                person.drop_change(Side::Pbx, field);
                person.notes.push(Note::about(field, format!("held: {reason}")));
            }
        }
        if !any {
            return;
        }
    }
}

/// Fields whose values only one employee can have.
const UNIQUE: [Field; 3] = [Field::Number, Field::Mobile, Field::Email];
