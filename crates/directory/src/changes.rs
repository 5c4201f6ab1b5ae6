//! What has changed since a mark: asked of each kind of server in the cheapest way it has.
//!
//! | server | mark | who changed | who is gone |
//! |---|---|---|---|
//! | OpenLDAP with `syncprov` | `contextCSN` | content synchronisation (RFC 4533), refresh only | the same |
//! | Active Directory | `invocationId` and `highestCommittedUSN` | DirSync where the login may, else `uSNChanged`, whatever the unit | deleted objects, where the login may see them |
//! | any other | none: the newest time of a change | a search for identifiers and times | whoever that search does not find |
//!
//! Whoever is named is read again by identifier, so naming too many does no harm. Naming too few is put right by the
//! complete run that comes once a day.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use ldap3::Scope;
use ldap3::controls::{Control, RawControl, RefreshMode, SyncRequest};
use sync_core::directory::{Changed, DirectoryError, Position};
use sync_core::person::DirectoryKey;

use crate::connection::{Connection, PAGE_PATIENCE, Search, control_value};
use crate::entry::RawEntry;
use crate::errors::named;
use crate::read::{people_filter, time_of_change};
use crate::relay::Item;
use crate::settings::{LARGEST_PAGE, ServerSettings, Vendor};
use crate::{ber, dirsync, dn, filter, framing, ids};

/// The control that asks for content synchronisation (RFC 4533, 2.2).
const SYNC_REQUEST: &str = "1.3.6.1.4.1.4203.1.9.1.1";
/// The control that goes with each entry of such an answer (RFC 4533, 2.3).
const SYNC_STATE: &str = "1.3.6.1.4.1.4203.1.9.1.2";
/// The control at the end of such an answer (RFC 4533, 2.4).
const SYNC_DONE: &str = "1.3.6.1.4.1.4203.1.9.1.3";
/// Shows deleted objects (MS-ADTS 3.1.1.3.4.1.14).
const SHOW_DELETED: &str = "1.2.840.113556.1.4.417";
/// People of Active Directory, whatever base and filter say: somebody who was moved out of the unit, or no longer fits the
/// filter, has changed too.
pub(crate) const PEOPLE: &str = "(&(objectClass=person)(!(objectClass=computer)))";
/// People of a domain that are named, at most; where there are so many everybody is read.
pub(crate) const MOST: usize = 10_000;
/// Beginning of a mark that is the newest time of a change.
const NEWEST: &str = "newest:";
/// Servers of one directory may have clocks that differ, and an edit may be seen later than it was made: for so long after
/// the newest time was first seen, entries that changed shortly before it are looked at once more. In milliseconds.
const OVERLAP: i64 = 5 * 60 * 1000;

/// See [`sync_core::directory::Directory::mark`].
pub(crate) async fn mark(connection: &Connection, settings: &ServerSettings) -> Result<Option<String>, DirectoryError> {
    match settings.vendor {
        Vendor::OpenLdap if connection.root.offers(SYNC_REQUEST) => context_csn(connection, settings).await,
        Vendor::ActiveDirectory => highest_usn(connection).await,
        _ => Ok(None),
    }
}

/// The newest change sequence number of each server that writes (slapo-syncprov(5)).
async fn context_csn(connection: &Connection, settings: &ServerSettings) -> Result<Option<String>, DirectoryError> {
    let suffix = dn::context_of(&settings.search_base(), &connection.root.naming_contexts);
    let found = connection.session.entry(&suffix, &["contextCSN".to_owned()], vec![]).await?;
    let numbers = found.map(|entry| entry.texts("contextCSN")).unwrap_or_default();
    Ok((!numbers.is_empty()).then(|| numbers.join(";")))
}

/// A domain controller's newest update sequence number, behind what says which database it counts (MS-ADTS 3.1.1.3.2.14,
/// 3.1.1.1.9): a controller that was restored has another one.
async fn highest_usn(connection: &Connection) -> Result<Option<String>, DirectoryError> {
    let names = ["highestCommittedUSN", "dsServiceName"].map(str::to_owned);
    let Ok(root) = connection.session.entry("", &names, vec![]).await? else { return Ok(None) };
    let (number, service) = (root.text("highestCommittedUSN"), root.text("dsServiceName"));
    if number.parse::<u64>().is_err() || service.is_empty() {
        return Ok(None);
    }
    let found = connection.session.entry(&service, &["invocationId".to_owned()], vec![]).await?;
    let invocation = found.ok().and_then(|entry| entry.values("invocationId").next().map(<[u8]>::to_vec));
    let database = invocation.map_or(service, |bytes| bytes.iter().map(|byte| format!("{byte:02x}")).collect());
    Ok(Some(format!("{database}/{number}")))
}

