//! Which tasks of a batch can be done. Everything is decided before anything is written, so that people can swap numbers
//! and nobody is left with a number whose holder stayed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use secrecy::ExposeSecret;

use super::avatar::Staged;
use super::state::{Person, State};
use super::{CreateTask, DeleteTask, Task, UpdateTask, account, secret};
use crate::person::Field;
use crate::rules;

/// Why a task is not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) field: Option<Field>,
    pub(super) reason: String,
}

pub(super) fn refuse<T>(field: impl Into<Option<Field>>, reason: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal { field: field.into(), reason: reason.into() })
}

/// What a task gives up and wants of the things that exist once.
#[derive(Default)]
struct Wants {
    user_id: Option<i64>,
    vacates: Vec<String>,
    numbers: Vec<(Field, String)>,
    /// Lower case.
    email: Option<String>,
    gives_up_email: bool,
    /// Targets of the employee's own forwardings.
    forwards_to: Vec<String>,
}

type Verdict = Result<Wants, Refusal>;

/// One verdict per task, in their order.
pub(super) fn decide(state: &State, tasks: &[Task], staged: &[Staged], media: &Path) -> Vec<Result<(), Refusal>> {
    let mut seen = BTreeSet::new();
    let mut verdicts: Vec<Verdict> = tasks
        .iter()
        .zip(staged)
        .map(|(task, staged)| match task {
            Task::Create(task) => check_create(state, task, &mut seen),
            Task::Update(task) => check_update(state, task, staged, media, &mut seen),
            Task::Account(task) => account::check_switch(state, task, &mut seen).map(|()| Wants::default()),
            Task::Delete(task) => check_delete(state, task, &mut seen),
        })
        .collect();
    Claims::new(state, &verdicts).settle(&mut verdicts);
    verdicts.into_iter().map(|verdict| verdict.map(|_| ())).collect()
}

fn check_create(state: &State, task: &CreateTask, seen: &mut BTreeSet<String>) -> Result<Wants, Refusal> {
    let values = &task.values;
    check_field(Field::Name, &values[Field::Name])?;
    check_field(Field::Number, &values[Field::Number])?;
    secret::check(task.secret.expose_secret()).or_else(|reason| refuse(None, reason))?;
    check_uniqid(&task.sip_uniqid, &state.sip_uniqids, seen)?;
    let mut wants = Wants { numbers: vec![(Field::Number, values[Field::Number].to_string())], ..Wants::default() };
    if !values[Field::Mobile].is_empty() {
        check_field(Field::Mobile, &values[Field::Mobile])?;
        check_uniqid(&task.external_uniqid, &state.external_uniqids, seen)?;
        wants.numbers.push((Field::Mobile, values[Field::Mobile].to_string()));
    }
    if !values[Field::Email].is_empty() {
        check_field(Field::Email, &values[Field::Email])?;
        wants.email = Some(values[Field::Email].to_lowercase());
    }
    Ok(wants)
}

fn check_update(
    state: &State,
    task: &UpdateTask,
    staged: &Staged,
    media: &Path,
    seen: &mut BTreeSet<String>,
) -> Result<Wants, Refusal> {
    let person = employee(state, task.user_id, &task.sip_uniqid, seen)?;
    check_unchanged(person, task, media)?;
    if let (Staged::Failed(reason), [Field::Photo]) = (staged, task.fields.as_slice()) {
        return refuse(Field::Photo, reason.clone());
    }
    let mut wants = Wants { user_id: Some(person.user_id), ..Wants::default() };
    for &field in task.fields.iter().filter(|&&field| task.new[field] != task.old[field]) {
        let new = &task.new[field];
        if field == Field::Secret {
            secret::check(task.secret.expose_secret()).or_else(|reason| refuse(field, reason))?;
        }
        let may_be_empty = matches!(field, Field::Email | Field::Mobile | Field::Photo);
        if !(new.is_empty() && may_be_empty) {
            check_field(field, new)?;
        }
        match field {
            Field::Number => want_number(state, person, new, &mut wants)?,
            Field::Mobile => want_mobile(state, person, task, seen, &mut wants)?,
            Field::Email => {
                wants.gives_up_email = true;
                wants.email = Some(new.to_lowercase()).filter(|email| !email.is_empty());
            }
            Field::Name | Field::Photo | Field::Secret => {}
        }
    }
    Ok(wants)
}

/// The employee a task is about, who must still be the one the plan was made for.
pub(super) fn employee<'a>(
    state: &'a State,
    user_id: i64,
    sip_uniqid: &str,
    seen: &mut BTreeSet<String>,
) -> Result<&'a Person, Refusal> {
    let Some(person) = state.people.get(&user_id) else {
        return refuse(None, "the employee no longer exists on the PBX");
    };
    if person.sip_uniqid != sip_uniqid {
        return refuse(None, "the PBX has another employee under this id now, so nothing was changed");
    }
    if !seen.insert(format!("employee {user_id}")) {
        return refuse(None, "another change of the same employee is part of the same batch");
    }
    Ok(person)
}

