//! Taking over the servers of the module's PHP predecessor at install.

use log::{info, warn};
use serde_json::{Map, Value, json};
use sync_core::journal::{Journal, LegacyServer};

use crate::actions;
use crate::answer::Failure;
use crate::settings::{Form, Settings};

/// The predecessor's names of types that are called otherwise here.
const TYPES: [(&str, &str); 2] = [("DirectoryServer", "389DirectoryServer"), ("", "ActiveDirectory")];

/// Takes over every server that has not been taken over yet; answers what was taken, and sentences about it.
pub(crate) fn take_over(journal: &mut Journal, now: i64) -> Result<(Vec<Value>, Vec<String>), Failure> {
    let (mut taken, mut told) = (Vec::new(), Vec::new());
    for (server, autosync) in journal.legacy_servers()? {
        let name = server.column("serverName").to_owned();
        let (settings, lost) = settings(&server);
        let text = serde_json::to_string(&settings).unwrap_or_default();
        let done = journal.take_over(&server, &text, autosync, &settings.fingerprint(), now)?;
        info!("server {} was taken over from the earlier module as {}", server.old_id, done.server_id);
        told.push(format!(
            "{name} was taken over from the earlier module with {} linked people and {} conflicts; its password is sealed \
             now. Preview it, then synchronise by hand: nothing is overwritten where the two sides differ",
            done.links, done.conflicts
        ));
        told.extend(actions::warnings(&settings).into_iter().map(|warning| format!("{name}: {warning}")));
        for (field, reason) in lost {
            warn!("{field} of {name} cannot be taken over: {reason}");
            told.push(format!("{name}: {field} could not be taken over, {reason}; it has its default"));
        }
        taken.push(json!({"serverId": done.server_id, "links": done.links, "conflicts": done.conflicts}));
    }
    Ok((taken, told))
}

/// The settings of a server, and the fields that could not be read.
fn settings(server: &LegacyServer) -> (Settings, Vec<(String, String)>) {
    let mut form = form(server);
    let mut lost = Vec::new();
    while let Some(errors) = Form::read(&Value::Object(form.clone()), None).err() {
        let known = errors.iter().filter(|(field, _)| form.contains_key(field)).count();
        for (field, reason) in errors {
            form.remove(&field);
            lost.push((field, reason));
        }
        if known == 0 {
            return (Settings::default(), lost);
        }
    }
    let settings = Form::read(&Value::Object(form), None).map(|form| form.settings);
    (settings.unwrap_or_default(), lost)
}

/// The stored columns as the older form sends them.
fn form(server: &LegacyServer) -> Map<String, Value> {
    let mut form = Map::new();
    let columns = LegacyServer::COLUMNS.into_iter().filter(|name| *name != "attributes");
    for name in columns.filter(|name| !server.column(name).is_empty()) {
        form.insert(name.to_owned(), server.column(name).into());
    }
    let kind = server.column("ldapType");
    let kind = TYPES.iter().find(|(old, _)| *old == kind).map_or(kind, |(_, new)| new);
    form.insert("ldapType".to_owned(), kind.into());
    if let Ok(Value::Object(attributes)) = serde_json::from_str(server.column("attributes")) {
        let named = attributes.into_iter().filter(|(name, _)| name != "userDisabled");
        form.extend(named.filter(|(_, attribute)| attribute.is_string()));
    }
    form
}
