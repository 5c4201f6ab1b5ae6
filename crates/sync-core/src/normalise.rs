//! From a directory entry to a person: the PBX's form of every value, with a note for each value that cannot be used.

use std::sync::Arc;

use crate::person::{DirectoryEntry, Field, Fields, Note, Photo, SmolStr, Values};
use crate::phone::PhoneRules;
use crate::rules::{self, LONGEST_NAME};

/// How values are read.
#[derive(Clone, Copy)]
pub struct Rules<'a> {
    /// Telephone numbers.
    pub phones: PhoneRules,
    /// Most digits an internal number has.
    pub longest_number: usize,
    /// Whether a number is dialable inside the PBX already, whatever its length.
    pub is_internal: &'a dyn Fn(&str) -> bool,
}

/// What a directory entry says about the internal number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum NumberWish {
    /// Nothing: any free number will do, and it is written back.
    #[default]
    None,
    /// This internal number.
    Internal(String),
    /// Something that is not an internal number, an outside line for example: it is left alone.
    OutsideLine(String),
    /// Values none of which could be read: they are left alone.
    Unreadable,
}

/// A directory entry in the PBX's terms.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Person {
    /// The entry.
    pub entry: Arc<DirectoryEntry>,
    /// The values in the form the PBX stores them; `Number` only when the wish is an internal number.
    pub values: Values,
    /// What the entry says about the internal number.
    pub wish: NumberWish,
    /// Which of the values of each attribute is ours.
    pub(crate) ours: [Option<u16>; Field::ALL.len()],
    /// Fields whose attribute has values none of which can be used: never taken for "cleared".
    pub unusable: Fields,
    /// Why MikoPBX would not take the SIP secret, which is in `values` all the same.
    pub refused_secret: Option<String>,
    /// What was odd.
    pub notes: Vec<Note>,
}

impl Person {
    /// Reads `entry`. `base` holds the directory's side at the last run: of several values the one equal to it is ours,
    /// otherwise the first, in the order of their text, that can be used.
    pub fn from_entry(entry: &Arc<DirectoryEntry>, base: Option<&Values>, rules: &Rules<'_>) -> Person {
        let mut person = Person {
            entry: Arc::clone(entry),
            unusable: entry.unusable,
            notes: entry.unusable.iter().map(unreadable).collect(),
            ..Person::default()
        };
        person.read_text(Field::Name, base, &name);
        person.read_text(Field::Email, base, &email);
        person.read_text(Field::Mobile, base, &|text| {
            rules.phones.mobile(text).ok_or_else(|| format!("{text:?} is not a telephone number the PBX accepts"))
        });
        person.read_number(base, rules);
        person.read_photo(&entry.photo, base);
        person.read_text(Field::Secret, base, &|fingerprint| Ok(fingerprint.to_owned()));
        person.refused_secret = entry.refused_secrets.get(person.values[Field::Secret].as_str()).cloned();
        person
    }

    /// The value of an attribute that is ours, as the directory spells it.
    pub fn ours(&self, field: Field) -> Option<&SmolStr> {
        self.entry.attributes.of(field).nth(self.ours[field as usize]?.into())
    }

    fn read_text(&mut self, field: Field, base: Option<&Values>, read: &dyn Fn(&str) -> Result<String, String>) {
        let entry = Arc::clone(&self.entry);
        let seen: Vec<&SmolStr> = entry.attributes.of(field).collect();
        if seen.is_empty() {
            return;
        }
        let mut usable = Vec::with_capacity(seen.len());
        let mut complaints = Vec::new();
        for (at, raw) in seen.iter().enumerate() {
            match read(raw) {
                Ok(value) => usable.push((at, value)),
                Err(complaint) => complaints.push(complaint),
            }
        }
        if usable.len() > 1 {
            let others = usable.len() - 1;
            self.notes.push(Note::about(field, format!("the directory holds {others} more; they are left alone")));
        }
        match choose(usable, base, |value, base| same_text(field, value, &base[field])) {
            Some((at, value)) => {
                if field == Field::Name && seen[at].trim().chars().count() > LONGEST_NAME {
                    self.notes.push(Note::about(field, format!("cut to {LONGEST_NAME} characters")));
                }
                // Most values stand on the PBX as the directory spells them: then the two share their room.
                let value = if *seen[at] == value { seen[at].clone() } else { value.into() };
                self.values.set(field, &value);
                self.ours[field as usize] = at.try_into().ok();
            }
            None => {
                self.unusable.insert(field);
                self.notes.extend(complaints.into_iter().map(|text| Note::about(field, text)));
            }
        }
    }

