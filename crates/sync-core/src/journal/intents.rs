//! What is about to happen, what has happened, and what the PBX must still be told of it.
//!
//! The module's database and the PBX's are two files that no transaction spans. So an intent is committed here before
//! the PBX is changed and removed by [`Journal::settle`] afterwards, together with the new link and the announcements.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Row, Transaction, params};
use serde_json::{Value, json};

use super::{ChangeRecord, Journal, JournalError, Link, runs, servers};
use crate::person::DirectoryKey;

/// Events that may wait in the outbox before a later event of the same record takes the place of earlier ones.
pub const OUTBOX_UNMERGED: usize = 10_000;

/// Events in one row of the outbox, at most.
const EVENTS_IN_ROW: usize = 1_000;

/// One task that is about to be done in the PBX's database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Intent {
    /// The row's id; 0 for one not recorded yet.
    pub id: i64,
    /// The run it belongs to.
    pub run_id: i64,
    /// The server it belongs to.
    pub server_id: i64,
    /// The directory entry it is about.
    pub key: DirectoryKey,
    /// The task as JSON, without its SIP secret.
    pub task_json: String,
    /// The link to store when the task is done, as JSON.
    pub link_json: String,
    /// What kind of task, a word of the caller's.
    pub kind: String,
}

/// Everything that becomes certain together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SettleBatch {
    /// Ids of the intents that are done or known not to have happened.
    pub intents_done: Vec<i64>,
    /// Ids of links that go: their place is taken, or the employee is deleted. They go before `links` come.
    pub unlinked: Vec<i64>,
    /// Links with their new bases.
    pub links: Vec<Link>,
    /// Model events the PBX must be told of, each as JSON, in order.
    pub events: Vec<String>,
    /// What was changed, for the run's report.
    pub changes: Vec<ChangeRecord>,
    /// [`super::ServerRecord::fingerprint`] with which the run began that made `links`. When it is no longer the server's,
    /// the mapping was changed during the run and the links are stored without a base. `None` asks nothing.
    pub fingerprint: Option<String>,
    /// How far the run has got.
    pub progress: Option<Progress>,
}

/// How far a run has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The run.
    pub run_id: i64,
    /// People dealt with.
    pub done: i64,
    /// People there are to deal with.
    pub total: i64,
}

/// What [`Journal::settle_and_intend`] has stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recorded {
    /// Ids of the intents, in the order given.
    pub intents: Vec<i64>,
    /// Servers whose links were not stored as they were given.
    pub otherwise: Vec<StoredOtherwise>,
}

/// A server whose links were not stored as they were given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredOtherwise {
    server_id: i64,
    storing: Storing,
}

impl StoredOtherwise {
    /// Tells the log: what stores the links may be on a thread that logs nowhere.
    pub fn log(self) {
        let StoredOtherwise { server_id, storing } = self;
        match storing {
            Storing::Whole => {}
            Storing::WithoutBase => log::warn!(
                "the mapping of server {server_id} was changed in the middle of its run; the next run compares anew"
            ),
            Storing::No => {
                log::warn!("server {server_id} was deleted in the middle of its run; its links are not stored");
            }
        }
    }
}

impl Journal {
    /// Commits what is about to be done, in one transaction; answers the ids in the order given.
    pub fn record_intents(&mut self, intents: &[Intent]) -> Result<Vec<i64>, JournalError> {
        Ok(self.settle_and_intend(&SettleBatch::default(), intents)?.intents)
    }

