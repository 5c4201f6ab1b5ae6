//! A directory in memory that writes by compare-and-set and fails where a test wants it to.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use sync_core::directory::{
    Changed, Coverage, Directory, DirectoryError, DirectoryErrorKind, DirectorySnapshot, DirectoryWrite, Elsewhere,
    NewValue, Position, RawValue, ReadRequest, WriteOutcome,
};
use sync_core::person::{AccountState, Attributes, DirectoryEntry, DirectoryKey, Field, Photo, SmolStr};

use sync_core::recency::DirectoryTime;
use sync_core::vault::Vault;

use crate::pbx_support::{md5, vault};

/// The double.
#[derive(Default)]
pub(crate) struct DirectoryDouble {
    entries: BTreeMap<String, DirectoryEntry>,
    photos: BTreeMap<String, Vec<u8>>,
    changes: u64,
    /// Who was changed, change by change.
    log: Vec<String>,
    /// How often entries were read, and how many.
    pub(crate) reads: usize,
    pub(crate) entries_read: usize,
    /// What reads cover; everything unless set.
    pub(crate) coverage: Option<Coverage>,
    /// Entries outside the server's base or filter.
    pub(crate) elsewhere: BTreeMap<String, Elsewhere>,
    /// What is told about the times of edits.
    pub(crate) times: BTreeMap<(DirectoryKey, Field), DirectoryTime>,
    /// For how many people times were asked.
    pub(crate) asked_for_times: usize,
    /// Attributes that may not be read any more.
    pub(crate) unreadable: BTreeSet<Field>,
    /// Nobody is shown any more.
    pub(crate) hides_everybody: bool,
    /// Attributes that may not be written.
    pub(crate) read_only: BTreeSet<Field>,
    /// The process "dies" when so many values stand in the directory, before it hears of the last one.
    pub(crate) dies_after_writes: Option<usize>,
}

impl DirectoryDouble {
    /// A new entry.
    pub(crate) fn add(&mut self, key: &str, values: &[(Field, &str)]) {
        let attributes = values.iter().copied().collect();
        let entry = DirectoryEntry {
            key: DirectoryKey(key.to_owned()),
            dn: format!("uid={key},dc=example,dc=test"),
            attributes,
            ..DirectoryEntry::default()
        };
        self.entries.insert(key.to_owned(), entry);
        self.touch(key);
    }

    /// Changes one value of an entry; an empty one clears it.
    pub(crate) fn set(&mut self, key: &str, field: Field, value: &str) {
        let values: Vec<&str> = Some(value).filter(|value| !value.is_empty()).into_iter().collect();
        self.put(key, field, &values);
        self.touch(key);
    }

    /// Gives an entry a photo.
    pub(crate) fn set_photo(&mut self, key: &str, photo: Vec<u8>) {
        self.photos.insert(key.to_owned(), photo);
        self.touch(key);
    }

    /// Switches an account off.
    pub(crate) fn disable(&mut self, key: &str) {
        self.entry(key).account = AccountState::Disabled;
        self.touch(key);
    }

    /// Switches an account on again.
    pub(crate) fn enable(&mut self, key: &str) {
        self.entry(key).account = AccountState::Active;
        self.touch(key);
    }

    /// Gives an entry the number by which the company knows the person.
    pub(crate) fn set_employee_number(&mut self, key: &str, number: &str) {
        self.entry(key).employee_number = number.to_owned();
        self.touch(key);
    }

    /// Deletes all entries but some.
    pub(crate) fn keep_only(&mut self, keep: impl Fn(&str) -> bool) {
        let gone: Vec<String> = self.entries.keys().filter(|key| !keep(key)).cloned().collect();
        self.entries.retain(|key, _| keep(key));
        self.changes += gone.len() as u64;
        self.log.extend(gone);
    }

    /// Whether there is such an entry.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// The value of one attribute; several are joined.
    pub(crate) fn value(&self, key: &str, field: Field) -> String {
        self.entries[key].attributes.of(field).map(SmolStr::as_str).collect::<Vec<_>>().join("|")
    }

    /// All values and change marks.
    pub(crate) fn values(&self) -> BTreeMap<String, (String, Attributes)> {
        let entries = self.entries.iter();
        entries.map(|(key, entry)| (key.clone(), (entry.change_mark.clone(), entry.attributes.clone()))).collect()
    }

    fn entry(&mut self, key: &str) -> &mut DirectoryEntry {
        self.entries.get_mut(key).unwrap_or_else(|| panic!("the directory has no {key}"))
    }

    /// Puts these values in the place of all the values of an attribute.
    fn put(&mut self, key: &str, field: Field, values: &[impl AsRef<str>]) {
        let attributes = &mut self.entry(key).attributes;
        let others = attributes.iter().filter(|(one, _)| *one != field).map(|(one, value)| (one, value.clone()));
        let values = values.iter().map(|value| (field, SmolStr::new(value)));
        *attributes = others.chain(values).collect();
    }

    fn touch(&mut self, key: &str) {
        self.changes += 1;
        self.log.push(key.to_owned());
        self.entry(key).change_mark = format!("change {}", self.changes);
    }

    fn photo(&self, key: &str, spool: &Path) -> Photo {
        let Some(bytes) = self.photos.get(key) else { return Photo::Absent };
        fs::create_dir_all(spool).expect("the spool");
        let md5 = md5(bytes);
        fs::write(spool.join(&md5), bytes).expect("a photo");
        Photo::Spooled { md5 }
    }

