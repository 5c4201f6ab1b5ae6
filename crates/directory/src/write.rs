//! Writing values by compare-and-set: nobody's newer edit is overwritten.
//!
//! OpenLDAP proves it with an assertion on the entryCSN that was read (RFC 4528). Elsewhere a modify deletes exactly the
//! old value and adds the new one, the attribute is read just before, and after an addition just after: of a multi-valued
//! attribute the server itself would accept a second value.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ldap3::controls::{Assertion, MakeCritical, PostRead, RawControl};
use ldap3::{LdapResult, Mod, Scope};
use sync_core::directory::{DirectoryError, DirectoryErrorKind, DirectoryWrite, NewValue, RawValue, WriteOutcome};
use sync_core::person::{DirectoryKey, Field};
use sync_core::picture;
use tokio::task::JoinSet;

use crate::connection::{Connection, RootDse, Session, control_value};
use crate::entry::{BadEntry, RawEntry};
use crate::errors::{error, named};
use crate::settings::{ServerSettings, Vendor};
use crate::{ber, filter, ids, photos};

/// Entries written at the same time over one connection.
const IN_FLIGHT: usize = 16;
/// Characters of a refused value that are shown.
const SHOWN: usize = 64;
/// Assertion control (RFC 4528).
const ASSERTION: &str = "1.3.6.1.1.12";
/// Post-read control (RFC 4527).
const POST_READ: &str = "1.3.6.1.1.13.2";

/// Result codes that matter here (RFC 4511, appendix A; 122 is of RFC 4528).
mod code {
    pub(crate) const SUCCESS: u32 = 0;
    pub(crate) const NO_SUCH_ATTRIBUTE: u32 = 16;
    pub(crate) const INAPPROPRIATE_MATCHING: u32 = 18;
    pub(crate) const CONSTRAINT_VIOLATION: u32 = 19;
    pub(crate) const ATTRIBUTE_OR_VALUE_EXISTS: u32 = 20;
    pub(crate) const NO_SUCH_OBJECT: u32 = 32;
    pub(crate) const INSUFFICIENT_ACCESS: u32 = 50;
    pub(crate) const NOT_ALLOWED_ON_RDN: u32 = 67;
    pub(crate) const ASSERTION_FAILED: u32 = 122;
}

type Outcomes = Vec<(usize, WriteOutcome)>;

/// Writes everything; `done` gets each outcome as soon as it is certain.
pub(crate) async fn write(
    connection: &Connection,
    settings: Arc<ServerSettings>,
    writes: &[DirectoryWrite],
    replaced_photos: &Path,
    done: &mut dyn FnMut(usize, &WriteOutcome),
) -> Result<(), DirectoryError> {
    let (session, root) = (connection.session.clone(), connection.root.clone());
    let writer = Arc::new(Writer { session, root, settings, replaced_photos: replaced_photos.to_owned() });
    let mut waiting = groups(writes, &writer.settings).into_iter();
    let mut running: JoinSet<(Outcomes, Result<(), DirectoryError>)> = JoinSet::new();
    let mut failure = Ok(());
    loop {
        while failure.is_ok() && running.len() < IN_FLIGHT {
            let Some(group) = waiting.next() else { break };
            let writer = Arc::clone(&writer);
            running.spawn(async move {
                let mut outcomes = Vec::new();
                let end = writer.write_entry(group, &mut outcomes).await;
                (outcomes, end)
            });
        }
        let Some(joined) = running.join_next().await else { return failure };
        let (outcomes, end) = joined.unwrap_or_else(|reason| {
            let text = format!("a write to {} broke off: {reason}", writer.session.link.endpoint);
            (Vec::new(), Err(error(DirectoryErrorKind::Other, text)))
        });
        outcomes.iter().for_each(|(index, outcome)| done(*index, outcome));
        failure = failure.and(end);
    }
}

/// One text with the attribute it goes to.
#[derive(Clone, Debug)]
struct Job {
    index: usize,
    field: Field,
    attribute: String,
    dn: String,
    seen: BTreeSet<RawValue>,
    replaces: Option<RawValue>,
    value: RawValue,
}

