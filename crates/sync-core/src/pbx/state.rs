//! What the PBX holds when a batch begins: everything the checks and the writes look at, read once. MikoPBX's tables have
//! no indexes, so rows are found by ours; nothing is asked per person, and only what matches is taken out.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Connection, Params, Row};

use super::index::Indexed;
use super::relations::{Reference, references};
use super::schema::{Table, text};
use super::uses::uses_of;
use super::{Task, avatar};
use crate::person::{Field, Values};
use crate::vault::Vault;

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
    /// Fingerprint of `m_Sip.secret`.
    pub(super) secret: String,
    /// `m_Sip.disabled` is `1`.
    pub(super) sip_disabled: bool,
    pub(super) forwarding: Option<Forwarding>,
    /// `m_Extensions.id` of the mobile.
    pub(super) external_extension: Option<i64>,
    /// The mobile or empty.
    pub(super) mobile: String,
    /// `m_ExternalPhones.id` and `dialstring` of the mobile.
    pub(super) phones: Vec<(i64, String)>,
    /// How many rows of `m_Extensions` the person has besides the general two.
    pub(super) further_numbers: usize,
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
        values[Field::Name] = self.name.as_str().into();
        values[Field::Email] = self.email.as_str().into();
        values[Field::Mobile] = self.mobile.as_str().into();
        values[Field::Number] = self.number.as_str().into();
        values[Field::Photo] = avatar::hash(&self.avatar, media).unwrap_or_default().into();
        values[Field::Secret] = self.secret.as_str().into();
        values
    }
}

/// The PBX as far as a batch is concerned.
pub(super) struct State {
    /// The rows of `m_Extensions` with a number the batch gives up or wants, in the order of their ids.
    pub(super) by_number: BTreeMap<String, Vec<Extension>>,
    /// The employees of the batch's updates.
    pub(super) people: BTreeMap<i64, Person>,
    /// Lower-case e-mail addresses the batch wants, and the `m_Users.id` that hold them.
    emails: BTreeMap<String, Vec<i64>>,
    /// Those of the batch's identifiers that `m_Sip` has.
    pub(super) sip_uniqids: BTreeSet<String>,
    /// Those of the batch's identifiers that `m_ExternalPhones` has.
    pub(super) external_uniqids: BTreeSet<String>,
    /// References to every number the batch gives up or wants.
    pub(super) references: BTreeMap<String, Vec<Reference>>,
    /// Who points at the numbers that updates and deletions remove.
    pub(super) uses: BTreeMap<String, Vec<String>>,
    pub(super) language: String,
}

impl State {
    /// Reads what `tasks` need.
    pub(super) fn load(rows: Indexed<'_>, vault: &Vault, tasks: &[Task]) -> rusqlite::Result<State> {
        let users = tasks.iter().filter_map(|task| match task {
            Task::Create(_) => None,
            Task::Update(task) => Some(task.user_id),
            Task::Account(task) => Some(task.user_id),
            Task::Delete(task) => Some(task.user_id),
        });
        let people = people(rows, &users.collect(), vault)?;
        let numbers = numbers_concerned(tasks, &people);
        let mut by_number: BTreeMap<String, Vec<Extension>> = BTreeMap::new();
        for row in extensions_with(rows, &numbers)? {
            by_number.entry(row.number.clone()).or_default().push(row);
        }
        let removed = removed_numbers(tasks, &people);
        let (sip_uniqids, external_uniqids) = uniqids_wanted(tasks);
        Ok(State {
            by_number,
            emails: emails(rows, &emails_wanted(tasks))?,
            sip_uniqids: uniqids(rows, Table::Sip, &sip_uniqids)?,
            external_uniqids: uniqids(rows, Table::ExternalPhones, &external_uniqids)?,
            references: references(rows, &numbers)?,
            uses: if removed.is_empty() { BTreeMap::new() } else { uses_of(rows, &removed)? },
            language: setting(rows.connection, "PBXLanguage")?.unwrap_or_else(|| DEFAULT_LANGUAGE.to_owned()),
            people,
        })
    }

