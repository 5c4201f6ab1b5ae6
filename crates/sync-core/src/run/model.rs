//! Random two-sided histories against a simple oracle: whatever people do on both sides, two runs bring them in step, no
//! edit is lost, nothing stands twice, and a settled state needs nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;

use super::bases::{Terms, departed_links, links_after};
use crate::decision::Decisions;
use crate::directory::{Coverage, DirectorySnapshot};
use crate::limits::Limits;
use crate::link::Link;
use crate::pbx::{EmailHolder, Holder, PbxSnapshot};
use crate::person::{AccountState, DirectoryEntry, DirectoryKey, Employee, EmployeeRows, Field, Photo, Side, Values};
use crate::phone::PhoneRules;
use crate::plan::{Action, Inputs, Plan, Times, make};
use crate::policy::{BothChanged, Direction, FieldRule, Policy};
use crate::recency::DirectoryTime;
use crate::report::{Outcome, PersonOutcome};

/// Time between two steps, in milliseconds: longer than anything that makes two times indistinguishable.
const STEP_MS: i64 = 200_000;
const PEOPLE: usize = 4;

/// What the times of edits are known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Clocks {
    /// The directory tells the time of each attribute, the PBX reports its edits.
    Exact,
    /// The directory tells the time of the entry.
    Entry,
    /// Nobody tells anything.
    Silent,
}

/// One thing somebody does.
#[derive(Clone, Debug)]
enum Step {
    InDirectory(usize, Field, usize),
    OnPbx(usize, Field, usize),
    Account(usize, AccountState),
    Leaves(usize),
    Returns(usize),
    Run,
}

#[derive(Clone, Debug, Default)]
struct Entry {
    values: Values,
    account: AccountState,
    gone: bool,
}

/// Both sides and what the module knows.
struct World {
    policy: Policy,
    clocks: Clocks,
    entries: BTreeMap<String, Entry>,
    pbx: BTreeMap<i64, Employee>,
    links: Vec<Arc<Link>>,
    compared: i64,
    now: i64,
    next_user: i64,
    /// When each value was edited last by a person.
    edited: BTreeMap<(String, Field, Side), i64>,
}

fn candidate(field: Field, index: usize) -> String {
    let values: [&str; 4] = match field {
        Field::Name => ["Ann", "Bob", "Eve", "Zoe"],
        Field::Email => ["", "a@x.test", "b@x.test", "c@x.test"],
        Field::Mobile => ["", "79031111111", "79032222222", "79033333333"],
        Field::Number => ["", "201", "202", "245"],
        Field::Photo => ["", "photo-1", "photo-2", "photo-3"],
        Field::Secret => ["secret-0", "secret-1", "secret-2", "secret-3"],
    };
    values[index % values.len()].to_owned()
}

impl World {
    fn new(clocks: Clocks, rule: FieldRule) -> World {
        let attributes = Field::ALL.map(|field| (field, field.name().to_owned()));
        let rules = Field::ALL.map(|field| (field, rule));
        let policy = Policy {
            server_id: 1,
            attributes: attributes.into(),
            rules: rules.into(),
            write_back: true,
            region: "RU".to_owned(),
            ..Policy::default()
        };
        let entry = |at: usize| {
            let mut values = Values::default();
            values[Field::Name] = format!("Person {at}").into();
            (format!("p{at}"), Entry { values, ..Entry::default() })
        };
        World {
            policy,
            clocks,
            entries: (0..PEOPLE).map(entry).collect(),
            pbx: BTreeMap::new(),
            links: Vec::new(),
            compared: 0,
            now: 1_000 * STEP_MS,
            next_user: 110,
            edited: BTreeMap::new(),
        }
    }

    fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        self.now += STEP_MS;
        let key = |at: &usize| format!("p{at}");
        match step {
            Step::InDirectory(at, field, value) => {
                let (key, value) = (key(at), candidate(*field, *value));
                if let Some(entry) = self.entries.get_mut(&key).filter(|entry| entry.values[*field] != value) {
                    entry.values[*field] = value.into();
                    self.edited.insert((key, *field, Side::Directory), self.now);
                }
            }
            Step::OnPbx(at, field, value) => self.edit_on_pbx(&key(at), *field, candidate(*field, *value)),
            Step::Account(at, account) => {
                self.entries.entry(key(at)).and_modify(|entry| entry.account = *account);
            }
            Step::Leaves(at) => drop(self.entries.entry(key(at)).and_modify(|entry| entry.gone = true)),
            Step::Returns(at) => drop(self.entries.entry(key(at)).and_modify(|entry| entry.gone = false)),
            Step::Run => drop(self.run()?),
        }
        Ok(())
    }

    /// What MikoPBX lets its administrator do.
    fn edit_on_pbx(&mut self, key: &str, field: Field, value: String) {
        let Some(link) = self.links.iter().find(|link| link.key.as_str() == key) else { return };
        let needed = matches!(field, Field::Name | Field::Number | Field::Secret);
        let unique = matches!(field, Field::Email | Field::Mobile | Field::Number);
        let taken = unique && self.pbx.values().any(|other| holds(other, field, &value));
        let employee = self.pbx.get_mut(&link.user_id).filter(|employee| employee.values[field] != value);
        if let Some(employee) = employee.filter(|_| !(taken || (needed && value.is_empty()))) {
            employee.values[field] = value.into();
            self.edited.insert((key.to_owned(), field, Side::Pbx), self.now);
        }
    }

    fn directory(&self) -> DirectorySnapshot {
        let entries = self.entries.iter().filter(|(_, entry)| !entry.gone).map(|(key, entry)| {
            let given =
                Field::ALL.into_iter().filter(|field| *field != Field::Photo && !entry.values[*field].is_empty());
            let photo = &entry.values[Field::Photo];
            DirectoryEntry {
                key: DirectoryKey(key.clone()),
                dn: key.clone(),
                account: entry.account,
                attributes: given.map(|field| (field, entry.values[field].clone())).collect(),
                photo: if photo.is_empty() { Photo::Absent } else { Photo::Spooled { md5: photo.to_string() } },
                ..DirectoryEntry::default()
            }
        });
        let (entries, elsewhere, warnings) = (entries.map(Arc::new).collect(), BTreeMap::new(), Vec::new());
        DirectorySnapshot { entries, coverage: Coverage::Full, elsewhere, warnings, asked: None, newest: None }
    }

    fn snapshot(&self) -> PbxSnapshot {
        let mut snapshot = PbxSnapshot { extension_length: 3, ..PbxSnapshot::default() };
        for employee in self.pbx.values() {
            let (values, user_id) = (&employee.values, employee.user_id);
            for (field, kind) in [(Field::Number, "SIP"), (Field::Mobile, "EXTERNAL")] {
                if !values[field].is_empty() {
                    let (kind, label) = (kind.to_owned(), values[Field::Name].to_string());
                    snapshot.numbers.insert(values[field].to_string(), Holder { kind, user_id: Some(user_id), label });
                }
            }
            if !values[Field::Email].is_empty() {
                let holder = EmailHolder { user_id, name: String::new() };
                snapshot.emails.entry(values[Field::Email].to_string()).or_default().push(holder);
            }
            snapshot.smallest_numbers.add(&employee.values[Field::Number]);
            snapshot.employees.push(employee.clone());
        }
        snapshot
    }

    fn times(&self) -> Times {
        let mut times = Times { compared: self.compared, ..Times::default() };
        let users: BTreeMap<&str, i64> = self.links.iter().map(|link| (link.key.as_str(), link.user_id)).collect();
        for ((key, field, side), &time) in &self.edited {
            match (self.clocks, side) {
                (Clocks::Silent, _) => {}
                (Clocks::Exact, Side::Directory) => {
                    let about = (DirectoryKey(key.clone()), *field);
                    times.directory.insert(about, DirectoryTime::Attribute(time));
                }
                (Clocks::Entry, Side::Directory) => {
                    let of_entry =
                        self.edited.iter().filter(|((of, _, side), _)| of == key && *side == Side::Directory);
                    let last = of_entry.map(|(_, time)| *time).max().unwrap_or(time);
                    times.directory.insert((DirectoryKey(key.clone()), *field), DirectoryTime::Entry(last));
                }
                (_, Side::Pbx) => times.reported.extend(users.get(key.as_str()).map(|user| ((*user, *field), time))),
            }
        }
        times
    }

    fn plan(&self) -> Plan {
        let none = BTreeSet::new();
        let mut plan = make(Inputs {
            policy: &self.policy,
            directory: &self.directory(),
            pbx: &self.snapshot(),
            links: &self.links,
            linked_elsewhere: &none,
            active_elsewhere: &none,
            linked: self.links.len(),
            numbers_used: &|_| false,
            decisions: &Decisions::default(),
            times: &self.times(),
            now: self.now,
            phones: PhoneRules::new("RU"),
        });
        let mut made = 0;
        plan.give_secrets(&self.policy, &mut || {
            made += 1;
            format!("made-{}-{made}", self.now)
        });
        plan.approve(&Limits { at_least: 1000, ..Limits::default() }).0.into_plan()
    }

    /// One run, and whether it kept its promises; answers how many values it changed.
    fn run(&mut self) -> Result<usize, TestCaseError> {
        self.now += STEP_MS;
        let plan = self.plan();
        let before = self.links.clone();
        let mut outcomes = Vec::new();
        for person in &plan.people {
            let mut outcome = PersonOutcome { user_id: person.user_id, ..PersonOutcome::default() };
            if person.action == Action::Create {
                outcome.user_id = Some(self.next_user);
                outcome.sip_uniqid = format!("SIP-{}", self.next_user).into();
                self.hire(person.after.clone());
            }
            for change in &person.changes {
                self.check_edit_survives(&before, person.person.entry.key.as_str(), change.field, change.side)?;
                match (change.side, outcome.user_id.and_then(|user| self.pbx.get_mut(&user))) {
                    (Side::Pbx, Some(employee)) => employee.values[change.field] = change.new.clone(),
                    (Side::Pbx, None) => prop_assert!(false, "a change of nobody"),
                    (Side::Directory, _) => {
                        let entry = self.entries.get_mut(person.person.entry.key.as_str()).expect("an entry");
                        entry.values[change.field] = change.new.trim_start_matches('+').into();
                    }
                }
                outcome.changes.set(change.side, change.field, Outcome::Done);
            }
            outcomes.push(outcome);
        }
        let terms = Terms { policy: &self.policy, phones: plan.phones, now: self.now };
        for link in links_after(&plan, &outcomes, terms).into_iter().chain(departed_links(&plan, self.now)) {
            self.links.retain(|other| other.key != link.key);
            self.links.push(Arc::new(link));
        }
        self.links.sort_by(|one, other| one.key.cmp(&other.key));
        self.compared = self.now;
        self.check_nothing_stands_twice()?;
        Ok(plan.people.iter().map(|person| person.changes.len()).sum())
    }

    fn hire(&mut self, values: Values) {
        let user_id = self.next_user;
        self.next_user += 1;
        let rows = EmployeeRows { number: user_id, mobile: user_id + 1000, sip: user_id, phone: user_id };
        let sip_uniqid = format!("SIP-{user_id}");
        self.pbx.insert(user_id, Employee { user_id, sip_uniqid, values, rows, sip_disabled: false });
    }

    /// The value that `side` is about to lose was not edited since both agreed, or the other side's edit is the later one.
    fn check_edit_survives(
        &self,
        links: &[Arc<Link>],
        key: &str,
        field: Field,
        side: Side,
    ) -> Result<(), TestCaseError> {
        let Some(link) = links.iter().find(|link| link.key.as_str() == key) else { return Ok(()) };
        let Some((base_directory, base_pbx)) = link.base(field) else { return Ok(()) };
        let directory = &self.entries[key].values[field];
        let pbx = &self.pbx[&link.user_id].values[field];
        let (lost, base, other, other_base) = match side {
            Side::Directory => (directory, base_directory, pbx, base_pbx),
            Side::Pbx => (pbx, base_pbx, directory, base_directory),
        };
        let never_lost = matches!(field, Field::Number | Field::Secret) && side == Side::Directory && lost.is_empty();
        if lost == base || never_lost {
            return Ok(());
        }
        prop_assert!(
            other != other_base,
            "{key} {field:?}: {lost:?} of {side:?} was edited and the other side was not"
        );
        let rule = self.policy.rule(field);
        let winner = if side == Side::Directory { Side::Pbx } else { Side::Directory };
        if rule.both_changed == BothChanged::Newest && rule.direction == Direction::TwoWay {
            let time = |side: Side| self.edited.get(&(key.to_owned(), field, side));
            prop_assert!(time(winner) > time(side), "{key} {field:?}: the newer {lost:?} of {side:?} would be lost");
        } else {
            prop_assert!(rule.both_changed != BothChanged::Ask, "{key} {field:?}: nobody was asked");
        }
        Ok(())
    }

    fn check_nothing_stands_twice(&self) -> Result<(), TestCaseError> {
        let mut numbers = BTreeSet::new();
        let mut emails = BTreeSet::new();
        for employee in self.pbx.values() {
            prop_assert!(!employee.values[Field::Number].is_empty() && !employee.values[Field::Secret].is_empty());
            for field in [Field::Number, Field::Mobile] {
                let number = &employee.values[field];
                prop_assert!(number.is_empty() || numbers.insert(number.clone()), "{number} twice");
            }
            let email = &employee.values[Field::Email];
            prop_assert!(email.is_empty() || emails.insert(email.clone()), "{email} twice");
        }
        Ok(())
    }
}

