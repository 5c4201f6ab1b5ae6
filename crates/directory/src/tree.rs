//! The directory's units with how many people the filter finds in each: for choosing where people are searched for.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use serde::Serialize;
use sync_core::directory::DirectoryError;

use crate::connection::{Connection, Search, SearchEnd};
use crate::entry::RawEntry;
use crate::settings::{LARGEST_PAGE, ServerSettings, Vendor};
use crate::{dn, filter, read};

/// Units that are told, at most.
const MOST_UNITS: usize = 5_000;
/// What people are sorted into: RFC 4519, RFC 4524, and Active Directory's containers.
const CLASSES: [&str; 6] = ["organizationalUnit", "container", "organization", "domain", "locality", "nsContainer"];
/// No attributes at all (RFC 4511, 4.5.1.8).
const NO_ATTRIBUTES: &str = "1.1";

/// What is below the base.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Tree {
    /// The base DN.
    pub base: String,
    /// The base, then every unit below it, each after the one it stands in.
    pub units: Vec<Unit>,
    /// How many people the filter finds below the base.
    pub people: u64,
    /// There are more units than are told.
    pub cut: bool,
    /// Entries that could not be understood.
    #[serde(skip)]
    pub lost: u64,
}

/// One unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unit {
    /// Its DN.
    pub dn: String,
    /// The value of its first component, for reading.
    pub name: String,
    /// The DN it stands in.
    pub parent: String,
    /// How many people the filter finds directly in it.
    pub people: u64,
}

/// Reads the tree over an open connection; the organisational unit of the settings is not looked at.
pub(crate) async fn read(connection: &mut Connection, settings: &ServerSettings) -> Result<Tree, DirectoryError> {
    let base = settings.base_dn.trim().to_owned();
    let base = if base.is_empty() { settings.search_base() } else { base };
    let top = dn::key(&base);
    let people_filter = read::people_filter(settings)?;
    let mut people: BTreeMap<String, (String, u64)> = BTreeMap::new();
    let mut count = |entry: RawEntry| {
        let parent = if dn::key(&entry.dn) == top { entry.dn } else { dn::parent(&entry.dn) };
        people.entry(dn::key(&parent)).or_insert((parent, 0)).1 += 1;
        Ok(())
    };
    let all = search(connection, settings, &base, &people_filter, &mut count).await?;
    let mut found: BTreeMap<String, String> = BTreeMap::from([(top.clone(), base.clone())]);
    let mut cut = false;
    let mut keep = |entry: RawEntry| {
        cut |= found.len() > MOST_UNITS;
        if !cut {
            found.insert(dn::key(&entry.dn), entry.dn);
        }
        Ok(())
    };
    let others = search(connection, settings, &base, &units_filter(settings.vendor), &mut keep).await?;
    for (key, (unit, _)) in &people {
        found.entry(key.clone()).or_insert_with(|| unit.clone());
    }
    add_those_between(&mut found, &top);
    let mut units = units(found, &people);
    cut |= units.len() > MOST_UNITS;
    units.truncate(MOST_UNITS);
    Ok(Tree { base, units, people: all.entries, cut, lost: all.lost + others.lost })
}

/// Adds what stands between a unit and the base and was not found: hidden from the login, or of another class.
fn add_those_between(found: &mut BTreeMap<String, String>, top: &str) {
    for unit in found.values().cloned().collect::<Vec<_>>() {
        let mut above = dn::parent(&unit);
        while dn::key(&above).starts_with(top) && !found.contains_key(&dn::key(&above)) {
            found.insert(dn::key(&above), above.clone());
            above = dn::parent(&above);
        }
    }
}

fn units(found: BTreeMap<String, String>, people: &BTreeMap<String, (String, u64)>) -> Vec<Unit> {
    let of = |key: &str| people.get(key).map_or(0, |(_, count)| *count);
    // The keys begin with the last component, so each unit follows the one it stands in.
    let unit = |(key, dn): (String, String)| {
        let people = of(&key);
        Unit { name: dn::first_value(&dn), parent: dn::parent(&dn), people, dn }
    };
    found.into_iter().map(unit).collect()
}

fn units_filter(vendor: Vendor) -> String {
    let classes = CLASSES.map(|class| filter::equals("objectClass", class));
    let any = filter::or(classes.iter().map(String::as_str));
    match vendor {
        // The many containers of the system are marked so (MS-ADTS 3.1.1.2.4).
        Vendor::ActiveDirectory => filter::and([any.as_str(), "(!(showInAdvancedViewOnly=TRUE))"]),
        _ => any,
    }
}

async fn search(
    connection: &mut Connection,
    settings: &ServerSettings,
    base: &str,
    filter: &str,
    each: &mut dyn FnMut(RawEntry) -> Result<(), DirectoryError>,
) -> Result<SearchEnd, DirectoryError> {
    let page_size = settings.page_size.clamp(1, LARGEST_PAGE);
    let search = Search { base, filter, attributes: vec![NO_ATTRIBUTES.to_owned()], page_size };
    connection.search_all(settings, &search, each, &mut || ControlFlow::Continue(())).await
}