    /// Every intent not settled yet, in the order of recording: those of the present run's batches, or those left by a
    /// program that died.
    pub fn open_intents(&self) -> Result<Vec<Intent>, JournalError> {
        let query = "SELECT id, run_id, server_id, directory_key, task_json, link_json, kind FROM intents ORDER BY id";
        self.read(|tx| {
            let mut statement = tx.prepare_cached(query)?;
            let rows = statement.query_map([], intent_from_row)?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// Stores links, events and changes and removes the intents, all in one transaction.
    ///
    /// When a server was deleted in the middle of its run, its links and changes have no place any more and are left
    /// out; the events are kept, because what happened on the PBX must be announced.
    pub fn settle(&mut self, batch: &SettleBatch) -> Result<(), JournalError> {
        let recorded = self.settle_and_intend(batch, &[])?;
        recorded.otherwise.into_iter().for_each(StoredOtherwise::log);
        Ok(())
    }

    /// Settles what was done and records what is intended next, in one transaction.
    pub fn settle_and_intend(&mut self, batch: &SettleBatch, intents: &[Intent]) -> Result<Recorded, JournalError> {
        self.write(|tx| {
            delete_by_id(tx, "DELETE FROM links WHERE id = ?1", &batch.unlinked)?;
            let otherwise = store_links(tx, &batch.links, batch.fingerprint.as_deref())?;
            insert_events(tx, &batch.events, false)?;
            runs::insert_changes(tx, &batch.changes)?;
            delete_by_id(tx, "DELETE FROM intents WHERE id = ?1", &batch.intents_done)?;
            if let Some(Progress { run_id, done, total }) = batch.progress {
                let sql = "UPDATE runs SET done = ?2, total = ?3 WHERE id = ?1";
                tx.prepare_cached(sql)?.execute(params![run_id, done, total])?;
            }
            let intents = intents.iter().map(|intent| insert(tx, intent)).collect::<rusqlite::Result<_>>()?;
            Ok(Recorded { intents, otherwise })
        })
    }

    /// The oldest events not delivered yet, `limit` of them or a few less, at least one row's: the ids of their rows, and the
    /// events as a JSON array.
    pub fn outbox(&self, limit: usize) -> Result<(Vec<i64>, String), JournalError> {
        self.read(|tx| {
            let mut statement = tx.prepare_cached("SELECT id, event, events FROM outbox ORDER BY id")?;
            let mut rows = statement.query([])?;
            let (mut ids, mut texts, mut count) = (Vec::new(), Vec::new(), 0);
            while let Some(row) = rows.next()? {
                count += row.get::<_, i64>(2)? as usize;
                if count > limit && !ids.is_empty() {
                    break;
                }
                ids.push(row.get(0)?);
                texts.push(row.get::<_, String>(1)?);
            }
            Ok((ids, format!("[{}]", texts.join(","))))
        })
    }

    /// To be called where nobody takes the events: when very many wait that were not merged yet, those about the same record
    /// become one. So the outbox grows with the records, not with time.
    pub fn merge_outbox(&mut self) -> Result<(), JournalError> {
        let query = "SELECT coalesce(sum(events), 0) FROM outbox
                     WHERE id > coalesce((SELECT id FROM outbox WHERE merged ORDER BY id DESC LIMIT 1), 0)";
        let unmerged: i64 = self.read(|tx| Ok(tx.query_row(query, [], |row| row.get(0))?))?;
        if unmerged > OUTBOX_UNMERGED as i64 { self.write(merge_events) } else { Ok(()) }
    }

    /// Removes events that the PBX has taken.
    pub fn delivered(&mut self, ids: &[i64]) -> Result<(), JournalError> {
        self.write(|tx| delete_by_id(tx, "DELETE FROM outbox WHERE id = ?1", ids))
    }
}

fn insert(tx: &Transaction<'_>, intent: &Intent) -> rusqlite::Result<i64> {
    let sql = "INSERT INTO intents (run_id, server_id, directory_key, task_json, link_json, kind)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let Intent { id: _, run_id, server_id, key, task_json, link_json, kind } = intent;
    tx.prepare_cached(sql)?.insert(params![run_id, server_id, key.0, task_json, link_json, kind])
}

fn intent_from_row(row: &Row<'_>) -> rusqlite::Result<Intent> {
    Ok(Intent {
        id: row.get(0)?,
        run_id: row.get(1)?,
        server_id: row.get(2)?,
        key: DirectoryKey(row.get(3)?),
        task_json: row.get(4)?,
        link_json: row.get(5)?,
        kind: row.get(6)?,
    })
}

/// What becomes of the links of one server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Storing {
    Whole,
    WithoutBase,
    No,
}

pub(super) fn store_links(
    tx: &Transaction<'_>,
    links: &[Link],
    fingerprint: Option<&str>,
) -> Result<Vec<StoredOtherwise>, JournalError> {
    let mut known = BTreeMap::new();
    for link in links {
        let storing = match known.get(&link.server_id) {
            Some(storing) => *storing,
            None => storing(tx, link.server_id, fingerprint)?,
        };
        known.insert(link.server_id, storing);
        match storing {
            Storing::Whole => drop(Journal::upsert_link(tx, link)?),
            Storing::WithoutBase => {
                let mut link = link.clone();
                link.forget_bases();
                Journal::upsert_link(tx, &link)?;
            }
            Storing::No => {}
        }
    }
    let otherwise = known.into_iter().filter(|(_, storing)| *storing != Storing::Whole);
    Ok(otherwise.map(|(server_id, storing)| StoredOtherwise { server_id, storing }).collect())
}

fn storing(tx: &Transaction<'_>, server_id: i64, fingerprint: Option<&str>) -> rusqlite::Result<Storing> {
    if !servers::exists(tx, server_id)? {
        return Ok(Storing::No);
    }
    match fingerprint {
        Some(fingerprint) if !servers::has_fingerprint(tx, server_id, fingerprint)? => Ok(Storing::WithoutBase),
        _ => Ok(Storing::Whole),
    }
}

fn insert_events(tx: &Transaction<'_>, events: &[String], merged: bool) -> rusqlite::Result<()> {
    let mut insert = tx.prepare_cached("INSERT INTO outbox (event, events, merged) VALUES (?1, ?2, ?3)")?;
    for some in events.chunks(EVENTS_IN_ROW) {
        insert.execute(params![some.join(","), some.len() as i64, merged])?;
    }
    Ok(())
}

/// Makes one event of all that are about the same record and action, with all their changed fields, in the place of the
/// last.
fn merge_events(tx: &Transaction<'_>) -> Result<(), JournalError> {
    let mut statement = tx.prepare_cached("SELECT event FROM outbox ORDER BY id")?;
    let texts: Vec<String> = statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    let events = texts.iter().flat_map(|text| events_of(text));
    let mut merged: BTreeMap<(String, String, String), (usize, Value)> = BTreeMap::new();
    for (at, mut event) in events.enumerate() {
        let part = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
        let key = (part("model"), part("recordId"), part("action"));
        if let Some((_, earlier)) = merged.get(&key) {
            let fields = [&earlier["changedFields"], &event["changedFields"]].into_iter().filter_map(Value::as_array);
            let fields: BTreeSet<&str> = fields.flatten().filter_map(Value::as_str).collect();
            event["changedFields"] = json!(fields);
        }
        merged.insert(key, (at, event));
    }
    let mut merged: Vec<(usize, Value)> = merged.into_values().collect();
    merged.sort_by_key(|(at, _)| *at);
    tx.execute("DELETE FROM outbox", [])?;
    let events: Vec<String> = merged.into_iter().map(|(_, event)| event.to_string()).collect();
    insert_events(tx, &events, true)?;
    Ok(())
}

fn events_of(row: &str) -> Vec<Value> {
    serde_json::from_str(&format!("[{row}]")).unwrap_or_else(|error| {
        log::warn!("announcements in the outbox cannot be read and are dropped: {error}");
        Vec::new()
    })
}

pub(super) fn delete_by_id(tx: &Transaction<'_>, sql: &str, ids: &[i64]) -> Result<(), JournalError> {
    let mut statement = tx.prepare_cached(sql)?;
    for id in ids {
        statement.execute([id])?;
    }
    Ok(())
}