/// See [`sync_core::directory::Directory::cookie`].
pub(crate) async fn cookie(connection: &Connection, settings: &ServerSettings) -> Result<String, DirectoryError> {
    if settings.vendor != Vendor::ActiveDirectory {
        return Ok(String::new());
    }
    Ok(dirsync::cookie(connection, settings).await?.unwrap_or_else(|reason| {
        log::debug!("changes are found by uSNChanged, not by DirSync: {reason}");
        String::new()
    }))
}

/// See [`sync_core::directory::Directory::changed`]. `time` is Unix time in milliseconds.
pub(crate) async fn changed(
    connection: &mut Connection,
    settings: &ServerSettings,
    since: &Position,
    time: i64,
) -> Result<Changed, DirectoryError> {
    // Asked once more, because the connection may be another one by now, to another server.
    let found = match (mark(connection, settings).await?, settings.vendor) {
        (Some(now), Vendor::ActiveDirectory) => by_domain_controller(connection, settings, since, &now).await?,
        (Some(now), _) => by_synchronisation(connection, settings, &since.mark, &now).await?,
        (None, _) => by_time(connection, settings, &since.mark, time).await?,
    };
    match found {
        Changed::Known { changed, present: None, position } if asks_for_groups(settings)? => {
            let present = Some(everybody(connection, settings).await?);
            Ok(Changed::Known { changed, present, position })
        }
        other => Ok(other),
    }
}

/// Whether the filter depends on groups, by `memberOf` or one of its relatives: who joins or leaves one is not changed by
/// it (in Active Directory it is a back link, MS-ADTS 3.1.1.1.6).
fn asks_for_groups(settings: &ServerSettings) -> Result<bool, DirectoryError> {
    let attributes = filter::attributes(&people_filter(settings)?);
    Ok(attributes.iter().any(|attribute| attribute.to_ascii_lowercase().contains("memberof")))
}

/// The identifiers of everybody whom base and filter find.
async fn everybody(
    connection: &mut Connection,
    settings: &ServerSettings,
) -> Result<BTreeSet<DirectoryKey>, DirectoryError> {
    let (base, filter) = (settings.search_base(), people_filter(settings)?);
    let page_size = settings.page_size.clamp(1, LARGEST_PAGE);
    let search = Search { base: &base, filter: &filter, attributes: id_attributes(settings), page_size };
    let mut present = BTreeSet::new();
    let keep = |entry: RawEntry| {
        present.extend(ids::key(settings.vendor, &entry));
        Ok(())
    };
    connection.search_all(settings, &search, keep, &mut || ControlFlow::Continue(())).await?;
    Ok(present)
}

/// A position that is known by its mark alone.
fn at(mark: &str) -> Position {
    Position { mark: mark.to_owned(), cookie: String::new() }
}

/// The newest time of a change, when it was seen first, and when somebody looked last as far as that matters: the mark for
/// a server that has none of its own. All are Unix time in milliseconds, the first by the server's clock, the others by
/// ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Newest {
    time: i64,
    seen: i64,
    looked: i64,
}

impl Newest {
    pub(crate) fn new(time: i64, seen: i64) -> Newest {
        Newest { time, seen, looked: seen }
    }

    fn read(mark: &str) -> Option<Newest> {
        let mut parts = mark.strip_prefix(NEWEST)?.split('/').map(|part| part.parse().ok());
        let newest = Newest { time: parts.next()??, seen: parts.next()??, looked: parts.next()?? };
        parts.next().is_none().then_some(newest)
    }

    /// The mark.
    pub(crate) fn mark(self) -> String {
        format!("{NEWEST}{}/{}/{}", self.time, self.seen, self.looked)
    }

    /// Whether somebody has looked so late that nothing can turn up any more that was changed before the newest time.
    fn is_settled(self) -> bool {
        self.looked.saturating_sub(self.seen) > OVERLAP
    }

    /// Entries that changed later than this have to be looked at.
    fn floor(self) -> i64 {
        if self.is_settled() { self.time } else { self.time.saturating_sub(OVERLAP) }
    }

    /// After a look at `now` that found nothing newer.
    fn looked_at(self, now: i64) -> Newest {
        if self.is_settled() { self } else { Newest { looked: now.max(self.looked), ..self } }
    }

    /// The newest of this and of what was found. A time that lies in the future is none: it would hide what comes after.
    fn and(self, found: i64, now: i64) -> Newest {
        if found > self.time && !lies_ahead(found, now) { Newest::new(found, now) } else { self }
    }
}

