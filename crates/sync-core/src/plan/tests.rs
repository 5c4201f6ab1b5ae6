//! Plans of small worlds, written as text.
//!
//! A line is one person: `key | directory | pbx | base`. Each side is `name number mobile email` separated by commas,
//! `-` when the side does not have the person, and the base is `directory; pbx`, `=` when both sides last held what the
//! PBX holds now, or `-` for a person without a link. `!` before the key is a disabled account.

use super::*;
use crate::decision::Decision;
use crate::limits::Limits;
use crate::pbx::{EmailHolder, Holder};
use crate::person::{DirectoryEntry, Employee};
use crate::report::summary;
use proptest::prelude::*;

const FIELDS: [Field; 4] = [Field::Name, Field::Number, Field::Mobile, Field::Email];

fn values(text: &str) -> Values {
    let mut values = Values::default();
    for (field, part) in FIELDS.into_iter().zip(text.split(',')) {
        values[field] = part.trim().into();
    }
    values
}

/// A directory and a PBX.
#[derive(Clone, Debug)]
struct World {
    policy: Policy,
    directory: DirectorySnapshot,
    pbx: PbxSnapshot,
    links: Vec<Arc<Link>>,
    decisions: Vec<Decision>,
    times: Times,
}

/// The time of every plan, Unix time in milliseconds.
const NOW: i64 = 1_000_000_000;

impl World {
    fn new(lines: &str) -> World {
        let attributes = [
            (Field::Name, "displayName"),
            (Field::Number, "telephoneNumber"),
            (Field::Mobile, "mobile"),
            (Field::Email, "mail"),
        ];
        let mut world = World {
            policy: Policy {
                server_id: 1,
                region: "RU".to_owned(),
                attributes: attributes.into_iter().map(|(field, name)| (field, name.to_owned())).collect(),
                write_back: true,
                ..Policy::default()
            },
            directory: DirectorySnapshot {
                entries: Vec::new(),
                coverage: Coverage::Full,
                elsewhere: BTreeMap::new(),
                warnings: Vec::new(),
                asked: None,
                newest: None,
            },
            pbx: PbxSnapshot { extension_length: 3, ..PbxSnapshot::default() },
            links: Vec::new(),
            decisions: Vec::new(),
            times: Times::default(),
        };
        let lines = lines.lines().map(str::trim).filter(|line| !line.is_empty());
        for (user_id, line) in (110..).zip(lines) {
            world.add(user_id, line);
        }
        for (number, kind) in [("801", "PARKING"), ("2001", "QUEUE")] {
            let holder = Holder { kind: kind.to_owned(), user_id: None, label: "Sales".to_owned() };
            world.pbx.numbers.insert(number.to_owned(), holder);
        }
        world
    }

    fn add(&mut self, user_id: i64, line: &str) {
        let parts: Vec<&str> = line.split('|').map(str::trim).collect();
        let [key, directory, pbx, base] = parts[..] else { panic!("{line:?} has no four parts") };
        let (key, account) =
            key.strip_prefix('!').map_or((key, AccountState::Active), |key| (key, AccountState::Disabled));
        if directory != "-" {
            let values = values(directory);
            let attributes = FIELDS
                .into_iter()
                .filter(|field| !values[*field].is_empty())
                .map(|field| (field, values[field].clone()))
                .collect();
            let key = DirectoryKey(key.to_owned());
            let entry = DirectoryEntry { key, account, attributes, ..DirectoryEntry::default() };
            self.directory.entries.push(Arc::new(entry));
        }
        if pbx != "-" {
            self.employ(user_id, values(pbx));
        }
        if base != "-" {
            let (directory, pbx) = base.split_once(';').unwrap_or((pbx, pbx));
            self.links.push(Arc::new(Link {
                server_id: 1,
                key: DirectoryKey(key.to_owned()),
                user_id,
                sip_uniqid: format!("SIP-{user_id}"),
                directory: values(directory),
                pbx: values(pbx),
                based: Field::ALL.into(),
                ..Link::default()
            }));
        }
    }

