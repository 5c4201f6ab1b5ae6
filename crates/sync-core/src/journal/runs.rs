//! Runs: what was done, how far it has got, and what it replaced.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use rusqlite::{OptionalExtension, Row, Transaction, params};

use super::intents::{StoredOtherwise, delete_by_id, store_links};
use super::{BUSY_TIMEOUT, Journal, JournalError};
use crate::link::Link;
use crate::person::{DirectoryKey, Field};

/// How many runs of each server are kept however old they are.
pub const RUNS_KEPT: u32 = 20;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// One synchronisation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunRecord {
    /// The run's id.
    pub id: i64,
    /// The server.
    pub server_id: i64,
    /// `manual` or `tick`.
    pub kind: String,
    /// Unix time in milliseconds.
    pub started: i64,
    /// Unix time in milliseconds; `None` while the run goes on.
    pub ended: Option<i64>,
    /// `running`, `done`, `failed` or `cancelled`.
    pub state: String,
    /// Somebody asked for it and the worker has not begun it yet; its state is `running`.
    pub queued: bool,
    /// What it was asked to do, as JSON; empty: everything, or a run that never waited.
    pub asked: String,
    /// One sentence for a person.
    pub summary: String,
    /// Numbers of the report, as JSON.
    pub counts_json: String,
    /// Why the run failed; empty when it did not.
    pub error: String,
    /// People dealt with so far.
    pub done: i64,
    /// People in all.
    pub total: i64,
}

/// What became of values that were kept by [`Journal::record_changes`] before they were written.
#[derive(Clone, Debug, Default)]
pub struct Written {
    /// By the ids of the values: a word, or a sentence that says why not.
    pub outcomes: Vec<(i64, String)>,
    /// The links that follow from it.
    pub links: Vec<Link>,
    /// As in [`super::SettleBatch`].
    pub fingerprint: Option<String>,
}

/// One value that a run changed on one side.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChangeRecord {
    /// The run.
    pub run_id: i64,
    /// The directory entry.
    pub key: DirectoryKey,
    /// `m_Users.id`; `None` when there is no employee.
    pub user_id: Option<i64>,
    /// The person's name.
    pub person: String,
    /// The field's name; empty when it is about the person as a whole.
    pub field: String,
    /// The side that was written: `pbx` or `directory`.
    pub side: String,
    /// The value before; of a photo its MD5.
    pub old: String,
    /// The value after; of a photo its MD5.
    pub new: String,
    /// Why it was changed.
    pub why: String,
    /// What became of it.
    pub outcome: String,
    /// Columns of the PBX's rows that were overwritten, with their old values, as JSON; never a SIP secret.
    pub replaced_json: String,
}

const COLUMNS: &str =
    "id, server_id, kind, started, ended, state, summary, counts_json, error, done, total, queued, asked";

impl Journal {
    /// Notes the beginning of a run of `kind` (`manual` or `tick`) and answers its id.
    pub fn begin_run(&mut self, server_id: i64, kind: &str, now: i64) -> Result<i64, JournalError> {
        self.write(|tx| {
            if !super::servers::exists(tx, server_id)? {
                return Err(JournalError::NoServer { id: server_id });
            }
            tx.execute(
                "INSERT INTO runs (server_id, kind, started) VALUES (?1, ?2, ?3)",
                params![server_id, kind, now],
            )?;
            Ok(tx.last_insert_rowid())
        })
    }

    /// Notes that somebody asked for a run of a server, and for what, as JSON; answers its id. One that waits already and
    /// was asked the same is answered again.
    pub fn queue_run(&mut self, server_id: i64, asked: &str, now: i64) -> Result<i64, JournalError> {
        self.write(|tx| {
            if !super::servers::exists(tx, server_id)? {
                return Err(JournalError::NoServer { id: server_id });
            }
            let waiting =
                "SELECT id FROM runs WHERE server_id = ?1 AND state = 'running' AND queued = 1 AND asked = ?2";
            if let Some(id) = tx.query_row(waiting, params![server_id, asked], |row| row.get(0)).optional()? {
                return Ok(id);
            }
            let sql = "INSERT INTO runs (server_id, kind, started, queued, asked) VALUES (?1, 'manual', ?2, 1, ?3)";
            tx.execute(sql, params![server_id, now, asked])?;
            Ok(tx.last_insert_rowid())
        })
    }

