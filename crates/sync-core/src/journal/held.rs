//! What the limits hold: one row per server, kept up to date by every run.

use rusqlite::{OptionalExtension, params};

use super::{Journal, JournalError};
use crate::limits::Hold;

/// What is held for a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldRun {
    /// The server.
    pub server_id: i64,
    /// The run that brought it, or that last made it larger.
    pub run_id: i64,
    /// Since when something is held, Unix time in milliseconds.
    pub since: i64,
    /// What.
    pub holds: Vec<Hold>,
    /// Somebody has rejected it; it is not asked about again until it grows.
    pub rejected: bool,
}

impl Journal {
    /// What is held for a server.
    pub fn held(&self, server_id: i64) -> Result<Option<HeldRun>, JournalError> {
        let query = "SELECT server_id, run_id, since, holds, rejected FROM held WHERE server_id = ?1";
        let found = self.read(|tx| {
            let row = tx.query_row(query, [server_id], |row| {
                let held = HeldRun {
                    server_id: row.get(0)?,
                    run_id: row.get(1)?,
                    since: row.get(2)?,
                    holds: Vec::new(),
                    rejected: row.get(4)?,
                };
                Ok((held, row.get::<_, String>(3)?))
            });
            Ok(row.optional()?)
        })?;
        // What cannot be read is not offered for approval; the next run writes it anew.
        Ok(found.and_then(|(held, holds)| Some(HeldRun { holds: serde_json::from_str(&holds).ok()?, ..held })))
    }

    /// Takes over what run `run_id` held. The row keeps its number, and a rejection, as long as nothing is held that it
    /// did not name before.
    pub fn note_holds(&mut self, server_id: i64, run_id: i64, holds: &[Hold], now: i64) -> Result<(), JournalError> {
        let holds: Vec<Hold> = holds.iter().filter(|hold| hold.approvable()).cloned().collect();
        let earlier = self.held(server_id)?;
        self.write(|tx| {
            if holds.is_empty() || !super::servers::exists(tx, server_id)? {
                tx.execute("DELETE FROM held WHERE server_id = ?1", [server_id])?;
                return Ok(());
            }
            let kept = earlier.filter(|held| holds.iter().all(|hold| hold.is_within(&held.holds)));
            let (run_id, since, rejected) =
                kept.map_or((run_id, now, false), |held| (held.run_id, held.since, held.rejected));
            let text = serde_json::to_string(&holds).unwrap_or_default();
            let sql =
                "INSERT OR REPLACE INTO held (server_id, run_id, since, holds, rejected) VALUES (?1, ?2, ?3, ?4, ?5)";
            tx.execute(sql, params![server_id, run_id, since, text, rejected])?;
            Ok(())
        })
    }

    /// Notes that somebody has rejected what is held under this run; false when nothing is.
    pub fn reject_held(&mut self, run_id: i64) -> Result<bool, JournalError> {
        self.write(|tx| Ok(tx.execute("UPDATE held SET rejected = 1 WHERE run_id = ?1", [run_id])? > 0))
    }
}
