//! What the PBX holds when a batch begins: everything the checks and the writes look at, read once.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Connection, Row};

use super::relations::{Reference, references};
use super::schema::{Schema, Table, text};
use super::uses::uses;
use super::{Task, avatar};
use crate::person::{Field, Values};

/// One row of `m_Extensions`.
#[derive(Clone, Debug)]
pub(super) struct Extension {
    pub(super) id: i64,
    pub(super) number: String,
    pub(super) kind: String,
    pub(super) label: String,
    pub(super) user_id: Option<i64>,
    pub(super) is_general: bool,
}

/// Indices of a person's general rows in `m_Extensions`, in the order of their ids.
#[derive(Default)]
pub(super) struct General {
    pub(super) sip: Vec<usize>,
    pub(super) external: Vec<usize>,
}

/// An employee a task is about.
#[derive(Clone, Debug, Default)]
pub(super) struct Person {
    pub(super) user_id: i64,
    pub(super) name: String,
    pub(super) email: String,
    /// `m_Users.avatar` as it stands.
    pub(super) avatar: String,
    /// `m_Extensions.id` of the internal number.
    pub(super) sip_extension: i64,
    pub(super) number: String,
    /// `m_Sip.id`, when there is a peer.
    pub(super) sip: Option<i64>,
    /// `m_Sip.uniqid` or empty.
    pub(super) sip_uniqid: String,
    pub(super) forwarding: Option<Forwarding>,
    /// `m_Extensions.id` of the mobile.
    pub(super) external_extension: Option<i64>,
    /// The mobile or empty.
    pub(super) mobile: String,
    /// `m_ExternalPhones.id` and `dialstring` of the mobile.
    pub(super) phones: Vec<(i64, String)>,
}

/// A row of `m_ExtensionForwardingRights`.
#[derive(Clone, Debug, Default)]
pub(super) struct Forwarding {
    pub(super) id: i64,
    /// `forwarding`, `forwardingonbusy`, `forwardingonunavailable`.
    pub(super) targets: [String; 3],
    /// `ringlength` is 0, empty or NULL.
    pub(super) rings_not: bool,
}

impl Person {
    /// The values of the fields; the photo's MD5 is empty when it cannot be told.
    pub(super) fn values(&self, media: &std::path::Path) -> Values {
        let mut values = Values::default();
        values[Field::Name].clone_from(&self.name);
        values[Field::Email].clone_from(&self.email);
        values[Field::Mobile].clone_from(&self.mobile);
        values[Field::Number].clone_from(&self.number);
        values[Field::Photo] = avatar::hash(&self.avatar, media).unwrap_or_default();
        values
    }
}

/// The PBX as far as a batch is concerned.
pub(super) struct State {
    pub(super) extensions: Vec<Extension>,
    /// Indices into `extensions`.
    pub(super) by_number: BTreeMap<String, Vec<usize>>,
    /// The employees of the batch's updates.
    pub(super) people: BTreeMap<i64, Person>,
    /// Lower-case e-mail addresses and the `m_Users.id` that hold them.
    pub(super) emails: BTreeMap<String, Vec<i64>>,
    pub(super) sip_uniqids: BTreeSet<String>,
    pub(super) external_uniqids: BTreeSet<String>,
    /// References to every number the batch gives up or wants.
    pub(super) references: Vec<Reference>,
    /// Who points at the mobiles that updates remove.
    pub(super) uses: BTreeMap<String, Vec<String>>,
    pub(super) language: String,
}