impl Job {
    /// The attribute's values after the write, given those before.
    fn applied(&self, before: &BTreeSet<RawValue>) -> BTreeSet<RawValue> {
        let mut after = before.clone();
        if let Some(old) = &self.replaces {
            after.remove(old);
        }
        if !self.value.is_empty() {
            after.insert(self.value.clone());
        }
        after
    }

    fn changes_nothing(&self) -> bool {
        self.applied(&self.seen) == self.seen
    }

    fn adds(&self) -> bool {
        self.replaces.is_none()
    }

    /// The smallest change: exactly the old value out, exactly the new one in.
    fn modifications(&self) -> Vec<Mod<Vec<u8>>> {
        let after = self.applied(&self.seen);
        let set = |value: &RawValue| HashSet::from([value.0.clone()]);
        let name = || self.attribute.clone().into_bytes();
        let out = self.replaces.iter().filter(|old| !after.contains(*old)).map(|old| Mod::Delete(name(), set(old)));
        let added = after.difference(&self.seen).map(|new| Mod::Add(name(), set(new)));
        out.chain(added).collect()
    }

    /// The value as a sentence may show it: never a SIP secret.
    fn shown(&self) -> String {
        match self.field {
            Field::Secret => "the SIP secret".to_owned(),
            _ => format!("\"{}\"", String::from_utf8_lossy(&self.value.0).chars().take(SHOWN).collect::<String>()),
        }
    }
}

/// One photo with the attribute it goes to.
#[derive(Clone, Debug)]
struct PhotoJob {
    index: usize,
    attribute: String,
    dn: String,
    /// MD5 of the photo that is replaced; empty where there must be none.
    replaces: String,
    image: RawValue,
}

/// Writes that go to one entry.
struct Group {
    target: Target,
    jobs: Vec<Job>,
    photos: Vec<PhotoJob>,
}

/// The entry as far as it is known.
struct Target {
    key: DirectoryKey,
    dn: String,
    mark: String,
    looked_up: bool,
}

fn groups(writes: &[DirectoryWrite], settings: &ServerSettings) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let mut places: BTreeMap<DirectoryKey, usize> = BTreeMap::new();
    for (index, write) in writes.iter().enumerate() {
        let place = *places.entry(write.key.clone()).or_insert_with(|| {
            let dn = ids::stable_dn(settings.vendor, &write.key).unwrap_or_else(|| write.dn.clone());
            let target = Target { key: write.key.clone(), dn, mark: write.change_mark.clone(), looked_up: false };
            groups.push(Group { target, jobs: Vec::new(), photos: Vec::new() });
            groups.len() - 1
        });
        let (attribute, dn) = (settings.attributes.of(write.field).to_owned(), write.dn.clone());
        match &write.value {
            NewValue::Text { seen, replaces, value } => groups[place].jobs.push(Job {
                index,
                field: write.field,
                attribute,
                dn,
                seen: seen.iter().filter(|value| !value.is_empty()).cloned().collect(),
                replaces: replaces.clone(),
                value: value.clone(),
            }),
            NewValue::Photo { replaces, image } => {
                let (replaces, image) = (replaces.clone(), image.clone());
                groups[place].photos.push(PhotoJob { index, attribute, dn, replaces, image });
            }
        }
    }
    groups
}

struct Writer {
    session: Session,
    root: RootDse,
    settings: Arc<ServerSettings>,
    /// Where photos go that are overwritten.
    replaced_photos: PathBuf,
}

/// Jobs the server refused together, with its result.
struct Refusal {
    result: LdapResult,
    jobs: Vec<Job>,
}

impl Writer {
    async fn write_entry(&self, group: Group, outcomes: &mut Outcomes) -> Result<(), DirectoryError> {
        let Group { mut target, jobs, photos } = group;
        self.write_texts(&mut target, jobs, outcomes).await?;
        for photo in photos {
            let outcome = self.write_photo(&mut target, &photo).await?;
            outcomes.push((photo.index, outcome));
        }
        Ok(())
    }

