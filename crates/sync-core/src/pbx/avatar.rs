//! Photos: MikoPBX keeps them as files and remembers path and MD5 (docs/MIKOPBX.md, Photos).
//!
//! New files are written and flushed before the transaction, renamed into place just before COMMIT and put back when the
//! transaction fails. Bytes that are overwritten are kept, named by their MD5, so that a run can be undone. When a process
//! ends between the rename and COMMIT, the next one tells by `m_Users.avatar` which of the two files is the right one.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{DeleteTask, PbxError, Task, UpdateTask};
use crate::person::Field;
use crate::picture;

/// Files of photos brought to the disk at once.
const FLUSHED_AT_ONCE: usize = 16;

/// Larger files are not read, neither as new photos nor as old ones.
const LARGEST: u64 = 8 * 1024 * 1024;
const DIRECTORY: &str = "avatars";
const NEW_PREFIX: &str = ".ldap-sync-new-";
const OLD_PREFIX: &str = ".ldap-sync-old-";

/// Where photos live.
pub(super) struct Places {
    /// The PBX's media directory.
    pub(super) media: PathBuf,
    /// New photos, named by MD5.
    pub(super) spool: PathBuf,
    /// Photos that were overwritten, named by MD5.
    pub(super) replaced_photos: PathBuf,
}

impl Places {
    fn avatars(&self) -> PathBuf {
        self.media.join(DIRECTORY)
    }

    fn of_user(&self, user_id: i64) -> PathBuf {
        self.avatars().join(file_name(user_id))
    }
}

fn file_name(user_id: i64) -> String {
    format!("user_{user_id}.jpg")
}

/// `m_Users.avatar` of a person whose photo has this MD5.
pub(super) fn column(user_id: i64, md5: &str) -> String {
    format!("{{\"path\":\"/{DIRECTORY}/{}\",\"hash\":\"{md5}\"}}", file_name(user_id))
}

/// The MD5 of a person's photo, lower-case hex; empty when there is none. An error says what is wrong with the column.
pub(super) fn hash(avatar: &str, media: &Path) -> Result<String, String> {
    if let Some(hash) = stored_hash(avatar).map_err(|error| format!("is not JSON: {error}"))? {
        return Ok(hash);
    }
    if avatar.starts_with("data:") {
        return data_uri(avatar)
            .map(|bytes| picture::md5(&bytes))
            .ok_or_else(|| "is a data URI that cannot be decoded".to_owned());
    }
    Ok(stored_file(avatar, media)
        .and_then(|path| read_small(&path).ok())
        .map(|bytes| picture::md5(&bytes))
        .unwrap_or_default())
}

/// The bytes of a person's photo, whose MD5 must be `md5`; a sentence says why they cannot be had.
pub(super) fn bytes(avatar: &str, md5: &str, media: &Path) -> Result<Vec<u8>, String> {
    let bytes = match data_uri(avatar) {
        Some(bytes) => bytes,
        None => {
            let path = stored_file(avatar, media).ok_or("the employee has no photo any more")?;
            read_small(&path).map_err(|error| format!("the photo {} cannot be read: {error}", path.display()))?
        }
    };
    if picture::md5(&bytes) == md5 {
        Ok(bytes)
    } else {
        Err("the photo on the PBX's disk is not the one it names".to_owned())
    }
}

/// The MD5 a column names, lower-case hex; `None` when it has one of the older forms.
fn stored_hash(avatar: &str) -> serde_json::Result<Option<String>> {
    if !avatar.starts_with('{') {
        return Ok(None);
    }
    let parsed: serde_json::Value = serde_json::from_str(avatar)?;
    Ok(parsed["hash"].as_str().filter(|hash| !hash.is_empty()).map(str::to_ascii_lowercase))
}

/// What the journal keeps of an old `m_Users.avatar`: never a photo itself, whose bytes are kept as a file.
pub(super) fn for_journal(user_id: i64, avatar: String) -> String {
    match data_uri(&avatar) {
        Some(bytes) => column(user_id, &picture::md5(&bytes)),
        None => avatar,
    }
}

