//! What an administrator decided about a conflict, and which decisions a conflict allows.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::person::{DirectoryKey, Field};

/// A decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Choice {
    /// The directory's value stands.
    Directory,
    /// The PBX's value stands.
    Pbx,
    /// The person is the employee named.
    Link,
    /// The person becomes a new employee; the number comes from the pool where the one asked for cannot be had.
    Create,
    /// The person is left out of the synchronisation.
    Exclude,
    /// The conflict stays as it is and is shown no more, until one of its values changes.
    Ignore,
}

impl Choice {
    /// Every choice.
    pub const ALL: [Choice; 6] =
        [Choice::Directory, Choice::Pbx, Choice::Link, Choice::Create, Choice::Exclude, Choice::Ignore];

    /// The choice's name in JSON and in the module's database.
    pub fn name(self) -> &'static str {
        match self {
            Choice::Directory => "directory",
            Choice::Pbx => "pbx",
            Choice::Link => "link",
            Choice::Create => "create",
            Choice::Exclude => "exclude",
            Choice::Ignore => "ignore",
        }
    }

    /// The choice called `name`, if there is one.
    pub fn from_name(name: &str) -> Option<Choice> {
        Choice::ALL.into_iter().find(|choice| choice.name() == name)
    }
}

/// One decision that stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Row id in the module's database.
    pub id: i64,
    /// The entry.
    pub key: DirectoryKey,
    /// The field; `None` when it is about the person as a whole.
    pub field: Option<Field>,
    /// The cause of the conflict it answers.
    pub cause: String,
    /// What was decided.
    pub choice: Choice,
    /// The employee of [`Choice::Link`], `m_Users.id`.
    pub user_id: Option<i64>,
    /// The directory's value it was made for: a newer one is not covered by it.
    pub directory_value: String,
    /// The PBX's value it was made for.
    pub pbx_value: String,
}

/// The decisions of a server.
#[derive(Clone, Debug, Default)]
pub struct Decisions {
    people: BTreeMap<DirectoryKey, Decision>,
    fields: BTreeMap<(DirectoryKey, Field, String), Decision>,
}

impl Decisions {
    /// Those of a server, by what they are about.
    pub fn new(all: Vec<Decision>) -> Decisions {
        let mut decisions = Decisions::default();
        for decision in all {
            match (decision.choice, decision.field) {
                (Choice::Directory | Choice::Pbx | Choice::Ignore, Some(field)) => {
                    let key = (decision.key.clone(), field, decision.cause.clone());
                    decisions.fields.insert(key, decision);
                }
                _ => drop(decisions.people.insert(decision.key.clone(), decision)),
            }
        }
        decisions
    }

    /// What was decided about a person as a whole.
    pub fn about_person(&self, key: &DirectoryKey) -> Option<&Decision> {
        self.people.get(key)
    }

    /// Which side's value of a field was decided for, as long as both values are those it was decided for.
    pub fn about_field(&self, key: &DirectoryKey, field: Field, directory: &str, pbx: &str) -> Option<&Decision> {
        let from = (key.clone(), field, String::new());
        self.fields
            .range(from..)
            .take_while(|((of, about, _), _)| of == key && *about == field)
            .map(|(_, decision)| decision)
            .find(|decision| decision.choice != Choice::Ignore && decision.covers(directory, pbx))
    }

    /// The decisions about fields of a person.
    pub fn fields_of(&self, key: &DirectoryKey) -> impl Iterator<Item = (Field, &Decision)> {
        let from = (key.clone(), Field::Name, String::new());
        let of_person = self.fields.range(from..).take_while(move |((of, ..), _)| of == key);
        of_person.map(|((_, field, _), decision)| (*field, decision))
    }

