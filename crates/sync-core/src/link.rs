//! The bond between a directory entry and an employee, and the values both sides last agreed on.

use serde::{Deserialize, Serialize};

use crate::person::{AccountState, DirectoryKey, Field, Values};

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
    /// A complete search did not find the entry.
    Absent,
}

impl LinkState {
    /// Every state.
    pub const ALL: [LinkState; 4] = [LinkState::Active, LinkState::Disabled, LinkState::Expired, LinkState::Absent];

    /// The state's name in JSON and in the module's database.
    pub fn name(self) -> &'static str {
        match self {
            LinkState::Active => "active",
            LinkState::Disabled => "disabled",
            LinkState::Expired => "expired",
            LinkState::Absent => "absent",
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

/// One link. `directory` and `pbx` are the base of the three-way merge: what each side held, in the PBX's form, when
/// the two last agreed or were last settled. A field that is empty on both sides has no base: the merge compares the two
/// sides anew, fills an empty one from the other and reports a difference. `shown` is never a base.
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
    /// `m_Sip.uniqid`.
    pub sip_uniqid: String,
    /// The entry's DN when it was last seen.
    pub dn: String,
    /// The entry's change mark when it was last settled.
    pub change_mark: String,
    /// Base of the directory's side.
    pub directory: Values,
    /// Base of the PBX's side.
    pub pbx: Values,
    /// The PBX's values when they were last seen: what people are shown, whatever became of the bases. Where all are
    /// empty the journal stores those of the PBX's base.
    pub shown: Values,
    /// Where the person stands.
    pub state: LinkState,
    /// Unix time in milliseconds since when `state` holds.
    pub since: i64,
    /// The employee was made by a synchronisation.
    pub created_by_sync: bool,
}

impl Link {
    /// Whether there is a base for any field. There is none before the first comparison, and after the mapping changed.
    pub fn has_base(&self) -> bool {
        let none = Values::default();
        self.directory != none || self.pbx != none
    }

    /// Drops the base of one field; what is shown stays.
    pub fn forget_base(&mut self, field: Field) {
        self.directory[field].clear();
        self.pbx[field].clear();
    }

    /// Drops the bases of all fields and the change mark, so that the whole entry is read and compared anew; what is shown
    /// stays.
    pub fn forget_bases(&mut self) {
        if self.shown == Values::default() {
            self.shown = self.pbx.clone();
        }
        self.directory = Values::default();
        self.pbx = Values::default();
        self.change_mark.clear();
    }
}
