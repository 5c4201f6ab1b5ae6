//! What both sides looked like when the last run of a server had settled everything.

use rusqlite::{OptionalExtension, params};

use super::{Journal, JournalError};
use crate::directory::Position;
use crate::person::DirectoryKey;

/// Where the next run of a server begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watch {
    /// [`Journal::touched`] when the run began.
    pub touched: i64,
    /// Up to where the directory was known before anything was read.
    pub directory: Position,
    /// [`crate::pbx::Pbx::mark`] after everything was written; empty where somebody else may have written since.
    pub pbx: String,
    /// The newest decision that was taken into account; 0 is none.
    pub decided: i64,
    /// When the last complete run began, Unix time in milliseconds.
    pub complete: i64,
}

impl Journal {
    /// Where the next run of a server begins; `None` where it has to read everybody.
    pub fn watch(&self, server_id: i64) -> Result<Option<Watch>, JournalError> {
        let query =
            "SELECT watches.touched, mark, cookie, pbx, decided, complete FROM watches JOIN servers ON id = server_id
                     WHERE server_id = ?1 AND watches.touched = servers.touched";
        self.read(|tx| {
            let row = tx.query_row(query, [server_id], |row| {
                Ok(Watch {
                    touched: row.get(0)?,
                    directory: Position { mark: row.get(1)?, cookie: row.get(2)? },
                    pbx: row.get(3)?,
                    decided: row.get(4)?,
                    complete: row.get(5)?,
                })
            });
            Ok(row.optional()?)
        })
    }

    /// Notes where the next run begins. It is void if the server was touched since the run that tells so began.
    pub fn note_watch(&mut self, server_id: i64, watch: &Watch) -> Result<(), JournalError> {
        let sql = "INSERT OR REPLACE INTO watches (server_id, touched, mark, cookie, pbx, decided, complete)
                   SELECT id, ?2, ?3, ?4, ?5, ?6, ?7 FROM servers WHERE id = ?1";
        let Watch { touched, directory: Position { mark, cookie }, pbx, decided, complete } = watch;
        self.write(|tx| {
            tx.execute(sql, params![server_id, touched, mark, cookie, pbx, decided, complete])?;
            Ok(())
        })
    }

    /// How often a server was touched outside its runs.
    pub fn touched(&self, server_id: i64) -> Result<i64, JournalError> {
        let query = "SELECT touched FROM servers WHERE id = ?1";
        self.read(|tx| Ok(tx.query_row(query, [server_id], |row| row.get(0)).optional()?.unwrap_or_default()))
    }

    /// The newest decision about people of a server; 0 is none.
    pub fn newest_decision(&self, server_id: i64) -> Result<i64, JournalError> {
        let query = "SELECT coalesce(max(id), 0) FROM decisions WHERE server_id = ?1";
        self.read(|tx| Ok(tx.query_row(query, [server_id], |row| row.get(0))?))
    }

    /// The people of a server about whom something was decided, those who wait in the conflict table, and some whose entry
    /// the last run could not settle as a whole.
    pub fn waiting_people(&self, server_id: i64) -> Result<Vec<DirectoryKey>, JournalError> {
        let query = "SELECT directory_key FROM decisions WHERE server_id = ?1
                     UNION SELECT directory_key FROM conflicts WHERE server_id = ?1 AND directory_key <> ''
                     UNION SELECT * FROM (SELECT directory_key FROM links
                                          WHERE server_id = ?1 AND state = 'active' AND change_mark = '' LIMIT 100)";
        self.read(|tx| {
            let mut statement = tx.prepare_cached(query)?;
            let rows = statement.query_map([server_id], |row| Ok(DirectoryKey(row.get(0)?)))?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }
}
