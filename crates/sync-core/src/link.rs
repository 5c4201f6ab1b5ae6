//! The bond between a directory entry and an employee, and the values both sides last agreed on.

use serde::{Deserialize, Serialize};

use crate::person::{AccountState, DirectoryKey, Field, Fields, Side, SmolStr, Values};

/// Where a linked person stands in the directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LinkState {
    /// Present and active.
    #[default]
    Active,
    /// The account is disabled.
    Disabled,
    /// The account has expired.
    Expired,
    /// The directory no longer has the entry, or no longer shows it.
    Absent,
    /// The entry is still there and in use, but outside the server's base or filter.
    Moved,
}

impl LinkState {
    /// Every state.
    pub const ALL: [LinkState; 5] =
        [LinkState::Active, LinkState::Disabled, LinkState::Expired, LinkState::Absent, LinkState::Moved];

    /// The state's name in JSON and in the module's database.
    pub fn name(self) -> &'static str {
        match self {
            LinkState::Active => "active",
            LinkState::Disabled => "disabled",
            LinkState::Expired => "expired",
            LinkState::Absent => "absent",
            LinkState::Moved => "moved",
        }
    }

    /// Why somebody in this state counts as having left: a plain sentence.
    pub fn reason(self) -> &'static str {
        match self {
            LinkState::Active => "in use in the directory",
            LinkState::Disabled => "the account is disabled in the directory",
            LinkState::Expired => "the account has expired in the directory",
            LinkState::Absent => "the directory no longer has this entry, or no longer shows it to the login",
            LinkState::Moved => {
                "the entry is still in the directory and in use, but outside the server's base or filter"
            }
        }
    }

    /// The state called `name`; an unknown name is [`LinkState::Active`].
    pub fn from_name(name: &str) -> LinkState {
        LinkState::ALL.into_iter().find(|state| state.name() == name).unwrap_or_default()
    }
}

impl From<AccountState> for LinkState {
    fn from(account: AccountState) -> LinkState {
        match account {
            AccountState::Active => LinkState::Active,
            AccountState::Disabled => LinkState::Disabled,
            AccountState::Expired => LinkState::Expired,
        }
    }
}

/// A value that differs from what both sides last agreed on, and when it was first seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unsettled {
    /// The field.
    pub field: Field,
    /// The side that holds it.
    pub side: Side,
    /// The value, in the PBX's form.
    pub value: String,
    /// Unix time in milliseconds.
    pub since: i64,
}

/// One link. `directory` and `pbx` are the base of the three-way merge: what each side held, in the PBX's form, when
/// the two last agreed or were last settled. `shown` is never a base.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Link {
    /// Row id in the module's database; 0 for a link not stored yet.
    pub id: i64,
    /// The server the entry belongs to.
    pub server_id: i64,
    /// The entry.
    pub key: DirectoryKey,
    /// `m_Users.id`.
    pub user_id: i64,
    /// `m_Sip.uniqid`; empty in a link taken over from the module's predecessor, until a run has met the employee.
    pub sip_uniqid: String,
    /// The entry's DN when it was last seen.
    pub dn: String,
    /// The entry's change mark when it was last settled.
    pub change_mark: String,
    /// The number by which the company knows the person; empty where none is mapped.
    pub employee_number: String,
    /// Base of the directory's side.
    pub directory: Values,
    /// Base of the PBX's side.
    pub pbx: Values,
    /// Fields that have a base. Without one the merge compares the two sides anew, fills an empty one from the other and
    /// leaves a difference for a human.
    pub based: Fields,
    /// The PBX's values when they were last seen: what people are shown, whatever became of the bases. Where all are
    /// empty the journal stores those of the PBX's base.
    pub shown: Values,
    /// What the last run saw and could not settle.
    pub unsettled: Vec<Unsettled>,
    /// The last complete run did not compare this person: they were away, or somebody had to decide first.
    pub not_compared: bool,
    /// When a value was last written to the employee, Unix time in milliseconds; 0 is never.
    pub written: i64,
    /// Where the person stands.
    pub state: LinkState,
    /// Unix time in milliseconds since when `state` holds.
    pub since: i64,
    /// On how many days after the first a run has seen that the person has left. A clock that jumps adds one at most.
    pub days_gone: u32,
    /// The day of the last run that saw it, in days since 1970; 0 while the person is active.
    pub last_day: i64,
    /// A synchronisation has switched the SIP account off because the person left.
    pub stopped: bool,
    /// The employee was made by a synchronisation.
    pub created_by_sync: bool,
}

impl Link {
    /// What a field's sides last agreed on, the directory's and the PBX's; `None` where there is no base.
    pub fn base(&self, field: Field) -> Option<(&str, &str)> {
        self.based.contains(field).then(|| (self.directory[field].as_str(), self.pbx[field].as_str()))
    }

    /// Whether there is a base for any field. There is none before the first comparison, and after the mapping changed.
    pub fn has_base(&self) -> bool {
        self.based != Fields::default()
    }

    /// Since when a side has held `value` without it being settled, as far as earlier runs saw it.
    pub fn unsettled_since(&self, field: Field, side: Side, value: &str) -> Option<i64> {
        let same = |one: &&Unsettled| one.field == field && one.side == side && one.value == value;
        self.unsettled.iter().find(same).map(|one| one.since)
    }

    /// Whether a side held a value that was not settled at the last look.
    pub fn was_unsettled(&self, field: Field, side: Side) -> bool {
        self.unsettled.iter().any(|one| one.field == field && one.side == side)
    }

    /// Drops the base of one field; what is shown stays.
    pub fn forget_base(&mut self, field: Field) {
        self.directory[field] = SmolStr::default();
        self.pbx[field] = SmolStr::default();
        self.based.remove(field);
        if field == Field::Photo {
            // It has to be read again.
            self.change_mark.clear();
        }
    }

    /// Drops the bases of all fields and the change mark, so that the whole entry is read and compared anew; what is shown
    /// stays.
    pub fn forget_bases(&mut self) {
        if self.shown == Values::default() {
            self.shown = self.pbx.clone();
        }
        Field::ALL.into_iter().for_each(|field| self.forget_base(field));
    }

    /// Notes that a run of this day has seen that the person has left; `day` counts from 1970. A clock that went back
    /// counts nothing.
    pub fn count_day_gone(&mut self, day: i64) {
        if self.last_day == 0 {
            self.last_day = day;
        } else if day > self.last_day {
            self.last_day = day;
            self.days_gone = self.days_gone.saturating_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_count_when_they_are_seen() {
        let mut link = Link::default();
        for (day, expected) in [(100, 0), (100, 0), (101, 1), (90, 1), (5_000, 2), (5_001, 3)] {
            link.count_day_gone(day);
            assert_eq!(link.days_gone, expected, "day {day}");
        }
    }

    #[test]
    fn values_of_a_version_with_fewer_fields_can_be_read() {
        let link: Link = serde_json::from_str(r#"{"user_id":7,"pbx":["Ann","a@x.test","","201",""]}"#).unwrap();
        assert_eq!((link.user_id, link.pbx[Field::Number].as_str(), link.pbx[Field::Secret].as_str()), (7, "201", ""));
    }
}
