//! The entries of the embedded directory, and changes to them.

use std::collections::{BTreeMap, BTreeSet};

use md5::{Digest, Md5};
use rasn_ldap::{ChangeOperation, Filter, ModifyRequestChanges, SearchRequestScope};

use super::dn::Dn;
use super::filter;
use super::ldif::{self, Attribute, Entry};
use super::schema::{self, AttributeType, Rule, Usage};
use super::wire::{Code, Outcome};

/// The namespace of names made from distinguished names (RFC 9562, section 6.6).
const X500_NAMESPACE: [u8; 16] =
    [0x6b, 0xa7, 0xb8, 0x14, 0x9d, 0xad, 0x11, 0xd1, 0x80, 0xb4, 0x00, 0xc0, 0x4f, 0xd4, 0x30, 0xc8];

/// Why a directory cannot be made of an LDIF text.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoadError {
    #[error(transparent)]
    Ldif(#[from] ldif::LdifError),
    #[error("the LDIF text has no entry")]
    Empty,
    #[error("the entry {dn:?} cannot be loaded: {problem}")]
    Entry { dn: String, problem: String },
}

/// A tree of entries under one suffix.
#[derive(Debug)]
pub(super) struct Store {
    /// In the order of the LDIF text, the order in which searches answer.
    entries: Vec<(Dn, Entry)>,
    by_name: BTreeMap<Dn, usize>,
    /// Time of the latest change and how many changes were made in that microsecond.
    last_change: (String, u32),
}

/// A moment in the two forms a directory keeps.
#[derive(Clone, Debug)]
pub(super) struct Moment {
    /// generalizedTime to the second, `20261121010101Z`.
    pub(super) seconds: String,
    /// To the microsecond, `20261121010101.000001Z`.
    pub(super) micros: String,
}

impl Store {
    /// Loads an LDIF text whose first entry is the suffix; parents stand before their children. Entries without entryUUID
    /// get one made from their DN, so that it is the same at every start.
    pub(super) fn load(ldif: &str, now: &Moment) -> Result<Store, LoadError> {
        let mut store = Store { entries: Vec::new(), by_name: BTreeMap::new(), last_change: (String::new(), 0) };
        for entry in ldif::parse_ldif(ldif)? {
            let dn = entry.dn.clone();
            store.insert(entry, now).map_err(|problem| LoadError::Entry { dn, problem })?;
        }
        if store.entries.is_empty() {
            return Err(LoadError::Empty);
        }
        store.note_children();
        Ok(store)
    }

