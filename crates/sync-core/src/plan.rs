//! The plan: for every person what changes on which side and why, and what is left for a human. A preview is a plan not
//! applied; a report is a plan with outcomes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::decision::Decisions;
use crate::directory::{Coverage, DirectorySnapshot};
use crate::link::{Link, LinkState};
use crate::matching::{Candidates, Match, match_people};
use crate::normalise::{Person, Rules};
use crate::pbx::{Holder, PbxSnapshot};
use crate::person::{
    AccountState, Attributes, DirectoryKey, EmployeeRows, Field, Fields, Note, Photo, SmolStr, Values,
};
use crate::phone::PhoneRules;
use crate::policy::{BothChanged, Direction, Policy};
use crate::recency::DirectoryTime;

mod fields;
mod leavers;
mod unique;

pub use crate::person::Side;
pub use leavers::{AccountPlan, AccountStep, Departure};

/// Fewest entries that must have had a value before "now none has" makes the attribute unknown.
const MANY: usize = 5;

/// Everything a plan is made of.
#[derive(Clone, Copy)]
pub struct Inputs<'a> {
    /// The server's settings.
    pub policy: &'a Policy,
    /// What the directory holds.
    pub directory: &'a DirectorySnapshot,
    /// What the PBX holds.
    pub pbx: &'a PbxSnapshot,
    /// The server's links.
    pub links: &'a [Arc<Link>],
    /// Employees linked to other servers.
    pub linked_elsewhere: &'a BTreeSet<i64>,
    /// Those of them who are in use in the other server's directory.
    pub active_elsewhere: &'a BTreeSet<i64>,
    /// How many links the server has, also where only some are given.
    pub linked: usize,
    /// Whether a number was given to somebody before.
    pub numbers_used: &'a dyn Fn(&str) -> bool,
    /// What administrators decided.
    pub decisions: &'a Decisions,
    /// What is known about the times of edits.
    pub times: &'a Times,
    /// Unix time in milliseconds.
    pub now: i64,
    /// How telephone numbers are read.
    pub phones: PhoneRules,
}

/// What is known about the times of edits, Unix time in milliseconds.
#[derive(Clone, Debug, Default)]
pub struct Times {
    /// When a complete run last compared everybody; 0 is never.
    pub compared: i64,
    /// What the directory tells, for the edits it was asked about.
    pub directory: BTreeMap<(DirectoryKey, Field), DirectoryTime>,
    /// The latest edit of an employee's value that the PBX reported, by `m_Users.id`.
    pub reported: BTreeMap<(i64, Field), i64>,
    /// Values that synchronisations have replaced. Where the PBX holds one of them again and has not reported an edit,
    /// its database was perhaps restored from an older copy.
    pub replaced: BTreeMap<(DirectoryKey, Field), BTreeSet<String>>,
    /// The PBX has given fewer record ids than at the last run: its database is an older copy.
    pub went_back: bool,
}

/// What is to be done, for everybody.
#[derive(Clone, Debug)]
pub struct Plan {
    /// One per directory entry, in the order of their keys.
    pub people: Vec<PersonPlan>,
    /// Linked people who have left: no value is changed for them, they are listed.
    pub departures: Vec<Departure>,
    /// SIP accounts to be switched off or on again, and employees to be deleted, as the server's settings say.
    pub accounts: Vec<AccountPlan>,
    /// How much of the directory the plan rests on.
    pub coverage: Coverage,
    /// Whether it is about everybody, and not only about people who may have changed.
    pub everybody: bool,
    /// Sentences about the whole run.
    pub warnings: Vec<String>,
    /// How many people were linked before.
    pub linked: usize,
    /// How telephone numbers were read.
    pub phones: PhoneRules,
}

impl Plan {
    /// Two-sided edits whose times would decide: asked for once they are known to matter.
    pub fn undecided_edits(&self, policy: &Policy) -> BTreeMap<DirectoryKey, BTreeSet<Field>> {
        let mut wanted: BTreeMap<DirectoryKey, BTreeSet<Field>> = BTreeMap::new();
        for person in &self.people {
            let Some(link) = &person.link else { continue };
            let fields = person.conflicts.iter().filter(|conflict| conflict.cause == "both-changed");
            for field in fields.filter_map(|conflict| conflict.field).filter(|field| link.based.contains(*field)) {
                let rule = policy.rule(field);
                if rule.direction == Direction::TwoWay && rule.both_changed == BothChanged::Newest {
                    wanted.entry(person.person.entry.key.clone()).or_default().insert(field);
                }
            }
        }
        wanted
    }