    /// The users who hold an e-mail address, which is given in lower case.
    pub(super) fn holders_of(&self, email: &str) -> &[i64] {
        self.emails.get(email).map_or(&[], Vec::as_slice)
    }
}

/// MikoPBX's own default of `PBXLanguage`.
pub(super) const DEFAULT_LANGUAGE: &str = "en-en";

fn removed_numbers(tasks: &[Task], people: &BTreeMap<i64, Person>) -> BTreeSet<String> {
    let mut removed = BTreeSet::new();
    for task in tasks {
        match task {
            Task::Update(task) if task.fields.contains(&Field::Mobile) && task.new[Field::Mobile].is_empty() => {
                removed.extend(people.get(&task.user_id).map(|person| person.mobile.clone()));
            }
            Task::Delete(task) => {
                let person = people.get(&task.user_id).into_iter();
                removed.extend(person.flat_map(|person| [person.number.clone(), person.mobile.clone()]));
            }
            _ => {}
        }
    }
    removed.remove("");
    removed
}

/// The values a task writes; `None` where it writes none.
fn values_wanted(task: &Task) -> Option<&Values> {
    match task {
        Task::Create(task) => Some(&task.values),
        Task::Update(task) => Some(&task.new),
        Task::Account(_) | Task::Delete(_) => None,
    }
}

/// In lower case.
fn emails_wanted(tasks: &[Task]) -> BTreeSet<String> {
    let wanted = tasks.iter().filter_map(values_wanted).map(|values| values[Field::Email].to_lowercase());
    wanted.filter(|email| !email.is_empty()).collect()
}

/// Of `m_Sip` and of `m_ExternalPhones`.
fn uniqids_wanted(tasks: &[Task]) -> (BTreeSet<&str>, BTreeSet<&str>) {
    let (mut sip, mut external) = (BTreeSet::new(), BTreeSet::new());
    for task in tasks {
        match task {
            Task::Create(task) => {
                sip.insert(task.sip_uniqid.as_str());
                external.insert(task.external_uniqid.as_str());
            }
            Task::Update(task) => {
                external.insert(task.external_uniqid.as_str());
            }
            Task::Account(_) | Task::Delete(_) => {}
        }
    }
    (sip, external)
}

