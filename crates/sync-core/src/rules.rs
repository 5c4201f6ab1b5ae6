//! What MikoPBX accepts as a name, number, mobile and e-mail address (docs/MIKOPBX.md, What MikoPBX accepts). MikoPBX
//! repairs some values by itself; here they are refused, because a value must stand on the PBX as the plan shows it.
//! A value from the directory is brought into an accepted form, or found unusable, before it gets into a plan; the
//! writer of the PBX's database asks the same rules again.

use std::sync::LazyLock;

use regex::Regex;

/// Longest name MikoPBX stores, in characters.
pub const LONGEST_NAME: usize = 100;
/// Longest e-mail address MikoPBX stores, in characters.
pub const LONGEST_EMAIL: usize = 255;
/// What MikoPBX's input mask sends for an empty e-mail field.
const EMAIL_PLACEHOLDERS: [&str; 4] = ["_@_._", "@", "_@_", "___@___.___"];

/// Patterns that MikoPBX's text filter cuts out of a name or refuses the whole employee for.
#[expect(clippy::unwrap_used, reason = "the patterns are constants; a test uses each")]
static FORBIDDEN_IN_NAMES: LazyLock<Vec<(Regex, &'static str)>> = LazyLock::new(|| {
    [
        (
            r"(?i)<\s*/?\s*(script|iframe|object|embed|applet|meta|link|style|form)\b",
            "an HTML element that can run code",
        ),
        (r"(?i)(javascript|vbscript)\s*:|data\s*:\s*text/html", "a script address"),
        (r"(?i)\son\w+\s*=", "an HTML event handler"),
        (r"(?i)<\?(php|=)?|<%|<!--\s*#", "a server-side tag"),
        (
            r"(?is)\b(union\b.*\bselect|delete\b.*\bfrom|insert\b.*\binto|update\b.*\bset)\b",
            "words that look like an SQL statement",
        ),
    ]
    .map(|(pattern, what)| (Regex::new(pattern).unwrap(), what))
    .into()
});
#[expect(clippy::unwrap_used, reason = "the pattern is a constant; a test uses it")]
static EMAIL: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"(?x)^ [A-Za-z0-9!\#$%&'*+/=?^_`{|}~-]+ (\.[A-Za-z0-9!\#$%&'*+/=?^_`{|}~-]+)*
          @ ([A-Za-z0-9] ([A-Za-z0-9-]{0,61}[A-Za-z0-9])? \.)+ [A-Za-z0-9] ([A-Za-z0-9-]{0,61}[A-Za-z0-9])? $",
    )
    .unwrap()
});

/// A name: 1 to 100 characters, nothing MikoPBX's text filter would cut out or refuse.
pub fn check_name(name: &str) -> Result<(), String> {
    let length = name.chars().count();
    if name.trim().is_empty() {
        return Err("an employee of MikoPBX needs a name".to_owned());
    }
    if length > LONGEST_NAME {
        return Err(format!("the name has {length} characters, MikoPBX takes {LONGEST_NAME}"));
    }
    if name.trim() != name || name.contains('\0') {
        return Err(
            "the name begins or ends with white space or contains a NUL, which MikoPBX would cut away".to_owned()
        );
    }
    match FORBIDDEN_IN_NAMES.iter().find(|(pattern, _)| pattern.is_match(name)) {
        Some((_, what)) => Err(format!("MikoPBX does not accept the name: it contains {what}")),
        None => Ok(()),
    }
}

/// An internal number: 2 to 8 digits.
pub fn check_number(number: &str) -> Result<(), String> {
    if (2..=8).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(());
    }
    Err(format!("the internal number '{number}' is not 2 to 8 digits, as MikoPBX wants it"))
}

/// A mobile: 2 to 15 digits, the first not 0, a leading `+` allowed.
pub fn check_mobile(mobile: &str) -> Result<(), String> {
    let digits = mobile.strip_prefix('+').unwrap_or(mobile);
    let good = (2..=15).contains(&digits.len())
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && !digits.starts_with('0');
    if good {
        return Ok(());
    }
    Err(format!("the mobile number '{mobile}' is not 2 to 15 digits with the first not 0, as MikoPBX wants it"))
}

/// An e-mail address PHP's FILTER_VALIDATE_EMAIL accepts. Quoted local parts and addresses with an IP literal, which it
/// accepts too, are refused.
pub fn check_email(email: &str) -> Result<(), String> {
    let local = email.split('@').next().unwrap_or_default();
    let good = email.len() <= LONGEST_EMAIL
        && local.len() <= 64
        && !EMAIL_PLACEHOLDERS.contains(&email)
        && EMAIL.is_match(email);
    if good {
        return Ok(());
    }
    Err(format!("MikoPBX does not accept the e-mail address '{email}'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(rule: fn(&str) -> Result<(), String>, accepted: &[&str], refused: &[&str]) {
        for value in accepted {
            assert_eq!(rule(value), Ok(()), "{value}");
        }
        for value in refused {
            assert!(rule(value).is_err(), "{value}");
        }
    }

    #[test]
    fn names() {
        check(
            check_name,
            &[
                "Иванов Пётр Ёжик",
                "Jane \"JJ\" O'Neil-Smith (Sales)",
                "<b>Tom</b> & \"Q\" <t@x>",
                "Ron Set",
                "Union Jack",
                "Updated Settings",
            ],
            &[
                "",
                "  ",
                " Ann",
                "Ann ",
                "A\0nn",
                "<script>alert(1)</script>",
                "< iframe src=x>",
                "<form action=x>",
                "JavaScript:alert(1)",
                "data:text/html,x",
                "x onclick=alert(1)",
                "<?php x",
                "<!--#exec",
                "a UNION b Select c",
                "delete me from here",
                "insert\ninto",
                "update a set b",
                &"x".repeat(101),
            ],
        );
        assert_eq!(check_name(&"я".repeat(100)), Ok(()));
    }

    #[test]
    fn numbers() {
        check(check_number, &["20", "201", "12345678"], &["", "2", "123456789", "2a1", "+201", "２０１"]);
    }

    #[test]
    fn mobiles() {
        check(
            check_mobile,
            &["79991234567", "+79991234567", "12", "123456789012345"],
            &["", "1", "0123", "1234567890123456", "+", "7999 123", "++7999"],
        );
    }

    #[test]
    fn emails() {
        check(
            check_email,
            &["p.ivanov@example.com", "a+b@x-y.museum", "O'Neil@sub.example.org"],
            &[
                "",
                "@",
                "_@_._",
                "___@___.___",
                "ann",
                "ann@localhost",
                "a b@x.y",
                "a@-x.y",
                "a..b@x.y",
                "имя@x.y",
                &format!("{}@x.y", "a".repeat(65)),
            ],
        );
    }
}
