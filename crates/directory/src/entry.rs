//! Entries as they arrive: parsed without a panic, bounded in size, read by attribute name without regard to case.

use std::collections::BTreeMap;

use ldap3::asn1::{PL, StructureTag};

/// Most values of one attribute that are kept.
pub(crate) const MAX_VALUES: usize = 4_000;
/// Longest text value that is used, in bytes.
const MAX_TEXT: usize = 4_096;

/// One entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RawEntry {
    /// Distinguished name.
    pub dn: String,
    attributes: BTreeMap<String, Vec<Vec<u8>>>,
    /// Attributes with more values than are kept, in lower case.
    cut: Vec<String>,
}

/// An entry that cannot be understood; the sentence says which and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BadEntry(pub String);

impl RawEntry {
    /// Reads SearchResultEntry (RFC 4511, 4.5.2).
    pub(crate) fn parse(tag: StructureTag) -> Result<RawEntry, BadEntry> {
        let PL::C(parts) = tag.payload else { return Err(BadEntry("an entry without contents".to_owned())) };
        let mut parts = parts.into_iter();
        let dn = parts
            .next()
            .and_then(StructureTag::expect_primitive)
            .ok_or_else(|| BadEntry("an entry without a DN".to_owned()))?;
        let dn = String::from_utf8(dn).map_err(|error| {
            BadEntry(format!("an entry whose DN is not UTF-8: {}", error.into_bytes().escape_ascii()))
        })?;
        let list = parts.next().and_then(StructureTag::expect_constructed);
        let list = list.ok_or_else(|| BadEntry(format!("the entry {dn} has no list of attributes")))?;
        let mut entry = RawEntry { dn, ..RawEntry::default() };
        for attribute in list {
            if entry.add(attribute).is_none() {
                return Err(BadEntry(format!("the entry {} has a malformed attribute", entry.dn)));
            }
        }
        Ok(entry)
    }

    fn add(&mut self, attribute: StructureTag) -> Option<()> {
        let mut parts = attribute.expect_constructed()?.into_iter();
        let name = String::from_utf8(parts.next()?.expect_primitive()?).ok()?.to_ascii_lowercase();
        // Active Directory answers a long list as "member;range=0-1499", its last part as "…-*" (MS-ADTS 3.1.1.3.1.3.3).
        let (name, range) = name.split_once(";range=").unwrap_or((&name, "0-*"));
        let name = name.to_owned();
        let values = parts.next()?.expect_constructed()?;
        if values.len() > MAX_VALUES || !range.ends_with('*') {
            self.cut.push(name.clone());
        }
        let values = values.into_iter().take(MAX_VALUES).map(StructureTag::expect_primitive);
        let values: Option<Vec<Vec<u8>>> = values.collect();
        self.attributes.entry(name).or_default().extend(values?);
        Some(())
    }

    /// The values of an attribute, as bytes.
    pub(crate) fn values(&self, attribute: &str) -> &[Vec<u8>] {
        self.attributes.get(&attribute.to_ascii_lowercase()).map_or(&[], Vec::as_slice)
    }

