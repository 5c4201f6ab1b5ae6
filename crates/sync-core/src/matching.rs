//! Which directory entry is which employee: linked by identity, adopted by what they have in common, new, or ambiguous.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use crate::decision::{Choice, Decisions};
use crate::link::{Link, LinkState};
use crate::normalise::{Person, same};
use crate::person::{AccountState, DirectoryKey, Employee, Field};
use crate::phone::PhoneRules;

/// What a person was found to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Match {
    /// Linked: index into the links, and the employee's index.
    Linked {
        /// Index of the link.
        link: usize,
        /// Index of the employee.
        employee: usize,
    },
    /// Linked, but the PBX no longer has that employee.
    EmployeeDeleted {
        /// Index of the link.
        link: usize,
    },
    /// Linked, but `m_Users.id` and `m_Sip.uniqid` point at different employees, or at one half of one.
    IdentityMismatch {
        /// Index of the link.
        link: usize,
    },
    /// Not linked yet; the employee was found by `by`.
    Adopted {
        /// Index of the employee.
        employee: usize,
        /// What both have in common.
        by: Field,
    },
    /// An administrator said that this employee is the person.
    Appointed {
        /// Index of the employee.
        employee: usize,
        /// Index of the link of another entry of this server that the employee had so far.
        instead_of: Option<usize>,
    },
    /// Nobody on the PBX is this person, or an administrator said so.
    New,
    /// An administrator left the person out.
    Excluded {
        /// Index of the link, where there is one.
        link: Option<usize>,
    },
    /// A person without a link whose account is disabled or expired: not created, and no leaver either.
    NotActive,
    /// Not linked, but an employee with this in common is linked to an entry of another server.
    AlreadyLinked {
        /// Index of the employee.
        employee: usize,
        /// What both have in common.
        by: Field,
    },
    /// Not linked, but an employee with this in common is linked to an entry of this server that is gone or not in use:
    /// perhaps the same person came back.
    ReHire {
        /// Index of the employee.
        employee: usize,
        /// What both have in common; `None` is the company's own number of the person.
        by: Option<Field>,
    },
    /// More than one pair is possible, or what both have in common is contradicted by the rest.
    Ambiguous {
        /// What they have in common.
        by: Field,
        /// Why it is not decided: a sentence.
        reason: String,
    },
}

/// What everybody was found to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Matching {
    /// One per person, in their order.
    pub people: Vec<Match>,
    /// Indices of links without an entry.
    pub absent: Vec<usize>,
}

/// By what an unlinked person is recognised, the strongest first.
const ADOPTION: [Field; 4] = [Field::Email, Field::Number, Field::Mobile, Field::Name];

/// What people are matched against.
#[derive(Clone, Copy)]
pub struct Candidates<'a> {
    /// The server's links.
    pub links: &'a [Arc<Link>],
    /// Everybody on the PBX.
    pub employees: &'a [Employee],
    /// Employees that another server keeps in step.
    pub linked_elsewhere: &'a BTreeSet<i64>,
    /// What administrators decided.
    pub decisions: &'a Decisions,
    /// Nobody can be missing among the people.
    pub complete: bool,
    /// How telephone numbers are read.
    pub phones: &'a PhoneRules,
    /// The people who were asked for, where not everybody was: others are what their links say.
    pub asked: Option<&'a BTreeSet<DirectoryKey>>,
}

impl Candidates<'_> {
    fn is_active_and_not_asked(&self, link: &Link) -> bool {
        link.state == LinkState::Active && self.asked.is_some_and(|asked| !asked.contains(&link.key))
    }
}