    /// The entries in the order of the LDIF text, operational attributes included.
    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().map(|(_, entry)| entry)
    }

    /// The DN of the suffix, as written.
    pub(super) fn suffix(&self) -> &str {
        self.entries.first().map_or("", |(_, entry)| &entry.dn)
    }

    /// The entry of that name.
    pub(super) fn find(&self, dn: &Dn) -> Option<&Entry> {
        self.by_name.get(dn).map(|index| &self.entries[*index].1)
    }

    /// The entry of that name, or noSuchObject with the nearest ancestor that exists.
    pub(super) fn get(&self, dn: &Dn) -> Result<&Entry, Outcome> {
        self.find(dn).ok_or_else(|| {
            let ancestors = std::iter::successors(dn.parent(), Dn::parent);
            let nearest = ancestors.filter_map(|ancestor| self.find(&ancestor)).next();
            Outcome::new(Code::NoSuchObject, "").matched(nearest.map_or("", |entry| &entry.dn))
        })
    }

    /// The entry at place `index` of the store's order.
    pub(super) fn at(&self, index: usize) -> Option<&Entry> {
        self.entries.get(index).map(|(_, entry)| entry)
    }

    /// The places of the entries in scope for which the filter is true.
    pub(super) fn search(
        &self,
        base: &Dn,
        scope: SearchRequestScope,
        filter: &Filter,
        readable: &dyn Fn(&str) -> bool,
    ) -> Vec<usize> {
        let in_scope = |dn: &Dn| match scope {
            SearchRequestScope::BaseObject => dn == base,
            SearchRequestScope::SingleLevel => dn.parent().as_ref() == Some(base),
            _ => dn.is_within(base),
        };
        let found = self
            .entries
            .iter()
            .enumerate()
            .filter(|(_, (dn, entry))| in_scope(dn) && filter::matches(filter, entry, readable) == Some(true));
        found.map(|(index, _)| index).collect()
    }

    /// Applies all changes to the entry, or none.
    pub(super) fn modify(
        &mut self,
        dn: &Dn,
        changes: &[ModifyRequestChanges],
        by: &str,
        now: &Moment,
    ) -> Result<(), Outcome> {
        self.get(dn)?;
        let csn = self.next_csn(now);
        let Some(index) = self.by_name.get(dn).copied() else {
            return Err(Outcome::new(Code::NoSuchObject, ""));
        };
        let mut entry = self.entries[index].1.clone();
        for change in changes {
            apply(&mut entry, change)?;
        }
        check_naming(dn, &entry)?;
        if let Some(problem) = schema_violation(&entry) {
            return Err(Outcome::new(Code::ObjectClassViolation, problem));
        }
        set(&mut entry, "entryCSN", &csn);
        set(&mut entry, "modifyTimestamp", &now.seconds);
        set(&mut entry, "modifiersName", by);
        self.entries[index].1 = entry;
        Ok(())
    }

    fn insert(&mut self, entry: Entry, now: &Moment) -> Result<(), String> {
        let dn = Dn::parse(&entry.dn).map_err(|error| error.to_string())?;
        if self.by_name.contains_key(&dn) {
            return Err("there are two entries of that name".to_owned());
        }
        let parent_exists = dn.parent().is_some_and(|parent| self.by_name.contains_key(&parent));
        if dn.is_root() || !(self.entries.is_empty() || parent_exists) {
            return Err("its parent entry does not stand before it".to_owned());
        }
        let mut entry = canonical(entry)?;
        check_naming(&dn, &entry).map_err(|_| "it lacks the attribute value it is named by".to_owned())?;
        if let Some(problem) = schema_violation(&entry) {
            return Err(problem);
        }
        self.complete(&dn, &mut entry, now);
        self.by_name.insert(dn.clone(), self.entries.len());
        self.entries.push((dn, entry));
        Ok(())
    }

    /// Adds the operational attributes the LDIF text does not give.
    fn complete(&mut self, dn: &Dn, entry: &mut Entry, now: &Moment) {
        let class = schema::structural_class(entry.values("objectClass")).unwrap_or("top");
        let (name, csn) = (entry.dn.clone(), self.next_csn(now));
        let suffix = if self.entries.is_empty() { name.clone() } else { self.suffix().to_owned() };
        for (attribute, value) in [
            ("structuralObjectClass", class.to_owned()),
            ("entryUUID", name_based_uuid(dn)),
            ("creatorsName", suffix.clone()),
            ("createTimestamp", now.seconds.clone()),
            ("entryCSN", csn),
            ("modifiersName", suffix),
            ("modifyTimestamp", now.seconds.clone()),
            ("entryDN", name),
        ] {
            if entry.values(attribute).is_empty() {
                entry.push(attribute, value.into_bytes());
            }
        }
    }

    fn note_children(&mut self) {
        let parents: BTreeSet<Dn> = self.entries.iter().filter_map(|(dn, _)| dn.parent()).collect();
        for (dn, entry) in &mut self.entries {
            set(entry, "hasSubordinates", if parents.contains(dn) { "TRUE" } else { "FALSE" });
        }
    }

    /// A change sequence number in OpenLDAP's form: time, count of changes at that time, server id, modification.
    fn next_csn(&mut self, now: &Moment) -> String {
        if now.micros > self.last_change.0 {
            self.last_change = (now.micros.clone(), 0);
        } else {
            // Also when the clock was set back: change numbers only grow.
            self.last_change.1 += 1;
        }
        format!("{}#{:06x}#000#000000", self.last_change.0, self.last_change.1)
    }
}