impl State {
    /// Reads what `tasks` need.
    pub(super) fn load(connection: &Connection, schema: &Schema, tasks: &[Task]) -> rusqlite::Result<State> {
        let extensions = extensions(connection)?;
        let mut by_number: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (index, row) in extensions.iter().enumerate() {
            by_number.entry(row.number.clone()).or_default().push(index);
        }
        let users = tasks.iter().filter_map(|task| match task {
            Task::Update(task) => Some(task.user_id),
            Task::Create(_) => None,
        });
        let people = people(connection, &extensions, &users.collect())?;
        let numbers = numbers_concerned(tasks, &people);
        let removes_mobile = tasks.iter().any(removes_mobile);
        Ok(State {
            by_number,
            emails: emails(connection)?,
            sip_uniqids: uniqids(connection, Table::Sip)?,
            external_uniqids: uniqids(connection, Table::ExternalPhones)?,
            references: references(connection, schema, &numbers)?,
            uses: if removes_mobile { uses(connection, schema, &extensions)? } else { BTreeMap::new() },
            language: setting(connection, "PBXLanguage")?.unwrap_or_else(|| DEFAULT_LANGUAGE.to_owned()),
            people,
            extensions,
        })
    }
}

/// MikoPBX's own default of `PBXLanguage`.
pub(super) const DEFAULT_LANGUAGE: &str = "en-en";

fn removes_mobile(task: &Task) -> bool {
    matches!(task, Task::Update(task) if task.fields.contains(&Field::Mobile) && task.new[Field::Mobile].is_empty())
}

fn numbers_concerned(tasks: &[Task], people: &BTreeMap<i64, Person>) -> BTreeSet<String> {
    let mut numbers = BTreeSet::new();
    for task in tasks {
        let values = match task {
            Task::Create(task) => &task.values,
            Task::Update(task) => {
                if let Some(person) = people.get(&task.user_id) {
                    numbers.extend([person.number.clone(), person.mobile.clone()]);
                }
                &task.new
            }
        };
        numbers.extend([values[Field::Number].clone(), values[Field::Mobile].clone()]);
    }
    numbers.remove("");
    numbers
}

/// A value of `m_PbxSettings`; an empty one counts as absent.
pub(super) fn setting(connection: &Connection, key: &str) -> rusqlite::Result<Option<String>> {
    let mut statement = connection.prepare_cached("SELECT value FROM m_PbxSettings WHERE key = ?1")?;
    let mut rows = statement.query([key])?;
    let value = rows.next()?.map(|row| text(row, 0)).transpose()?;
    Ok(value.filter(|value| !value.is_empty()))
}

/// Every row of `m_Extensions`, in the order of their ids.
pub(super) fn extensions(connection: &Connection) -> rusqlite::Result<Vec<Extension>> {
    let mut statement = connection.prepare_cached(
        "SELECT id, number, type, callerid, userid, is_general_user_number FROM m_Extensions ORDER BY id",
    )?;
    statement
        .query_map([], |row| {
            Ok(Extension {
                id: row.get(0)?,
                number: text(row, 1)?,
                kind: text(row, 2)?,
                label: text(row, 3)?,
                user_id: text(row, 4)?.parse().ok(),
                is_general: text(row, 5)? == "1",
            })
        })?
        .collect()
}

/// The general rows of every person, by `m_Users.id`.
pub(super) fn general_rows(extensions: &[Extension]) -> BTreeMap<i64, General> {
    let mut people: BTreeMap<i64, General> = BTreeMap::new();
    for (index, row) in extensions.iter().enumerate().filter(|(_, row)| row.is_general) {
        let Some(user_id) = row.user_id else { continue };
        match row.kind.as_str() {
            "SIP" => people.entry(user_id).or_default().sip.push(index),
            "EXTERNAL" => people.entry(user_id).or_default().external.push(index),
            _ => {}
        }
    }
    people
}

