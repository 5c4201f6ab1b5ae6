//! Reads the whole PBX for a plan: a fixed number of full scans, whatever the number of people.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rusqlite::Connection;

use super::index::Indexed;
use super::relations::{owned, owned_besides_employees, references};
use super::schema::{Schema, Table, text};
use super::state::{
    DEFAULT_LANGUAGE, Extension, Person, comparable_email, extensions, extensions_ending_like, extensions_with,
    general_rows, numbers_of_accounts, people, setting, users_with,
};
use super::uses::{uses, uses_of};
use super::{About, EmailHolder, Holder, OutgoingPattern, PbxSnapshot, avatar};
use crate::person::{Employee, EmployeeRows, Field};
use crate::vault::Vault;

/// MikoPBX's own default of `PBXInternalExtensionLength`.
const DEFAULT_EXTENSION_LENGTH: u32 = 3;

/// Reads the snapshot.
pub(super) fn read(
    connection: &Connection,
    schema: &Schema,
    media: &Path,
    vault: &Vault,
) -> rusqlite::Result<PbxSnapshot> {
    let extensions = extensions(connection)?;
    let mut warnings = Vec::new();
    let mut numbers = holders(&extensions, &mut warnings);
    add_leftovers(connection, schema, &mut numbers)?;
    let employees = employees(connection, &extensions, media, vault, &mut warnings)?;
    let snapshot = PbxSnapshot {
        smallest_numbers: employees.iter().map(|employee| employee.values[Field::Number].as_str()).collect(),
        employees,
        numbers,
        emails: emails(connection)?,
        uses: uses(connection, schema, &extensions)?,
        warnings,
        ..PbxSnapshot::default()
    };
    with_settings(snapshot, connection, schema)
}

/// Adds what is about nobody in particular.
fn with_settings(snapshot: PbxSnapshot, connection: &Connection, schema: &Schema) -> rusqlite::Result<PbxSnapshot> {
    let length = setting(connection, "PBXInternalExtensionLength")?.and_then(|length| length.trim().parse().ok());
    Ok(PbxSnapshot {
        extension_length: length.filter(|&length| length > 0).unwrap_or(DEFAULT_EXTENSION_LENGTH),
        language: setting(connection, "PBXLanguage")?.unwrap_or_else(|| DEFAULT_LANGUAGE.to_owned()),
        outgoing: outgoing(connection, schema)?,
        ids_given: ids_given(connection)?,
        ..snapshot
    })
}

/// Reads what concerns some people and values: the employees themselves, whoever holds one of the values, and who points
/// at their numbers.
pub(super) fn read_about(
    rows: Indexed<'_>,
    about: &About,
    media: &Path,
    vault: &Vault,
) -> rusqlite::Result<PbxSnapshot> {
    let users = users_about(rows, about)?;
    let mut warnings = Vec::new();
    let people = people(rows, &users, vault)?;
    let employees: Vec<Employee> = people.values().map(|person| employee(person, media, &mut warnings)).collect();
    let mut concerned = about.numbers.clone();
    for employee in &employees {
        concerned.extend([Field::Number, Field::Mobile].map(|field| employee.values[field].to_string()));
    }
    concerned.remove("");
    let mut extensions = extensions_with(rows, &concerned)?;
    extensions.extend(extensions_ending_like(rows, &about.phones)?);
    extensions.sort_by_key(|row| row.id);
    extensions.dedup_by_key(|row| row.id);
    let mut numbers = holders(&extensions, &mut warnings);
    add_owners(rows, &concerned, &mut numbers)?;
    let mut emails: BTreeMap<String, Vec<EmailHolder>> = BTreeMap::new();
    for user in users_with(rows, "email", &about.emails)? {
        let holder = EmailHolder { user_id: user.id, name: user.name };
        emails.entry(comparable_email(&user.email)).or_default().push(holder);
    }
    let uses = uses_of(rows, &concerned)?;
    let smallest_numbers = rows.index.smallest_numbers().clone();
    let snapshot =
        PbxSnapshot { employees, numbers, emails, uses, smallest_numbers, warnings, ..PbxSnapshot::default() };
    with_settings(snapshot, rows.connection, rows.schema)
}