    async fn write_texts(
        &self,
        target: &mut Target,
        jobs: Vec<Job>,
        outcomes: &mut Outcomes,
    ) -> Result<(), DirectoryError> {
        let jobs = self.sort_out(jobs, outcomes);
        let Some(refusal) = self.try_together(target, jobs, outcomes).await? else { return Ok(()) };
        let single = refusal.jobs.len() == 1;
        for job in refusal.jobs {
            // What was refused together is tried one by one, so that one attribute does not hold up the others.
            let result = if single {
                refusal.result.clone()
            } else {
                match self.try_together(target, vec![job.clone()], outcomes).await? {
                    Some(alone) => alone.result,
                    None => continue,
                }
            };
            let outcome = self.judge(target, &job, &result).await?;
            outcomes.push((job.index, outcome));
        }
        Ok(())
    }

    /// Photos are compared by hash, read just before. Most directories have no equality rule for them, so all values are
    /// replaced, ours by the new one: under the assertion where there is one, and read again afterwards where there is none.
    async fn write_photo(&self, target: &mut Target, job: &PhotoJob) -> Result<WriteOutcome, DirectoryError> {
        if job.attribute.is_empty() {
            return Ok(WriteOutcome::Refused("no attribute is mapped to the photo".to_owned()));
        }
        let names = [job.attribute.clone()];
        let entry = match self.read_again(target, &names).await? {
            Ok(entry) => entry,
            Err(text) => return Ok(WriteOutcome::Refused(text)),
        };
        let (ours, others): (Vec<&[u8]>, Vec<&[u8]>) = entry
            .values(&job.attribute)
            .filter(|value| !value.is_empty())
            .partition(|value| !job.replaces.is_empty() && picture::md5(value) == job.replaces);
        if ours.is_empty() != job.replaces.is_empty() || (job.replaces.is_empty() && !others.is_empty()) {
            return Ok(WriteOutcome::ChangedMeanwhile);
        }
        if let Some(old) = ours.first()
            && let Err(reason) = photos::keep(&self.replaced_photos, &job.replaces, old)
        {
            let place = self.replaced_photos.display();
            let text = format!("the photo it replaces cannot be kept in {place}, so nothing was written: {reason}");
            return Ok(WriteOutcome::Refused(text));
        }
        let result = self.modify(target, photo_changes(job, &ours, &others, self.is_single_valued())).await?;
        match result.rc {
            code::SUCCESS if self.asserts(target) => {
                self.settle(target, &result);
                Ok(WriteOutcome::Written { change_mark: target.mark.clone() })
            }
            code::SUCCESS => {
                target.mark.clear();
                let stands = self.read_again(target, &names).await?.is_ok_and(|entry| holds_photo(&entry, job));
                let written = WriteOutcome::Written { change_mark: String::new() };
                Ok(if stands { written } else { WriteOutcome::ChangedMeanwhile })
            }
            code::ASSERTION_FAILED | code::NO_SUCH_ATTRIBUTE | code::ATTRIBUTE_OR_VALUE_EXISTS => {
                Ok(WriteOutcome::ChangedMeanwhile)
            }
            _ => Ok(self.refused(&job.attribute, &job.dn, "the photo", &result)),
        }
    }

    /// Active Directory compares photos byte by byte: there the old one can be taken out exactly.
    fn is_single_valued(&self) -> bool {
        self.settings.vendor == Vendor::ActiveDirectory
    }

    /// Takes out what needs no server or cannot be done.
    fn sort_out(&self, jobs: Vec<Job>, outcomes: &mut Outcomes) -> Vec<Job> {
        let (jobs, rest): (Vec<Job>, Vec<Job>) =
            jobs.into_iter().partition(|job| refusal_before_sending(job).is_none() && !job.changes_nothing());
        outcomes.extend(rest.into_iter().map(|job| {
            let written = WriteOutcome::Written { change_mark: String::new() };
            (job.index, refusal_before_sending(&job).map_or(written, WriteOutcome::Refused))
        }));
        jobs
    }

