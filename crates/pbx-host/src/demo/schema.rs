//! The part of the LDAP schema the demo's entries need (RFC 4519, RFC 2798, RFC 4512, RFC 4530): how each attribute is
//! compared and which attributes an object class allows.

use super::dn::Dn;

/// How the values of an attribute are compared (RFC 4517, section 4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// caseIgnoreMatch with substrings.
    Text,
    /// caseIgnoreIA5Match with substrings.
    Ia5,
    /// caseExactMatch with substrings.
    Exact,
    /// telephoneNumberMatch with substrings: spaces and hyphens do not count.
    Telephone,
    /// distinguishedNameMatch.
    Name,
    /// objectIdentifierMatch: here always the name of an object class, or a dotted number.
    Identifier,
    /// octetStringMatch.
    Octets,
    /// booleanMatch, integerMatch: values in one spelling only.
    Plain,
    /// UUIDMatch and UUIDOrderingMatch (RFC 4530).
    Uuid,
    /// generalizedTimeMatch and its ordering, OpenLDAP's CSNMatch and its ordering: text in a sortable form.
    Ordered,
    /// No equality rule: JPEG and fax syntaxes.
    None,
}

/// Who may set an attribute and when it is returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Usage {
    /// A user attribute.
    User,
    /// Kept by the server; returned when asked for by name or by `+` (RFC 3673).
    Operational,
}

/// An attribute type.
#[derive(Debug)]
pub(super) struct AttributeType {
    /// The name it is returned under.
    pub(super) name: &'static str,
    /// Its other names.
    aliases: &'static [&'static str],
    /// How values compare.
    pub(super) rule: Rule,
    /// SINGLE-VALUE.
    pub(super) single: bool,
    /// User or operational.
    pub(super) usage: Usage,
}

const fn many(name: &'static str, aliases: &'static [&'static str], rule: Rule) -> AttributeType {
    AttributeType { name, aliases, rule, single: false, usage: Usage::User }
}

const fn single(name: &'static str, aliases: &'static [&'static str], rule: Rule) -> AttributeType {
    AttributeType { name, aliases, rule, single: true, usage: Usage::User }
}

const fn server(name: &'static str, rule: Rule) -> AttributeType {
    AttributeType { name, aliases: &[], rule, single: true, usage: Usage::Operational }
}

static ATTRIBUTES: &[AttributeType] = &[
    many("objectClass", &[], Rule::Identifier),
    many("cn", &["commonName"], Rule::Text),
    many("sn", &["surname"], Rule::Text),
    many("givenName", &["gn"], Rule::Text),
    many("initials", &[], Rule::Text),
    single("displayName", &[], Rule::Text),
    many("title", &[], Rule::Text),
    many("description", &[], Rule::Text),
    many("uid", &["userid"], Rule::Text),
    many("o", &["organizationName"], Rule::Text),
    many("ou", &["organizationalUnitName"], Rule::Text),
    single("dc", &["domainComponent"], Rule::Ia5),
    many("l", &["localityName"], Rule::Text),
    many("st", &["stateOrProvinceName"], Rule::Text),
    many("street", &["streetAddress"], Rule::Text),
    many("postalCode", &[], Rule::Text),
    many("postalAddress", &[], Rule::Text),
    many("physicalDeliveryOfficeName", &[], Rule::Text),
    many("businessCategory", &[], Rule::Text),
    many("carLicense", &[], Rule::Text),
    many("departmentNumber", &[], Rule::Text),
    single("employeeNumber", &[], Rule::Text),
    many("employeeType", &[], Rule::Text),
    many("roomNumber", &[], Rule::Text),
    single("preferredLanguage", &[], Rule::Text),
    many("labeledURI", &[], Rule::Exact),
    many("mail", &["rfc822Mailbox"], Rule::Ia5),
    many("telephoneNumber", &[], Rule::Telephone),
    many("mobile", &["mobileTelephoneNumber"], Rule::Telephone),
    many("homePhone", &["homeTelephoneNumber"], Rule::Telephone),
    many("pager", &["pagerTelephoneNumber"], Rule::Telephone),
    many("facsimileTelephoneNumber", &["fax"], Rule::None),
    many("manager", &[], Rule::Name),
    many("secretary", &[], Rule::Name),
    many("seeAlso", &[], Rule::Name),
    many("jpegPhoto", &[], Rule::None),
    many("userPassword", &[], Rule::Octets),
    server("structuralObjectClass", Rule::Identifier),
    server("entryUUID", Rule::Uuid),
    server("entryCSN", Rule::Ordered),
    server("createTimestamp", Rule::Ordered),
    server("modifyTimestamp", Rule::Ordered),
    server("creatorsName", Rule::Name),
    server("modifiersName", Rule::Name),
    server("entryDN", Rule::Name),
    server("hasSubordinates", Rule::Plain),
    server("namingContexts", Rule::Name),
    server("supportedControl", Rule::Identifier),
    server("supportedExtension", Rule::Identifier),
    server("supportedFeatures", Rule::Identifier),
    server("supportedLDAPVersion", Rule::Plain),
    server("vendorName", Rule::Exact),
    server("vendorVersion", Rule::Exact),
];

/// An object class: what an entry of it must and may have beyond its superior class.
struct ObjectClass {
    name: &'static str,
    superior: &'static str,
    structural: bool,
    must: &'static [&'static str],
    may: &'static [&'static str],
}