fn check_delete(state: &State, task: &DeleteTask, seen: &mut BTreeSet<String>) -> Result<Wants, Refusal> {
    let person = account::check_delete(state, task, seen)?;
    let vacates = [&person.number, &person.mobile].into_iter().filter(|number| !number.is_empty()).cloned().collect();
    Ok(Wants { user_id: Some(person.user_id), vacates, gives_up_email: true, ..Wants::default() })
}

/// The plan was made for values that must still be there.
fn check_unchanged(person: &Person, task: &UpdateTask, media: &Path) -> Result<(), Refusal> {
    let current = person.values(media);
    for &field in &task.fields {
        if current[field] != task.old[field] {
            let now = match field {
                Field::Photo => "the photo has changed".to_owned(),
                Field::Secret => "the SIP secret has changed".to_owned(),
                _ => format!("it is now '{}'", current[field]),
            };
            return refuse(field, format!("the PBX has changed since the plan was made: {now}"));
        }
    }
    Ok(())
}

fn check_field(field: Field, value: &str) -> Result<(), Refusal> {
    match field {
        Field::Name => rules::check_name(value),
        Field::Email => rules::check_email(value),
        Field::Mobile => rules::check_mobile(value),
        Field::Number => rules::check_number(value),
        Field::Photo | Field::Secret => Ok(()),
    }
    .or_else(|reason| refuse(field, reason))
}

fn check_uniqid(uniqid: &str, taken: &BTreeSet<String>, seen: &mut BTreeSet<String>) -> Result<(), Refusal> {
    if uniqid.is_empty() || taken.contains(uniqid) || !seen.insert(uniqid.to_owned()) {
        return refuse(
            None,
            format!("the record identifier '{uniqid}' is empty or in use on the PBX; it must be chosen anew"),
        );
    }
    Ok(())
}

fn want_number(state: &State, person: &Person, new: &str, wants: &mut Wants) -> Result<(), Refusal> {
    check_stands_once(state, Field::Number, &person.number)?;
    wants.vacates.push(person.number.clone());
    wants.numbers.push((Field::Number, new.to_owned()));
    wants.forwards_to = person.forwarding.iter().flat_map(|row| row.targets.clone()).collect();
    Ok(())
}

fn want_mobile(
    state: &State,
    person: &Person,
    task: &UpdateTask,
    seen: &mut BTreeSet<String>,
    wants: &mut Wants,
) -> Result<(), Refusal> {
    let new = &task.new[Field::Mobile];
    if !person.mobile.is_empty() {
        check_stands_once(state, Field::Mobile, &person.mobile)?;
        wants.vacates.push(person.mobile.clone());
    }
    if new.is_empty() {
        return check_unused(state, &person.mobile);
    }
    wants.numbers.push((Field::Mobile, new.to_string()));
    if person.phones.is_empty() {
        check_uniqid(&task.external_uniqid, &state.external_uniqids, seen)?;
    }
    Ok(())
}

/// References are kept by number: when two rows share one, nobody can tell whose they are.
fn check_stands_once(state: &State, field: Field, number: &str) -> Result<(), Refusal> {
    match state.by_number.get(number) {
        Some(rows) if rows.len() > 1 => {
            refuse(field, format!("the number {number} stands twice on the PBX; correct it there first"))
        }
        _ => Ok(()),
    }
}

fn check_unused(state: &State, mobile: &str) -> Result<(), Refusal> {
    match state.uses.get(mobile) {
        Some(uses) => refuse(
            Field::Mobile,
            format!(
                "the mobile {mobile} cannot be removed while the PBX uses it: {}; change that first",
                uses.join(", ")
            ),
        ),
        None => Ok(()),
    }
}

/// Who, among the tasks still accepted, gives up what, and who has to be asked again when one of them is refused.
struct Claims<'a> {
    state: &'a State,
    /// Numbers that accepted tasks give up.
    vacated: BTreeSet<String>,
    /// Users whose e-mail address an accepted task gives up.
    emails_given_up: BTreeSet<i64>,
    /// Indices of the tasks that want a number.
    wanters: BTreeMap<String, Vec<usize>>,
    /// Indices of the tasks that want an e-mail address a user holds.
    heirs: BTreeMap<i64, Vec<usize>>,
}