    /// Whether a conflict is to be shown no more.
    pub fn ignores(&self, key: &DirectoryKey, field: Option<Field>, cause: &str, directory: &str, pbx: &str) -> bool {
        let found = match field {
            Some(field) => self.fields.get(&(key.clone(), field, cause.to_owned())),
            None => self.people.get(key).filter(|decision| decision.cause == cause),
        };
        found.is_some_and(|decision| decision.choice == Choice::Ignore && decision.covers(directory, pbx))
    }
}

impl Decision {
    fn covers(&self, directory: &str, pbx: &str) -> bool {
        self.directory_value == directory && self.pbx_value == pbx
    }
}

/// The choices a conflict allows. `field` is the one it is about, `employee` says that the person is an employee
/// already, `pbx_value` is the PBX's value.
pub fn choices(cause: &str, field: Option<Field>, employee: bool, pbx_value: &str) -> Vec<Choice> {
    use Choice::{Create, Directory, Exclude, Ignore, Link, Pbx};
    match cause {
        "both-changed" => vec![Directory, Pbx, Ignore, Exclude],
        "no-rights" | "directory-refused" if field.is_some() => vec![Directory, Ignore, Exclude],
        "ambiguous" | "already-linked" | "re-hire" | "employee-deleted" | "identity-mismatch" => {
            vec![Link, Create, Exclude, Ignore]
        }
        "number-taken" | "number-contested" | "number-forbidden" if !employee => vec![Create, Exclude, Ignore],
        _ if employee && field.is_some() && !pbx_value.is_empty() => vec![Pbx, Ignore, Exclude],
        _ => vec![Exclude, Ignore],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decision(choice: Choice, field: Option<Field>, cause: &str) -> Decision {
        Decision {
            id: 1,
            key: DirectoryKey("ann".to_owned()),
            field,
            cause: cause.to_owned(),
            choice,
            user_id: None,
            directory_value: "d".to_owned(),
            pbx_value: "p".to_owned(),
        }
    }

    #[test]
    fn a_decision_holds_for_the_values_it_was_made_for() {
        let ann = DirectoryKey("ann".to_owned());
        let decisions = Decisions::new(vec![decision(Choice::Pbx, Some(Field::Email), "both-changed")]);
        let found = |directory, pbx| decisions.about_field(&ann, Field::Email, directory, pbx).map(|one| one.choice);
        assert_eq!(found("d", "p"), Some(Choice::Pbx));
        assert_eq!(found("newer", "p"), None);
        assert_eq!(found("d", "newer"), None);
        assert_eq!(decisions.about_field(&ann, Field::Mobile, "d", "p"), None);
        assert_eq!(decisions.about_person(&ann), None);
    }

    #[test]
    fn an_ignored_conflict_is_ignored_until_a_value_changes() {
        let ann = DirectoryKey("ann".to_owned());
        let decisions = Decisions::new(vec![decision(Choice::Ignore, Some(Field::Email), "both-changed")]);
        assert!(decisions.ignores(&ann, Some(Field::Email), "both-changed", "d", "p"));
        assert!(!decisions.ignores(&ann, Some(Field::Email), "both-changed", "d", "q"));
        assert!(!decisions.ignores(&ann, Some(Field::Email), "no-rights", "d", "p"));
        assert_eq!(decisions.about_field(&ann, Field::Email, "d", "p"), None);
    }

    #[test]
    fn what_cannot_be_done_is_no_choice() {
        assert!(!choices("name-cleared", Some(Field::Name), true, "Ann").contains(&Choice::Directory));
        assert!(choices("name-cleared", Some(Field::Name), true, "Ann").contains(&Choice::Pbx));
        assert!(!choices("email-taken", Some(Field::Email), true, "").contains(&Choice::Pbx));
        assert!(choices("number-taken", Some(Field::Number), false, "").contains(&Choice::Create));
        assert!(choices("re-hire", Some(Field::Email), false, "").contains(&Choice::Link));
        for choice in Choice::ALL {
            assert_eq!(Choice::from_name(choice.name()), Some(choice));
        }
    }
}