    fn employ(&mut self, user_id: i64, values: Values) {
        for (field, kind) in [(Field::Number, "SIP"), (Field::Mobile, "EXTERNAL")] {
            if !values[field].is_empty() {
                let holder =
                    Holder { kind: kind.into(), user_id: Some(user_id), label: values[Field::Name].to_string() };
                self.pbx.numbers.insert(values[field].to_string(), holder);
            }
        }
        if !values[Field::Email].is_empty() {
            let holder = EmailHolder { user_id, name: values[Field::Name].to_string() };
            self.pbx.emails.entry(values[Field::Email].to_lowercase()).or_default().push(holder);
        }
        let sip_uniqid = format!("SIP-{user_id}");
        self.pbx.smallest_numbers.add(&values[Field::Number]);
        self.pbx.employees.push(Employee { user_id, sip_uniqid, values, ..Employee::default() });
    }

    fn plan(&self) -> Plan {
        make(Inputs {
            policy: &self.policy,
            directory: &self.directory,
            pbx: &self.pbx,
            links: &self.links,
            linked_elsewhere: &BTreeSet::new(),
            active_elsewhere: &BTreeSet::new(),
            linked: self.links.len(),
            numbers_used: &|_| false,
            decisions: &Decisions::new(self.decisions.clone()),
            times: &self.times,
            now: NOW,
            phones: self.policy.phones("en-en"),
        })
    }
}

/// One line per person who is not simply unchanged: key, action, changes, conflicts.
fn told(plan: &Plan) -> String {
    let mut lines = Vec::new();
    for person in &plan.people {
        let mut words = vec![person.person.entry.key.as_str().to_owned()];
        match person.action {
            Action::Create => words.push("create".to_owned()),
            Action::Adopt(by) => words.push(format!("adopt:{}", by.name())),
            Action::Keep => {}
            Action::Wait => words.push("wait".to_owned()),
            Action::LeaveOut => words.push("left-out".to_owned()),
            Action::Held => words.push("held".to_owned()),
        }
        for change in &person.changes {
            words.push(format!("{}.{}:{}>{}", change.side.name(), change.field.name(), change.old, change.new));
        }
        words.extend(person.conflicts.iter().map(|conflict| format!("?{}", conflict.cause)));
        if words.len() > 1 {
            lines.push(words.join(" "));
        }
    }
    lines.extend(plan.departures.iter().map(|gone| format!("{} {}", gone.link.key.as_str(), gone.state.name())));
    lines.join("\n")
}

#[track_caller]
fn check(world: &str, expected: &str) {
    check_world(&World::new(world), expected);
}

#[track_caller]
fn check_world(world: &World, expected: &str) {
    let expected: Vec<&str> = expected.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    assert_eq!(told(&world.plan()), expected.join("\n"));
}

#[test]
fn new_people_get_a_number_that_is_written_back() {
    check(
        "a | Ann,,+7 903 123-45-67,ann@x.test | - | -
         b | Bob,,, | - | -",
        "a create pbx.name:>Ann pbx.email:>ann@x.test pbx.mobile:>79031234567 pbx.number:>200 directory.number:>200
         b create pbx.name:>Bob pbx.number:>201 directory.number:>201",
    );
}

#[test]
fn a_number_asked_for_is_granted_when_it_is_free() {
    check("a | Ann,245,, | - | -", "a create pbx.name:>Ann pbx.number:>245");
    check("a | Ann,801,, | - | -", "a wait ?number-taken");
    check("a | Ann,2001,, | - | -", "a wait ?number-taken");
    check("a | Ann,112,, | - | -", "a wait ?number-forbidden");
    check(
        "a | Ann,245,, | - | -
         b | Bob,245,, | - | -",
        "a wait ?number-contested
         b wait ?number-contested",
    );
    let mut world = World::new("a | Ann,801,, | - | -");
    world.policy.pool_when_taken = true;
    check_world(&world, "a create pbx.name:>Ann pbx.number:>200 directory.number:801>200");
}

#[test]
fn an_outside_line_is_left_alone() {
    let world = World::new("a | Ann,+7 495 123-45-67,, | - | -");
    check_world(&world, "a create pbx.name:>Ann pbx.number:>200");
    assert!(world.plan().people[0].notes[0].text.contains("telephoneNumber"));
}

#[test]
fn an_employee_is_recognised() {
    check(
        "a | Smith James,,+7 926 111-11-11,james@x.test | - | -
         x | - | Smith James,201,89261111111, | -",
        "a adopt:mobile pbx.email:>james@x.test directory.number:>201",
    );
    check(
        "a | Ann New,150,,ann@x.test | - | -
         x | - | Ann,201,,ann@x.test | -",
        "a adopt:email pbx.name:Ann>Ann New directory.number:150>201",
    );
}

