//! Looking for people by their identifiers in the whole directory: whoever the filter no longer finds may only have been
//! moved.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use sync_core::directory::{DirectoryError, DirectoryErrorKind, Elsewhere};
use sync_core::person::DirectoryKey;

use crate::connection::{Connection, Search};
use crate::entry::RawEntry;
use crate::errors::error;
use crate::settings::ServerSettings;
use crate::{account, dn, filter, ids};

/// Most entries named in one filter.
pub(crate) const MAX_BY_KEY: usize = 100;

/// The entries with these identifiers, as far as the login may see them; `now` is Unix time in milliseconds.
///
/// # Errors
/// Also when an entry in the answer cannot be understood: then it is not known whose it is.
pub(crate) async fn find(
    connection: &mut Connection,
    settings: &ServerSettings,
    keys: &[DirectoryKey],
    now: i64,
) -> Result<BTreeMap<DirectoryKey, Elsewhere>, DirectoryError> {
    let mut found = BTreeMap::new();
    let names: Vec<String> = account::attributes(settings).into_iter().map(str::to_owned).collect();
    let keep = |key: DirectoryKey, entry: RawEntry| {
        let account = account::state(settings, &entry, now);
        found.insert(key, Elsewhere { dn: entry.dn, account });
    };
    by_keys(connection, settings, keys, names, keep).await?;
    Ok(found)
}

/// Searches the whole directory for entries by their identifiers, in filters of a hundred.
pub(crate) async fn by_keys(
    connection: &mut Connection,
    settings: &ServerSettings,
    keys: &[DirectoryKey],
    names: Vec<String>,
    mut each: impl FnMut(DirectoryKey, RawEntry),
) -> Result<(), DirectoryError> {
    let base = dn::context_of(&settings.search_base(), &connection.root.naming_contexts);
    let identifiers = ids::attributes(settings.vendor).iter().map(|name| (*name).to_owned());
    let attributes: Vec<String> = identifiers.chain(names).collect();
    for some in keys.chunks(MAX_BY_KEY) {
        let filters: Vec<String> = some.iter().map(|key| ids::filter(settings.vendor, key)).collect();
        let filter = filter::or(filters.iter().map(String::as_str));
        let page_size = MAX_BY_KEY as u32;
        let search = Search { base: &base, filter: &filter, attributes: attributes.clone(), page_size };
        let keep = |entry: RawEntry| {
            if let Some(key) = ids::key(settings.vendor, &entry).filter(|key| some.contains(key)) {
                each(key, entry);
            }
            Ok(())
        };
        let end = connection.search_all(settings, &search, keep, &mut || ControlFlow::Continue(())).await?;
        if end.lost > 0 {
            let text = format!(
                "{} entries that {} sent when asked for people by identifier could not be understood: {}",
                end.lost,
                connection.session.link.endpoint,
                end.bad.join("; ")
            );
            return Err(error(DirectoryErrorKind::Malformed, text));
        }
    }
    Ok(())
}