/// The entry with its attributes under their own names, each value checked against its syntax.
fn canonical(entry: Entry) -> Result<Entry, String> {
    let mut out = Entry { dn: entry.dn, attributes: Vec::new() };
    for attribute in entry.attributes {
        let kind = schema::attribute_type(&attribute.name)
            .ok_or_else(|| format!("attribute '{}' is not in the schema", attribute.name))?;
        for value in attribute.values {
            if !schema::is_valid(kind, &value) {
                return Err(format!("a value of '{}' is not of its syntax", kind.name));
            }
            if kind.rule != Rule::None && contains(&out, kind, &value) {
                return Err(format!("'{}' has the same value twice", kind.name));
            }
            out.push(kind.name, value);
        }
        if kind.single && out.values(kind.name).len() > 1 {
            return Err(format!("'{}' can have only one value", kind.name));
        }
    }
    Ok(out)
}

/// A version 3 UUID of the name, as stable as the name itself (RFC 9562, section 5.3).
fn name_based_uuid(dn: &Dn) -> String {
    let mut bytes: [u8; 16] = Md5::new().chain_update(X500_NAMESPACE).chain_update(dn.to_string()).finalize().into();
    bytes[6] = bytes[6] & 0x0f | 0x30;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

fn set(entry: &mut Entry, name: &str, value: &str) {
    entry.attributes.retain(|attribute| attribute.name != name);
    entry.push(name, value.as_bytes().to_vec());
}

fn contains(entry: &Entry, kind: &AttributeType, value: &[u8]) -> bool {
    let wanted = schema::normalised(kind.rule, value);
    wanted.is_some() && entry.values(kind.name).iter().any(|held| schema::normalised(kind.rule, held) == wanted)
}

fn schema_violation(entry: &Entry) -> Option<String> {
    let user =
        |attribute: &&Attribute| schema::attribute_type(&attribute.name).is_some_and(|kind| kind.usage == Usage::User);
    let present: Vec<&str> = entry.attributes.iter().filter(user).map(|attribute| attribute.name.as_str()).collect();
    if let Some(unknown) = entry
        .values("objectClass")
        .iter()
        .filter_map(|v| std::str::from_utf8(v).ok())
        .find(|name| !schema::is_class(name))
    {
        return Some(format!("object class '{unknown}' is not in the schema"));
    }
    schema::violation(entry.values("objectClass"), &present)
}

/// An entry keeps the values it is named by.
fn check_naming(dn: &Dn, entry: &Entry) -> Result<(), Outcome> {
    let missing = dn.naming_values().iter().find(|(name, value)| {
        let rule = schema::attribute_type(name).map_or(Rule::None, |kind| kind.rule);
        !entry.values(name).iter().any(|held| schema::normalised(rule, held).as_ref() == Some(value))
    });
    missing.map_or(Ok(()), |(name, _)| {
        let text = format!("value of naming attribute '{name}' is not present in entry");
        Err(Outcome::new(Code::NamingViolation, text))
    })
}

/// What can be said about a change before looking at the entry: unknown and server-kept attributes, missing, repeated and
/// malformed values. The order of the checks is that of OpenLDAP.
pub(super) fn check_change(change: &ModifyRequestChanges) -> Result<&'static AttributeType, Outcome> {
    let name = change.modification.r#type.as_str();
    let values = change.modification.vals.to_vec();
    let kind = schema::attribute_type(name)
        .ok_or_else(|| Outcome::new(Code::UndefinedAttributeType, format!("{name}: attribute type undefined")))?;
    let name = kind.name;
    if change.operation == ChangeOperation::Add && values.is_empty() {
        return Err(Outcome::new(Code::ProtocolError, format!("modify/add: {name}: no values given")));
    }
    if kind.usage == Usage::Operational {
        return Err(Outcome::new(Code::ConstraintViolation, format!("{name}: no user modification allowed")));
    }
    if let Some(index) = values.iter().position(|value| !schema::is_valid(kind, value)) {
        let text = format!("{name}: value #{index} invalid per syntax");
        return Err(Outcome::new(Code::InvalidAttributeSyntax, text));
    }
    if kind.single && values.len() > 1 {
        return Err(Outcome::new(Code::ConstraintViolation, format!("{name}: multiple values provided")));
    }
    let mut seen = BTreeSet::new();
    let same = |value: &[u8]| schema::normalised(kind.rule, value).unwrap_or_else(|| value.to_vec());
    if let Some(index) = values.iter().position(|value| !seen.insert(same(value))) {
        let text = format!("{name}: value #{index} provided more than once");
        return Err(Outcome::new(Code::AttributeOrValueExists, text));
    }
    Ok(kind)
}