static CLASSES: &[ObjectClass] = &[
    ObjectClass { name: "top", superior: "", structural: false, must: &["objectClass"], may: &[] },
    ObjectClass { name: "dcObject", superior: "top", structural: false, must: &["dc"], may: &[] },
    ObjectClass { name: "simpleSecurityObject", superior: "top", structural: false, must: &["userPassword"], may: &[] },
    ObjectClass {
        name: "applicationProcess",
        superior: "top",
        structural: true,
        must: &["cn"],
        may: &["seeAlso", "ou", "l", "description"],
    },
    ObjectClass {
        name: "organization",
        superior: "top",
        structural: true,
        must: &["o"],
        may: &[
            "userPassword",
            "seeAlso",
            "businessCategory",
            "telephoneNumber",
            "facsimileTelephoneNumber",
            "street",
            "postalCode",
            "postalAddress",
            "physicalDeliveryOfficeName",
            "st",
            "l",
            "description",
        ],
    },
    ObjectClass {
        name: "organizationalUnit",
        superior: "top",
        structural: true,
        must: &["ou"],
        may: &[
            "userPassword",
            "seeAlso",
            "businessCategory",
            "telephoneNumber",
            "facsimileTelephoneNumber",
            "street",
            "postalCode",
            "postalAddress",
            "physicalDeliveryOfficeName",
            "st",
            "l",
            "description",
        ],
    },
    ObjectClass {
        name: "person",
        superior: "top",
        structural: true,
        must: &["sn", "cn"],
        may: &["userPassword", "telephoneNumber", "seeAlso", "description"],
    },
    ObjectClass {
        name: "organizationalPerson",
        superior: "person",
        structural: true,
        must: &[],
        may: &[
            "title",
            "facsimileTelephoneNumber",
            "street",
            "postalCode",
            "postalAddress",
            "physicalDeliveryOfficeName",
            "ou",
            "st",
            "l",
        ],
    },
    ObjectClass {
        name: "inetOrgPerson",
        superior: "organizationalPerson",
        structural: true,
        must: &[],
        may: &[
            "businessCategory",
            "carLicense",
            "departmentNumber",
            "displayName",
            "employeeNumber",
            "employeeType",
            "givenName",
            "homePhone",
            "initials",
            "jpegPhoto",
            "labeledURI",
            "mail",
            "manager",
            "mobile",
            "o",
            "pager",
            "roomNumber",
            "secretary",
            "uid",
            "preferredLanguage",
        ],
    },
];

/// The attribute type called `name`, whatever the case.
pub(super) fn attribute_type(name: &str) -> Option<&'static AttributeType> {
    let named = |candidate: &&str| candidate.eq_ignore_ascii_case(name);
    ATTRIBUTES.iter().find(|kind| named(&kind.name) || kind.aliases.iter().any(named))
}

