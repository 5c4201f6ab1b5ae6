//! Answers in the PBX's envelope: `{"result": ..., "data": ..., "messages": {"error": [...], "info": [...]}}`.

use std::fmt;

use plugin_abi::status::ldap_sync_status::{self as Status, *};
use serde_json::{Value, json};
use sync_core::directory::{DirectoryError, DirectoryErrorKind};
use sync_core::journal::JournalError;
use sync_core::pbx::PbxError;
use sync_core::run::RunError;

/// A good answer.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) data: Value,
    pub(crate) info: Vec<String>,
}

impl Answer {
    pub(crate) fn new(data: impl Into<Value>) -> Answer {
        Answer { data: data.into(), info: Vec::new() }
    }

    pub(crate) fn with_info(mut self, info: impl IntoIterator<Item = String>) -> Answer {
        self.info.extend(info);
        self
    }

    pub(crate) fn envelope(&self) -> String {
        envelope(true, &self.data, &[], &self.info)
    }
}

/// Why a hook failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) status: Status,
    pub(crate) data: Value,
    errors: Vec<Value>,
    info: Vec<String>,
}

impl Failure {
    pub(crate) fn new(status: Status, text: impl Into<String>) -> Failure {
        Failure { status, data: Value::Null, errors: vec![Value::String(text.into())], info: Vec::new() }
    }

    pub(crate) fn argument(text: impl Into<String>) -> Failure {
        Failure::new(LDAP_SYNC_INVALID_ARGUMENT, text)
    }

    /// Bad fields of a form, each with its sentence.
    pub(crate) fn fields(fields: Vec<(String, String)>, info: Vec<String>) -> Failure {
        let errors = fields.into_iter().map(|(field, text)| json!({"field": field, "text": text})).collect();
        Failure { status: LDAP_SYNC_INVALID_ARGUMENT, data: Value::Null, errors, info }
    }

    /// One bad field of a form.
    pub(crate) fn field(field: &str, text: impl Into<String>) -> Failure {
        Failure::fields(vec![(field.to_owned(), text.into())], Vec::new())
    }

    pub(crate) fn with_info(mut self, info: impl IntoIterator<Item = String>) -> Failure {
        self.info.extend(info);
        self
    }

    pub(crate) fn with_data(mut self, data: Value) -> Failure {
        self.data = data;
        self
    }

    pub(crate) fn envelope(&self) -> String {
        envelope(false, &self.data, &self.errors, &self.info)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts = self.errors.iter().map(|error| match error {
            Value::String(text) => text.clone(),
            other => format!("{}: {}", other["field"].as_str().unwrap_or(""), other["text"].as_str().unwrap_or("")),
        });
        f.write_str(&texts.collect::<Vec<_>>().join("; "))
    }
}

fn envelope(result: bool, data: &Value, errors: &[Value], info: &[String]) -> String {
    json!({"result": result, "data": data, "messages": {"error": errors, "info": info}}).to_string()
}

impl From<JournalError> for Failure {
    fn from(error: JournalError) -> Failure {
        let status = match error {
            JournalError::NotInstalled { .. } => LDAP_SYNC_NOT_INSTALLED,
            JournalError::NoServer { .. } => LDAP_SYNC_INVALID_ARGUMENT,
            _ => LDAP_SYNC_DATABASE,
        };
        Failure::new(status, error.to_string())
    }
}

impl From<PbxError> for Failure {
    fn from(error: PbxError) -> Failure {
        Failure::new(LDAP_SYNC_DATABASE, error.to_string())
    }
}

impl From<DirectoryError> for Failure {
    fn from(error: DirectoryError) -> Failure {
        let status = match error.kind {
            DirectoryErrorKind::Cancelled => LDAP_SYNC_CANCELLED,
            _ => LDAP_SYNC_DIRECTORY,
        };
        Failure::new(status, error.to_string())
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Failure {
        match error {
            RunError::Directory(error) => error.into(),
            RunError::Pbx(error) => error.into(),
            RunError::Journal(error) => error.into(),
            RunError::Grown(_) | RunError::PlanChanged(_) => Failure::new(LDAP_SYNC_REFUSED, error.to_string()),
            RunError::Cancelled => Failure::new(LDAP_SYNC_CANCELLED, RunError::Cancelled.to_string()),
        }
    }
}
