//! Links: who belongs to whom, and what both sides held when they last agreed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, Value, ValueRef};
use rusqlite::{Row, Transaction, params, params_from_iter};

use super::{Journal, JournalError};
use crate::link::{Link, LinkState};
use crate::person::{DirectoryKey, Field, Values};

impl ToSql for LinkState {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.name().into())
    }
}

impl FromSql for LinkState {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let name = value.as_str()?;
        LinkState::ALL.into_iter().find(|state| state.name() == name).ok_or(FromSqlError::InvalidType)
    }
}

impl Journal {
    /// Every link of a server, in the order of their keys, in one query.
    pub fn links(&self, server_id: i64) -> Result<Vec<Link>, JournalError> {
        self.select("server_id = ?1 ORDER BY directory_key", [server_id])
    }

    /// How many links a server has.
    pub fn link_count(&self, server_id: i64) -> Result<usize, JournalError> {
        let query = "SELECT count(*) FROM links WHERE server_id = ?1";
        self.read(|tx| Ok(tx.query_row(query, [server_id], |row| row.get::<_, i64>(0))? as usize))
    }

    /// Every linked entry of a server with its state.
    pub fn states(&self, server_id: i64) -> Result<BTreeMap<DirectoryKey, LinkState>, JournalError> {
        let query = "SELECT directory_key, state FROM links WHERE server_id = ?1";
        self.read(|tx| {
            let mut statement = tx.prepare_cached(query)?;
            let rows = statement.query_map([server_id], |row| Ok((DirectoryKey(row.get(0)?), row.get(1)?)))?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// The links of some entries of a server, in the order of their keys.
    pub fn links_of_keys(&self, server_id: i64, keys: &BTreeSet<DirectoryKey>) -> Result<Vec<Link>, JournalError> {
        let keys: Vec<&str> = keys.iter().map(DirectoryKey::as_str).collect();
        let among = "server_id = ?1 AND directory_key IN (SELECT value FROM json_each(?2)) ORDER BY directory_key";
        self.select(among, (server_id, serde_json::json!(keys).to_string()))
    }

    /// The links of a server to some employees, and those of people whom the company knows by one of the numbers.
    pub fn links_about(
        &self,
        server_id: i64,
        users: &BTreeSet<i64>,
        employee_numbers: &BTreeSet<&str>,
    ) -> Result<Vec<Link>, JournalError> {
        let of_users = "user_id IN (SELECT value FROM json_each(?2)) AND server_id = ?1";
        let by_number = "server_id = ?1 AND employee_number <> ''
                         AND employee_number IN (SELECT value FROM json_each(?2))";
        let mut links = self.select(of_users, (server_id, serde_json::json!(users).to_string()))?;
        links.extend(self.select(by_number, (server_id, serde_json::json!(employee_numbers).to_string()))?);
        Ok(links)
    }

    /// A few people in use who had a value of `field` in the directory, none of `except`: whether such values can still
    /// be read shows with them.
    pub fn witnesses(
        &self,
        server_id: i64,
        field: Field,
        except: &BTreeSet<DirectoryKey>,
        limit: usize,
    ) -> Result<Vec<DirectoryKey>, JournalError> {
        let query = format!(
            "SELECT directory_key FROM links WHERE server_id = ?1 AND state = 'active' AND {}_directory <> ''
             ORDER BY directory_key LIMIT ?2",
            field.name()
        );
        self.read(|tx| {
            let mut statement = tx.prepare_cached(&query)?;
            let most = (limit + except.len()) as i64;
            let rows = statement.query_map(params![server_id, most], |row| Ok(DirectoryKey(row.get(0)?)))?;
            let found: Vec<DirectoryKey> = rows.collect::<rusqlite::Result<_>>()?;
            Ok(found.into_iter().filter(|key| !except.contains(key)).take(limit).collect())
        })
    }

    /// The employees, by `m_Users.id`, that servers other than `server_id` keep in step, each with whether the person is
    /// in use in such a server's directory. Links whose employee is gone are left out.
    pub fn linked_elsewhere(&self, server_id: i64) -> Result<BTreeMap<i64, bool>, JournalError> {
        // By server in the index, where the one server of most PBXs has no others; the signs keep that by employee out of it.
        let query = "SELECT user_id, max(state = 'active') FROM links
                     WHERE +user_id > 0 AND (server_id < ?1 OR server_id > ?1) GROUP BY +user_id";
        self.read(|tx| {
            let mut statement = tx.prepare_cached(query)?;
            let rows = statement.query_map([server_id], |row| Ok((row.get(0)?, row.get(1)?)))?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// The link of one entry.
    pub fn link(&self, server_id: i64, key: &DirectoryKey) -> Result<Option<Link>, JournalError> {
        let found = self.select("server_id = ?1 AND directory_key = ?2", (server_id, key.as_str()))?;
        Ok(found.into_iter().next())
    }

    /// The links of one employee, of whichever server.
    pub fn links_of_user(&self, user_id: i64) -> Result<Vec<Link>, JournalError> {
        self.select("user_id = ?1 ORDER BY server_id", [user_id])
    }

    /// The links of people who have left, of one server or of all, those who left last first. Whoever is in use in
    /// another server's directory has not left.
    pub fn departed(&self, server_id: Option<i64>) -> Result<Vec<Link>, JournalError> {
        let condition = "state <> 'active' AND (?1 IS NULL OR server_id = ?1) AND NOT EXISTS (
            SELECT 1 FROM links AS other
            WHERE other.user_id = links.user_id AND other.user_id > 0 AND other.state = 'active')
            ORDER BY since DESC, id";
        self.select(condition, [server_id])
    }

    fn select(&self, condition: &str, parameters: impl rusqlite::Params) -> Result<Vec<Link>, JournalError> {
        let query = format!("SELECT {} FROM links WHERE {condition}", columns());
        self.read(|tx| {
            let mut statement = tx.prepare_cached(&query)?;
            let rows = statement.query_map(parameters, link_from_row)?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// Stores a link within a transaction of [`Journal::write`] and answers its id: a new row, or the one of the same
    /// server and entry.
    ///
    /// Another link with the same `m_Users.id` but another `m_Sip.uniqid` belongs to an employee who is gone (the PBX
    /// was restored or reset, and the id given again): it loses the id. One employee may have links of several servers.
    ///
    /// # Errors
    /// [`JournalError::AlreadyLinked`] when the very employee is linked to another entry of the same server.
    pub fn upsert_link(tx: &Transaction<'_>, link: &Link) -> Result<i64, JournalError> {
        detach_predecessor(tx, link)?;
        let id = insert(tx, link)?;
        let numbers = BTreeSet::from([&link.pbx[Field::Number], &link.shown[Field::Number]]);
        for number in numbers.into_iter().filter(|number| !number.is_empty()) {
            tx.prepare_cached("INSERT OR IGNORE INTO numbers_used (number) VALUES (?1)")?.execute([number.as_str()])?;
        }
        Ok(id)
    }

    /// Drops the bases and change marks of a server's links, after its mapping, filter, base or region has changed: the
    /// next run compares both sides anew, and is not made by a tick before a person has stood behind one. The links
    /// stay, and so do the values shown. Answers their number.
    pub fn forget_bases(&mut self, server_id: i64) -> Result<usize, JournalError> {
        self.write(|tx| Ok(forget_bases(tx, server_id)?))
    }

    /// Removes a link by its id; false when there was none. Neither side's person is touched.
    pub fn delete_link(&mut self, id: i64) -> Result<bool, JournalError> {
        self.write(|tx| Ok(tx.execute("DELETE FROM links WHERE id = ?1", [id])? > 0))
    }

    /// Whether a linked employee has ever had this internal number, also one of a link or server deleted since.
    pub fn was_used(&self, number: &str) -> Result<bool, JournalError> {
        let query = "SELECT 1 FROM numbers_used WHERE number = ?1";
        self.read(|tx| Ok(tx.prepare_cached(query)?.exists([number])?))
    }

    /// Every internal number that a linked employee has ever had, also of links and servers deleted since.
    pub fn numbers_used(&self) -> Result<BTreeSet<String>, JournalError> {
        self.read(|tx| {
            let mut statement = tx.prepare_cached("SELECT number FROM numbers_used")?;
            let rows = statement.query_map([], |row| row.get(0))?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }
}

/// Stores the row of a link and answers its id.
pub(super) fn insert(tx: &Transaction<'_>, link: &Link) -> rusqlite::Result<i64> {
    tx.prepare_cached(&UPSERT)?.query_row(params_from_iter(values(link)), |row| row.get(0))
}

/// See [`Journal::forget_bases`].
pub(super) fn forget_bases(tx: &Transaction<'_>, server_id: i64) -> rusqlite::Result<usize> {
    forget(tx, server_id, &Field::ALL.into())
}

/// Drops the bases of some fields in all links of a server, after which the next run is not made by a tick; answers the
/// number of links.
pub(super) fn forget(tx: &Transaction<'_>, server_id: i64, fields: &BTreeSet<Field>) -> rusqlite::Result<usize> {
    tx.execute("UPDATE servers SET approved_first_run = 0 WHERE id = ?1", [server_id])?;
    forget_quietly(tx, server_id, fields)
}

/// Drops the bases of some fields in all links of a server; answers the number of links.
pub(super) fn forget_quietly(
    tx: &Transaction<'_>,
    server_id: i64,
    fields: &BTreeSet<Field>,
) -> rusqlite::Result<usize> {
    let mut sets = Vec::new();
    let mut based = "',' || based || ','".to_owned();
    for field in fields {
        let name = field.name();
        sets.push(format!("{name}_directory = '', {name}_pbx = ''"));
        based = format!("replace({based}, ',{name},', ',')");
    }
    sets.push(format!("based = trim({based}, ',')"));
    if fields.contains(&Field::Photo) {
        sets.push("change_mark = ''".to_owned());
    }
    tx.execute(&format!("UPDATE links SET {} WHERE server_id = ?1", sets.join(", ")), [server_id])
}

fn detach_predecessor(tx: &Transaction<'_>, link: &Link) -> Result<(), JournalError> {
    let query = "SELECT id, server_id, directory_key, sip_uniqid FROM links
                 WHERE user_id = ?1 AND NOT (server_id = ?2 AND directory_key = ?3)";
    let mut statement = tx.prepare_cached(query)?;
    let others = statement.query_map(params![link.user_id, link.server_id, link.key.0], |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get(2)?, row.get::<_, String>(3)?))
    })?;
    for (id, server_id, key, sip_uniqid) in others.collect::<rusqlite::Result<Vec<_>>>()? {
        let same_employee = sip_uniqid.is_empty() || sip_uniqid == link.sip_uniqid;
        if same_employee && server_id == link.server_id {
            return Err(JournalError::AlreadyLinked { user_id: link.user_id, server_id, key: DirectoryKey(key) });
        }
        if !same_employee {
            tx.execute("UPDATE links SET user_id = -id WHERE id = ?1", [id])?;
        }
    }
    Ok(())
}

/// Columns of a link beside its id and its values.
const PLAIN_COLUMNS: [&str; 17] = [
    "server_id",
    "directory_key",
    "user_id",
    "sip_uniqid",
    "dn",
    "change_mark",
    "employee_number",
    "based",
    "unsettled",
    "not_compared",
    "written",
    "state",
    "since",
    "days_gone",
    "last_day",
    "stopped",
    "created_by_sync",
];

/// Columns made of the values shown, for the people page.
const DERIVED_COLUMNS: [&str; 3] = ["search", "sort_name", "sort_number"];

/// The columns of a link, in the order of [`link_from_row`].
pub(super) fn columns() -> String {
    format!("id, {}, {}", PLAIN_COLUMNS.join(", "), value_columns().join(", "))
}

fn side_columns(side: &str) -> Vec<String> {
    Field::ALL.into_iter().map(|field| format!("{}_{side}", field.name())).collect()
}

fn value_columns() -> Vec<String> {
    ["directory", "pbx", "shown"].map(side_columns).concat()
}

static UPSERT: LazyLock<String> = LazyLock::new(|| {
    let values = value_columns();
    let names = PLAIN_COLUMNS.into_iter().chain(values.iter().map(String::as_str)).chain(DERIVED_COLUMNS);
    let columns: Vec<&str> = names.collect();
    let replaced: Vec<String> = columns.iter().skip(2).map(|name| format!("{name} = excluded.{name}")).collect();
    format!(
        "INSERT INTO links ({}) VALUES ({}) ON CONFLICT (server_id, directory_key) DO UPDATE SET {} RETURNING id",
        columns.join(", "),
        vec!["?"; columns.len()].join(", "),
        replaced.join(", ")
    )
});

/// The values of one row, in the order of [`PLAIN_COLUMNS`], [`value_columns`] and [`DERIVED_COLUMNS`].
fn values(link: &Link) -> Vec<Value> {
    let text = |text: &str| Value::Text(text.to_owned());
    let shown = if link.shown == Values::default() { &link.pbx } else { &link.shown };
    let mut row = vec![
        Value::Integer(link.server_id),
        text(link.key.as_str()),
        Value::Integer(link.user_id),
        text(&link.sip_uniqid),
        text(&link.dn),
        text(&link.change_mark),
        text(&link.employee_number),
        text(&link.based.iter().map(|field| field.name()).collect::<Vec<_>>().join(",")),
        text(&serde_json::to_string(&link.unsettled).unwrap_or_default()),
        Value::Integer(link.not_compared.into()),
        Value::Integer(link.written),
        text(link.state.name()),
        Value::Integer(link.since),
        Value::Integer(link.days_gone.into()),
        Value::Integer(link.last_day),
        Value::Integer(link.stopped.into()),
        Value::Integer(link.created_by_sync.into()),
    ];
    for values in [&link.directory, &link.pbx, shown] {
        row.extend(Field::ALL.map(|field| text(&values[field])));
    }
    row.extend([search_text(shown), fold(&shown[Field::Name]), sortable(&shown[Field::Number])].map(Value::Text));
    row
}

fn search_text(shown: &Values) -> String {
    let searched = [Field::Name, Field::Number, Field::Mobile, Field::Email];
    fold(&searched.map(|field| shown[field].as_str()).join("\n"))
}

/// The form in which texts are searched and sorted: lower case, and е for ё, because Russian dictionaries sort the two
/// as one letter and people type either.
pub(super) fn fold(text: &str) -> String {
    text.to_lowercase().replace('ё', "е")
}

/// A number in a form whose textual order is the numeric one.
fn sortable(number: &str) -> String {
    if number.is_empty() { String::new() } else { format!("{number:0>20}") }
}

/// A link, from [`columns`].
pub(super) fn link_from_row(row: &Row<'_>) -> rusqlite::Result<Link> {
    let first = 1 + PLAIN_COLUMNS.len();
    let pbx = values_from_row(row, first + Field::ALL.len())?;
    let like_pbx = |at| {
        let mut values = values_from_row(row, at)?;
        values.share(&pbx);
        Ok::<Values, rusqlite::Error>(values)
    };
    let based: String = row.get(8)?;
    let unsettled: String = row.get(9)?;
    Ok(Link {
        id: row.get(0)?,
        server_id: row.get(1)?,
        key: DirectoryKey(row.get(2)?),
        user_id: row.get(3)?,
        sip_uniqid: row.get(4)?,
        dn: row.get(5)?,
        change_mark: row.get(6)?,
        employee_number: row.get(7)?,
        based: based.split(',').filter_map(Field::from_name).collect(),
        // What cannot be read is only the time since when something waits.
        unsettled: serde_json::from_str(&unsettled).unwrap_or_default(),
        not_compared: row.get(10)?,
        written: row.get(11)?,
        state: row.get(12)?,
        since: row.get(13)?,
        days_gone: row.get(14)?,
        last_day: row.get(15)?,
        stopped: row.get(16)?,
        created_by_sync: row.get(17)?,
        directory: like_pbx(first)?,
        shown: like_pbx(first + 2 * Field::ALL.len())?,
        pbx,
    })
}

fn values_from_row(row: &Row<'_>, first: usize) -> rusqlite::Result<Values> {
    (first..first + Field::ALL.len()).map(|at| row.get(at)).collect::<rusqlite::Result<Vec<String>>>().map(Values::from)
}