/// Whether a server's time is further ahead of ours than clocks may differ.
pub(crate) fn lies_ahead(time: i64, now: i64) -> bool {
    time > now.saturating_add(OVERLAP)
}

/// By DirSync where a cookie is kept, else by update sequence number.
async fn by_domain_controller(
    connection: &mut Connection,
    settings: &ServerSettings,
    since: &Position,
    mark: &str,
) -> Result<Changed, DirectoryError> {
    let number = match counted(&since.mark, mark) {
        Ok(number) => number,
        Err(reason) => return Ok(Changed::Unknown(reason)),
    };
    let answer = match since.cookie.as_str() {
        "" => by_usn(connection, settings, number).await?.map(|changed| (changed, String::new())),
        cookie => dirsync::changed(connection, settings, cookie).await?,
    };
    Ok(match answer {
        Ok((changed, cookie)) => {
            let way = if cookie.is_empty() { "uSNChanged" } else { "DirSync" };
            log::debug!("{} people are named by {way}", changed.len());
            Changed::Known { changed, present: None, position: Position { mark: mark.to_owned(), cookie } }
        }
        Err(reason) => Changed::Unknown(reason),
    })
}

/// The update sequence number of the mark kept, where the same database counts on from it.
fn counted(since: &str, now: &str) -> Result<u64, String> {
    let parts = |mark: &str| {
        let (database, number) = mark.rsplit_once('/')?;
        Some((database.to_owned(), number.parse::<u64>().ok()?))
    };
    let (database, number) = parts(since).ok_or("the mark kept is not one of Active Directory")?;
    match parts(now) {
        Some((now, _)) if now != database => Err("another domain controller answers, or it was restored".to_owned()),
        Some((_, now)) if now >= number => Ok(number),
        _ => Err("the domain controller counts from an earlier number than before".to_owned()),
    }
}

/// Entries changed since, in the whole domain.
async fn by_usn(
    connection: &mut Connection,
    settings: &ServerSettings,
    number: u64,
) -> Result<Result<BTreeSet<DirectoryKey>, String>, DirectoryError> {
    let base = dn::context_of(&settings.search_base(), &connection.root.naming_contexts);
    let filter = filter::and([PEOPLE, &format!("(uSNChanged>={})", number.saturating_add(1))]);
    let search = Search { base: &base, filter: &filter, attributes: id_attributes(settings), page_size: LARGEST_PAGE };
    let mut keys = BTreeSet::new();
    let keep = |entry: RawEntry| {
        if keys.len() < MOST {
            keys.extend(ids::key(settings.vendor, &entry));
        }
        Ok(())
    };
    let deleted = RawControl { ctype: SHOW_DELETED.to_owned(), crit: false, val: None };
    let more = if connection.root.offers(SHOW_DELETED) { vec![deleted] } else { Vec::new() };
    let end = connection.search_with(settings, &search, more, keep, &mut || ControlFlow::Continue(())).await?;
    if end.lost > 0 {
        return Ok(Err(format!("{} changed entries could not be understood", end.lost)));
    }
    Ok(Ok(keys))
}

fn id_attributes(settings: &ServerSettings) -> Vec<String> {
    ids::attributes(settings.vendor).iter().map(|name| (*name).to_owned()).collect()
}

/// Content synchronisation (RFC 4533, 3.3.1): the changed entries, and either who was deleted, or, where the server does
/// not know, who is still there.
async fn by_synchronisation(
    connection: &mut Connection,
    settings: &ServerSettings,
    since: &str,
    now: &str,
) -> Result<Changed, DirectoryError> {
    if let Some(reason) = went_back(since, now) {
        return Ok(Changed::Unknown(reason));
    }
    // slapd(8), -c: the form of OpenLDAP's cookie.
    let cookie = format!("rid=000,csn={since}").into_bytes();
    let request = SyncRequest { mode: RefreshMode::RefreshOnly, cookie: Some(cookie), reload_hint: false };
    let request = RawControl { crit: true, ..RawControl::from(request) };
    let (base, filter) = (settings.search_base(), people_filter(settings)?);
    let attributes = ["1.1".to_owned()];
    let mut answer = Answer::default();
    let each = |item: Item| answer.take(&item);
    let session = &connection.session;
    let limit = session.link.timeout * PAGE_PATIENCE;
    let items = session.items(&base, Scope::Subtree, &filter, &attributes, vec![request], each);
    let result = tokio::time::timeout(limit, items)
        .await
        .unwrap_or_else(|_| Err(session.link.too_slow("sending what has changed", limit)))?;
    if result.rc != 0 {
        return Ok(Changed::Unknown(format!("the server does not tell what has changed: {}", named(&result))));
    }
    if let Some(text) = answer.malformed {
        return Ok(Changed::Unknown(format!("what has changed could not be understood: {text}")));
    }
    let deletions_told = answer.deletions_told || tells_deletions(&result.ctrls);
    let Answer { changed, present, .. } = answer;
    let present = (!deletions_told || !present.is_empty()).then_some(present);
    Ok(Changed::Known { changed, present, position: at(now) })
}

