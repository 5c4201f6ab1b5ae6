//! Distinguished names as text (RFC 4514): checked for plausibility and joined, never interpreted further.

/// Splits at `separator` where it is neither escaped nor quoted.
fn split(text: &str, separator: &[char]) -> Vec<String> {
    let mut parts = vec![String::new()];
    let (mut escaped, mut quoted) = (false, false);
    for character in text.chars() {
        if !escaped && !quoted && separator.contains(&character) {
            parts.push(String::new());
            continue;
        }
        if !escaped && character == '"' {
            quoted = !quoted;
        }
        escaped = !escaped && character == '\\';
        if let Some(last) = parts.last_mut() {
            last.push(character);
        }
    }
    parts
}

/// Type and value of each RDN of `dn`, or a sentence that says what is wrong with it.
fn components(dn: &str) -> Result<Vec<(String, String)>, String> {
    split(dn, &[',', ';'])
        .iter()
        .map(|rdn| {
            let rdn = rdn.trim();
            let (kind, value) = rdn
                .split_once('=')
                .ok_or_else(|| format!("\"{rdn}\" has no \"=\"; a DN looks like ou=Staff,dc=example,dc=com"))?;
            let kind = kind.trim();
            let plausible = kind.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '.');
            if kind.is_empty() || !plausible {
                return Err(format!("\"{kind}\" is not an attribute name; a DN looks like ou=Staff,dc=example,dc=com"));
            }
            if value.trim().is_empty() {
                return Err(format!("\"{rdn}\" has no value after \"=\""));
            }
            Ok((kind.to_ascii_lowercase(), value.trim().to_lowercase()))
        })
        .collect()
}

/// Says what is wrong with `dn`, if anything.
pub(crate) fn check(dn: &str) -> Result<(), String> {
    components(dn).map(|_| ())
}

/// Whether `dn` stands in or below `base`, compared without regard to case and to blanks around separators.
fn is_below(dn: &[(String, String)], base: &[(String, String)]) -> bool {
    !base.is_empty() && dn.ends_with(base)
}

/// A name for comparing: the components in lower case, the last one first, so that what stands below something sorts
/// after it.
pub(crate) fn key(dn: &str) -> String {
    let Ok(parts) = components(dn) else { return dn.to_lowercase() };
    let parts: Vec<String> = parts.into_iter().rev().map(|(kind, value)| format!("{kind}={value}")).collect();
    // Below every character a value may have, so that a unit's own children follow it before any other unit does.
    parts.join("\u{1}")
}

/// What an entry stands in; empty at the top.
pub(crate) fn parent(dn: &str) -> String {
    let parts = split(dn, &[',', ';']);
    parts[1..].iter().map(|part| part.trim()).collect::<Vec<_>>().join(",")
}

/// The value of the first component, without its escapes (RFC 4514, 3); for reading only.
pub(crate) fn first_value(dn: &str) -> String {
    let first = split(dn, &[',', ';']).swap_remove(0);
    let value = first.split_once('=').map_or(first.as_str(), |(_, value)| value).trim();
    unescape(value)
}

fn hex_byte(digits: &[u8]) -> Option<u8> {
    let plain = digits.iter().all(u8::is_ascii_hexdigit);
    std::str::from_utf8(digits).ok().filter(|_| plain).and_then(|text| u8::from_str_radix(text, 16).ok())
}

/// Takes back the escapes of RFC 4514, 2.4: a backslash before two hexadecimal digits or before the character itself.
fn unescape(value: &str) -> String {
    let mut rest = value.as_bytes();
    let mut plain = Vec::new();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'\\' {
            plain.push(*first);
        } else if let Some(byte) = rest.get(..2).and_then(hex_byte) {
            plain.push(byte);
            rest = &rest[2..];
        } else if let [escaped, after @ ..] = rest {
            plain.push(*escaped);
            rest = after;
        }
    }
    String::from_utf8_lossy(&plain).into_owned()
}

/// The longest of `contexts` that `dn` stands in or below; `dn` itself where there is none.
pub(crate) fn context_of(dn: &str, contexts: &[String]) -> String {
    let Ok(parts) = components(dn) else { return dn.to_owned() };
    let holds = |context: &&String| components(context).is_ok_and(|context| is_below(&parts, &context));
    contexts.iter().filter(holds).max_by_key(|context| context.len()).cloned().unwrap_or_else(|| dn.to_owned())
}

