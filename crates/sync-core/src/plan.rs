//! The plan: for every person what changes on which side and why, and what is left for a human. A preview is a plan not
//! applied; a report is a plan with outcomes.

use std::collections::{BTreeMap, BTreeSet};

use crate::claims::{Claim, Verdict, settle};
use crate::directory::{Coverage, DirectorySnapshot};
use crate::link::{Link, LinkState};
use crate::matching::{Match, match_people};
use crate::merge::{Merged, Sides, first, merge};
use crate::normalise::{NumberWish, Person, Rules, respell_number};
use crate::numbering::{Allocator, Numbering, RoutePattern};
use crate::pbx::{EmailHolder, Holder, PbxSnapshot};
use crate::person::{AccountState, DirectoryKey, Field, Note, Photo, Values};
use crate::phone::PhoneRules;

/// Fewest entries that must have had a value before "now none has" makes the attribute unknown.
const MANY: usize = 5;

/// A server's settings as far as a plan depends on them.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// The server.
    pub server_id: i64,
    /// Fingerprint of the settings that the links' bases depend on, as the journal keeps it with the server.
    pub fingerprint: String,
    /// Region (ISO 3166-1 alpha-2) of telephone numbers without a country code; empty follows the PBX's language.
    pub region: String,
    /// Fields with a mapped attribute, and the attribute's name.
    pub attributes: BTreeMap<Field, String>,
    /// Values may be written to the directory.
    pub write_back: bool,
    /// Point the forwardings at a new mobile, as MikoPBX's web form does.
    pub forward_to_mobile: bool,
    /// First number of the pool; `None` takes the default.
    pub number_from: Option<u64>,
    /// Last number of the pool; `None` takes the default.
    pub number_to: Option<u64>,
    /// Whoever asks for a number that is taken gets one from the pool instead of waiting.
    pub pool_when_taken: bool,
}

impl Policy {
    /// The region of telephone numbers without a country code on a PBX with this `PBXLanguage`.
    pub fn region_on<'a>(&'a self, language: &str) -> &'a str {
        match self.region.as_str() {
            "" => PhoneRules::region_of_language(language),
            region => region,
        }
    }

    /// How telephone numbers are read on a PBX with this `PBXLanguage`.
    pub fn phones(&self, language: &str) -> PhoneRules {
        PhoneRules::new(self.region_on(language))
    }
}

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
    pub links: &'a [Link],
    /// Employees linked to other servers.
    pub linked_elsewhere: &'a BTreeSet<i64>,
    /// Numbers that were given to somebody before.
    pub numbers_used: &'a BTreeSet<String>,
    /// How telephone numbers are read.
    pub phones: PhoneRules,
}

/// What is to be done, for everybody.
#[derive(Clone, Debug)]
pub struct Plan {
    /// One per directory entry, in the order of their keys.
    pub people: Vec<PersonPlan>,
    /// Linked people who have left: nothing is changed for them, they are listed.
    pub departures: Vec<Departure>,
    /// How much of the directory the plan rests on.
    pub coverage: Coverage,
    /// Sentences about the whole run.
    pub warnings: Vec<String>,
    /// How many people were linked before.
    pub linked: usize,
}

/// What is to be done for one person.
#[derive(Clone, Debug)]
pub struct PersonPlan {
    /// The person as the directory has them.
    pub person: Person,
    /// What it comes to.
    pub action: Action,
    /// The link so far.
    pub link: Option<Link>,
    /// `m_Users.id` of the employee, if there is one.
    pub user_id: Option<i64>,
    /// `m_Sip.uniqid` of the employee, if there is one.
    pub sip_uniqid: String,
    /// The PBX's values now.
    pub before: Values,
    /// The PBX's values afterwards.
    pub after: Values,
    /// Values that change, on either side.
    pub changes: Vec<Change>,
    /// Fields in which both sides agree already, so that the base follows them.
    pub agreed: Vec<Field>,
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
    /// An existing employee becomes linked, found by the field.
    Adopt(Field),
    /// A linked employee, with or without changes.
    Keep,
    /// Nothing can be done before somebody decides; the conflicts say what.
    Wait,
    /// Nothing is to be done; the account is not active.
    LeaveOut,
    /// A new employee whose creation the limits hold.
    Held,
}

