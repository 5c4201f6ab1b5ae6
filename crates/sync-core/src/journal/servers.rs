//! Directory servers and their sealed passwords.

use std::collections::BTreeSet;

use rusqlite::{OptionalExtension, Row, Transaction, params};
use secrecy::{ExposeSecret, SecretString};

use super::{Journal, JournalError, links, seal};
use crate::person::Field;

/// One directory server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerRecord {
    /// The server's id.
    pub id: i64,
    /// Its settings, as JSON made by the caller; never a password.
    pub settings: String,
    /// Synchronised by the worker's tick.
    pub autosync: bool,
    /// The caller's fingerprint of the mapping, filter, base and region in the settings: the links' bases were made with it.
    pub fingerprint: String,
    /// A person has started or approved the first run with the present mapping.
    pub approved_first_run: bool,
    /// When a run was last tried, Unix time in milliseconds; 0 is never.
    pub last_attempt: i64,
    /// When the next automatic run is due, Unix time in milliseconds; 0 is at once.
    pub next_run: i64,
}

/// What [`Journal::save_server`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Saved {
    /// The server's id.
    pub id: i64,
    /// How many links lost their base, because the mapping has changed.
    pub bases_forgotten: usize,
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

    /// Stores a server: a new one when `id` is `None`. A password of `None` keeps the stored one, an empty one removes it.
    ///
    /// `fingerprint` is what the links' bases depend on, see `concerned`. When it is no longer the stored one, the bases
    /// concerned are forgotten in the same transaction, and what a run with the older fingerprint still stores comes
    /// without bases ([`super::SettleBatch::fingerprint`]).
    ///
    /// # Errors
    /// [`JournalError::NoServer`] when `id` does not exist; nothing is stored then.
    pub fn save_server(
        &mut self,
        id: Option<i64>,
        settings: &str,
        autosync: bool,
        password: Option<&SecretString>,
        fingerprint: &str,
    ) -> Result<Saved, JournalError> {
        let key = self.paths.key();
        self.write(|tx| {
            let saved = match id {
                Some(id) => update_server(tx, id, settings, autosync, fingerprint)?,
                None => insert_server(tx, settings, autosync, fingerprint)?,
            };
            if let Some(password) = password {
                // The id is part of what is sealed, so the row has to be there first.
                let sealed = match password.expose_secret() {
                    "" => Vec::new(),
                    _ => seal::seal(&key, saved.id, password)?,
                };
                tx.execute("UPDATE servers SET password = ?2 WHERE id = ?1", params![saved.id, sealed])?;
            }
            Ok(saved)
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

    /// Notes when a run was tried and when the next is due. A server deleted meanwhile is no error.
    pub fn note_run(&mut self, id: i64, last_attempt: i64, next_run: i64) -> Result<(), JournalError> {
        let sql = "UPDATE servers SET last_attempt = ?2, next_run = ?3 WHERE id = ?1";
        self.write(|tx| {
            tx.execute(sql, params![id, last_attempt, next_run])?;
            Ok(())
        })
    }

    /// Records that a person stood behind a run that began with `fingerprint`; false, and nothing, when the mapping has
    /// changed since. Taken back only by [`Journal::forget_bases`].
    pub fn approve_first_run(&mut self, id: i64, fingerprint: &str) -> Result<bool, JournalError> {
        let sql = "UPDATE servers SET approved_first_run = 1 WHERE id = ?1 AND fingerprint = ?2";
        self.write(|tx| Ok(tx.execute(sql, params![id, fingerprint])? > 0))
    }

    /// Notes that a complete run, begun at `time`, has compared everybody, and how many record ids the PBX had given at
    /// its end. A server deleted meanwhile is no error.
    pub fn note_compared(&mut self, id: i64, time: i64, ids_given: i64) -> Result<(), JournalError> {
        let sql = "UPDATE servers SET compared = ?2, ids_given = ?3 WHERE id = ?1";
        self.write(|tx| {
            tx.execute(sql, params![id, time, ids_given])?;
            Ok(())
        })
    }

    /// When a complete run last compared everybody, Unix time in milliseconds; 0 is never, or no such server.
    pub fn compared(&self, id: i64) -> Result<i64, JournalError> {
        let query = "SELECT compared FROM servers WHERE id = ?1";
        self.read(|tx| Ok(tx.query_row(query, [id], |row| row.get(0)).optional()?.unwrap_or_default()))
    }

    /// How many record ids the PBX had given at the end of that run; 0 is not known.
    pub fn ids_given(&self, id: i64) -> Result<i64, JournalError> {
        let query = "SELECT ids_given FROM servers WHERE id = ?1";
        self.read(|tx| Ok(tx.query_row(query, [id], |row| row.get(0)).optional()?.unwrap_or_default()))
    }

    /// The region by which the links' mobiles were read last; empty is none, or no such server.
    pub fn region(&self, id: i64) -> Result<String, JournalError> {
        let query = "SELECT region FROM servers WHERE id = ?1";
        self.read(|tx| Ok(tx.query_row(query, [id], |row| row.get(0)).optional()?.unwrap_or_default()))
    }

    /// Notes the region by which mobiles are read from now on; it can change with the PBX's language, without anybody
    /// saving the server. When it has, the bases of mobiles mean nothing any more and are forgotten in the same
    /// transaction. Answers the number of links concerned.
    pub fn note_region(&mut self, id: i64, region: &str) -> Result<usize, JournalError> {
        self.write(|tx| {
            let sql = "UPDATE servers SET region = ?2 WHERE id = ?1 AND region <> ?2";
            match tx.execute(sql, params![id, region])? {
                0 => Ok(0),
                _ => Ok(links::forget_quietly(tx, id, &[Field::Mobile].into())?),
            }
        })
    }
}

/// Whether the server is (still) there.
pub(super) fn exists(tx: &Transaction<'_>, id: i64) -> rusqlite::Result<bool> {
    tx.prepare_cached("SELECT 1 FROM servers WHERE id = ?1")?.exists([id])
}

/// Whether `fingerprint` is (still) that of the server.
pub(super) fn has_fingerprint(tx: &Transaction<'_>, id: i64, fingerprint: &str) -> rusqlite::Result<bool> {
    tx.prepare_cached("SELECT 1 FROM servers WHERE id = ?1 AND fingerprint = ?2")?.exists(params![id, fingerprint])
}

fn insert_server(
    tx: &Transaction<'_>,
    settings: &str,
    autosync: bool,
    fingerprint: &str,
) -> Result<Saved, JournalError> {
    let sql = "INSERT INTO servers (settings, autosync, fingerprint) VALUES (?1, ?2, ?3)";
    tx.execute(sql, params![settings, autosync, fingerprint])?;
    Ok(Saved { id: tx.last_insert_rowid(), bases_forgotten: 0 })
}

fn update_server(
    tx: &Transaction<'_>,
    id: i64,
    settings: &str,
    autosync: bool,
    fingerprint: &str,
) -> Result<Saved, JournalError> {
    let stored = tx.query_row("SELECT fingerprint FROM servers WHERE id = ?1", [id], |row| row.get::<_, String>(0));
    let fields = stored.optional()?.map(|stored| concerned(&stored, fingerprint)).unwrap_or_default();
    let sql = "UPDATE servers SET settings = ?2, autosync = ?3, fingerprint = ?4, touched = touched + 1
               WHERE id = ?1";
    if tx.execute(sql, params![id, settings, autosync, fingerprint])? == 0 {
        return Err(JournalError::NoServer { id });
    }
    Ok(Saved { id, bases_forgotten: if fields.is_empty() { 0 } else { links::forget(tx, id, &fields)? } })
}

/// The fields whose bases are worth nothing once one fingerprint has become the other. The first line of a fingerprint is
/// about all fields; each further line begins with the name of a field and is about that one.
pub(super) fn concerned(old: &str, new: &str) -> BTreeSet<Field> {
    if old.lines().next() != new.lines().next() {
        return Field::ALL.into();
    }
    let of = |text: &str, field: Field| -> Option<String> {
        text.lines().skip(1).find(|line| line.split_whitespace().next() == Some(field.name())).map(str::to_owned)
    };
    Field::ALL.into_iter().filter(|field| of(old, *field) != of(new, *field)).collect()
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