/// Whether the server knows less than it did, as after a restored backup or on a replica that lags behind.
fn went_back(since: &str, now: &str) -> Option<String> {
    let server_of = |number: &str| number.split('#').nth(2).map(str::to_owned);
    let numbers: BTreeMap<String, &str> =
        now.split(';').filter_map(|number| Some((server_of(number)?, number))).collect();
    let behind = |number: &&str| {
        let current = server_of(number).and_then(|server| numbers.get(&server).copied());
        current.is_none_or(|current| current < *number)
    };
    since.split(';').find(behind).map(|number| {
        format!("the server does not know the change {number} that it told of before: it was restored, or another one answers")
    })
}

/// Whether a Sync Done control says that deleted entries were named (RFC 4533, 2.4); else those are named who are left.
fn tells_deletions(controls: &[Control]) -> bool {
    let Some(value) = control_value(controls, SYNC_DONE) else { return false };
    let Ok((done, _)) = ber::element(value) else { return false };
    let parts = ber::elements(done.content).unwrap_or_default();
    parts.iter().any(|part| part.tag == ber::BOOLEAN && part.content != [0])
}

/// What a content synchronisation brings.
#[derive(Debug, Default)]
struct Answer {
    deletions_told: bool,
    changed: BTreeSet<DirectoryKey>,
    present: BTreeSet<DirectoryKey>,
    malformed: Option<&'static str>,
}

impl Answer {
    fn take(&mut self, item: &Item) {
        let taken = match item {
            Item::Entry(message) => self.entry(message),
            Item::Intermediate(message) => self.info(message),
        };
        if let Err(text) = taken {
            self.malformed.get_or_insert(text);
        }
    }

    /// An entry with its state (RFC 4533, 2.3).
    fn entry(&mut self, message: &[u8]) -> Result<(), &'static str> {
        let (_, controls) = framing::parts(message)?;
        let state = framing::control(controls, SYNC_STATE).ok_or("an entry without a state")?;
        let (state, _) = ber::element(state)?;
        match ber::elements(state.content)?.as_slice() {
            [state, id, ..] if id.tag == ber::OCTET_STRING => {
                let key = uuid(id.content)?;
                let is_present = ber::number(*state)? == 0;
                if is_present {
                    self.present.insert(key)
                } else {
                    self.changed.insert(key)
                };
                Ok(())
            }
            _ => Err("a state without an identifier"),
        }
    }

    /// A Sync Info message (RFC 4533, 2.5): only sets of identifiers matter here.
    fn info(&mut self, message: &[u8]) -> Result<(), &'static str> {
        let (operation, _) = framing::parts(message)?;
        let parts = ber::elements(operation.content)?;
        let value = parts.iter().find(|part| part.tag == RESPONSE_VALUE).ok_or("a message without a value")?.content;
        let (info, _) = ber::element(value)?;
        if info.tag != SYNC_ID_SET {
            return Ok(());
        }
        let parts = ber::elements(info.content)?;
        let deleted = parts.iter().any(|part| part.tag == ber::BOOLEAN && part.content != [0]);
        let set = parts.iter().find(|part| part.tag == ber::SET).ok_or("a set without members")?;
        let keys: BTreeSet<DirectoryKey> =
            ber::elements(set.content)?.iter().map(|id| uuid(id.content)).collect::<Result<_, _>>()?;
        self.deletions_told |= deleted;
        if deleted {
            self.changed.extend(keys)
        } else {
            self.present.extend(keys)
        }
        Ok(())
    }
}

/// `responseValue [1]` of an intermediate message (RFC 4511, 4.13).
const RESPONSE_VALUE: u8 = 0x81;
/// `syncIdSet [3]` of RFC 4533, 2.5.
const SYNC_ID_SET: u8 = 0xa3;