    fn read_number(&mut self, base: Option<&Values>, rules: &Rules<'_>) {
        let entry = Arc::clone(&self.entry);
        let numbers = entry.attributes.of(Field::Number).enumerate();
        let internal = numbers.filter_map(|(at, raw)| Some((at, internal_number(raw, rules)?))).collect();
        match (
            choose(internal, base, |number, base| *number == base[Field::Number]),
            entry.attributes.of(Field::Number).next(),
        ) {
            (Some((at, number)), _) => {
                self.values.set(Field::Number, &number.as_str().into());
                self.ours[Field::Number as usize] = at.try_into().ok();
                self.wish = NumberWish::Internal(number);
            }
            (None, Some(raw)) => {
                self.unusable.insert(Field::Number);
                self.wish = NumberWish::OutsideLine(raw.to_string());
            }
            (None, None) if self.unusable.contains(Field::Number) => self.wish = NumberWish::Unreadable,
            (None, None) => {}
        }
    }

    fn read_photo(&mut self, photo: &Photo, base: Option<&Values>) {
        match photo {
            Photo::NotAsked => {
                if let Some(base) = base {
                    self.values[Field::Photo] = base[Field::Photo].clone();
                }
            }
            Photo::Absent => {}
            Photo::Spooled { md5 } => self.values[Field::Photo] = md5.into(),
            Photo::Refused(reason) => {
                self.unusable.insert(Field::Photo);
                self.notes.push(Note::about(Field::Photo, reason.clone()));
            }
        }
    }
}

/// Of several values the one that is like the base, otherwise the first.
fn choose(
    values: Vec<(usize, String)>,
    base: Option<&Values>,
    is_like: impl Fn(&String, &Values) -> bool,
) -> Option<(usize, String)> {
    let like_base = base.and_then(|base| values.iter().position(|(_, value)| is_like(value, base)));
    values.into_iter().nth(like_base.unwrap_or_default())
}

fn unreadable(field: Field) -> Note {
    Note::about(field, "the directory holds values that cannot be read as text; they are left alone")
}

/// Whether two values of a field, both in the PBX's form, mean the same. Mobiles are compared with [`PhoneRules`].
pub fn same(field: Field, left: &str, right: &str, phones: &PhoneRules) -> bool {
    match field {
        Field::Mobile => left == right || phones.comparable(left) == phones.comparable(right),
        _ => same_text(field, left, right),
    }
}

fn same_text(field: Field, left: &str, right: &str) -> bool {
    match field {
        Field::Email => left.eq_ignore_ascii_case(right),
        _ => left == right,
    }
}

/// The text to write for `number` where `ours` stood: an extension behind an outside number keeps its number.
pub fn respell_number(ours: &str, number: &str, rules: &Rules<'_>) -> String {
    match extension_start(ours, rules) {
        Some(start) => format!("{}{number}", &ours[..start]),
        None => number.to_owned(),
    }
}

/// The internal number in `raw`: the whole text, or the extension behind an outside number.
fn internal_number(raw: &str, rules: &Rules<'_>) -> Option<String> {
    let text = raw.trim();
    if is_internal_form(text, rules) {
        return Some(text.to_owned());
    }
    extension_start(raw, rules).map(|start| raw[start..].trim().to_owned())
}