    /// Values that go to the directory because the PBX's changed.
    pub fn edits_of_pbx(&self) -> BTreeSet<(DirectoryKey, Field)> {
        let linked = self.people.iter().filter(|person| person.link.is_some());
        let of_person = linked.flat_map(|person| {
            let changes = person.changes.iter().filter(|change| change.side == Side::Directory);
            changes.map(|change| (person.person.entry.key.clone(), change.field))
        });
        of_person.collect()
    }

    /// Lets go of what the directory's attributes hold where nothing goes to the directory: nobody asks for it any more.
    pub(crate) fn let_go_of_attributes(&mut self) {
        for person in self.people.iter_mut().filter(|person| !person.changes_on(Side::Directory)) {
            if let Some(entry) = Arc::get_mut(&mut person.person.entry) {
                entry.attributes = Attributes::default();
            }
        }
    }

    /// Gives everybody new a SIP secret, where secrets are kept in step: the directory is to hold the same one. `next`
    /// makes a secret and answers its fingerprint.
    pub fn give_secrets(&mut self, policy: &Policy, next: &mut dyn FnMut() -> String) {
        let without =
            |person: &&mut PersonPlan| person.action == Action::Create && person.after[Field::Secret].is_empty();
        for person in self.people.iter_mut().filter(without).filter(|_| policy.has_secrets()) {
            let fingerprint = SmolStr::from(next());
            person.change_pbx(Field::Secret, fingerprint.clone(), Why::SecretMade);
            let none_there =
                person.person.values[Field::Secret].is_empty() && !person.person.unusable.contains(Field::Secret);
            if policy.writes(Field::Secret) && none_there {
                person.change_directory(Field::Secret, fingerprint, Why::SecretMade);
            }
        }
    }
}

/// What is to be done for one person.
#[derive(Clone, Debug)]
pub struct PersonPlan {
    /// The person as the directory has them.
    pub person: Person,
    /// What it comes to.
    pub action: Action,
    /// The link so far.
    pub link: Option<Arc<Link>>,
    /// `m_Users.id` of the employee, if there is one.
    pub user_id: Option<i64>,
    /// `m_Sip.uniqid` of the employee, if there is one.
    pub sip_uniqid: String,
    /// The employee's SIP account is switched off.
    pub sip_disabled: bool,
    /// Where the employee's values stand on the PBX.
    pub rows: EmployeeRows,
    /// The link of another entry that this one takes the place of.
    pub instead_of: Option<Arc<Link>>,
    /// The PBX's values now.
    pub before: Values,
    /// The PBX's values afterwards.
    pub after: Values,
    /// Values that change, on either side.
    pub changes: Vec<Change>,
    /// Fields in which both sides agree already, so that the base follows them.
    pub agreed: Fields,
    /// What is left for a human.
    pub conflicts: Vec<Conflict>,
    /// What was odd.
    pub notes: Vec<Note>,
}

/// What a person's plan comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A new employee.
    Create,
    /// An existing employee becomes linked.
    Adopt(By),
    /// A linked employee, with or without changes.
    Keep,
    /// Nothing can be done before somebody decides; the conflicts say what.
    Wait,
    /// Nothing is to be done; the account is not active, or an administrator left the person out.
    LeaveOut,
    /// A new employee whose creation the limits hold.
    Held,
}

/// By what an employee was recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// By what both have in common.
    Field(Field),
    /// By an administrator's decision.
    Administrator,
}

impl By {
    /// A word for answers.
    pub fn name(self) -> &'static str {
        match self {
            By::Field(field) => field.name(),
            By::Administrator => "administrator",
        }
    }
}

/// One value that changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Where.
    pub side: Side,
    /// What.
    pub field: Field,
    /// The value now; on the directory's side as the directory spells it.
    pub old: SmolStr,
    /// The value afterwards.
    pub new: SmolStr,
    /// Why.
    pub why: Why,
}

/// Why a value changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The person is new.
    NewPerson,
    /// The other side has no value.
    FillsEmpty,
    /// It changed in the directory.
    DirectoryChanged,
    /// It changed on the PBX.
    PbxChanged,
    /// The employee was recognised, and the directory's value goes first.
    DirectoryGoesFirst,
    /// The internal number was assigned by the PBX.
    NumberAssigned,
    /// The SIP secret was made for a new employee.
    SecretMade,
    /// Both sides changed, the directory's edit is the later one.
    NewerInDirectory,
    /// Both sides changed, the PBX's edit is the later one.
    NewerOnPbx,
    /// Both sides changed, and the server's settings prefer the directory.
    DirectoryPreferred,
    /// Both sides changed, and the server's settings prefer the PBX.
    PbxPreferred,
    /// An administrator decided so.
    Decided,
}