    /// Makes all the jobs one modify; what the server refuses comes back.
    async fn try_together(
        &self,
        target: &mut Target,
        jobs: Vec<Job>,
        outcomes: &mut Outcomes,
    ) -> Result<Option<Refusal>, DirectoryError> {
        if jobs.is_empty() {
            return Ok(None);
        }
        if self.asserts(target) {
            return self.try_asserted(target, jobs, outcomes).await;
        }
        self.try_checked(target, jobs, outcomes).await
    }

    fn asserts(&self, target: &Target) -> bool {
        self.settings.vendor == Vendor::OpenLdap && self.root.offers(ASSERTION) && !target.mark.is_empty()
    }

    /// The controls that make a modify depend on the entry being as it was read.
    fn assertion(&self, target: &Target) -> Vec<RawControl> {
        if !self.asserts(target) {
            return Vec::new();
        }
        let unchanged: RawControl = Assertion { filter: filter::equals("entryCSN", &target.mark) }.critical().into();
        let mut controls = vec![unchanged];
        if self.root.offers(POST_READ) {
            controls.push(PostRead::new(vec!["entryCSN"]));
        }
        controls
    }

    async fn try_asserted(
        &self,
        target: &mut Target,
        jobs: Vec<Job>,
        outcomes: &mut Outcomes,
    ) -> Result<Option<Refusal>, DirectoryError> {
        let changes = jobs.iter().flat_map(Job::modifications).collect();
        let result = self.modify(target, changes).await?;
        match result.rc {
            code::SUCCESS => {
                self.settle(target, &result);
                let written = |job: &Job| (job.index, WriteOutcome::Written { change_mark: target.mark.clone() });
                outcomes.extend(jobs.iter().map(written));
                Ok(None)
            }
            code::ASSERTION_FAILED => {
                outcomes.extend(jobs.iter().map(|job| (job.index, WriteOutcome::ChangedMeanwhile)));
                Ok(None)
            }
            _ => Ok(Some(Refusal { result, jobs })),
        }
    }

    /// Takes the entry's new mark from the post-read answer; without one nothing is known.
    fn settle(&self, target: &mut Target, result: &LdapResult) {
        target.mark = control_value(&result.ctrls, POST_READ).and_then(mark_after).unwrap_or_default();
    }

    async fn try_checked(
        &self,
        target: &mut Target,
        jobs: Vec<Job>,
        outcomes: &mut Outcomes,
    ) -> Result<Option<Refusal>, DirectoryError> {
        let entry = match self.read_again(target, &attributes_of(&jobs)).await? {
            Ok(entry) => entry,
            Err(text) => {
                outcomes.extend(jobs.iter().map(|job| (job.index, WriteOutcome::Refused(text.clone()))));
                return Ok(None);
            }
        };
        let (jobs, changed): (Vec<Job>, Vec<Job>) =
            jobs.into_iter().partition(|job| values(&entry, &job.attribute) == job.seen);
        outcomes.extend(changed.iter().map(|job| (job.index, WriteOutcome::ChangedMeanwhile)));
        if jobs.is_empty() {
            return Ok(None);
        }
        let changes = jobs.iter().flat_map(Job::modifications).collect();
        let result = self.modify(target, changes).await?;
        if result.rc != code::SUCCESS {
            return Ok(Some(Refusal { result, jobs }));
        }
        // The mark of a later read may hide somebody else's edit, so none is given.
        target.mark.clear();
        self.check_after(target, jobs, outcomes).await?;
        Ok(None)
    }

