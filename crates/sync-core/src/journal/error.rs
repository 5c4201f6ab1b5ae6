//! What can go wrong with the module's own files.

use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

use crate::person::DirectoryKey;

/// Why the module's database or key could not be used: a sentence that names the file and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// The database or the module's tables in it do not exist.
    #[error("the module is not installed: {} does not hold the module's tables; install the module first", path.display())]
    NotInstalled {
        /// The database.
        path: PathBuf,
    },
    /// A newer version of the module has used the database.
    #[error(
        "{} was made by a newer version of the module (its tables have version {found}, this one knows {known}); \
         install that version again, or restore a backup of the module's db directory",
        path.display()
    )]
    Newer {
        /// The database.
        path: PathBuf,
        /// Version of its tables.
        found: u32,
        /// Version this program makes.
        known: u32,
    },
    /// The file or directory cannot be written.
    #[error("cannot write {}: {source}; check the owner and mode of the file and its directory and the free space", path.display())]
    NotWritable {
        /// What was to be written.
        path: PathBuf,
        /// What the system or SQLite said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The file cannot be looked at.
    #[error("cannot read {}: {source}; check the owner and mode of the file and its directory", path.display())]
    NotReadable {
        /// What was to be read.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Another program has held the database locked for longer than we wait.
    #[error("{} is locked by another program; nothing was changed, try again", path.display())]
    Locked {
        /// The database.
        path: PathBuf,
    },
    /// The file is not a database, or is broken.
    #[error(
        "{} is damaged or not a database ({source}); restore the module's db directory from a backup, \
         or move the file away and install the module again",
        path.display()
    )]
    Damaged {
        /// The database.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// Any other failure of the database.
    #[error("the module's database {} failed: {source}", path.display())]
    Database {
        /// The database.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// A stored password cannot be opened, or none can be sealed.
    #[error("{reason} ({}); enter the password again", path.display())]
    Key {
        /// The key file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// There is no server with this id (any more).
    #[error("there is no server {id}; it may have been deleted meanwhile")]
    NoServer {
        /// The id asked for.
        id: i64,
    },
    /// The employee is linked to another entry of a directory already.
    #[error(
        "employee {user_id} is linked to the directory entry {} of server {server_id} already; \
         remove that link before making another",
        key.as_str()
    )]
    AlreadyLinked {
        /// `m_Users.id`.
        user_id: i64,
        /// Server of the existing link.
        server_id: i64,
        /// Entry of the existing link.
        key: DirectoryKey,
    },
}

impl JournalError {
    /// The same error, about the file at `path`. Errors made from SQLite's own do not know their file yet.
    pub(super) fn located(mut self, path: &Path) -> JournalError {
        if let JournalError::NotWritable { path: known, .. }
        | JournalError::Locked { path: known }
        | JournalError::Damaged { path: known, .. }
        | JournalError::Newer { path: known, .. }
        | JournalError::Database { path: known, .. } = &mut self
            && known.as_os_str().is_empty()
        {
            *known = path.to_owned();
        }
        self
    }
}

impl From<rusqlite::Error> for JournalError {
    fn from(source: rusqlite::Error) -> JournalError {
        let path = PathBuf::new();
        match source.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => JournalError::Locked { path },
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => JournalError::Damaged { path, source },
            Some(
                ErrorCode::ReadOnly
                | ErrorCode::CannotOpen
                | ErrorCode::DiskFull
                | ErrorCode::PermissionDenied
                | ErrorCode::SystemIoFailure,
            ) => JournalError::NotWritable { path, source: source.into() },
            _ => JournalError::Database { path, source },
        }
    }
}