fn data_uri(avatar: &str) -> Option<Vec<u8>> {
    let (head, body) = avatar.strip_prefix("data:")?.split_once(',')?;
    head.ends_with(";base64").then(|| STANDARD.decode(body.trim()).ok())?
}

/// The file a column points at, when it is one of the PBX's photos.
fn stored_file(avatar: &str, media: &Path) -> Option<PathBuf> {
    let path = match serde_json::from_str::<serde_json::Value>(avatar) {
        Ok(parsed) => parsed["path"].as_str()?.to_owned(),
        Err(_) => avatar.to_owned(),
    };
    let name = path.strip_prefix("/avatars/")?;
    let plain = !name.is_empty() && !name.contains('/') && name != "." && name != "..";
    plain.then(|| media.join(DIRECTORY).join(name))
}

fn read_small(path: &Path) -> io::Result<Vec<u8>> {
    let size = fs::metadata(path)?.len();
    if size >= LARGEST {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than a photo may be"));
    }
    fs::read(path)
}

/// What a task wants of its employee's photo.
pub(super) enum Staged {
    /// The photo stays as it is.
    Unchanged,
    /// The photo goes.
    Removed,
    /// A new photo, checked and on the PBX's disk under a temporary name.
    Ready {
        /// MD5 of the bytes, lower-case hex.
        md5: String,
        /// The temporary file.
        temporary: PathBuf,
    },
    /// The photo cannot be stored; the sentence says why.
    Failed(String),
}

/// The photos of a batch. Temporary files that were not used are removed with it.
pub(super) struct Stage(Vec<Staged>);

impl std::ops::Deref for Stage {
    type Target = [Staged];

    fn deref(&self) -> &[Staged] {
        &self.0
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        for staged in &self.0 {
            if let Staged::Ready { temporary, .. } = staged {
                // After a commit it has been renamed and is gone already.
                let _ = fs::remove_file(temporary);
            }
        }
    }
}

/// Prepares the photos of a batch: one answer per task. Nothing here stops the batch.
pub(super) fn stage(places: &Places, tasks: &[Task]) -> Stage {
    let wanted: Vec<Option<&str>> = tasks.iter().map(wanted_photo).collect();
    let staged = wanted.into_iter().zip(tasks).enumerate().map(|(index, (wanted, task))| {
        if let (Some(_), Task::Update(UpdateTask { user_id, .. }) | Task::Delete(DeleteTask { user_id, .. })) =
            (wanted, task)
        {
            keep_ahead(places, *user_id);
        }
        match wanted {
            None => Staged::Unchanged,
            Some("") => Staged::Removed,
            Some(md5) => match prepare(places, index, md5) {
                Ok(temporary) => Staged::Ready { md5: md5.to_owned(), temporary },
                Err(reason) => Staged::Failed(reason),
            },
        }
    });
    let mut stage = Stage(staged.collect());
    flush(places, &mut stage.0);
    stage
}

/// Brings the new files of a batch to the disk, several at once: the disk then writes its own journal once for them.
fn flush(places: &Places, staged: &mut [Staged]) {
    let new = staged.iter_mut().filter(|one| matches!(one, Staged::Ready { .. }));
    let mut new: Vec<&mut Staged> = new.collect();
    let share = new.len().div_ceil(FLUSHED_AT_ONCE).max(1);
    std::thread::scope(|scope| {
        for some in new.chunks_mut(share) {
            scope.spawn(move || some.iter_mut().for_each(|one| flush_one(places, one)));
        }
    });
}

fn flush_one(places: &Places, staged: &mut Staged) {
    let Staged::Ready { temporary, .. } = &*staged else { return };
    if let Err(error) = File::open(temporary).and_then(|file| file.sync_all()) {
        let _ = fs::remove_file(temporary);
        *staged = Staged::Failed(not_stored(places, &error));
    }
}

fn not_stored(places: &Places, error: &io::Error) -> String {
    format!("the photo cannot be stored in {}: {error}", places.avatars().display())
}

fn wanted_photo(task: &Task) -> Option<&str> {
    match task {
        Task::Create(task) => Some(task.values[Field::Photo].as_str()).filter(|photo| !photo.is_empty()),
        Task::Update(task) => {
            let changes = task.fields.contains(&Field::Photo) && task.new[Field::Photo] != task.old[Field::Photo];
            changes.then_some(task.new[Field::Photo].as_str())
        }
        Task::Account(_) => None,
        Task::Delete(_) => Some(""),
    }
}

