//! What a run left for a person to decide.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Row, Transaction, params};

use super::{Journal, JournalError};
use crate::person::DirectoryKey;

/// A conflict as a run saw it. The same person, field, side and cause is the same conflict.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewConflict {
    /// The directory entry; empty when none is concerned.
    pub key: DirectoryKey,
    /// `m_Users.id`, when an employee is concerned.
    pub user_id: Option<i64>,
    /// The person's name.
    pub person: String,
    /// The field's name; empty when it is about the person as a whole.
    pub field: String,
    /// The side that could not be changed.
    pub side: String,
    /// The kind of conflict, a short word for programs.
    pub cause: String,
    /// The same as a sentence for a person.
    pub reason: String,
    /// The directory's value; of a photo its MD5, of a SIP secret its fingerprint.
    pub directory_value: String,
    /// The PBX's value, the same way.
    pub pbx_value: String,
    /// Both sides' values in the PBX's form, the directory's first: what a decision is made for.
    pub compared: (String, String),
}

/// A conflict as it is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConflictRecord {
    /// The row's id.
    pub id: i64,
    /// The server.
    pub server_id: i64,
    /// What the last run that saw it said.
    pub conflict: NewConflict,
    /// When it was seen first, Unix time in milliseconds.
    pub first_time: i64,
    /// When it was seen last, Unix time in milliseconds; never moves back.
    pub last_time: i64,
    /// In how many runs it was seen.
    pub count: i64,
}

/// Whom a run has compared, so that earlier conflicts that it did not meet again are gone.
#[derive(Clone, Copy, Debug)]
pub enum Compared<'a> {
    /// Everybody of the server.
    Everybody,
    /// These people.
    Only(&'a BTreeSet<DirectoryKey>),
    /// Not known whom, as after a partial answer.
    Part,
}

impl Journal {
    /// Takes over what a run of `server_id` has seen at `now`: known conflicts are counted and refreshed, new ones
    /// added. Those that are about people it has `compared` and that it has not seen have been solved and go. A server
    /// deleted meanwhile has no conflicts, and is no error.
    pub fn replace_conflicts(
        &mut self,
        server_id: i64,
        seen: &[NewConflict],
        now: i64,
        compared: Compared<'_>,
    ) -> Result<(), JournalError> {
        self.write(|tx| {
            if !super::servers::exists(tx, server_id)? {
                return Ok(());
            }
            let kept = store(tx, server_id, seen, now)?;
            match compared {
                Compared::Everybody => remove_others(tx, server_id, None, &kept),
                Compared::Only(keys) => remove_others(tx, server_id, Some(keys), &kept),
                Compared::Part => Ok(()),
            }
        })
    }

