//! Both sides read, and the plan made of them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use log::{debug, warn};

use super::own_side::{self, OwnSide};
use super::scope::Scope;
use super::{RunError, Session, about, cancelled, reports};
use crate::decision::Decisions;
use crate::directory::{Coverage, Directory, DirectorySnapshot, ReadRequest};
use crate::journal::Journal;
use crate::link::{Link, LinkState};
use crate::pbx::PbxSnapshot;
use crate::person::{DirectoryKey, Employee, Field};
use crate::phone::{self, PhoneRules};
use crate::plan::{Action, By, Inputs, Plan, Times, make};
use crate::policy::Policy;

/// What the reading of both sides came to.
pub(super) struct Reading {
    pub(super) plan: Plan,
    /// The region that telephone numbers were read by.
    pub(super) region: String,
    /// What administrators had decided when the plan was made.
    pub(super) decisions: Decisions,
    /// When the reading began, Unix time in milliseconds.
    pub(super) began: i64,
    /// Who was asked for, where not everybody was.
    pub(super) asked: Option<BTreeSet<DirectoryKey>>,
    /// See [`DirectorySnapshot::newest`].
    pub(super) newest: Option<String>,
}

/// People who have not changed and are read along, per field that somebody has lost.
const WITNESSES: usize = 5;

/// Reads both sides, as far as `scope` says, and makes the plan. `progress` gets the number of entries read so far,
/// `planning` how many there are.
pub(super) fn read_both_sides(
    policy: &Policy,
    scope: &Scope,
    session: &mut Session<'_>,
    progress: &mut dyn FnMut(u64, &Journal) -> ControlFlow<()>,
    planning: &mut dyn FnMut(u64),
) -> Result<Reading, RunError> {
    let began = session.host.now();
    let some = match scope {
        Scope::Only(keys) => read_some(policy, keys, session, progress)?,
        Scope::Everybody | Scope::Nobody => None,
    };
    let (mut links, directory, whole_pbx) = match some {
        Some((links, directory)) => (links, directory, None),
        None => {
            let (OwnSide { links, pbx }, directory) = read_everybody(policy, session, progress)?;
            (links, directory, Some(pbx))
        }
    };
    let elsewhere = find_elsewhere(&links, &directory, session)?;
    let directory = DirectorySnapshot { elsewhere, ..directory };
    planning(directory.entries.len() as u64);
    let records = session.journal.decisions(Some(policy.server_id))?;
    let decisions = Decisions::new(records.into_iter().map(|record| record.decision).collect());
    let pbx = match whole_pbx {
        Some(pbx) => pbx,
        None => {
            let phones = PhoneRules::new(&session.journal.region(policy.server_id)?);
            add_links_about(policy, &directory, &[], &mut links, session.journal)?;
            let pbx = session.pbx.read_about(&about::about(&directory, &links, &decisions, &phones))?;
            add_links_about(policy, &directory, &pbx.employees, &mut links, session.journal)?;
            pbx
        }
    };
    debug!("PBX: {} employees, {} numbers in use", pbx.employees.len(), pbx.numbers.len());
    let region = policy.region_on(&pbx.language);
    if session.journal.region(policy.server_id)? != region {
        // Mobiles are compared anew: what they meant depends on the region.
        links.iter_mut().for_each(|link| link.forget_base(Field::Mobile));
    }
    let links: Vec<Arc<Link>> = links.into_iter().map(Arc::new).collect();
    let plan = plan(policy, session, &directory, &pbx, &links, &decisions)?;
    if !plan.everybody && plan.people.iter().any(|person| may_be_somebody_else(person.action)) {
        debug!("an employee was recognised: whether nobody else is meant shows when everybody is read");
        return read_both_sides(policy, &Scope::Everybody, session, progress, planning);
    }
    let DirectorySnapshot { asked, newest, .. } = directory;
    Ok(Reading { plan, region: region.to_owned(), decisions, began, asked, newest })
}