fn holds(employee: &Employee, field: Field, value: &str) -> bool {
    let shared: &[Field] = if field == Field::Email { &[Field::Email] } else { &[Field::Number, Field::Mobile] };
    !value.is_empty() && shared.iter().any(|field| employee.values[*field] == value)
}

fn some_step() -> impl Strategy<Value = Step> {
    let field = || proptest::sample::select(Field::ALL.to_vec());
    prop_oneof![
        5 => (0..PEOPLE, field(), 0..4usize).prop_map(|(at, field, value)| Step::InDirectory(at, field, value)),
        5 => (0..PEOPLE, field(), 0..4usize).prop_map(|(at, field, value)| Step::OnPbx(at, field, value)),
        1 => (0..PEOPLE, any::<bool>()).prop_map(|(at, active)| {
            Step::Account(at, if active { AccountState::Active } else { AccountState::Disabled })
        }),
        1 => (0..PEOPLE).prop_map(Step::Leaves),
        1 => (0..PEOPLE).prop_map(Step::Returns),
        3 => Just(Step::Run),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn any_history_ends_in_step(
        steps in proptest::collection::vec(some_step(), 1..40),
        clocks in proptest::sample::select(vec![Clocks::Exact, Clocks::Entry, Clocks::Silent]),
        both_changed in proptest::sample::select(
            vec![BothChanged::Newest, BothChanged::Newest, BothChanged::Directory, BothChanged::Pbx, BothChanged::Ask]),
    ) {
        let mut world = World::new(clocks, FieldRule { direction: Direction::TwoWay, both_changed });
        for step in &steps {
            world.step(step)?;
        }
        world.run()?;
        world.run()?;
        let left = world.plan();
        let changes: Vec<_> = left.people.iter().flat_map(|person| &person.changes).collect();
        prop_assert!(changes.is_empty(), "still to do after two runs: {changes:?}");
        prop_assert!(left.accounts.is_empty());
        let links = world.links.clone();
        world.run()?;
        let stable = |link: &Arc<Link>| Link { unsettled: Vec::new(), last_day: 0, days_gone: 0, ..Link::clone(link) };
        let (before, after): (Vec<Link>, Vec<Link>) =
            (links.iter().map(stable).collect(), world.links.iter().map(stable).collect());
        prop_assert_eq!(before, after, "a settled state moves no base");
    }
}
