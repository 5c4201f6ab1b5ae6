//! Edits that the PBX reported: hints about when a value was changed there.

use rusqlite::params;

use super::{Journal, JournalError};

/// How many edits are kept; older ones go first.
pub const MAX_EDITS: usize = 50_000;

impl Journal {
    /// Appends edits: the JSON of a model event and the time of the edit, Unix time in milliseconds. Only the newest
    /// [`MAX_EDITS`] are kept.
    pub fn append_edits(&mut self, edits: &[(String, i64)]) -> Result<(), JournalError> {
        let newest = &edits[edits.len().saturating_sub(MAX_EDITS)..];
        self.write(|tx| {
            let mut insert = tx.prepare_cached("INSERT INTO pbx_edits (event, made) VALUES (?1, ?2)")?;
            for (event, made) in newest {
                insert.execute(params![event, made])?;
            }
            let surplus = "DELETE FROM pbx_edits
                           WHERE id <= (SELECT id FROM pbx_edits ORDER BY id DESC LIMIT 1 OFFSET ?1)";
            tx.execute(surplus, [MAX_EDITS as i64])?;
            Ok(())
        })
    }

    /// The edits made at `since` or later, in their order, each with its time.
    pub fn edits_since(&self, since: i64) -> Result<Vec<(String, i64)>, JournalError> {
        let query = "SELECT event, made FROM pbx_edits WHERE made >= ?1 ORDER BY made, id";
        self.read(|tx| {
            let mut statement = tx.prepare_cached(query)?;
            let rows = statement.query_map([since], |row| Ok((row.get(0)?, row.get(1)?)))?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }
}