/// One value that changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Where.
    pub side: Side,
    /// What.
    pub field: Field,
    /// The value now; on the directory's side as the directory spells it.
    pub old: String,
    /// The value afterwards.
    pub new: String,
    /// Why.
    pub why: Why,
}

/// A side of the synchronisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// The PBX.
    Pbx,
    /// The directory.
    Directory,
}

impl Side {
    /// The side's name in JSON and in the module's database.
    pub fn name(self) -> &'static str {
        match self {
            Side::Pbx => "pbx",
            Side::Directory => "directory",
        }
    }
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
    /// The directory's value.
    pub directory_value: String,
    /// The PBX's value.
    pub pbx_value: String,
}

/// A linked person who has left the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Departure {
    /// The link.
    pub link: Link,
    /// Where the person stands now.
    pub state: LinkState,
    /// The limits hold it: too many at once.
    pub held: bool,
}

impl Departure {
    /// A plain sentence.
    pub fn reason(&self) -> &'static str {
        match self.state {
            LinkState::Disabled => "the account is disabled in the directory",
            LinkState::Expired => "the account has expired in the directory",
            LinkState::Absent => "the directory no longer has this person, or the filter no longer finds them",
            LinkState::Active => "active",
        }
    }
}

impl PersonPlan {
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
        let value = |values: &Values| field.map(|field| values[field].clone()).unwrap_or_default();
        Conflict {
            key: self.person.key.clone(),
            user_id: self.user_id,
            person: self.name(),
            field,
            side,
            cause,
            reason,
            directory_value: value(&self.person.values),
            pbx_value: value(&self.before),
        }
    }

    /// The person's name, from whichever side has one, else the DN.
    pub fn name(&self) -> String {
        let names = [&self.person.values[Field::Name], &self.before[Field::Name], &self.person.dn];
        names.into_iter().find(|name| !name.is_empty()).cloned().unwrap_or_default()
    }

    fn change_pbx(&mut self, field: Field, new: String, why: Why) {
        let old = self.before[field].clone();
        self.after[field] = new.clone();
        self.changes.push(Change { side: Side::Pbx, field, old, new, why });
    }

    fn change_directory(&mut self, field: Field, new: String, why: Why) {
        let old = self.person.ours.get(&field).cloned().unwrap_or_default();
        self.changes.push(Change { side: Side::Directory, field, old, new, why });
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
    let bases: BTreeMap<&DirectoryKey, &Link> = links.iter().map(|link| (&link.key, link)).collect();
    let people: Vec<Person> = directory
        .entries
        .iter()
        .map(|entry| Person::from_entry(entry, bases.get(&entry.key).map(|link| &link.directory), &rules))
        .collect();
    let (unknown, mut warnings) = unknown_fields(inputs, &bases);
    let matching = {
        let complete = directory.coverage == Coverage::Full;
        match_people(&people, links, &pbx.employees, inputs.linked_elsewhere, complete, &inputs.phones)
    };
    let mut drafts: Vec<PersonPlan> =
        people.into_iter().zip(matching.people).map(|(person, found)| draft(person, found, inputs)).collect();
    for plan in &mut drafts {
        decide_fields(plan, inputs, &unknown, &rules);
    }
    let numbering = numbering(inputs);
    refuse_forbidden_numbers(&mut drafts, &numbering);
    settle_claims(&mut drafts, inputs);
    assign_numbers(&mut drafts, inputs, &numbering, &unknown, &rules);
    warnings.extend(directory.warnings.iter().cloned());
    warnings.extend(pbx.warnings.iter().cloned());
    let departures = departures(&drafts, &matching.absent, inputs);
    Plan { people: drafts, departures, coverage: directory.coverage.clone(), warnings, linked: links.len() }
}

