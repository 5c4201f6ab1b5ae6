//! Edits that the PBX reported: hints about when a value was changed there.

use rusqlite::params;

use super::{Journal, JournalError};

/// How many edits are kept; older ones go first.
pub const MAX_EDITS: usize = 50_000;

impl Journal {
    /// Appends edits, each the JSON of one model event, received at `now`. Only the newest [`MAX_EDITS`] are kept.
    pub fn append_edits(&mut self, events: &[String], now: i64) -> Result<(), JournalError> {
        let newest = &events[events.len().saturating_sub(MAX_EDITS)..];
        self.write(|tx| {
            let mut insert = tx.prepare_cached("INSERT INTO pbx_edits (event, received) VALUES (?1, ?2)")?;
            for event in newest {
                insert.execute(params![event, now])?;
            }
            let surplus = "DELETE FROM pbx_edits
                           WHERE id <= (SELECT id FROM pbx_edits ORDER BY id DESC LIMIT 1 OFFSET ?1)";
            tx.execute(surplus, [MAX_EDITS as i64])?;
            Ok(())
        })
    }

    /// The oldest edits that no run has taken into account yet, with their ids and the time they were received, at
    /// most `limit`.
    pub fn edits(&self, limit: u32) -> Result<Vec<(i64, String, i64)>, JournalError> {
        let query = "SELECT id, event, received FROM pbx_edits WHERE consumed = 0 ORDER BY id LIMIT ?1";
        self.read(|tx| {
            let mut statement = tx.prepare_cached(query)?;
            let rows = statement.query_map([limit], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// Notes that a run has taken the edits up to and including `last_id` into account.
    pub fn consume_edits(&mut self, last_id: i64) -> Result<(), JournalError> {
        self.write(|tx| {
            tx.execute("UPDATE pbx_edits SET consumed = 1 WHERE id <= ?1 AND consumed = 0", [last_id])?;
            Ok(())
        })
    }
}
