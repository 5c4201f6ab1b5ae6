//! The lock that keeps two runs apart.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;

use super::error::JournalError;
use super::files;

/// Held by the one run that may go on, across all handles and processes; released when dropped, and by the system when
/// the process dies.
#[derive(Debug)]
pub struct RunLock {
    _file: File,
}

impl RunLock {
    /// Takes the lock at `path` ([`super::Paths::run_lock`]) without waiting; `None` when another run holds it.
    pub fn try_acquire(path: &Path) -> Result<Option<RunLock>, JournalError> {
        let not_writable =
            |error: std::io::Error| JournalError::NotWritable { path: path.to_owned(), source: error.into() };
        files::ensure_file(path).map_err(not_writable)?;
        let file = OpenOptions::new().write(true).open(path).map_err(not_writable)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(RunLock { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(not_writable(error)),
        }
    }
}
