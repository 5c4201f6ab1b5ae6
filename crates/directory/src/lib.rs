//! LDAP directories: reading, writing and testing them.
//!
//! The network is asynchronous inside and synchronous outside: each call runs a private runtime on the calling thread and
//! leaves no task, thread or connection behind. Calls must not come from within another asynchronous runtime.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use sync_core::directory::{
    Directory, DirectoryError, DirectoryErrorKind, DirectorySnapshot, DirectoryWrite, Elsewhere, ReadRequest,
    WriteOutcome,
};
use sync_core::person::{DirectoryKey, Field};
use sync_core::recency::DirectoryTime;

pub mod account;
mod ber;
mod connection;
mod diagnose;
mod dn;
mod elsewhere;
mod entry;
mod errors;
pub mod filter;
mod framing;
mod ids;
mod photos;
mod read;
mod relay;
mod schema;
mod settings;
mod times;
mod tls;
mod transport;
mod tree;
mod validate;
mod write;

pub use diagnose::{AttributeRight, TestStep};
pub use schema::{AttributeInfo, Sample, Schema};
pub use settings::{Attributes, LARGEST_PAGE, SMALLEST_PAGE, Security, ServerSettings, Timeouts, Vendor};
pub use tls::CertificateInfo;
pub use tree::{Tree, Unit};
pub use validate::validate;

use crate::connection::Connection;
use crate::errors::error;

/// A directory spoken to by LDAP.
#[derive(Debug)]
pub struct LdapDirectory {
    settings: Arc<ServerSettings>,
}

impl LdapDirectory {
    /// A directory with these settings; nothing is sent before it is read or written.
    pub fn new(settings: ServerSettings) -> Self {
        LdapDirectory { settings: Arc::new(settings) }
    }
}

impl Directory for LdapDirectory {
    fn read(
        &mut self,
        request: &ReadRequest<'_>,
        progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Result<DirectorySnapshot, DirectoryError> {
        let settings = Arc::clone(&self.settings);
        run(async move {
            // A broken filter is told before anything is sent.
            read::people_filter(&settings)?;
            let (mut connection, warnings) = Connection::open(&settings).await?;
            let outcome = read::read(&mut connection, &settings, request, progress).await;
            connection.close().await;
            let mut snapshot = outcome?;
            snapshot.warnings.splice(0..0, warnings);
            Ok(snapshot)
        })
    }

    fn find(&mut self, keys: &[DirectoryKey], now: i64) -> Result<BTreeMap<DirectoryKey, Elsewhere>, DirectoryError> {
        if keys.is_empty() {
            return Ok(BTreeMap::new());
        }
        let settings = Arc::clone(&self.settings);
        run(async move {
            let (mut connection, _) = Connection::open(&settings).await?;
            let found = elsewhere::find(&mut connection, &settings, keys, now).await;
            connection.close().await;
            found
        })
    }

    fn edit_times(
        &mut self,
        wanted: &BTreeMap<DirectoryKey, BTreeSet<Field>>,
    ) -> Result<BTreeMap<(DirectoryKey, Field), DirectoryTime>, DirectoryError> {
        let settings = Arc::clone(&self.settings);
        run(async move {
            let (mut connection, _) = Connection::open(&settings).await?;
            let times = times::edit_times(&mut connection, &settings, wanted).await;
            connection.close().await;
            times
        })
    }

    fn write(
        &mut self,
        writes: &[DirectoryWrite],
        replaced_photos: &Path,
        done: &mut dyn FnMut(usize, &WriteOutcome),
    ) -> Result<(), DirectoryError> {
        if writes.is_empty() {
            return Ok(());
        }
        let settings = Arc::clone(&self.settings);
        run(async move {
            let (connection, _) = Connection::open(&settings).await?;
            let outcome = write::write(&connection, settings, writes, replaced_photos, done).await;
            connection.close().await;
            outcome
        })
    }
}

impl LdapDirectory {
    /// The units below the base DN, with how many people the filter finds in each.
    pub fn tree(&self) -> Result<Tree, DirectoryError> {
        let settings = Arc::clone(&self.settings);
        run(async move {
            let (mut connection, _) = Connection::open(&settings).await?;
            let tree = tree::read(&mut connection, &settings).await;
            connection.close().await;
            tree
        })
    }

    /// The attributes of the schema, with what some people have in them. No value that may be a secret is in it.
    /// `hidden` is one more attribute of which no value is shown.
    pub fn schema(&self, hidden: &str) -> Result<Schema, DirectoryError> {
        let settings = Arc::clone(&self.settings);
        run(async move {
            let (connection, _) = Connection::open(&settings).await?;
            let schema = schema::read(&connection, &settings, hidden).await;
            connection.close().await;
            schema
        })
    }

    /// The photo of one person; nothing when they have none, or are not shown to the login.
    pub fn photo(&self, key: &DirectoryKey) -> Result<Option<Vec<u8>>, DirectoryError> {
        let attribute = self.settings.attributes.photo.clone();
        if attribute.is_empty() {
            return Ok(None);
        }
        let settings = Arc::clone(&self.settings);
        run(async move {
            let (mut connection, _) = Connection::open(&settings).await?;
            let (mut photo, keys, names) = (None, [key.clone()], vec![attribute.clone()]);
            let keep = |_, entry: entry::RawEntry| photo = entry.values(&attribute).first().cloned();
            let found = elsewhere::by_keys(&mut connection, &settings, &keys, names, keep).await;
            connection.close().await;
            found.map(|()| photo)
        })
    }
}

/// Tests settings step by step; the list ends with the first step that failed. `now_ms` is Unix time in milliseconds. No
/// password is sent over a connection whose certificate was refused.
pub fn test_connection(settings: &ServerSettings, now_ms: i64) -> Vec<TestStep> {
    run(async { Ok(diagnose::run(settings, now_ms).await) }).unwrap_or_else(|failure| {
        vec![TestStep {
            step: "reach",
            ok: false,
            text: failure.message,
            certificate: None,
            count: None,
            attributes: None,
        }]
    })
}

/// Runs `work` to its end on this thread. A name server that hangs does not hold up the end.
fn run<T>(work: impl Future<Output = Result<T, DirectoryError>>) -> Result<T, DirectoryError> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build().map_err(|reason| {
            error(
                DirectoryErrorKind::Other,
                format!("this system gives no resources for network connections: {reason}"),
            )
        })?;
    let outcome = runtime.block_on(work);
    runtime.shutdown_background();
    outcome
}

/// Settings of a server on loopback, for unit tests.
#[cfg(test)]
fn test_settings(vendor: Vendor) -> ServerSettings {
    ServerSettings {
        vendor,
        hosts: vec!["127.0.0.1".to_owned()],
        port: 389,
        security: Security::StartTls,
        ca_certificate: String::new(),
        verify_certificate: true,
        pinned_certificate: None,
        allow_plain: false,
        login: "cn=pbx,dc=example,dc=test".to_owned(),
        password: "secret".into(),
        base_dn: "dc=example,dc=test".to_owned(),
        organizational_unit: String::new(),
        user_filter: String::new(),
        attributes: Attributes {
            name: "displayName".to_owned(),
            number: "telephoneNumber".to_owned(),
            mobile: "mobile".to_owned(),
            email: "mail".to_owned(),
            photo: String::new(),
            secret: String::new(),
            employee_number: String::new(),
            account_status: String::new(),
        },
        page_size: SMALLEST_PAGE,
        timeouts: Timeouts::default(),
    }
}