#[test]
fn namesakes_are_not_guessed() {
    check(
        "a | Ann,,, | - | -
         b | Ann,,, | - | -
         x | - | Ann,201,, | -",
        "a wait ?ambiguous
         b wait ?ambiguous",
    );
}

#[test]
fn a_settled_person_needs_nothing() {
    check("a | Ann,201,79031234567,ann@x.test | Ann,201,79031234567,ann@x.test | =", "");
    check("a | Ann,201,+7 903 123-45-67, | Ann,201,89031234567, | Ann,201,79031234567,;Ann,201,89031234567,", "");
}

#[test]
fn changes_travel_both_ways() {
    check("a | Anna,201,, | Ann,201,, | =", "a pbx.name:Ann>Anna");
    check("a | Ann,201,,new@x.test | Ann,201,,old@x.test | =", "a pbx.email:old@x.test>new@x.test");
    check(
        "a | Ann,201,,a@x.test | Ann,201,,b@x.test | Ann,201,,a@x.test;Ann,201,,a@x.test",
        "a directory.email:a@x.test>b@x.test",
    );
    check("a | Ann,202,, | Ann,201,, | =", "a pbx.number:201>202");
    check("a | Ann,201,, | Ann,205,, | Ann,201,,;Ann,201,,", "a directory.number:201>205");
}

#[test]
fn a_value_changed_on_both_sides_is_a_conflict() {
    check("a | Ann,201,,b@x.test | Ann,201,,c@x.test | Ann,201,,a@x.test;Ann,201,,a@x.test", "a ?both-changed");
}

#[test]
fn cleared_values() {
    check("a | ,201,, | Ann,201,, | =", "a ?name-cleared");
    check("a | Ann,,, | Ann,201,, | =", "a directory.number:>201");
    check("a | Ann,201,, | Ann,201,79031234567, | =", "a pbx.mobile:79031234567>");
    let mut world = World::new("a | Ann,201,, | Ann,201,79031234567, | =");
    world.pbx.uses.insert("79031234567".into(), vec!["queue Sales".into()]);
    check_world(&world, "a ?mobile-in-use");
    assert!(world.plan().people[0].conflicts[0].reason.contains("queue Sales"));
}

#[test]
fn swaps_go_through_together() {
    check(
        "a | Ann,202,79032222222,bob@x.test | Ann,201,79031111111,ann@x.test | =
         b | Bob,201,79031111111,ann@x.test | Bob,202,79032222222,bob@x.test | =",
        "a pbx.email:ann@x.test>bob@x.test pbx.mobile:79031111111>79032222222 pbx.number:201>202
         b pbx.email:bob@x.test>ann@x.test pbx.mobile:79032222222>79031111111 pbx.number:202>201",
    );
    check(
        "a | Ann,202,, | Ann,201,, | =
         b | Bob,202,, | Bob,202,, | =",
        "a ?number-taken",
    );
    check(
        "a | Ann,201,, | Ann,201,79031111111, | =
         b | Bob,202,79031111111, | Bob,202,, | =",
        "a pbx.mobile:79031111111>
         b pbx.mobile:>79031111111",
    );
}

#[test]
fn a_mobile_or_mail_of_somebody_else_does_not_stop_a_new_person() {
    check(
        "a | Ann,,79031111111, | - | -
         b | Bob,202,79031111111, | Bob,202,89031111111, | Bob,202,79031111111,;Bob,202,89031111111,",
        "a create pbx.name:>Ann pbx.number:>203 directory.number:>203 ?mobile-taken",
    );
}

#[test]
fn leftovers_and_people_without_a_number_count_too() {
    let mut world = World::new("a | Ann,,,ann@x.test | - | -");
    let leftover = Holder { kind: Holder::LEFTOVER.to_owned(), user_id: None, label: "m_Sip 7".to_owned() };
    world.pbx.numbers.insert("200".to_owned(), leftover);
    let bare = EmailHolder { user_id: 1, name: "admin".to_owned() };
    world.pbx.emails.insert("ann@x.test".to_owned(), vec![bare]);
    check_world(&world, "a create pbx.name:>Ann pbx.number:>201 directory.number:>201 ?email-taken");
}

#[test]
fn whoever_is_disabled_stays_as_they_are() {
    check("!a | Anna,,, | Ann,201,, | =", "a left-out\na disabled");
    check("!a | Ann,,, | - | -", "a left-out");
}