impl Why {
    /// A few plain words.
    pub fn text(self) -> &'static str {
        match self {
            Why::NewPerson => "new in the directory",
            Why::FillsEmpty => "this side had no value",
            Why::DirectoryChanged => "changed in the directory",
            Why::PbxChanged => "changed on the PBX",
            Why::DirectoryGoesFirst => "the directory's value goes first when an employee is recognised",
            Why::NumberAssigned => "the PBX's internal number",
            Why::SecretMade => "made for the new employee",
            Why::NewerInDirectory => "changed on both sides; the directory's edit is newer",
            Why::NewerOnPbx => "changed on both sides; the PBX's edit is newer",
            Why::DirectoryPreferred => "changed on both sides; the settings prefer the directory",
            Why::PbxPreferred => "changed on both sides; the settings prefer the PBX",
            Why::Decided => "decided by an administrator",
        }
    }
}

/// Something only a human can decide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The entry.
    pub key: DirectoryKey,
    /// `m_Users.id`, when an employee is concerned.
    pub user_id: Option<i64>,
    /// The person's name.
    pub person: String,
    /// The field, if it is about one.
    pub field: Option<Field>,
    /// Where it could not be done.
    pub side: Side,
    /// The kind of conflict: one of the words of `docs/ABI.md`.
    pub cause: &'static str,
    /// A plain sentence.
    pub reason: String,
    /// The directory's value, for showing; of photos the MD5, of SIP secrets the fingerprint.
    pub directory_value: String,
    /// The PBX's value, the same way.
    pub pbx_value: String,
    /// Both sides' values of the field in the PBX's form, the directory's first: what a decision is made for.
    pub compared: (String, String),
    /// An administrator wants to see it no more.
    pub ignored: bool,
}

impl PersonPlan {
    /// Whether anything is done for the person on either side.
    pub fn does_something(&self) -> bool {
        !self.changes.is_empty() || matches!(self.action, Action::Create | Action::Adopt(_))
    }

    /// Whether anything changes on `side`.
    pub fn changes_on(&self, side: Side) -> bool {
        self.changes.iter().any(|change| change.side == side)
    }

    fn conflict(&mut self, field: Option<Field>, side: Side, cause: &'static str, reason: String) {
        self.conflicts.push(self.conflict_about(field, side, cause, reason));
    }

    /// A conflict of this person, with both sides' values of the field.
    pub(crate) fn conflict_about(
        &self,
        field: Option<Field>,
        side: Side,
        cause: &'static str,
        reason: String,
    ) -> Conflict {
        let value = |values: &Values| field.map(|field| values[field].to_string()).unwrap_or_default();
        let (directory_value, pbx_value) = (value(&self.person.values), value(&self.before));
        Conflict {
            key: self.person.entry.key.clone(),
            user_id: self.user_id,
            person: self.name(),
            field,
            side,
            cause,
            reason,
            compared: (directory_value.clone(), pbx_value.clone()),
            directory_value,
            pbx_value,
            ignored: false,
        }
    }

    /// The person's name as it will be, from whichever side has one, else the DN.
    pub fn name(&self) -> String {
        let names = [self.after[Field::Name].as_str(), &self.person.values[Field::Name], &self.person.entry.dn];
        names.into_iter().find(|name| !name.is_empty()).unwrap_or_default().to_owned()
    }

    fn change_pbx(&mut self, field: Field, new: impl Into<SmolStr>, why: Why) {
        let new = new.into();
        let old = self.before[field].clone();
        self.after[field] = new.clone();
        self.add_change(Change { side: Side::Pbx, field, old, new, why });
    }

    fn change_directory(&mut self, field: Field, new: impl Into<SmolStr>, why: Why) {
        let new = new.into();
        let old = match field {
            Field::Photo => self.person.values[field].clone(),
            _ => self.person.ours(field).cloned().unwrap_or_default(),
        };
        self.add_change(Change { side: Side::Directory, field, old, new, why });
    }

    /// There are a few changes per person and very many people: no room is kept for more.
    fn add_change(&mut self, change: Change) {
        self.changes.reserve_exact(1);
        self.changes.push(change);
    }

    /// Takes back what was planned for a field of the PBX.
    pub fn drop_change(&mut self, side: Side, field: Field) {
        self.changes.retain(|change| (change.side, change.field) != (side, field));
        if side == Side::Pbx {
            self.after[field] = self.before[field].clone();
        }
    }
}