/// Puts right what a process left that ended in the middle of a batch. `column` answers `m_Users.avatar`, empty when there
/// is no such user; an error leaves the employee's files as they are.
pub(super) fn sweep(places: &Places, column: impl Fn(i64) -> rusqlite::Result<String>) {
    let Ok(entries) = fs::read_dir(places.avatars()) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with(NEW_PREFIX) {
            report(&entry.path(), fs::remove_file(entry.path()));
        } else if let Some(user_id) = name.strip_prefix(OLD_PREFIX).and_then(user_of) {
            match column(user_id) {
                Ok(avatar) => report(&entry.path(), settle_old(places, &entry.path(), user_id, &avatar)),
                Err(error) => log::warn!("cannot tell whose photo {} is: {error}", entry.path().display()),
            }
        }
    }
}

/// The reverse of [`file_name`].
fn user_of(file_name: &str) -> Option<i64> {
    file_name.strip_prefix("user_")?.strip_suffix(".jpg")?.parse().ok()
}

/// An old photo whose new one is in place: was that transaction committed? When it was, or when the PBX has stored
/// another photo since, the column names the bytes of the file in place; when it has removed the photo, it is empty.
fn settle_old(places: &Places, old: &Path, user_id: i64, avatar: &str) -> io::Result<()> {
    let target = places.of_user(user_id);
    keep(places, &read_small(old)?)?;
    let in_place = read_small(&target).ok();
    let named = stored_hash(avatar).ok().flatten();
    if avatar.is_empty() || (named.is_some() && named == in_place.as_deref().map(picture::md5)) {
        return fs::remove_file(old);
    }
    if let Some(bytes) = in_place {
        keep(places, &bytes)?;
    }
    fs::rename(old, &target)
}

fn report(path: &Path, result: io::Result<()>) {
    if let Err(error) = result {
        log::warn!("cannot tidy up {}: {error}", path.display());
    }
}

fn prepare(places: &Places, index: usize, md5: &str) -> Result<PathBuf, String> {
    let bytes = spooled(places, md5)?;
    if picture::md5(&bytes) != md5 {
        return Err("the photo was damaged on its way; it is fetched again at the next change".to_owned());
    }
    picture::check(&bytes)?;
    let avatars = places.avatars();
    let failed = |error: io::Error| not_stored(places, &error);
    ensure_directory(places).map_err(failed)?;
    let temporary = avatars.join(format!("{NEW_PREFIX}{index}-{md5}"));
    write_photo(places, &temporary, &bytes).map_err(|error| {
        let _ = fs::remove_file(&temporary);
        failed(error)
    })?;
    Ok(temporary)
}

/// A new photo lies in the spool; one that an undo brings back lies among the replaced.
fn spooled(places: &Places, md5: &str) -> Result<Vec<u8>, String> {
    if md5.is_empty() || !md5.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err("the photo has no valid MD5".to_owned());
    }
    let path = places.spool.join(md5);
    read_small(&path)
        .or_else(|_| read_small(&places.replaced_photos.join(md5)))
        .map_err(|error| format!("the photo is not in the spool {}: {error}", places.spool.display()))
}

fn ensure_directory(places: &Places) -> io::Result<()> {
    let avatars = places.avatars();
    if !avatars.is_dir() {
        fs::create_dir(&avatars)?;
        fs::set_permissions(&avatars, fs::Permissions::from_mode(0o755))?;
        give_to_owner_of(&places.media, &avatars)?;
    }
    Ok(())
}

fn write_photo(places: &Places, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.set_permissions(fs::Permissions::from_mode(0o644))?;
    give_to_owner_of(&places.media, path)
}

/// Only root can give files away; anybody else writes as themselves.
fn give_to_owner_of(model: &Path, path: &Path) -> io::Result<()> {
    if fs::metadata(path)?.uid() != 0 {
        return Ok(());
    }
    let owner = fs::metadata(model)?;
    chown(path, Some(owner.uid()), Some(owner.gid()))
}