/// The value in the form in which equal values are equal bytes; `None` when the rule has no equality, or the value is
/// none of the attribute's syntax.
pub(super) fn normalised(rule: Rule, value: &[u8]) -> Option<Vec<u8>> {
    match rule {
        Rule::Octets => Some(value.to_vec()),
        Rule::None => None,
        Rule::Name => Dn::parse(std::str::from_utf8(value).ok()?).ok().map(|dn| dn.to_string().into_bytes()),
        Rule::Uuid => {
            std::str::from_utf8(value).ok().filter(|text| is_uuid(text)).map(|text| text.to_lowercase().into())
        }
        Rule::Exact => Some(collapse(std::str::from_utf8(value).ok()?).trim().into()),
        Rule::Telephone => {
            let digits = without_separators(std::str::from_utf8(value).ok()?);
            Some(digits.into_bytes()).filter(|digits| !digits.is_empty())
        }
        Rule::Ia5 if !value.is_ascii() => None,
        Rule::Text | Rule::Ia5 | Rule::Identifier | Rule::Plain | Rule::Ordered => {
            Some(collapse(&std::str::from_utf8(value).ok()?.to_lowercase()).trim().into())
        }
    }
}

/// A piece of a substrings filter in the form of [`normalised`] values; `None` when the rule knows no substrings.
pub(super) fn normalised_piece(rule: Rule, piece: &[u8]) -> Option<String> {
    let piece = std::str::from_utf8(piece).ok()?;
    match rule {
        Rule::Text => Some(collapse(&piece.to_lowercase())),
        Rule::Ia5 => Some(collapse(&piece.to_lowercase())).filter(|piece| piece.is_ascii()),
        Rule::Exact => Some(collapse(piece)),
        Rule::Telephone => Some(without_separators(piece)),
        _ => None,
    }
}

/// Whether the rule can say which of two values is greater.
pub(super) fn has_ordering(rule: Rule) -> bool {
    matches!(rule, Rule::Uuid | Rule::Ordered)
}

/// Whether `value` is of the syntax of the attribute (RFC 4517, section 3.3).
pub(super) fn is_valid(kind: &AttributeType, value: &[u8]) -> bool {
    match kind.rule {
        Rule::Octets => true,
        Rule::Telephone => !value.is_empty() && value.iter().all(is_printable),
        Rule::Ia5 => value.is_ascii(),
        // OpenLDAP does not look into photos either.
        Rule::None if kind.name == "jpegPhoto" => true,
        Rule::None => !value.is_empty() && value.iter().all(is_printable),
        rule => !value.is_empty() && normalised(rule, value).is_some(),
    }
}

/// PrintableCharacter of RFC 4517, section 3.2.
fn is_printable(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"'()+,-./:? =".contains(byte)
}

fn is_uuid(text: &str) -> bool {
    let place =
        |(index, c): (usize, char)| if [8, 13, 18, 23].contains(&index) { c == '-' } else { c.is_ascii_hexdigit() };
    text.len() == 36 && text.chars().enumerate().all(place)
}

/// Runs of white space become one space.
fn collapse(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let c = if c.is_whitespace() { ' ' } else { c };
        if !(c == ' ' && out.ends_with(' ')) {
            out.push(c);
        }
    }
    out
}

fn without_separators(text: &str) -> String {
    text.to_lowercase().chars().filter(|c| !matches!(c, ' ' | '-')).collect()
}

fn class(name: &str) -> Option<&'static ObjectClass> {
    CLASSES.iter().find(|class| class.name.eq_ignore_ascii_case(name))
}

/// The class called `name` and its superiors, the class itself first.
fn with_superiors(name: &str) -> impl Iterator<Item = &'static ObjectClass> {
    std::iter::successors(class(name), |current| class(current.superior))
}

