//! Safety limits: changes that a mistake in the directory or in the settings would make are held, the rest goes on.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::person::{DirectoryKey, Field, Note};
use crate::plan::{AccountStep, Action, Change, Departure, PersonPlan, Plan, Side, Why};

/// How much may change without somebody approving it.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The run was made by a tick, so nobody is watching.
    pub tick: bool,
    /// Nobody has stood behind a run with the present mapping yet, and this one is made by a tick: all of it is held.
    pub first_run: bool,
    /// Most new employees of a tick's run.
    pub most_new: usize,
    /// Most linked people with the same kind of change, whatever their number.
    pub at_least: usize,
    /// Most linked people with the same kind of change, in percent of all linked people.
    pub percent: usize,
    /// What an administrator has approved. Holds that are among it let everything through.
    pub approved: Vec<Hold>,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { tick: false, first_run: false, most_new: 100, at_least: 5, percent: 2, approved: Vec::new() }
    }
}

impl Limits {
    /// Whether everything a hold concerns was approved.
    fn approves(&self, what: &str, people: &Concerned) -> bool {
        let approved = self.approved.iter().find(|hold| hold.what == what && hold.approvable());
        approved.is_some_and(|hold| is_subset(people, &hold.people))
    }
}

/// The entries that something concerns, with the people's names.
pub type Concerned = BTreeMap<DirectoryKey, String>;

/// A kind of change that is held because it concerns too many people.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// What: `renamed`, `renumbered`, `email changed`, `mobile cleared`, `new people` and so on.
    pub what: String,
    /// How many people it concerns.
    pub count: usize,
    /// How many are let through.
    pub limit: usize,
    /// A plain sentence.
    pub reason: String,
    /// Whom it concerns.
    pub people: Concerned,
}

/// Everything a first run would do.
const FIRST_RUN: &str = "first run";
/// An answer without anybody, which is a failure and never a result.
const NOBODY: &str = "an answer of nobody";

impl Hold {
    /// Whether somebody may let it through: never an answer of nobody.
    pub fn approvable(&self) -> bool {
        self.what != NOBODY
    }

    /// Whether it concerns nobody but those of `earlier` holds.
    pub fn is_within(&self, earlier: &[Hold]) -> bool {
        earlier.iter().any(|hold| hold.what == self.what && is_subset(&self.people, &hold.people))
    }
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
    /// Takes out what exceeds the limits and nobody has approved; what was taken out is named.
    pub fn approve(mut self, limits: &Limits) -> (ApprovedPlan, Vec<Hold>) {
        let most = limits.at_least.max(self.linked * limits.percent / 100);
        let concerned = limits.first_run.then(|| people_concerned(&self));
        let mut holds: Vec<Hold> = [
            hold_empty_answer(&self),
            hold_mismatches(&mut self, most, limits),
            hold_departures(&mut self, most, limits),
            hold_accounts(&mut self, most, limits),
        ]
        .into_iter()
        .flatten()
        .collect();
        holds.extend(hold_changes(&mut self, most, limits));
        holds.extend(hold_crowd(&mut self, limits));
        holds.extend(hold_first_run(&mut self, concerned, limits));
        if !holds.is_empty() {
            hold_dependents(&mut self);
        }
        (ApprovedPlan(self), holds)
    }
}

/// A search that finds nobody at all although people are linked.
fn hold_empty_answer(plan: &Plan) -> Option<Hold> {
    (plan.everybody && plan.people.is_empty() && plan.linked > 0).then(|| Hold {
        what: NOBODY.to_owned(),
        count: plan.linked,
        limit: 0,
        reason: format!(
            "the directory answered without a single person, but {} are linked: nobody is taken for having left. \
             Check the base DN, the filter and the account's read rights",
            plan.linked
        ),
        people: Concerned::new(),
    })
}

/// Many employees who are no longer who they were: the PBX's database was restored or reset, and nothing is written.
fn hold_mismatches(plan: &mut Plan, limit: usize, limits: &Limits) -> Option<Hold> {
    let what = "mistaken identities";
    let mismatched =
        |person: &&PersonPlan| person.conflicts.iter().any(|conflict| conflict.cause == "identity-mismatch");
    let people = named(plan.people.iter().filter(mismatched));
    let count = people.len();
    if count <= limit || limits.approves(what, &people) {
        return None;
    }
    let reason = format!(
        "{count} linked employees of the PBX are no longer who they were, as after a restored backup: \
         nothing is changed on either side until that is cleared up"
    );
    for person in &mut plan.people {
        hold_person(person, &reason);
    }
    plan.accounts.clear();
    Some(Hold { what: what.to_owned(), count, limit, reason, people })
}

fn named<'a>(people: impl Iterator<Item = &'a PersonPlan>) -> Concerned {
    people.map(|person| (person.person.entry.key.clone(), person.name())).collect()
}

fn is_subset(some: &Concerned, all: &Concerned) -> bool {
    some.keys().all(|key| all.contains_key(key))
}

