//! Reading everybody: one paged search for the values, a second one for the photos that may have changed.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use sync_core::directory::{Coverage, DirectoryError, DirectoryErrorKind, DirectorySnapshot, ReadRequest};
use sync_core::person::{DirectoryEntry, DirectoryKey, Field, Fields, Photo};
use sync_core::vault::Vault;
use x509_parser::asn1_rs::GeneralizedTime;

use crate::changes::{Newest, lies_ahead};
use crate::connection::{Connection, RootDse, Search};
use crate::entry::{MAX_VALUES, RawEntry};
use crate::errors::error;
use crate::settings::{LARGEST_PAGE, ServerSettings, Vendor};
use crate::times::generalized;
use crate::{account, elsewhere, filter, ids, photos};

/// Bytes of text kept from one read; a directory of 100,000 people needs about a tenth of it.
const MAX_KEPT: usize = 256 << 20;
/// A modifyTimestamp younger than this is not used: its resolution of one second hides a second edit, and the clocks of
/// server and PBX may differ. In milliseconds.
const YOUNG: i64 = 5 * 60 * 1000;
/// Sentences about odd values in one report.
const MAX_WARNINGS: usize = 100;

/// The filter that is sent: the administrator's, for Active Directory without the system's own accounts.
pub(crate) fn people_filter(settings: &ServerSettings) -> Result<String, DirectoryError> {
    let own = filter::normalise(settings.people_filter())
        .map_err(|reason| error(DirectoryErrorKind::Settings, reason.to_string()))?;
    Ok(match settings.vendor {
        Vendor::ActiveDirectory => filter::and([own.as_str(), "(!(isCriticalSystemObject=TRUE))"]),
        _ => own,
    })
}

/// Reads everybody over an open connection.
pub(crate) async fn read(
    connection: &mut Connection,
    settings: &ServerSettings,
    request: &ReadRequest<'_>,
    progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
) -> Result<DirectorySnapshot, DirectoryError> {
    let filter = people_filter(settings)?;
    let base = settings.search_base();
    let mut found = Gathered::new(settings, &connection.root, request);
    let seen = std::cell::Cell::new(0);
    let mut lost = 0;
    for filter in searches(settings, &filter, request.only) {
        let page_size = settings.page_size.clamp(1, LARGEST_PAGE);
        let search = Search { base: &base, filter: &filter, attributes: attributes(settings), page_size };
        let keep = |entry: RawEntry| {
            seen.set(seen.get() + 1);
            found.add(&entry)
        };
        let end = connection.search_all(settings, &search, keep, &mut || progress(seen.get())).await?;
        end.bad.iter().for_each(|text| log::warn!("left out: {text}"));
        found.warnings.extend(end.bad.into_iter().map(|text| format!("Left out: {text}.")));
        lost += end.lost;
    }
    let photos = {
        let page_done = &mut || progress(seen.get());
        photos::fetch(connection, settings, &filter, request, &mut found.people, page_done).await?
    };
    photos.warning.into_iter().for_each(|text| found.warn(text));
    let newest = found.newest.map(|time| Newest::new(time, request.now).mark());
    let snapshot = found.into_snapshot(lost, photos.lost);
    Ok(DirectorySnapshot { asked: request.only.cloned(), newest, ..snapshot })
}

/// The filters that find everybody, or only some people.
fn searches(settings: &ServerSettings, people: &str, only: Option<&BTreeSet<DirectoryKey>>) -> Vec<String> {
    let Some(only) = only else { return vec![people.to_owned()] };
    let only: Vec<&DirectoryKey> = only.iter().collect();
    let some = |keys: &[&DirectoryKey]| {
        let keys: Vec<String> = keys.iter().map(|key| ids::filter(settings.vendor, key)).collect();
        filter::and([people, &filter::or(keys.iter().map(String::as_str))])
    };
    only.chunks(elsewhere::MAX_BY_KEY).map(some).collect()
}

/// When an entry was changed, as far as it says so; Unix time in milliseconds.
pub(crate) fn time_of_change(vendor: Vendor, raw: &RawEntry) -> Option<i64> {
    match vendor {
        // The number begins with a time in microseconds; seconds are enough here.
        Vendor::OpenLdap => generalized(&format!("{}Z", raw.text("entryCSN").get(..14)?)),
        Vendor::DirectoryServer389 | Vendor::FreeIpa => generalized(&raw.text("modifyTimestamp")),
        Vendor::ActiveDirectory => None,
    }
}