    /// After additions: a value that nobody here knows means that somebody else added one at the same moment.
    async fn check_after(
        &self,
        target: &mut Target,
        jobs: Vec<Job>,
        outcomes: &mut Outcomes,
    ) -> Result<(), DirectoryError> {
        let mut expected: BTreeMap<String, BTreeSet<RawValue>> = BTreeMap::new();
        for job in &jobs {
            let before = expected.remove(&job.attribute).unwrap_or_else(|| job.seen.clone());
            expected.insert(job.attribute.clone(), job.applied(&before));
        }
        let adds = jobs.iter().any(Job::adds);
        let entry = if adds { self.read_again(target, &attributes_of(&jobs)).await?.ok() } else { None };
        for job in jobs {
            let outcome = match &entry {
                Some(entry) if job.adds() => {
                    let now = values(entry, &job.attribute);
                    self.check_added(target, &job, &now, &expected[&job.attribute]).await?
                }
                _ => WriteOutcome::Written { change_mark: String::new() },
            };
            outcomes.push((job.index, outcome));
        }
        Ok(())
    }

    async fn check_added(
        &self,
        target: &mut Target,
        job: &Job,
        now: &BTreeSet<RawValue>,
        expected: &BTreeSet<RawValue>,
    ) -> Result<WriteOutcome, DirectoryError> {
        if !now.contains(&job.value) {
            return Ok(WriteOutcome::ChangedMeanwhile);
        }
        if now.is_subset(expected) {
            return Ok(WriteOutcome::Written { change_mark: String::new() });
        }
        let ours = HashSet::from([job.value.0.clone()]);
        let result = self.modify(target, vec![Mod::Delete(job.attribute.clone().into_bytes(), ours)]).await?;
        Ok(match result.rc {
            code::SUCCESS | code::NO_SUCH_ATTRIBUTE => WriteOutcome::ChangedMeanwhile,
            _ => WriteOutcome::Refused(format!(
                "{} of {} got another value at the same moment, and ours could not be taken back ({}): both stand there",
                job.attribute,
                target.dn,
                named(&result)
            )),
        })
    }

    /// Explains why one write was refused, and takes the way around servers that cannot compare a value.
    async fn judge(&self, target: &mut Target, job: &Job, result: &LdapResult) -> Result<WriteOutcome, DirectoryError> {
        match result.rc {
            code::ASSERTION_FAILED => Ok(WriteOutcome::ChangedMeanwhile),
            code::INAPPROPRIATE_MATCHING => self.replace_whole(target, job).await,
            code::NO_SUCH_ATTRIBUTE | code::ATTRIBUTE_OR_VALUE_EXISTS | code::CONSTRAINT_VIOLATION => {
                let now = self.read_again(target, std::slice::from_ref(&job.attribute)).await?;
                let unchanged = now.as_ref().is_ok_and(|entry| values(entry, &job.attribute) == job.seen);
                if !unchanged {
                    return Ok(WriteOutcome::ChangedMeanwhile);
                }
                if result.rc == code::ATTRIBUTE_OR_VALUE_EXISTS && !job.adds() && job.seen.len() > 1 {
                    return self.take_out(target, job).await;
                }
                Ok(self.refused(&job.attribute, &job.dn, &job.shown(), result))
            }
            _ => Ok(self.refused(&job.attribute, &job.dn, &job.shown(), result)),
        }
    }

    /// Another value of the attribute is the new one already, spelled differently, as telephoneNumberMatch ignores spaces
    /// and hyphens (RFC 4517, 4.2.29): only the old value goes.
    async fn take_out(&self, target: &mut Target, job: &Job) -> Result<WriteOutcome, DirectoryError> {
        let mut removal = job.clone();
        removal.value = RawValue::default();
        let result = self.modify(target, removal.modifications()).await?;
        Ok(match result.rc {
            code::SUCCESS => {
                self.settle(target, &result);
                WriteOutcome::Written { change_mark: target.mark.clone() }
            }
            code::ASSERTION_FAILED | code::NO_SUCH_ATTRIBUTE => WriteOutcome::ChangedMeanwhile,
            _ => self.refused(&job.attribute, &job.dn, &job.shown(), &result),
        })
    }

