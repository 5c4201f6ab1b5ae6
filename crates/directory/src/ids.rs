//! Stable identifiers of entries: which attribute holds them, their canonical text, and filters that find them again.

use std::fmt::Write as _;

use sync_core::person::DirectoryKey;

use crate::entry::RawEntry;
use crate::filter;
use crate::settings::Vendor;

/// The attributes that can hold an entry's stable identifier, best first.
pub(crate) fn attributes(vendor: Vendor) -> &'static [&'static str] {
    match vendor {
        Vendor::ActiveDirectory => &["objectGUID"],
        Vendor::OpenLdap => &["entryUUID"],
        Vendor::DirectoryServer389 => &["nsUniqueId"],
        Vendor::FreeIpa => &["ipaUniqueID", "nsUniqueId", "entryUUID"],
    }
}

/// The entry's identifier in canonical text, if it has one.
pub(crate) fn key(vendor: Vendor, entry: &RawEntry) -> Option<DirectoryKey> {
    attributes(vendor).iter().find_map(|attribute| {
        let value = entry.values(attribute).next()?;
        let text = match vendor {
            Vendor::ActiveDirectory => guid(value)?,
            _ => std::str::from_utf8(value).ok()?.trim().to_lowercase(),
        };
        (!text.is_empty()).then_some(DirectoryKey(text))
    })
}

/// A filter that finds the entry with `key`.
pub(crate) fn filter(vendor: Vendor, key: &DirectoryKey) -> String {
    if vendor == Vendor::ActiveDirectory
        && let Some(bytes) = guid_bytes(key.as_str())
    {
        return filter::equals_bytes("objectGUID", &bytes);
    }
    let alternatives: Vec<String> =
        attributes(vendor).iter().map(|attribute| filter::equals(attribute, key.as_str())).collect();
    filter::or(alternatives.iter().map(String::as_str))
}

/// A DN that names the entry whatever its place in the tree: Active Directory's `<GUID=...>` form (MS-ADTS
/// 3.1.1.3.1.2.4); other servers have none.
pub(crate) fn stable_dn(vendor: Vendor, key: &DirectoryKey) -> Option<String> {
    (vendor == Vendor::ActiveDirectory).then(|| format!("<GUID={}>", key.as_str()))
}

/// The text of an objectGUID: the first three groups are stored little-endian (MS-DTYP 2.3.4.2).
fn guid(bytes: &[u8]) -> Option<String> {
    let bytes: [u8; 16] = bytes.try_into().ok()?;
    let order = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
    let mut text = String::with_capacity(36);
    for (index, position) in order.into_iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        // Writing to a String cannot fail.
        let _ = write!(text, "{:02x}", bytes[position]);
    }
    Some(text)
}

/// The stored bytes of an objectGUID given as text.
fn guid_bytes(text: &str) -> Option<[u8; 16]> {
    let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b'-').collect();
    if digits.len() != 32 {
        return None;
    }
    let mut bytes = [0u8; 16];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    bytes[0..4].reverse();
    bytes[4..6].reverse();
    bytes[6..8].reverse();
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(vendor: Vendor, attributes: &[(&str, &[u8])], expected: Option<&str>) {
        let entry = RawEntry::for_tests("cn=a", attributes);
        assert_eq!(key(vendor, &entry).map(|key| key.0), expected.map(str::to_owned));
    }

    const GUID: [u8; 16] =
        [0x33, 0x22, 0x11, 0x00, 0x55, 0x44, 0x77, 0x66, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff];

    #[test]
    fn each_vendor_has_its_own_identifier() {
        check(Vendor::ActiveDirectory, &[("objectGUID", &GUID)], Some("00112233-4455-6677-8899-aabbccddeeff"));
        check(Vendor::ActiveDirectory, &[("objectGUID", b"short")], None);
        check(Vendor::ActiveDirectory, &[], None);
        check(
            Vendor::OpenLdap,
            &[("entryUUID", b"59F20402-0000-103B-8C8A-000000000001")],
            Some("59f20402-0000-103b-8c8a-000000000001"),
        );
        check(
            Vendor::DirectoryServer389,
            &[("nsuniqueid", b"66446001-1DD211B2-66225011-2EE211DB")],
            Some("66446001-1dd211b2-66225011-2ee211db"),
        );
        check(Vendor::FreeIpa, &[("nsUniqueId", b"b"), ("ipaUniqueID", b"A")], Some("a"));
        check(Vendor::FreeIpa, &[("nsUniqueId", b"b")], Some("b"));
        check(Vendor::OpenLdap, &[("entryUUID", b" ")], None);
        check(Vendor::OpenLdap, &[("entryUUID", &[0xff])], None);
    }

    #[test]
    fn keys_become_filters() {
        let key = DirectoryKey("00112233-4455-6677-8899-aabbccddeeff".to_owned());
        assert_eq!(
            filter(Vendor::ActiveDirectory, &key),
            "(objectGUID=\\33\\22\\11\\00\\55\\44\\77\\66\\88\\99\\aa\\bb\\cc\\dd\\ee\\ff)"
        );
        assert_eq!(filter(Vendor::OpenLdap, &DirectoryKey("a)b".to_owned())), "(entryUUID=a\\29b)");
        assert_eq!(
            filter(Vendor::FreeIpa, &DirectoryKey("x".to_owned())),
            "(|(ipaUniqueID=x)(nsUniqueId=x)(entryUUID=x))"
        );
        assert_eq!(
            stable_dn(Vendor::ActiveDirectory, &key).as_deref(),
            Some("<GUID=00112233-4455-6677-8899-aabbccddeeff>")
        );
        assert_eq!(stable_dn(Vendor::OpenLdap, &key), None);
    }
}
