//! People who left, and what becomes of their accounts on the PBX.

use std::collections::{BTreeMap, BTreeSet};

use super::{Action, Inputs, Link, LinkState, PersonPlan};
use crate::person::{AccountState, Employee, Field};

/// Milliseconds of a day.
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// A linked person who has left the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Departure {
    /// The link.
    pub link: Link,
    /// Where the person stands now.
    pub state: LinkState,
    /// The DN of an entry that is outside the server's base or filter; else empty.
    pub elsewhere: String,
    /// The limits hold it: too many at once.
    pub held: bool,
}

impl Departure {
    /// A plain sentence.
    pub fn reason(&self) -> String {
        match self.elsewhere.as_str() {
            "" => self.state.reason().to_owned(),
            dn => format!("{} ({dn})", self.state.reason()),
        }
    }

    /// The link with what this run has learnt, at `now`.
    pub fn link_after(&self, now: i64) -> Link {
        let mut link = Link { state: self.state, not_compared: true, ..self.link.clone() };
        if self.link.state == LinkState::Active {
            link.since = now;
            link.stopped = false;
        }
        link.count_day_gone(now.div_euclid(DAY_MS));
        link
    }
}

/// What is done with an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccountStep {
    /// The SIP account is switched off.
    Stop,
    /// The SIP account is switched on again.
    Start,
    /// The employee is deleted.
    Delete,
}

impl AccountStep {
    /// The step's name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            AccountStep::Stop => "stop",
            AccountStep::Start => "start",
            AccountStep::Delete => "delete",
        }
    }

    /// The account before and afterwards, in words for the record of a run.
    pub fn words(self) -> (&'static str, &'static str) {
        match self {
            AccountStep::Stop => ("in use", "switched off"),
            AccountStep::Start => ("switched off", "in use"),
            AccountStep::Delete => ("in use", "deleted"),
        }
    }
}

/// An account that changes because its person left or came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountPlan {
    /// The link, with what this run has learnt.
    pub link: Link,
    /// The employee.
    pub employee: Employee,
    /// What is done.
    pub step: AccountStep,
    /// Why: a plain sentence.
    pub why: String,
    /// The link of another entry whose place this one takes.
    pub instead_of: Option<i64>,
}

/// Linked people who are disabled, expired, or, where the whole directory was read, not there.
pub(super) fn departures(plans: &[PersonPlan], absent: &[usize], inputs: Inputs<'_>) -> Vec<Departure> {
    let inactive = plans.iter().filter(|plan| plan.person.entry.account != AccountState::Active);
    let mut departures: Vec<Departure> = inactive
        .filter_map(|plan| Some((Link::clone(plan.link.as_ref()?), plan.person.entry.account.into())))
        .map(|(link, state)| Departure { link, state, elsewhere: String::new(), held: false })
        .collect();
    let replaced: BTreeSet<i64> =
        plans.iter().filter_map(|plan| plan.instead_of.as_ref()).map(|link| link.id).collect();
    if inputs.directory.tells_of_absence() {
        let links = absent.iter().map(|&at| &inputs.links[at]).filter(|link| !replaced.contains(&link.id));
        let links = links.filter(|link| inputs.directory.was_asked(&link.key));
        departures.extend(links.map(|link| gone(link, inputs)));
    }
    departures
}

fn gone(link: &Link, inputs: Inputs<'_>) -> Departure {
    let found = inputs.directory.elsewhere.get(&link.key);
    let state = match found.map(|found| found.account) {
        None => LinkState::Absent,
        Some(AccountState::Active) => LinkState::Moved,
        Some(other) => other.into(),
    };
    let elsewhere = found.map(|found| found.dn.clone()).unwrap_or_default();
    Departure { link: link.clone(), state, elsewhere, held: false }
}

/// The accounts that change: of those who left long enough ago, as the server's settings say, and of those who came back.
pub(super) fn accounts(plans: &[PersonPlan], departures: &[Departure], inputs: Inputs<'_>) -> Vec<AccountPlan> {
    let employees: BTreeMap<i64, &Employee> =
        inputs.pbx.employees.iter().map(|employee| (employee.user_id, employee)).collect();
    let of =
        |link: &Link| employees.get(&link.user_id).copied().filter(|employee| employee.sip_uniqid == link.sip_uniqid);
    let mut accounts = Vec::new();
    for departure in departures {
        let link = departure.link_after(inputs.now);
        let Some(employee) = of(&link) else { continue };
        if let Some(step) = due(&link, employee, inputs) {
            let why = match link.days_gone {
                0 => departure.reason(),
                days => format!("{}, seen on {days} days since", departure.reason()),
            };
            accounts.push(AccountPlan { link, employee: employee.clone(), step, why, instead_of: None });
        }
    }
    for (link, instead_of) in plans.iter().filter_map(returned).filter(|(link, _)| link.stopped) {
        let Some(employee) = of(&link).filter(|employee| employee.sip_disabled) else { continue };
        let (employee, why) = (employee.clone(), "the person is in use in the directory again".to_owned());
        accounts.push(AccountPlan { link, employee, step: AccountStep::Start, why, instead_of });
    }
    accounts
}

/// The link of somebody in use, and the link of another entry that it takes the place of.
fn returned(plan: &PersonPlan) -> Option<(Link, Option<i64>)> {
    match (plan.action, &plan.link, &plan.instead_of) {
        (Action::Keep, Some(link), _) => Some((Link::clone(link), None)),
        (Action::Adopt(_), _, Some(other)) => {
            let (key, dn) = (plan.person.entry.key.clone(), plan.person.entry.dn.clone());
            let bare = Link { key, dn, server_id: other.server_id, since: other.since, ..Link::default() };
            let (user_id, sip_uniqid) = (other.user_id, plan.sip_uniqid.clone());
            let (stopped, created_by_sync) = (other.stopped, other.created_by_sync);
            Some((Link { user_id, sip_uniqid, stopped, created_by_sync, ..bare }, Some(other.id)))
        }
        _ => None,
    }
}

fn due(link: &Link, employee: &Employee, inputs: Inputs<'_>) -> Option<AccountStep> {
    let policy = inputs.policy.leavers;
    let passed = |days: Option<u32>| days.is_some_and(|days| link.days_gone >= days);
    // Somebody whom another directory keeps in step has not left the company.
    if inputs.active_elsewhere.contains(&link.user_id) {
        return None;
    }
    if passed(policy.delete_after) && link.created_by_sync && users_of(employee, inputs).is_empty() {
        return Some(AccountStep::Delete);
    }
    (passed(policy.stop_after) && !link.stopped && !employee.sip_disabled).then_some(AccountStep::Stop)
}

/// What still points at an employee's numbers.
fn users_of<'a>(employee: &Employee, inputs: Inputs<'a>) -> Vec<&'a String> {
    let numbers = [Field::Number, Field::Mobile].map(|field| &employee.values[field]);
    numbers.into_iter().filter_map(|number| inputs.pbx.uses.get(number.as_str())).flatten().collect()
}
