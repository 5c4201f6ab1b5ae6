//! Testing a server's settings step by step, so that an administrator sees which one is wrong.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use ldap3::controls::RawControl;
use serde::Serialize;
use sync_core::directory::DirectoryError;
use sync_core::person::Field;

use crate::connection::{Connection, Search};
use crate::entry::RawEntry;
use crate::errors::named;
use crate::settings::{LARGEST_PAGE, Security, ServerSettings, Vendor};
use crate::tls::{CertificateInfo, TlsFailure};
use crate::{ids, read, transport};

/// Get Effective Rights of 389 Directory Server (draft-ietf-ldapext-acl-model).
const EFFECTIVE_RIGHTS: &str = "1.3.6.1.4.1.42.2.27.9.5.2";
/// A certificate that ends sooner is worth a word, in milliseconds.
const SOON: i64 = 30 * 24 * 3600 * 1000;

/// One step of a connection test.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TestStep {
    /// `reach`, `tls`, `sign-in`, `base`, `filter` or `rights`.
    pub step: &'static str,
    /// Whether it went well.
    pub ok: bool,
    /// A sentence for the administrator.
    pub text: String,
    /// The server's certificate, also one that is not trusted (step `tls`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<CertificateInfo>,
    /// How many people the filter finds (step `filter`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// The mapped attributes (step `rights`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attributes: Option<Vec<AttributeRight>>,
}

/// What the login may do with one mapped attribute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AttributeRight {
    /// The attribute.
    pub attribute: String,
    /// The field it is mapped to.
    pub field: Field,
    /// Whether the login may write it; unknown where the server does not tell.
    pub writable: Option<bool>,
    /// A sentence for the administrator.
    pub text: String,
}

impl TestStep {
    fn new(step: &'static str, ok: bool, text: impl Into<String>) -> TestStep {
        TestStep { step, ok, text: text.into(), certificate: None, count: None, attributes: None }
    }
}

/// Runs the steps; the list ends with the first one that failed. `now` is Unix time in milliseconds.
pub(crate) async fn run(settings: &ServerSettings, now: i64) -> Vec<TestStep> {
    let mut steps = Vec::new();
    let Some((host, stream)) = reach_any(settings, now, &mut steps).await else { return steps };
    let mut connection = match Connection::over(settings, &host, stream).await {
        Ok(connection) => connection,
        Err(error) => {
            steps.push(TestStep::new("sign-in", false, error.message));
            return steps;
        }
    };
    steps.push(TestStep::new("sign-in", true, signed_in(settings)));
    after_sign_in(&mut connection, settings, &mut steps).await;
    connection.close().await;
    steps
}

fn signed_in(settings: &ServerSettings) -> String {
    if settings.login.is_empty() {
        "anonymous session: no login is configured".to_owned()
    } else {
        format!("signed in as \"{}\"", settings.login)
    }
}

/// Tries the hosts in order; keeps the steps of the one that worked, or of the last.
async fn reach_any(
    settings: &ServerSettings,
    now: i64,
    steps: &mut Vec<TestStep>,
) -> Option<(String, Box<dyn transport::Stream>)> {
    let mut earlier: Vec<String> = Vec::new();
    for host in settings.host_names() {
        steps.clear();
        match reach_one(settings, &host, now, steps).await {
            Some(stream) => {
                if let (Some(first), false) = (steps.first_mut(), earlier.is_empty()) {
                    first.text = format!("{}. Tried before: {}", first.text, earlier.join("; "));
                }
                return Some((host, stream));
            }
            None => earlier.extend(steps.last().map(|step| step.text.clone())),
        }
    }
    if let Some(last) = steps.last_mut() {
        last.text = earlier.join("; ");
    } else {
        steps.push(TestStep::new("reach", false, "no directory server is named in the settings"));
    }
    None
}

