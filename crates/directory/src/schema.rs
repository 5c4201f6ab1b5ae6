//! The directory's attributes, with what a few people have in them: for choosing what is mapped.

use std::collections::BTreeMap;

use ldap3::Scope;
use ldap3::controls::{PagedResults, RawControl};
use serde::Serialize;
use sync_core::directory::DirectoryError;

use crate::connection::{Connection, PAGE_PATIENCE};
use crate::entry::RawEntry;
use crate::settings::ServerSettings;
use crate::{dn, read};

/// People looked at.
const SAMPLES: u32 = 50;
/// Longest value that is shown, in characters.
const LONGEST_SAMPLE: usize = 80;
/// Attributes with one of these words in their name may hold a secret: no value of theirs is shown.
const SECRET_WORDS: [&str; 9] = ["pass", "pw", "secret", "hash", "credential", "key", "pin", "token", "otp"];

/// The attributes of a directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Schema {
    /// Those that people have, the most frequent first; then the other ones of the schema.
    pub attributes: Vec<AttributeInfo>,
    /// How many people were looked at: the first ones the filter finds.
    pub people: u64,
    /// The first of them.
    pub sample: Option<Sample>,
    /// Entries that could not be understood.
    #[serde(skip)]
    pub lost: u64,
    /// The schema could be read, so that an attribute that is not named does not exist.
    pub complete: bool,
}

/// Somebody whose values are shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Sample {
    /// The entry's DN.
    pub dn: String,
    /// The name, as mapped; the first value of the DN where there is none.
    pub name: String,
}

/// One attribute.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct AttributeInfo {
    /// Its name as the schema spells it.
    pub name: String,
    /// What the schema says about it.
    pub description: String,
    /// It takes one value only.
    pub single: bool,
    /// How many of the people have it.
    pub filled: u64,
    /// A value of one of them; empty when it is no text, or may be a secret.
    pub sample: String,
}

/// Reads the schema and looks at some people over an open connection.
pub(crate) async fn read(
    connection: &Connection,
    settings: &ServerSettings,
    hidden: &str,
) -> Result<Schema, DirectoryError> {
    let mut known: BTreeMap<String, AttributeInfo> = BTreeMap::new();
    let (descriptions, complete) = descriptions(connection).await?;
    for description in descriptions {
        if let Some((names, info)) = parse(&description) {
            for name in names {
                known.insert(name.to_ascii_lowercase(), AttributeInfo { name, ..info.clone() });
            }
        }
    }
    let (people, lost) = people(connection, settings).await?;
    for person in &people {
        for name in person.names() {
            let info = known
                .entry(name.to_owned())
                .or_insert_with(|| AttributeInfo { name: name.to_owned(), ..AttributeInfo::default() });
            info.filled += 1;
            if info.sample.is_empty() && !is_secret(name, settings) && !hidden.eq_ignore_ascii_case(name) {
                info.sample = person.text(name).chars().take(LONGEST_SAMPLE).collect();
            }
        }
    }
    let mut attributes: Vec<AttributeInfo> = known.into_values().collect();
    attributes.sort_by_key(|attribute| std::cmp::Reverse(attribute.filled));
    Ok(Schema {
        attributes,
        people: people.len() as u64,
        sample: people.first().map(|person| sample(person, settings)),
        lost,
        complete,
    })
}

fn sample(person: &RawEntry, settings: &ServerSettings) -> Sample {
    let name = person.text(&settings.attributes.name);
    let name = if name.is_empty() { dn::first_value(&person.dn) } else { name };
    Sample { dn: person.dn.clone(), name }
}

fn is_secret(name: &str, settings: &ServerSettings) -> bool {
    settings.attributes.secret.eq_ignore_ascii_case(name) || SECRET_WORDS.iter().any(|word| name.contains(word))
}

