//! Making the module's files so that both of the PBX's accounts can use them.
//!
//! MikoPBX's helpers run as root, its web pages as `www`, and the module's directory belongs to `www`. A file that root
//! makes there is given to the directory's owner, through its handle and only when it is new: by its name, `www` could
//! have had any file of the system given to itself.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, fchown, lchown};
use std::path::Path;

/// Makes a file that must not exist yet, for its owner alone, and opens it for writing.
pub(super) fn create_new(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    if let Some(owner) = path.parent().and_then(|directory| fs::metadata(directory).ok()) {
        let given = file.metadata().and_then(|ours| match ours.uid() == owner.uid() && ours.gid() == owner.gid() {
            true => Ok(()),
            false => fchown(&file, Some(owner.uid()), Some(owner.gid())),
        });
        note_failure(path, given);
    }
    Ok(file)
}

/// Makes the file unless it is there.
pub(super) fn ensure_file(path: &Path) -> io::Result<()> {
    match create_new(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        other => other.map(drop),
    }
}

/// Makes the directory, for its owner alone, unless it is there.
pub(super) fn ensure_directory(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => return Ok(()),
        other => other?,
    }
    if let Some(owner) = path.parent().and_then(|parent| fs::metadata(parent).ok()) {
        let ours = fs::symlink_metadata(path)?;
        if (ours.uid(), ours.gid()) != (owner.uid(), owner.gid()) {
            note_failure(path, lchown(path, Some(owner.uid()), Some(owner.gid())));
        }
    }
    Ok(())
}

/// Only root may give files away. Any other account keeps what it makes, and that is the account that needs it.
fn note_failure(path: &Path, given: io::Result<()>) {
    if let Err(error) = given {
        log::debug!("the owner of {} stays as it is: {error}", path.display());
    }
}