/// Matches people to employees.
pub fn match_people(people: &[Person], candidates: Candidates<'_>) -> Matching {
    let Candidates { links, employees, linked_elsewhere, complete, phones, .. } = candidates;
    let by_key: HashMap<&str, usize> = links.iter().enumerate().map(|(at, link)| (link.key.as_str(), at)).collect();
    let identities = Identities::new(employees);
    let mut active = active_employees(people, links, &by_key);
    active.extend(links.iter().filter(|link| candidates.is_active_and_not_asked(link)).map(|link| link.user_id));
    let mut matches: Vec<Option<Match>> = people
        .iter()
        .map(|person| match by_key.get(person.entry.key.as_str()) {
            Some(&at) => Some(identities.check(&links[at], at)),
            None if person.entry.account != AccountState::Active => Some(Match::NotActive),
            None => None,
        })
        .collect();
    let mut linked: HashSet<i64> =
        links.iter().filter(|link| identities.holds(link)).map(|link| link.user_id).collect();
    decide(people, candidates, &identities, &active, &mut matches);
    for found in matches.iter().flatten() {
        if let Match::Appointed { employee, .. } = found {
            linked.insert(employees[*employee].user_id);
            active.insert(employees[*employee].user_id);
        }
    }
    find_returned(people, candidates, &identities, &active, &mut matches);
    let is_free = |at: &usize| {
        let user_id = employees[*at].user_id;
        !linked.contains(&user_id) && !linked_elsewhere.contains(&user_id)
    };
    let free = (0..employees.len()).filter(is_free).collect();
    let mut adoption = Adoption { people, employees, phones, complete, free, disputed: BTreeSet::new() };
    for by in ADOPTION {
        adoption.by(by, &mut matches);
    }
    let bound = (0..employees.len()).filter(|at| !is_free(at) && !active.contains(&employees[*at].user_id)).collect();
    let ours: HashSet<i64> = links.iter().map(|link| link.user_id).collect();
    for by in ADOPTION {
        find_already_linked(by, people, employees, &bound, &ours, phones, &mut matches);
    }
    let found: HashSet<&str> = people.iter().map(|person| person.entry.key.as_str()).collect();
    Matching {
        people: matches.into_iter().map(|found| found.unwrap_or(Match::New)).collect(),
        absent: (0..links.len()).filter(|&at| !found.contains(links[at].key.as_str())).collect(),
    }
}

/// What administrators decided goes before everything that is only alike. A decision that cannot be carried out any more
/// changes nothing: the conflict shows again.
fn decide(
    people: &[Person],
    candidates: Candidates<'_>,
    identities: &Identities<'_>,
    active: &HashSet<i64>,
    matches: &mut [Option<Match>],
) {
    let mut appointed = BTreeSet::new();
    for (person, found) in people.iter().zip(matches) {
        let Some(decision) = candidates.decisions.about_person(&person.entry.key) else { continue };
        let link = match found {
            Some(Match::NotActive) => continue,
            Some(Match::Linked { link, .. } | Match::EmployeeDeleted { link } | Match::IdentityMismatch { link }) => {
                Some(*link)
            }
            _ => None,
        };
        let in_order = matches!(found, Some(Match::Linked { .. }));
        match decision.choice {
            Choice::Exclude => *found = Some(Match::Excluded { link }),
            Choice::Create if !in_order => *found = Some(Match::New),
            Choice::Link if !in_order => {
                let Some(&employee) = decision.user_id.and_then(|user| identities.by_user.get(&user)) else { continue };
                let user_id = candidates.employees[employee].user_id;
                let taken = active.contains(&user_id) || candidates.employees[employee].sip_uniqid.is_empty();
                if !taken && appointed.insert(user_id) {
                    let other = |one: &Arc<Link>| one.user_id == user_id && one.key != person.entry.key;
                    let instead_of = candidates.links.iter().position(other);
                    *found = Some(Match::Appointed { employee, instead_of });
                }
            }
            _ => {}
        }
    }
}

/// A person without a link whom the company knows by the number of somebody who left.
fn find_returned(
    people: &[Person],
    candidates: Candidates<'_>,
    identities: &Identities<'_>,
    active: &HashSet<i64>,
    matches: &mut [Option<Match>],
) {
    let left = candidates.links.iter().filter(|link| !link.employee_number.is_empty() && identities.holds(link));
    let left: BTreeMap<&str, i64> = left
        .filter(|link| !active.contains(&link.user_id))
        .map(|link| (link.employee_number.as_str(), link.user_id))
        .collect();
    for (person, found) in people.iter().zip(matches) {
        let employee = left.get(person.entry.employee_number.as_str()).and_then(|user| identities.by_user.get(user));
        if let (None, Some(&employee)) = (&found, employee) {
            *found = Some(Match::ReHire { employee, by: None });
        }
    }
}