    /// The conflicts of one server, or of all, the latest first.
    pub fn conflicts(&self, server_id: Option<i64>) -> Result<Vec<ConflictRecord>, JournalError> {
        let query = "SELECT id, server_id, directory_key, user_id, person, field, side, cause, reason,
                            directory_value, pbx_value, first_time, last_time, count, directory_compared, pbx_compared
                     FROM conflicts WHERE ?1 IS NULL OR server_id = ?1 ORDER BY last_time DESC, id DESC";
        self.read(|tx| {
            let mut statement = tx.prepare_cached(query)?;
            let rows = statement.query_map([server_id], conflict_from_row)?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// One conflict, if there is one with this id.
    pub fn conflict(&self, record_id: i64) -> Result<Option<ConflictRecord>, JournalError> {
        Ok(self.conflicts(None)?.into_iter().find(|record| record.id == record_id))
    }

    /// Removes one conflict; false when there was none with this id. A run that sees it again adds it again.
    pub fn delete_conflict(&mut self, record_id: i64) -> Result<bool, JournalError> {
        self.write(|tx| {
            let touch = "UPDATE servers SET touched = touched + 1
                         WHERE id = (SELECT server_id FROM conflicts WHERE id = ?1)";
            tx.execute(touch, [record_id])?;
            Ok(tx.execute("DELETE FROM conflicts WHERE id = ?1", [record_id])? > 0)
        })
    }

    /// Removes the conflicts of a server and answers their number.
    pub fn delete_conflicts(&mut self, server_id: i64) -> Result<usize, JournalError> {
        self.write(|tx| {
            tx.execute("UPDATE servers SET touched = touched + 1 WHERE id = ?1", [server_id])?;
            Ok(tx.execute("DELETE FROM conflicts WHERE server_id = ?1", [server_id])?)
        })
    }
}

/// Stores what was seen and answers the ids. What was seen twice in one run counts once; the last reason stands.
pub(super) fn store(
    tx: &Transaction<'_>,
    server_id: i64,
    seen: &[NewConflict],
    now: i64,
) -> Result<BTreeSet<i64>, JournalError> {
    let sql = "INSERT INTO conflicts (server_id, directory_key, user_id, field, side, cause,
                                      person, reason, directory_value, pbx_value, first_time, last_time,
                                      directory_compared, pbx_compared)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?11, ?12, ?13)
               ON CONFLICT (server_id, directory_key, user_id, field, side, cause) DO UPDATE
               SET person = excluded.person, reason = excluded.reason, directory_value = excluded.directory_value,
                   pbx_value = excluded.pbx_value, directory_compared = excluded.directory_compared,
                   pbx_compared = excluded.pbx_compared, last_time = max(last_time, excluded.last_time), count = count + 1
               RETURNING id";
    let distinct: BTreeMap<_, _> =
        seen.iter().map(|c| ((&c.key, c.user_id.unwrap_or(0), &c.field, &c.side, &c.cause), c)).collect();
    let mut statement = tx.prepare_cached(sql)?;
    let mut ids = BTreeSet::new();
    for ((key, user_id, field, side, cause), conflict) in distinct {
        let NewConflict { person, reason, directory_value, pbx_value, compared, .. } = conflict;
        let (directory, pbx) = compared;
        let values = params![
            server_id,
            key.0,
            user_id,
            field,
            side,
            cause,
            person,
            reason,
            directory_value,
            pbx_value,
            now,
            directory,
            pbx
        ];
        ids.insert(statement.query_row(values, |row| row.get(0))?);
    }
    Ok(ids)
}

fn remove_others(
    tx: &Transaction<'_>,
    server_id: i64,
    among: Option<&BTreeSet<DirectoryKey>>,
    kept: &BTreeSet<i64>,
) -> Result<(), JournalError> {
    let mut statement = tx.prepare_cached("SELECT id, directory_key FROM conflicts WHERE server_id = ?1")?;
    let rows = statement.query_map([server_id], |row| Ok((row.get(0)?, DirectoryKey(row.get(1)?))))?;
    let rows: Vec<(i64, DirectoryKey)> = rows.collect::<rusqlite::Result<_>>()?;
    let concerned = rows.into_iter().filter(|(_, key)| among.is_none_or(|keys| keys.contains(key)));
    let ids: BTreeSet<i64> = concerned.map(|(id, _)| id).collect();
    let mut delete = tx.prepare_cached("DELETE FROM conflicts WHERE id = ?1")?;
    for id in ids.difference(kept) {
        delete.execute([id])?;
    }
    Ok(())
}

fn conflict_from_row(row: &Row<'_>) -> rusqlite::Result<ConflictRecord> {
    Ok(ConflictRecord {
        id: row.get(0)?,
        server_id: row.get(1)?,
        conflict: NewConflict {
            key: DirectoryKey(row.get(2)?),
            user_id: Some(row.get(3)?).filter(|id| *id != 0),
            person: row.get(4)?,
            field: row.get(5)?,
            side: row.get(6)?,
            cause: row.get(7)?,
            reason: row.get(8)?,
            directory_value: row.get(9)?,
            pbx_value: row.get(10)?,
            compared: (row.get(14)?, row.get(15)?),
        },
        first_time: row.get(11)?,
        last_time: row.get(12)?,
        count: row.get(13)?,
    })
}
