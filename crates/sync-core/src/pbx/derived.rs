//! Columns that MikoPBX computes from others (docs/MIKOPBX.md, Derived columns), and its record identifiers.

use std::sync::LazyLock;

use regex::Regex;

#[expect(clippy::unwrap_used, reason = "the pattern is a constant; a test uses it")]
static NOT_IN_CALLER_ID: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"[^\p{L}\p{N}\s+\-.@]").unwrap());

/// The caller id MikoPBX derives from a name: Cyrillic `Ё` and `ё` become Latin `E` and `e`, then everything but letters,
/// numbers, white space and `+ - . @` is dropped.
pub fn caller_id(name: &str) -> String {
    let name = name.replace('Ё', "E").replace('ё', "e");
    NOT_IN_CALLER_ID.replace_all(&name, "").into_owned()
}

/// `m_Extensions.search_index`, by which the PBX's list of employees is searched. `mobile` is empty for the row of the
/// internal number, so that its value ends with a space.
pub fn search_index(name: &str, email: &str, number: &str, mobile: &str) -> String {
    format!("{} {} {} {number} {mobile}", name.to_lowercase(), caller_id(name).to_lowercase(), email.to_lowercase())
}

/// A record identifier of MikoPBX's form, `PREFIX-` and 8 upper-case hex digits; `random` fills the bytes it is given.
pub fn unique_id(prefix: &str, random: &mut dyn FnMut(&mut [u8])) -> String {
    let mut bytes = [0; 4];
    random(&mut bytes);
    format!("{prefix}-{:08X}", u32::from_be_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caller_ids_are_those_of_mikopbx() {
        for (name, expected) in [
            ("Иванов Пётр Ёжик", "Иванов Пeтр Eжик"),
            ("Jane \"JJ\" O'Neil-Smith (Sales)", "Jane JJ ONeil-Smith Sales"),
            ("<b>Tom</b> & \"Q\" <t@x>", "bTomb  Q t@x"),
            ("名前 +1.5", "名前 +1.5"),
        ] {
            assert_eq!(caller_id(name), expected);
        }
    }

    #[test]
    fn search_indexes_are_those_of_mikopbx() {
        assert_eq!(
            search_index("Иванов Пётр Ёжик", "p.ivanov@example.com", "250", ""),
            "иванов пётр ёжик иванов пeтр eжик p.ivanov@example.com 250 "
        );
        assert_eq!(search_index("Mob Fwd", "", "252", "79990000001"), "mob fwd mob fwd  252 79990000001");
    }

    #[test]
    fn identifiers_are_eight_upper_case_hex_digits() {
        assert_eq!(
            unique_id("SIP-PHONE", &mut |bytes| bytes.copy_from_slice(&[0x0a, 0, 0xff, 1])),
            "SIP-PHONE-0A00FF01"
        );
    }
}
