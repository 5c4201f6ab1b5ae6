//! A server's settings as far as a plan depends on them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::person::Field;
use crate::phone::PhoneRules;

/// Which way a field's changes travel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// Both ways.
    #[default]
    TwoWay,
    /// From the directory to the PBX only.
    Directory,
    /// From the PBX to the directory only.
    Pbx,
    /// Not at all.
    Off,
}

impl Direction {
    /// Whether changes of the directory reach the PBX.
    pub fn reaches_pbx(self) -> bool {
        matches!(self, Direction::TwoWay | Direction::Directory)
    }

    /// Whether changes of the PBX reach the directory.
    pub fn reaches_directory(self) -> bool {
        matches!(self, Direction::TwoWay | Direction::Pbx)
    }
}

/// What is done with a field that was edited on both sides and may travel both ways.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BothChanged {
    /// The later edit stands, where both times are known well enough; else it is left for a human.
    #[default]
    Newest,
    /// The directory's value stands.
    Directory,
    /// The PBX's value stands.
    Pbx,
    /// It is left for a human.
    Ask,
}

/// The rules of one field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FieldRule {
    /// Which way its changes travel.
    pub direction: Direction,
    /// What is done when both sides changed.
    pub both_changed: BothChanged,
}

/// What becomes of the PBX's accounts of people who left, in observed days (see [`crate::link::Link::days_gone`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeaverPolicy {
    /// The SIP account is switched off after so many days; `None`: never.
    pub stop_after: Option<u32>,
    /// An employee whom a synchronisation made, and whom nothing points at, is deleted after so many days; `None`: never.
    pub delete_after: Option<u32>,
}

/// A server's settings as far as a plan depends on them.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// The server.
    pub server_id: i64,
    /// Fingerprint of the settings that the links' bases depend on, as the journal keeps it with the server.
    pub fingerprint: String,
    /// Region (ISO 3166-1 alpha-2) of telephone numbers without a country code; empty follows the PBX's language.
    pub region: String,
    /// Fields with a mapped attribute, and the attribute's name.
    pub attributes: BTreeMap<Field, String>,
    /// The rules of fields that do not have the default ones.
    pub rules: BTreeMap<Field, FieldRule>,
    /// Values may be written to the directory.
    pub write_back: bool,
    /// Point the forwardings at a new mobile, as MikoPBX's web form does.
    pub forward_to_mobile: bool,
    /// First number of the pool; `None` takes the default.
    pub number_from: Option<u64>,
    /// Last number of the pool; `None` takes the default.
    pub number_to: Option<u64>,
    /// Whoever asks for a number that is taken gets one from the pool instead of waiting.
    pub pool_when_taken: bool,
    /// What becomes of people who left.
    pub leavers: LeaverPolicy,
}

impl Policy {
    /// The rules of a field.
    pub fn rule(&self, field: Field) -> FieldRule {
        self.rules.get(&field).copied().unwrap_or_default()
    }

    /// Whether values of a field may be written to the directory.
    pub fn writes(&self, field: Field) -> bool {
        self.write_back && self.attributes.contains_key(&field) && self.rule(field).direction.reaches_directory()
    }

    /// Whether SIP secrets are kept in step, so that they have to be read at all.
    pub fn has_secrets(&self) -> bool {
        self.attributes.contains_key(&Field::Secret) && self.rule(Field::Secret).direction != Direction::Off
    }

    /// The region of telephone numbers without a country code on a PBX with this `PBXLanguage`.
    pub fn region_on<'a>(&'a self, language: &str) -> &'a str {
        match self.region.as_str() {
            "" => PhoneRules::region_of_language(language),
            region => region,
        }
    }

    /// How telephone numbers are read on a PBX with this `PBXLanguage`.
    pub fn phones(&self, language: &str) -> PhoneRules {
        PhoneRules::new(self.region_on(language))
    }
}
