//! The PBX's database: the only place that knows MikoPBX's tables. Facts and their sources: `docs/MIKOPBX.md`.

use std::collections::BTreeMap;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::person::{Employee, Field, Values};

/// Everything a plan needs to know about the PBX, read in one transaction.
#[derive(Clone, Debug, Default)]
pub struct PbxSnapshot {
    /// Everyone with a general SIP extension, in the order of their ids.
    pub employees: Vec<Employee>,
    /// Who holds each dialable number: every row of `m_Extensions`, by `number`.
    pub numbers: BTreeMap<String, Holder>,
    /// `PBXInternalExtensionLength`, digits; MikoPBX's default is 3.
    pub extension_length: u32,
    /// `PBXLanguage`, for example `ru-ru`; MikoPBX's default is `en-en`.
    pub language: String,
    /// Outgoing routes: patterns an internal number must not meet.
    pub outgoing: Vec<OutgoingPattern>,
    /// For each number or mobile that queues, IVR menus, routes, work-time rules or *other people's* forwardings point
    /// at: what points at it, in words (`queue Sales office`, `forwarding of 202`).
    pub uses: BTreeMap<String, Vec<String>>,
    /// Sentences about odd rows, for the report.
    pub warnings: Vec<String>,
}

/// Holder of a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// `m_Extensions.type`: SIP, EXTERNAL, QUEUE, IVR MENU, CONFERENCE, DIALPLAN APPLICATION, MODULES, SYSTEM, PARKING.
    pub kind: String,
    /// `m_Users.id` of an employee's number.
    pub user_id: Option<i64>,
    /// `m_Extensions.callerid`, for messages.
    pub label: String,
}

/// One row of `m_OutgoingRoutingTable`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutgoingPattern {
    /// `numberbeginswith`: a regular expression for the beginning, for example `(7|8)`.
    pub begins_with: String,
    /// `restnumbers`: how many digits follow; `None` when any number may.
    pub rest: Option<u32>,
    /// `rulename`, for messages.
    pub name: String,
}

/// One thing to do in the PBX's database. Everything random was chosen before, so that it can be found again.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    /// Make an employee.
    Create(CreateTask),
    /// Change an employee.
    Update(UpdateTask),
}

/// A new employee.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CreateTask {
    /// `m_Sip.uniqid`, `SIP-PHONE-` and 8 upper-case hex digits.
    pub sip_uniqid: String,
    /// `m_ExternalPhones.uniqid`, `EXTERNAL-` and 8 upper-case hex digits; used when there is a mobile.
    pub external_uniqid: String,
    /// SIP secret; never stored in an intent, so empty in one that was read back.
    #[serde(skip)]
    pub secret: SecretString,
    /// The values; the photo names a file of the spool.
    pub values: Values,
    /// Point all three forwardings at the mobile, as MikoPBX's web form does for a new employee with a mobile.
    pub forward_to_mobile: bool,
}

/// Changes of one employee.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateTask {
    /// `m_Users.id`.
    pub user_id: i64,
    /// `m_Sip.uniqid` the employee must have.
    pub sip_uniqid: String,
    /// The values the plan was made for; those of `fields` must still be there.
    pub old: Values,
    /// The values wanted; only those of `fields` are written.
    pub new: Values,
    /// What changes.
    pub fields: Vec<Field>,
    /// `m_ExternalPhones.uniqid` to use when the employee gets a mobile for the first time.
    pub external_uniqid: String,
    /// Point empty forwardings (and those at the old mobile) at a new mobile, as MikoPBX's web form does.
    pub forward_to_mobile: bool,
}

/// What became of one task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskOutcome {
    /// Done and part of the transaction.
    Applied(Applied),
    /// Not done: the PBX has changed since the plan was made, or a rule of MikoPBX forbids it; nothing of it is written.
    Refused {
        /// The field at fault, if one.
        field: Option<Field>,
        /// A plain sentence.
        reason: String,
    },
}

/// A task that was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// `m_Users.id`.
    pub user_id: i64,
    /// `m_Sip.uniqid`.
    pub sip_uniqid: String,
    /// One event per changed record, in MikoPBX's order.
    pub events: Vec<ModelEvent>,
    /// Values replaced in rows that exist already, for the journal; never a SIP secret.
    pub replaced: Vec<ReplacedValue>,
}

/// One column of one row that was overwritten, or one row that was deleted (one entry per column).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplacedValue {
    /// Table.
    pub table: String,
    /// The row's `id`.
    pub row: i64,
    /// Column.
    pub column: String,
    /// The value before, as text; `None` for NULL.
    pub old: Option<String>,
    /// The value now, as text; `None` for NULL or a deleted row.
    pub new: Option<String>,
}

/// A change as MikoPBX itself publishes it (`ModelsBase->sendChangesToBackend`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelEvent {
    /// Always `ModelsBase->sendChangesToBackend`.
    pub source: String,
    /// PHP class, `MikoPBX\Common\Models\Users` and so on.
    pub model: String,
    /// The row's id, as text.
    #[serde(rename = "recordId")]
    pub record_id: String,
    /// `afterSave` or `afterDelete`.
    pub action: String,
    /// Columns that changed; all of them for a new or deleted row.
    #[serde(rename = "changedFields")]
    pub changed_fields: Vec<String>,
}

/// Why the PBX's database could not be used: a sentence that names the file, what was tried and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct PbxError {
    /// The sentence for the administrator.
    pub message: String,
    /// What SQLite said.
    #[source]
    pub source: Option<rusqlite::Error>,
}
