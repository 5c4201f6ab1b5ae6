//! Search filters (RFC 4515): checked before they are sent, written in one form, combined and escaped.

use std::fmt::Write as _;

/// Deepest nesting of a filter; deeper ones would exhaust the stack of the encoder.
const MAX_DEPTH: usize = 32;
/// Longest filter an administrator may give, in bytes.
const MAX_LENGTH: usize = 65_536;

/// Why a filter does not parse.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the filter is broken at character {position}: {text}")]
pub struct FilterError {
    /// Position of the offending character, counted from 1.
    pub position: usize,
    /// What is wrong there.
    pub text: String,
}

/// Checks a filter and returns it without the blanks that people put between its parts.
pub fn normalise(filter: &str) -> Result<String, FilterError> {
    parse(filter).map(|parser| parser.output)
}

/// The attributes a filter asks for, as it spells them, without options and matching rules; none of a broken filter.
pub(crate) fn attributes(filter: &str) -> Vec<String> {
    parse(filter).map(|parser| parser.attributes).unwrap_or_default()
}

fn parse(filter: &str) -> Result<Parser, FilterError> {
    if filter.len() > MAX_LENGTH {
        return Err(FilterError { position: 1, text: format!("it is longer than {MAX_LENGTH} bytes") });
    }
    let characters = filter.chars().collect();
    let mut parser = Parser { characters, at: 0, output: String::new(), attributes: Vec::new() };
    parser.blanks();
    parser.component(0)?;
    parser.blanks();
    if parser.at < parser.characters.len() {
        return Err(parser.error("something follows the closing parenthesis"));
    }
    // The encoder is another implementation: what it would refuse must be known before anything is sent.
    match ldap3::parse_filter(&parser.output) {
        Ok(_) => Ok(parser),
        Err(()) => Err(FilterError { position: 1, text: "it is not an RFC 4515 filter".to_owned() }),
    }
}

/// `(&...)` of several filters, each in parentheses already.
pub(crate) fn and<'a>(filters: impl IntoIterator<Item = &'a str>) -> String {
    joined('&', filters)
}

/// `(|...)` of several filters, each in parentheses already.
pub(crate) fn or<'a>(filters: impl IntoIterator<Item = &'a str>) -> String {
    joined('|', filters)
}

fn joined<'a>(operator: char, filters: impl IntoIterator<Item = &'a str>) -> String {
    let filters: Vec<&str> = filters.into_iter().collect();
    match filters.as_slice() {
        [only] => (*only).to_owned(),
        _ => format!("({operator}{})", filters.concat()),
    }
}

/// `(attribute=value)` with the value escaped.
pub(crate) fn equals(attribute: &str, value: &str) -> String {
    format!("({attribute}={})", ldap3::ldap_escape(value))
}

/// `(attribute=value)` for a binary value, every byte escaped.
pub(crate) fn equals_bytes(attribute: &str, value: &[u8]) -> String {
    let mut filter = format!("({attribute}=");
    for byte in value {
        // Writing to a String cannot fail.
        let _ = write!(filter, "\\{byte:02x}");
    }
    filter.push(')');
    filter
}

/// `(attribute=*)`.
pub(crate) fn present(attribute: &str) -> String {
    format!("({attribute}=*)")
}

/// Whether `name` can be the name of an attribute (RFC 4512, 2.5: a descriptor or an OID, with options).
pub(crate) fn is_attribute(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == ';' || c == '.';
    name.chars().next().is_some_and(|c| c.is_ascii_alphanumeric()) && name.chars().all(allowed)
}

struct Parser {
    characters: Vec<char>,
    at: usize,
    output: String,
    attributes: Vec<String>,
}

impl Parser {
    fn error(&self, text: impl Into<String>) -> FilterError {
        FilterError { position: self.at + 1, text: text.into() }
    }

    fn peek(&self) -> Option<char> {
        self.characters.get(self.at).copied()
    }

    fn blanks(&mut self) {
        while self.peek().is_some_and(char::is_whitespace) {
            self.at += 1;
        }
    }

    fn take(&mut self, expected: char, otherwise: &str) -> Result<(), FilterError> {
        if self.peek() != Some(expected) {
            return Err(self.error(otherwise));
        }
        self.at += 1;
        self.output.push(expected);
        Ok(())
    }

    fn component(&mut self, depth: usize) -> Result<(), FilterError> {
        if depth > MAX_DEPTH {
            return Err(self.error(format!("it is nested deeper than {MAX_DEPTH} levels")));
        }
        self.take('(', "a filter begins with \"(\"")?;
        self.blanks();
        match self.peek() {
            Some(operator @ ('&' | '|')) => self.list(operator, depth)?,
            Some('!') => {
                self.take('!', "")?;
                self.blanks();
                self.component(depth + 1)?;
                self.blanks();
            }
            _ => self.item()?,
        }
        self.take(')', "a closing parenthesis is missing here")
    }

    fn list(&mut self, operator: char, depth: usize) -> Result<(), FilterError> {
        self.take(operator, "")?;
        self.blanks();
        while self.peek() == Some('(') {
            self.component(depth + 1)?;
            self.blanks();
        }
        Ok(())
    }