/// Keeps the file about to be replaced before any lock is held; [`swap`] looks again.
fn keep_ahead(places: &Places, user_id: i64) {
    if let Ok(bytes) = read_small(&places.of_user(user_id)) {
        report(&places.replaced_photos, keep(places, &bytes));
    }
}

/// Stores bytes among the replaced photos, unless they are there.
fn keep(places: &Places, bytes: &[u8]) -> io::Result<()> {
    let kept = places.replaced_photos.join(picture::md5(bytes));
    if kept.exists() {
        return Ok(());
    }
    fs::create_dir_all(&places.replaced_photos)?;
    let temporary = kept.with_extension("new");
    let mut file = File::create(&temporary)?;
    file.write_all(bytes)?;
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    file.sync_all()?;
    fs::rename(&temporary, &kept)
}

/// One photo to put into place.
pub(super) struct Swap<'a> {
    /// `m_Users.id`.
    pub(super) user_id: i64,
    /// `m_Users.avatar` as it was.
    pub(super) previous: String,
    /// What comes.
    pub(super) staged: &'a Staged,
}

/// Files that were put into place. Dropping it before [`Swapped::finish`] puts the old ones back.
#[derive(Default)]
pub(super) struct Swapped {
    done: Vec<Renamed>,
    removed: Vec<PathBuf>,
}

struct Renamed {
    temporary: PathBuf,
    target: PathBuf,
    old: Option<PathBuf>,
}

/// Puts the photos of a batch into place, at the end of its transaction.
pub(super) fn swap(places: &Places, photos: &[Swap<'_>]) -> Result<Swapped, PbxError> {
    let mut swapped = Swapped::default();
    for photo in photos {
        let target = places.of_user(photo.user_id);
        swap_one(places, photo, &target, &mut swapped).map_err(|error| {
            PbxError::new(format!(
                "the photo {} cannot be replaced: {error}; nothing was changed; check the rights of the directory and the \
                 free space",
                target.display()
            ))
        })?;
    }
    Ok(swapped)
}

fn swap_one(places: &Places, photo: &Swap<'_>, target: &Path, swapped: &mut Swapped) -> io::Result<()> {
    keep_previous(places, &photo.previous, target)?;
    match photo.staged {
        Staged::Unchanged | Staged::Failed(_) => {}
        Staged::Removed => swapped.removed.push(target.to_owned()),
        Staged::Ready { temporary, .. } => {
            let old = if target.exists() {
                let old = places.avatars().join(format!("{OLD_PREFIX}{}", file_name(photo.user_id)));
                fs::rename(target, &old)?;
                Some(old)
            } else {
                None
            };
            swapped.done.push(Renamed { temporary: temporary.clone(), target: target.to_owned(), old });
            fs::rename(temporary, target)?;
        }
    }
    Ok(())
}

/// The photo the column stood for, and the file in the way when it is another one.
fn keep_previous(places: &Places, previous: &str, target: &Path) -> io::Result<()> {
    if let Some(bytes) = data_uri(previous) {
        keep(places, &bytes)?;
    }
    let named = stored_file(previous, &places.media).unwrap_or_else(|| target.to_owned());
    for path in [named.as_path(), target] {
        if let Ok(bytes) = read_small(path) {
            keep(places, &bytes)?;
        }
    }
    Ok(())
}

impl Swapped {
    /// The transaction is committed: the old files go.
    pub(super) fn finish(mut self) {
        for renamed in std::mem::take(&mut self.done) {
            if let Some(old) = renamed.old {
                report(&old, fs::remove_file(&old));
            }
        }
        for path in std::mem::take(&mut self.removed) {
            if path.exists() {
                report(&path, fs::remove_file(&path));
            }
        }
    }
}

impl Drop for Swapped {
    fn drop(&mut self) {
        for renamed in std::mem::take(&mut self.done).into_iter().rev() {
            // The new file goes back under its temporary name, for the next attempt. When its rename was what failed,
            // there is nothing to move.
            if !renamed.temporary.exists() {
                report(&renamed.target, fs::rename(&renamed.target, &renamed.temporary));
            }
            if let Some(old) = renamed.old {
                report(&renamed.target, fs::rename(&old, &renamed.target));
            }
        }
    }
}