/// Digits of the longest internal number in sight: the PBX's setting, the pool, or an employee's number.
fn longest_number(inputs: Inputs<'_>) -> usize {
    let employees = inputs.pbx.employees.iter().map(|employee| employee.values[Field::Number].len());
    let pool = inputs.policy.number_to.or(inputs.policy.number_from).map_or(0, |to| to.to_string().len());
    employees.chain([pool, inputs.pbx.extension_length as usize]).max().unwrap_or(3)
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
                _ => entry.attributes.get(&field).is_some_and(|values| !values.is_empty()),
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

/// The person's plan before any field is looked at.
fn draft(person: Person, found: Match, inputs: Inputs<'_>) -> PersonPlan {
    let mut plan = PersonPlan {
        notes: person.notes.clone(),
        person,
        action: Action::Keep,
        link: None,
        user_id: None,
        sip_uniqid: String::new(),
        before: Values::default(),
        after: Values::default(),
        changes: Vec::new(),
        agreed: Vec::new(),
        conflicts: Vec::new(),
    };
    let employ = |plan: &mut PersonPlan, at: usize| {
        let employee = &inputs.pbx.employees[at];
        plan.user_id = Some(employee.user_id);
        plan.sip_uniqid = employee.sip_uniqid.clone();
        plan.before = employee.values.clone();
        plan.after = employee.values.clone();
    };
    match found {
        Match::Linked { link, employee } => {
            plan.link = Some(inputs.links[link].clone());
            employ(&mut plan, employee);
            if plan.person.account != AccountState::Active {
                plan.action = Action::LeaveOut;
            }
        }
        Match::Adopted { employee, by } => {
            employ(&mut plan, employee);
            plan.action = Action::Adopt(by);
        }
        Match::New => plan.action = Action::Create,
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
                "employee {} ({}) has the same {}, and is linked to another entry that is not active here, or to another \
                 server; no second employee is made",
                employee.values[Field::Number],
                employee.values[Field::Name],
                by.name()
            );
            wait(&mut plan, Some(by), "already-linked", reason);
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

/// Decides every field on its own, without regard to what other people want.
fn decide_fields(plan: &mut PersonPlan, inputs: Inputs<'_>, unknown: &BTreeSet<Field>, rules: &Rules<'_>) {
    match plan.action {
        Action::Create => decide_new(plan, inputs),
        Action::Adopt(_) | Action::Keep => {
            for &field in inputs.policy.attributes.keys() {
                if !unknown.contains(&field) {
                    decide_field(plan, field, inputs, rules);
                }
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

fn decide_new(plan: &mut PersonPlan, inputs: Inputs<'_>) {
    if plan.person.values[Field::Name].is_empty() {
        let attribute = inputs.policy.attributes.get(&Field::Name).map_or("the name attribute", String::as_str);
        return wait(plan, Some(Field::Name), "no-name", format!("{attribute} is empty, and the PBX needs a name"));
    }
    for field in Field::ALL {
        let value = plan.person.values[field].clone();
        if !value.is_empty() {
            plan.change_pbx(field, value, Why::NewPerson);
        }
    }
}

fn decide_field(plan: &mut PersonPlan, field: Field, inputs: Inputs<'_>, rules: &Rules<'_>) {
    if plan.person.unusable.contains(&field) {
        return;
    }
    let now = Sides { directory: &plan.person.values[field], pbx: &plan.before[field] };
    let phones = &inputs.phones;
    let merged = match &plan.link {
        Some(link) => merge(field, now, Sides { directory: &link.directory[field], pbx: &link.pbx[field] }, phones),
        None => first(field, now, phones),
    };
    match merged {
        Merged::Unchanged => {}
        Merged::Agreed => plan.agreed.push(field),
        Merged::FromDirectory if plan.person.values[field].is_empty() => clear_on_pbx(plan, field, inputs),
        Merged::FromDirectory => {
            let why = why_from_directory(plan, field);
            let value = plan.person.values[field].clone();
            plan.change_pbx(field, value, why);
        }
        Merged::FromPbx => to_directory(plan, field, inputs, rules),
        // The PBX never loses a number.
        Merged::Conflict if field == Field::Number && plan.person.values[field].is_empty() => {
            to_directory(plan, field, inputs, rules);
        }
        Merged::Conflict => {
            let reason = "changed on both sides since they last agreed; neither value is overwritten".to_owned();
            plan.conflict(Some(field), Side::Pbx, "both-changed", reason);
        }
    }
}

fn why_from_directory(plan: &PersonPlan, field: Field) -> Why {
    match &plan.link {
        Some(_) => Why::DirectoryChanged,
        None if plan.before[field].is_empty() => Why::FillsEmpty,
        None => Why::DirectoryGoesFirst,
    }
}

/// A value was cleared in the directory.
fn clear_on_pbx(plan: &mut PersonPlan, field: Field, inputs: Inputs<'_>) {
    match field {
        Field::Name => {
            let reason = "the name was cleared in the directory; the PBX keeps the one it has".to_owned();
            plan.conflict(Some(field), Side::Pbx, "name-cleared", reason);
        }
        // The PBX never loses a number: a cleared one is written back.
        Field::Number if inputs.policy.write_back => {
            let number = plan.before[field].clone();
            plan.change_directory(field, number, Why::NumberAssigned);
        }
        Field::Number => plan.notes.push(Note::about(field, "cleared in the directory; the PBX keeps its number")),
        Field::Mobile => match inputs.pbx.uses.get(&plan.before[field]) {
            Some(uses) if !uses.is_empty() => {
                let reason = format!("cleared in the directory, but still used by {}", uses.join(", "));
                plan.conflict(Some(field), Side::Pbx, "mobile-in-use", reason);
            }
            _ => plan.change_pbx(field, String::new(), Why::DirectoryChanged),
        },
        Field::Email | Field::Photo => plan.change_pbx(field, String::new(), Why::DirectoryChanged),
    }
}

/// The PBX's value goes to the directory, where the server's settings and the field allow it.
fn to_directory(plan: &mut PersonPlan, field: Field, inputs: Inputs<'_>, rules: &Rules<'_>) {
    let note = match field {
        Field::Name => Some("changed on the PBX; names are never written to the directory"),
        Field::Photo => Some("the PBX's photo is not written to the directory by this version"),
        _ if !inputs.policy.write_back => {
            Some("changed on the PBX; writing to the directory is switched off for this server")
        }
        _ => None,
    };
    if let Some(text) = note {
        return plan.notes.push(Note::about(field, text));
    }
    let value = plan.before[field].clone();
    let value = match (field, plan.person.ours.get(&field)) {
        (Field::Number, Some(ours)) => respell_number(ours, &value, rules),
        // Other programs read the directory too: a mobile goes there in the form that is understood everywhere.
        (Field::Mobile, _) => inputs.phones.e164(&value).map_or(value, |digits| format!("+{digits}")),
        _ => value,
    };
    let why = match (field, plan.person.values[field].is_empty()) {
        (Field::Number, _) => Why::NumberAssigned,
        (_, true) if plan.link.is_none() => Why::FillsEmpty,
        _ => Why::PbxChanged,
    };
    plan.change_directory(field, value, why);
}

/// Settles what must be unique: internal numbers and mobiles, which share one namespace in the PBX, and e-mails.
fn settle_claims(plans: &mut [PersonPlan], inputs: Inputs<'_>) {
    let phones = &inputs.phones;
    let numbers: BTreeMap<String, String> = inputs
        .pbx
        .numbers
        .iter()
        .map(|(number, holder)| {
            let shown = describe(holder);
            (if holder.kind == "EXTERNAL" { phones.comparable(number) } else { number.clone() }, shown)
        })
        .collect();
    let as_number =
        |field: Field, value: &str| if field == Field::Mobile { phones.comparable(value) } else { value.to_owned() };
    settle_fields(plans, &[Field::Number, Field::Mobile], &numbers, &as_number, inputs);
    let emails: BTreeMap<String, String> = inputs
        .pbx
        .emails
        .iter()
        .filter_map(|(email, holders)| Some((email.clone(), describe_user(holders.first()?, inputs))))
        .collect();
    settle_fields(plans, &[Field::Email], &emails, &|_, value: &str| value.to_lowercase(), inputs);
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
    let text = |field: Field, value: &str| (!value.is_empty()).then(|| key(field, value));
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
                let holder = held.get(&value).map_or("somebody else", String::as_str);
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
        if inputs.policy.pool_when_taken {
            plan.notes.push(Note::about(field, format!("{reason}; a number from the pool is given instead")));
            return;
        }
        plan.changes.clear();
        plan.after = Values::default();
        return wait(plan, Some(field), cause, format!("{reason}; free it or change it in the directory"));
    }
    plan.conflict(Some(field), Side::Pbx, cause, reason.to_owned());
}

fn numbering(inputs: Inputs<'_>) -> Numbering {
    let routes = inputs.pbx.outgoing.iter();
    Numbering {
        from: inputs.policy.number_from,
        to: inputs.policy.number_to,
        length: inputs.pbx.extension_length,
        routes: routes.map(|route| RoutePattern::new(&route.begins_with, route.rest, &route.name)).collect(),
    }
}

/// Nobody gets an emergency number or one that an outgoing route claims.
fn refuse_forbidden_numbers(plans: &mut [PersonPlan], numbering: &Numbering) {
    for plan in plans {
        let wanted = plan.changes.iter().find(|change| (change.side, change.field) == (Side::Pbx, Field::Number));
        let Some(reason) = wanted.and_then(|change| numbering.forbidden(&change.new)) else { continue };
        if plan.action == Action::Create {
            wait_without_changes(plan, "number-forbidden", reason);
        } else {
            plan.drop_change(Side::Pbx, Field::Number);
            plan.conflict(Some(Field::Number), Side::Pbx, "number-forbidden", reason);
        }
    }
}

/// Gives everybody new who has no number a free one, to be written back.
fn assign_numbers(
    plans: &mut [PersonPlan],
    inputs: Inputs<'_>,
    numbering: &Numbering,
    unknown: &BTreeSet<Field>,
    rules: &Rules<'_>,
) {
    let mut taken: BTreeSet<String> = inputs.pbx.numbers.keys().cloned().collect();
    taken.extend(plans.iter().map(|plan| plan.person.values[Field::Number].clone()));
    taken.extend(plans.iter().map(|plan| plan.after[Field::Mobile].clone()));
    let pool = numbering.pool(inputs.pbx.employees.iter().map(|employee| employee.values[Field::Number].as_str()));
    let mut allocator = Allocator::new(numbering, pool, taken, inputs.numbers_used);
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
    let mapped = policy.attributes.contains_key(&Field::Number);
    let ours_to_write = matches!(plan.person.wish, NumberWish::None | NumberWish::Internal(_));
    if policy.write_back && mapped && ours_to_write {
        let value =
            plan.person.ours.get(&Field::Number).map_or(number.clone(), |ours| respell_number(ours, &number, rules));
        plan.change_directory(Field::Number, value, Why::NumberAssigned);
    }
}

/// Linked people who are disabled, expired, or, where the whole directory was read, not there.
fn departures(plans: &[PersonPlan], absent: &[usize], inputs: Inputs<'_>) -> Vec<Departure> {
    let inactive = plans.iter().filter(|plan| plan.person.account != AccountState::Active);
    let mut departures: Vec<Departure> = inactive
        .filter_map(|plan| Some(Departure { link: plan.link.clone()?, state: plan.person.account.into(), held: false }))
        .collect();
    // An answer of nobody at all is never taken for everybody having left.
    if inputs.directory.coverage == Coverage::Full && !inputs.directory.entries.is_empty() {
        let gone = absent.iter().map(|&at| Departure {
            link: inputs.links[at].clone(),
            state: LinkState::Absent,
            held: false,
        });
        departures.extend(gone);
    }
    departures
}

#[cfg(test)]
mod tests;