#[test]
fn only_a_complete_search_makes_anybody_absent() {
    let world = World::new(
        "a | Ann,201,, | Ann,201,, | =
         b | - | Bob,202,, | =",
    );
    check_world(&world, "b absent");
    let mut partial = world.clone();
    partial.directory.coverage = Coverage::Partial("size limit".into());
    check_world(&partial, "");
    let mut empty = world;
    empty.directory.entries.clear();
    check_world(&empty, "");
}

#[test]
fn an_employee_deleted_on_the_pbx_is_not_made_again() {
    check("a | Ann,201,, | - | Ann,201,,;Ann,201,,", "a wait ?employee-deleted");
}

#[test]
fn an_attribute_that_vanishes_for_everybody_is_unknown() {
    let lines: Vec<String> = (1..=6).map(|n| format!("{n} | P{n},20{n},, | P{n},20{n},7903000000{n}, | =")).collect();
    let world = World::new(&lines.join("\n"));
    check_world(&world, "");
    assert!(world.plan().warnings[0].contains("mobile"));
}

#[test]
fn too_many_changes_of_one_kind_are_held() {
    let lines: Vec<String> = (1..=9)
        .map(|n| format!("{n} | New{n},20{n},,n{n}@x.test | P{n},20{n},,{} | =", if n < 3 { "" } else { "x" }))
        .collect();
    let (approved, holds) = World::new(&lines.join("\n")).plan().approve(&Limits::default());
    assert_eq!(holds.iter().map(|hold| hold.what.as_str()).collect::<Vec<_>>(), ["renamed", "email changed"]);
    // Filling an empty value is safe and goes on.
    assert_eq!(told(approved.plan()), "1 pbx.email:>n1@x.test\n2 pbx.email:>n2@x.test");
}

#[test]
fn whoever_waits_for_a_held_value_waits_too() {
    let mut lines: Vec<String> = (1..=6)
        .map(|n| format!("{n} | P{n},20{n},7903000000{},| P{n},20{n},7903000001{n}, | =", (n + 1) % 10))
        .collect();
    lines.push("9 | Zed,,79030000011, | - | -".to_owned());
    let world = World::new(&lines.join("\n"));
    let (approved, holds) = world.plan().approve(&Limits::default());
    assert_eq!(holds[0].what, "mobile changed");
    assert_eq!(told(approved.plan()), "9 create pbx.name:>Zed pbx.number:>207 directory.number:>207");
}

#[test]
fn too_many_departures_are_not_believed() {
    let lines: Vec<String> = (1..=8)
        .map(|n| format!("{n} | {} | P{n},20{n},, | =", if n < 3 { format!("P{n},20{n},,") } else { "-".to_owned() }))
        .collect();
    let (approved, holds) = World::new(&lines.join("\n")).plan().approve(&Limits::default());
    assert_eq!(holds[0].what, "departures");
    assert!(approved.plan().departures.iter().all(|departure| departure.held));
}

#[test]
fn many_mistaken_identities_hold_everything() {
    let mut lines: Vec<String> = (1..=7).map(|n| format!("{n} | P{n},20{n},, | P{n},20{n},, | =")).collect();
    lines.push("8 | New,,, | - | -".to_owned());
    let mut world = World::new(&lines.join("\n"));
    for link in world.links.iter_mut().take(6) {
        Arc::make_mut(link).sip_uniqid = "SIP-gone".to_owned();
    }
    let (approved, holds) = world.plan().approve(&Limits::default());
    assert_eq!(holds[0].what, "mistaken identities");
    assert!(approved.plan().people.iter().all(|person| person.changes.is_empty()));
}

#[test]
fn a_tick_does_not_make_crowds() {
    let lines: Vec<String> = (1..=101).map(|n| format!("{n:03} | P{n},,, | - | -")).collect();
    let world = World::new(&lines.join("\n"));
    let (_, by_hand) = world.plan().approve(&Limits::default());
    assert!(by_hand.is_empty());
    let (approved, by_tick) = world.plan().approve(&Limits { tick: true, ..Limits::default() });
    assert_eq!(by_tick[0].what, "new people");
    assert!(approved.plan().people.iter().all(|person| person.changes.is_empty()));
}

#[test]
fn a_pool_that_is_used_up_is_a_conflict() {
    let mut world = World::new("a | Ann,,, | - | -\nb | Bob,,, | - | -");
    (world.policy.number_from, world.policy.number_to) = (Some(800), Some(801));
    check_world(
        &world,
        "a create pbx.name:>Ann pbx.number:>800 directory.number:>800
         b wait ?no-free-number",
    );
}

