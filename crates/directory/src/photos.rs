//! Photos: fetched only for entries that changed, hashed and spooled as they arrive, never kept in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::ops::ControlFlow;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use sync_core::directory::{DirectoryError, DirectoryErrorKind, KnownPhotos, ReadRequest};
use sync_core::person::{AccountState, DirectoryEntry, DirectoryKey, Photo};
use sync_core::picture;

use crate::connection::{Connection, Search};
use crate::entry::RawEntry;
use crate::errors::error;
use crate::settings::ServerSettings;
use crate::{filter, ids};

/// Most entries named in one filter.
const MAX_BY_KEY: usize = 100;
/// Most people asked whether the attribute can still be read.
const MAX_WITNESSES: usize = 2;
/// Entries per page of a search that brings photos.
const PAGE: u32 = 100;

/// What is to be said about the photo searches.
#[derive(Debug, Default)]
pub(crate) struct Searched {
    /// How many entries could not be understood.
    pub lost: u64,
    /// A sentence for the report.
    pub warning: Option<String>,
}

/// Fetches the photos of the entries whose change mark moved and puts them into `people`.
pub(crate) async fn fetch(
    connection: &mut Connection,
    settings: &ServerSettings,
    people_filter: &str,
    request: &ReadRequest<'_>,
    people: &mut BTreeMap<DirectoryKey, DirectoryEntry>,
    page_done: &mut dyn FnMut() -> ControlFlow<()>,
) -> Result<Searched, DirectoryError> {
    let attribute = settings.attributes.photo.as_str();
    if attribute.is_empty() {
        return Ok(Searched::default());
    }
    let unknown = || error(DirectoryErrorKind::Cancelled, "the read was broken off");
    let known = (request.photos)().ok_or_else(unknown)?;
    let wanted = wanted(people, &known.marks);
    if wanted.is_empty() {
        return Ok(Searched::default());
    }
    fs::create_dir_all(request.spool).map_err(|reason| no_spool(request.spool, &reason))?;
    let mut found: BTreeMap<DirectoryKey, Photo> = BTreeMap::new();
    let mut keep = |entry: RawEntry| {
        let Some(key) = ids::key(settings.vendor, &entry).filter(|key| wanted.contains(key)) else { return Ok(()) };
        let photo = spool(request.spool, entry.values(attribute)).map_err(|reason| no_spool(request.spool, &reason))?;
        found.insert(key, photo);
        Ok(())
    };
    let mut lost = 0;
    let everybody = request.only.is_none().then_some(people.len());
    for filter in search_filters(settings, people_filter, &wanted, everybody) {
        lost += search(connection, settings, &filter, &mut keep, page_done).await?;
    }
    let witnesses = witnesses(people, &known);
    let mut readable = true;
    if !witnesses.is_empty() && somebody_lost_theirs(&wanted, &found, &known.had) {
        readable = false;
        let filter = filter_by_key(settings, people_filter, &witnesses);
        let mut look = |entry: RawEntry| {
            readable |= entry.values(attribute).any(|value| !value.is_empty());
            Ok(())
        };
        lost += search(connection, settings, &filter, &mut look, page_done).await?;
    }
    hand_out(people, &wanted, found, readable && lost == 0);
    let warning = (!readable).then(|| no_right(&connection.session.link.endpoint, settings));
    Ok(Searched { lost, warning })
}

fn no_right(endpoint: &str, settings: &ServerSettings) -> String {
    let (attribute, login) = (&settings.attributes.photo, &settings.login);
    format!(
        "{attribute} can no longer be read on {endpoint}: even people who have not changed bring no photo. The photos on \
         the PBX stay as they are. Give \"{login}\" the right to read {attribute}."
    )
}