/// Escapes one attribute value for use in a DN.
fn escape(value: &str) -> String {
    ldap3::dn_escape(value).into_owned()
}

/// Where people are searched for. `unit` may be empty (then it is `base`), a bare name (`Staff` is `ou=Staff` below
/// the base), a DN relative to the base (`ou=A,ou=B`), or a full DN: one that ends in the base, or whose last component
/// is of the same kind as the base's (`dc=...`).
pub(crate) fn search_base(base: &str, unit: &str) -> String {
    let (base, unit) = (base.trim(), unit.trim());
    if unit.is_empty() {
        return base.to_owned();
    }
    if base.is_empty() {
        return unit.to_owned();
    }
    if !unit.contains('=') {
        return format!("ou={},{base}", escape(unit));
    }
    let (Ok(unit_parts), Ok(base_parts)) = (components(unit), components(base)) else {
        return format!("{unit},{base}");
    };
    let same_root = unit_parts.last().map(|(kind, _)| kind) == base_parts.last().map(|(kind, _)| kind);
    let root_is_domain = base_parts.last().is_some_and(|(kind, _)| matches!(kind.as_str(), "dc" | "o" | "c"));
    if is_below(&unit_parts, &base_parts) || (same_root && root_is_domain) {
        return unit.to_owned();
    }
    format!("{unit},{base}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_directory_is_found_from_a_part_of_it() {
        let contexts = ["cn=config", "dc=example,dc=test", "ou=Own,dc=example,dc=test"].map(str::to_owned);
        assert_eq!(context_of("OU=Staff, DC=Example,dc=test", &contexts), "dc=example,dc=test");
        assert_eq!(context_of("ou=A,ou=Own,dc=example,dc=test", &contexts), "ou=Own,dc=example,dc=test");
        assert_eq!(context_of("dc=other", &contexts), "dc=other");
    }

    #[track_caller]
    fn check_base(unit: &str, expected: &str) {
        assert_eq!(search_base("dc=example,dc=test", unit), expected);
    }

    #[test]
    fn the_unit_may_be_a_name_a_relative_or_a_full_dn() {
        check_base("", "dc=example,dc=test");
        check_base("Staff", "ou=Staff,dc=example,dc=test");
        check_base("R&D, Berlin", "ou=R&D\\2c Berlin,dc=example,dc=test");
        check_base("ou=a,ou=b", "ou=a,ou=b,dc=example,dc=test");
        check_base("OU=Staff, DC=Example, DC=Test", "OU=Staff, DC=Example, DC=Test");
        check_base("ou=x,dc=other,dc=org", "ou=x,dc=other,dc=org");
        check_base("o=one", "o=one,dc=example,dc=test");
        assert_eq!(search_base("ou=all,ou=people", "ou=some"), "ou=some,ou=all,ou=people");
        assert_eq!(search_base("", "ou=some,dc=a"), "ou=some,dc=a");
    }

    #[test]
    fn units_are_taken_apart_and_compared() {
        assert_eq!(parent("cn=Smith\\, Ann, ou=Staff,dc=a"), "ou=Staff,dc=a");
        assert_eq!((parent("dc=a").as_str(), parent("").as_str()), ("", ""));
        assert_eq!(first_value("ou=R\\2cD\\+\\D0\\99 ,dc=a"), "R,D+Й");
        assert_eq!(
            (first_value("dc=a").as_str(), first_value("").as_str(), first_value("ou=\\").as_str()),
            ("a", "", "")
        );
        assert_eq!(key("OU=Staff, DC=A"), key("ou=staff,dc=a"));
        let mut units = ["ou=a b,dc=x", "ou=z,ou=a,dc=x", "ou=a,dc=x", "dc=x"].map(|dn| (key(dn), dn));
        units.sort();
        assert_eq!(units.map(|(_, dn)| dn), ["dc=x", "ou=a,dc=x", "ou=z,ou=a,dc=x", "ou=a b,dc=x"]);
    }

    #[test]
    fn implausible_names_are_explained() {
        assert!(check("dc=example,dc=test").is_ok());
        assert!(check("cn=Smith\\, Ann,dc=a").is_ok());
        assert!(check("cn=\"Smith, Ann\",dc=a").is_ok());
        assert!(check("example.com").is_err_and(|text| text.contains("has no \"=\"")));
        assert!(check("dc=example,,dc=test").is_err());
        assert!(check("dc=example,dc=").is_err_and(|text| text.contains("no value")));
        assert!(check("d c=example").is_err());
    }
}