    /// Runs that somebody asked for and nobody has begun, the oldest first.
    pub fn queued_runs(&self) -> Result<Vec<RunRecord>, JournalError> {
        let query = format!("SELECT {COLUMNS} FROM runs WHERE state = 'running' AND queued = 1 ORDER BY id");
        self.read(|tx| {
            let mut statement = tx.prepare_cached(&query)?;
            let rows = statement.query_map([], run_from_row)?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// Notes that a run somebody asked for begins now; false when it was cancelled meanwhile.
    pub fn begin_queued(&mut self, run_id: i64, now: i64) -> Result<bool, JournalError> {
        let sql = "UPDATE runs SET queued = 0, started = ?2 WHERE id = ?1 AND state = 'running' AND queued = 1";
        self.write(|tx| Ok(tx.execute(sql, params![run_id, now])? > 0))
    }

    /// Cancels the runs of a server that wait and were asked exactly this.
    pub fn cancel_asked(&mut self, server_id: i64, asked: &str, now: i64) -> Result<(), JournalError> {
        let sql = "UPDATE runs SET state = 'cancelled', ended = max(started, ?3), queued = 0
                   WHERE server_id = ?1 AND asked = ?2 AND state = 'running' AND queued = 1";
        self.write(|tx| {
            tx.execute(sql, params![server_id, asked, now])?;
            Ok(())
        })
    }

    /// The run of a server that people want to see first: the one under way, else the first that waits, else the last.
    pub fn current_run(&self, server_id: i64) -> Result<Option<RunRecord>, JournalError> {
        let query = format!(
            "SELECT {COLUMNS} FROM runs WHERE server_id = ?1
             ORDER BY state = 'running' DESC, queued, iif(queued = 1, -id, id) DESC LIMIT 1"
        );
        self.read(|tx| Ok(tx.query_row(&query, [server_id], run_from_row).optional()?))
    }

    /// Notes that a run somebody asked for failed before it could begin; one that has begun is left as it is.
    pub fn end_queued(&mut self, run_id: i64, now: i64, error: &str) -> Result<(), JournalError> {
        let sql = "UPDATE runs SET queued = 0, state = 'failed', ended = max(started, ?2), error = ?3
                   WHERE id = ?1 AND state = 'running' AND queued = 1";
        self.write(|tx| {
            tx.execute(sql, params![run_id, now, error])?;
            Ok(())
        })
    }

    /// Notes a run of `kind` that failed before it could begin, and answers its id.
    pub fn note_failed_run(&mut self, server_id: i64, kind: &str, now: i64, error: &str) -> Result<i64, JournalError> {
        self.write(|tx| {
            if !super::servers::exists(tx, server_id)? {
                return Err(JournalError::NoServer { id: server_id });
            }
            let sql = "INSERT INTO runs (server_id, kind, started, ended, state, error) VALUES (?1, ?2, ?3, ?3, 'failed', ?4)";
            tx.execute(sql, params![server_id, kind, now, error])?;
            Ok(tx.last_insert_rowid())
        })
    }

    /// Removes a run that did nothing and found nothing.
    pub fn forget_run(&mut self, run_id: i64) -> Result<(), JournalError> {
        self.write(|tx| {
            tx.execute("DELETE FROM runs WHERE id = ?1", [run_id])?;
            Ok(())
        })
    }

    /// Notes the end of a run: `state` is `done`, `failed` or `cancelled`, `error` is empty unless it failed. A run
    /// whose server was deleted meanwhile is no error.
    pub fn end_run(
        &mut self,
        run_id: i64,
        now: i64,
        state: &str,
        summary: &str,
        counts_json: &str,
        error: &str,
    ) -> Result<(), JournalError> {
        let sql = "UPDATE runs SET ended = max(started, ?2), state = ?3, summary = ?4, counts_json = ?5, error = ?6
                   WHERE id = ?1";
        self.write(|tx| {
            tx.execute(sql, params![run_id, now, state, summary, counts_json, error])?;
            Ok(())
        })
    }

    /// The newest runs of a server, the newest first, at most `limit`.
    pub fn runs(&self, server_id: i64, limit: u32) -> Result<Vec<RunRecord>, JournalError> {
        let query = format!("SELECT {COLUMNS} FROM runs WHERE server_id = ?1 ORDER BY id DESC LIMIT ?2");
        self.read(|tx| {
            let mut statement = tx.prepare_cached(&query)?;
            let rows = statement.query_map(params![server_id, limit], run_from_row)?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// One run, if there is one with this id.
    pub fn run(&self, run_id: i64) -> Result<Option<RunRecord>, JournalError> {
        let query = format!("SELECT {COLUMNS} FROM runs WHERE id = ?1");
        self.read(|tx| Ok(tx.query_row(&query, [run_id], run_from_row).optional()?))
    }

    /// Asks a run to stop after the present batch; one that nobody has begun ends at once. False when it has ended.
    pub fn request_cancel(&mut self, run_id: i64, now: i64) -> Result<bool, JournalError> {
        self.write(|tx| {
            let waiting = "UPDATE runs SET state = 'cancelled', ended = max(started, ?2), queued = 0
                           WHERE id = ?1 AND state = 'running' AND queued = 1";
            let running = "UPDATE runs SET cancel = 1 WHERE id = ?1 AND state = 'running'";
            Ok(tx.execute(waiting, params![run_id, now])? + tx.execute(running, [run_id])? > 0)
        })
    }

    /// Whether somebody asked the run to stop. A run that is gone, with its server, is to stop as well.
    pub fn cancel_requested(&self, run_id: i64) -> Result<bool, JournalError> {
        self.read(|tx| {
            let mut statement = tx.prepare_cached("SELECT cancel FROM runs WHERE id = ?1")?;
            let cancel = statement.query_row([run_id], |row| row.get(0)).optional()?;
            Ok(cancel.unwrap_or(true))
        })
    }

    /// As [`Journal::cancel_requested`]; `None` where that cannot be told without waiting for another connection.
    pub fn cancel_requested_at_once(&self, run_id: i64) -> Option<bool> {
        self.connection.busy_timeout(Duration::ZERO).ok()?;
        let requested = self.cancel_requested(run_id).ok();
        self.connection.busy_timeout(BUSY_TIMEOUT).ok()?;
        requested
    }

    /// Marks runs that were left by a program that died as failed, and answers their number. Only for the holder of
    /// the run lock: then no run of another process can be going on.
    pub fn close_abandoned_runs(&mut self, now: i64) -> Result<usize, JournalError> {
        let sql = "UPDATE runs SET state = 'failed', ended = max(started, ?1),
                       error = 'the program ended in the middle of the run; what it left is put in order by the next run'
                   WHERE state = 'running' AND queued = 0";
        self.write(|tx| Ok(tx.execute(sql, [now])?))
    }

    /// Notes what became of values kept before, with the links that follow from it, and keeps values that are about to be
    /// written, with what they replace; answers the ids of these.
    pub fn record_changes(
        &mut self,
        written: &Written,
        changes: &[ChangeRecord],
    ) -> Result<(Vec<i64>, Vec<StoredOtherwise>), JournalError> {
        self.write(|tx| {
            let mut statement = tx.prepare_cached("UPDATE run_changes SET outcome = ?2 WHERE id = ?1")?;
            for (id, outcome) in &written.outcomes {
                statement.execute(params![id, outcome])?;
            }
            let otherwise = store_links(tx, &written.links, written.fingerprint.as_deref())?;
            Ok((insert_changes(tx, changes)?, otherwise))
        })
    }

    /// Forgets values that were kept and never written.
    pub fn forget_changes(&mut self, ids: &[i64]) -> Result<(), JournalError> {
        self.write(|tx| delete_by_id(tx, "DELETE FROM run_changes WHERE id = ?1", ids))
    }

    /// The changes of a run in the order they were made, from `offset`, at most `limit`.
    pub fn changes(&self, run_id: i64, offset: u32, limit: u32) -> Result<Vec<ChangeRecord>, JournalError> {
        let query = "SELECT run_id, directory_key, user_id, person, field, side, old, new, why, outcome, replaced_json
                     FROM run_changes WHERE run_id = ?1 ORDER BY id LIMIT ?3 OFFSET ?2";
        self.read(|tx| {
            let mut statement = tx.prepare_cached(query)?;
            let rows = statement.query_map(params![run_id, offset, limit], change_from_row)?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// The changes of one employee over all runs, the latest first, at most `limit`.
    pub fn changes_of_user(&self, user_id: i64, limit: u32) -> Result<Vec<ChangeRecord>, JournalError> {
        let query = "SELECT run_id, directory_key, user_id, person, field, side, old, new, why, outcome, replaced_json
                     FROM run_changes WHERE user_id = ?1 ORDER BY id DESC LIMIT ?2";
        self.read(|tx| {
            let mut statement = tx.prepare_cached(query)?;
            let rows = statement.query_map(params![user_id, limit], change_from_row)?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// The values that runs of a server have replaced in these fields of these entries, on either side.
    pub fn replaced_values(
        &self,
        server_id: i64,
        wanted: &BTreeSet<(DirectoryKey, Field)>,
    ) -> Result<BTreeMap<(DirectoryKey, Field), BTreeSet<String>>, JournalError> {
        let query = "SELECT DISTINCT old FROM run_changes JOIN runs ON runs.id = run_id
                     WHERE directory_key = ?1 AND field = ?2 AND server_id = ?3";
        self.read(|tx| {
            let mut statement = tx.prepare_cached(query)?;
            let mut found = BTreeMap::new();
            for (key, field) in wanted {
                let rows = statement.query_map(params![key.0, field.name(), server_id], |row| row.get(0))?;
                let values: BTreeSet<String> = rows.collect::<rusqlite::Result<_>>()?;
                if !values.is_empty() {
                    found.insert((key.clone(), *field), values);
                }
            }
            Ok(found)
        })
    }

    /// How many changes a run has made.
    pub fn change_count(&self, run_id: i64) -> Result<u32, JournalError> {
        let query = "SELECT count(*) FROM run_changes WHERE run_id = ?1";
        self.read(|tx| Ok(tx.query_row(query, [run_id], |row| row.get(0))?))
    }

    /// Removes what is older than `keep_days` days: ended runs with their changes, except the last [`RUNS_KEPT`] of
    /// each server and runs with open intents; edits that the PBX reported, also those no run has taken into account;
    /// replaced photos that no remaining run could put back. Answers the number of runs removed.
    pub fn prune(&mut self, now: i64, keep_days: u32) -> Result<usize, JournalError> {
        let before = now.saturating_sub(i64::from(keep_days) * DAY_MS);
        let removed = self.write(|tx| {
            let removed = tx.execute(PRUNE_RUNS, params![before, RUNS_KEPT])?;
            tx.execute("DELETE FROM pbx_edits WHERE made < ?1", [before])?;
            Ok(removed)
        })?;
        self.prune_photos(before)?;
        Ok(removed)
    }

    fn prune_photos(&self, before: i64) -> Result<(), JournalError> {
        let Ok(files) = fs::read_dir(self.paths.replaced_photos()) else { return Ok(()) };
        for file in files.flatten().map(|entry| entry.path()).filter(|path| is_older(path, before)) {
            let wanted = file.file_stem().and_then(|stem| stem.to_str()).map(|md5| self.is_replaced_photo(md5));
            if wanted.transpose()?.unwrap_or(false) {
                continue;
            }
            if let Err(error) = fs::remove_file(&file) {
                log::warn!("the old photo {} cannot be removed: {error}", file.display());
            }
        }
        Ok(())
    }

    fn is_replaced_photo(&self, md5: &str) -> Result<bool, JournalError> {
        let query = "SELECT 1 FROM run_changes WHERE field = 'photo' AND old = ?1";
        self.read(|tx| Ok(tx.prepare_cached(query)?.exists([md5])?))
    }
}

const PRUNE_RUNS: &str = "
    DELETE FROM runs
    WHERE ended < ?1 AND state <> 'running'
      AND id NOT IN (SELECT run_id FROM intents)
      AND (SELECT count(*) FROM runs AS newer WHERE newer.server_id = runs.server_id AND newer.id > runs.id) >= ?2";

/// Inserts changes and answers their ids; those of runs that are gone, with their server, are left out and have id 0.
pub(super) fn insert_changes(tx: &Transaction<'_>, changes: &[ChangeRecord]) -> Result<Vec<i64>, JournalError> {
    let sql = "INSERT INTO run_changes (run_id, directory_key, user_id, person, field, side, old, new, why, outcome,
                                        replaced_json)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
    let mut statement = tx.prepare_cached(sql)?;
    let mut exists = tx.prepare_cached("SELECT 1 FROM runs WHERE id = ?1")?;
    let mut known: BTreeMap<i64, bool> = BTreeMap::new();
    let mut ids = Vec::with_capacity(changes.len());
    for change in changes {
        let ChangeRecord { run_id, key, user_id, person, field, side, old, new, why, outcome, replaced_json } = change;
        let is_there = match known.get(run_id) {
            Some(known) => *known,
            None => exists.exists([run_id])?,
        };
        known.insert(*run_id, is_there);
        if !is_there {
            ids.push(0);
            continue;
        }
        ids.push(statement.insert(params![
            run_id,
            key.0,
            user_id,
            person,
            field,
            side,
            old,
            new,
            why,
            outcome,
            replaced_json
        ])?);
    }
    Ok(ids)
}

/// Whether the regular file at `path` was last written before `before`, Unix time in milliseconds.
fn is_older(path: &Path, before: i64) -> bool {
    let Ok(metadata) = fs::symlink_metadata(path) else { return false };
    let Ok(modified) = metadata.modified() else { return false };
    // A time before 1970 is not believed: nothing is removed for it.
    let Ok(age) = modified.duration_since(UNIX_EPOCH) else { return false };
    metadata.is_file() && i64::try_from(age.as_millis()).is_ok_and(|written| written < before)
}

fn run_from_row(row: &Row<'_>) -> rusqlite::Result<RunRecord> {
    Ok(RunRecord {
        id: row.get(0)?,
        server_id: row.get(1)?,
        kind: row.get(2)?,
        started: row.get(3)?,
        ended: row.get(4)?,
        state: row.get(5)?,
        summary: row.get(6)?,
        counts_json: row.get(7)?,
        error: row.get(8)?,
        done: row.get(9)?,
        total: row.get(10)?,
        queued: row.get(11)?,
        asked: row.get(12)?,
    })
}

fn change_from_row(row: &Row<'_>) -> rusqlite::Result<ChangeRecord> {
    Ok(ChangeRecord {
        run_id: row.get(0)?,
        key: DirectoryKey(row.get(1)?),
        user_id: row.get(2)?,
        person: row.get(3)?,
        field: row.get(4)?,
        side: row.get(5)?,
        old: row.get(6)?,
        new: row.get(7)?,
        why: row.get(8)?,
        outcome: row.get(9)?,
        replaced_json: row.get(10)?,
    })
}
