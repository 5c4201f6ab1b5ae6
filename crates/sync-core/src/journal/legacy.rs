//! The tables of the module's PHP predecessor in the same file: read once, at install, and taken over.

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};
use secrecy::SecretString;

use super::{Journal, JournalError, NewConflict, links, seal};
use crate::link::Link;
use crate::person::DirectoryKey;

/// A server of the predecessor, as it stored it.
#[derive(Clone, Debug)]
pub struct LegacyServer {
    /// Its id there.
    pub old_id: i64,
    /// Columns as text, in the order of [`LegacyServer::COLUMNS`].
    columns: Vec<String>,
    /// The password, which stood there in clear.
    pub password: SecretString,
}

impl LegacyServer {
    /// The columns that are read.
    pub const COLUMNS: [&'static str; 10] = [
        "serverName",
        "serverPort",
        "useTLS",
        "administrativeLogin",
        "baseDN",
        "userFilter",
        "ldapType",
        "attributes",
        "organizationalUnit",
        "updateAttributes",
    ];

    /// One of its columns; empty when it is NULL.
    pub fn column(&self, name: &str) -> &str {
        let at = Self::COLUMNS.iter().position(|column| *column == name);
        at.and_then(|at| self.columns.get(at)).map_or("", String::as_str)
    }
}

/// What was taken over with a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TakenOver {
    /// Its id now.
    pub server_id: i64,
    /// People linked.
    pub links: usize,
    /// Conflicts.
    pub conflicts: usize,
}

