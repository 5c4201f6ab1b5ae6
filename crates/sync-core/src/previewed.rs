//! What a preview showed, so that exactly that can be applied later, or what has changed since can be told.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::person::Field;
use crate::plan::{Action, PersonPlan, Plan};
use crate::report::shown;

/// Differences named in a sentence, at most.
const NAMED: usize = 10;
/// Bytes of a digest that are kept: enough that no two plans have the same by chance.
const DIGEST_BYTES: usize = 16;

/// Everybody something would be done for, with a digest of what. Photos count by their MD5; of a SIP secret counts only
/// that it changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Previewed(BTreeMap<String, Shown>);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Shown {
    name: String,
    digest: String,
}

impl Previewed {
    /// What `plan` would do.
    pub fn of(plan: &Plan) -> Previewed {
        let people = plan.people.iter().filter(|person| person.does_something()).map(|person| {
            let key = format!("person {}", person.person.entry.key.as_str());
            (key, Shown { name: person.name().to_owned(), digest: digest(&person_text(person)) })
        });
        let departures = plan.departures.iter().map(|departure| {
            let key = format!("departure {}", departure.link.key.as_str());
            let text = format!("{} {}", departure.state.name(), departure.held);
            (key, Shown { name: departure.link.shown[Field::Name].to_string(), digest: digest(&text) })
        });
        let accounts = plan.accounts.iter().map(|account| {
            let key = format!("account {}", account.link.key.as_str());
            let text = format!("{} {}", account.step.name(), account.employee.user_id);
            (key, Shown { name: account.employee.values[Field::Name].to_string(), digest: digest(&text) })
        });
        Previewed(people.chain(departures).chain(accounts).collect())
    }

    /// The same for the same plan of the same server, 32 hexadecimal digits.
    pub fn id(&self, server_id: i64) -> String {
        let parts = self.0.iter().map(|(key, shown)| format!("{key}\n{}\n", shown.digest));
        digest(&format!("{server_id}\n{}", parts.collect::<String>()))
    }

    /// What differs in `now`, in words; empty when exactly the same would be done.
    pub fn differences(&self, now: &Previewed) -> Vec<String> {
        let before = self.0.iter().filter_map(|(key, shown)| match now.0.get(key) {
            None => Some(format!("{}: nothing is to be done any more", shown.name)),
            Some(later) if later.digest != shown.digest => {
                Some(format!("{}: something else would be done now", shown.name))
            }
            Some(_) => None,
        });
        let added = now.0.iter().filter(|(key, _)| !self.0.contains_key(*key));
        let mut told: Vec<String> =
            before.chain(added.map(|(_, shown)| format!("{}: was not in the preview", shown.name))).collect();
        if told.len() > NAMED {
            let more = told.len() - NAMED;
            told.truncate(NAMED);
            told.push(format!("and {more} more"));
        }
        told
    }
}

/// Everything that is done for a person, unambiguously.
fn person_text(person: &PersonPlan) -> String {
    let changes = person.changes.iter().map(|change| {
        let value = |value: &str| match change.field {
            Field::Secret => shown(change.field, value).to_owned(),
            _ => value.to_owned(),
        };
        (change.side.name(), change.field.name(), value(&change.old), value(&change.new))
    });
    let action = match person.action {
        Action::Create => "create",
        Action::Adopt(_) => "adopt",
        _ => "update",
    };
    format!("{action} {:?} {:?}", person.user_id, changes.collect::<Vec<_>>())
}

fn digest(text: &str) -> String {
    Sha256::digest(text).iter().take(DIGEST_BYTES).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn previewed(people: &[(&str, &str, &str)]) -> Previewed {
        let shown = |(key, name, what): &(&str, &str, &str)| {
            ((*key).to_owned(), Shown { name: (*name).to_owned(), digest: digest(what) })
        };
        Previewed(people.iter().map(shown).collect())
    }

    #[test]
    fn differences_name_whom_they_are_about() {
        let before = previewed(&[("1", "Anna", "new"), ("2", "Boris", "mobile"), ("3", "Clara", "mail")]);
        let after = previewed(&[("1", "Anna", "new"), ("2", "Boris", "mail"), ("4", "Dora", "new")]);
        assert_eq!(before.differences(&before), Vec::<String>::new());
        assert_eq!(
            before.differences(&after),
            [
                "Boris: something else would be done now",
                "Clara: nothing is to be done any more",
                "Dora: was not in the preview",
            ]
        );
        let many: Vec<String> = (10..35).map(|number| number.to_string()).collect();
        let many: Vec<(&str, &str, &str)> = many.iter().map(|key| (key.as_str(), "Somebody", "new")).collect();
        let told = Previewed::default().differences(&previewed(&many));
        assert_eq!((told.len(), told[NAMED].as_str()), (NAMED + 1, "and 15 more"));
    }

    #[test]
    fn an_id_is_of_one_server_and_one_plan() {
        let plan = previewed(&[("1", "Anna", "new")]);
        assert_eq!(plan.id(1), plan.clone().id(1));
        assert_eq!(plan.id(1).len(), 2 * DIGEST_BYTES);
        assert_ne!(plan.id(1), plan.id(2));
        assert_ne!(plan.id(1), previewed(&[("1", "Anna", "other")]).id(1));
    }
}
