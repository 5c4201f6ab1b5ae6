//! Both sides read, and the plan made of them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use log::debug;

use super::{RunError, Session, cancelled, reports};
use crate::decision::Decisions;
use crate::directory::{Coverage, DirectorySnapshot, ReadRequest};
use crate::journal::Journal;
use crate::link::{Link, LinkState};
use crate::pbx::PbxSnapshot;
use crate::person::{DirectoryKey, Field};
use crate::plan::{Inputs, Plan, Times, make};
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
}

/// Reads the directory, then the PBX, and makes the plan. `progress` gets the number of entries read so far, `planning`
/// how many there are.
pub(super) fn read_both_sides(
    policy: &Policy,
    session: &mut Session<'_>,
    progress: &mut dyn FnMut(u64, &Journal) -> ControlFlow<()>,
    planning: &mut dyn FnMut(u64),
) -> Result<Reading, RunError> {
    let began = session.host.now();
    let mut links = session.journal.links(policy.server_id)?;
    let mut directory = read_directory(&links, session, progress)?;
    directory.elsewhere = find_elsewhere(&links, &directory, session)?;
    planning(directory.entries.len() as u64);
    let pbx = session.pbx.read()?;
    debug!("PBX: {} employees, {} numbers in use", pbx.employees.len(), pbx.numbers.len());
    let region = policy.region_on(&pbx.language);
    if session.journal.region(policy.server_id)? != region {
        // Mobiles are compared anew: what they meant depends on the region.
        links.iter_mut().for_each(|link| link.forget_base(Field::Mobile));
    }
    let records = session.journal.decisions(Some(policy.server_id))?;
    let decisions = Decisions::new(records.into_iter().map(|record| record.decision).collect());
    let plan = plan(policy, session, &directory, &pbx, &links, &decisions)?;
    Ok(Reading { plan, region: region.to_owned(), decisions, began })
}

/// Reads the directory, with the photos of entries that have changed.
fn read_directory(
    links: &[Link],
    session: &mut Session<'_>,
    progress: &mut dyn FnMut(u64, &Journal) -> ControlFlow<()>,
) -> Result<DirectorySnapshot, RunError> {
    let known_marks = links.iter().map(|link| (link.key.clone(), link.change_mark.clone())).collect();
    let with_photo = links.iter().filter(|link| !link.directory[Field::Photo].is_empty());
    let had_photo = with_photo.map(|link| link.key.clone()).collect();
    let (spool, now) = (session.spool, session.host.now());
    let vault = &*session.vault;
    let request = ReadRequest { known_marks: &known_marks, had_photo: &had_photo, spool, vault, now };
    let journal = &*session.journal;
    let directory = session.directory.read(&request, &mut |read| progress(read, journal)).map_err(cancelled)?;
    debug!("directory: {} entries", directory.entries.len());
    Ok(directory)
}

/// Linked people whom the search did not find are looked for by their identifiers: they may only have been moved. Those
/// who were gone already are not asked about again.
fn find_elsewhere(
    links: &[Link],
    directory: &DirectorySnapshot,
    session: &mut Session<'_>,
) -> Result<BTreeMap<DirectoryKey, crate::directory::Elsewhere>, RunError> {
    if directory.coverage != Coverage::Full || directory.entries.is_empty() {
        return Ok(BTreeMap::new());
    }
    let found: BTreeSet<&DirectoryKey> = directory.entries.iter().map(|entry| &entry.key).collect();
    let missing = links.iter().filter(|link| link.state != LinkState::Absent && !found.contains(&link.key));
    let missing: Vec<DirectoryKey> = missing.map(|link| link.key.clone()).collect();
    if missing.is_empty() {
        return Ok(BTreeMap::new());
    }
    Ok(session.directory.find(&missing, session.host.now()).map_err(cancelled)?)
}

/// Makes the plan; where it depends on the times of edits, they are asked for and it is made again.
fn plan(
    policy: &Policy,
    session: &mut Session<'_>,
    directory: &DirectorySnapshot,
    pbx: &PbxSnapshot,
    links: &[Link],
    decisions: &Decisions,
) -> Result<Plan, RunError> {
    let elsewhere = session.journal.linked_elsewhere(policy.server_id)?;
    let linked_elsewhere: BTreeSet<i64> = elsewhere.keys().copied().collect();
    let active_elsewhere = elsewhere.iter().filter(|(_, active)| **active).map(|(user, _)| *user).collect();
    let numbers_used = session.journal.numbers_used()?;
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
            numbers_used: &numbers_used,
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