/// The first people the filter finds, with all their user attributes.
async fn people(connection: &Connection, settings: &ServerSettings) -> Result<(Vec<RawEntry>, u64), DirectoryError> {
    let (filter, base) = (read::people_filter(settings)?, settings.search_base());
    let page = PagedResults { size: SAMPLES.try_into().unwrap_or(i32::MAX), cookie: Vec::new() };
    let (mut people, mut lost) = (Vec::new(), 0);
    // A server that does not page sends everybody.
    let keep = |entry: Result<RawEntry, _>| match entry {
        Ok(entry) if people.len() < SAMPLES as usize => people.push(entry),
        Ok(_) => {}
        Err(_) => lost += 1,
    };
    // Operational attributes come only when they are named (RFC 4511, 4.5.1.8).
    let operational = settings.attributes.account_status.clone();
    let names: Vec<String> = ["*".to_owned(), operational].into_iter().filter(|name| !name.is_empty()).collect();
    let session = &connection.session;
    let search = session.search(&base, Scope::Subtree, &filter, &names, vec![RawControl::from(page)], keep);
    let limit = session.link.timeout * PAGE_PATIENCE;
    let result = tokio::time::timeout(limit, search)
        .await
        .unwrap_or_else(|_| Err(session.link.too_slow("sending one page of a search", limit)))?;
    if result.rc == 0 { Ok((people, lost)) } else { Err(session.link.search(settings, &base, &result)) }
}

/// The attribute type descriptions of the schema (RFC 4512, 4.2), and whether they are all; none where the login may not
/// see it.
async fn descriptions(connection: &Connection) -> Result<(Vec<String>, bool), DirectoryError> {
    let session = &connection.session;
    let Ok(root) = session.entry("", &["subschemaSubentry".to_owned()], vec![]).await? else {
        return Ok((Vec::new(), false));
    };
    let place = root.text("subschemaSubentry");
    let Ok(schema) = session.entry(&place, &["attributeTypes".to_owned()], vec![]).await? else {
        return Ok((Vec::new(), false));
    };
    let found = schema.texts("attributeTypes");
    let complete = !found.is_empty() && !schema.is_cut("attributeTypes");
    Ok((found, complete))
}

/// Names of an attribute type and what is said about it (RFC 4512, 4.1.2).
fn parse(description: &str) -> Option<(Vec<String>, AttributeInfo)> {
    let words = words(description);
    let after = |word: &str| words.iter().position(|found| found == word).map(|at| &words[at + 1..]);
    let names: Vec<String> = match after("NAME")? {
        [open, rest @ ..] if open == "(" => rest.iter().take_while(|word| *word != ")").cloned().collect(),
        [name, ..] => vec![name.clone()],
        [] => return None,
    };
    let description = after("DESC").and_then(|rest| rest.first().cloned()).unwrap_or_default();
    Some((names, AttributeInfo { description, single: after("SINGLE-VALUE").is_some(), ..AttributeInfo::default() }))
}

/// The words of a description; what stands in quotes is one word.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (at, part) in text.split('\'').enumerate() {
        if at % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Vendor;
    use crate::test_settings;

    #[test]
    fn descriptions_are_read_as_rfc_4512_writes_them() {
        let (names, info) =
            parse("( 2.5.4.20 NAME 'telephoneNumber' DESC 'RFC2256: Telephone Number' EQUALITY x )").unwrap();
        assert_eq!(
            (names, info.description.as_str(), info.single),
            (vec!["telephoneNumber".to_owned()], "RFC2256: Telephone Number", false)
        );
        let (names, info) = parse("( 0.9 NAME ( 'mail' 'rfc822Mailbox' ) SYNTAX 1.3{256} SINGLE-VALUE )").unwrap();
        assert_eq!((names, info.single), (vec!["mail".to_owned(), "rfc822Mailbox".to_owned()], true));
        assert_eq!(parse("( 2.5 NAME"), None);
        assert_eq!(parse(""), None);
    }

    #[test]
    fn what_may_be_a_secret_is_not_shown() {
        let mut settings = test_settings(Vendor::OpenLdap);
        settings.attributes.secret = "carLicense".to_owned();
        for name in ["userpassword", "unicodepwd", "carlicense", "sambanthash", "ms-mcs-admpwd"] {
            assert!(is_secret(name, &settings), "{name}");
        }
        for name in ["mail", "telephonenumber", "description"] {
            assert!(!is_secret(name, &settings), "{name}");
        }
    }
}
