//! What administrators decided about conflicts.

use rusqlite::{Row, params};

use super::{Journal, JournalError};
use crate::decision::{Choice, Decision};
use crate::person::{DirectoryKey, Field};

/// A decision as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecisionRecord {
    /// The server.
    pub server_id: i64,
    /// The decision.
    pub decision: Decision,
    /// The person's name, for reading.
    pub person: String,
    /// When it was made, Unix time in milliseconds.
    pub made: i64,
}

impl Journal {
    /// Stores a decision; it takes the place of an earlier one about the same person, or the same field and cause.
    /// Answers its id.
    pub fn store_decision(&mut self, record: &DecisionRecord) -> Result<i64, JournalError> {
        let DecisionRecord { server_id, decision, person, made } = record;
        let field = decision.field.map(Field::name).unwrap_or_default();
        self.write(|tx| {
            if !super::servers::exists(tx, *server_id)? {
                return Err(JournalError::NoServer { id: *server_id });
            }
            let earlier = "DELETE FROM decisions
                           WHERE server_id = ?1 AND directory_key = ?2 AND field = ?3 AND (?3 = '' OR cause = ?4)";
            tx.execute(earlier, params![server_id, decision.key.0, field, decision.cause])?;
            let sql = "INSERT INTO decisions (server_id, directory_key, field, cause, choice, user_id, person,
                                              directory_value, pbx_value, made)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
            tx.execute(
                sql,
                params![
                    server_id,
                    decision.key.0,
                    field,
                    decision.cause,
                    decision.choice.name(),
                    decision.user_id,
                    person,
                    decision.directory_value,
                    decision.pbx_value,
                    made
                ],
            )?;
            Ok(tx.last_insert_rowid())
        })
    }

    /// The decisions about people of one server, or of all, the latest first.
    pub fn decisions(&self, server_id: Option<i64>) -> Result<Vec<DecisionRecord>, JournalError> {
        let query = "SELECT id, server_id, directory_key, field, cause, choice, user_id, person, directory_value,
                            pbx_value, made
                     FROM decisions WHERE ?1 IS NULL OR server_id = ?1 ORDER BY id DESC";
        self.read(|tx| {
            let mut statement = tx.prepare_cached(query)?;
            let rows = statement.query_map([server_id], record_from_row)?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// Takes a decision back; false when there is none with this id.
    pub fn delete_decision(&mut self, id: i64) -> Result<bool, JournalError> {
        self.write(|tx| {
            let touch = "UPDATE servers SET touched = touched + 1
                         WHERE id = (SELECT server_id FROM decisions WHERE id = ?1)";
            tx.execute(touch, [id])?;
            Ok(tx.execute("DELETE FROM decisions WHERE id = ?1", [id])? > 0)
        })
    }

    /// Removes decisions that have been carried out or hold no longer.
    pub fn delete_decisions(&mut self, ids: &[i64]) -> Result<(), JournalError> {
        if ids.is_empty() {
            return Ok(());
        }
        self.write(|tx| {
            let mut statement = tx.prepare_cached("DELETE FROM decisions WHERE id = ?1")?;
            for id in ids {
                statement.execute([id])?;
            }
            Ok(())
        })
    }
}

fn record_from_row(row: &Row<'_>) -> rusqlite::Result<DecisionRecord> {
    let (field, choice): (String, String) = (row.get(3)?, row.get(5)?);
    Ok(DecisionRecord {
        server_id: row.get(1)?,
        decision: Decision {
            id: row.get(0)?,
            key: DirectoryKey(row.get(2)?),
            field: Field::from_name(&field),
            cause: row.get(4)?,
            // The table allows no other words.
            choice: Choice::from_name(&choice).unwrap_or(Choice::Ignore),
            user_id: row.get(6)?,
            directory_value: row.get(8)?,
            pbx_value: row.get(9)?,
        },
        person: row.get(7)?,
        made: row.get(10)?,
    })
}