    fn item(&mut self) -> Result<(), FilterError> {
        let start = self.at;
        while self.peek().is_some_and(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | ';' | '.' | ':' | '_')) {
            self.at += 1;
        }
        let name: String = self.characters[start..self.at].iter().collect();
        if name.is_empty() {
            return Err(self.error("the name of an attribute is missing"));
        }
        if name.contains('_') {
            self.at = start;
            return Err(self.error(format!("\"{name}\" is not an attribute name: it has an underscore")));
        }
        self.output.push_str(&name);
        // An extensible match may leave it to the rule (RFC 4515, 3).
        let attribute = name.split([':', ';']).next().filter(|attribute| !attribute.is_empty());
        self.attributes.extend(attribute.map(str::to_owned));
        self.blanks();
        match self.peek() {
            Some(sign @ ('>' | '<' | '~')) => {
                self.take(sign, "")?;
                self.take('=', "\"=\" must follow here")?;
            }
            _ => self.take('=', "\"=\" is missing after the attribute's name")?,
        }
        self.value()
    }

    fn value(&mut self) -> Result<(), FilterError> {
        loop {
            match self.peek() {
                None => return Err(self.error("a closing parenthesis is missing here")),
                Some(')') => return Ok(()),
                Some('(') => return Err(self.error("\"(\" within a value is written \\28")),
                Some('\0') => return Err(self.error("a NUL within a value is written \\00")),
                Some('*') if self.characters.get(self.at + 1) == Some(&'*') => {
                    return Err(self.error("two asterisks in a row"));
                }
                Some('\\') => self.escape()?,
                Some(character) => {
                    self.output.push(character);
                    self.at += 1;
                }
            }
        }
    }

    fn escape(&mut self) -> Result<(), FilterError> {
        let digits = self.characters.get(self.at + 1..self.at + 3).unwrap_or_default();
        if digits.len() != 2 || !digits.iter().all(char::is_ascii_hexdigit) {
            return Err(self.error("a backslash is followed by two hexadecimal digits; a backslash itself is \\5c"));
        }
        self.output.push('\\');
        self.output.extend(digits);
        self.at += 3;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use ldap3::asn1::{ASNTag, PL};
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(filter: &str, expected: Result<&str, usize>) {
        let actual = normalise(filter);
        match expected {
            Ok(text) => assert_eq!(actual.as_deref(), Ok(text), "{filter}"),
            Err(position) => assert_eq!(actual.map_err(|e| e.position), Err(position), "{filter}"),
        }
    }

    #[test]
    fn filters_are_checked_with_the_position_of_the_fault() {
        check("(cn=a)", Ok("(cn=a)"));
        check(" ( & (objectClass=user)\n  ( ! (cn=b c) ) ) ", Ok("(&(objectClass=user)(!(cn=b c)))"));
        check("(cn=Ж*\\2a)", Ok("(cn=Ж*\\2a)"));
        check("(userAccountControl:1.2.840.113556.1.4.803:=2)", Ok("(userAccountControl:1.2.840.113556.1.4.803:=2)"));
        check("(|(a>=1)(b<=2)(c~=d)(ou:dn:=x))", Ok("(|(a>=1)(b<=2)(c~=d)(ou:dn:=x))"));
        check("(&)", Ok("(&)"));
        check("", Err(1));
        check("cn=a", Err(1));
        check("(cn=a", Err(6));
        check("(cn=a))", Err(7));
        check("(&(cn=a)", Err(9));
        check("(cn)", Err(4));
        check("(=a)", Err(2));
        check("(cn=\\zz)", Err(5));
        check("(cn=a(b)", Err(6));
        check("(cn=a**)", Err(6));
        check("(Имя=a)", Err(2));
        check(&"(!".repeat(40), Err(67));
        check("(my_attribute=a)", Err(2));
    }

    #[test]
    fn the_attributes_of_a_filter_are_known() {
        let filter = "(&(cn=a)(!(mail;lang-en=*))(|(memberOf:1.2.3:=x)(:1.2.3:=y)(uid>=1)))";
        assert_eq!(attributes(filter), ["cn", "mail", "memberOf", "uid"]);
        assert_eq!(attributes("(cn=a"), [""; 0]);
    }

    #[test]
    fn an_endless_filter_is_refused() {
        assert!(normalise(&format!("(cn={})", "a".repeat(MAX_LENGTH))).is_err());
    }

    #[test]
    fn filters_are_joined() {
        assert_eq!(and(["(a=1)", "(b=2)"]), "(&(a=1)(b=2))");
        assert_eq!(or(["(a=1)"]), "(a=1)");
        assert_eq!(equals_bytes("objectGUID", &[0, 0x2a, 0xff]), "(objectGUID=\\00\\2a\\ff)");
    }

    /// The attribute and value of an encoded equality filter.
    fn encoded(filter: &str) -> Option<(Vec<u8>, Vec<u8>)> {
        let PL::C(parts) = ldap3::parse_filter(filter).ok()?.into_structure().payload else { return None };
        let mut parts = parts.into_iter().filter_map(|part| part.expect_primitive());
        Some((parts.next()?, parts.next()?))
    }

    proptest! {
        #[test]
        fn escaping_survives_the_round_trip(value in any::<String>(), bytes in any::<Vec<u8>>()) {
            let filter = equals("cn", &value);
            prop_assert_eq!(normalise(&filter), Ok(filter.clone()));
            prop_assert_eq!(encoded(&filter), Some((b"cn".to_vec(), value.into_bytes())));
            prop_assert_eq!(encoded(&equals_bytes("id", &bytes)), Some((b"id".to_vec(), bytes)));
        }

        #[test]
        fn no_text_makes_the_check_panic(text in "[()&|!=*\\\\a-f0-9 <>~:;.]{0,60}") {
            if let Ok(filter) = normalise(&text) {
                prop_assert_eq!(normalise(&filter), Ok(filter.clone()));
            }
        }
    }
}