/// The text of an entryUUID (RFC 4122, 3).
fn uuid(bytes: &[u8]) -> Result<DirectoryKey, &'static str> {
    if bytes.len() != 16 {
        return Err("an identifier that is no UUID");
    }
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(DirectoryKey([&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")))
}

/// Everybody's identifier, and when their entries changed.
async fn by_time(
    connection: &mut Connection,
    settings: &ServerSettings,
    since: &str,
    now: i64,
) -> Result<Changed, DirectoryError> {
    let Some(since) = Newest::read(since) else {
        return Ok(Changed::Unknown("the mark kept is not a time".to_owned()));
    };
    let floor = since.floor();
    let (base, filter) = (settings.search_base(), people_filter(settings)?);
    let mut attributes = id_attributes(settings);
    attributes.push(if settings.vendor == Vendor::OpenLdap { "entryCSN" } else { "modifyTimestamp" }.to_owned());
    let page_size = settings.page_size.clamp(1, LARGEST_PAGE);
    let search = Search { base: &base, filter: &filter, attributes, page_size };
    let (mut changed, mut present, mut newest) = (BTreeSet::new(), BTreeSet::new(), since.looked_at(now));
    let keep = |entry: RawEntry| {
        let Some(key) = ids::key(settings.vendor, &entry) else { return Ok(()) };
        let time = time_of_change(settings.vendor, &entry);
        newest = newest.and(time.unwrap_or(since.time), now);
        if time.is_none_or(|time| time > floor || lies_ahead(time, now)) {
            changed.insert(key.clone());
        }
        present.insert(key);
        Ok(())
    };
    let end = connection.search_all(settings, &search, keep, &mut || ControlFlow::Continue(())).await?;
    if end.lost > 0 {
        return Ok(Changed::Unknown(format!("{} entries could not be understood", end.lost)));
    }
    if present.is_empty() {
        return Ok(Changed::Unknown("the search found nobody".to_owned()));
    }
    Ok(Changed::Known { changed, present: Some(present), position: at(&newest.mark()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_knows_less_than_before_is_noticed() {
        #[track_caller]
        fn check(since: &str, now: &str, back: bool) {
            assert_eq!(went_back(since, now).is_some(), back, "{since} {now}");
        }
        check("20261121101010.1Z#000000#000#000000", "20261121101010.1Z#000000#000#000000", false);
        check("20261121101010.1Z#000000#000#000000", "20261121101011.1Z#000000#000#000000", false);
        check("20261121101010.1Z#000000#000#000000", "20261121101009.1Z#000000#000#000000", true);
        check("20261121101010.1Z#000000#001#000000", "20261121101011.1Z#000000#002#000000", true);
        let both = "20261121101010.1Z#000000#001#000000;20261121101010.1Z#000000#002#000000";
        check("20261121101010.1Z#000000#001#000000", both, false);
        check("anything at all", "20261121101011.1Z#000000#002#000000", true);
    }

    #[test]
    fn a_domain_controller_that_counts_otherwise_is_noticed() {
        assert_eq!(counted("0a/7", "0a/7"), Ok(7));
        assert_eq!(counted("0a/7", "0a/19"), Ok(7));
        for (since, now) in [("0a/7", "0b/19"), ("0a/7", "0a/6"), ("0a/7", "0a"), ("7", "0a/9"), ("0a/x", "0a/9")] {
            assert!(counted(since, now).is_err(), "{since} {now}");
        }
    }

    #[test]
    fn what_changed_shortly_before_the_newest_is_looked_at_for_a_while() {
        const MINUTE: i64 = 60 * 1000;
        let newest = Newest::new(100 * MINUTE, 100 * MINUTE);
        assert_eq!(Newest::read(&newest.mark()), Some(newest));
        for other in ["newest:1", "newest:1/2", "newest:1/2/3/4", "newest:a/b/c"] {
            assert_eq!(Newest::read(other), None, "{other}");
        }
        assert_eq!(newest.floor(), 95 * MINUTE);
        assert_eq!(newest.looked_at(101 * MINUTE).floor(), 95 * MINUTE);
        let late = newest.looked_at(106 * MINUTE);
        assert_eq!(late.floor(), 100 * MINUTE);
        assert_eq!(late.looked_at(200 * MINUTE), late, "and that is that");
        assert_eq!(newest.looked_at(0), newest, "a clock that was set back");
        assert_eq!(newest.and(99 * MINUTE, 110 * MINUTE), newest);
        assert_eq!(newest.and(101 * MINUTE, 110 * MINUTE), Newest::new(101 * MINUTE, 110 * MINUTE));
        assert_eq!(newest.and(9000 * MINUTE, 110 * MINUTE), newest, "an entry from the future hides no other");
    }

    #[test]
    fn identifiers_are_uuids() {
        let bytes: Vec<u8> = (0..16).collect();
        assert_eq!(uuid(&bytes).map(|key| key.0).as_deref(), Ok("00010203-0405-0607-0809-0a0b0c0d0e0f"));
        assert!(uuid(&bytes[1..]).is_err());
    }
}
