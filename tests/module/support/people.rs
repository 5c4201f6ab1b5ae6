//! People for the directories under test, as data.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::directory::Kind;

/// One person of the directory. An empty text is an attribute the entry does not have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Someone {
    /// `uid` or `sAMAccountName`; also the first part of the DN.
    pub(crate) login: String,
    /// `displayName`, and `cn` where the login is not the naming attribute.
    pub(crate) name: String,
    /// `mail`.
    pub(crate) mail: String,
    /// `mobile`, as the directory spells it.
    pub(crate) mobile: String,
    /// `telephoneNumber`, the attribute mapped to the internal number.
    pub(crate) number: String,
    /// A photo of this person's own.
    pub(crate) photo: bool,
    /// The account is switched off (Active Directory only).
    pub(crate) disabled: bool,
}

impl Someone {
    /// A person with a login and a name.
    pub(crate) fn new(login: &str, name: &str) -> Someone {
        Someone { login: login.to_owned(), name: name.to_owned(), ..Someone::default() }
    }

    /// With an e-mail address.
    pub(crate) fn mail(mut self, mail: &str) -> Someone {
        self.mail = mail.to_owned();
        self
    }

    /// With a mobile number.
    pub(crate) fn mobile(mut self, mobile: &str) -> Someone {
        self.mobile = mobile.to_owned();
        self
    }

    /// With a value in the attribute mapped to the internal number.
    pub(crate) fn number(mut self, number: &str) -> Someone {
        self.number = number.to_owned();
        self
    }

    /// With a photo.
    pub(crate) fn with_photo(mut self) -> Someone {
        self.photo = true;
        self
    }

    /// Switched off.
    pub(crate) fn switched_off(mut self) -> Someone {
        self.disabled = true;
        self
    }

    /// The bytes of this person's photo: a JPEG with a comment (segment FF FE, ISO/IEC 10918-1 B.2.4.5) after its first
    /// marker, so that everybody's photo is valid and has a hash of its own.
    pub(crate) fn photo_bytes(&self) -> Vec<u8> {
        let base = include_bytes!("../../data/photo.jpg");
        let comment = format!("photo of {}", self.login);
        let length = u16::try_from(comment.len() + 2).expect("a login is short");
        let segment = [&[0xff, 0xfe][..], &length.to_be_bytes(), comment.as_bytes()].concat();
        [&base[..2], &segment, &base[2..]].concat()
    }

    fn ldif(&self, kind: Kind, parent: &str) -> String {
        let mut text = String::new();
        line(&mut text, "dn", &format!("{},{parent}", self.rdn(kind)));
        match kind {
            Kind::ActiveDirectory => {
                text += "objectClass: user\n";
                line(&mut text, "sAMAccountName", &self.login);
                line(&mut text, "userPrincipalName", &format!("{}@example.test", self.login));
                // NORMAL_ACCOUNT + PASSWD_NOTREQD, with ACCOUNTDISABLE for one that is switched off.
                text += if self.disabled { "userAccountControl: 546\n" } else { "userAccountControl: 544\n" };
            }
            Kind::OpenLdap | Kind::Ds389 => {
                text += "objectClass: inetOrgPerson\n";
                line(&mut text, "uid", &self.login);
                line(&mut text, "cn", &self.name);
            }
        }
        line(&mut text, "sn", self.name.split_whitespace().next_back().unwrap_or(&self.login));
        let attributes = [
            ("displayName", &self.name),
            ("mail", &self.mail),
            ("mobile", &self.mobile),
            ("telephoneNumber", &self.number),
        ];
        for (attribute, value) in attributes.into_iter().filter(|(_, value)| !value.is_empty()) {
            line(&mut text, attribute, value);
        }
        if self.photo {
            text += &format!("{}:: {}\n", kind.photo_attribute(), STANDARD.encode(self.photo_bytes()));
        }
        text + "\n"
    }

    /// The first part of the DN.
    pub(crate) fn rdn(&self, kind: Kind) -> String {
        let attribute = if kind == Kind::ActiveDirectory { "CN" } else { "uid" };
        format!("{attribute}={}", self.login)
    }
}

/// `people` as LDIF (RFC 2849) below `parent`.
pub(crate) fn ldif(people: &[Someone], kind: Kind, parent: &str) -> String {
    people.iter().map(|person| person.ldif(kind, parent)).collect()
}

/// One LDIF line; a value that is not plain ASCII is written in base64.
pub(crate) fn line(text: &mut String, attribute: &str, value: &str) {
    let plain = value.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    let safe = plain && !value.starts_with([' ', ':', '<']) && !value.ends_with(' ');
    let line =
        if safe { format!("{attribute}: {value}\n") } else { format!("{attribute}:: {}\n", STANDARD.encode(value)) };
    text.push_str(&line);
}

/// `count` people with names, e-mail addresses and mobiles of their own and no internal number; every tenth has a photo.
pub(crate) fn crowd(count: usize) -> Vec<Someone> {
    const GIVEN: [&str; 8] = ["Anna", "Пётр", "Zoë", "Łukasz", "Éloïse", "Наталья", "Seán", "Әлия"];
    const FAMILY: [&str; 7] = ["O'Brien", "Иванов", "Müller", "Щербакова", "Lefèvre", "Nowak-Żółć", "Ёлкин"];
    let person = |index: usize| {
        let name = format!("{} {} {index}", GIVEN[index % GIVEN.len()], FAMILY[index % FAMILY.len()]);
        let login = format!("person{index:05}");
        let someone = Someone::new(&login, &name).mail(&format!("{login}@example.test"));
        let someone =
            someone.mobile(&format!("+7 916 {:03}-{:02}-{:02}", index / 10_000, index / 100 % 100, index % 100));
        if index.is_multiple_of(10) { someone.with_photo() } else { someone }
    };
    (1..=count).map(person).collect()
}