impl Journal {
    /// The servers of the predecessor that have not been taken over yet, each with whether it was synchronised by itself.
    pub fn legacy_servers(&self) -> Result<Vec<(LegacyServer, bool)>, JournalError> {
        self.read(|tx| {
            if !has_table(tx, "m_ModuleLdapSyncServers")? {
                return Ok(Vec::new());
            }
            let columns = LegacyServer::COLUMNS.map(|column| format!("coalesce({column}, '')")).join(", ");
            let sql = format!(
                "SELECT id, coalesce(administrativePassword, ''), coalesce(disabled, '1'), {columns}
                 FROM m_ModuleLdapSyncServers WHERE id NOT IN (SELECT old_id FROM taken_over) ORDER BY id"
            );
            let mut statement = tx.prepare(&sql)?;
            let rows = statement.query_map([], |row| {
                let columns = (3..3 + LegacyServer::COLUMNS.len()).map(|at| text(row, at));
                let server = LegacyServer {
                    old_id: row.get(0)?,
                    password: SecretString::from(text(row, 1)?),
                    columns: columns.collect::<rusqlite::Result<_>>()?,
                };
                Ok((server, text(row, 2)? == "0"))
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// Takes a server over under `settings` (its JSON) and `fingerprint`: with its links, which have no base, and its
    /// conflicts. The password is sealed here and wiped there. All in one transaction, so that it happens once.
    pub fn take_over(
        &mut self,
        server: &LegacyServer,
        settings: &str,
        autosync: bool,
        fingerprint: &str,
        now: i64,
    ) -> Result<TakenOver, JournalError> {
        use secrecy::ExposeSecret;
        let key = self.paths.key();
        // What is overwritten must not stay in free pages of the file.
        self.connection.pragma_update(None, "secure_delete", true)?;
        self.write(|tx| {
            let sql = "INSERT INTO servers (settings, autosync, fingerprint) VALUES (?1, ?2, ?3)";
            tx.execute(sql, params![settings, autosync, fingerprint])?;
            let server_id = tx.last_insert_rowid();
            if !server.password.expose_secret().is_empty() {
                let sealed = seal::seal(&key, server_id, &server.password)?;
                tx.execute("UPDATE servers SET password = ?2 WHERE id = ?1", params![server_id, sealed])?;
            }
            let links = take_links(tx, server.old_id, server_id, now)?;
            let conflicts = take_conflicts(tx, server.old_id, server_id, now)?;
            let wipe = "UPDATE m_ModuleLdapSyncServers SET administrativePassword = '' WHERE id = ?1";
            tx.execute(wipe, [server.old_id])?;
            tx.execute("INSERT INTO taken_over (old_id, server_id) VALUES (?1, ?2)", [server.old_id, server_id])?;
            Ok(TakenOver { server_id, links, conflicts })
        })
    }
}

fn has_table(connection: &Connection, name: &str) -> rusqlite::Result<bool> {
    let query = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1";
    Ok(connection.query_row(query, [name], |_| Ok(())).optional()?.is_some())
}

fn text(row: &Row<'_>, at: usize) -> rusqlite::Result<String> {
    Ok(match row.get_ref(at)? {
        rusqlite::types::ValueRef::Integer(number) => number.to_string(),
        rusqlite::types::ValueRef::Text(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        _ => String::new(),
    })
}

/// Who belongs to whom. The predecessor's hashes tell nothing that could be used, so the links have no base; a link it
/// held twice, or to no employee, is left out.
fn take_links(tx: &Transaction<'_>, old_id: i64, server_id: i64, now: i64) -> Result<usize, JournalError> {
    if !has_table(tx, "m_ModuleLdapSync_Users")? {
        return Ok(0);
    }
    let sql = "SELECT guid, user_id FROM m_ModuleLdapSync_Users WHERE server_id = ?1 ORDER BY id";
    let mut statement = tx.prepare(sql)?;
    let rows = statement.query_map([old_id.to_string()], |row| Ok((text(row, 0)?, text(row, 1)?)))?;
    let mut taken = 0;
    for (guid, user_id) in rows.collect::<rusqlite::Result<Vec<_>>>()? {
        let key = guid.trim().trim_matches(['{', '}']).to_lowercase();
        let Some(user_id) = user_id.trim().parse::<i64>().ok().filter(|id| *id > 0 && !key.is_empty()) else {
            log::warn!("a link of the earlier module without identifier or employee is left out");
            continue;
        };
        let known = "SELECT 1 FROM links WHERE user_id = ?1 OR (server_id = ?2 AND directory_key = ?3)";
        if tx.prepare_cached(known)?.exists(params![user_id, server_id, key])? {
            log::warn!("employee {user_id} has more than one link of the earlier module; the first is kept");
            continue;
        }
        let link =
            Link { server_id, key: DirectoryKey(key), user_id, since: now, not_compared: true, ..Link::default() };
        links::insert(tx, &link)?;
        taken += 1;
    }
    Ok(taken)
}

/// What waited for a decision. Of the parameters the predecessor stored only the name is taken: they may hold a secret.
fn take_conflicts(tx: &Transaction<'_>, old_id: i64, server_id: i64, now: i64) -> Result<usize, JournalError> {
    if !has_table(tx, "m_ModuleLdapSync_Conflicts")? {
        return Ok(0);
    }
    let sql = "SELECT errors, params, side, id FROM m_ModuleLdapSync_Conflicts WHERE server_id = ?1 ORDER BY id";
    let mut statement = tx.prepare(sql)?;
    let rows = statement.query_map([old_id.to_string()], |row| {
        Ok((text(row, 0)?, text(row, 1)?, text(row, 2)?, row.get::<_, i64>(3)?))
    })?;
    let mut conflicts = Vec::new();
    for (errors, parameters, side, id) in rows.collect::<rusqlite::Result<Vec<_>>>()? {
        let errors = flattened(&errors);
        conflicts.push(NewConflict {
            key: DirectoryKey(format!("earlier conflict {id}")),
            person: person(&parameters),
            side: if side == "LDAP_UPDATE_CONFLICT" { "directory" } else { "pbx" }.to_owned(),
            cause: "taken-over".to_owned(),
            reason: format!("noted by the earlier module, the next run looks at it anew: {errors}"),
            ..NewConflict::default()
        });
    }
    Ok(super::conflicts::store(tx, server_id, &conflicts, now)?.len())
}

/// The sentences in a JSON value, whatever its shape.
fn flattened(json: &str) -> String {
    fn collect(value: &serde_json::Value, found: &mut Vec<String>) {
        match value {
            serde_json::Value::String(text) => found.push(text.clone()),
            serde_json::Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
            serde_json::Value::Object(items) => items.values().for_each(|item| collect(item, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    match serde_json::from_str(json) {
        Ok(value) => collect(&value, &mut found),
        Err(_) => found.push(json.to_owned()),
    }
    found.join("; ")
}

fn person(parameters: &str) -> String {
    let parameters: serde_json::Value = serde_json::from_str(parameters).unwrap_or_default();
    let names = ["user_username", "displayName", "cn", "name", "userNameAttribute"];
    let found = names.into_iter().find_map(|name| parameters[name].as_str());
    found.unwrap_or_default().chars().take(100).collect()
}
