//! Entries as they arrive: parsed without a panic, bounded in size, read by attribute name without regard to case.

use std::collections::BTreeSet;

use bytes::Bytes;
use sync_core::person::SmolStr;

use crate::ber::{self, Element};
use crate::framing;

/// Most values of one attribute that are looked at.
pub(crate) const MAX_VALUES: usize = 4_000;
/// Most attributes of an entry; one with more is not understood.
const MAX_ATTRIBUTES: usize = 4_000;
/// Longest text value that is used, in bytes.
const MAX_TEXT: usize = 4_096;

/// One entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RawEntry {
    /// Distinguished name.
    pub dn: String,
    attributes: Vec<Attribute>,
}

/// A part of an attribute's values, as the message holds them.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Attribute {
    /// In lower case.
    name: SmolStr,
    /// OCTET STRINGs, one after the other.
    values: Bytes,
    /// There are more values than are looked at or were sent.
    cut: bool,
}

/// An entry that cannot be understood; the sentence says which and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BadEntry(pub String);

impl RawEntry {
    /// Reads SearchResultEntry (RFC 4511, 4.5.2) out of the message that holds it.
    pub(crate) fn parse(message: &Bytes) -> Result<RawEntry, BadEntry> {
        let bad = |text: &str| BadEntry(text.to_owned());
        let (operation, _) = framing::parts(message).map_err(|_| bad("an entry without contents"))?;
        let (dn, rest) = ber::element(operation.content).map_err(|_| bad("an entry without a DN"))?;
        if dn.tag != ber::OCTET_STRING {
            return Err(bad("an entry without a DN"));
        }
        let dn = std::str::from_utf8(dn.content)
            .map_err(|_| BadEntry(format!("an entry whose DN is not UTF-8: {}", dn.content.escape_ascii())))?;
        let malformed = || BadEntry(format!("the entry {dn} has a malformed attribute"));
        let Ok((list, _)) = ber::element(rest) else {
            return Err(BadEntry(format!("the entry {dn} has no list of attributes")));
        };
        let mut attributes = Vec::with_capacity(16);
        let mut rest = list.content;
        while !rest.is_empty() {
            if attributes.len() == MAX_ATTRIBUTES {
                return Err(BadEntry(format!("the entry {dn} has more than {MAX_ATTRIBUTES} attributes")));
            }
            let (attribute, more) = ber::element(rest).map_err(|_| malformed())?;
            attributes.push(Attribute::read(message, attribute).ok_or_else(malformed)?);
            rest = more;
        }
        Ok(RawEntry { dn: dn.to_owned(), attributes })
    }

    /// The values of an attribute, as bytes.
    pub(crate) fn values<'a>(&'a self, attribute: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.parts(attribute).flat_map(Attribute::values)
    }

    fn parts<'a>(&'a self, attribute: &'a str) -> impl Iterator<Item = &'a Attribute> {
        self.attributes.iter().filter(|part| part.name.eq_ignore_ascii_case(attribute))
    }

    /// The names of the attributes, in lower case and without options (RFC 4512, 2.5).
    pub(crate) fn names(&self) -> BTreeSet<&str> {
        self.attributes.iter().map(|part| part.name.as_str()).filter(|name| !name.contains(';')).collect()
    }

    /// Whether the attribute has more values than are looked at or were sent.
    pub(crate) fn is_cut(&self, attribute: &str) -> bool {
        self.parts(attribute).any(|part| part.cut)
    }

    /// The usable text values of an attribute, sorted: UTF-8, not blank, not longer than 4,096 bytes.
    pub(crate) fn texts(&self, attribute: &str) -> Vec<String> {
        let mut texts: Vec<String> = self.values(attribute).filter_map(usable).map(str::to_owned).collect();
        texts.sort();
        texts
    }

    /// How many values of an attribute [`RawEntry::texts`] leaves out although they are not blank.
    pub(crate) fn unusable(&self, attribute: &str) -> usize {
        let blank = |value: &[u8]| value.iter().all(u8::is_ascii_whitespace);
        self.values(attribute).filter(|value| usable(value).is_none() && !blank(value)).count()
    }

    /// The first text value of an attribute, or nothing.
    pub(crate) fn text(&self, attribute: &str) -> String {
        self.values(attribute).filter_map(usable).min().unwrap_or_default().to_owned()
    }

    #[cfg(test)]
    pub(crate) fn for_tests(dn: &str, attributes: &[(&str, &[u8])]) -> RawEntry {
        let list: Vec<u8> = attributes
            .iter()
            .flat_map(|(name, value)| {
                let values = ber::written(ber::SET, &ber::written(ber::OCTET_STRING, value));
                ber::written(ber::SEQUENCE, &[ber::written(ber::OCTET_STRING, name.as_bytes()), values].concat())
            })
            .collect();
        let parts = [ber::written(ber::OCTET_STRING, dn.as_bytes()), ber::written(ber::SEQUENCE, &list)].concat();
        RawEntry::parse(&message(&parts)).expect("an entry")
    }
}