/// People who had a photo and have not changed since: the server must show it, if it shows any.
fn witnesses<'a>(people: &'a BTreeMap<DirectoryKey, DirectoryEntry>, known: &KnownPhotos) -> Vec<&'a DirectoryKey> {
    let is_witness = |entry: &&DirectoryEntry| known.had.contains(&entry.key) && !moved(entry, &known.marks);
    people.values().filter(is_witness).take(MAX_WITNESSES).map(|entry| &entry.key).collect()
}

fn somebody_lost_theirs(
    wanted: &BTreeSet<DirectoryKey>,
    found: &BTreeMap<DirectoryKey, Photo>,
    had_photo: &BTreeSet<DirectoryKey>,
) -> bool {
    wanted.intersection(had_photo).any(|key| matches!(found.get(key), None | Some(Photo::Absent)))
}

/// Asks for the identifiers and photos of the entries `filter` finds; answers how many could not be understood.
async fn search(
    connection: &mut Connection,
    settings: &ServerSettings,
    filter: &str,
    keep: &mut dyn FnMut(RawEntry) -> Result<(), DirectoryError>,
    page_done: &mut dyn FnMut() -> ControlFlow<()>,
) -> Result<u64, DirectoryError> {
    let names = ids::attributes(settings.vendor).iter().map(|name| (*name).to_owned());
    let attributes = names.chain([settings.attributes.photo.clone()]).collect();
    let search = Search { base: &settings.search_base(), filter, attributes, page_size: PAGE };
    Ok(connection.search_all(settings, &search, keep, page_done).await?.lost)
}

fn no_spool(spool: &Path, reason: &io::Error) -> DirectoryError {
    let text = format!("photos cannot be stored in {}: {reason}. Check free space and rights", spool.display());
    error(DirectoryErrorKind::Other, text)
}

/// The entries whose mark moved, or is not known. People who may not sign in get nothing on the PBX, so their photos are
/// not asked for; once they may, they are asked for like everybody else.
fn wanted(
    people: &BTreeMap<DirectoryKey, DirectoryEntry>,
    known: &BTreeMap<DirectoryKey, String>,
) -> BTreeSet<DirectoryKey> {
    let is_wanted = |entry: &&DirectoryEntry| entry.account == AccountState::Active && moved(entry, known);
    people.values().filter(is_wanted).map(|entry| entry.key.clone()).collect()
}

fn moved(entry: &DirectoryEntry, known: &BTreeMap<DirectoryKey, String>) -> bool {
    entry.change_mark.is_empty() || known.get(&entry.key).is_none_or(|mark| *mark != entry.change_mark)
}

/// The searches that bring the photos of `wanted`: by identifier, or over all the people there are, where `people` tells
/// how many and more than half of them are wanted.
fn search_filters(
    settings: &ServerSettings,
    people_filter: &str,
    wanted: &BTreeSet<DirectoryKey>,
    people: Option<usize>,
) -> Vec<String> {
    if wanted.len() > MAX_BY_KEY && people.is_some_and(|people| wanted.len() * 2 > people) {
        return vec![filter::and([people_filter, &filter::present(&settings.attributes.photo)])];
    }
    let wanted: Vec<&DirectoryKey> = wanted.iter().collect();
    wanted.chunks(MAX_BY_KEY).map(|keys| filter_by_key(settings, people_filter, keys)).collect()
}

fn filter_by_key(settings: &ServerSettings, people_filter: &str, keys: &[&DirectoryKey]) -> String {
    let present = filter::present(&settings.attributes.photo);
    let keys: Vec<String> = keys.iter().map(|key| ids::filter(settings.vendor, key)).collect();
    let any = filter::or(keys.iter().map(String::as_str));
    filter::and([people_filter, &present, &any])
}

