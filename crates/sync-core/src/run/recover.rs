//! After a crash: what was intended is looked up in the PBX's database, and what happened is settled and announced.

use std::path::Path;
use std::time::UNIX_EPOCH;

use log::{info, warn};

use super::apply::{AfterTask, event_texts};
use super::{ANNOUNCED_AT_ONCE, RunError};
use crate::host::Host;
use crate::journal::{Intent, Journal, JournalError, SettleBatch};
use crate::pbx::{Pbx, Task};
use crate::person::Field;

/// Milliseconds of a day.
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// Settles what a program that died left open. To be called with the run lock held.
pub fn recover(journal: &mut Journal, pbx: &mut Pbx, host: &dyn Host) -> Result<(), RunError> {
    for intent in journal.open_intents()? {
        settle_intent(&intent, journal, pbx)?;
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

fn settle_intent(intent: &Intent, journal: &mut Journal, pbx: &mut Pbx) -> Result<(), RunError> {
    let mut batch = SettleBatch { intents_done: vec![intent.id], ..SettleBatch::default() };
    let task: Option<Task> = serde_json::from_str(&intent.task_json).ok();
    let after: Option<AfterTask> = serde_json::from_str(&intent.link_json).ok();
    if let (Some(task), Some(mut after)) = (task, after) {
        match pbx.find_applied(&task)? {
            Some(applied) => {
                info!("{} was written before the program ended; it is settled now", after.person);
                after.link.user_id = applied.user_id;
                for field in Field::ALL.into_iter().filter(|field| !applied.holds(*field)) {
                    after.keep_base(field);
                }
                batch.fingerprint = Some(after.fingerprint.clone());
                batch.events = event_texts(&applied).collect();
                batch.changes = after.records(intent.run_id, &applied);
                after.settle_link(&mut batch);
            }
            None => info!("{} was not written before the program ended", after.person),
        }
    } else {
        warn!("intent {} cannot be read and is dropped", intent.id);
    }
    journal.settle(&batch)?;
    Ok(())
}

/// Hands the PBX every event it has not been told of. What it does not take stays for the next time.
pub fn deliver(journal: &mut Journal, host: &dyn Host) -> Result<(), JournalError> {
    if !host.announces() {
        return Ok(());
    }
    loop {
        let events = journal.outbox(ANNOUNCED_AT_ONCE)?;
        if events.is_empty() {
            return Ok(());
        }
        let texts: Vec<&str> = events.iter().map(|(_, event)| event.as_str()).collect();
        if !host.announce(&format!("[{}]", texts.join(","))) {
            warn!("the PBX did not take {} announcement(s); they are repeated at the next tick", events.len());
            return Ok(());
        }
        let ids: Vec<i64> = events.iter().map(|(id, _)| *id).collect();
        journal.delivered(&ids)?;
    }
}