fn numbers_concerned(tasks: &[Task], people: &BTreeMap<i64, Person>) -> BTreeSet<String> {
    let mut numbers = BTreeSet::new();
    for values in tasks.iter().filter_map(values_wanted) {
        numbers.extend([values[Field::Number].to_string(), values[Field::Mobile].to_string()]);
    }
    for person in people.values() {
        numbers.extend([person.number.clone(), person.mobile.clone()]);
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
    select_extensions(connection, "", [])
}

/// The rows of `m_Extensions` with one of these numbers, in the order of their ids.
pub(super) fn extensions_with(rows: Indexed<'_>, numbers: &BTreeSet<String>) -> rusqlite::Result<Vec<Extension>> {
    let list = rows.index.rows(Table::Extensions, "number", numbers.iter().map(String::as_str));
    let mut found = select_extensions(rows.connection, AMONG_IDS, [list])?;
    found.retain(|row| numbers.contains(&row.number));
    Ok(found)
}

/// The rows of `m_Extensions` whose numbers may be other spellings of these, in the order of their ids.
pub(super) fn extensions_ending_like(
    rows: Indexed<'_>,
    numbers: &BTreeSet<String>,
) -> rusqlite::Result<Vec<Extension>> {
    let ids = rows.index.rows_ending_like(numbers.iter().map(String::as_str));
    select_extensions(rows.connection, AMONG_IDS, [serde_json::json!(ids).to_string()])
}

/// A row of `m_Users`.
pub(super) struct User {
    pub(super) id: i64,
    pub(super) email: String,
    pub(super) name: String,
}

/// The rows of `m_Users` that may have one of the values in an indexed column, in the order of their ids.
pub(super) fn users_with(rows: Indexed<'_>, column: &str, values: &BTreeSet<String>) -> rusqlite::Result<Vec<User>> {
    let list = rows.index.rows(Table::Users, column, values.iter().map(String::as_str));
    let sql = format!("SELECT id, email, username FROM m_Users {AMONG_IDS} ORDER BY id");
    let mut statement = rows.connection.prepare_cached(&sql)?;
    statement
        .query_map([list], |row| Ok(User { id: row.get(0)?, email: text(row, 1)?, name: text(row, 2)? }))?
        .collect()
}

/// The internal numbers of the accounts with these identifiers.
pub(super) fn numbers_of_accounts(rows: Indexed<'_>, sip_uniqids: &BTreeSet<String>) -> rusqlite::Result<Vec<String>> {
    let list = rows.index.rows(Table::Sip, "uniqid", sip_uniqids.iter().map(String::as_str));
    let sql = format!("SELECT extension FROM m_Sip {AMONG_IDS} ORDER BY id");
    rows.connection.prepare_cached(&sql)?.query_map([list], |row| text(row, 0))?.collect()
}

/// Rows whose ids are in a JSON list.
const AMONG_IDS: &str = "WHERE id IN (SELECT value FROM json_each(?1))";

fn select_extensions(
    connection: &Connection,
    filter: &str,
    parameters: impl Params,
) -> rusqlite::Result<Vec<Extension>> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT id, number, type, callerid, userid, is_general_user_number FROM m_Extensions {filter} ORDER BY id"
    ))?;
    statement
        .query_map(parameters, |row| {
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
    rows: Indexed<'_>,
    user_ids: &BTreeSet<i64>,
    vault: &Vault,
) -> rusqlite::Result<BTreeMap<i64, Person>> {
    if user_ids.is_empty() {
        return Ok(BTreeMap::new());
    }
    let extensions = extensions_of(rows, user_ids)?;
    let general = general_rows(&extensions);
    let mut further: BTreeMap<i64, usize> = BTreeMap::new();
    extensions.iter().filter_map(|row| row.user_id).for_each(|user_id| *further.entry(user_id).or_default() += 1);
    let sql = format!("SELECT id, username, email, avatar FROM m_Users {AMONG_IDS} ORDER BY id");
    let mut statement = rows.connection.prepare_cached(&sql)?;
    let mut found = statement.query([serde_json::json!(user_ids).to_string()])?;
    let mut people = BTreeMap::new();
    while let Some(row) = found.next()? {
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
                further_numbers: further[&user_id] - 1 - usize::from(external.is_some()),
                ..Person::default()
            },
        );
    }
    add_devices(rows, &mut people, vault)?;
    Ok(people)
}

fn extensions_of(rows: Indexed<'_>, user_ids: &BTreeSet<i64>) -> rusqlite::Result<Vec<Extension>> {
    let texts: Vec<String> = user_ids.iter().map(i64::to_string).collect();
    let list = rows.index.rows(Table::Extensions, "userid", texts.iter().map(String::as_str));
    let mut found = select_extensions(rows.connection, AMONG_IDS, [list])?;
    found.retain(|row| row.user_id.is_some_and(|user_id| user_ids.contains(&user_id)));
    Ok(found)
}

