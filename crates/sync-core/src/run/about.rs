//! What a run about a few people needs to know of the PBX, and what in the directory's answer is to be doubted: values in,
//! values out.

use std::collections::{BTreeMap, BTreeSet};

use crate::decision::Decisions;
use crate::directory::DirectorySnapshot;
use crate::link::{Link, LinkState};
use crate::normalise;
use crate::pbx::About;
use crate::person::{AccountState, DirectoryEntry, DirectoryKey, Field, Photo};
use crate::phone::PhoneRules;
use crate::policy::Policy;

/// What is to be read of the PBX: the people's employees, whoever an administrator has named, and every value that the
/// directory has.
pub(super) fn about(
    directory: &DirectorySnapshot,
    links: &[Link],
    decisions: &Decisions,
    phones: &PhoneRules,
) -> About {
    let mut about = About::default();
    for link in links {
        about.users.insert(link.user_id);
        about.sip_uniqids.insert(link.sip_uniqid.clone());
    }
    for entry in &directory.entries {
        about.users.extend(decisions.about_person(&entry.key).and_then(|decision| decision.user_id));
        for (field, value) in entry.attributes.iter() {
            add_value(&mut about, field, value, phones);
        }
    }
    about
}

fn add_value(about: &mut About, field: Field, value: &str, phones: &PhoneRules) {
    match field {
        Field::Name => about.names.extend(normalise::name(value).ok()),
        Field::Email => drop(about.emails.insert(value.to_owned())),
        Field::Number | Field::Mobile => {
            about.phones.insert(value.to_owned());
            if let Some(digits) = phones.mobile(value) {
                about.numbers.insert(digits.clone());
                about.phones.insert(digits);
            }
            about.numbers.extend(numbers_in(value));
        }
        Field::Photo | Field::Secret => {}
    }
}

/// Everything in a text that could be a number: each run of digits, and all digits together.
fn numbers_in(text: &str) -> BTreeSet<String> {
    let runs = text.split(|character: char| !character.is_ascii_digit());
    let mut numbers: BTreeSet<String> = runs.filter(|run| !run.is_empty()).map(str::to_owned).collect();
    numbers.insert(text.chars().filter(char::is_ascii_digit).collect());
    numbers
}

/// The fields that somebody had in the directory and has no longer.
pub(super) fn lost_fields(links: &[Link], directory: &DirectorySnapshot, policy: &Policy) -> BTreeSet<Field> {
    let links: BTreeMap<&DirectoryKey, &Link> = links.iter().map(|link| (&link.key, link)).collect();
    let lost = |entry: &DirectoryEntry, field: Field| {
        let had = links.get(&entry.key).is_some_and(|link| !link.directory[field].is_empty());
        let has = match field {
            Field::Photo => entry.photo != Photo::Absent,
            _ => entry.attributes.has(field),
        };
        had && !has && entry.account == AccountState::Active
    };
    let fields = policy.attributes.keys().copied();
    fields.filter(|field| directory.entries.iter().any(|entry| lost(entry, *field))).collect()
}

/// Whether somebody who was in use is not found.
pub(super) fn gone(links: &[Link], directory: &DirectorySnapshot) -> bool {
    let found: BTreeSet<&DirectoryKey> = directory.entries.iter().map(|entry| &entry.key).collect();
    links.iter().any(|link| link.state == LinkState::Active && !found.contains(&link.key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_a_text_may_mean_is_asked_for() {
        let numbers = numbers_in("+7 (495) 123-45-67 ext. 201");
        for number in ["7", "495", "123", "45", "67", "201", "74951234567201"] {
            assert!(numbers.contains(number), "{number} of {numbers:?}");
        }
    }
}
