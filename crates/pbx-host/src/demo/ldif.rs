//! LDIF content records (RFC 2849): what the demo's people are kept in.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

/// The longest line that [`write_ldif`] writes, in bytes (RFC 2849 recommends 76).
const LINE: usize = 76;

/// One attribute of an entry with its values, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute {
    /// The attribute description as written, for example `telephoneNumber`.
    pub name: String,
    /// The values, at least one.
    pub values: Vec<Vec<u8>>,
}

/// One entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The distinguished name as written.
    pub dn: String,
    /// The attributes, each named once, in the order of their first appearance.
    pub attributes: Vec<Attribute>,
}

impl Entry {
    /// The values of the attribute called `name`, whatever the case; none when the entry has no such attribute.
    pub fn values(&self, name: &str) -> &[Vec<u8>] {
        let found = self.attributes.iter().find(|attribute| attribute.name.eq_ignore_ascii_case(name));
        found.map_or(&[], |attribute| &attribute.values)
    }

    /// The first value of the attribute called `name`, when it is UTF-8.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.values(name).first().and_then(|value| std::str::from_utf8(value).ok())
    }

    /// Appends a value, to the attribute of that name if there is one.
    pub(crate) fn push(&mut self, name: &str, value: Vec<u8>) {
        match self.attributes.iter_mut().find(|attribute| attribute.name.eq_ignore_ascii_case(name)) {
            Some(attribute) => attribute.values.push(value),
            None => self.attributes.push(Attribute { name: name.to_owned(), values: vec![value] }),
        }
    }
}

/// What is wrong with an LDIF text, and where.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the LDIF text: {problem}")]
pub struct LdifError {
    /// The line the faulty record or value starts at, counted from 1.
    pub line: usize,
    /// A sentence without full stop.
    pub problem: String,
}

impl LdifError {
    fn new(line: usize, problem: impl Into<String>) -> LdifError {
        LdifError { line, problem: problem.into() }
    }
}

/// Reads the content records of an LDIF text: comments, folded lines and base64 values are understood, change records and
/// values taken from URLs are refused.
pub fn parse_ldif(text: &str) -> Result<Vec<Entry>, LdifError> {
    let mut entries = Vec::new();
    let mut current: Option<Entry> = None;
    for (line, content) in logical_lines(text)? {
        if content.is_empty() {
            entries.extend(current.take());
            continue;
        }
        let (name, value) = attribute_value(line, &content)?;
        match &mut current {
            None if name.eq_ignore_ascii_case("version") && entries.is_empty() => check_version(line, &value)?,
            None => current = Some(begin_entry(line, &name, value)?),
            Some(_) if name.eq_ignore_ascii_case("dn") => {
                return Err(LdifError::new(line, "a record has a second dn line; separate records by an empty line"));
            }
            Some(_) if name.eq_ignore_ascii_case("changetype") => {
                return Err(LdifError::new(line, "change records are not supported here, only entries"));
            }
            Some(entry) => entry.push(&name, value),
        }
    }
    entries.extend(current);
    Ok(entries)
}

/// Writes entries as LDIF. Values that are not plain ASCII are written in base64, long lines are folded at 76 bytes.
pub fn write_ldif<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> String {
    // Without a version line, which slapadd does not take.
    let mut text = String::new();
    for (index, entry) in entries.into_iter().enumerate() {
        text.push_str(if index == 0 { "" } else { "\n" });
        write_value(&mut text, "dn", entry.dn.as_bytes());
        for attribute in &entry.attributes {
            for value in &attribute.values {
                write_value(&mut text, &attribute.name, value);
            }
        }
    }
    text
}

/// The lines with their folds undone and comments removed, each with the number of its first physical line.
fn logical_lines(text: &str) -> Result<Vec<(usize, String)>, LdifError> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    for (index, physical) in text.split('\n').enumerate() {
        let physical = physical.strip_suffix('\r').unwrap_or(physical);
        match physical.strip_prefix(' ') {
            Some(rest) => match lines.last_mut() {
                Some((_, line)) if !line.is_empty() => line.push_str(rest),
                _ => return Err(LdifError::new(index + 1, "a continuation line follows no line")),
            },
            None => lines.push((index + 1, physical.to_owned())),
        }
    }
    // A comment can be folded as well, so comments are dropped only now.
    lines.retain(|(_, line)| !line.starts_with('#'));
    Ok(lines)
}