    /// For attributes without an equality rule no single value can be deleted: all values are replaced.
    async fn replace_whole(&self, target: &mut Target, job: &Job) -> Result<WriteOutcome, DirectoryError> {
        if !self.asserts(target) {
            let now = self.read_again(target, std::slice::from_ref(&job.attribute)).await?;
            if !now.is_ok_and(|entry| values(&entry, &job.attribute) == job.seen) {
                return Ok(WriteOutcome::ChangedMeanwhile);
            }
        }
        let after = job.applied(&job.seen).into_iter().map(|value| value.0).collect();
        let result = self.modify(target, vec![Mod::Replace(job.attribute.clone().into_bytes(), after)]).await?;
        Ok(match result.rc {
            code::SUCCESS => {
                self.settle(target, &result);
                WriteOutcome::Written { change_mark: target.mark.clone() }
            }
            code::ASSERTION_FAILED => WriteOutcome::ChangedMeanwhile,
            _ => self.refused(&job.attribute, &job.dn, &job.shown(), &result),
        })
    }

    /// What it means that the server refused `what`.
    fn refused(&self, attribute: &str, dn: &str, what: &str, result: &LdapResult) -> WriteOutcome {
        let (server, login) = (&self.session.link.endpoint, &self.settings.login);
        match result.rc {
            code::INSUFFICIENT_ACCESS => WriteOutcome::NoRights(format!(
                "\"{login}\" may not write {attribute} of {dn} on {server}: give it that right in the directory ({})",
                named(result)
            )),
            code::NO_SUCH_OBJECT => WriteOutcome::Refused(gone(dn, server)),
            code::NOT_ALLOWED_ON_RDN => WriteOutcome::Refused(format!(
                "{attribute} is part of the name of {dn}, so {server} does not let it be changed: map another attribute, \
                 or rename the entry in the directory ({})",
                named(result)
            )),
            code::CONSTRAINT_VIOLATION => WriteOutcome::Refused(format!(
                "{server} refuses {what} as {attribute} of {dn}: too long, of the wrong form, or a second value where \
                 one is allowed ({})",
                named(result)
            )),
            _ => WriteOutcome::Refused(format!("{server} refuses {what} as {attribute} of {dn}: {}", named(result))),
        }
    }

    /// Changes the entry, under the assertion where there is one; a stale DN is looked up once.
    async fn modify(&self, target: &mut Target, changes: Vec<Mod<Vec<u8>>>) -> Result<LdapResult, DirectoryError> {
        let result = self.session.modify(&target.dn, changes.clone(), self.assertion(target)).await?;
        if result.rc != code::NO_SUCH_OBJECT || self.look_up(target, &[]).await?.is_none() {
            return Ok(result);
        }
        self.session.modify(&target.dn, changes, self.assertion(target)).await
    }

    /// Reads some attributes; the inner error says why the entry cannot be read.
    async fn read_again(
        &self,
        target: &mut Target,
        attributes: &[String],
    ) -> Result<Result<RawEntry, String>, DirectoryError> {
        let names = ids::attributes(self.settings.vendor).iter().map(|name| (*name).to_owned());
        let names: Vec<String> = names.chain(attributes.iter().cloned()).collect();
        let found = self.session.entry(&target.dn, &names, vec![]).await?;
        let is_same = |entry: &RawEntry| ids::key(self.settings.vendor, entry).as_ref() == Some(&target.key);
        match found {
            Ok(entry) if is_same(&entry) => return Ok(Ok(entry)),
            Err(result) if !matches!(result.rc, code::SUCCESS | code::NO_SUCH_OBJECT) => {
                let (server, dn) = (&self.session.link.endpoint, &target.dn);
                return Ok(Err(format!("{server} does not show {dn}, so nothing was written: {}", named(&result))));
            }
            _ => (),
        }
        let found = self.look_up(target, &names).await?;
        Ok(found.ok_or_else(|| gone(&target.dn, &self.session.link.endpoint)))
    }