async fn reach_one(
    settings: &ServerSettings,
    host: &str,
    now: i64,
    steps: &mut Vec<TestStep>,
) -> Option<Box<dyn transport::Stream>> {
    let endpoint = transport::endpoint(host, settings.port);
    let tcp = match transport::reach(settings, host).await {
        Ok(tcp) => tcp,
        Err(error) => {
            steps.push(TestStep::new("reach", false, error.message));
            return None;
        }
    };
    steps.push(TestStep::new("reach", true, format!("connected to {endpoint}")));
    match transport::protect(settings, host, tcp).await {
        Ok((stream, certificate)) => {
            let text = protection(settings, certificate.as_ref(), now);
            steps.push(TestStep { certificate, ..TestStep::new("tls", true, text) });
            Some(stream)
        }
        Err(TlsFailure { error, certificate }) => {
            steps.push(TestStep { certificate, ..TestStep::new("tls", false, error.message) });
            None
        }
    }
}

fn protection(settings: &ServerSettings, certificate: Option<&CertificateInfo>, now: i64) -> String {
    let kind = match settings.security {
        Security::None => return "the connection is not encrypted; the password can be read on the way".to_owned(),
        Security::Ldaps => "TLS (ldaps)",
        Security::StartTls => "TLS (StartTLS)",
    };
    let trust = if settings.pinned_certificate.is_some() {
        "the certificate is the pinned one"
    } else if settings.verify_certificate {
        "the certificate is trusted"
    } else {
        "the certificate was NOT verified, as the settings say: anybody on the way could read the password"
    };
    let soon = match certificate {
        Some(certificate) if certificate.expires < now.saturating_add(SOON) => {
            format!("; it ends on {} UTC", certificate.not_after)
        }
        _ => String::new(),
    };
    format!("{kind}: {trust}{soon}")
}

/// What the search for people brought.
#[derive(Default)]
struct Found {
    sample: Option<String>,
    without_id: u64,
    filled: BTreeMap<Field, u64>,
    count: u64,
}

async fn after_sign_in(connection: &mut Connection, settings: &ServerSettings, steps: &mut Vec<TestStep>) {
    let base = settings.search_base();
    match check_base(connection, settings, &base).await {
        Ok(()) => steps.push(TestStep::new("base", true, format!("\"{base}\" exists"))),
        Err(error) => return steps.push(TestStep::new("base", false, error.message)),
    }
    let found = match find_people(connection, settings, &base).await {
        Ok(found) => found,
        Err(error) => return steps.push(TestStep::new("filter", false, error.message)),
    };
    let step = filter_step(settings, &base, &found);
    let go_on = step.ok;
    steps.push(step);
    if let (true, Some(sample)) = (go_on, &found.sample) {
        steps.push(rights(connection, settings, sample, &found).await);
    }
}

async fn check_base(connection: &Connection, settings: &ServerSettings, base: &str) -> Result<(), DirectoryError> {
    let link = &connection.session.link;
    match connection.session.entry(base, &["objectClass".to_owned()], vec![]).await? {
        Ok(_) => Ok(()),
        // Success without an entry: it is there, but not shown; the search will tell more.
        Err(result) if result.rc == 0 => Ok(()),
        Err(result) => Err(link.search(settings, base, &result)),
    }
}

async fn find_people(
    connection: &mut Connection,
    settings: &ServerSettings,
    base: &str,
) -> Result<Found, DirectoryError> {
    let filter = read::people_filter(settings)?;
    let fields = settings.attributes.text_fields();
    let names = ids::attributes(settings.vendor).iter().map(|name| (*name).to_owned());
    let attributes = names.chain(fields.iter().map(|(_, attribute)| (*attribute).to_owned())).collect();
    let page_size = settings.page_size.clamp(1, LARGEST_PAGE);
    let search = Search { base, filter: &filter, attributes, page_size };
    let mut found = Found::default();
    let look = |entry: RawEntry| {
        found.count += 1;
        if ids::key(settings.vendor, &entry).is_none() {
            found.without_id += 1;
        }
        for (field, attribute) in &fields {
            if !entry.texts(attribute).is_empty() {
                *found.filled.entry(*field).or_default() += 1;
            }
        }
        found.sample.get_or_insert(entry.dn);
        Ok(())
    };
    connection.search_all(settings, &search, look, &mut || ControlFlow::Continue(())).await?;
    Ok(found)
}

fn filter_step(settings: &ServerSettings, base: &str, found: &Found) -> TestStep {
    let count = found.count;
    let text = if count == 0 {
        format!("the filter {} finds nobody below \"{base}\"", settings.people_filter())
    } else if found.without_id > 0 {
        format!(
            "the filter finds {count} people, but {} of them have no {}: is the server's type right?",
            found.without_id,
            ids::attributes(settings.vendor).join(" or ")
        )
    } else {
        format!("the filter finds {count} people")
    };
    TestStep { count: Some(count), ..TestStep::new("filter", count > 0 && found.without_id < count, text) }
}