/// The attributes of the first search; the photo is not among them.
pub(crate) fn attributes(settings: &ServerSettings) -> Vec<String> {
    let mut names: Vec<String> = ids::attributes(settings.vendor).iter().map(|name| (*name).to_owned()).collect();
    let more = match settings.vendor {
        Vendor::ActiveDirectory => &["uSNChanged", "sAMAccountName", "name"][..],
        Vendor::OpenLdap => &["entryCSN"],
        Vendor::DirectoryServer389 | Vendor::FreeIpa => &["modifyTimestamp"],
    };
    names.extend(more.iter().map(|name| (*name).to_owned()));
    names.extend(account::attributes(settings).into_iter().map(str::to_owned));
    names.extend(settings.attributes.text_fields().into_iter().map(|(_, attribute)| attribute.to_owned()));
    let others = [&settings.attributes.secret, &settings.attributes.employee_number];
    names.extend(others.into_iter().filter(|name| !name.is_empty()).cloned());
    names.sort_by_key(|name| name.to_ascii_lowercase());
    names.dedup_by_key(|name| name.to_ascii_lowercase());
    names
}

/// People found so far.
struct Gathered<'a> {
    settings: &'a ServerSettings,
    host_name: String,
    vault: &'a Vault,
    now: i64,
    people: BTreeMap<DirectoryKey, DirectoryEntry>,
    warnings: Vec<String>,
    without_id: u64,
    system_accounts: u64,
    kept: usize,
    newest: Option<i64>,
}