/// Whether somebody was recognised by what a person who was not read may have too.
fn may_be_somebody_else(action: Action) -> bool {
    matches!(action, Action::Adopt(By::Field(field)) if field != Field::Email)
}

/// Reads some people and their links. `None` when the answer could as well mean that something can no longer be read:
/// then everybody has to be.
fn read_some(
    policy: &Policy,
    keys: &BTreeSet<DirectoryKey>,
    session: &mut Session<'_>,
    progress: &mut dyn FnMut(u64, &Journal) -> ControlFlow<()>,
) -> Result<Option<(Vec<Link>, DirectorySnapshot)>, RunError> {
    let links = session.journal.links_of_keys(policy.server_id, keys)?;
    let directory = read_people(&links, keys, session, progress)?;
    if directory.coverage != Coverage::Full {
        return Ok(None);
    }
    let lost = about::lost_fields(&links, &directory, policy);
    let gone = about::gone(&links, &directory);
    if lost.is_empty() && !gone {
        return Ok(Some((links, directory)));
    }
    // Somebody has left, or has lost a value, or the login has lost a right: others, who have not changed, tell which.
    let mut all = keys.clone();
    let mut witnesses = BTreeSet::new();
    let named = Field::Name;
    for field in lost.into_iter().chain([named]) {
        witnesses.extend(session.journal.witnesses(policy.server_id, field, keys, WITNESSES)?);
    }
    all.extend(witnesses.iter().cloned());
    let links = session.journal.links_of_keys(policy.server_id, &all)?;
    let directory = read_people(&links, &all, session, progress)?;
    let seen = directory.entries.iter().any(|entry| witnesses.contains(&entry.key));
    let nobody_to_ask = witnesses.is_empty() && !directory.entries.is_empty();
    let sound = directory.coverage == Coverage::Full && (seen || nobody_to_ask);
    Ok(sound.then_some((links, directory)))
}

/// Links of employees who hold a value of one of the people, or by whom somebody who comes back may be recognised.
fn add_links_about(
    policy: &Policy,
    directory: &DirectorySnapshot,
    employees: &[Employee],
    links: &mut Vec<Link>,
    journal: &Journal,
) -> Result<(), RunError> {
    let users = employees.iter().map(|employee| employee.user_id).collect();
    let numbers = directory.entries.iter().map(|entry| entry.employee_number.as_str());
    let numbers = numbers.filter(|number| !number.is_empty()).collect();
    links.extend(journal.links_about(policy.server_id, &users, &numbers)?);
    links.sort_by(|one, other| one.key.cmp(&other.key));
    links.dedup_by(|one, other| one.key == other.key);
    Ok(())
}

/// Reads the whole directory, and everything of our own meanwhile.
fn read_everybody(
    policy: &Policy,
    session: &mut Session<'_>,
    progress: &mut dyn FnMut(u64, &Journal) -> ControlFlow<()>,
) -> Result<(OwnSide, DirectorySnapshot), RunError> {
    let Session { journal, pbx, directory, host, spool, vault, .. } = session;
    let (journal, now) = (&**journal, host.now());
    let (own, read) = own_side::read_while(policy.server_id, journal, pbx, &mut |photos| {
        let request = ReadRequest { photos, only: None, spool, vault, now };
        read_directory(&mut **directory, &request, &mut |read| progress(read, journal))
    })?;
    Ok((own, read?))
}

/// Reads some people of the directory, whose links are known.
fn read_people(
    links: &[Link],
    only: &BTreeSet<DirectoryKey>,
    session: &mut Session<'_>,
    progress: &mut dyn FnMut(u64, &Journal) -> ControlFlow<()>,
) -> Result<DirectorySnapshot, RunError> {
    let photos = Arc::new(own_side::photos_of(links));
    let (spool, vault, now) = (session.spool, &*session.vault, session.host.now());
    let request = ReadRequest { photos: &|| Some(Arc::clone(&photos)), only: Some(only), spool, vault, now };
    let journal = &*session.journal;
    read_directory(session.directory, &request, &mut |read| progress(read, journal))
}