    /// The names of the attributes, in lower case and without options (RFC 4512, 2.5).
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.attributes.keys().map(String::as_str).filter(|name| !name.contains(';'))
    }

    /// Whether the attribute has more values than were kept or sent.
    pub(crate) fn is_cut(&self, attribute: &str) -> bool {
        self.cut.iter().any(|name| name.eq_ignore_ascii_case(attribute))
    }

    /// The usable text values of an attribute, sorted: UTF-8, not blank, not longer than 4,096 bytes.
    pub(crate) fn texts(&self, attribute: &str) -> Vec<String> {
        let mut texts: Vec<String> =
            self.values(attribute).iter().filter_map(|value| usable(value)).map(str::to_owned).collect();
        texts.sort();
        texts
    }

    /// How many values of an attribute [`RawEntry::texts`] leaves out although they are not blank.
    pub(crate) fn unusable(&self, attribute: &str) -> usize {
        let blank = |value: &[u8]| value.iter().all(u8::is_ascii_whitespace);
        self.values(attribute).iter().filter(|value| usable(value).is_none() && !blank(value)).count()
    }

    /// The first text value of an attribute, or nothing.
    pub(crate) fn text(&self, attribute: &str) -> String {
        self.texts(attribute).into_iter().next().unwrap_or_default()
    }

    #[cfg(test)]
    pub(crate) fn for_tests(dn: &str, attributes: &[(&str, &[u8])]) -> RawEntry {
        let mut entry = RawEntry { dn: dn.to_owned(), ..RawEntry::default() };
        for (name, value) in attributes {
            entry.attributes.entry(name.to_ascii_lowercase()).or_default().push(value.to_vec());
        }
        entry
    }
}

fn usable(value: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(value).ok()?;
    (!text.trim().is_empty() && value.len() <= MAX_TEXT).then_some(text)
}

#[cfg(test)]
mod tests {
    use ldap3::asn1::TagClass;

    use super::*;

    fn primitive(value: &[u8]) -> StructureTag {
        StructureTag { class: TagClass::Universal, id: 4, payload: PL::P(value.to_vec()) }
    }

    fn sequence(parts: Vec<StructureTag>) -> StructureTag {
        StructureTag { class: TagClass::Universal, id: 16, payload: PL::C(parts) }
    }

    fn entry(dn: &[u8], attributes: Vec<(&str, Vec<&[u8]>)>) -> StructureTag {
        let attributes = attributes
            .into_iter()
            .map(|(name, values)| {
                sequence(vec![primitive(name.as_bytes()), sequence(values.into_iter().map(primitive).collect())])
            })
            .collect();
        sequence(vec![primitive(dn), sequence(attributes)])
    }

    #[test]
    fn values_are_found_sorted_and_bounded() {
        let many: Vec<&[u8]> = vec![b"x"; MAX_VALUES + 1];
        let values: Vec<&[u8]> = vec![b"b", b" ", b"a", &[0xff], "Ё".as_bytes()];
        let part: Vec<&[u8]> = vec![b"x"];
        let parsed = RawEntry::parse(entry(
            b"cn=a",
            vec![("Mail", values), ("member", many), ("o;range=0-0", part.clone()), ("l;range=0-*", part)],
        ));
        let parsed = parsed.expect("an entry");
        assert_eq!(parsed.texts("mAIL"), ["a", "b", "Ё"]);
        assert_eq!(parsed.unusable("mail"), 1);
        assert_eq!(parsed.values("member").len(), MAX_VALUES);
        assert!(parsed.is_cut("Member") && parsed.is_cut("o") && !parsed.is_cut("l") && !parsed.is_cut("mail"));
        assert_eq!(parsed.text("o"), "x");
        assert_eq!(parsed.text("absent"), "");
    }

    #[test]
    fn malformed_entries_are_errors_and_not_panics() {
        #[track_caller]
        fn check(tag: StructureTag, expected: &str) {
            let error = RawEntry::parse(tag).expect_err("an error");
            assert!(error.0.contains(expected), "{}", error.0);
        }
        check(entry(b"cn=\xff\xfe", vec![]), "not UTF-8: cn=\\xff\\xfe");
        check(primitive(b""), "without contents");
        check(sequence(vec![]), "without a DN");
        check(sequence(vec![primitive(b"cn=a")]), "no list of attributes");
        check(sequence(vec![primitive(b"cn=a"), sequence(vec![primitive(b"x")])]), "malformed attribute");
        check(entry(b"cn=a", vec![("a", vec![])]).nested(), "without a DN");
    }

    trait Nested {
        fn nested(self) -> StructureTag;
    }

    impl Nested for StructureTag {
        fn nested(self) -> StructureTag {
            sequence(vec![self])
        }
    }
}
