//! After a crash: what was intended is looked up in the PBX's database, and what happened is settled and announced.

use std::path::Path;
use std::time::UNIX_EPOCH;

use log::{info, warn};

use super::intended::AfterTask;
use super::{ANNOUNCED_AT_ONCE, RunError};
use crate::host::Host;
use crate::journal::{Intent, Journal, JournalError, SettleBatch};
use crate::pbx::{Pbx, Task};
use crate::person::Field;

/// Intents settled in one transaction.
const SETTLED_AT_ONCE: usize = 200;

/// Milliseconds of a day.
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// Settles what a program that died left open. To be called with the run lock held.
pub fn recover(journal: &mut Journal, pbx: &mut Pbx, host: &dyn Host) -> Result<(), RunError> {
    for intents in journal.open_intents()?.chunks(SETTLED_AT_ONCE) {
        settle_intents(intents, journal, pbx)?;
    }
    clear_old_spools(&journal.paths().spool(), host.now());
    let abandoned = journal.close_abandoned_runs(host.now())?;
    if abandoned > 0 {
        warn!("{abandoned} earlier run(s) ended in the middle; what they had done is settled");
    }
    deliver(journal, host)?;
    Ok(())
}

/// Removes photos of sessions that ended without cleaning up. A session lasts minutes; those of today are left alone.
fn clear_old_spools(spool: &Path, now: i64) {
    let Ok(sessions) = std::fs::read_dir(spool) else { return };
    for session in sessions.flatten() {
        let modified = session.metadata().and_then(|metadata| metadata.modified()).ok();
        let age = modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok()).map_or(0, |age| age.as_millis());
        if now.saturating_sub(age as i64) > DAY_MS
            && let Err(error) = std::fs::remove_dir_all(session.path())
        {
            warn!("{} could not be removed: {error}", session.path().display());
        }
    }
}

fn settle_intents(intents: &[Intent], journal: &mut Journal, pbx: &mut Pbx) -> Result<(), RunError> {
    let mut batch = SettleBatch::default();
    for intent in intents {
        let Some((task, after)) = read(intent) else {
            warn!("intent {} cannot be read and is dropped", intent.id);
            batch.intents_done.push(intent.id);
            continue;
        };
        if batch.fingerprint.as_ref().is_some_and(|fingerprint| **fingerprint != *after.fingerprint) {
            journal.settle(&std::mem::take(&mut batch))?;
        }
        batch.fingerprint = Some(after.fingerprint.to_string());
        batch.intents_done.push(intent.id);
        settle_task(intent.run_id, &task, after, pbx, &mut batch)?;
    }
    journal.settle(&batch)?;
    Ok(())
}

fn read(intent: &Intent) -> Option<(Task, AfterTask)> {
    Some((serde_json::from_str(&intent.task_json).ok()?, serde_json::from_str(&intent.link_json).ok()?))
}

fn settle_task(
    run_id: i64,
    task: &Task,
    mut after: AfterTask,
    pbx: &mut Pbx,
    batch: &mut SettleBatch,
) -> Result<(), RunError> {
    let Some(applied) = pbx.find_applied(task)? else {
        info!("{} was not written before the program ended", after.person);
        return Ok(());
    };
    info!("{} was written before the program ended; it is settled now", after.person);
    after.link.user_id = applied.user_id;
    for field in Field::ALL.into_iter().filter(|field| !applied.holds(*field)) {
        after.keep_base(field);
    }
    after.settle(run_id, &applied, true, batch);
    Ok(())
}

/// Hands the PBX every event it has not been told of. What it does not take stays for the next time.
pub fn deliver(journal: &mut Journal, host: &dyn Host) -> Result<(), JournalError> {
    if !host.announces() {
        return journal.merge_outbox();
    }
    loop {
        let (ids, events) = journal.outbox(ANNOUNCED_AT_ONCE)?;
        if ids.is_empty() {
            return Ok(());
        }
        if !host.announce(&events) {
            warn!("the PBX did not take its announcements; they are repeated at the next tick");
            return journal.merge_outbox();
        }
        journal.delivered(&ids)?;
    }
}
