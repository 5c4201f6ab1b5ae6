//! LDAP directories: reading, writing and testing them.
//!
//! The network is asynchronous inside and synchronous outside: a private runtime runs on the calling thread while a call
//! lasts, and no thread is left behind. Calls must not come from within another asynchronous runtime.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sync_core::directory::{
    Changed, Directory, DirectoryError, DirectoryErrorKind, DirectorySnapshot, DirectoryWrite, Elsewhere, Position,
    ReadRequest, WriteOutcome,
};
use sync_core::person::{DirectoryKey, Field};
use sync_core::recency::DirectoryTime;
use tokio::runtime::Runtime;

pub mod account;
mod ber;
mod changes;
mod connection;
mod diagnose;
mod dirsync;
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

/// A directory spoken to by LDAP. The connection is kept between calls, and looked at before it is used again after a pause; it
/// is closed when this is dropped.
#[derive(Debug)]
pub struct LdapDirectory {
    settings: Arc<ServerSettings>,
    open: Option<Open>,
}

/// A connection, with what its tasks run on.
struct Open {
    runtime: Runtime,
    connection: Connection,
    /// When something was last answered over it.
    used: Instant,
}

/// A connection over which something was answered within this time is used without asking whether it still works.
const FRESH: Duration = Duration::from_millis(200);

impl std::fmt::Debug for Open {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Open").field("endpoint", &self.connection.session.link.endpoint).finish_non_exhaustive()
    }
}

impl LdapDirectory {
    /// A directory with these settings; nothing is sent before it is read or written.
    pub fn new(settings: ServerSettings) -> Self {
        LdapDirectory { settings: Arc::new(settings), open: None }
    }

    /// Does `work` over the connection kept, or over a new one. The sentences are about hosts that did not work.
    fn with<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut Connection, &ServerSettings) -> Result<T, DirectoryError>,
    ) -> Result<(T, Vec<String>), DirectoryError> {
        let settings = Arc::clone(&self.settings);
        let (mut open, warnings) = match self.usable() {
            Some(open) => (open, Vec::new()),
            None => Open::new(&settings)?,
        };
        let outcome = open.runtime.block_on(work(&mut open.connection, &settings));
        if outcome.is_ok() {
            open.used = Instant::now();
            self.open = Some(open);
        } else {
            open.close();
        }
        outcome.map(|value| (value, warnings))
    }

    /// The connection kept, if its server still answers.
    fn usable(&mut self) -> Option<Open> {
        let open = self.open.take()?;
        if open.used.elapsed() < FRESH {
            return Some(open);
        }
        let alive = open.runtime.block_on(open.connection.session.entry("", &["1.1".to_owned()], vec![]));
        match alive {
            Ok(_) => Some(open),
            Err(reason) => {
                log::debug!("a connection that was kept has ended: {}", reason.message);
                open.close();
                None
            }
        }
    }
}

impl Drop for LdapDirectory {
    fn drop(&mut self) {
        if let Some(open) = self.open.take() {
            open.close();
        }
    }
}

impl Open {
    fn new(settings: &ServerSettings) -> Result<(Open, Vec<String>), DirectoryError> {
        let runtime = runtime()?;
        match runtime.block_on(Connection::open(settings)) {
            Ok((connection, warnings)) => Ok((Open { runtime, connection, used: Instant::now() }, warnings)),
            Err(failure) => {
                runtime.shutdown_background();
                Err(failure)
            }
        }
    }

    fn close(self) {
        self.runtime.block_on(self.connection.close());
        self.runtime.shutdown_background();
    }
}

impl Directory for LdapDirectory {
    fn mark(&mut self) -> Result<Option<String>, DirectoryError> {
        self.with(async |connection, settings| changes::mark(connection, settings).await).map(|(mark, _)| mark)
    }

    fn cookie(&mut self) -> Result<String, DirectoryError> {
        self.with(async |connection, settings| changes::cookie(connection, settings).await).map(|(cookie, _)| cookie)
    }

    fn changed(&mut self, since: &Position, now: i64) -> Result<Changed, DirectoryError> {
        let work = async |connection: &mut Connection, settings: &ServerSettings| {
            changes::changed(connection, settings, since, now).await
        };
        self.with(work).map(|(changed, _)| changed)
    }

    fn read(
        &mut self,
        request: &ReadRequest<'_>,
        progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Result<DirectorySnapshot, DirectoryError> {
        // A broken filter is told before anything is sent.
        read::people_filter(&self.settings)?;
        let work = async |connection: &mut Connection, settings: &ServerSettings| {
            read::read(connection, settings, request, progress).await
        };
        let (mut snapshot, warnings) = self.with(work)?;
        snapshot.warnings.splice(0..0, warnings);
        Ok(snapshot)
    }

    fn find(&mut self, keys: &[DirectoryKey], now: i64) -> Result<BTreeMap<DirectoryKey, Elsewhere>, DirectoryError> {
        if keys.is_empty() {
            return Ok(BTreeMap::new());
        }
        let work = async |connection: &mut Connection, settings: &ServerSettings| {
            elsewhere::find(connection, settings, keys, now).await
        };
        self.with(work).map(|(found, _)| found)
    }

    fn edit_times(
        &mut self,
        wanted: &BTreeMap<DirectoryKey, BTreeSet<Field>>,
    ) -> Result<BTreeMap<(DirectoryKey, Field), DirectoryTime>, DirectoryError> {
        let work = async |connection: &mut Connection, settings: &ServerSettings| {
            times::edit_times(connection, settings, wanted).await
        };
        self.with(work).map(|(times, _)| times)
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
        let own = Arc::clone(&self.settings);
        let work = async |connection: &mut Connection, _: &ServerSettings| {
            write::write(connection, own, writes, replaced_photos, done).await
        };
        self.with(work).map(|((), _)| ())
    }
}

impl LdapDirectory {
    /// The units below the base DN, with how many people the filter finds in each.
    pub fn tree(&mut self) -> Result<Tree, DirectoryError> {
        self.with(async |connection, settings| tree::read(connection, settings).await).map(|(tree, _)| tree)
    }

    /// The attributes of the schema, with what some people have in them. No value that may be a secret is in it.
    /// `hidden` is one more attribute of which no value is shown.
    pub fn schema(&mut self, hidden: &str) -> Result<Schema, DirectoryError> {
        let work = async |connection: &mut Connection, settings: &ServerSettings| {
            schema::read(connection, settings, hidden).await
        };
        self.with(work).map(|(schema, _)| schema)
    }

    /// The photo of one person; nothing when they have none, or are not shown to the login.
    pub fn photo(&mut self, key: &DirectoryKey) -> Result<Option<Vec<u8>>, DirectoryError> {
        let attribute = self.settings.attributes.photo.clone();
        if attribute.is_empty() {
            return Ok(None);
        }
        let work = async |connection: &mut Connection, settings: &ServerSettings| {
            let (mut photo, keys, names) = (None, [key.clone()], vec![attribute.clone()]);
            let keep = |_, entry: entry::RawEntry| photo = entry.values(&attribute).next().map(<[u8]>::to_vec);
            elsewhere::by_keys(connection, settings, &keys, names, keep).await.map(|()| photo)
        };
        self.with(work).map(|(photo, _)| photo)
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
    let runtime = runtime()?;
    let outcome = runtime.block_on(work);
    runtime.shutdown_background();
    outcome
}

/// What the tasks of one connection run on, as long as something of it is waited for.
fn runtime() -> Result<Runtime, DirectoryError> {
    tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build().map_err(|reason| {
        error(DirectoryErrorKind::Other, format!("this system gives no resources for network connections: {reason}"))
    })
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
