//! When values were edited in the directory, asked only about entries with a two-sided edit.
//!
//! Active Directory keeps the time of the last originating change of every attribute. It tells it readably in
//! `msDS-ReplAttributeMetaData` (MS-ADTS 3.1.1.3.2.46) and in binary form in `replPropertyMetaData` (MS-DRSR 5.166); Samba
//! has the latter only. Other servers tell when the entry as a whole was changed last.

use std::collections::{BTreeMap, BTreeSet};

use sync_core::directory::DirectoryError;
use sync_core::person::{DirectoryKey, Field};
use sync_core::recency::DirectoryTime;
use x509_parser::asn1_rs::GeneralizedTime;

use crate::connection::Connection;
use crate::elsewhere::by_keys;
use crate::entry::RawEntry;
use crate::filter;
use crate::settings::{ServerSettings, Vendor};

/// The readable form.
const READABLE: &str = "msDS-ReplAttributeMetaData";
/// The binary form.
const BINARY: &str = "replPropertyMetaData";
/// Seconds between 1601, where Windows counts from, and 1970.
const SECONDS_TO_1970: u64 = 11_644_473_600;

/// When the fields of the entries were edited, as far as the directory tells.
pub(crate) async fn edit_times(
    connection: &mut Connection,
    settings: &ServerSettings,
    wanted: &BTreeMap<DirectoryKey, BTreeSet<Field>>,
) -> Result<BTreeMap<(DirectoryKey, Field), DirectoryTime>, DirectoryError> {
    let keys: Vec<DirectoryKey> = wanted.keys().cloned().collect();
    let names: &[&str] = match settings.vendor {
        Vendor::ActiveDirectory => &[READABLE, BINARY],
        Vendor::OpenLdap | Vendor::DirectoryServer389 | Vendor::FreeIpa => &["modifyTimestamp"],
    };
    let mut entries = Vec::new();
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    by_keys(connection, settings, &keys, names, |key, entry| entries.push((key, entry))).await?;
    let numbers = if entries.iter().any(|(_, entry)| needs_numbers(entry)) {
        attribute_numbers(connection, settings, wanted).await?
    } else {
        BTreeMap::new()
    };
    let mut times = BTreeMap::new();
    for (key, entry) in &entries {
        for &field in wanted.get(key).into_iter().flatten() {
            if let Some(time) = time_of(settings, entry, settings.attributes.of(field), &numbers) {
                times.insert((key.clone(), field), time);
            }
        }
    }
    Ok(times)
}

fn needs_numbers(entry: &RawEntry) -> bool {
    entry.values(READABLE).next().is_none() && entry.values(BINARY).next().is_some()
}

fn time_of(
    settings: &ServerSettings,
    entry: &RawEntry,
    attribute: &str,
    numbers: &BTreeMap<String, u32>,
) -> Option<DirectoryTime> {
    if settings.vendor != Vendor::ActiveDirectory {
        return generalized(&entry.text("modifyTimestamp")).map(DirectoryTime::Entry);
    }
    let readable = entry.values(READABLE).find_map(|value| readable_time(value, attribute));
    let binary = || {
        let number = numbers.get(&attribute.to_ascii_lowercase())?;
        binary_time(entry.values(BINARY).next()?, *number)
    };
    readable.or_else(binary).map(DirectoryTime::Attribute)
}

/// A GeneralizedTime (RFC 4517, 3.3.13) as Unix time in milliseconds.
pub(crate) fn generalized(text: &str) -> Option<i64> {
    let time = GeneralizedTime::from_bytes(text.as_bytes()).ok()?.utc_datetime().ok()?;
    time.unix_timestamp().checked_mul(1000)
}

