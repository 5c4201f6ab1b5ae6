//! What SQLite says, in words an administrator can act on.

use std::path::Path;

use rusqlite::{Error, ErrorCode};

use super::PbxError;

/// Why a write transaction was given up.
pub(super) enum Failure {
    /// SQLite refused; busy and locked are tried again.
    Sql(Error),
    /// Something else; not tried again.
    Other(PbxError),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Sql(error)
    }
}

impl From<PbxError> for Failure {
    fn from(error: PbxError) -> Failure {
        Failure::Other(error)
    }
}

/// True when somebody else holds a lock, so that trying again can help.
pub(super) fn is_busy(error: &Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

/// The sentence for `error`, met while `doing` something with the database at `path`.
pub(super) fn explain(path: &Path, doing: &str, error: Error) -> PbxError {
    let advice = match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "another program holds its lock; try again, and see which program writes to it if this repeats"
        }
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
            "the file or its directory is read-only for this process; check the rights and that the disk is not mounted \
             read-only"
        }
        Some(ErrorCode::NotADatabase) => {
            "the file is not an SQLite database; check the path in the module's configuration"
        }
        Some(ErrorCode::CannotOpen) => "the file cannot be opened; check the rights of the file and of its directory",
        Some(ErrorCode::DiskFull) => "the disk is full; free some space and try again",
        Some(ErrorCode::DatabaseCorrupt) => "the database is damaged; restore it from a backup of the PBX",
        Some(ErrorCode::SystemIoFailure) => "the disk reported an error; see the system's log",
        _ => "see the cause that follows",
    };
    PbxError {
        message: format!("{doing} the PBX's database {}: {advice} ({error})", path.display()),
        source: Some(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_only_database_is_named_with_what_to_do() {
        let cause = Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_READONLY), None);
        let error = explain(Path::new("/cf/conf/mikopbx.db"), "writing", cause);
        assert!(error.message.starts_with("writing the PBX's database /cf/conf/mikopbx.db: "), "{error}");
        assert!(error.message.contains("read-only"), "{error}");
    }

    #[test]
    fn busy_and_locked_can_be_tried_again() {
        for (code, busy) in [
            (rusqlite::ffi::SQLITE_BUSY, true),
            (rusqlite::ffi::SQLITE_LOCKED, true),
            (rusqlite::ffi::SQLITE_FULL, false),
        ] {
            assert_eq!(is_busy(&Error::SqliteFailure(rusqlite::ffi::Error::new(code), None)), busy);
        }
    }
}
