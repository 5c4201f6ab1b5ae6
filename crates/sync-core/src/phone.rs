//! Telephone numbers: which spellings mean the same, and which form the PBX stores.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{LazyLock, Mutex, PoisonError};

use phonenumber::country::Id as Region;

use crate::rules::check_mobile;

/// Longest text that is looked at as a telephone number, in characters.
const LONGEST: usize = 64;
/// Numbers of a region whose reading is remembered; then all of them are forgotten.
const MOST_KNOWN: usize = 400_000;

/// How numbers were read. Reading one takes longer than everything else a plan does for somebody, and directories hold the
/// same ones day after day.
static READ: LazyLock<Mutex<HashMap<Option<Region>, Numbers>>> = LazyLock::new(Mutex::default);

/// Texts and the numbers they mean.
type Numbers = HashMap<String, Option<String>>;

/// How numbers written without a country code are read.
#[derive(Clone, Copy, Debug, Default)]
pub struct PhoneRules {
    region: Option<Region>,
}

impl PhoneRules {
    /// Rules for a region (ISO 3166-1 alpha-2); an empty or unknown one means that only numbers with a country code are
    /// understood in full.
    pub fn new(region: &str) -> PhoneRules {
        PhoneRules { region: parse_region(region) }
    }

    /// The region that goes with a `PBXLanguage`: `ru-ru` is RU; other languages do not tell a country.
    pub fn region_of_language(language: &str) -> &'static str {
        if language.eq_ignore_ascii_case("ru-ru") { "RU" } else { "" }
    }

    /// Whether `region` is one that [`PhoneRules::new`] understands.
    pub fn knows_region(region: &str) -> bool {
        parse_region(region).is_some()
    }

    /// The E.164 digits (country code first, no `+`), when the text is a valid number of the region or has a country
    /// code (ITU-T E.164). An extension behind the number is not part of it.
    pub fn e164(&self, text: &str) -> Option<String> {
        self.parse(&international(text))
    }

    /// The mobile number in the form MikoPBX stores it: digits without `+`, 2 to 15 of them, the first not 0
    /// (docs/MIKOPBX.md, Employees). A number that E.164 does not know but that fits this form is kept as it is.
    pub fn mobile(&self, text: &str) -> Option<String> {
        let mut known = READ.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(digits) = known.get(&self.region).and_then(|numbers| numbers.get(text)) {
            return digits.clone();
        }
        let digits = self.read(text);
        let numbers = known.entry(self.region).or_default();
        if numbers.len() >= MOST_KNOWN {
            numbers.clear();
        }
        numbers.insert(text.to_owned(), digits.clone());
        digits
    }

    fn read(&self, text: &str) -> Option<String> {
        let text = international(text);
        if let Some(digits) = self.parse(&text) {
            return Some(digits);
        }
        let plain = text.strip_prefix("tel:").unwrap_or(&text);
        if !plain.chars().all(|c| c.is_ascii_digit() || " +-.()/\u{a0}".contains(c)) {
            return None;
        }
        let digits: String = plain.chars().filter(char::is_ascii_digit).collect();
        fits_pbx(&digits).then_some(digits)
    }

    fn parse(&self, text: &str) -> Option<String> {
        if text.is_empty() || text.chars().count() > LONGEST || !text.chars().any(|c| c.is_ascii_digit()) {
            return None;
        }
        // The parser is somebody else's code and the text anybody's: a panic in it is "not a number".
        let parsed = catch_unwind(AssertUnwindSafe(|| phonenumber::parse(self.region, text).ok())).ok().flatten()?;
        if !catch_unwind(AssertUnwindSafe(|| parsed.is_valid())).unwrap_or(false) {
            return None;
        }
        let formatted = parsed.format().mode(phonenumber::Mode::E164).to_string();
        let digits: String = formatted.chars().filter(char::is_ascii_digit).collect();
        fits_pbx(&digits).then_some(digits)
    }

    /// A key that is equal for spellings of the same number.
    pub fn comparable(&self, text: &str) -> String {
        self.mobile(text).unwrap_or_else(|| text.trim().to_owned())
    }
}

/// Reads the rules of all countries, which the first number would otherwise wait for: a quarter of a second.
pub fn prepare() {
    let _: &phonenumber::metadata::Database = &phonenumber::metadata::DATABASE;
}

/// The text with `+` for the international prefix `00` that ITU-T E.164 recommends (a region's own rules may not know
/// it), and without the trunk prefix of `+44 (0)7700 …`, which is only dialled inside the country (ITU-T E.123).
fn international(text: &str) -> String {
    let text = text.trim();
    match text.strip_prefix('+').or(text.strip_prefix("00")) {
        Some(rest) => format!("+{}", rest.replacen("(0)", "", 1)),
        None => text.to_owned(),
    }
}

/// MikoPBX's rule for a mobile, without the `+`.
fn fits_pbx(digits: &str) -> bool {
    check_mobile(digits).is_ok()
}

fn parse_region(region: &str) -> Option<Region> {
    let region = region.trim().to_ascii_uppercase();
    (region.len() == 2).then(|| region.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(region: &str, text: &str, mobile: Option<&str>) {
        assert_eq!(PhoneRules::new(region).mobile(text).as_deref(), mobile, "{text:?} in {region:?}");
    }

    #[test]
    fn spellings_of_one_number() {
        for text in [
            "+7 903 123-45-67",
            "8 (903) 123-45-67",
            "79031234567",
            "(903) 1234567",
            "tel:+79031234567",
            "8-903-123-4567",
            "+7 903 123-45-67 ext. 12",
        ] {
            check("RU", text, Some("79031234567"));
        }
        check("", "+44 7700 900123", Some("447700900123"));
        check("DE", "+44 7700 900123", Some("447700900123"));
        check("", "+44 (0)7700 900123", Some("447700900123"));
        check("", "0049 171 3920004", Some("491713920004"));
        check("RU", "0049 171 3920004", Some("491713920004"));
    }

    #[test]
    fn without_a_region_digits_are_kept() {
        check("", "89031234567", Some("89031234567"));
        check("", "8 (903) 123-45-67", Some("89031234567"));
    }

    #[test]
    fn what_the_pbx_refuses_is_no_number() {
        for text in ["", "-", "call me", "0123", "8903, 8916", "1", "1234567890123456", "89031234567 / 89161234567"] {
            check("RU", text, None);
        }
    }

    #[test]
    fn only_russian_tells_a_country() {
        assert_eq!(PhoneRules::region_of_language("ru-ru"), "RU");
        assert_eq!(PhoneRules::region_of_language("en-en"), "");
        assert_eq!(PhoneRules::region_of_language("sv-sv"), "");
    }

    proptest! {
        #[test]
        fn any_text_gives_a_storable_number_or_none(text in "\\PC{0,80}") {
            for region in ["", "RU", "US"] {
                if let Some(mobile) = PhoneRules::new(region).mobile(&text) {
                    prop_assert!(fits_pbx(&mobile) && mobile.bytes().all(|b| b.is_ascii_digit()));
                }
            }
        }

        #[test]
        fn the_stored_form_means_itself(number in "79[0-9]{9}") {
            let rules = PhoneRules::new("RU");
            let stored = rules.mobile(&number).unwrap_or_default();
            prop_assert_eq!(rules.comparable(&stored), rules.comparable(&number));
        }
    }
}
