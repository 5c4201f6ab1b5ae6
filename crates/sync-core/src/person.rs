//! The people of both sides: what a directory entry and an employee are, before any rule compares them.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Index, IndexMut};
use std::sync::{Arc, LazyLock};

use serde::{Deserialize, Serialize};
pub use smol_str::SmolStr;

/// A value that is kept in step between a directory entry and an employee.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Field {
    /// Full name: `m_Users.username`.
    Name,
    /// E-mail address: `m_Users.email`.
    Email,
    /// Mobile number: the employee's `EXTERNAL` row in `m_Extensions`.
    Mobile,
    /// Internal number: the employee's `SIP` row in `m_Extensions`.
    Number,
    /// Photo, represented by the MD5 of its bytes in lower-case hex, as MikoPBX stores it in `m_Users.avatar`.
    Photo,
    /// SIP secret: `m_Sip.secret`, represented by its fingerprint ([`crate::vault::Vault::keep`]), never by itself.
    Secret,
}

impl Field {
    /// Every field, in the order of [`Values`] and of the module's database.
    pub const ALL: [Field; 6] = [Field::Name, Field::Email, Field::Mobile, Field::Number, Field::Photo, Field::Secret];

    /// The field's name in JSON and in the module's database.
    pub fn name(self) -> &'static str {
        match self {
            Field::Name => "name",
            Field::Email => "email",
            Field::Mobile => "mobile",
            Field::Number => "number",
            Field::Photo => "photo",
            Field::Secret => "secret",
        }
    }

    /// The field called `name`, if there is one.
    pub fn from_name(name: &str) -> Option<Field> {
        Field::ALL.into_iter().find(|field| field.name() == name)
    }
}

/// Some of the fields, in the order of [`Field::ALL`]. Takes one byte, which with very many people matters.
#[derive(Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<Field>", into = "Vec<Field>")]
pub struct Fields(u8);

impl Fields {
    /// Whether a field is one of them.
    pub fn contains(self, field: Field) -> bool {
        self.0 & Fields::bit(field) != 0
    }

    /// Takes a field in.
    pub fn insert(&mut self, field: Field) {
        self.0 |= Fields::bit(field);
    }

    /// Takes a field out.
    pub fn remove(&mut self, field: Field) {
        self.0 &= !Fields::bit(field);
    }

    /// Each of them.
    pub fn iter(self) -> impl Iterator<Item = Field> {
        Field::ALL.into_iter().filter(move |field| self.contains(*field))
    }

    fn bit(field: Field) -> u8 {
        1 << field as u8
    }
}

impl fmt::Debug for Fields {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.iter()).finish()
    }
}

impl FromIterator<Field> for Fields {
    fn from_iter<I: IntoIterator<Item = Field>>(fields: I) -> Fields {
        fields.into_iter().fold(Fields::default(), |fields, field| Fields(fields.0 | Fields::bit(field)))
    }
}

impl<const N: usize> From<[Field; N]> for Fields {
    fn from(fields: [Field; N]) -> Fields {
        fields.into_iter().collect()
    }
}

impl From<Vec<Field>> for Fields {
    fn from(fields: Vec<Field>) -> Fields {
        fields.into_iter().collect()
    }
}

impl From<Fields> for Vec<Field> {
    fn from(fields: Fields) -> Vec<Field> {
        fields.iter().collect()
    }
}

/// A side of the synchronisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The PBX.
    Pbx,
    /// The directory.
    Directory,
}

impl Side {
    /// The side's name in JSON and in the module's database.
    pub fn name(self) -> &'static str {
        match self {
            Side::Pbx => "pbx",
            Side::Directory => "directory",
        }
    }
}

/// One value per field; an empty string is "no value". Indexed by [`Field`]. A copy shares the values until one of the two
/// is changed: most people have the same values before a run, after it and in their link.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "Vec<String>", into = "Vec<String>")]
pub struct Values(Arc<Each>);

type Each = [SmolStr; Field::ALL.len()];

impl Default for Values {
    fn default() -> Values {
        static NONE: LazyLock<Values> = LazyLock::new(|| Values(Arc::default()));
        NONE.clone()
    }
}

impl Values {
    /// Puts a value in its place. Where it is there already nothing is copied.
    pub fn set(&mut self, field: Field, value: &SmolStr) {
        if self[field] != *value {
            self[field] = value.clone();
        }
    }

    /// Shares the values of `other` where they are the same.
    pub fn share(&mut self, other: &Values) {
        if self == other {
            self.clone_from(other);
        }
    }
}

/// Values stored by a version with fewer fields: those that are missing are empty.
impl From<Vec<String>> for Values {
    fn from(stored: Vec<String>) -> Values {
        let mut values = Each::default();
        for (place, value) in values.iter_mut().zip(stored) {
            *place = value.into();
        }
        Values(Arc::new(values))
    }
}

impl From<Values> for Vec<String> {
    fn from(values: Values) -> Vec<String> {
        values.0.iter().map(SmolStr::to_string).collect()
    }
}

