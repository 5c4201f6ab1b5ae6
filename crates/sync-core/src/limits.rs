//! Safety limits: changes that a mistake in the directory or in the settings would make are held, the rest goes on.

use std::collections::BTreeMap;

use crate::person::{Field, Note};
use crate::plan::{Action, Plan, Side};

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
        let limit = limits.at_least.max(self.linked * limits.percent / 100);
        let mut holds = Vec::new();
        for ((side, field, cleared), count) in count_changes(&self) {
            if count > limit {
                let hold = hold(side, field, cleared, count, limit);
                take_out(&mut self, side, field, cleared, &hold.reason);
                holds.push(hold);
            }
        }
        if self.people.is_empty() && self.linked > 0 {
            let reason = format!(
                "the directory answered without a single person, but {} are linked: nobody is taken for having left. \
                 Check the base DN, the filter and the account's read rights",
                self.linked
            );
            holds.push(Hold { what: "an answer of nobody".to_owned(), count: self.linked, limit: 0, reason });
        }
        let new = self.people.iter().filter(|person| person.action == Action::Create).count();
        if limits.tick && new > limits.most_new {
            let hold = Hold {
                what: "new people".to_owned(),
                count: new,
                limit: limits.most_new,
                reason: format!(
                    "{new} new people at once; a scheduled run makes at most {}. Synchronise by hand to make them",
                    limits.most_new
                ),
            };
            hold_new(&mut self, &hold.reason);
            holds.push(hold);
        }
        (ApprovedPlan(self), holds)
    }
}

/// Linked people with a value overwritten (not merely filled), by side, field and whether it becomes empty.
fn count_changes(plan: &Plan) -> BTreeMap<(Side, Field, bool), usize> {
    let mut counts = BTreeMap::new();
    for person in plan.people.iter().filter(|person| person.link.is_some()) {
        for change in person.changes.iter().filter(|change| !change.old.is_empty()) {
            *counts.entry((change.side, change.field, change.new.is_empty())).or_insert(0) += 1;
        }
    }
    counts
}

fn hold(side: Side, field: Field, cleared: bool, count: usize, limit: usize) -> Hold {
    let what = match (field, cleared) {
        (Field::Name, false) => "renamed".to_owned(),
        (Field::Number, false) => "renumbered".to_owned(),
        (field, false) => format!("{} changed", field.name()),
        (field, true) => format!("{} cleared", field.name()),
    };
    let place = match side {
        Side::Pbx => "on the PBX",
        Side::Directory => "in the directory",
    };
    let reason = format!(
        "{count} people would have their {} {} {place} at once; more than {limit} wait for approval",
        field.name(),
        if cleared { "cleared" } else { "changed" }
    );
    Hold { what, count, limit, reason }
}

fn take_out(plan: &mut Plan, side: Side, field: Field, cleared: bool, reason: &str) {
    for person in plan.people.iter_mut().filter(|person| person.link.is_some()) {
        let concerned = person.changes.iter().any(|change| {
            (change.side, change.field, change.new.is_empty()) == (side, field, cleared) && !change.old.is_empty()
        });
        if concerned {
            person.drop_change(side, field);
            person.notes.push(Note::about(field, format!("held: {reason}")));
        }
    }
}

fn hold_new(plan: &mut Plan, reason: &str) {
    for person in plan.people.iter_mut().filter(|person| person.action == Action::Create) {
        person.action = Action::Held;
        person.changes.clear();
        person.after = person.before.clone();
        person.notes.push(Note { field: None, text: format!("held: {reason}") });
    }
}