fn apply(entry: &mut Entry, change: &ModifyRequestChanges) -> Result<(), Outcome> {
    let kind = check_change(change)?;
    let values: Vec<Vec<u8>> = change.modification.vals.to_vec().into_iter().map(|value| value.to_vec()).collect();
    match change.operation {
        ChangeOperation::Add => add(entry, kind, values),
        ChangeOperation::Delete => delete(entry, kind, &values),
        ChangeOperation::Replace => {
            entry.attributes.retain(|attribute| attribute.name != kind.name);
            values.into_iter().for_each(|value| entry.push(kind.name, value));
            Ok(())
        }
    }
}

fn add(entry: &mut Entry, kind: &AttributeType, values: Vec<Vec<u8>>) -> Result<(), Outcome> {
    let name = kind.name;
    if kind.rule == Rule::None && !entry.values(name).is_empty() {
        let text = format!("modify/add: {name}: no equality matching rule");
        return Err(Outcome::new(Code::InappropriateMatching, text));
    }
    if let Some(index) = values.iter().position(|value| contains(entry, kind, value)) {
        let text = format!("modify/add: {name}: value #{index} already exists");
        return Err(Outcome::new(Code::AttributeOrValueExists, text));
    }
    values.into_iter().for_each(|value| entry.push(name, value));
    if kind.single && entry.values(name).len() > 1 {
        let text = format!("attribute '{name}' cannot have multiple values");
        return Err(Outcome::new(Code::ConstraintViolation, text));
    }
    Ok(())
}