fn is_internal_form(text: &str, rules: &Rules<'_>) -> bool {
    let digits = text.bytes().all(|b| b.is_ascii_digit()) && (2..=8).contains(&text.len());
    digits && (text.len() <= rules.longest_number || (rules.is_internal)(text))
}

/// Where the digits of `… ext. 201` begin (also `x201`, `#201`, `;ext=201` of RFC 3966, and Russian `доб.`, `вн.`).
fn extension_start(raw: &str, rules: &Rules<'_>) -> Option<usize> {
    let text = raw.trim_end();
    let start = text
        .rfind(|c: char| !c.is_ascii_digit())
        .map_or(0, |at| at + text[at..].chars().next().map_or(1, char::len_utf8));
    let (before, digits) = text.split_at(start);
    let marker = before.trim_end().trim_end_matches(['.', ':', '=', '#']).to_lowercase();
    let marked = ["ext", "extension", "x", "доб", "добавочный", "вн", "внутр"]
        .iter()
        .any(|word| marker.strip_suffix(word).is_some_and(|rest| !rest.ends_with(char::is_alphabetic)));
    let hash = before.trim_end().ends_with('#');
    let has_outside = before.chars().any(|c| c.is_ascii_digit());
    ((marked || (hash && has_outside)) && is_internal_form(digits, rules)).then_some(start)
}

/// The name MikoPBX stores: no control characters, single spaces, at most [`LONGEST_NAME`] characters, nothing that
/// MikoPBX's text filter refuses.
pub(crate) fn name(text: &str) -> Result<String, String> {
    let spaced: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let name: String = words.join(" ").chars().take(LONGEST_NAME).collect();
    let name = name.trim_end().to_owned();
    rules::check_name(&name).map(|()| name)
}