async fn rights(connection: &Connection, settings: &ServerSettings, sample: &str, found: &Found) -> TestStep {
    let known = match settings.vendor {
        Vendor::ActiveDirectory => allowed_attributes(connection, sample).await,
        Vendor::OpenLdap => Err("this server tells rights only when something is written".to_owned()),
        Vendor::DirectoryServer389 | Vendor::FreeIpa => effective_rights(connection, settings, sample).await,
    };
    let rows: Vec<AttributeRight> = settings
        .attributes
        .mapped()
        .into_iter()
        .map(|(field, attribute)| {
            let writable = known.as_ref().ok().map(|names| names.contains(&attribute.to_ascii_lowercase()));
            let may = match (writable, &known) {
                (Some(true), _) => "may be written".to_owned(),
                (Some(false), _) => format!("may not be written by \"{}\"", settings.login),
                (None, Err(reason)) => format!("whether it may be written is not known: {reason}"),
                (None, Ok(_)) => "whether it may be written is not known".to_owned(),
            };
            // Photos and SIP secrets are not read for a test.
            let text = match field {
                Field::Photo | Field::Secret => may,
                _ => {
                    let filled = found.filled.get(&field).copied().unwrap_or_default();
                    format!("{may}; filled in for {filled} of {} people", found.count)
                }
            };
            AttributeRight { attribute: attribute.to_owned(), field, writable, text }
        })
        .collect();
    let text = match &known {
        Ok(_) => format!("rights to the mapped attributes, as seen at {sample}"),
        Err(reason) => format!("rights cannot be shown: {reason}"),
    };
    TestStep { attributes: Some(rows), ..TestStep::new("rights", true, text) }
}

/// Names in lower case of the attributes that may be written: allowedAttributesEffective (MS-ADTS 3.1.1.4.5.22).
async fn allowed_attributes(connection: &Connection, sample: &str) -> Result<Vec<String>, String> {
    let names = ["allowedAttributesEffective".to_owned()];
    match connection.session.entry(sample, &names, vec![]).await {
        Ok(Ok(entry)) => {
            let names = entry.texts("allowedAttributesEffective");
            Ok(names.into_iter().map(|name| name.to_ascii_lowercase()).collect())
        }
        Ok(Err(result)) => Err(named(&result)),
        Err(error) => Err(error.message),
    }
}

/// The same by the control of 389 Directory Server: attributeLevelRights holds `attribute:letters`, `w` is write.
async fn effective_rights(
    connection: &Connection,
    settings: &ServerSettings,
    sample: &str,
) -> Result<Vec<String>, String> {
    if !connection.root.offers(EFFECTIVE_RIGHTS) || settings.login.is_empty() {
        return Err("this server tells rights only when something is written".to_owned());
    }
    let whose = format!("dn:{}", settings.login).into_bytes();
    let control = RawControl { ctype: EFFECTIVE_RIGHTS.to_owned(), crit: true, val: Some(whose) };
    let fields = settings.attributes.mapped();
    let names: Vec<String> = fields.into_iter().map(|(_, attribute)| attribute.to_owned()).collect();
    match connection.session.entry(sample, &names, vec![control]).await {
        Ok(Ok(entry)) => match entry.text("attributeLevelRights") {
            rights if rights.is_empty() => Err("the server did not tell them".to_owned()),
            rights => Ok(writable_of(&rights)),
        },
        Ok(Err(result)) => Err(named(&result)),
        Err(error) => Err(error.message),
    }
}

fn writable_of(rights: &str) -> Vec<String> {
    rights
        .split(',')
        .filter_map(|right| right.trim().split_once(':'))
        .filter(|(_, letters)| letters.contains('w'))
        .map(|(attribute, _)| attribute.to_ascii_lowercase())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn effective_rights_are_read_by_their_letters() {
        assert_eq!(writable_of("telephoneNumber:rscwo, mail:rsc, Mobile:w"), ["telephonenumber", "mobile"]);
        assert_eq!(writable_of("none"), Vec::<String>::new());
    }
}
