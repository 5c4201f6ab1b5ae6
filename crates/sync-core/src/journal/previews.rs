//! What the last preview of each server showed.

use rusqlite::{OptionalExtension, params};

use super::{Journal, JournalError};
use crate::previewed::Previewed;

impl Journal {
    /// Keeps what a preview showed, in place of the server's earlier one; answers its id.
    pub fn note_preview(&mut self, server_id: i64, previewed: &Previewed, now: i64) -> Result<String, JournalError> {
        let plan_id = previewed.id(server_id);
        let people = serde_json::to_string(previewed).unwrap_or_default();
        self.write(|tx| {
            let sql = "INSERT OR REPLACE INTO previews (server_id, plan_id, made, people) VALUES (?1, ?2, ?3, ?4)";
            tx.execute(sql, params![server_id, plan_id, now, people])?;
            Ok(())
        })?;
        Ok(plan_id)
    }

    /// What the preview `plan_id` showed, and of which server; `None` when it is not the last one of a server.
    pub fn preview(&self, plan_id: &str) -> Result<Option<(i64, Previewed)>, JournalError> {
        let query = "SELECT server_id, people FROM previews WHERE plan_id = ?1";
        let found = self.read(|tx| {
            let row = tx.query_row(query, [plan_id], |row| Ok((row.get(0)?, row.get::<_, String>(1)?)));
            Ok(row.optional()?)
        })?;
        // What cannot be read is not applied: whoever wants it makes a preview again.
        Ok(found.and_then(|(server_id, people)| Some((server_id, serde_json::from_str(&people).ok()?))))
    }
}