/// Employees whose own entry is among the people and active: whoever else looks like them is somebody else.
fn active_employees(people: &[Person], links: &[Arc<Link>], by_key: &HashMap<&str, usize>) -> HashSet<i64> {
    people
        .iter()
        .filter(|person| person.entry.account == AccountState::Active)
        .filter_map(|person| by_key.get(person.entry.key.as_str()))
        .map(|&at| links[at].user_id)
        .collect()
}

/// A person still undecided who looks like an employee bound elsewhere is not made a second time.
fn find_already_linked(
    by: Field,
    people: &[Person],
    employees: &[Employee],
    bound: &BTreeSet<usize>,
    ours: &HashSet<i64>,
    phones: &PhoneRules,
    matches: &mut [Option<Match>],
) {
    let holders = index(by, bound.iter().map(|&at| (at, employees[at].values[by].as_str())), phones, |_| true);
    if holders.is_empty() {
        return;
    }
    let undecided: Vec<usize> = (0..people.len()).filter(|&at| matches[at].is_none()).collect();
    let seekers = index(by, undecided.iter().map(|&at| (at, people[at].values[by].as_str())), phones, |value| {
        holders.contains_key(value)
    });
    for (value, who) in seekers {
        for at in who {
            let candidates = holders[&value].iter();
            let mut alike =
                candidates.filter(|&&employee| contradiction(by, &people[at], &employees[employee], phones).is_none());
            if let Some(&employee) = alike.next() {
                let returned = ours.contains(&employees[employee].user_id);
                matches[at] = Some(if returned {
                    Match::ReHire { employee, by: Some(by) }
                } else {
                    Match::AlreadyLinked { employee, by }
                });
            }
        }
    }
}

/// Employees by both halves of their identity.
struct Identities<'a> {
    by_user: HashMap<i64, usize>,
    by_sip: HashMap<&'a str, usize>,
}

impl<'a> Identities<'a> {
    fn new(employees: &'a [Employee]) -> Identities<'a> {
        Identities {
            by_user: employees.iter().enumerate().map(|(at, employee)| (employee.user_id, at)).collect(),
            by_sip: employees
                .iter()
                .enumerate()
                .filter(|(_, employee)| !employee.sip_uniqid.is_empty())
                .map(|(at, employee)| (employee.sip_uniqid.as_str(), at))
                .collect(),
        }
    }

    /// Whether the link still has a hand on its employee: not when the PBX gave the id to somebody new.
    fn holds(&self, link: &Link) -> bool {
        match link.sip_uniqid.as_str() {
            "" => self.by_user.contains_key(&link.user_id),
            uniqid => self.by_sip.contains_key(uniqid),
        }
    }

    fn check(&self, link: &Link, at: usize) -> Match {
        match (self.by_user.get(&link.user_id), self.by_sip.get(link.sip_uniqid.as_str())) {
            // Taken over from the module's predecessor, which knew nothing else.
            (Some(user), None) if link.sip_uniqid.is_empty() => Match::Linked { link: at, employee: *user },
            (Some(user), Some(sip)) if user == sip => Match::Linked { link: at, employee: *user },
            (None, None) => Match::EmployeeDeleted { link: at },
            _ => Match::IdentityMismatch { link: at },
        }
    }
}

/// Adoption among people and employees without a link.
struct Adoption<'a> {
    people: &'a [Person],
    employees: &'a [Employee],
    phones: &'a PhoneRules,
    /// Whether everybody of the directory is among the people.
    complete: bool,
    /// Employees nobody has yet.
    free: BTreeSet<usize>,
    /// Free employees whom an ambiguous match concerns: nothing weaker may take them.
    disputed: BTreeSet<usize>,
}