/// Reads the directory, with the photos of entries that have changed.
fn read_directory(
    directory: &mut dyn Directory,
    request: &ReadRequest<'_>,
    progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
) -> Result<DirectorySnapshot, RunError> {
    let read = std::thread::scope(|scope| {
        scope.spawn(phone::prepare);
        directory.read(request, progress)
    });
    let read = read.map_err(cancelled)?;
    debug!("directory: {} entries", read.entries.len());
    Ok(read)
}

/// Linked people whom the search did not find are looked for by their identifiers: they may only have been moved. Those
/// who were gone already are not asked about again.
fn find_elsewhere(
    links: &[Link],
    directory: &DirectorySnapshot,
    session: &mut Session<'_>,
) -> Result<BTreeMap<DirectoryKey, crate::directory::Elsewhere>, RunError> {
    if !directory.tells_of_absence() {
        return Ok(BTreeMap::new());
    }
    let found: BTreeSet<&DirectoryKey> = directory.entries.iter().map(|entry| &entry.key).collect();
    let missing = links.iter().filter(|link| link.state != LinkState::Absent && !found.contains(&link.key));
    let missing: Vec<DirectoryKey> = missing.map(|link| link.key.clone()).collect();
    if missing.is_empty() {
        return Ok(BTreeMap::new());
    }
    session.directory.find(&missing, session.host.now()).map_err(cancelled)
}

/// Makes the plan; where it depends on the times of edits, they are asked for and it is made again.
fn plan(
    policy: &Policy,
    session: &mut Session<'_>,
    directory: &DirectorySnapshot,
    pbx: &PbxSnapshot,
    links: &[Arc<Link>],
    decisions: &Decisions,
) -> Result<Plan, RunError> {
    let elsewhere = session.journal.linked_elsewhere(policy.server_id)?;
    let linked_elsewhere: BTreeSet<i64> = elsewhere.keys().copied().collect();
    let active_elsewhere = elsewhere.iter().filter(|(_, active)| **active).map(|(user, _)| *user).collect();
    let numbers_used = match directory.asked {
        None => session.journal.numbers_used()?,
        Some(_) => BTreeSet::new(),
    };
    let journal = &*session.journal;
    let number_was_used = |number: &str| match directory.asked {
        None => numbers_used.contains(number),
        Some(_) => journal.was_used(number).unwrap_or_else(|error| {
            warn!("whether {number} was used before is not known: {error}");
            true
        }),
    };
    let linked = match directory.asked {
        None => links.len(),
        Some(_) => journal.link_count(policy.server_id)?,
    };
    let went_back = pbx.ids_given < session.journal.ids_given(policy.server_id)?;
    let compared = session.journal.compared(policy.server_id)?;
    let mut times = Times { compared, went_back, ..Times::default() };
    let now = session.host.now();
    let phones = policy.phones(&pbx.language);
    let made = |times: &Times| {
        make(Inputs {
            policy,
            directory,
            pbx,
            links,
            linked_elsewhere: &linked_elsewhere,
            active_elsewhere: &active_elsewhere,
            linked,
            numbers_used: &number_was_used,
            decisions,
            times,
            now,
            phones,
        })
    };
    let plan = made(&times);
    let (undecided, edits) = (plan.undecided_edits(policy), plan.edits_of_pbx());
    if undecided.is_empty() && edits.is_empty() {
        return Ok(plan);
    }
    times.replaced = session.journal.replaced_values(policy.server_id, &edits)?;
    if undecided.is_empty() && times.replaced.is_empty() {
        return Ok(plan);
    }
    times.reported = reports::reported(&session.journal.edits_since(times.compared)?, &pbx.employees);
    if !undecided.is_empty() {
        debug!("{} people have fields edited on both sides: the times of the edits are asked for", undecided.len());
        times.directory = session.directory.edit_times(&undecided).map_err(cancelled)?;
    }
    Ok(made(&times))
}
