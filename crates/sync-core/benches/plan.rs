//! The pure planner: people who are in step, and people who are all new, against sorting the same people by their keys.
//!
//!   cargo xtask bench                            together with the measurements over both sides
//!   cargo bench -p sync-core --bench plan        alone

use std::collections::{BTreeMap, BTreeSet};
use std::hint::black_box;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use sync_core::decision::Decisions;
use sync_core::directory::{Coverage, DirectorySnapshot};
use sync_core::link::Link;
use sync_core::pbx::{Holder, PbxSnapshot};
use sync_core::person::{Attributes, DirectoryEntry, DirectoryKey, Employee, Field, SmolStr, Values};
use sync_core::plan::{Inputs, Plan, Times, make};
use sync_core::policy::Policy;

const SIZES: [usize; 3] = [1_000, 10_000, 100_000];

/// Both sides and what is known about them.
struct World {
    policy: Policy,
    directory: DirectorySnapshot,
    pbx: PbxSnapshot,
    links: Vec<Arc<Link>>,
}

impl World {
    /// So many people, in step or all new.
    fn new(people: usize, in_step: bool) -> World {
        let attributes = [
            (Field::Name, "displayName"),
            (Field::Number, "telephoneNumber"),
            (Field::Mobile, "mobile"),
            (Field::Email, "mail"),
        ];
        let policy = Policy {
            server_id: 1,
            region: "RU".to_owned(),
            attributes: attributes.into_iter().map(|(field, name)| (field, name.to_owned())).collect(),
            ..Policy::default()
        };
        let mut pbx = PbxSnapshot::default();
        pbx.extension_length = 6;
        let (mut entries, mut links) = (Vec::new(), Vec::new());
        for at in 0..people {
            let values = values(at, in_step);
            entries.push(Arc::new(entry(at, &values)));
            if in_step {
                links.push(Arc::new(link(at, &values)));
                employ(&mut pbx, at, values);
            }
        }
        let directory = DirectorySnapshot {
            entries,
            coverage: Coverage::Full,
            elsewhere: BTreeMap::new(),
            warnings: Vec::new(),
            asked: None,
            newest: None,
        };
        World { policy, directory, pbx, links }
    }

    fn plan(&self) -> Plan {
        let none = BTreeSet::new();
        make(Inputs {
            policy: &self.policy,
            directory: &self.directory,
            pbx: &self.pbx,
            links: &self.links,
            linked_elsewhere: &none,
            active_elsewhere: &none,
            linked: self.links.len(),
            numbers_used: &|_| false,
            decisions: &Decisions::default(),
            times: &Times::default(),
            now: 1_800_000_000_000,
            phones: self.policy.phones("ru-ru"),
        })
    }

    /// What a planner cannot do without: everybody by key, once.
    fn sorted(&self) -> BTreeMap<DirectoryKey, Attributes> {
        self.directory.entries.iter().map(|entry| (entry.key.clone(), entry.attributes.clone())).collect()
    }
}

fn key(at: usize) -> DirectoryKey {
    DirectoryKey(format!("{at:08x}-0000-4000-8000-000000000000"))
}

fn values(at: usize, in_step: bool) -> Values {
    let mut values = Values::default();
    values[Field::Name] = format!("Person Number {at}").into();
    values[Field::Email] = format!("person{at}@example.test").into();
    values[Field::Mobile] = format!("7916{at:07}").into();
    values[Field::Number] = if in_step { (200_000 + at).to_string().into() } else { SmolStr::default() };
    values
}

fn entry(at: usize, values: &Values) -> DirectoryEntry {
    let fields = [Field::Name, Field::Email, Field::Mobile, Field::Number];
    let given = fields.into_iter().filter(|field| !values[*field].is_empty());
    DirectoryEntry {
        key: key(at),
        dn: format!("uid=person{at},dc=example,dc=test"),
        attributes: given.map(|field| (field, values[field].clone())).collect(),
        ..DirectoryEntry::default()
    }
}

fn link(at: usize, values: &Values) -> Link {
    Link {
        id: at as i64 + 1,
        server_id: 1,
        key: key(at),
        user_id: at as i64 + 1,
        sip_uniqid: format!("SIP-PHONE-{at:08X}"),
        directory: values.clone(),
        pbx: values.clone(),
        shown: values.clone(),
        based: Field::ALL.into(),
        ..Link::default()
    }
}

fn employ(pbx: &mut PbxSnapshot, at: usize, values: Values) {
    for (field, kind) in [(Field::Number, "SIP"), (Field::Mobile, "EXTERNAL")] {
        let holder =
            Holder { kind: kind.to_owned(), user_id: Some(at as i64 + 1), label: values[Field::Name].to_string() };
        pbx.numbers.insert(values[field].to_string(), holder);
    }
    pbx.smallest_numbers.add(&values[Field::Number]);
    let sip_uniqid = format!("SIP-PHONE-{at:08X}");
    pbx.employees.push(Employee { user_id: at as i64 + 1, sip_uniqid, values, ..Employee::default() });
}

fn planner(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("planner");
    group.sample_size(10);
    for size in SIZES {
        let (same, new) = (World::new(size, true), World::new(size, false));
        group.bench_with_input(BenchmarkId::new("sorted", size), &same, |bench, world| {
            bench.iter(|| black_box(world.sorted()));
        });
        group.bench_with_input(BenchmarkId::new("in-step", size), &same, |bench, world| {
            bench.iter(|| black_box(world.plan()));
        });
        group.bench_with_input(BenchmarkId::new("all-new", size), &new, |bench, world| {
            bench.iter(|| black_box(world.plan()));
        });
    }
    group.finish();
}

criterion_group!(benches, planner);
criterion_main!(benches);