/// Many people who leave at once: a changed filter or base, or a lost read right, rather than so many leavers.
fn hold_departures(plan: &mut Plan, limit: usize, limits: &Limits) -> Option<Hold> {
    let what = "departures";
    let leaving = |departure: &&mut Departure| departure.state != departure.link.state;
    let people: Concerned = plan
        .departures
        .iter_mut()
        .filter(leaving)
        .map(|departure| (departure.link.key.clone(), departure.link.shown[Field::Name].to_string()))
        .collect();
    let count = people.len();
    if count <= limit || limits.approves(what, &people) {
        return None;
    }
    plan.departures.iter_mut().filter(leaving).for_each(|departure| departure.held = true);
    plan.accounts.retain(|account| !people.contains_key(&account.link.key));
    let reason = format!(
        "{count} people would leave at once; more than {limit} are not taken for having left. Check the base DN, the \
         filter and the account's read rights"
    );
    Some(Hold { what: what.to_owned(), count, limit, reason, people })
}

/// Many accounts that would be switched off or deleted at once.
fn hold_accounts(plan: &mut Plan, limit: usize, limits: &Limits) -> Option<Hold> {
    let what = "accounts switched off or deleted";
    let taken_off = plan.accounts.iter().filter(|account| account.step != AccountStep::Start);
    let people: Concerned =
        taken_off.map(|account| (account.link.key.clone(), account.employee.values[Field::Name].to_string())).collect();
    let count = people.len();
    if count <= limit || limits.approves(what, &people) {
        return None;
    }
    plan.accounts.retain(|account| account.step == AccountStep::Start);
    let reason = format!(
        "{count} accounts of people who left would be switched off or deleted at once; more than {limit} are held"
    );
    Some(Hold { what: what.to_owned(), count, limit, reason, people })
}

/// Kinds of change that concern too many linked people: values overwritten or cleared, not those merely filled.
fn hold_changes(plan: &mut Plan, limit: usize, limits: &Limits) -> Vec<Hold> {
    let mut counts: BTreeMap<(Side, Field), (usize, usize, Concerned)> = BTreeMap::new();
    for person in plan.people.iter().filter(|person| person.link.is_some()) {
        for change in person.changes.iter().filter(|change| is_limited(change)) {
            let (changed, cleared, people) = counts.entry((change.side, change.field)).or_default();
            *(if change.new.is_empty() { cleared } else { changed }) += 1;
            people.insert(person.person.entry.key.clone(), person.name());
        }
    }
    let mut holds = Vec::new();
    for ((side, field), (changed, cleared, people)) in counts {
        let hold = Hold { people, ..describe(side, field, changed, cleared, limit) };
        if changed + cleared > limit && !limits.approves(&hold.what, &hold.people) {
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
    let what = if side == Side::Directory { format!("{what} in the directory") } else { what };
    let place = match side {
        Side::Pbx => "on the PBX",
        Side::Directory => "in the directory",
    };
    let count = changed + cleared;
    let name = field.name();
    let reason = format!("{count} people would have their {name} {verb} {place} at once; more than {limit} are held");
    Hold { what, count, limit, reason, people: Concerned::new() }
}

/// Values that are merely filled, and what an administrator decided one by one, are not limited.
fn is_limited(change: &Change) -> bool {
    !change.old.is_empty() && change.why != Why::Decided
}

fn hold_change(person: &mut PersonPlan, side: Side, field: Field, reason: &str) {
    let concerned = |change: &Change| (change.side, change.field) == (side, field) && is_limited(change);
    if person.changes.iter().any(concerned) {
        person.drop_change(side, field);
        person.notes.push(Note::about(field, format!("held: {reason}")));
    }
}

/// A scheduled run does not make crowds of new employees.
fn hold_crowd(plan: &mut Plan, limits: &Limits) -> Option<Hold> {
    let what = "new people";
    let new = plan.people.iter().filter(|person| person.action == Action::Create);
    let (count, limit) = (new.clone().count(), limits.most_new);
    if !limits.tick || count <= limit {
        return None;
    }
    let people = named(new);
    if limits.approves(what, &people) {
        return None;
    }
    let reason = format!(
        "{count} new people at once; a scheduled run makes at most {limit}. Synchronise by hand, or approve, to make them"
    );
    for person in plan.people.iter_mut().filter(|person| person.action == Action::Create) {
        hold_person(person, &reason);
    }
    Some(Hold { what: what.to_owned(), count, limit, reason, people })
}

/// Everybody for whom a plan does something.
fn people_concerned(plan: &Plan) -> Concerned {
    named(plan.people.iter().filter(|person| person.does_something()))
}

/// The first run of a server, or of a changed mapping, is never made by a tick: all it would do waits. `concerned` are the
/// people of such a run.
fn hold_first_run(plan: &mut Plan, concerned: Option<Concerned>, limits: &Limits) -> Option<Hold> {
    let people = concerned?;
    let count = people.len();
    if limits.approves(FIRST_RUN, &people) {
        return None;
    }
    let reason = "the first run of a server, or of a changed mapping, waits for somebody who starts or approves it";
    for person in &mut plan.people {
        hold_person(person, reason);
    }
    plan.departures.iter_mut().for_each(|departure| departure.held = true);
    plan.accounts.clear();
    (count > 0).then(|| Hold { what: FIRST_RUN.to_owned(), count, limit: 0, reason: reason.to_owned(), people })
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