/// Peers, forwardings and external phones of the people, one query each.
fn add_devices(rows: Indexed<'_>, people: &mut BTreeMap<i64, Person>, vault: &Vault) -> rusqlite::Result<()> {
    let numbers: Vec<&str> = people.values().map(|person| person.number.as_str()).collect();
    let mobiles: Vec<&str> = people.values().map(|person| person.mobile.as_str()).collect();
    let peers = by_extension(rows, Table::Sip, &numbers, "uniqid, secret, disabled, type", |row| {
        let peer = (row.get::<_, i64>(0)?, text(row, 2)?, vault.keep(&text(row, 3)?), text(row, 4)? == "1");
        Ok((text(row, 5)? == "peer").then_some(peer))
    })?;
    let forwardings = by_extension(
        rows,
        Table::Forwarding,
        &numbers,
        "forwarding, forwardingonbusy, forwardingonunavailable, ringlength",
        |row| {
            let ringlength = text(row, 5)?;
            Ok(Some(Forwarding {
                id: row.get(0)?,
                targets: [text(row, 2)?, text(row, 3)?, text(row, 4)?],
                rings_not: ringlength.is_empty() || ringlength == "0",
            }))
        },
    )?;
    let phones = by_extension(rows, Table::ExternalPhones, &mobiles, "dialstring", |row| {
        Ok(Some((row.get::<_, i64>(0)?, text(row, 2)?)))
    })?;
    for person in people.values_mut() {
        if let Some((id, uniqid, secret, disabled)) = peers.get(&person.number).and_then(|rows| rows.first()) {
            person.sip = Some(*id);
            person.sip_uniqid.clone_from(uniqid);
            person.secret.clone_from(secret);
            person.sip_disabled = *disabled;
        }
        person.forwarding = forwardings.get(&person.number).and_then(|rows| rows.first()).cloned();
        person.phones = phones.get(&person.mobile).cloned().unwrap_or_default();
    }
    Ok(())
}

/// The rows of a table with these numbers in `extension`, by number, as far as `read` takes them.
fn by_extension<T>(
    rows: Indexed<'_>,
    table: Table,
    numbers: &[&str],
    columns: &str,
    read: impl Fn(&Row<'_>) -> rusqlite::Result<Option<T>>,
) -> rusqlite::Result<BTreeMap<String, Vec<T>>> {
    let sql = format!("SELECT id, extension, {columns} FROM {} {AMONG_IDS} ORDER BY id", table.name());
    let mut statement = rows.connection.prepare_cached(&sql)?;
    let mut stored = statement.query([rows.index.rows(table, "extension", numbers.iter().copied())])?;
    let mut found: BTreeMap<String, Vec<T>> = BTreeMap::new();
    while let Some(row) = stored.next()? {
        if let Some(taken) = read(row)? {
            found.entry(text(row, 1)?).or_default().push(taken);
        }
    }
    Ok(found)
}

/// Who holds each of the `wanted` e-mail addresses. SQLite's `lower` knows ASCII only, so they are compared here.
fn emails(rows: Indexed<'_>, wanted: &BTreeSet<String>) -> rusqlite::Result<BTreeMap<String, Vec<i64>>> {
    let mut emails: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    let list = rows.index.rows(Table::Users, "email", wanted.iter().map(String::as_str));
    let sql = format!("SELECT id, email FROM m_Users {AMONG_IDS} ORDER BY id");
    let mut statement = rows.connection.prepare_cached(&sql)?;
    let mut stored = statement.query([list])?;
    while let Some(row) = stored.next()? {
        let email = comparable_email(&text(row, 1)?);
        if wanted.contains(&email) {
            emails.entry(email).or_default().push(row.get(0)?);
        }
    }
    Ok(emails)
}

/// An e-mail address of `m_Users` as addresses are compared.
pub(super) fn comparable_email(stored: &str) -> String {
    stored.trim().to_lowercase()
}

/// Those of the identifiers that the table has.
fn uniqids(rows: Indexed<'_>, table: Table, among: &BTreeSet<&str>) -> rusqlite::Result<BTreeSet<String>> {
    let list = rows.index.rows(table, "uniqid", among.iter().copied());
    let sql = format!("SELECT uniqid FROM {} {AMONG_IDS}", table.name());
    let mut statement = rows.connection.prepare_cached(&sql)?;
    statement.query_map([list], |row| text(row, 0))?.collect()
}