/// The employees named, and whoever holds one of the values.
fn users_about(rows: Indexed<'_>, about: &About) -> rusqlite::Result<BTreeSet<i64>> {
    let mut users = about.users.clone();
    let mut numbers = about.numbers.clone();
    numbers.extend(numbers_of_accounts(rows, &about.sip_uniqids)?);
    users.extend(extensions_with(rows, &numbers)?.iter().filter_map(|row| row.user_id));
    users.extend(extensions_ending_like(rows, &about.phones)?.iter().filter_map(|row| row.user_id));
    for (column, values) in [("email", &about.emails), ("username", &about.names)] {
        users.extend(users_with(rows, column, values)?.into_iter().map(|user| user.id));
    }
    Ok(users)
}

/// The employee as a plan sees them.
fn employee(person: &Person, media: &Path, warnings: &mut Vec<String>) -> Employee {
    if let Err(reason) = avatar::hash(&person.avatar, media) {
        let (id, name) = (person.user_id, &person.name);
        warnings.push(format!("the photo of employee {id} ({name}) counts as absent: m_Users.avatar {reason}"));
    }
    Employee {
        user_id: person.user_id,
        sip_uniqid: person.sip_uniqid.clone(),
        sip_disabled: person.sip_disabled,
        values: person.values(media),
        rows: EmployeeRows {
            number: person.sip_extension,
            mobile: person.external_extension.unwrap_or_default(),
            phone: person.phones.first().map(|(row, _)| *row).unwrap_or_default(),
            sip: person.sip.unwrap_or_default(),
        },
    }
}

/// Rows of other tables that hold one of the numbers as their own and are left over.
fn add_owners(
    rows: Indexed<'_>,
    concerned: &BTreeSet<String>,
    numbers: &mut BTreeMap<String, Holder>,
) -> rusqlite::Result<()> {
    for (number, found) in references(rows, concerned)? {
        let Some(owner) = found.iter().find(|reference| reference.is_owner()) else { continue };
        numbers.entry(number).or_insert_with(|| leftover(owner.table, owner.row));
    }
    for (number, table, row) in owned_besides_employees(rows.connection, rows.schema)? {
        numbers.entry(number).or_insert_with(|| leftover(table, row));
    }
    Ok(())
}

fn leftover(table: Table, row: i64) -> Holder {
    Holder { kind: Holder::LEFTOVER.to_owned(), user_id: None, label: format!("record {row} of {}", table.name()) }
}

/// SQLite keeps the largest id ever given of each table with AUTOINCREMENT, as all of MikoPBX's are.
pub(super) fn ids_given(connection: &Connection) -> rusqlite::Result<i64> {
    let sql = "SELECT coalesce(sum(seq), 0) FROM sqlite_sequence WHERE name IN ('m_Users', 'm_Extensions', 'm_Sip')";
    match connection.query_row(sql, [], |row| row.get(0)) {
        // A copy made by other means may have no such table.
        Err(rusqlite::Error::SqliteFailure(..)) => Ok(0),
        found => found,
    }
}

fn holders(extensions: &[Extension], warnings: &mut Vec<String>) -> BTreeMap<String, Holder> {
    let mut holders: BTreeMap<String, Holder> = BTreeMap::new();
    for row in extensions.iter().filter(|row| !row.number.is_empty()) {
        if let Some(first) = holders.get(&row.number) {
            warnings.push(format!(
                "the number {} stands twice on the PBX, as {} '{}' and as {} '{}': correct it there",
                row.number, first.kind, first.label, row.kind, row.label
            ));
            continue;
        }
        let holder = Holder { kind: row.kind.clone(), user_id: row.user_id, label: row.label.clone() };
        holders.insert(row.number.clone(), holder);
    }
    holders
}

/// Rows that belong to a number `m_Extensions` does not have: a validator of MikoPBX would refuse the number.
fn add_leftovers(
    connection: &Connection,
    schema: &Schema,
    numbers: &mut BTreeMap<String, Holder>,
) -> rusqlite::Result<()> {
    for (number, table, row) in owned(connection, schema)? {
        numbers.entry(number).or_insert_with(|| leftover(table, row));
    }
    Ok(())
}

fn emails(connection: &Connection) -> rusqlite::Result<BTreeMap<String, Vec<EmailHolder>>> {
    let mut statement =
        connection.prepare_cached("SELECT id, email, username FROM m_Users WHERE email <> '' ORDER BY id")?;
    let mut rows = statement.query([])?;
    let mut emails: BTreeMap<String, Vec<EmailHolder>> = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let email = comparable_email(&text(row, 1)?);
        if !email.is_empty() {
            emails.entry(email).or_default().push(EmailHolder { user_id: row.get(0)?, name: text(row, 2)? });
        }
    }
    Ok(emails)
}