impl Index<Field> for Values {
    type Output = SmolStr;

    fn index(&self, field: Field) -> &SmolStr {
        &self.0[field as usize]
    }
}

impl IndexMut<Field> for Values {
    fn index_mut(&mut self, field: Field) -> &mut SmolStr {
        &mut Arc::make_mut(&mut self.0)[field as usize]
    }
}

/// The directory's stable identifier of an entry (objectGUID, entryUUID, nsUniqueId, ipaUniqueID) in canonical text:
/// lower case, for 16-byte identifiers the form 8-4-4-4-12 (RFC 9562). Never a name or a DN.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DirectoryKey(pub String);

impl DirectoryKey {
    /// The canonical text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether the directory lets the person sign in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AccountState {
    /// In use.
    #[default]
    Active,
    /// Switched off: the AD flag ACCOUNTDISABLE (0x2), nsAccountLock, or the mapped attribute's value.
    Disabled,
    /// Past its end date (AD accountExpires).
    Expired,
}

/// What was learnt about an entry's photo. Bytes are never kept in memory beyond their arrival.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Photo {
    /// No photo attribute is mapped, or the entry's change mark has not moved since the last run.
    #[default]
    NotAsked,
    /// The entry has no photo.
    Absent,
    /// Stored in the spool directory of the read, in a file named by its MD5 (lower-case hex).
    Spooled {
        /// MD5 of the bytes, lower-case hex; also the file's name.
        md5: String,
    },
    /// There is a photo that cannot be used; the sentence says why.
    Refused(String),
}

/// Values of text attributes: those of each field together, in the order of their text. A directory has very many of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes(Box<[(Field, SmolStr)]>);

impl Attributes {
    /// The values of a field.
    pub fn of(&self, field: Field) -> impl ExactSizeIterator<Item = &SmolStr> {
        let from = self.0.partition_point(|(one, _)| *one < field);
        let to = self.0.partition_point(|(one, _)| *one <= field);
        self.0[from..to].iter().map(|(_, value)| value)
    }

    /// Whether a field has a value.
    pub fn has(&self, field: Field) -> bool {
        self.of(field).len() > 0
    }

    /// Every value.
    pub fn iter(&self) -> impl Iterator<Item = (Field, &SmolStr)> {
        self.0.iter().map(|(field, value)| (*field, value))
    }
}

impl<T: Into<SmolStr>> FromIterator<(Field, T)> for Attributes {
    fn from_iter<I: IntoIterator<Item = (Field, T)>>(values: I) -> Attributes {
        let mut values: Vec<(Field, SmolStr)> =
            values.into_iter().map(|(field, value)| (field, value.into())).collect();
        values.sort();
        Attributes(values.into())
    }
}

/// One entry as the directory holds it, before any rule is applied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DirectoryEntry {
    /// Stable identifier.
    pub key: DirectoryKey,
    /// Distinguished name at the time of the read.
    pub dn: String,
    /// Changes whenever the entry changes (entryCSN, uSNChanged, modifyTimestamp); empty when not known or not yet
    /// reliable (a timestamp of the current second).
    pub change_mark: String,
    /// Account status.
    pub account: AccountState,
    /// Values of the mapped text attributes as the directory spells them; of SIP secrets the fingerprints; no photo here.
    pub attributes: Attributes,
    /// Attributes that have values none of which could be read (not UTF-8, too long, too many): never taken for cleared.
    pub unusable: Fields,
    /// The photo.
    pub photo: Photo,
    /// SIP secrets that MikoPBX would not take, by fingerprint, each with a sentence that says why.
    pub refused_secrets: BTreeMap<String, String>,
    /// The number by which the company knows the person (`employeeNumber`, `employeeID`); empty where none is mapped.
    pub employee_number: String,
}

/// One employee of the PBX: a row of `m_Users` with a general SIP extension.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Employee {
    /// `m_Users.id`.
    pub user_id: i64,
    /// `m_Sip.uniqid` of the employee's peer; empty when the peer row is missing.
    pub sip_uniqid: String,
    /// The values of the fields as the PBX stores them.
    pub values: Values,
    /// `m_Sip.disabled` is `1`.
    pub sip_disabled: bool,
    /// Where the values stand.
    pub rows: EmployeeRows,
}

/// The ids of an employee's rows, by which events of the PBX name them; 0 where there is no such row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmployeeRows {
    /// `m_Extensions.id` of the internal number.
    pub number: i64,
    /// `m_Extensions.id` of the mobile.
    pub mobile: i64,
    /// `m_Sip.id`.
    pub sip: i64,
    /// `m_ExternalPhones.id` of the mobile.
    pub phone: i64,
}

/// Something a person should know about one value, which did not stop the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Note {
    /// The field it is about, if one.
    pub field: Option<Field>,
    /// A plain sentence.
    pub text: String,
}

impl Note {
    /// A note about `field`.
    pub fn about(field: Field, text: impl Into<String>) -> Note {
        Note { field: Some(field), text: text.into() }
    }
}
