//! Active Directory's own answer to what has changed: the DirSync control (MS-ADTS 3.1.1.3.4.1.3).
//!
//! The cookie of one answer stands for everything up to it; asked with it, the server names what has changed since, deleted
//! objects too. It is asked of a whole naming context, and the login needs the right to replicate its changes.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::BytesMut;
use ldap3::Scope;
use ldap3::asn1::{ASNTag, Integer, OctetString, Sequence, Tag, write};
use ldap3::controls::RawControl;
use sync_core::directory::DirectoryError;
use sync_core::person::DirectoryKey;

use crate::connection::{Connection, PAGE_PATIENCE, control_value};
use crate::entry::{BadEntry, RawEntry};
use crate::errors::named;
use crate::settings::ServerSettings;
use crate::{ber, changes, dn, filter, ids, read};

/// The control's OID.
pub(crate) const DIRSYNC: &str = "1.2.840.113556.1.4.841";
/// Bytes of one part of an answer, about.
const PART: i64 = 1 << 20;
/// Longest cookie that is kept, in bytes; it grows with the number of domain controllers.
const LONGEST_COOKIE: usize = 64 << 10;
/// Finds nobody: the cookie alone is wanted.
const NOBODY: &str = r"(objectGUID=\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00)";

/// Who has changed, and the cookie to ask with the next time; or a sentence that says why that is not known.
pub(crate) type Answer = Result<(BTreeSet<DirectoryKey>, String), String>;

/// A cookie that stands for all that has happened so far; or a sentence that says why there is none.
pub(crate) async fn cookie(
    connection: &Connection,
    settings: &ServerSettings,
) -> Result<Result<String, String>, DirectoryError> {
    if !connection.root.offers(DIRSYNC) {
        return Ok(Err("the server does not offer it".to_owned()));
    }
    // Whoever may not ask for these is told so now and not at every tick.
    let search = Search { filter: NOBODY, attributes: attributes(settings)?, limit: connection.session.link.timeout };
    let reached = pass(connection, settings, &search, Vec::new(), &mut |_| ()).await?;
    Ok(reached.map(|cookie| STANDARD.encode(cookie)))
}

/// People of whom something that matters has changed since `cookie`.
pub(crate) async fn changed(
    connection: &Connection,
    settings: &ServerSettings,
    cookie: &str,
) -> Result<Answer, DirectoryError> {
    let Ok(cookie) = STANDARD.decode(cookie) else { return Ok(Err("the cookie kept is damaged".to_owned())) };
    let (mut people, mut lost) = (BTreeSet::new(), 0);
    let mut keep = |entry: Result<RawEntry, BadEntry>| {
        match entry.ok().and_then(|entry| ids::key(settings.vendor, &entry)) {
            Some(key) if people.len() < changes::MOST => drop(people.insert(key)),
            Some(_) => {}
            None => lost += 1,
        };
    };
    let oversized = connection.oversized();
    let limit = connection.session.link.timeout * PAGE_PATIENCE;
    let search = Search { filter: changes::PEOPLE, attributes: attributes(settings)?, limit };
    let reached = pass(connection, settings, &search, cookie, &mut keep).await?;
    lost += connection.oversized() - oversized;
    Ok(match reached {
        Ok(_) if lost > 0 => Err(format!("{lost} changed entries could not be understood")),
        reached => reached.map(|cookie| (people, STANDARD.encode(cookie))),
    })
}

/// Whoever has changed in none of these is not named: what a read takes, what the filter asks for, and what tells of a
/// move (`name`) or a deletion.
fn attributes(settings: &ServerSettings) -> Result<Vec<String>, DirectoryError> {
    let mut names = read::attributes(settings);
    names.extend(filter::attributes(&read::people_filter(settings)?));
    names.extend(["name", "isDeleted"].map(str::to_owned));
    names.push(settings.attributes.photo.clone());
    names.retain(|name| !name.is_empty());
    names.sort_by_key(|name| name.to_ascii_lowercase());
    names.dedup_by_key(|name| name.to_ascii_lowercase());
    Ok(names)
}

/// What to ask for, and how long that may take.
struct Search<'a> {
    filter: &'a str,
    attributes: Vec<String>,
    limit: Duration,
}