impl Adoption<'_> {
    /// Adopts by one field: only where the value is unique in both directions.
    fn by(&mut self, by: Field, matches: &mut [Option<Match>]) {
        let employees = self.free.iter().map(|&at| (at, self.employees[at].values[by].as_str()));
        let holders = index(by, employees, self.phones, |_| true);
        if holders.is_empty() {
            return;
        }
        // Somebody without an active account is not adopted, but may be the one meant.
        let counted = |at: &usize| matches!(matches[*at], None | Some(Match::NotActive));
        let seeking = (0..self.people.len()).filter(counted).map(|at| (at, self.people[at].values[by].as_str()));
        let seekers = index(by, seeking, self.phones, |value| holders.contains_key(value));
        for (value, who) in seekers {
            let candidates = &holders[&value];
            for &at in who.iter().filter(|&&at| matches[at].is_none()).collect::<Vec<_>>() {
                let found = self.decide(by, &self.people[at], who.len(), candidates);
                match &found {
                    Match::Adopted { employee, .. } => drop(self.free.remove(employee)),
                    _ => self.disputed.extend(candidates),
                }
                matches[at] = Some(found);
            }
        }
    }

    fn decide(&self, by: Field, person: &Person, seekers: usize, candidates: &[usize]) -> Match {
        let label = describe(by);
        let who = names(candidates, self.employees);
        let ambiguous = |reason: String| Match::Ambiguous { by, reason };
        match candidates {
            _ if seekers > 1 => {
                ambiguous(format!("{seekers} people of the directory have this {label}, and so has {who}"))
            }
            [only] if self.disputed.contains(only) => {
                ambiguous(format!("{who} has the same {label}, but it is not clear whether that is somebody else"))
            }
            [only] if self.employees[*only].sip_uniqid.is_empty() => {
                ambiguous(format!("{who} has the same {label}, but no SIP account: repair the employee on the PBX"))
            }
            [_] if !self.complete && by != Field::Email => ambiguous(format!(
                "{who} has the same {label}, but the directory was read only in part, so there may be others"
            )),
            [only] => match contradiction(by, person, &self.employees[*only], self.phones) {
                None => Match::Adopted { employee: *only, by },
                Some(contradiction) => ambiguous(format!("{who} has the same {label}, but {contradiction}")),
            },
            _ => ambiguous(format!("several employees have this {label}: {who}")),
        }
    }
}

/// Indices by the value they hold, of `wanted` values only, in a form in which equal values are equal.
fn index<'a>(
    by: Field,
    values: impl Iterator<Item = (usize, &'a str)>,
    phones: &PhoneRules,
    wanted: impl Fn(&String) -> bool,
) -> BTreeMap<String, Vec<usize>> {
    let mut index: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (at, value) in values.filter(|(_, value)| !value.is_empty()) {
        let value = match by {
            Field::Email => value.to_lowercase(),
            Field::Mobile => phones.comparable(value),
            Field::Name => comparable_name(value),
            Field::Number | Field::Photo | Field::Secret => value.to_owned(),
        };
        if wanted(&value) {
            index.entry(value).or_default().push(at);
        }
    }
    index
}

/// Names are compared without case, and `Ё` is `Е`, as people type it either way.
pub(crate) fn comparable_name(name: &str) -> String {
    name.to_lowercase().replace('ё', "е")
}

/// What speaks against a pair that has `by` in common. An e-mail address is proof enough; a number or a mobile is not
/// when name and e-mail both differ; a name is not when the e-mails differ.
fn contradiction(by: Field, person: &Person, employee: &Employee, phones: &PhoneRules) -> Option<&'static str> {
    let differs = |field: Field| {
        let (left, right) = (&person.values[field], &employee.values[field]);
        !left.is_empty() && !right.is_empty() && !same(field, left, right, phones)
    };
    let other_name = comparable_name(&person.values[Field::Name]) != comparable_name(&employee.values[Field::Name]);
    match by {
        Field::Email | Field::Photo | Field::Secret => None,
        Field::Number | Field::Mobile if other_name && differs(Field::Email) => Some("name and e-mail differ"),
        Field::Name if differs(Field::Email) => Some("the e-mail differs"),
        Field::Number | Field::Mobile | Field::Name => None,
    }
}