impl Claims<'_> {
    fn new<'a>(state: &'a State, verdicts: &[Verdict]) -> Claims<'a> {
        let mut claims = Claims {
            state,
            vacated: BTreeSet::new(),
            emails_given_up: BTreeSet::new(),
            wanters: BTreeMap::new(),
            heirs: BTreeMap::new(),
        };
        for (index, wants) in
            verdicts.iter().enumerate().filter_map(|(index, found)| Some((index, found.as_ref().ok()?)))
        {
            claims.vacated.extend(wants.vacates.iter().cloned());
            claims.emails_given_up.extend(wants.user_id.filter(|_| wants.gives_up_email));
            for (_, number) in &wants.numbers {
                claims.wanters.entry(number.clone()).or_default().push(index);
            }
            for holder in wants.email.iter().flat_map(|email| state.holders_of(email)) {
                claims.heirs.entry(*holder).or_default().push(index);
            }
        }
        claims
    }

    /// Refuses what cannot be had. Each refusal can take the ground from other tasks, and only those are asked again.
    fn settle(&mut self, verdicts: &mut [Verdict]) {
        self.ask((0..verdicts.len()).collect(), verdicts);
        let (mut numbers, mut emails) = (BTreeMap::new(), BTreeMap::new());
        for index in 0..verdicts.len() {
            let Ok(wants) = &verdicts[index] else { continue };
            if let Some(refusal) = wanted_twice(index, wants, verdicts, &mut numbers, &mut emails) {
                let others = self.refuse(index, refusal, verdicts);
                self.ask(others, verdicts);
            }
        }
    }

    fn ask(&mut self, mut open: Vec<usize>, verdicts: &mut [Verdict]) {
        while let Some(index) = open.pop() {
            let Ok(wants) = &verdicts[index] else { continue };
            if let Some(refusal) = self.refusal(wants) {
                open.extend(self.refuse(index, refusal, verdicts));
            }
        }
    }

    /// Answers the tasks that counted on what the refused one would have given up.
    fn refuse(&mut self, index: usize, refusal: Refusal, verdicts: &mut [Verdict]) -> Vec<usize> {
        let Ok(wants) = std::mem::replace(&mut verdicts[index], Err(refusal)) else { return Vec::new() };
        let mut others = Vec::new();
        for number in &wants.vacates {
            self.vacated.remove(number);
            others.extend(self.wanters.get(number).into_iter().flatten());
        }
        if let Some(user) = wants.user_id.filter(|_| wants.gives_up_email) {
            self.emails_given_up.remove(&user);
            others.extend(self.heirs.get(&user).into_iter().flatten());
        }
        others
    }

    /// Why a task cannot have what it wants, given what the others give up.
    fn refusal(&self, wants: &Wants) -> Option<Refusal> {
        for (field, number) in &wants.numbers {
            if let Some(reason) = number_refusal(self.state, wants, number, &self.vacated) {
                return Some(Refusal { field: Some(*field), reason });
            }
        }
        let email = wants.email.as_ref()?;
        let holders = self.state.holders_of(email);
        let held = holders.iter().find(|user| Some(**user) != wants.user_id && !self.emails_given_up.contains(user))?;
        let reason = format!("the e-mail address {email} belongs to the PBX's user {held}");
        Some(Refusal { field: Some(Field::Email), reason })
    }
}

/// Of two who want the same the first gets it.
fn wanted_twice(
    index: usize,
    wants: &Wants,
    verdicts: &[Verdict],
    numbers: &mut BTreeMap<String, usize>,
    emails: &mut BTreeMap<String, usize>,
) -> Option<Refusal> {
    let wanted = wants.numbers.iter().map(|(field, number)| (*field, number, "number"));
    let wanted = wanted.chain(wants.email.iter().map(|email| (Field::Email, email, "e-mail address")));
    for (field, value, what) in wanted {
        let claims = if field == Field::Email { &mut *emails } else { &mut *numbers };
        // Somebody who was refused meanwhile wants nothing any more.
        match claims.get(value).copied().filter(|&first| verdicts[first].is_ok()) {
            Some(first) => {
                let reason =
                    format!("the {what} {value} is wanted twice in the same batch (by change {} as well)", first + 1);
                return Some(Refusal { field: Some(field), reason });
            }
            None => claims.insert(value.clone(), index),
        };
    }
    None
}

fn number_refusal(state: &State, wants: &Wants, number: &str, vacated: &BTreeSet<String>) -> Option<String> {
    if vacated.contains(number) {
        return None;
    }
    if let Some(holder) = state.by_number.get(number).and_then(|rows| rows.first()) {
        return Some(format!("the number {number} is taken on the PBX by {} '{}'", holder.kind, holder.label));
    }
    if let Some(stray) = state.references.get(number).into_iter().flatten().find(|row| row.is_owner()) {
        return Some(format!(
            "the number {number} is not free on the PBX: a leftover record {} of {} still holds it",
            stray.row,
            stray.table.name()
        ));
    }
    if wants.forwards_to.iter().any(|target| target == number) {
        return Some(format!("the employee forwards calls to {number}, which cannot become their own number"));
    }
    None
}