fn employees(
    connection: &Connection,
    extensions: &[Extension],
    media: &Path,
    vault: &Vault,
    warnings: &mut Vec<String>,
) -> rusqlite::Result<Vec<Employee>> {
    let peers = peers(connection, vault)?;
    let phones = phones(connection)?;
    let general = general_rows(extensions);
    let mut statement = connection.prepare_cached("SELECT id, username, email, avatar FROM m_Users ORDER BY id")?;
    let mut rows = statement.query([])?;
    let mut employees = Vec::new();
    while let Some(row) = rows.next()? {
        let user_id = row.get(0)?;
        let Some(general) = general.get(&user_id) else { continue };
        let Some(&sip) = general.sip.first() else { continue };
        let mut employee = Employee { user_id, ..Employee::default() };
        employee.values[Field::Name] = text(row, 1)?.into();
        employee.values[Field::Email] = text(row, 2)?.into();
        employee.values[Field::Number] = extensions[sip].number.as_str().into();
        employee.rows.number = extensions[sip].id;
        if let Some(&external) = general.external.first() {
            employee.values[Field::Mobile] = extensions[external].number.as_str().into();
            employee.rows.mobile = extensions[external].id;
            employee.rows.phone = phones.get(&extensions[external].number).copied().unwrap_or_default();
        }
        if let Some(peer) = peers.get(&extensions[sip].number) {
            employee.sip_uniqid.clone_from(&peer.uniqid);
            employee.sip_disabled = peer.disabled;
            employee.values[Field::Secret] = peer.secret.as_str().into();
            employee.rows.sip = peer.id;
        }
        let called = format!("employee {user_id} ({})", employee.values[Field::Name]);
        for (what, rows) in [("internal", &general.sip), ("mobile", &general.external)] {
            if rows.len() > 1 {
                let first = &extensions[rows[0]].number;
                warnings.push(format!(
                    "{called} has {} {what} numbers on the PBX; only {first} is kept in step",
                    rows.len()
                ));
            }
        }
        match avatar::hash(&text(row, 3)?, media) {
            Ok(hash) => employee.values[Field::Photo] = hash.into(),
            Err(reason) => warnings.push(format!("the photo of {called} counts as absent: m_Users.avatar {reason}")),
        }
        employees.push(employee);
    }
    Ok(employees)
}

/// The record of each mobile; the one with the smallest id where there are several.
fn phones(connection: &Connection) -> rusqlite::Result<BTreeMap<String, i64>> {
    let mut statement = connection.prepare_cached("SELECT extension, id FROM m_ExternalPhones ORDER BY id DESC")?;
    statement.query_map([], |row| Ok((text(row, 0)?, row.get(1)?)))?.collect()
}

struct Peer {
    id: i64,
    uniqid: String,
    /// Fingerprint.
    secret: String,
    disabled: bool,
}

/// The peer of each number; the one with the smallest id where there are several.
fn peers(connection: &Connection, vault: &Vault) -> rusqlite::Result<BTreeMap<String, Peer>> {
    let sql = "SELECT extension, uniqid, disabled, id, secret FROM m_Sip WHERE type = 'peer' ORDER BY id";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([])?;
    let mut peers = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let (uniqid, disabled) = (text(row, 1)?, text(row, 2)? == "1");
        let peer = Peer { id: row.get(3)?, uniqid, secret: vault.keep(&text(row, 4)?), disabled };
        peers.entry(text(row, 0)?).or_insert(peer);
    }
    Ok(peers)
}

fn outgoing(connection: &Connection, schema: &Schema) -> rusqlite::Result<Vec<OutgoingPattern>> {
    if !["numberbeginswith", "restnumbers", "rulename"].iter().all(|column| schema.has(Table::OutgoingRouting, column))
    {
        return Ok(Vec::new());
    }
    let mut statement = connection
        .prepare_cached("SELECT numberbeginswith, restnumbers, rulename FROM m_OutgoingRoutingTable ORDER BY id")?;
    statement
        .query_map([], |row| {
            // As PHP casts it: what is no number counts as 0; -1 stands for any number of digits.
            let rest: i64 = text(row, 1)?.trim().parse().unwrap_or(0);
            Ok(OutgoingPattern { begins_with: text(row, 0)?, rest: u32::try_from(rest).ok(), name: text(row, 2)? })
        })?
        .collect()
}