fn describe(by: Field) -> &'static str {
    match by {
        Field::Email => "e-mail address",
        Field::Number => "internal number",
        Field::Mobile => "mobile number",
        Field::Name | Field::Photo | Field::Secret => "name",
    }
}

fn names(candidates: &[usize], employees: &[Employee]) -> String {
    let listed: Vec<String> = candidates
        .iter()
        .take(5)
        .map(|&at| format!("employee {} ({})", employees[at].values[Field::Number], employees[at].values[Field::Name]))
        .collect();
    listed.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::Decision;
    use crate::person::{DirectoryEntry, Values};
    use proptest::prelude::*;

    fn values(text: &str) -> Values {
        let mut values = Values::default();
        let parts: Vec<&str> = text.split('|').map(str::trim).collect();
        for (field, part) in [Field::Name, Field::Number, Field::Mobile, Field::Email].into_iter().zip(parts) {
            values[field] = part.into();
        }
        values
    }

    fn person(key: &str, text: &str) -> Person {
        let entry = DirectoryEntry { key: DirectoryKey(key.to_owned()), ..DirectoryEntry::default() };
        Person { entry: Arc::new(entry), values: values(text), ..Person::default() }
    }

    fn employee(user_id: i64, text: &str) -> Employee {
        Employee { user_id, sip_uniqid: format!("SIP-{user_id}"), values: values(text), ..Employee::default() }
    }

    /// `name | number | mobile | e-mail` on both sides; expects one word per person.
    fn matched(
        people: &[Person],
        links: &[Link],
        employees: &[Employee],
        linked_elsewhere: &BTreeSet<i64>,
        complete: bool,
    ) -> Matching {
        let links: &Vec<Arc<Link>> = &links.iter().cloned().map(Arc::new).collect();
        let (decisions, phones) = (Decisions::default(), PhoneRules::new("RU"));
        let decisions = &decisions;
        match_people(
            people,
            Candidates { links, employees, linked_elsewhere, decisions, complete, phones: &phones, asked: None },
        )
    }

    #[track_caller]
    fn check(directory: &[&str], pbx: &[&str], expected: &str) {
        let people: Vec<Person> =
            directory.iter().enumerate().map(|(at, text)| person(&at.to_string(), text)).collect();
        let employees: Vec<Employee> = (110..).zip(pbx).map(|(id, text)| employee(id, text)).collect();
        let found = matched(&people, &[], &employees, &BTreeSet::new(), true);
        let words: Vec<String> = found
            .people
            .iter()
            .map(|found| match found {
                Match::Adopted { employee, by } => format!("{}:{}", employees[*employee].user_id, by.name()),
                Match::New => "new".to_owned(),
                Match::Ambiguous { by, .. } => format!("?{}", by.name()),
                other => format!("{other:?}"),
            })
            .collect();
        assert_eq!(words.join(" "), expected);
    }

    #[test]
    fn the_strongest_thing_in_common_decides() {
        check(&["Ann|||ann@x"], &["Anna|201||ANN@x", "Ann|202||"], "110:email");
        check(&["Ann|202||"], &["Anna|201||", "Ann Smith|202||"], "111:number");
        check(&["Smith James||+7 926 111-11-11|"], &["Smith James|201|89261111111|"], "110:mobile");
        check(&["пётр ЁЖИК|||"], &["Петр Ежик|201||"], "110:name");
        check(&["Bob|||bob@x"], &["Ann|201||ann@x"], "new");
    }

    #[test]
    fn namesakes_are_not_guessed() {
        check(&["Ann|||", "Ann|||"], &["Ann|201||"], "?name ?name");
        check(&["Ann|||"], &["Ann|201||", "Ann|202||"], "?name");
        check(&["Ann|||", "Ann|||"], &["Bob|201||"], "new new");
        check(&["Ann|||a@x"], &["Ann|201||b@x"], "?name");
    }

    #[test]
    fn a_disputed_employee_is_not_taken_by_something_weaker() {
        check(&["Bob|||ann@x", "Ann|||", "Eve|||ann@x"], &["Ann|201||ann@x"], "?email ?name ?email");
    }

    #[test]
    fn an_employee_recognised_by_more_is_no_longer_a_candidate() {
        check(&["Ann|||ann@x", "Ann|||"], &["Ann|201||ann@x"], "110:email new");
    }

    #[test]
    fn a_number_alone_does_not_make_two_strangers_one() {
        check(&["Bob|201||bob@x"], &["Ann|201||ann@x"], "?number");
        check(&["Bob|201||"], &["Ann|201||ann@x"], "110:number");
    }

    /// Employee 110 is linked to entry `old`; the people are those found now.
    #[track_caller]
    fn check_bound(directory: &[(&str, &str)], pbx: &str, expected: &[Match]) {
        let people: Vec<Person> = directory.iter().map(|(key, text)| person(key, text)).collect();
        let link =
            Link { key: DirectoryKey("old".into()), user_id: 110, sip_uniqid: "SIP-110".into(), ..Link::default() };
        let none = BTreeSet::new();
        let found = matched(&people, &[link], &[employee(110, pbx)], &none, true);
        assert_eq!(found.people, expected);
        let found = matched(&people, &[], &[employee(110, pbx)], &BTreeSet::from([110]), true);
        assert!(!found.people.iter().any(|found| matches!(found, Match::Adopted { .. })));
    }

    #[test]
    fn nobody_is_made_a_second_time() {
        let already = |by| Match::ReHire { employee: 0, by: Some(by) };
        check_bound(&[("new", "Eve|||eve@x")], "Eve|201||eve@x", &[already(Field::Email)]);
        check_bound(&[("new", "Eve||+7 903 111-11-11|")], "Eve|201|89031111111|", &[already(Field::Mobile)]);
        check_bound(&[("new", "Eve|||")], "Eve|201||", &[already(Field::Name)]);
        check_bound(&[("new", "Eve|||other@x")], "Eve|201||eve@x", &[Match::New]);
        // The entry of the employee is there and active: whoever shares the mailbox is somebody else.
        let linked = Match::Linked { link: 0, employee: 0 };
        check_bound(&[("new", "Bob|||eve@x"), ("old", "Eve|||eve@x")], "Eve|201||eve@x", &[Match::New, linked]);
    }

    #[test]
    fn a_partial_read_recognises_by_e_mail_only() {
        for (text, adopted) in [("Ann|||ann@x", true), ("Ann|||", false), ("Bob|201||", false)] {
            let employees = [employee(110, "Ann|201||ann@x")];
            let none = BTreeSet::new();
            let found = matched(&[person("0", text)], &[], &employees, &none, false);
            assert_eq!(matches!(found.people[0], Match::Adopted { .. }), adopted, "{text}");
        }
    }

    #[test]
    fn a_disabled_namesake_may_be_the_one_meant() {
        let mut disabled = person("1", "Ann|||");
        Arc::make_mut(&mut disabled.entry).account = AccountState::Disabled;
        let employees = [employee(110, "Ann|201||")];
        let people = [person("0", "Ann|||"), disabled];
        let found = matched(&people, &[], &employees, &BTreeSet::new(), true);
        assert!(matches!(found.people[0], Match::Ambiguous { .. }));
        assert_eq!(found.people[1], Match::NotActive);
    }

    #[test]
    fn an_employee_without_a_sip_account_is_not_adopted() {
        let employees = [Employee { sip_uniqid: String::new(), ..employee(110, "Ann|201||ann@x") }];
        let people = [person("0", "Ann|||ann@x")];
        let found = matched(&people, &[], &employees, &BTreeSet::new(), true);
        assert!(matches!(found.people[0], Match::Ambiguous { .. }));
    }

    #[track_caller]
    fn check_link(link: (i64, &str), expected: Match) {
        let link =
            Link { key: DirectoryKey("0".into()), user_id: link.0, sip_uniqid: link.1.into(), ..Link::default() };
        let employees = [employee(110, "Ann|201||"), employee(111, "Bob|202||")];
        let found = matched(&[person("0", "Ann|||")], &[link], &employees, &BTreeSet::new(), true);
        assert_eq!(found.people, [expected]);
    }

    #[test]
    fn a_link_needs_both_halves_of_the_identity() {
        check_link((110, "SIP-110"), Match::Linked { link: 0, employee: 0 });
        check_link((110, "SIP-111"), Match::IdentityMismatch { link: 0 });
        check_link((110, "SIP-999"), Match::IdentityMismatch { link: 0 });
        check_link((999, "SIP-110"), Match::IdentityMismatch { link: 0 });
        check_link((999, "SIP-999"), Match::EmployeeDeleted { link: 0 });
        // A link taken over from the module's predecessor knows the id only.
        check_link((110, ""), Match::Linked { link: 0, employee: 0 });
        check_link((999, ""), Match::EmployeeDeleted { link: 0 });
    }

    /// Employee 110 is linked to `gone`, who left; 111 to `there`, who is there; 112 to nobody. `new` has no link.
    #[track_caller]
    fn check_decided(choice: Choice, user_id: Option<i64>, expected: Match) {
        let link = |key: &str, id: i64| Link {
            key: DirectoryKey(key.into()),
            user_id: id,
            sip_uniqid: format!("SIP-{id}"),
            employee_number: format!("E{id}"),
            ..Link::default()
        };
        let employees = [employee(110, "Eve|201||"), employee(111, "Bob|202||"), employee(112, "Zoe|203||")];
        let mut people = [person("there", "Bob|||"), person("new", "Nora|||")];
        Arc::make_mut(&mut people[1].entry).employee_number = "E110".to_owned();
        let decision = Decision {
            id: 1,
            key: DirectoryKey("new".into()),
            field: None,
            cause: "re-hire".into(),
            choice,
            user_id,
            directory_value: String::new(),
            pbx_value: String::new(),
        };
        let found = match_people(
            &people,
            Candidates {
                links: &[link("gone", 110), link("there", 111)].map(Arc::new),
                employees: &employees,
                linked_elsewhere: &BTreeSet::from([112]),
                decisions: &Decisions::new(vec![decision]),
                complete: true,
                asked: None,
                phones: &PhoneRules::default(),
            },
        );
        assert_eq!(found.people[1], expected, "{choice:?}");
        assert_eq!(found.people[0], Match::Linked { link: 1, employee: 1 });
    }

    #[test]
    fn an_administrator_decides_who_somebody_is() {
        let returned = Match::ReHire { employee: 0, by: None };
        check_decided(Choice::Ignore, None, returned.clone());
        check_decided(Choice::Link, Some(110), Match::Appointed { employee: 0, instead_of: Some(0) });
        check_decided(Choice::Link, Some(112), Match::Appointed { employee: 2, instead_of: None });
        check_decided(Choice::Link, Some(111), returned.clone());
        check_decided(Choice::Link, Some(999), returned);
        check_decided(Choice::Create, None, Match::New);
        check_decided(Choice::Exclude, None, Match::Excluded { link: None });
    }

    proptest! {
        /// No employee is ever given to two people, and a person with a link is never adopted again.
        #[test]
        fn one_to_one(directory in proptest::collection::vec(("[ab]", "(20[1-3])?", "([ab]@x)?"), 0..8),
                      pbx in proptest::collection::vec(("[ab]", "20[1-3]", "([ab]@x)?"), 0..5)) {
            let people: Vec<Person> = directory.iter().enumerate()
                .map(|(at, (name, number, email))| person(&at.to_string(), &format!("{name}|{number}||{email}"))).collect();
            let employees: Vec<Employee> = (1..).zip(&pbx)
                .map(|(id, (name, number, email))| employee(id, &format!("{name}|{number}||{email}"))).collect();
            let found = matched(&people, &[], &employees, &BTreeSet::new(), true);
            let mut taken = BTreeSet::new();
            for one in &found.people {
                if let Match::Adopted { employee, .. } = one {
                    prop_assert!(taken.insert(*employee));
                }
            }
        }
    }
}
