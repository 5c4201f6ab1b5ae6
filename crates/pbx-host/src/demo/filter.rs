//! Search filters (RFC 4511, section 4.5.1.7): a filter is true, false or undefined for an entry.

use rasn_ldap::{AttributeValueAssertion, Filter, SubstringChoice, SubstringFilter};

use super::ldif::Entry;
use super::schema::{self, Rule};

/// Whether `filter` is true for `entry`; `None` is "undefined", which is neither true nor, negated, true. Attributes that
/// `readable` denies are undefined.
pub(super) fn matches(filter: &Filter, entry: &Entry, readable: &dyn Fn(&str) -> bool) -> Option<bool> {
    match filter {
        Filter::And(parts) => all(parts.to_vec().into_iter().map(|part| matches(part, entry, readable))),
        Filter::Or(parts) => {
            all(parts.to_vec().into_iter().map(|part| not(matches(part, entry, readable)))).map(|result| !result)
        }
        Filter::Not(part) => not(matches(part, entry, readable)),
        Filter::Present(name) => known(name, readable).map(|kind| !entry.values(kind.name).is_empty()),
        // Without an approximate rule, approximate is equal (RFC 4511, section 4.5.1.7.6).
        Filter::EqualityMatch(assertion) | Filter::ApproxMatch(assertion) => equality(assertion, entry, readable),
        Filter::Substrings(pieces) => substrings(pieces, entry, readable),
        Filter::GreaterOrEqual(assertion) => ordering(assertion, entry, readable, |value, limit| value >= limit),
        Filter::LessOrEqual(assertion) => ordering(assertion, entry, readable, |value, limit| value <= limit),
        // No matching rule can be asked for by name here.
        _ => None,
    }
}

fn not(result: Option<bool>) -> Option<bool> {
    result.map(|result| !result)
}

/// False when a part is false, else undefined when a part is undefined, else true.
fn all(parts: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    let mut result = Some(true);
    for part in parts {
        match part {
            Some(false) => return Some(false),
            None => result = None,
            Some(true) => {}
        }
    }
    result
}

fn known(name: &str, readable: &dyn Fn(&str) -> bool) -> Option<&'static schema::AttributeType> {
    schema::attribute_type(name).filter(|kind| readable(kind.name))
}

fn equality(assertion: &AttributeValueAssertion, entry: &Entry, readable: &dyn Fn(&str) -> bool) -> Option<bool> {
    let kind = known(&assertion.attribute_desc, readable)?;
    let wanted = schema::normalised(kind.rule, &assertion.assertion_value)?;
    if kind.name == "objectClass" {
        let wanted = std::str::from_utf8(&wanted).ok().filter(|name| schema::is_class(name))?;
        return Some(schema::belongs_to(entry.values("objectClass"), wanted));
    }
    Some(normalised_values(entry, kind).any(|value| value == wanted))
}

fn ordering(
    assertion: &AttributeValueAssertion,
    entry: &Entry,
    readable: &dyn Fn(&str) -> bool,
    holds: fn(&[u8], &[u8]) -> bool,
) -> Option<bool> {
    let kind = known(&assertion.attribute_desc, readable).filter(|kind| schema::has_ordering(kind.rule))?;
    let limit = schema::normalised(kind.rule, &assertion.assertion_value)?;
    Some(normalised_values(entry, kind).any(|value| holds(&value, &limit)))
}