    /// Finds the entry by its identifier, wherever it moved to, and notes its DN.
    async fn look_up(&self, target: &mut Target, names: &[String]) -> Result<Option<RawEntry>, DirectoryError> {
        if target.looked_up || ids::stable_dn(self.settings.vendor, &target.key).is_some() {
            return Ok(None);
        }
        target.looked_up = true;
        let base = if self.settings.base_dn.trim().is_empty() {
            self.settings.search_base()
        } else {
            self.settings.base_dn.trim().to_owned()
        };
        let mut found = None;
        let keep = |entry: Result<RawEntry, BadEntry>| found = entry.ok();
        let filter = ids::filter(self.settings.vendor, &target.key);
        self.session.search(&base, Scope::Subtree, &filter, names, vec![], keep).await?;
        if let Some(entry) = &found {
            target.dn.clone_from(&entry.dn);
        }
        Ok(found)
    }
}

fn gone(dn: &str, server: &str) -> String {
    format!("{dn} is not on {server} any more, or the login may not see it")
}

/// Why a write cannot be sent at all.
fn refusal_before_sending(job: &Job) -> Option<String> {
    job.attribute.is_empty().then(|| format!("no attribute is mapped to the {}", job.field.name()))
}

fn attributes_of(jobs: &[Job]) -> Vec<String> {
    jobs.iter().map(|job| job.attribute.clone()).collect()
}

fn values(entry: &RawEntry, attribute: &str) -> BTreeSet<RawValue> {
    entry.texts(attribute).iter().map(|text| RawValue::text(text)).collect()
}

/// The change that puts a photo in the place of ours.
fn photo_changes(job: &PhotoJob, ours: &[&[u8]], others: &[&[u8]], exact: bool) -> Vec<Mod<Vec<u8>>> {
    let name = || job.attribute.clone().into_bytes();
    let new = Some(job.image.0.clone()).filter(|image| !image.is_empty());
    if exact {
        let out = ours.iter().map(|old| Mod::Delete(name(), HashSet::from([old.to_vec()])));
        return out.chain(new.map(|new| Mod::Add(name(), HashSet::from([new])))).collect();
    }
    let after = others.iter().map(|other| other.to_vec()).chain(new).collect();
    vec![Mod::Replace(name(), after)]
}

/// Whether the entry holds what was written.
fn holds_photo(entry: &RawEntry, job: &PhotoJob) -> bool {
    let mut values = entry.values(&job.attribute);
    match job.image.0.is_empty() {
        true => !values.any(|value| picture::md5(value) == job.replaces),
        false => values.any(|value| value == job.image.0),
    }
}

