//! What a run has to look at: everybody, only people who may have changed since the last one, or nobody at all.

use std::collections::{BTreeMap, BTreeSet};

use log::{debug, warn};

use super::{Job, RunError, Session, cancelled};
use crate::directory::{Changed, Position};
use crate::journal::Watch;
use crate::link::{Link, LinkState};
use crate::pbx::PbxSnapshot;
use crate::person::{DirectoryKey, Employee};
use crate::policy::Policy;

/// People looked at one by one; where more may have changed, everybody is read.
const MOST: usize = 1000;

/// Whom a run looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    Everybody,
    Only(BTreeSet<DirectoryKey>),
    Nobody,
}

/// How a run begins.
#[derive(Clone, Debug)]
pub(super) struct Beginning {
    pub(super) scope: Scope,
    /// People among them who were waiting for a decision before.
    pub(super) waiting: BTreeSet<DirectoryKey>,
    /// Where the next run begins once this one has settled everything.
    pub(super) next: Watch,
}

/// Asks both sides what has changed, the cheapest questions first. A run that somebody started looks at everybody.
pub(super) fn begin(job: &Job<'_>, session: &mut Session<'_>) -> Result<Beginning, RunError> {
    let server_id = job.policy.server_id;
    let next = Watch {
        touched: session.journal.touched(server_id)?,
        pbx: session.pbx.mark()?,
        decided: session.journal.newest_decision(server_id)?,
        directory: Position {
            mark: session.directory.mark().map_err(cancelled)?.unwrap_or_default(),
            ..Position::default()
        },
        complete: session.host.now(),
    };
    let everybody = |why: &str, mut next: Watch, session: &mut Session<'_>| {
        debug!("server {server_id}: everybody is read: {why}");
        next.complete = session.host.now();
        next.directory.cookie = session.directory.cookie().unwrap_or_else(|error| {
            // What changes can be found without it, and whether the server answers shows when it is read.
            warn!("server {server_id}: {error}");
            String::new()
        });
        Ok(Beginning { scope: Scope::Everybody, waiting: BTreeSet::new(), next })
    };
    if !job.keeps_up() {
        return everybody("somebody asked for it, or it is time for it", next, session);
    }
    let before = session.journal.watch(server_id)?.filter(|before| !before.directory.mark.is_empty());
    let Some(before) = before else { return everybody("it is not known where the last run ended", next, session) };
    let mut next = Watch { complete: before.complete, ..next };
    let mut keys = match changed_in_directory(server_id, &before, &mut next, session)? {
        Ok(keys) => keys,
        Err(why) => return everybody(&why, next, session),
    };
    if next.pbx != before.pbx {
        match changed_on_pbx(job.policy, session)? {
            Some(edited) => keys.extend(edited),
            None => {
                let why = "the region of telephone numbers has changed";
                return everybody(why, next, session);
            }
        }
    }
    let moved = !keys.is_empty() || next.pbx != before.pbx || next.decided != before.decided;
    let waiting: BTreeSet<DirectoryKey> =
        if moved { session.journal.waiting_people(server_id)?.into_iter().collect() } else { BTreeSet::new() };
    keys.extend(waiting.iter().cloned());
    if keys.is_empty() {
        if next != before {
            session.journal.note_watch(server_id, &next)?;
        }
        return Ok(Beginning { scope: Scope::Nobody, waiting, next });
    }
    if keys.len() > MOST {
        return everybody(&format!("{} people may have changed", keys.len()), next, session);
    }
    if session.journal.held(server_id)?.is_some() {
        return everybody("changes are held", next, session);
    }
    debug!("server {server_id}: {} people may have changed", keys.len());
    Ok(Beginning { scope: Scope::Only(keys), waiting, next })
}

/// Who may have changed in the directory; a sentence when it cannot tell.
fn changed_in_directory(
    server_id: i64,
    before: &Watch,
    next: &mut Watch,
    session: &mut Session<'_>,
) -> Result<Result<BTreeSet<DirectoryKey>, String>, RunError> {
    if !next.directory.mark.is_empty() && next.directory.mark == before.directory.mark {
        next.directory = before.directory.clone();
        return Ok(Ok(BTreeSet::new()));
    }
    let answer = session.directory.changed(&before.directory, session.host.now()).map_err(cancelled)?;
    let (changed, present) = match answer {
        Changed::Unknown(why) => return Ok(Err(why)),
        Changed::Known { changed, present, position } => {
            next.directory = position;
            (changed, present)
        }
    };
    let Some(present) = present else { return Ok(Ok(changed)) };
    let linked = session.journal.states(server_id)?;
    let active = linked.iter().filter(|(_, state)| **state == LinkState::Active).map(|(key, _)| key);
    let gone = active.filter(|key| !present.contains(key)).cloned();
    // Somebody may have come into the filter without an edit of the entry, as by a group.
    let outside = |state: &LinkState| matches!(state, LinkState::Absent | LinkState::Moved);
    let come = present.iter().filter(|key| linked.get(key).is_none_or(outside)).cloned();
    Ok(Ok(gone.chain(come).chain(changed).collect()))
}

/// Who is no longer on the PBX as the last run left them. `None` when telephone numbers are read differently now.
fn changed_on_pbx(policy: &Policy, session: &mut Session<'_>) -> Result<Option<Vec<DirectoryKey>>, RunError> {
    let pbx = session.pbx.read()?;
    if session.journal.region(policy.server_id)? != policy.region_on(&pbx.language) {
        return Ok(None);
    }
    let links = session.journal.links(policy.server_id)?;
    Ok(Some(edited(&links, &pbx, policy)))
}

fn edited(links: &[Link], pbx: &PbxSnapshot, policy: &Policy) -> Vec<DirectoryKey> {
    let employees: BTreeMap<i64, &Employee> =
        pbx.employees.iter().map(|employee| (employee.user_id, employee)).collect();
    let as_left = |link: &&Link| {
        employees.get(&link.user_id).is_some_and(|employee| {
            employee.sip_uniqid == link.sip_uniqid
                && policy.attributes.keys().all(|field| employee.values[*field] == link.shown[*field])
        })
    };
    let active = links.iter().filter(|link| link.state == LinkState::Active);
    active.filter(|link| !as_left(link)).map(|link| link.key.clone()).collect()
}