/// Gives each wanted entry its photo. Those that brought none have none when the answer can be believed; otherwise nothing
/// is known about them and their mark is forgotten, so that the next read asks again.
fn hand_out(
    people: &mut BTreeMap<DirectoryKey, DirectoryEntry>,
    wanted: &BTreeSet<DirectoryKey>,
    mut found: BTreeMap<DirectoryKey, Photo>,
    believed: bool,
) {
    for key in wanted {
        let Some(entry) = people.get_mut(key) else { continue };
        match found.remove(key) {
            Some(photo) if photo != Photo::Absent => entry.photo = photo,
            _ if believed => entry.photo = Photo::Absent,
            _ => entry.change_mark.clear(),
        }
    }
}

/// Stores the usable image among the values: of several, the one whose hash comes first, so that the choice is steady.
fn spool<'a>(directory: &Path, values: impl Iterator<Item = &'a [u8]>) -> io::Result<Photo> {
    let mut images: Vec<(String, &[u8])> = Vec::new();
    let mut refusal = None;
    for value in values.filter(|value| !value.is_empty()) {
        match picture::check(value) {
            Ok(()) => images.push((picture::md5(value), value)),
            Err(text) => refusal = Some(text),
        }
    }
    images.sort();
    let Some((md5, image)) = images.into_iter().next() else {
        return Ok(refusal.map_or(Photo::Absent, Photo::Refused));
    };
    store(directory, &md5, image)?;
    Ok(Photo::Spooled { md5 })
}

fn store(directory: &Path, md5: &str, image: &[u8]) -> io::Result<()> {
    let path = directory.join(md5);
    if fs::metadata(&path).is_ok_and(|existing| existing.len() == image.len() as u64) {
        return Ok(());
    }
    let unfinished = directory.join(format!(".{md5}.{}.part", std::process::id()));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    file.write_all(image)?;
    fs::rename(&unfinished, &path)
}