fn delete(entry: &mut Entry, kind: &AttributeType, values: &[Vec<u8>]) -> Result<(), Outcome> {
    let name = kind.name;
    if !values.is_empty() && kind.rule == Rule::None {
        let text = format!("modify/delete: {name}: no equality matching rule");
        return Err(Outcome::new(Code::InappropriateMatching, text));
    }
    let Some(attribute) = entry.attributes.iter_mut().find(|attribute| attribute.name == name) else {
        let text = format!("modify/delete: {name}: no such attribute");
        return Err(Outcome::new(Code::NoSuchAttribute, text));
    };
    if values.is_empty() {
        attribute.values.clear();
    }
    for value in values {
        let wanted = schema::normalised(kind.rule, value);
        let Some(index) = attribute.values.iter().position(|held| schema::normalised(kind.rule, held) == wanted) else {
            let text = format!("modify/delete: {name}: no such value");
            return Err(Outcome::new(Code::NoSuchAttribute, text));
        };
        attribute.values.remove(index);
    }
    entry.attributes.retain(|attribute| !attribute.values.is_empty());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(micros: u32) -> Moment {
        Moment { seconds: "20261121010101Z".to_owned(), micros: format!("20261121010101.{micros:06}Z") }
    }

    const SUFFIX: &str = "dn: dc=x\nobjectClass: dcObject\nobjectClass: organization\ndc: x\no: X\n\n";

    fn load(rest: &str) -> Result<Store, LoadError> {
        Store::load(&format!("{SUFFIX}{rest}"), &moment(1))
    }

    #[test]
    fn identifiers_depend_on_the_name_alone() {
        let uuid = |rest: &str| {
            let store = load(rest).expect("LDIF");
            store.entries().last().and_then(|entry| entry.text("entryUUID").map(str::to_owned))
        };
        let first = uuid("dn: ou=People,dc=x\nobjectClass: organizationalUnit\nou: People\n");
        assert_eq!(
            first,
            uuid("dn: OU=people, DC=x\nobjectClass: organizationalUnit\nou: people\ndescription: moved\n")
        );
        assert_ne!(first, uuid("dn: ou=other,dc=x\nobjectClass: organizationalUnit\nou: other\n"));
        assert_eq!(first.as_deref().map(|uuid| &uuid[14..15]), Some("3"));
    }

    #[test]
    fn change_numbers_grow_even_when_the_clock_does_not() {
        let mut store = load("").expect("LDIF");
        let numbers: Vec<String> = [5, 5, 3, 6].map(|micros| store.next_csn(&moment(micros))).into();
        assert_eq!(numbers[0], "20261121010101.000005Z#000000#000#000000");
        assert!(numbers.is_sorted_by(|left, right| left < right), "{numbers:?}");
    }

    fn change(operation: ChangeOperation, name: &str, values: &[&str]) -> ModifyRequestChanges {
        let values = values.iter().map(|value| value.as_bytes().to_vec().into()).collect();
        let modification = rasn_ldap::PartialAttribute::new(name.into(), rasn::types::SetOf::from_vec(values));
        ModifyRequestChanges { operation, modification }
    }

    #[test]
    fn a_change_is_applied_whole_or_not_at_all() {
        let mut store =
            load("dn: ou=a,dc=x\nobjectClass: organizationalUnit\nou: a\ntelephoneNumber: 1\n").expect("LDIF");
        let dn = Dn::parse("ou=a,dc=x").expect("a DN");
        let before = store.get(&dn).expect("the entry").clone();
        for (changes, expected) in [
            (vec![change(ChangeOperation::Add, "description", &[])], Code::ProtocolError),
            (vec![change(ChangeOperation::Add, "telephoneNumber", &["2", "3", " 2"])], Code::AttributeOrValueExists),
            (vec![change(ChangeOperation::Replace, "ou", &["b"])], Code::NamingViolation),
            (vec![change(ChangeOperation::Delete, "objectClass", &["organizationalUnit"])], Code::ObjectClassViolation),
            (
                vec![
                    change(ChangeOperation::Replace, "telephoneNumber", &["2"]),
                    change(ChangeOperation::Delete, "telephoneNumber", &["1"]),
                ],
                Code::NoSuchAttribute,
            ),
        ] {
            let outcome = store.modify(&dn, &changes, "cn=me", &moment(9)).expect_err("a refusal");
            assert_eq!(outcome.result_code, expected, "{changes:?}");
            assert_eq!(store.get(&dn).expect("the entry"), &before);
        }
        let swap = [
            change(ChangeOperation::Delete, "telephoneNumber", &["1"]),
            change(ChangeOperation::Add, "telephoneNumber", &["2"]),
        ];
        store.modify(&dn, &swap, "cn=me", &moment(9)).expect("a change");
        let after = store.get(&dn).expect("the entry");
        assert_eq!(after.values("telephoneNumber"), [b"2".to_vec()]);
        assert_eq!(after.text("modifiersName"), Some("cn=me"));
        assert!(after.text("entryCSN") > before.text("entryCSN"));
    }

    #[test]
    fn faulty_entries_are_named() {
        for (rest, part) in [
            ("dn: ou=a,ou=b,dc=x\nobjectClass: organizationalUnit\nou: a\n", "parent"),
            ("dn: ou=a,dc=x\nobjectClass: organizationalUnit\nou: b\n", "named by"),
            ("dn: cn=a,dc=x\nobjectClass: person\ncn: a\n", "requires attribute 'sn'"),
            ("dn: ou=a,dc=x\nobjectClass: organizationalUnit\nou: a\nmobile: 1\n", "'mobile' not allowed"),
            ("dn: ou=a,dc=x\nobjectClass: organizationalUnit\nou: a\nshoeSize: 1\n", "'shoeSize' is not in the schema"),
            ("dn: ou=a,dc=x\nobjectClass: nosuch\nou: a\n", "'nosuch' is not in the schema"),
            ("dn: ou=a,dc=x\nobjectClass: organizationalUnit\nou: a\ntelephoneNumber: #\n", "syntax"),
            ("dn: dc=X\nobjectClass: dcObject\nobjectClass: organization\ndc: x\no: X\n", "two entries"),
        ] {
            let error = load(rest).expect_err(rest).to_string();
            assert!(error.contains(part), "{rest:?}: {error}");
        }
        assert!(matches!(Store::load("", &moment(1)), Err(LoadError::Empty)));
    }
}