impl<'a> Gathered<'a> {
    fn new(settings: &'a ServerSettings, root: &RootDse, request: &ReadRequest<'a>) -> Gathered<'a> {
        Gathered {
            settings,
            host_name: root.host_name.clone(),
            vault: request.vault,
            now: request.now,
            people: BTreeMap::new(),
            warnings: Vec::new(),
            without_id: 0,
            system_accounts: 0,
            kept: 0,
            newest: None,
        }
    }

    fn warn(&mut self, text: String) {
        log::warn!("{text}");
        if self.warnings.len() < MAX_WARNINGS {
            self.warnings.push(text);
        }
    }

    fn add(&mut self, raw: &RawEntry) -> Result<(), DirectoryError> {
        if self.settings.vendor == Vendor::ActiveDirectory && is_system_account(raw) {
            self.system_accounts += 1;
            return Ok(());
        }
        let Some(key) = ids::key(self.settings.vendor, raw) else {
            self.without_id += 1;
            let names = ids::attributes(self.settings.vendor).join(" or ");
            self.warn(format!("{} was left out: it has no {names}. Is the server's type right?", raw.dn));
            return Ok(());
        };
        let time = time_of_change(self.settings.vendor, raw).filter(|time| !lies_ahead(*time, self.now));
        self.newest = self.newest.max(time);
        let (mut values, mut unusable) = self.values(raw);
        let refused_secrets = self.secrets(raw, &mut values, &mut unusable);
        let employee_number = match self.settings.attributes.employee_number.as_str() {
            "" => String::new(),
            attribute => raw.text(attribute).trim().to_owned(),
        };
        let entry = DirectoryEntry {
            key: key.clone(),
            dn: raw.dn.clone(),
            change_mark: change_mark(self.settings.vendor, &self.host_name, raw, self.now),
            account: account::state(self.settings, raw, self.now),
            attributes: values.into_iter().collect(),
            unusable,
            photo: Photo::NotAsked,
            refused_secrets,
            employee_number,
        };
        self.kept += size(&entry);
        if self.kept > MAX_KEPT {
            let text = format!("the directory's answer is larger than {MAX_KEPT} bytes: narrow the filter");
            return Err(error(DirectoryErrorKind::Limit, text));
        }
        if self.people.insert(key, entry).is_some() {
            log::debug!("{} was found twice, the later answer counts", raw.dn);
        }
        Ok(())
    }

    /// The usable values per field, and the fields that have none although there are values.
    fn values(&mut self, raw: &RawEntry) -> (Vec<(Field, String)>, Fields) {
        let mut values = Vec::new();
        let mut none_usable = Fields::default();
        for (field, attribute) in self.settings.attributes.text_fields() {
            let (texts, unusable) = (raw.texts(attribute), raw.unusable(attribute));
            if raw.is_cut(attribute) {
                // Which of the values is ours cannot be told from a part of them.
                self.warn(format!("{attribute} of {} has too many values (more than {MAX_VALUES}, or than the server sends at once) and was left out.", raw.dn));
                none_usable.insert(field);
                continue;
            }
            if unusable > 0 {
                self.warn(format!(
                    "{unusable} value(s) of {attribute} of {} are no usable text and were left out.",
                    raw.dn
                ));
            }
            if texts.is_empty() && unusable > 0 {
                none_usable.insert(field);
            }
            values.extend(texts.into_iter().map(|text| (field, text)));
        }
        (values, none_usable)
    }

    /// Puts the SIP secrets into the vault and their fingerprints among the values; answers those MikoPBX would refuse.
    fn secrets(
        &mut self,
        raw: &RawEntry,
        values: &mut Vec<(Field, String)>,
        none_usable: &mut Fields,
    ) -> BTreeMap<String, String> {
        let attribute = self.settings.attributes.secret.as_str();
        let mut refused = BTreeMap::new();
        if attribute.is_empty() {
            return refused;
        }
        let texts = raw.texts(attribute);
        if texts.is_empty() && raw.unusable(attribute) > 0 {
            none_usable.insert(Field::Secret);
        }
        for text in texts {
            let fingerprint = self.vault.keep(&text);
            if let Err(reason) = sync_core::pbx::secret::check(&text) {
                refused.insert(fingerprint.clone(), reason);
            }
            values.push((Field::Secret, fingerprint));
        }
        refused
    }

    fn into_snapshot(mut self, lost: u64, lost_photos: u64) -> DirectorySnapshot {
        if self.system_accounts > 0 {
            log::debug!("{} system accounts and mailboxes were left out", self.system_accounts);
        }
        let mut reasons = Vec::new();
        if lost > 0 {
            reasons.push(format!("{lost} entries could not be understood"));
        }
        if self.without_id > 0 {
            reasons.push(format!("{} entries have no stable identifier", self.without_id));
        }
        if lost_photos > 0 {
            reasons.push(format!("{lost_photos} entries with photos could not be understood"));
        }
        let coverage = if reasons.is_empty() {
            Coverage::Full
        } else {
            let reason = reasons.join(", ");
            self.warnings.push(format!("The directory was not read completely: {reason}."));
            Coverage::Partial(reason)
        };
        let (entries, elsewhere) = (self.people.into_values().map(Arc::new).collect(), BTreeMap::new());
        DirectorySnapshot { entries, coverage, elsewhere, warnings: self.warnings, asked: None, newest: None }
    }
}

fn size(entry: &DirectoryEntry) -> usize {
    let values: usize = entry.attributes.iter().map(|(_, value)| value.len()).sum();
    entry.dn.len() + entry.key.as_str().len() + values + 256
}

/// Accounts of Windows and Exchange that belong to nobody.
fn is_system_account(raw: &RawEntry) -> bool {
    let account = raw.text("sAMAccountName").to_lowercase();
    let name = raw.text("name").to_lowercase();
    let mailbox = ["systemmailbox", "healthmailbox", "discoverysearchmailbox", "federatedemail."];
    matches!(account.as_str(), "guest" | "krbtgt" | "defaultaccount" | "wdagutilityaccount")
        || account.starts_with("krbtgt_")
        // Computers and trusts end in a dollar sign, Exchange's own accounts begin with one.
        || account.ends_with('$')
        || account.starts_with('$')
        || mailbox.iter().any(|prefix| account.starts_with(prefix) || name.starts_with(prefix))
}

/// What moves whenever the entry changes. `now` is Unix time in milliseconds.
fn change_mark(vendor: Vendor, host_name: &str, raw: &RawEntry, now: i64) -> String {
    match vendor {
        Vendor::OpenLdap => raw.text("entryCSN"),
        Vendor::ActiveDirectory => {
            // An update sequence number means something only on the domain controller that gave it.
            let number = raw.text("uSNChanged");
            if number.is_empty() || host_name.is_empty() { String::new() } else { format!("{host_name}/{number}") }
        }
        Vendor::DirectoryServer389 | Vendor::FreeIpa => settled_timestamp(&raw.text("modifyTimestamp"), now),
    }
}