/// Keeps a photo that is about to be overwritten in the directory, in a file named by its MD5.
pub(crate) fn keep(directory: &Path, md5: &str, image: &[u8]) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    store(directory, md5, image)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::settings::Vendor;
    use crate::test_settings;

    /// A JPEG; `mark` tells one from another.
    fn image(mark: u8) -> Vec<u8> {
        [include_bytes!("../../../tests/data/photo.jpg").as_slice(), &[mark]].concat()
    }

    #[test]
    fn only_images_the_pbx_can_use_are_stored() {
        let spool_directory = tempfile::tempdir().expect("a directory");
        let check =
            |values: &[Vec<u8>]| spool(spool_directory.path(), values.iter().map(Vec::as_slice)).expect("a photo");
        let Photo::Spooled { md5 } = check(&[[b"BM", [7; 2000].as_slice()].concat(), image(1)]) else {
            panic!("not stored")
        };
        let path = spool_directory.path().join(&md5);
        assert_eq!(fs::read(&path).expect("the photo"), image(1));
        assert_eq!(fs::metadata(&path).expect("the photo").permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(spool_directory.path()).expect("the directory").count(), 1, "no unfinished file stays");
        assert!(matches!(check(&[image(1)[..1023].to_vec()]), Photo::Refused(text) if text.contains("1023")));
        assert!(
            matches!(check(&[[b"<svg", [7; 2000].as_slice()].concat()]), Photo::Refused(text) if text.contains("neither"))
        );
        assert_eq!(check(&[]), Photo::Absent);
        assert_eq!(check(&[vec![]]), Photo::Absent);
        assert_eq!(check(&[image(1), image(2)]), check(&[image(2), image(1)]), "the order of values does not matter");
    }

    fn people(marks: &[(&str, &str)]) -> BTreeMap<DirectoryKey, DirectoryEntry> {
        let entry = |(key, mark): &(&str, &str)| {
            let key = DirectoryKey((*key).to_owned());
            (key.clone(), DirectoryEntry { key, change_mark: (*mark).to_owned(), ..DirectoryEntry::default() })
        };
        marks.iter().map(entry).collect()
    }

    #[test]
    fn only_moved_or_unknown_marks_are_asked_for() {
        let people = people(&[("a", "1"), ("b", "2"), ("c", ""), ("d", "1")]);
        let known = [("a", "1"), ("b", "1"), ("c", "")];
        let known = known.into_iter().map(|(key, mark)| (DirectoryKey(key.to_owned()), mark.to_owned())).collect();
        let keys: Vec<String> = wanted(&people, &known).into_iter().map(|key| key.0).collect();
        assert_eq!(keys, ["b", "c", "d"]);
    }

    #[test]
    fn nobody_is_asked_for_who_may_not_sign_in() {
        let mut people = people(&[("a", "1"), ("b", ""), ("c", "1")]);
        let states = [AccountState::Disabled, AccountState::Expired, AccountState::Active];
        people.values_mut().zip(states).for_each(|(entry, state)| entry.account = state);
        let keys: Vec<String> = wanted(&people, &BTreeMap::new()).into_iter().map(|key| key.0).collect();
        assert_eq!(keys, ["c"]);
    }

    #[test]
    fn photos_are_asked_for_by_key_and_those_of_nearly_everybody_by_one_search() {
        let mut settings = test_settings(Vendor::OpenLdap);
        settings.attributes.photo = "jpegPhoto".to_owned();
        let filters = |count: usize, people: usize| {
            let wanted = (0..count).map(|number| DirectoryKey(format!("{number:03}"))).collect();
            search_filters(&settings, "(cn=*)", &wanted, Some(people))
        };
        assert_eq!(filters(2, 2), ["(&(cn=*)(jpegPhoto=*)(|(entryUUID=000)(entryUUID=001)))"]);
        assert_eq!(filters(101, 201), ["(&(cn=*)(jpegPhoto=*))"]);
        let by_key = filters(201, 402);
        let named: Vec<usize> = by_key.iter().map(|filter| filter.matches("(entryUUID=").count()).collect();
        assert_eq!(named, [100, 100, 1]);
        assert!(by_key[0].contains("(entryUUID=099)") && by_key[1].contains("(entryUUID=100)"));
        assert_eq!(by_key[2], "(&(cn=*)(jpegPhoto=*)(entryUUID=200))");
    }

    #[test]
    fn an_answer_that_is_not_believed_makes_nobody_lose_a_photo() {
        let mut people = people(&[("a", "1")]);
        let wanted = people.keys().cloned().collect();
        // An attribute that may be searched but not read comes without a value.
        for found in [BTreeMap::new(), people.keys().map(|key| (key.clone(), Photo::Absent)).collect()] {
            people.values_mut().for_each(|entry| entry.change_mark = "1".to_owned());
            hand_out(&mut people, &wanted, found, false);
            let entry = people.values().next().expect("an entry");
            assert_eq!((&entry.photo, entry.change_mark.as_str()), (&Photo::NotAsked, ""));
        }
        hand_out(&mut people, &wanted, BTreeMap::new(), true);
        assert_eq!(people.values().next().map(|entry| &entry.photo), Some(&Photo::Absent));
    }

    #[test]
    fn witnesses_had_a_photo_and_have_not_changed() {
        let key = |text: &str| DirectoryKey(text.to_owned());
        let people = people(&[("a", "2"), ("b", "1"), ("c", "1"), ("d", "1"), ("e", "1")]);
        let marks = ["a", "b", "c", "d", "e"].map(|name| (key(name), "1".to_owned())).into();
        let known = KnownPhotos { marks, had: ["a", "c", "d", "e", "gone"].map(key).into() };
        assert_eq!(witnesses(&people, &known), [&key("c"), &key("d")]);
        let lost = |wanted: &str, found: &[Photo]| {
            let found = found.iter().map(|photo| (key(wanted), photo.clone())).collect();
            somebody_lost_theirs(&[key(wanted)].into(), &found, &known.had)
        };
        assert!(lost("a", &[]) && lost("a", &[Photo::Absent]));
        assert!(!lost("a", &[Photo::Refused(String::new())]) && !lost("b", &[]));
    }
}
