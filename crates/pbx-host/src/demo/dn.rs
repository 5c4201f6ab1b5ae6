//! Distinguished names in their string form (RFC 4514).

use std::fmt;

use super::schema::{self, Rule};

/// One attribute and value of a relative distinguished name: the attribute's own name, and the value as its matching rule
/// compares it.
type Assertion = (&'static str, Vec<u8>);

/// A distinguished name in the form in which equal names are equal.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Dn {
    /// The relative names from the root of the tree to the entry, so that an ancestor is a prefix.
    rdns: Vec<Vec<Assertion>>,
}

/// A text that is no distinguished name, or one with attributes this directory does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid DN")]
pub(super) struct InvalidDn;

impl Dn {
    /// Reads a name; the empty text is the root.
    pub(super) fn parse(text: &str) -> Result<Dn, InvalidDn> {
        if text.trim().is_empty() {
            return Ok(Dn::default());
        }
        let parts = split(text, &[',', ';'])?;
        let mut rdns = parts.into_iter().map(rdn).collect::<Result<Vec<_>, _>>()?;
        rdns.reverse();
        Ok(Dn { rdns })
    }

    /// Whether this is the root, the empty name.
    pub(super) fn is_root(&self) -> bool {
        self.rdns.is_empty()
    }

    /// Whether `self` is `ancestor` or lies below it.
    pub(super) fn is_within(&self, ancestor: &Dn) -> bool {
        self.rdns.starts_with(&ancestor.rdns)
    }

    /// The name one level up; `None` for the root.
    pub(super) fn parent(&self) -> Option<Dn> {
        let (_, rest) = self.rdns.split_last()?;
        Some(Dn { rdns: rest.to_vec() })
    }

    /// The attributes and values the entry is named by.
    pub(super) fn naming_values(&self) -> &[Assertion] {
        self.rdns.last().map_or(&[], Vec::as_slice)
    }
}

impl fmt::Display for Dn {
    /// The normal form: lower case where case does not count, no optional spaces, escapes only where needed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, rdn) in self.rdns.iter().rev().enumerate() {
            f.write_str(if index == 0 { "" } else { "," })?;
            for (index, (name, value)) in rdn.iter().enumerate() {
                write!(f, "{}{}=", if index == 0 { "" } else { "+" }, name.to_ascii_lowercase())?;
                write_value(f, value)?;
            }
        }
        Ok(())
    }
}

fn write_value(f: &mut fmt::Formatter<'_>, value: &[u8]) -> fmt::Result {
    match std::str::from_utf8(value) {
        Ok(text) => text.chars().try_for_each(|c| match c {
            ',' | ';' | '+' | '"' | '\\' | '<' | '>' | '=' | '#' | '\0'..='\x1f' => write!(f, "\\{:02x}", u32::from(c)),
            c => write!(f, "{c}"),
        }),
        Err(_) => value.iter().try_for_each(|byte| write!(f, "\\{byte:02x}")),
    }
}

/// Splits at separators that are not escaped.
fn split<'a>(text: &'a str, separators: &[char]) -> Result<Vec<&'a str>, InvalidDn> {
    let (mut parts, mut start, mut escaped) = (Vec::new(), 0, false);
    for (index, c) in text.char_indices() {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if separators.contains(&c) {
            parts.push(&text[start..index]);
            start = index + c.len_utf8();
        }
    }
    parts.push(&text[start..]);
    if escaped { Err(InvalidDn) } else { Ok(parts) }
}

fn rdn(text: &str) -> Result<Vec<Assertion>, InvalidDn> {
    let mut assertions = split(text, &['+'])?.into_iter().map(assertion).collect::<Result<Vec<_>, _>>()?;
    // The order of the parts of a multi-valued name does not count.
    assertions.sort();
    Ok(assertions)
}

fn assertion(text: &str) -> Result<Assertion, InvalidDn> {
    let (name, value) = text.split_once('=').ok_or(InvalidDn)?;
    let kind = schema::attribute_type(name.trim()).ok_or(InvalidDn)?;
    let value = unescape(value)?;
    // A value of an attribute without equality cannot name an entry.
    if kind.rule == Rule::None || value.is_empty() {
        return Err(InvalidDn);
    }
    Ok((kind.name, schema::normalised(kind.rule, &value).ok_or(InvalidDn)?))
}

/// Undoes `\,` and `\2c`, and drops unescaped spaces around the value.
fn unescape(text: &str) -> Result<Vec<u8>, InvalidDn> {
    let text = text.trim_start_matches(' ');
    let mut out = Vec::with_capacity(text.len());
    // Spaces up to here were escaped, so they belong to the value.
    let mut kept = 0;
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte == b'"' || byte == b'\0' {
            return Err(InvalidDn);
        }
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let (value, after) = escape(rest).ok_or(InvalidDn)?;
        rest = after;
        out.push(value);
        kept = out.len();
    }
    while out.len() > kept && out.last() == Some(&b' ') {
        out.pop();
    }
    Ok(out)
}

/// What follows a backslash: a special character, or two hexadecimal digits.
fn escape(rest: &[u8]) -> Option<(u8, &[u8])> {
    let (&first, after) = rest.split_first()?;
    if b" \"#+,;<=>\\".contains(&first) {
        return Some((first, after));
    }
    let (&second, after) = after.split_first()?;
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some((digit(first)? << 4 | digit(second)?, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dn(text: &str) -> Dn {
        Dn::parse(text).expect(text)
    }

    #[test]
    fn spelling_does_not_count() {
        for (left, right) in [
            ("CN=Ann , OU=People,dc=Example", "cn=ann,ou=people,DC=example"),
            ("cn=Smith\\, James,dc=x", "cn=smith\\2C james,dc=x"),
            ("cn=a+sn=b,dc=x", "sn=B + cn=A,dc=x"),
            ("ou=\\D0\\81,dc=x", "ou=Ё,dc=x"),
            ("cn=two  spaces,dc=x", "cn=Two spaces,dc=x"),
        ] {
            assert_eq!(dn(left), dn(right), "{left} and {right}");
            assert_eq!(Dn::parse(&dn(left).to_string()), Ok(dn(left)), "{left}");
        }
        assert_ne!(dn("cn=a,dc=x"), dn("cn=a,dc=y"));
    }

    #[test]
    fn ancestors_are_prefixes() {
        let base = dn("ou=people,dc=example,dc=test");
        assert!(dn("uid=a,ou=People,dc=example,dc=test").is_within(&base));
        assert!(base.is_within(&base));
        assert!(!dn("ou=people2,dc=example,dc=test").is_within(&base));
        assert_eq!(base.parent(), Some(dn("dc=example,dc=test")));
        assert_eq!(dn("").parent(), None);
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for text in ["nonsense", "cn=", "cn=a,,dc=x", "cn=a\\", "cn=a\\zz", "<GUID=1>", "unheard=of", "cn=\"a\",dc=x"] {
            assert_eq!(Dn::parse(text), Err(InvalidDn), "{text}");
        }
    }
}