/// The time in one value of `msDS-ReplAttributeMetaData`, if it is about `attribute`: XML with
/// `pszAttributeName` and `ftimeLastOriginatingChange`, the latter as `2026-11-21T03:29:42Z`. Unix time in milliseconds.
fn readable_time(value: &[u8], attribute: &str) -> Option<i64> {
    let text = std::str::from_utf8(value).ok()?;
    let document = roxmltree::Document::parse(text.trim_end_matches(['\0', '\n', ' '])).ok()?;
    let of = |name: &str| document.descendants().find(|node| node.has_tag_name(name))?.text();
    if !of("pszAttributeName")?.trim().eq_ignore_ascii_case(attribute) {
        return None;
    }
    // The digits of the time, in the order of GeneralizedTime.
    let compact: String = of("ftimeLastOriginatingChange")?.chars().filter(|c| !matches!(c, '-' | ':' | 'T')).collect();
    generalized(compact.trim())
}

/// The time of an attribute in `replPropertyMetaData`, Unix time in milliseconds: after a header of 16 bytes (version 1,
/// a reserved word, a count, padding) records of 48 bytes, each with the attribute's number, a version, the time in seconds
/// since 1601, and where the change came from; all little-endian.
fn binary_time(value: &[u8], number: u32) -> Option<i64> {
    const HEADER: usize = 16;
    const RECORD: usize = 48;
    let word = |bytes: &[u8]| bytes.try_into().ok().map(u32::from_le_bytes);
    if word(value.get(..4)?)? != 1 {
        return None;
    }
    let count = word(value.get(8..12)?)? as usize;
    let records = value.get(HEADER..)?.chunks_exact(RECORD).take(count);
    let record = records.into_iter().find(|record| word(&record[..4]) == Some(number))?;
    let seconds = u64::from_le_bytes(record.get(8..16)?.try_into().ok()?);
    i64::try_from(seconds.checked_sub(SECONDS_TO_1970)?).ok()?.checked_mul(1000)
}

/// The numbers (ATTRTYP) under which the binary form knows the mapped attributes, by name in lower case.
async fn attribute_numbers(
    connection: &mut Connection,
    settings: &ServerSettings,
    wanted: &BTreeMap<DirectoryKey, BTreeSet<Field>>,
) -> Result<BTreeMap<String, u32>, DirectoryError> {
    let fields: BTreeSet<Field> = wanted.values().flatten().copied().collect();
    let named: Vec<String> =
        fields.iter().map(|field| filter::equals("lDAPDisplayName", settings.attributes.of(*field))).collect();
    let filter = filter::or(named.iter().map(String::as_str));
    let names = ["lDAPDisplayName", "attributeID", "msDS-IntId"].map(str::to_owned);
    let mut numbers = BTreeMap::new();
    let keep = |entry: Result<RawEntry, _>| {
        if let Ok(entry) = entry
            && let Some(number) = number_of(&entry)
        {
            numbers.insert(entry.text("lDAPDisplayName").to_ascii_lowercase(), number);
        }
    };
    let schema = connection.root.schema.clone();
    // Without an answer nothing is known about times, and nothing is guessed.
    connection.session.search(&schema, ldap3::Scope::OneLevel, &filter, &names, vec![], keep).await?;
    Ok(numbers)
}

/// An attribute's number: the one the schema gives (`msDS-IntId`), else made of its OID.
fn number_of(entry: &RawEntry) -> Option<u32> {
    // It is written as a signed number.
    if let Ok(given) = entry.text("msDS-IntId").parse::<i64>() {
        return u32::try_from(given & 0xffff_ffff).ok();
    }
    number_of_oid(&entry.text("attributeID"))
}

/// MS-DRSR 5.16.4: the upper half is the OID's prefix in the table every directory begins with, the lower half its last
/// arc.
fn number_of_oid(oid: &str) -> Option<u32> {
    let (prefix, last) = oid.rsplit_once('.')?;
    let last: u32 = last.parse().ok()?;
    let index = PREFIXES.iter().find(|(known, _)| *known == prefix)?.1;
    (last < 0x4000).then_some((index << 16) | last)
}