/// entryCSN from a post-read answer, which is a whole search entry (RFC 4527, 3.2).
fn mark_after(value: &[u8]) -> Option<String> {
    let (entry, _) = ber::element(value).ok()?;
    let parts = ber::elements(entry.content).ok()?;
    for attribute in ber::elements(parts.get(1)?.content).ok()? {
        let parts = ber::elements(attribute.content).ok()?;
        if parts.first()?.content.eq_ignore_ascii_case(b"entryCSN") {
            let values = ber::elements(parts.get(1)?.content).ok()?;
            return String::from_utf8(values.first()?.content.to_vec()).ok();
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_settings;

    fn write(key: &str, seen: &[&str], replaces: Option<&str>, value: &str) -> DirectoryWrite {
        DirectoryWrite {
            key: DirectoryKey(key.to_owned()),
            dn: "cn=a".to_owned(),
            change_mark: String::new(),
            field: Field::Number,
            value: NewValue::Text {
                seen: seen.iter().map(|value| RawValue::text(value)).collect(),
                replaces: replaces.map(RawValue::text),
                value: RawValue::text(value),
            },
        }
    }

    fn job(seen: &[&str], replaces: Option<&str>, value: &str) -> Job {
        let settings = test_settings(Vendor::OpenLdap);
        groups(&[write("k", seen, replaces, value)], &settings).remove(0).jobs.remove(0)
    }

    /// Changes as text: `-old +new`.
    fn shown(job: &Job) -> String {
        let word = |change: Mod<Vec<u8>>| match change {
            Mod::Add(_, values) => values.into_iter().map(|v| format!("+{}", String::from_utf8_lossy(&v))).collect(),
            Mod::Delete(_, values) => values.into_iter().map(|v| format!("-{}", String::from_utf8_lossy(&v))).collect(),
            other => format!("{other:?}"),
        };
        job.modifications().into_iter().map(word).collect::<Vec<String>>().join(" ")
    }

    #[test]
    fn only_the_value_that_is_ours_is_replaced() {
        assert_eq!(shown(&job(&[], None, "201")), "+201");
        assert_eq!(shown(&job(&["9", "201"], Some("201"), "202")), "-201 +202");
        assert_eq!(shown(&job(&["9", "201"], Some("201"), "")), "-201");
        assert_eq!(shown(&job(&["9", "201"], Some("201"), "9")), "-201");
        assert_eq!(shown(&job(&["9"], None, "201")), "+201");
        assert!(job(&["201"], None, "201").changes_nothing());
        assert!(job(&["201"], Some("201"), "201").changes_nothing());
        assert!(job(&["201"], None, "").changes_nothing());
        assert_eq!(shown(&job(&["201"], Some("stale"), "202")), "-stale +202");
    }

    #[test]
    fn writes_to_one_entry_are_grouped_in_order() {
        let settings = test_settings(Vendor::ActiveDirectory);
        let write = |key: &str| write(key, &[], None, "1");
        let groups = groups(&[write("b"), write("a"), write("b")], &settings);
        let indices: Vec<Vec<usize>> =
            groups.iter().map(|group| group.jobs.iter().map(|job| job.index).collect()).collect();
        assert_eq!(indices, [vec![0, 2], vec![1]]);
        assert_eq!(groups[0].target.dn, "<GUID=b>");
    }

    #[test]
    fn a_photo_takes_the_place_of_ours_alone() {
        let job = PhotoJob {
            index: 0,
            attribute: "jpegPhoto".to_owned(),
            dn: "cn=a".to_owned(),
            replaces: "md5".to_owned(),
            image: RawValue(vec![3]),
        };
        let (ours, other) = (vec![1], vec![2]);
        let told = |changes: Vec<Mod<Vec<u8>>>| format!("{changes:?}");
        let name = b"jpegPhoto".to_vec();
        let set = |values: &[u8]| values.iter().map(|value| vec![*value]).collect::<HashSet<_>>();
        let [Mod::Replace(_, after)] = &photo_changes(&job, &[&ours], &[&other], false)[..] else {
            panic!("no replace")
        };
        assert_eq!(*after, set(&[2, 3]));
        let exact = vec![Mod::Delete(name.clone(), set(&[1])), Mod::Add(name.clone(), set(&[3]))];
        assert_eq!(told(photo_changes(&job, &[&ours], &[], true)), told(exact));
        let removal = PhotoJob { image: RawValue::default(), ..job };
        assert_eq!(told(photo_changes(&removal, &[&ours], &[], false)), told(vec![Mod::Replace(name, set(&[]))]));
    }

    #[test]
    fn a_secret_is_never_shown() {
        let secret = Job { field: Field::Secret, ..job(&["old-secret"], Some("old-secret"), "new-secret") };
        assert_eq!(secret.shown(), "the SIP secret");
        assert!(!format!("{secret:?}").contains("secret\""), "{secret:?}");
    }

    #[test]
    fn the_new_mark_is_read_from_the_answer() {
        let tlv = |tag: u8, content: &[u8]| [&[tag, content.len() as u8], content].concat();
        let attribute = [tlv(4, b"entrycsn"), tlv(0x31, &tlv(4, b"2026#1"))].concat();
        let entry = [tlv(4, b"cn=a"), tlv(0x30, &tlv(0x30, &attribute))].concat();
        assert_eq!(mark_after(&tlv(0x64, &entry)).as_deref(), Some("2026#1"));
        assert_eq!(mark_after(&tlv(0x64, &tlv(4, b"cn=a"))), None);
        assert_eq!(mark_after(&[0x64, 9]), None);
    }
}