/// Whether an entry whose objectClass values are `classes` belongs to `wanted`, by name or through a superior.
pub(super) fn belongs_to(classes: &[Vec<u8>], wanted: &str) -> bool {
    let names = classes.iter().filter_map(|value| std::str::from_utf8(value).ok());
    names.into_iter().any(|name| with_superiors(name).any(|class| class.name.eq_ignore_ascii_case(wanted)))
}

/// Whether there is an object class of that name.
pub(super) fn is_class(name: &str) -> bool {
    class(name).is_some()
}

/// The most derived structural class of the entry.
pub(super) fn structural_class(classes: &[Vec<u8>]) -> Option<&'static str> {
    let names = classes.iter().filter_map(|value| std::str::from_utf8(value).ok());
    let structural = names.filter_map(class).filter(|class| class.structural);
    structural.max_by_key(|class| with_superiors(class.name).count()).map(|class| class.name)
}

/// What keeps a set of user attributes from being an entry of these classes, or `None` when nothing does.
pub(super) fn violation(classes: &[Vec<u8>], present: &[&str]) -> Option<String> {
    let names = classes.iter().filter_map(|value| std::str::from_utf8(value).ok());
    let classes: Vec<&ObjectClass> = names.flat_map(with_superiors).collect();
    let has = |name: &str| present.iter().any(|candidate| candidate.eq_ignore_ascii_case(name));
    for class in &classes {
        if let Some(missing) = class.must.iter().find(|name| !has(name)) {
            return Some(format!("object class '{}' requires attribute '{missing}'", class.name));
        }
    }
    let allowed = |name: &&&str| {
        classes.iter().any(|class| class.must.iter().chain(class.may).any(|a| a.eq_ignore_ascii_case(name)))
    };
    let stranger = present.iter().find(|name| !allowed(name));
    stranger.map(|name| format!("attribute '{name}' not allowed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn equal(name: &str, left: &str, right: &str) -> bool {
        let rule = attribute_type(name).expect(name).rule;
        let (left, right) = (normalised(rule, left.as_bytes()), normalised(rule, right.as_bytes()));
        left.is_some() && left == right
    }

    #[test]
    fn values_are_compared_by_their_rule() {
        assert!(equal("cn", "Ёлкин  Пётр", " ёлкин пётр "));
        assert!(equal("surname", "O'Brien", "o'BRIEN"));
        assert!(!equal("cn", "Ёлкин", "Елкин"));
        assert!(equal("telephoneNumber", "+7 495 000-00-01", "+74950000001"));
        assert!(!equal("telephoneNumber", "+7495", "7495"));
        assert!(equal("mail", "A.B@example.test", "a.b@EXAMPLE.test"));
        assert!(!equal("mail", "ä@example.test", "ä@example.test"));
        assert!(!equal("userPassword", "secret", "Secret"));
        assert!(equal("manager", "CN=A\\2cB , DC=x", "cn=a\\,b,dc=X"));
        assert!(equal("entryUUID", "9E2C6D0A-0000-4000-8000-000000000001", "9e2c6d0a-0000-4000-8000-000000000001"));
        assert!(!equal("entryUUID", "not a uuid", "not a uuid"));
        assert!(!equal("jpegPhoto", "x", "x"));
    }

    #[test]
    fn classes_know_their_superiors() {
        let classes = [b"inetOrgPerson".to_vec()];
        assert!(belongs_to(&classes, "PERSON"));
        assert!(!belongs_to(&classes, "organizationalUnit"));
        assert_eq!(
            structural_class(&[b"top".to_vec(), b"person".to_vec(), b"inetOrgPerson".to_vec()]),
            Some("inetOrgPerson")
        );
    }

    #[test]
    fn missing_and_foreign_attributes_are_named() {
        let person = [b"inetOrgPerson".to_vec()];
        assert_eq!(violation(&person, &["objectClass", "cn", "sn", "mobile"]), None);
        assert_eq!(
            violation(&person, &["objectClass", "cn"]).as_deref(),
            Some("object class 'person' requires attribute 'sn'")
        );
        assert_eq!(
            violation(&[b"organizationalUnit".to_vec()], &["objectClass", "ou", "mobile"]).as_deref(),
            Some("attribute 'mobile' not allowed")
        );
    }
}