/// The part of the initial prefix table of MS-DRSR 5.16.4 in which attributes of people are.
const PREFIXES: [(&str, u32); 9] = [
    ("2.5.4", 0),
    ("1.2.840.113556.1.2", 2),
    ("1.2.840.113556.1.4", 9),
    ("0.9.2342.19200300.100.1", 21),
    ("2.16.840.1.113730.3.1", 22),
    ("1.3.6.1.4.1.250.1", 29),
    ("1.2.840.113549.1.9", 30),
    ("1.2.840.113556.1.6.18.1", 33),
    ("1.3.6.1.1.1.1", 37),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// As Active Directory answers it, with the NUL it ends with.
    const RECORDED: &[u8] = b"<DS_REPL_ATTR_META_DATA>\n\t<pszAttributeName>mobile</pszAttributeName>\n\t<dwVersion>3</dwVersion>\n\
        \t<ftimeLastOriginatingChange>2026-11-21T03:29:42Z</ftimeLastOriginatingChange>\n\
        \t<uuidLastOriginatingDsaInvocationID>7f8e4a3c-1b2d-4c5e-9f60-718293a4b5c6</uuidLastOriginatingDsaInvocationID>\n\
        \t<usnOriginatingChange>20513</usnOriginatingChange>\n\t<usnLocalChange>20513</usnLocalChange>\n\
        \t<pszLastOriginatingDsaDN>CN=NTDS Settings,CN=DC1,CN=Servers,CN=Default-First-Site-Name,CN=Sites,CN=Configuration,DC=example,DC=test</pszLastOriginatingDsaDN>\n\
        </DS_REPL_ATTR_META_DATA>\n\0";

    #[test]
    fn the_readable_form_is_read() {
        assert_eq!(readable_time(RECORDED, "Mobile"), Some(1_795_231_782_000));
        assert_eq!(readable_time(RECORDED, "mail"), None);
        assert_eq!(readable_time(b"<DS_REPL_ATTR_META_DATA>", "mobile"), None);
        assert_eq!(readable_time(&[0xff], "mobile"), None);
    }

    #[test]
    fn the_binary_form_is_read() {
        let record = |number: u32, seconds: u64| {
            [&number.to_le_bytes()[..], &7_u32.to_le_bytes(), &seconds.to_le_bytes(), &[0; 32]].concat()
        };
        let header = [1_u32, 0, 2, 0].map(u32::to_le_bytes).concat();
        let seconds = 1_795_231_782 + SECONDS_TO_1970;
        let value = [header, record(0x14, 9), record(0x0015_0029, seconds)].concat();
        assert_eq!(binary_time(&value, 0x0015_0029), Some(1_795_231_782_000));
        assert_eq!(binary_time(&value, 3), None);
        assert_eq!(binary_time(&value, 0x14), None, "a time before 1970");
        for end in 0..value.len() {
            // Nothing that is cut off makes it panic.
            let _ = binary_time(&value[..end], 0x0015_0029);
        }
    }

    #[test]
    fn numbers_are_made_of_oids() {
        for (name, oid, expected) in [
            ("telephoneNumber", "2.5.4.20", Some(0x0000_0014)),
            ("mobile", "0.9.2342.19200300.100.1.41", Some(0x0015_0029)),
            ("displayName", "1.2.840.113556.1.2.13", Some(0x0002_000d)),
            ("thumbnailPhoto", "2.16.840.1.113730.3.1.35", Some(0x0016_0023)),
            ("own", "1.3.6.1.4.1.99999.1", None),
            ("none", "", None),
        ] {
            assert_eq!(number_of_oid(oid), expected, "{name}");
        }
        let own = RawEntry::for_tests("cn=a", &[("msDS-IntId", b"-1900000000"), ("attributeID", b"1.3.6.1.4.1.9.1")]);
        assert_eq!(number_of(&own), Some(2_394_967_296));
    }

    #[test]
    fn other_servers_tell_the_time_of_the_entry() {
        let entry = RawEntry::for_tests("cn=a", &[("modifyTimestamp", b"20261121032942Z")]);
        let settings = crate::test_settings(Vendor::OpenLdap);
        let time = time_of(&settings, &entry, "mail", &BTreeMap::new());
        assert_eq!(time, Some(DirectoryTime::Entry(1_795_231_782_000)));
    }
}