/// Splits `name: value`, `name:: base64`.
fn attribute_value(line: usize, content: &str) -> Result<(String, Vec<u8>), LdifError> {
    let Some((name, rest)) = content.split_once(':') else {
        return Err(LdifError::new(line, "a line has no colon"));
    };
    let name_is_valid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | ';');
    if name.is_empty() || !name.chars().all(name_is_valid) {
        return Err(LdifError::new(line, format!("{name:?} is not an attribute name")));
    }
    if rest.starts_with('<') {
        return Err(LdifError::new(line, "values taken from a URL are not supported"));
    }
    let value = match rest.strip_prefix(':') {
        Some(encoded) => BASE64
            .decode(encoded.trim_start_matches(' '))
            .map_err(|error| LdifError::new(line, format!("the value of {name} is not base64: {error}")))?,
        None => rest.trim_start_matches(' ').as_bytes().to_vec(),
    };
    Ok((name.to_owned(), value))
}

fn check_version(line: usize, value: &[u8]) -> Result<(), LdifError> {
    if value == b"1" { Ok(()) } else { Err(LdifError::new(line, "only LDIF version 1 is understood")) }
}

fn begin_entry(line: usize, name: &str, value: Vec<u8>) -> Result<Entry, LdifError> {
    if !name.eq_ignore_ascii_case("dn") {
        return Err(LdifError::new(line, "a record does not begin with dn"));
    }
    let dn = String::from_utf8(value).map_err(|_| LdifError::new(line, "a dn is not UTF-8"))?;
    Ok(Entry { dn, attributes: Vec::new() })
}

fn write_value(text: &mut String, name: &str, value: &[u8]) {
    let line = match std::str::from_utf8(value) {
        Ok(plain) if is_safe(plain) => format!("{name}: {plain}"),
        _ => format!("{name}:: {}", BASE64.encode(value)),
    };
    // Every line is ASCII by now, so any byte is a place to fold.
    let (first, mut rest) = line.split_at(line.len().min(LINE));
    text.push_str(first);
    while !rest.is_empty() {
        let (next, after) = rest.split_at(rest.len().min(LINE - 1));
        text.push_str("\n ");
        text.push_str(next);
        rest = after;
    }
    text.push('\n');
}

/// SAFE-STRING of RFC 2849, without a trailing space.
fn is_safe(value: &str) -> bool {
    let safe = |c: char| c.is_ascii() && !matches!(c, '\0' | '\n' | '\r');
    value.chars().all(safe) && !value.starts_with([' ', ':', '<']) && !value.ends_with(' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(dn: &str, attributes: &[(&str, &[&str])]) -> Entry {
        let attribute = |(name, values): &(&str, &[&str])| Attribute {
            name: (*name).to_owned(),
            values: values.iter().map(|value| value.as_bytes().to_vec()).collect(),
        };
        Entry { dn: dn.to_owned(), attributes: attributes.iter().map(attribute).collect() }
    }

    #[test]
    fn reads_folds_comments_and_base64() {
        let text = "version: 1\n# a comment\n  that is folded\ndn: cn=A,dc=ex\n ample\r\ncn: A\nsn:: w6Q=\nsn:B\n\n\ndn:: Y249Qg==\ncn: B\n";
        let expected =
            [entry("cn=A,dc=example", &[("cn", &["A"]), ("sn", &["ä", "B"])]), entry("cn=B", &[("cn", &["B"])])];
        assert_eq!(parse_ldif(text), Ok(expected.to_vec()));
    }

    #[test]
    fn refuses_what_it_does_not_understand() {
        for (text, line, part) in [
            ("version: 2\n", 1, "version 1"),
            ("cn: A\n", 1, "begin with dn"),
            ("dn: cn=A\nbroken\n", 2, "no colon"),
            ("dn: cn=A\njpegPhoto:< file:///etc/passwd\n", 2, "URL"),
            ("dn: cn=A\ncn:: ???\n", 2, "base64"),
            ("dn: cn=A\nchangetype: delete\n", 2, "change records"),
            ("dn: cn=A\ndn: cn=B\n", 2, "second dn"),
            (" cn: A\n", 1, "continuation"),
            ("dn: cn=A\nc n: A\n", 2, "attribute name"),
        ] {
            let error = parse_ldif(text).expect_err(text);
            assert_eq!(error.line, line, "{text:?}");
            assert!(error.problem.contains(part), "{text:?}: {error}");
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let long = "x".repeat(500);
        let values: [&str; 7] = ["plain", " leading", "trailing ", ":colon", "Ёлкин", "two\nlines", &long];
        let written = vec![entry("cn=Ё,dc=example", &[("cn", &values)])];
        let text = write_ldif(&written);
        assert!(text.lines().all(|line| line.len() <= LINE), "{text}");
        assert_eq!(parse_ldif(&text), Ok(written));
    }
}