/// Makes the plan.
pub fn make(inputs: Inputs<'_>) -> Plan {
    let Inputs { directory, pbx, links, .. } = inputs;
    let dialled_inside = |holder: &Holder| holder.kind != "EXTERNAL" && holder.kind != Holder::LEFTOVER;
    let is_internal = |number: &str| pbx.numbers.get(number).is_some_and(dialled_inside);
    let rules = Rules { phones: inputs.phones, longest_number: longest_number(inputs), is_internal: &is_internal };
    let bases: BTreeMap<&DirectoryKey, &Link> = links.iter().map(|link| (&link.key, &**link)).collect();
    let people: Vec<Person> = directory
        .entries
        .iter()
        .map(|entry| Person::from_entry(entry, bases.get(&entry.key).map(|link| &link.directory), &rules))
        .collect();
    let (unknown, mut warnings) = unknown_fields(inputs, &bases);
    let candidates = Candidates {
        links,
        employees: &pbx.employees,
        linked_elsewhere: inputs.linked_elsewhere,
        decisions: inputs.decisions,
        complete: directory.coverage == Coverage::Full,
        asked: directory.asked.as_ref(),
        phones: &inputs.phones,
    };
    let matching = match_people(&people, candidates);
    let mut drafts: Vec<PersonPlan> =
        people.into_iter().zip(matching.people).map(|(person, found)| draft(person, found, inputs)).collect();
    for plan in &mut drafts {
        fields::decide(plan, inputs, &unknown, &rules);
    }
    let numbering = unique::numbering(inputs);
    unique::refuse_forbidden_numbers(&mut drafts, inputs, &numbering);
    unique::settle_claims(&mut drafts, inputs);
    unique::assign_numbers(&mut drafts, inputs, &numbering, &unknown, &rules);
    mark_ignored(&mut drafts, inputs.decisions);
    warnings.extend(directory.warnings.iter().cloned());
    warnings.extend(pbx.warnings.iter().cloned());
    let departures = leavers::departures(&drafts, &matching.absent, inputs);
    let accounts = leavers::accounts(&drafts, &departures, inputs);
    Plan {
        people: drafts,
        departures,
        accounts,
        coverage: directory.coverage.clone(),
        everybody: directory.asked.is_none(),
        warnings,
        linked: inputs.linked,
        phones: inputs.phones,
    }
}

fn mark_ignored(plans: &mut [PersonPlan], decisions: &Decisions) {
    for conflict in plans.iter_mut().flat_map(|plan| &mut plan.conflicts) {
        let (directory, pbx) = &conflict.compared;
        conflict.ignored = decisions.ignores(&conflict.key, conflict.field, conflict.cause, directory, pbx);
    }
}

/// Digits of the longest internal number in sight: the PBX's setting, the pool, or an employee's number.
fn longest_number(inputs: Inputs<'_>) -> usize {
    let pool = inputs.policy.number_to.or(inputs.policy.number_from).map_or(0, |to| to.to_string().len());
    let employees = inputs.pbx.smallest_numbers.longest().unwrap_or_default();
    employees.max(pool).max(inputs.pbx.extension_length as usize)
}

/// Attributes that had values in many entries and now come in none: a lost read right, a mistyped mapping, a changed
/// schema. They are left alone for this run.
fn unknown_fields(inputs: Inputs<'_>, bases: &BTreeMap<&DirectoryKey, &Link>) -> (BTreeSet<Field>, Vec<String>) {
    let mut unknown = BTreeSet::new();
    let mut warnings = Vec::new();
    for (&field, attribute) in &inputs.policy.attributes {
        let answered =
            inputs.directory.entries.iter().filter(|entry| field != Field::Photo || entry.photo != Photo::NotAsked);
        let (mut had, mut has) = (0, 0);
        for entry in answered {
            had += usize::from(bases.get(&entry.key).is_some_and(|link| !link.directory[field].is_empty()));
            let present = match field {
                Field::Photo => entry.photo != Photo::Absent,
                _ => entry.attributes.has(field),
            };
            has += usize::from(present);
        }
        if had >= MANY && has == 0 {
            unknown.insert(field);
            warnings.push(format!(
                "{attribute} had a value for {had} people and now has none for anybody: it is left alone in this run. \
                 Check that the account may still read it and that the mapping names the right attribute"
            ));
        }
    }
    (unknown, warnings)
}