/// A modifyTimestamp that no further edit can share, or nothing.
fn settled_timestamp(text: &str, now: i64) -> String {
    let time = GeneralizedTime::from_bytes(text.as_bytes()).ok().and_then(|time| time.utc_datetime().ok());
    match time {
        Some(time) if time.unix_timestamp().saturating_mul(1000) <= now.saturating_sub(YOUNG) => text.to_owned(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_settings;

    #[test]
    fn marks_follow_the_vendor() {
        #[track_caller]
        fn check(vendor: Vendor, host: &str, attribute: (&str, &str), expected: &str) {
            let raw = RawEntry::for_tests("cn=a", &[(attribute.0, attribute.1.as_bytes())]);
            // 21 November 2026, 00:00 UTC.
            assert_eq!(change_mark(vendor, host, &raw, 1_795_219_200_000), expected);
        }
        check(Vendor::OpenLdap, "", ("entryCSN", "20261121#1"), "20261121#1");
        check(Vendor::ActiveDirectory, "dc1.example.test", ("uSNChanged", "12"), "dc1.example.test/12");
        check(Vendor::ActiveDirectory, "", ("uSNChanged", "12"), "");
        check(Vendor::FreeIpa, "", ("modifyTimestamp", "20261120235400Z"), "20261120235400Z");
        check(Vendor::FreeIpa, "", ("modifyTimestamp", "20261120235600Z"), "");
        check(Vendor::FreeIpa, "", ("modifyTimestamp", "20271120235600Z"), "");
        check(Vendor::DirectoryServer389, "", ("modifyTimestamp", "yesterday"), "");
    }

    #[test]
    fn times_of_change_follow_the_vendor() {
        let time = |vendor: Vendor, attribute: &str, value: &str| {
            time_of_change(vendor, &RawEntry::for_tests("cn=a", &[(attribute, value.as_bytes())]))
        };
        let csn = "20261121000000.123456Z#000000#000#000000";
        assert_eq!(time(Vendor::OpenLdap, "entryCSN", csn), Some(1_795_219_200_000));
        assert_eq!(time(Vendor::OpenLdap, "entryCSN", "2026"), None);
        assert_eq!(time(Vendor::FreeIpa, "modifyTimestamp", "20261121000000Z"), Some(1_795_219_200_000));
    }

    #[test]
    fn system_accounts_are_recognised() {
        #[track_caller]
        fn check(account: &str, name: &str, expected: bool) {
            let raw = RawEntry::for_tests("cn=a", &[("sAMAccountName", account.as_bytes()), ("name", name.as_bytes())]);
            assert_eq!(is_system_account(&raw), expected, "{account}");
        }
        check("Guest", "Guest", true);
        check("krbtgt", "krbtgt", true);
        check("krbtgt_4711", "x", true);
        check("DefaultAccount", "x", true);
        check("SM_1234", "SystemMailbox{1f05a927}", true);
        check("HealthMailbox12", "x", true);
        check("PC01$", "PC01", true);
        check("$331000-AB", "x", true);
        check("guestrelations", "Guest Relations", false);
        check("ann", "Ann Smith", false);
    }

    #[test]
    fn the_photo_is_not_part_of_the_first_search() {
        let mut settings = test_settings(Vendor::OpenLdap);
        settings.attributes.photo = "jpegPhoto".to_owned();
        let names = attributes(&settings);
        assert!(!names.contains(&"jpegPhoto".to_owned()));
        assert_eq!(names, ["displayName", "entryCSN", "entryUUID", "mail", "mobile", "telephoneNumber"]);
    }

    #[test]
    fn the_filter_leaves_out_system_objects_of_active_directory() {
        let mut settings = test_settings(Vendor::ActiveDirectory);
        settings.user_filter = "(objectClass=user)".to_owned();
        let filter = people_filter(&settings).expect("a filter");
        assert_eq!(filter, "(&(objectClass=user)(!(isCriticalSystemObject=TRUE)))");
        settings.user_filter = "(objectClass=user".to_owned();
        let error = people_filter(&settings).expect_err("a broken filter");
        assert_eq!(error.kind, DirectoryErrorKind::Settings);
        assert!(error.message.contains("character 18"), "{}", error.message);
    }
}