impl Attribute {
    /// PartialAttribute (RFC 4511, 4.1.7); `None` where it is malformed.
    fn read(message: &Bytes, attribute: Element<'_>) -> Option<Attribute> {
        let (name, rest) = ber::element(attribute.content).ok()?;
        let (values, _) = ber::element(rest).ok()?;
        if attribute.tag & values.tag & ber::CONSTRUCTED == 0 || name.tag != ber::OCTET_STRING {
            return None;
        }
        let name = std::str::from_utf8(name.content).ok()?;
        // Active Directory answers a long list as "member;range=0-1499", its last part as "…-*" (MS-ADTS 3.1.1.3.1.3.3).
        let name: SmolStr = name.chars().map(|letter| letter.to_ascii_lowercase()).collect();
        let (base, range) = name.split_once(";range=").unwrap_or((&name, "0-*"));
        let (mut count, mut rest) = (0, values.content);
        while !rest.is_empty() {
            let (value, more) = ber::element(rest).ok()?;
            if value.tag & ber::CONSTRUCTED != 0 {
                return None;
            }
            (count, rest) = (count + 1, more);
        }
        let cut = count > MAX_VALUES || !range.ends_with('*');
        Some(Attribute { name: SmolStr::new(base), values: message.slice_ref(values.content), cut })
    }

    fn values(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &self.values[..];
        let next = move || {
            let (value, more) = ber::element(rest).ok()?;
            rest = more;
            Some(value.content)
        };
        std::iter::from_fn(next).take(MAX_VALUES)
    }
}

fn usable(value: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(value).ok()?;
    (!text.trim().is_empty() && value.len() <= MAX_TEXT).then_some(text)
}

/// A message with an entry's contents.
#[cfg(test)]
fn message(contents: &[u8]) -> Bytes {
    let entry = ber::written(0x60 | framing::operation::SEARCH_ENTRY, contents);
    ber::written(ber::SEQUENCE, &[ber::written(ber::INTEGER, &[1]), entry].concat()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn octets(value: &[u8]) -> Vec<u8> {
        ber::written(ber::OCTET_STRING, value)
    }

    fn sequence(parts: &[Vec<u8>]) -> Vec<u8> {
        ber::written(ber::SEQUENCE, &parts.concat())
    }

    fn entry(dn: &[u8], attributes: &[(&str, Vec<&[u8]>)]) -> Bytes {
        let attribute = |(name, values): &(&str, Vec<&[u8]>)| {
            let values: Vec<u8> = values.iter().flat_map(|value| octets(value)).collect();
            sequence(&[octets(name.as_bytes()), ber::written(ber::SET, &values)])
        };
        let attributes: Vec<Vec<u8>> = attributes.iter().map(attribute).collect();
        message(&[octets(dn), sequence(&attributes)].concat())
    }

    #[test]
    fn values_are_found_sorted_and_bounded() {
        let many: Vec<&[u8]> = vec![b"x"; MAX_VALUES + 1];
        let values: Vec<&[u8]> = vec![b"b", b" ", b"a", &[0xff], "Ё".as_bytes()];
        let part: Vec<&[u8]> = vec![b"x"];
        let attributes = [("Mail", values), ("member", many), ("o;range=0-0", part.clone()), ("l;range=0-*", part)];
        let parsed = RawEntry::parse(&entry(b"cn=a", &attributes)).expect("an entry");
        assert_eq!(parsed.texts("mAIL"), ["a", "b", "Ё"]);
        assert_eq!(parsed.unusable("mail"), 1);
        assert_eq!(parsed.values("member").count(), MAX_VALUES);
        assert!(parsed.is_cut("Member") && parsed.is_cut("o") && !parsed.is_cut("l") && !parsed.is_cut("mail"));
        assert_eq!((parsed.text("mail"), parsed.text("o"), parsed.text("absent")), ("a".into(), "x".into(), "".into()));
        assert_eq!(parsed.names(), BTreeSet::from(["l", "mail", "member", "o"]));
    }

    #[test]
    fn an_attribute_without_values_is_no_fault() {
        let parsed = RawEntry::parse(&entry(b"cn=a", &[("mail", vec![])])).expect("an entry");
        assert_eq!((parsed.text("mail"), parsed.values("mail").count()), (String::new(), 0));
    }

    #[test]
    fn malformed_entries_are_errors_and_not_panics() {
        #[track_caller]
        fn check(message: &Bytes, expected: &str) {
            let error = RawEntry::parse(message).expect_err("an error");
            assert!(error.0.contains(expected), "{}", error.0);
        }
        check(&entry(b"cn=\xff\xfe", &[]), "not UTF-8: cn=\\xff\\xfe");
        check(&Bytes::new(), "without contents");
        check(&message(b""), "without a DN");
        check(&message(&sequence(&[])), "without a DN");
        check(&message(&octets(b"cn=a")), "no list of attributes");
        check(&message(&[octets(b"cn=a"), sequence(&[octets(b"x")])].concat()), "malformed attribute");
        let many = vec![("a", vec![]); MAX_ATTRIBUTES + 1];
        check(&entry(b"cn=a", &many), "more than 4000 attributes");
        let nested = sequence(&[octets(b"mail"), ber::written(ber::SET, &sequence(&[]))]);
        check(&message(&[octets(b"cn=a"), sequence(&[nested])].concat()), "malformed attribute");
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_the_reading_panic(bytes: Vec<u8>) {
            for message in [Bytes::from(bytes.clone()), message(&bytes), message(&[octets(b"cn=a"), bytes].concat())] {
                if let Ok(entry) = RawEntry::parse(&message) {
                    entry.names().into_iter().for_each(|name| drop(entry.texts(name)));
                }
            }
        }
    }
}