/// The e-mail address without the white space around it.
fn email(text: &str) -> Result<String, String> {
    let text = text.trim();
    rules::check_email(text).map(|()| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rules() -> Rules<'static> {
        Rules { phones: PhoneRules::new("RU"), longest_number: 3, is_internal: &|number| number == "2001" }
    }

    fn entry(field: Field, values: &[&str]) -> Arc<DirectoryEntry> {
        let attributes = values.iter().map(|value| (field, *value)).collect();
        Arc::new(DirectoryEntry { attributes, ..DirectoryEntry::default() })
    }

    #[track_caller]
    fn check(field: Field, raw: &[&str], expected: &str, noted: bool) {
        let person = Person::from_entry(&entry(field, raw), None, &rules());
        assert_eq!(person.values[field], expected, "{raw:?}");
        assert_eq!(!person.notes.is_empty(), noted, "{raw:?}: {:?}", person.notes);
    }

    #[test]
    fn names() {
        check(Field::Name, &["  Anna\tMaria \u{0} O'Neil "], "Anna Maria O'Neil", false);
        check(Field::Name, &[&"я".repeat(120)], &"я".repeat(100), true);
        check(Field::Name, &["\u{7}"], "", true);
    }

    #[test]
    fn a_name_mikopbx_refuses_is_unusable_and_another_one_is_taken() {
        let refused = "Tom <script>alert(1)</script>";
        let person = Person::from_entry(&entry(Field::Name, &[refused]), None, &rules());
        assert!(person.unusable.contains(Field::Name) && person.values[Field::Name].is_empty());
        assert!(person.notes[0].text.contains("HTML"), "{:?}", person.notes);
        check(Field::Name, &[refused, "Tom"], "Tom", false);
        check(Field::Name, &["Delete\tme from here"], "", true);
    }

    #[test]
    fn emails() {
        check(Field::Email, &[" Anna.O'Neil+pbx@Example.test "], "Anna.O'Neil+pbx@Example.test", false);
        for bad in ["anna", "anna@", "@example.test", "a..b@example.test", "anna@localhost", "аня@example.test"] {
            check(Field::Email, &[bad], "", true);
        }
        check(Field::Email, &["bad", "good@example.test"], "good@example.test", false);
    }

    #[track_caller]
    fn check_number(raw: &[&str], expected: NumberWish) {
        assert_eq!(Person::from_entry(&entry(Field::Number, raw), None, &rules()).wish, expected, "{raw:?}");
    }

    #[test]
    fn numbers() {
        let internal = |number: &str| NumberWish::Internal(number.to_owned());
        let outside = |line: &str| NumberWish::OutsideLine(line.to_owned());
        check_number(&[], NumberWish::None);
        check_number(&[" 201 "], internal("201"));
        check_number(&["2001"], internal("2001"));
        check_number(&["2002"], outside("2002"));
        check_number(&["+7 495 123-45-67"], outside("+7 495 123-45-67"));
        for extension in
            ["+7 495 123-45-67 ext. 201", "8 495 1234567 x201", "tel:+74951234567;ext=201", "84951234567#201"]
        {
            check_number(&[extension], internal("201"));
        }
        check_number(&["(495) 123-45-67 доб. 201"], internal("201"));
        check_number(&["ext 201"], internal("201"));
        check_number(&["+7 495 123-45-67", "245"], internal("245"));
        check_number(&["Felix 20"], outside("Felix 20"));
    }

    #[test]
    fn an_extension_keeps_its_outside_number() {
        assert_eq!(respell_number("+7 495 123-45-67 ext. 201", "205", &rules()), "+7 495 123-45-67 ext. 205");
        assert_eq!(respell_number("201", "205", &rules()), "205");
    }

    #[test]
    fn of_several_values_the_known_one_is_ours() {
        let mut base = Values::default();
        base[Field::Email] = "b@example.test".into();
        let two = entry(Field::Email, &["a@example.test", "B@example.test"]);
        let person = Person::from_entry(&two, Some(&base), &rules());
        assert_eq!(person.ours(Field::Email).map(SmolStr::as_str), Some("B@example.test"));
    }

    #[test]
    fn a_value_that_cannot_be_used_is_not_a_cleared_one() {
        let person = Person::from_entry(&entry(Field::Mobile, &["ask the front desk"]), None, &rules());
        assert!(person.unusable.contains(Field::Mobile));
    }

    #[test]
    fn values_that_could_not_be_read_are_not_cleared_ones() {
        for field in [Field::Name, Field::Email, Field::Mobile, Field::Number] {
            let entry = DirectoryEntry { unusable: [field].into(), ..DirectoryEntry::default() };
            let person = Person::from_entry(&Arc::new(entry), None, &rules());
            assert_eq!(person.unusable, [field].into());
            assert_eq!(person.notes.iter().map(|note| note.field).collect::<Vec<_>>(), [Some(field)]);
            // A number is given, but not written over what stands in the directory.
            let expected = if field == Field::Number { NumberWish::Unreadable } else { NumberWish::None };
            assert_eq!(person.wish, expected);
        }
    }

    proptest! {
        #[test]
        fn any_entry_becomes_a_person(name in "\\PC{0,150}", mail in "\\PC{0,40}", phone in "\\PC{0,40}") {
            let attributes = [
                (Field::Name, name), (Field::Email, mail), (Field::Mobile, phone.clone()), (Field::Number, phone),
            ].into_iter().collect();
            let entry = Arc::new(DirectoryEntry { attributes, ..DirectoryEntry::default() });
            let person = Person::from_entry(&entry, None, &rules());
            prop_assert!(person.values[Field::Name].chars().count() <= LONGEST_NAME);
        }

        #[test]
        fn reading_a_name_twice_changes_nothing(text in "\\PC{1,150}") {
            if let Ok(once) = name(&text) {
                prop_assert_eq!(name(&once), Ok(once));
            }
        }
    }
}