/// Asks from `cookie` on until the server has no more to say; the cookie reached, or why it was not.
async fn pass(
    connection: &Connection,
    settings: &ServerSettings,
    search: &Search<'_>,
    mut cookie: Vec<u8>,
    each: &mut dyn FnMut(Result<RawEntry, BadEntry>),
) -> Result<Result<Vec<u8>, String>, DirectoryError> {
    let (session, start) = (&connection.session, Instant::now());
    let base = dn::context_of(&settings.search_base(), &connection.root.naming_contexts);
    let Search { filter, attributes, limit } = search;
    loop {
        let control = RawControl { ctype: DIRSYNC.to_owned(), crit: true, val: Some(request(&cookie)) };
        let part = session.search(&base, Scope::Subtree, filter, attributes, vec![control], &mut *each);
        let result = tokio::time::timeout(*limit, part)
            .await
            .unwrap_or_else(|_| Err(session.link.too_slow("sending what has changed", *limit)))?;
        if result.rc != 0 {
            return Ok(Err(format!("the server does not tell what has changed by DirSync: {}", named(&result))));
        }
        let (more, next) = match control_value(&result.ctrls, DIRSYNC).ok_or("no cookie").and_then(response) {
            Ok(told) => told,
            Err(text) => return Ok(Err(format!("the answer to DirSync could not be understood: {text}"))),
        };
        if !more {
            return Ok(Ok(next));
        }
        if next == cookie || start.elapsed() > *limit {
            return Ok(Err("DirSync comes to no end".to_owned()));
        }
        cookie = next;
    }
}

/// SEQUENCE { flags INTEGER, maxBytes INTEGER, cookie OCTET STRING }. No flag: the right to replicate is used, which also
/// shows deleted objects.
fn request(cookie: &[u8]) -> Vec<u8> {
    let number = |inner| Tag::Integer(Integer { inner, ..Integer::default() });
    let cookie = Tag::OctetString(OctetString { inner: cookie.to_vec(), ..OctetString::default() });
    let value = Tag::Sequence(Sequence { inner: vec![number(0), number(PART), cookie], ..Sequence::default() });
    let mut bytes = BytesMut::new();
    // Writing to memory cannot fail.
    let _ = write::encode_into(&mut bytes, value.into_structure());
    bytes.to_vec()
}

/// SEQUENCE { moreResults INTEGER, unused INTEGER, cookie OCTET STRING }: whether there is more, and the cookie.
fn response(value: &[u8]) -> Result<(bool, Vec<u8>), &'static str> {
    let (outer, _) = ber::element(value)?;
    match ber::elements(outer.content)?.as_slice() {
        [more, _, cookie, ..] if more.tag == ber::INTEGER && cookie.tag == ber::OCTET_STRING => {
            if cookie.content.is_empty() || cookie.content.len() > LONGEST_COOKIE {
                return Err("a cookie that is empty or far too long");
            }
            Ok((more.content.iter().any(|byte| *byte != 0), cookie.content.to_vec()))
        }
        _ => Err("no cookie"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::settings::Vendor;
    use crate::test_settings;

    #[test]
    fn the_controls_value_is_what_the_specification_says() {
        assert_eq!(request(b"ab"), [0x30, 12, 2, 1, 0, 2, 3, 0x10, 0, 0, 4, 2, b'a', b'b']);
        assert_eq!(response(&[0x30, 9, 2, 1, 0, 2, 1, 0, 4, 1, b'c']), Ok((false, b"c".to_vec())));
        assert_eq!(response(&[0x30, 9, 2, 1, 1, 2, 1, 0, 4, 1, b'c']), Ok((true, b"c".to_vec())));
        for broken in [&[][..], &[0x30, 0], &[0x30, 8, 2, 1, 0, 2, 1, 0, 4, 0], &[0x30, 6, 2, 1, 0, 4, 1, b'c']] {
            assert!(response(broken).is_err(), "{broken:?}");
        }
    }

    #[test]
    fn everything_that_matters_is_asked_for() {
        let mut settings = test_settings(Vendor::ActiveDirectory);
        settings.user_filter = "(&(objectClass=user)(department=Sales)(userAccountControl:1.2.3:=2))".to_owned();
        settings.attributes.photo = "thumbnailPhoto".to_owned();
        let names = attributes(&settings).expect("a filter");
        for name in ["department", "isDeleted", "mail", "name", "thumbnailPhoto", "userAccountControl"] {
            assert_eq!(names.iter().filter(|found| found.eq_ignore_ascii_case(name)).count(), 1, "{name} in {names:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reading_panic(bytes: Vec<u8>) {
            let _ = response(&bytes);
        }
    }
}
