//! Looking around in a directory with settings that need not be stored: its units, its attributes, a person's photo.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use directory::LdapDirectory;
use plugin_abi::status::ldap_sync_status::*;
use secrecy::SecretString;
use serde_json::{Value, json};
use sync_core::person::DirectoryKey;
use sync_core::picture;

use crate::actions::{checked_form, optional_server, required_id, server, stored_settings, unknown_keys};
use crate::answer::{Answer, Failure};
use crate::plugin::Plugin;
use crate::runs;

/// Longer side of the photos the page shows, in pixels.
const PHOTO_SIDE: u32 = 128;

/// `get-directory-tree`: the units below the base DN, with how many people the filter finds in each.
pub(crate) fn tree(plugin: &Plugin, body: &Value) -> Result<Answer, Failure> {
    let (form, settings) = checked_form(&plugin.journal()?, body)?;
    let tree = LdapDirectory::new(settings).tree()?;
    Ok(Answer::new(json!(tree)).with_info(lost(tree.lost)).with_info(unknown_keys(&form.unknown)))
}

/// `get-directory-schema`: the attributes there are, with what some people have in them.
pub(crate) fn schema(plugin: &Plugin, body: &Value) -> Result<Answer, Failure> {
    let journal = plugin.journal()?;
    let (form, settings) = checked_form(&journal, body)?;
    // The attribute that holds SIP secrets may be another one in the form than in the stored settings.
    let stored = optional_server(&journal, body)?.map(|record| stored_settings(&record)).transpose()?;
    let hidden = stored.map(|stored| stored.directory(SecretString::default()).attributes.secret);
    let schema = LdapDirectory::new(settings).schema(hidden.as_deref().unwrap_or_default())?;
    Ok(Answer::new(json!(schema)).with_info(lost(schema.lost)).with_info(unknown_keys(&form.unknown)))
}

/// A sentence about entries that could not be understood.
fn lost(count: u64) -> Option<String> {
    (count > 0).then(|| format!("{count} entries could not be understood and are not counted"))
}

/// `get-photo`: a small form of one person's photo, from the PBX for those who are linked, else from the directory; null
/// when there is none. The only answer with a photo in it.
pub(crate) fn photo(plugin: &Plugin, body: &Value) -> Result<Answer, Failure> {
    let journal = plugin.journal()?;
    let record = server(&journal, required_id(body, "id")?)?;
    let Value::String(key) = &body["directoryId"] else {
        return Err(Failure::field("directoryId", "the identifier of a person is expected"));
    };
    let key = DirectoryKey(key.clone());
    let bytes = match journal.link(record.id, &key)?.filter(|link| link.user_id > 0) {
        Some(link) => runs::pbx_photo(plugin, &journal, &link)?,
        None => {
            let settings = stored_settings(&record)?.directory(journal.password(record.id)?.unwrap_or_default());
            LdapDirectory::new(settings).photo(&key)?
        }
    };
    let Some(bytes) = bytes else { return Ok(Answer::new(Value::Null)) };
    let small = picture::thumbnail(&bytes, PHOTO_SIDE).map_err(|text| Failure::new(LDAP_SYNC_REFUSED, text))?;
    Ok(Answer::new(json!({"type": "image/jpeg", "base64": STANDARD.encode(&small), "bytes": small.len()})))
}