    fn write_one(&mut self, write: &DirectoryWrite, vault: &Vault) -> WriteOutcome {
        let key = &write.key.0;
        if self.read_only.contains(&write.field) {
            return WriteOutcome::NoRights(format!("{} may not be written", write.field.name()));
        }
        let raw = |value: &RawValue| String::from_utf8(value.0.clone()).expect("text");
        match &write.value {
            NewValue::Text { seen, replaces, value } => {
                let secret = write.field == Field::Secret;
                let of = |value: &RawValue| if secret { vault.keep(&raw(value)) } else { raw(value) };
                let (seen, replaces): (Vec<_>, _) = (seen.iter().map(of).collect(), replaces.as_ref().map(of));
                let new = of(value);
                if !self.entry(key).attributes.of(write.field).eq(&seen) {
                    return WriteOutcome::ChangedMeanwhile;
                }
                let others = seen.into_iter().filter(|value| Some(value) != replaces.as_ref());
                let values: Vec<String> = others.chain(Some(new).filter(|new| !new.is_empty())).collect();
                self.put(key, write.field, &values);
            }
            NewValue::Photo { replaces, image } => {
                if self.photos.get(key).map(|photo| md5(photo)).unwrap_or_default() != *replaces {
                    return WriteOutcome::ChangedMeanwhile;
                }
                if image.0.is_empty() {
                    self.photos.remove(key);
                } else {
                    self.photos.insert(key.clone(), image.0.clone());
                }
            }
        }
        self.touch(key);
        WriteOutcome::Written { change_mark: self.entries[key].change_mark.clone() }
    }
}

impl Directory for DirectoryDouble {
    fn mark(&mut self) -> Result<Option<String>, DirectoryError> {
        Ok(Some(self.changes.to_string()))
    }

    fn cookie(&mut self) -> Result<String, DirectoryError> {
        Ok(self.changes.to_string())
    }

    fn changed(&mut self, since: &Position, _: i64) -> Result<Changed, DirectoryError> {
        let Position { mark, cookie } = since;
        assert!(mark.parse::<usize>().is_err() || mark == cookie, "mark {mark} and cookie {cookie} are of two times");
        let Ok(since) = mark.parse::<usize>() else { return Ok(Changed::Unknown("no number".to_owned())) };
        let changed = self.log.iter().skip(since).map(|key| DirectoryKey(key.clone()));
        let mark = self.changes.to_string();
        let position = Position { cookie: mark.clone(), mark };
        Ok(Changed::Known { changed: changed.collect(), present: None, position })
    }

    fn read(
        &mut self,
        request: &ReadRequest<'_>,
        progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Result<DirectorySnapshot, DirectoryError> {
        let unknown = DirectoryError { kind: DirectoryErrorKind::Cancelled, message: "photos".to_owned() };
        let photos = (request.photos)().ok_or(unknown)?;
        let answer = |entry: &DirectoryEntry| {
            let known = photos.marks.get(&entry.key) == Some(&entry.change_mark);
            let photo = if known { Photo::NotAsked } else { self.photo(&entry.key.0, request.spool) };
            DirectoryEntry { photo, ..entry.clone() }
        };
        let asked = |entry: &&DirectoryEntry| request.only.is_none_or(|only| only.contains(&entry.key));
        let shown = |entry: &DirectoryEntry| {
            let attributes = entry.attributes.iter().filter(|(field, _)| !self.unreadable.contains(field));
            DirectoryEntry {
                attributes: attributes.map(|(field, value)| (field, value.clone())).collect(),
                ..answer(entry)
            }
        };
        let all = self.entries.values().filter(|_| !self.hides_everybody);
        let entries: Vec<Arc<DirectoryEntry>> = all.filter(asked).map(shown).map(Arc::new).collect();
        self.reads += 1;
        self.entries_read += entries.len();
        assert!(progress(entries.len() as u64).is_continue(), "nobody cancels a read here");
        let coverage = self.coverage.clone().unwrap_or(Coverage::Full);
        let (elsewhere, asked) = (BTreeMap::new(), request.only.cloned());
        Ok(DirectorySnapshot { entries, coverage, elsewhere, warnings: Vec::new(), asked, newest: None })
    }

    fn find(&mut self, keys: &[DirectoryKey], _: i64) -> Result<BTreeMap<DirectoryKey, Elsewhere>, DirectoryError> {
        let found = keys.iter().filter_map(|key| Some((key.clone(), self.elsewhere.get(&key.0)?.clone())));
        Ok(found.collect())
    }

    fn edit_times(
        &mut self,
        wanted: &BTreeMap<DirectoryKey, BTreeSet<Field>>,
    ) -> Result<BTreeMap<(DirectoryKey, Field), DirectoryTime>, DirectoryError> {
        self.asked_for_times += wanted.len();
        Ok(self.times.clone())
    }

    fn write(
        &mut self,
        writes: &[DirectoryWrite],
        _: &Path,
        done: &mut dyn FnMut(usize, &WriteOutcome),
    ) -> Result<(), DirectoryError> {
        let vault = vault();
        for (index, write) in writes.iter().enumerate() {
            let outcome = self.write_one(write, &vault);
            if let Some(left) = &mut self.dies_after_writes {
                *left -= 1;
                assert!(*left > 0, "the process dies here");
            }
            done(index, &outcome);
        }
        Ok(())
    }
}
