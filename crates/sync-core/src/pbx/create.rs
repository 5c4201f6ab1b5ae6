//! A new employee, row by row as MikoPBX's web form makes one (docs/MIKOPBX.md, Employees).

use rusqlite::types::Value;
use secrecy::ExposeSecret;

use super::schema::Table;
use super::writer::{Writer, words};
use super::{CreateTask, avatar, caller_id, search_index};
use crate::person::{Field, Values};

/// Rings before a call is forwarded, in seconds; MikoPBX sets it also where nothing is forwarded.
pub(super) const RING_LENGTH: i64 = 45;

/// Inserts the employee's rows and answers `m_Users.id`. `photo` is the MD5 of a photo that will be put into place.
pub(super) fn create(
    writer: &mut Writer<'_>,
    task: &CreateTask,
    language: &str,
    photo: Option<&str>,
) -> rusqlite::Result<i64> {
    let values = &task.values;
    let number = &values[Field::Number];
    let mobile = &values[Field::Mobile];
    let user_id = insert_user(writer, values, language, photo)?;
    insert_extension(writer, user_id, "SIP", number, values)?;
    writer.insert(Table::Sip, &peer(task))?;
    let target = if task.forward_to_mobile { mobile.as_str() } else { "" };
    insert_forwarding(writer, number, target)?;
    if !mobile.is_empty() {
        insert_mobile(writer, user_id, values, &task.external_uniqid)?;
    }
    Ok(user_id)
}

fn insert_user(writer: &mut Writer<'_>, values: &Values, language: &str, photo: Option<&str>) -> rusqlite::Result<i64> {
    let user_id = writer.insert(
        Table::Users,
        &[
            ("email", words(&values[Field::Email])),
            ("username", words(&values[Field::Name])),
            ("language", words(language)),
            ("avatar", words("")),
        ],
    )?;
    if let Some(md5) = photo {
        writer.update(Table::Users, user_id, &[("avatar", words(avatar::column(user_id, md5)))])?;
    }
    Ok(user_id)
}

fn insert_extension(
    writer: &mut Writer<'_>,
    user_id: i64,
    kind: &str,
    number: &str,
    values: &Values,
) -> rusqlite::Result<()> {
    let mobile = if kind == "EXTERNAL" { number } else { "" };
    let index = search_index(&values[Field::Name], &values[Field::Email], &values[Field::Number], mobile);
    writer.insert(
        Table::Extensions,
        &[
            ("number", words(number)),
            ("type", words(kind)),
            ("callerid", words(caller_id(&values[Field::Name]))),
            ("userid", Value::Integer(user_id)),
            ("show_in_phonebook", words("1")),
            ("public_access", words("1")),
            ("is_general_user_number", words("1")),
            ("search_index", words(index)),
        ],
    )?;
    Ok(())
}

/// The mobile of a person: `m_Extensions` and `m_ExternalPhones`. `values` are those the person will have.
pub(super) fn insert_mobile(
    writer: &mut Writer<'_>,
    user_id: i64,
    values: &Values,
    external_uniqid: &str,
) -> rusqlite::Result<()> {
    insert_extension(writer, user_id, "EXTERNAL", &values[Field::Mobile], values)?;
    insert_phone(writer, &values[Field::Mobile], external_uniqid)
}

pub(super) fn insert_phone(writer: &mut Writer<'_>, mobile: &str, external_uniqid: &str) -> rusqlite::Result<()> {
    writer.insert(
        Table::ExternalPhones,
        &[
            ("extension", words(mobile)),
            ("uniqid", words(external_uniqid)),
            ("dialstring", words(mobile)),
            ("manualdialplanincoming", words("")),
            ("manualdialplanoutgoing", words("")),
            ("disabled", words("0")),
        ],
    )?;
    Ok(())
}

pub(super) fn insert_forwarding(writer: &mut Writer<'_>, number: &str, target: &str) -> rusqlite::Result<()> {
    writer.insert(
        Table::Forwarding,
        &[
            ("extension", words(number)),
            ("forwarding", words(target)),
            ("forwardingonbusy", words(target)),
            ("forwardingonunavailable", words(target)),
            ("ringlength", Value::Integer(RING_LENGTH)),
        ],
    )?;
    Ok(())
}

fn peer(task: &CreateTask) -> Vec<(&'static str, Value)> {
    let empty = [
        "registration_type",
        "host",
        "username",
        "outbound_proxy",
        "fromuser",
        "fromdomain",
        "nat",
        "manualattributes",
        "cid_custom_header",
        "cid_parser_start",
        "cid_parser_end",
        "cid_parser_regex",
        "did_custom_header",
        "did_parser_start",
        "did_parser_end",
        "did_parser_regex",
    ];
    let mut values = vec![
        ("uniqid", words(&task.sip_uniqid)),
        ("disabled", words("0")),
        ("extension", words(&task.values[Field::Number])),
        ("type", words("peer")),
        ("port", Value::Integer(5060)),
        ("secret", words(task.secret.expose_secret())),
        ("transport", words("udp,tcp")),
        ("dtmfmode", words("auto")),
        ("qualifyfreq", Value::Integer(60)),
        ("qualify", words("1")),
        ("networkfilterid", Value::Null),
        ("disablefromuser", words("0")),
        ("noregister", words("0")),
        ("description", words(&task.values[Field::Name])),
        ("enableRecording", Value::Integer(1)),
        ("weakSecret", Value::Integer(0)),
        ("cid_source", words("default")),
        ("did_source", words("default")),
        ("cid_did_debug", words("0")),
    ];
    values.extend(empty.map(|column| (column, words(""))));
    values
}