/// The employees with these ids, as far as they exist and have a general internal number.
pub(super) fn people(
    connection: &Connection,
    extensions: &[Extension],
    user_ids: &BTreeSet<i64>,
) -> rusqlite::Result<BTreeMap<i64, Person>> {
    let general = general_rows(extensions);
    let mut statement = connection.prepare_cached(
        "SELECT id, username, email, avatar FROM m_Users WHERE id IN (SELECT value FROM json_each(?1)) ORDER BY id",
    )?;
    let mut rows = statement.query([serde_json::json!(user_ids).to_string()])?;
    let mut people = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let user_id = row.get(0)?;
        let Some(first) = general.get(&user_id).and_then(|rows| Some((rows, *rows.sip.first()?))) else { continue };
        let (general, sip) = first;
        let external = general.external.first().map(|&index| &extensions[index]);
        people.insert(
            user_id,
            Person {
                user_id,
                name: text(row, 1)?,
                email: text(row, 2)?,
                avatar: text(row, 3)?,
                sip_extension: extensions[sip].id,
                number: extensions[sip].number.clone(),
                external_extension: external.map(|row| row.id),
                mobile: external.map(|row| row.number.clone()).unwrap_or_default(),
                ..Person::default()
            },
        );
    }
    add_devices(connection, &mut people)?;
    Ok(people)
}

/// Peers, forwardings and external phones of the people, one query each.
fn add_devices(connection: &Connection, people: &mut BTreeMap<i64, Person>) -> rusqlite::Result<()> {
    let list = |numbers: Vec<&String>| serde_json::json!(numbers).to_string();
    let numbers = list(people.values().map(|person| &person.number).collect());
    let mobiles = list(people.values().map(|person| &person.mobile).filter(|mobile| !mobile.is_empty()).collect());
    let peers = by_extension(connection, &numbers, "m_Sip WHERE type = 'peer' AND", "uniqid", |row| {
        Ok((row.get::<_, i64>(0)?, text(row, 2)?))
    })?;
    let forwardings = by_extension(
        connection,
        &numbers,
        "m_ExtensionForwardingRights WHERE",
        "forwarding, forwardingonbusy, forwardingonunavailable, ringlength",
        |row| {
            let ringlength = text(row, 5)?;
            Ok(Forwarding {
                id: row.get(0)?,
                targets: [text(row, 2)?, text(row, 3)?, text(row, 4)?],
                rings_not: ringlength.is_empty() || ringlength == "0",
            })
        },
    )?;
    let phones = by_extension(connection, &mobiles, "m_ExternalPhones WHERE", "dialstring", |row| {
        Ok((row.get::<_, i64>(0)?, text(row, 2)?))
    })?;
    for person in people.values_mut() {
        if let Some((id, uniqid)) = peers.get(&person.number).and_then(|rows| rows.first()) {
            person.sip = Some(*id);
            person.sip_uniqid.clone_from(uniqid);
        }
        person.forwarding = forwardings.get(&person.number).and_then(|rows| rows.first()).cloned();
        person.phones = phones.get(&person.mobile).cloned().unwrap_or_default();
    }
    Ok(())
}

fn by_extension<T>(
    connection: &Connection,
    numbers: &str,
    from: &str,
    columns: &str,
    read: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<BTreeMap<String, Vec<T>>> {
    let sql = format!(
        "SELECT id, extension, {columns} FROM {from} extension IN (SELECT value FROM json_each(?1)) ORDER BY id"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query([numbers])?;
    let mut found: BTreeMap<String, Vec<T>> = BTreeMap::new();
    while let Some(row) = rows.next()? {
        found.entry(text(row, 1)?).or_default().push(read(row)?);
    }
    Ok(found)
}

fn emails(connection: &Connection) -> rusqlite::Result<BTreeMap<String, Vec<i64>>> {
    let mut statement = connection.prepare_cached("SELECT id, email FROM m_Users ORDER BY id")?;
    let mut rows = statement.query([])?;
    let mut emails: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let email = text(row, 1)?.trim().to_lowercase();
        if !email.is_empty() {
            emails.entry(email).or_default().push(row.get(0)?);
        }
    }
    Ok(emails)
}

fn uniqids(connection: &Connection, table: Table) -> rusqlite::Result<BTreeSet<String>> {
    let mut statement = connection.prepare_cached(&format!("SELECT uniqid FROM {}", table.name()))?;
    statement.query_map([], |row| text(row, 0))?.collect()
}