fn some_person() -> impl Strategy<Value = String> {
    let number = prop_oneof![Just(""), Just("201"), Just("202"), Just("245"), Just("801"), Just("+7 495 1234567")];
    let mobile = prop_oneof![Just(""), Just("+7 903 111-11-11"), Just("89032222222"), Just("x")];
    ("[AB]", number, mobile, "([ab]@x[.]test)?")
        .prop_map(|(name, number, mobile, email)| format!("{name},{number},{mobile},{email}"))
}

fn some_world() -> impl Strategy<Value = World> {
    let people = proptest::collection::vec(some_person(), 1..7);
    let employees = proptest::collection::btree_map("20[1-4]", ("[AB]", "(7903[12]{7})?", "([abc]@x[.]test)?"), 0..4);
    (people, employees).prop_map(|(people, employees)| {
        let mut lines: Vec<String> =
            people.iter().enumerate().map(|(at, person)| format!("p{at} | {person} | - | -")).collect();
        let mut mobiles = BTreeSet::new();
        for (number, (name, mobile, email)) in employees {
            let mobile = if mobiles.insert(mobile.clone()) { mobile } else { String::new() };
            lines.push(format!("e{number} | - | {name},{number},{mobile},{email} | -"));
        }
        World::new(&lines.join("\n"))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// The same world gives the same plan.
    #[test]
    fn a_plan_depends_on_nothing_else(world in some_world()) {
        prop_assert_eq!(told(&world.plan()), told(&world.clone().plan()));
        prop_assert_eq!(summary(&world.plan(), &[], &[]), summary(&world.plan(), &[], &[]));
    }
}

#[test]
fn what_a_preview_showed_is_compared_in_everything_that_would_be_done() {
    use crate::previewed::Previewed;

    let world = World::new(
        "a | Ann,201,,ann@x.test  | -               | -
         b | Bob,202,,bob@x.test  | Bob,202,,       | =
         c | Cid,203,,            | Cid,203,,       | -
         d | -                    | Dan,204,,       | =
         !e | Eve,205,,           | Eve,205,,       | =
         f | Fay,206,,            | Fay,206,,       | =",
    );
    let plan = world.plan();
    let shown = Previewed::of(&plan);
    let differences = |plan: &Plan| shown.differences(&Previewed::of(plan));
    assert_eq!(differences(&world.plan()), Vec::<String>::new());

    let (mut held, mut gone, mut stopped, mut photo, mut secret) =
        (plan.clone(), plan.clone(), plan.clone(), plan.clone(), plan.clone());
    held.departures[0].held = true;
    gone.departures.clear();
    for departure in &plan.departures {
        let employee = Employee { user_id: departure.link.user_id, ..Employee::default() };
        let link = departure.link.clone();
        stopped.accounts.push(AccountPlan {
            step: AccountStep::Stop,
            link,
            employee,
            why: String::new(),
            instead_of: None,
        });
    }
    let change = |field: Field, new: &str| Change {
        field,
        side: Side::Pbx,
        old: String::new().into(),
        new: new.into(),
        why: plan.people[0].changes[0].why,
    };
    photo.people[4].changes.push(change(Field::Photo, "0cc175b9c0f1b6a831c399e269772661"));
    secret.people[4].changes.push(change(Field::Secret, "one"));
    for other in [&held, &gone, &stopped, &photo, &secret] {
        assert!(!differences(other).is_empty());
    }
    // An account that would be deleted is not one that would be switched off.
    let mut deleted = stopped.clone();
    deleted.accounts.iter_mut().for_each(|account| account.step = AccountStep::Delete);
    assert!(!Previewed::of(&stopped).differences(&Previewed::of(&deleted)).is_empty());
    // Another photo is another plan; another secret cannot be told apart.
    let mut other_photo = plan.clone();
    other_photo.people[4].changes.push(change(Field::Photo, "92eb5ffee6ae2fec3ad71c777531578f"));
    assert!(!Previewed::of(&photo).differences(&Previewed::of(&other_photo)).is_empty());
    let mut other_secret = plan.clone();
    other_secret.people[4].changes.push(change(Field::Secret, "two"));
    assert!(Previewed::of(&secret).differences(&Previewed::of(&other_secret)).is_empty());
    let text = serde_json::to_string(&Previewed::of(&secret)).unwrap();
    assert!(!text.contains("one") && !text.contains("ann@x.test"), "{text}");
}