fn substrings(filter: &SubstringFilter, entry: &Entry, readable: &dyn Fn(&str) -> bool) -> Option<bool> {
    let kind = known(&filter.r#type, readable)?;
    let pieces = filter.substrings.iter().map(|piece| Piece::new(kind.rule, piece)).collect::<Option<Vec<_>>>()?;
    let fits = |value: Vec<u8>| std::str::from_utf8(&value).is_ok_and(|value| contains_in_order(value, &pieces));
    Some(normalised_values(entry, kind).any(fits))
}

fn normalised_values(entry: &Entry, kind: &'static schema::AttributeType) -> impl Iterator<Item = Vec<u8>> {
    entry.values(kind.name).iter().filter_map(|value| schema::normalised(kind.rule, value))
}

/// A piece of a substrings filter, normalised.
enum Piece {
    Initial(String),
    Any(String),
    Final(String),
}

impl Piece {
    fn new(rule: Rule, piece: &SubstringChoice) -> Option<Piece> {
        match piece {
            SubstringChoice::Initial(text) => schema::normalised_piece(rule, text).map(Piece::Initial),
            SubstringChoice::Any(text) => schema::normalised_piece(rule, text).map(Piece::Any),
            SubstringChoice::Final(text) => schema::normalised_piece(rule, text).map(Piece::Final),
            _ => None,
        }
    }
}

/// Whether the pieces stand in `value` in this order without overlapping.
fn contains_in_order(value: &str, pieces: &[Piece]) -> bool {
    let mut rest = value;
    for piece in pieces {
        let after = match piece {
            Piece::Initial(text) => rest.strip_prefix(text.as_str()),
            Piece::Any(text) => rest.find(text.as_str()).map(|at| &rest[at + text.len()..]),
            Piece::Final(text) => rest.ends_with(text.as_str()).then_some(""),
        };
        match after {
            Some(after) => rest = after,
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::ldif::parse_ldif;
    use rasn::types::SetOf;

    fn person() -> Entry {
        let text = "dn: uid=p,dc=x\nobjectClass: inetOrgPerson\ncn: Ёлкин Пётр\nsn: Ёлкин\ntelephoneNumber: +7 495 000-00-01\n\
                    mail: a@example.test\nuserPassword: secret\nentryCSN: 20261121010101.000001Z#000000#000#000000\n";
        parse_ldif(text).expect("LDIF").remove(0)
    }

    fn assertion(name: &str, value: &str) -> AttributeValueAssertion {
        AttributeValueAssertion::new(name.into(), value.as_bytes().to_vec().into())
    }

    fn eq(name: &str, value: &str) -> Filter {
        Filter::EqualityMatch(assertion(name, value))
    }

    fn like(name: &str, pieces: Vec<SubstringChoice>) -> Filter {
        Filter::Substrings(SubstringFilter::new(name.into(), pieces))
    }

    fn initial(text: &str) -> SubstringChoice {
        SubstringChoice::Initial(text.as_bytes().to_vec().into())
    }

    fn any(text: &str) -> SubstringChoice {
        SubstringChoice::Any(text.as_bytes().to_vec().into())
    }

    fn last(text: &str) -> SubstringChoice {
        SubstringChoice::Final(text.as_bytes().to_vec().into())
    }

    #[track_caller]
    fn check(filter: &Filter, expected: Option<bool>) {
        let readable = |name: &str| name != "userPassword";
        assert_eq!(matches(filter, &person(), &readable), expected, "{filter:?}");
    }

    #[test]
    fn simple_filters() {
        check(&eq("CN", "ёлкин пётр"), Some(true));
        check(&eq("cn", "Елкин Петр"), Some(false));
        check(&eq("objectClass", "person"), Some(true));
        check(&eq("objectClass", "organization"), Some(false));
        check(&eq("telephoneNumber", "+74950000001"), Some(true));
        check(&eq("mobile", "1"), Some(false));
        check(&Filter::Present("mail".into()), Some(true));
        check(&Filter::Present("mobile".into()), Some(false));
        check(&Filter::ApproxMatch(assertion("sn", "ёлкин")), Some(true));
    }

    #[test]
    fn undefined_stays_undefined_when_negated() {
        for undefined in [
            eq("nosuchattribute", "x"),
            eq("userPassword", "secret"),
            eq("jpegPhoto", "x"),
            eq("objectClass", "nosuchclass"),
            Filter::Present("nosuchattribute".into()),
            Filter::GreaterOrEqual(assertion("cn", "a")),
            like("entryCSN", vec![initial("2026")]),
        ] {
            check(&undefined, None);
            check(&Filter::Not(Box::new(undefined)), None);
        }
    }

    #[test]
    fn connectives_have_three_values() {
        let (yes, no, undefined) = (eq("sn", "Ёлкин"), eq("sn", "x"), eq("nosuchattribute", "x"));
        let and = |parts: &[&Filter]| Filter::And(SetOf::from_vec(parts.iter().copied().cloned().collect()));
        let or = |parts: &[&Filter]| Filter::Or(SetOf::from_vec(parts.iter().copied().cloned().collect()));
        check(&and(&[]), Some(true));
        check(&or(&[]), Some(false));
        check(&and(&[&yes, &undefined]), None);
        check(&and(&[&undefined, &no]), Some(false));
        check(&or(&[&undefined, &yes]), Some(true));
        check(&or(&[&no, &undefined]), None);
        check(&Filter::Not(Box::new(no)), Some(true));
    }

    #[test]
    fn substrings_in_order_without_overlap() {
        check(&like("cn", vec![initial("ЁЛ"), last("тр")]), Some(true));
        check(&like("cn", vec![initial("ёлкин "), any("п"), last("ётр")]), Some(true));
        check(&like("cn", vec![any("пётр"), any("ёлкин")]), Some(false));
        check(&like("cn", vec![initial("ёлкин пётр"), last("пётр")]), Some(false));
        check(&like("telephoneNumber", vec![any("5000-00")]), Some(true));
    }

    #[test]
    fn ordering_by_change_number() {
        let csn = |text: &str| assertion("entryCSN", text);
        check(&Filter::GreaterOrEqual(csn("20261121010101.000000Z#000000#000#000000")), Some(true));
        check(&Filter::LessOrEqual(csn("20261121010101.000000Z#000000#000#000000")), Some(false));
    }
}
