//! Directory servers and their sealed passwords.

use rusqlite::{OptionalExtension, Row, Transaction, params};
use secrecy::{ExposeSecret, SecretString};

use super::{Journal, JournalError, seal};

/// One directory server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerRecord {
    /// The server's id.
    pub id: i64,
    /// Its settings, as JSON made by the caller; never a password.
    pub settings: String,
    /// Synchronised by the worker's tick.
    pub autosync: bool,
    /// The caller's fingerprint of the mapping, filter, base and region that the links' bases were made with.
    pub fingerprint: String,
    /// A person has started or approved the first run with the present mapping.
    pub approved_first_run: bool,
    /// When a run was last tried, Unix time in milliseconds; 0 is never.
    pub last_attempt: i64,
    /// When the next automatic run is due, Unix time in milliseconds; 0 is at once.
    pub next_run: i64,
}

const COLUMNS: &str = "id, settings, autosync, fingerprint, approved_first_run, last_attempt, next_run";

impl Journal {
    /// Every server, in the order of their ids.
    pub fn servers(&self) -> Result<Vec<ServerRecord>, JournalError> {
        self.read(|tx| {
            let mut statement = tx.prepare_cached(&format!("SELECT {COLUMNS} FROM servers ORDER BY id"))?;
            let rows = statement.query_map([], server_from_row)?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// The server `id`, if there is one.
    pub fn server(&self, id: i64) -> Result<Option<ServerRecord>, JournalError> {
        let query = format!("SELECT {COLUMNS} FROM servers WHERE id = ?1");
        self.read(|tx| Ok(tx.query_row(&query, [id], server_from_row).optional()?))
    }

    /// Stores a server and answers its id: a new one when `id` is `None`. A password of `None` keeps the stored one, an
    /// empty one removes it.
    ///
    /// # Errors
    /// [`JournalError::NoServer`] when `id` does not exist; nothing is stored then.
    pub fn save_server(
        &mut self,
        id: Option<i64>,
        settings: &str,
        autosync: bool,
        password: Option<&SecretString>,
    ) -> Result<i64, JournalError> {
        let key = self.paths.key();
        self.write(|tx| {
            let id = match id {
                Some(id) => update_server(tx, id, settings, autosync)?,
                None => insert_server(tx, settings, autosync)?,
            };
            if let Some(password) = password {
                // The id is part of what is sealed, so the row has to be there first.
                let sealed = match password.expose_secret() {
                    "" => Vec::new(),
                    _ => seal::seal(&key, id, password)?,
                };
                tx.execute("UPDATE servers SET password = ?2 WHERE id = ?1", params![id, sealed])?;
            }
            Ok(id)
        })
    }

    /// The password of server `id`; `None` when none is stored.
    ///
    /// # Errors
    /// [`JournalError::Key`] when there is one that cannot be opened: the key file is missing, damaged or another one.
    pub fn password(&self, id: i64) -> Result<Option<SecretString>, JournalError> {
        let query = "SELECT password FROM servers WHERE id = ?1";
        let sealed: Option<Vec<u8>> = self.read(|tx| Ok(tx.query_row(query, [id], |row| row.get(0)).optional()?))?;
        let sealed = sealed.ok_or(JournalError::NoServer { id })?;
        if sealed.is_empty() {
            return Ok(None);
        }
        seal::unseal(&self.paths.key(), id, &sealed).map(Some)
    }

    /// Whether a password is stored, without opening its seal.
    pub fn has_password(&self, id: i64) -> Result<bool, JournalError> {
        let query = "SELECT length(password) > 0 FROM servers WHERE id = ?1";
        self.read(|tx| Ok(tx.query_row(query, [id], |row| row.get(0)).optional()?.unwrap_or(false)))
    }

    /// Removes the server with its links, intents, conflicts and runs; false when there was none. Employees of the PBX
    /// are not touched, and what the PBX must still be told stays in the outbox.
    pub fn delete_server(&mut self, id: i64) -> Result<bool, JournalError> {
        self.write(|tx| Ok(tx.execute("DELETE FROM servers WHERE id = ?1", [id])? > 0))
    }

    /// Switches the automatic synchronisation on or off; false when there is no such server.
    pub fn set_autosync(&mut self, id: i64, autosync: bool) -> Result<bool, JournalError> {
        self.write(|tx| Ok(tx.execute("UPDATE servers SET autosync = ?2 WHERE id = ?1", params![id, autosync])? > 0))
    }

    /// Notes when a run was tried and when the next is due. `approved` records that a person stood behind it; it is
    /// never taken back here, only by [`Journal::forget_bases`]. A server deleted meanwhile is no error.
    pub fn note_run(&mut self, id: i64, last_attempt: i64, next_run: i64, approved: bool) -> Result<(), JournalError> {
        let sql = "UPDATE servers
                   SET last_attempt = ?2, next_run = ?3, approved_first_run = max(approved_first_run, ?4)
                   WHERE id = ?1";
        self.write(|tx| {
            tx.execute(sql, params![id, last_attempt, next_run, approved])?;
            Ok(())
        })
    }

    /// Notes the fingerprint of the mapping that the bases are made with from now on.
    pub fn set_fingerprint(&mut self, id: i64, fingerprint: &str) -> Result<(), JournalError> {
        self.write(|tx| {
            tx.execute("UPDATE servers SET fingerprint = ?2 WHERE id = ?1", params![id, fingerprint])?;
            Ok(())
        })
    }
}

/// Whether the server is (still) there.
pub(super) fn exists(tx: &Transaction<'_>, id: i64) -> rusqlite::Result<bool> {
    tx.prepare_cached("SELECT 1 FROM servers WHERE id = ?1")?.exists([id])
}

fn insert_server(tx: &Transaction<'_>, settings: &str, autosync: bool) -> Result<i64, JournalError> {
    tx.execute("INSERT INTO servers (settings, autosync) VALUES (?1, ?2)", params![settings, autosync])?;
    Ok(tx.last_insert_rowid())
}

fn update_server(tx: &Transaction<'_>, id: i64, settings: &str, autosync: bool) -> Result<i64, JournalError> {
    let sql = "UPDATE servers SET settings = ?2, autosync = ?3 WHERE id = ?1";
    match tx.execute(sql, params![id, settings, autosync])? {
        0 => Err(JournalError::NoServer { id }),
        _ => Ok(id),
    }
}

fn server_from_row(row: &Row<'_>) -> rusqlite::Result<ServerRecord> {
    Ok(ServerRecord {
        id: row.get(0)?,
        settings: row.get(1)?,
        autosync: row.get(2)?,
        fingerprint: row.get(3)?,
        approved_first_run: row.get(4)?,
        last_attempt: row.get(5)?,
        next_run: row.get(6)?,
    })
}