/// How many values a new employee gets: those of the directory, and a number in any case.
fn values_of_new(person: &Person) -> usize {
    let given = Field::ALL.into_iter().filter(|field| !person.values[*field].is_empty() || *field == Field::Number);
    given.count()
}

/// The person's plan before any field is looked at.
fn draft(person: Person, found: Match, inputs: Inputs<'_>) -> PersonPlan {
    let mut plan = PersonPlan {
        notes: person.notes.clone(),
        person,
        action: Action::Keep,
        link: None,
        user_id: None,
        sip_uniqid: String::new(),
        sip_disabled: false,
        rows: EmployeeRows::default(),
        instead_of: None,
        before: Values::default(),
        after: Values::default(),
        changes: Vec::new(),
        agreed: Fields::default(),
        conflicts: Vec::new(),
    };
    let employ = |plan: &mut PersonPlan, at: usize| {
        let employee = &inputs.pbx.employees[at];
        plan.user_id = Some(employee.user_id);
        plan.sip_uniqid = employee.sip_uniqid.clone();
        plan.sip_disabled = employee.sip_disabled;
        plan.rows = employee.rows;
        plan.before = employee.values.clone();
        plan.after = employee.values.clone();
    };
    match found {
        Match::Linked { link, employee } => {
            plan.link = Some(inputs.links[link].clone());
            employ(&mut plan, employee);
            if plan.person.entry.account != AccountState::Active {
                plan.action = Action::LeaveOut;
            }
        }
        Match::Adopted { employee, by } => {
            employ(&mut plan, employee);
            plan.action = Action::Adopt(By::Field(by));
        }
        Match::Appointed { employee, instead_of } => {
            employ(&mut plan, employee);
            plan.action = Action::Adopt(By::Administrator);
            plan.instead_of = instead_of.map(|at| inputs.links[at].clone());
        }
        Match::Excluded { link } => {
            plan.link = link.map(|at| inputs.links[at].clone());
            plan.user_id = plan.link.as_ref().map(|link| link.user_id);
            plan.action = Action::LeaveOut;
            plan.notes.push(Note { field: None, text: EXCLUDED.to_owned() });
        }
        Match::New => {
            plan.action = Action::Create;
            plan.changes = Vec::with_capacity(values_of_new(&plan.person));
        }
        Match::NotActive => plan.action = Action::LeaveOut,
        Match::EmployeeDeleted { link } => {
            let link = inputs.links[link].clone();
            plan.user_id = Some(link.user_id);
            let reason = format!(
                "the employee {} was deleted on the PBX; nobody is made again without being asked",
                link.shown[Field::Number]
            );
            plan.link = Some(link);
            wait(&mut plan, None, "employee-deleted", reason);
        }
        Match::IdentityMismatch { link } => {
            let link = inputs.links[link].clone();
            let reason = format!(
                "the PBX's user {} and the SIP account {} no longer belong together, as after a restored backup; \
                 nothing is written until somebody decides",
                link.user_id, link.sip_uniqid
            );
            plan.user_id = Some(link.user_id);
            plan.link = Some(link);
            wait(&mut plan, None, "identity-mismatch", reason);
        }
        Match::AlreadyLinked { employee, by } => {
            let employee = &inputs.pbx.employees[employee];
            plan.user_id = Some(employee.user_id);
            let reason = format!(
                "employee {} ({}) has the same {}, and is kept in step with another server; no second employee is made, \
                 and the two are not joined without being asked",
                employee.values[Field::Number],
                employee.values[Field::Name],
                by.name()
            );
            wait(&mut plan, Some(by), "already-linked", reason);
        }
        Match::ReHire { employee, by } => {
            let employee = &inputs.pbx.employees[employee];
            plan.user_id = Some(employee.user_id);
            let reason = format!(
                "employee {} ({}), whose own entry is gone or not in use, has the same {}: perhaps the same person came \
                 back. Link them, or make a new employee",
                employee.values[Field::Number],
                employee.values[Field::Name],
                by.map_or("employee number", Field::name)
            );
            wait(&mut plan, by, "re-hire", reason);
        }
        Match::Ambiguous { by, reason } => {
            wait(&mut plan, Some(by), "ambiguous", format!("{reason}; nobody is guessed"))
        }
    }
    plan
}

fn wait(plan: &mut PersonPlan, field: Option<Field>, cause: &'static str, reason: String) {
    plan.action = Action::Wait;
    plan.conflict(field, Side::Pbx, cause, reason);
}

/// Why somebody is left out whom an administrator excluded.
pub(crate) const EXCLUDED: &str = "left out by an administrator's decision";

#[cfg(test)]
mod tests;
