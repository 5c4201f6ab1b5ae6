//! A signed-in connection to one directory server: opened at the first host that works, searched page by page, closed.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ldap3::controls::{Control, PagedResults, RawControl};
use ldap3::{Ldap, LdapConnAsync, LdapConnSettings, LdapResult, Mod, Scope, StdStream};
use secrecy::ExposeSecret;
use sync_core::directory::{DirectoryError, DirectoryErrorKind};
use tokio::net::UnixStream;
use tokio::task::JoinSet;

use crate::ber;
use crate::entry::{BadEntry, RawEntry};
use crate::errors::{Link, error, named};
use crate::relay::{self, Item, Shared};
use crate::settings::ServerSettings;
use crate::transport::{self, Stream};

/// Simple paged results (RFC 2696).
const PAGED_RESULTS: &str = "1.2.840.113556.1.4.319";
/// Pages without a single entry after which a server is thought to be going in circles.
const MAX_EMPTY_PAGES: u32 = 100;
/// A whole page may take this many times the time allowed for one message.
pub(crate) const PAGE_PATIENCE: u32 = 10;
/// Time for a polite goodbye.
const GOODBYE: Duration = Duration::from_secs(2);

/// What the server says about itself (RFC 4512, 5.1).
#[derive(Clone, Debug, Default)]
pub(crate) struct RootDse {
    /// OIDs of the controls it knows.
    pub controls: Vec<String>,
    /// Its own host name; only Active Directory tells.
    pub host_name: String,
    /// The trees it holds.
    pub naming_contexts: Vec<String>,
    /// Where its schema stands; Active Directory only.
    pub schema: String,
}

impl RootDse {
    /// Whether the server knows a control.
    pub(crate) fn offers(&self, oid: &str) -> bool {
        self.controls.iter().any(|known| known == oid)
    }
}

/// A handle for operations; clones share the connection.
#[derive(Clone)]
pub(crate) struct Session {
    ldap: Ldap,
    /// For explaining failures.
    pub link: Arc<Link>,
}

/// A connection; dropping it ends its tasks.
pub(crate) struct Connection {
    /// The handle.
    pub session: Session,
    /// About the server.
    pub root: RootDse,
    tasks: JoinSet<()>,
    searches: u32,
}

/// What to search for.
pub(crate) struct Search<'a> {
    /// Base DN.
    pub base: &'a str,
    /// Filter.
    pub filter: &'a str,
    /// Attributes asked for.
    pub attributes: Vec<String>,
    /// Entries per page.
    pub page_size: u32,
}

/// How a search ended that brought everything.
#[derive(Clone, Debug, Default)]
pub(crate) struct SearchEnd {
    /// Entries understood.
    pub entries: u64,
    /// Entries that were not: sentences, the first twenty of them.
    pub bad: Vec<String>,
    /// How many were not understood or too large.
    pub lost: u64,
}

impl Session {
    /// Makes one search and gives each entry to `each`; answers the server's result, whatever its code.
    pub(crate) async fn search<F>(
        &self,
        base: &str,
        scope: Scope,
        filter: &str,
        attributes: &[String],
        controls: Vec<RawControl>,
        mut each: F,
    ) -> Result<LdapResult, DirectoryError>
    where
        F: FnMut(Result<RawEntry, BadEntry>),
    {
        let entry = |item: Item| {
            if let Item::Entry(message) = item {
                each(RawEntry::parse(&message));
            }
        };
        self.items(base, scope, filter, attributes, controls, entry).await
    }

    /// As [`Session::search`], with everything the server sends before its result.
    pub(crate) async fn items<F>(
        &self,
        base: &str,
        scope: Scope,
        filter: &str,
        attributes: &[String],
        controls: Vec<RawControl>,
        mut each: F,
    ) -> Result<LdapResult, DirectoryError>
    where
        F: FnMut(Item),
    {
        let doing = "searching";
        let mut ldap = self.ldap.clone();
        ldap.with_timeout(self.link.timeout).with_controls(controls);
        let started = ldap.streaming_search(base, scope, filter, attributes.to_vec()).await;
        let mut stream = started.map_err(|reason| self.link.no_answer(doing, &reason))?;
        let (shared, id) = (&self.link.shared, stream.ldap_handle().last_id());
        let more = shared.more(id);
        let ended = loop {
            while let Some(item) = shared.take(id) {
                each(item);
            }
            // The library is given nothing of a search but its end; it waits for that anew after each item.
            tokio::select! {
                () = more.notified() => (),
                end = stream.next() => break end,
            }
        };
        while let Some(item) = shared.take(id) {
            each(item);
        }
        shared.forget(id);
        match ended {
            Ok(_) => Ok(stream.finish().await),
            Err(reason) => Err(self.link.no_answer(doing, &reason)),
        }
    }

    /// Reads one entry by its DN; an inner error is the server's result, success included when it showed nothing.
    pub(crate) async fn entry(
        &self,
        dn: &str,
        attributes: &[String],
        controls: Vec<RawControl>,
    ) -> Result<Result<RawEntry, LdapResult>, DirectoryError> {
        let mut found = None;
        let keep = |entry: Result<RawEntry, BadEntry>| found = entry.ok();
        let result = self.search(dn, Scope::Base, "(objectClass=*)", attributes, controls, keep).await?;
        Ok(match found {
            Some(entry) if result.rc == 0 => Ok(entry),
            _ => Err(result),
        })
    }

    /// Changes one entry; answers the server's result, whatever its code.
    pub(crate) async fn modify(
        &self,
        dn: &str,
        changes: Vec<Mod<Vec<u8>>>,
        controls: Vec<RawControl>,
    ) -> Result<LdapResult, DirectoryError> {
        let mut ldap = self.ldap.clone();
        ldap.with_timeout(self.link.timeout).with_controls(controls);
        let outcome = ldap.modify(dn, changes).await;
        outcome.map_err(|reason| self.link.no_answer(&format!("writing to \"{dn}\""), &reason))
    }

    async fn sign_in(&self, settings: &ServerSettings) -> Result<(), DirectoryError> {
        let password = settings.password.expose_secret();
        if settings.login.is_empty() && password.is_empty() {
            return Ok(());
        }
        // RFC 4513, 5.1.2: a name with an empty password is an anonymous session that looks like a sign-in.
        if password.is_empty() || settings.login.is_empty() {
            let missing = if password.is_empty() { "password" } else { "login" };
            let text =
                format!("there is no {missing} for {}: a server would take that as anonymous", self.link.endpoint);
            return Err(error(DirectoryErrorKind::SignIn, text));
        }
        let mut ldap = self.ldap.clone();
        let outcome = ldap.with_timeout(self.link.timeout).simple_bind(&settings.login, password).await;
        let result = outcome.map_err(|reason| self.link.no_answer("signing in", &reason))?;
        if result.rc == 0 { Ok(()) } else { Err(self.link.sign_in(settings, &result)) }
    }

    async fn root_dse(&self) -> Result<RootDse, DirectoryError> {
        let names = ["supportedControl", "dnsHostName", "namingContexts", "schemaNamingContext"].map(str::to_owned);
        let entry = match self.entry("", &names, vec![]).await? {
            Ok(entry) => entry,
            Err(result) => {
                log::debug!("{} does not show its root DSE: {}", self.link.endpoint, named(&result));
                return Ok(RootDse::default());
            }
        };
        let host_name = entry.text("dnsHostName").to_lowercase();
        Ok(RootDse {
            controls: entry.texts("supportedControl"),
            host_name,
            naming_contexts: entry.texts("namingContexts"),
            schema: entry.text("schemaNamingContext"),
        })
    }
}

/// Settings of the hosts tried one after the other.
fn no_hosts() -> DirectoryError {
    error(DirectoryErrorKind::Settings, "no directory server is named in the settings")
}

impl Connection {
    /// Connects to the first host that works and signs in. The sentences are about hosts that did not work.
    pub(crate) async fn open(settings: &ServerSettings) -> Result<(Connection, Vec<String>), DirectoryError> {
        let mut failures: Vec<DirectoryError> = Vec::new();
        for host in settings.host_names() {
            match Self::open_host(settings, &host).await {
                Ok(connection) => {
                    let warnings = failures.into_iter().map(|failure| failure.message).collect();
                    return Ok((connection, warnings));
                }
                // The same wrong password at every server would lock the account.
                Err(failure) if failure.kind == DirectoryErrorKind::SignIn => return Err(failure),
                Err(failure) => {
                    log::warn!("{}", failure.message);
                    failures.push(failure);
                }
            }
        }
        let kind = failures.first().ok_or_else(no_hosts)?.kind;
        let messages: Vec<String> = failures.into_iter().map(|failure| failure.message).collect();
        Err(error(kind, messages.join("; ")))
    }

    async fn open_host(settings: &ServerSettings, host: &str) -> Result<Connection, DirectoryError> {
        let tcp = transport::reach(settings, host).await?;
        let (stream, _) = transport::protect(settings, host, tcp).await.map_err(|failure| failure.error)?;
        Self::over(settings, host, stream).await
    }

    /// Signs in over a stream that is protected as the settings say.
    pub(crate) async fn over(
        settings: &ServerSettings,
        host: &str,
        stream: Box<dyn Stream>,
    ) -> Result<Connection, DirectoryError> {
        let endpoint = transport::endpoint(host, settings.port);
        let internal = |reason: std::io::Error| {
            error(DirectoryErrorKind::Other, format!("no socket pair for the connection to {endpoint}: {reason}"))
        };
        let (ours, librarys) = UnixStream::pair().map_err(internal)?;
        let librarys = librarys.into_std().map_err(internal)?;
        let options = LdapConnSettings::new().set_std_stream(StdStream::Unix(librarys));
        let (driver, ldap) = LdapConnAsync::with_settings(options, "ldapi:///").await.map_err(|reason| {
            error(DirectoryErrorKind::Other, format!("the LDAP library refuses the connection to {endpoint}: {reason}"))
        })?;
        let shared = Arc::new(Shared::default());
        let mut tasks = JoinSet::new();
        let relayed = Arc::clone(&shared);
        tasks.spawn(async move { relay::run(stream, ours, &relayed).await });
        tasks.spawn(async move {
            if let Err(reason) = driver.drive().await {
                log::debug!("the LDAP connection ended: {reason}");
            }
        });
        let timeout = settings.timeouts.operation;
        let link = Arc::new(Link { endpoint, shared, security: settings.security, timeout });
        let session = Session { ldap, link };
        session.sign_in(settings).await?;
        let root = session.root_dse().await?;
        Ok(Connection { session, root, tasks, searches: 0 })
    }

    /// Searches the whole subtree page by page. Any end but success is an error: what arrived before it is not a list.
    pub(crate) async fn search_all<F>(
        &mut self,
        settings: &ServerSettings,
        search: &Search<'_>,
        each: F,
        page_done: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> Result<SearchEnd, DirectoryError>
    where
        F: FnMut(RawEntry) -> Result<(), DirectoryError>,
    {
        self.search_with(settings, search, Vec::new(), each, page_done).await
    }

    /// As [`Connection::search_all`], with further controls.
    pub(crate) async fn search_with<F>(
        &mut self,
        settings: &ServerSettings,
        search: &Search<'_>,
        more: Vec<RawControl>,
        mut each: F,
        page_done: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> Result<SearchEnd, DirectoryError>
    where
        F: FnMut(RawEntry) -> Result<(), DirectoryError>,
    {
        self.searches += 1;
        let mut end = SearchEnd::default();
        let (mut cookie, mut pages, mut empty_pages) = (Vec::new(), 0u64, 0u32);
        let oversized = self.oversized();
        loop {
            let before = end.entries + end.lost;
            let control = PagedResults { size: search.page_size.try_into().unwrap_or(i32::MAX), cookie };
            let mut failed = Ok(());
            let count = |entry: Result<RawEntry, BadEntry>| match entry {
                Ok(entry) => {
                    end.entries += 1;
                    if failed.is_ok() {
                        failed = each(entry);
                    }
                }
                Err(bad) => {
                    end.lost += 1;
                    if end.bad.len() < 20 {
                        end.bad.push(bad.0);
                    }
                }
            };
            let controls = [vec![RawControl::from(control)], more.clone()].concat();
            let page =
                self.session.search(search.base, Scope::Subtree, search.filter, &search.attributes, controls, count);
            let limit = self.session.link.timeout * PAGE_PATIENCE;
            let result = tokio::time::timeout(limit, page)
                .await
                .unwrap_or_else(|_| Err(self.session.link.too_slow("sending one page of a search", limit)))?;
            failed?;
            pages += 1;
            if result.rc != 0 {
                return Err(self.session.link.search(settings, search.base, &result));
            }
            if page_done().is_break() {
                return Err(error(DirectoryErrorKind::Cancelled, "the read was broken off"));
            }
            cookie = self.next_cookie(&result.ctrls)?;
            if cookie.is_empty() {
                break;
            }
            empty_pages = if end.entries + end.lost == before { empty_pages + 1 } else { 0 };
            if empty_pages > MAX_EMPTY_PAGES {
                let text = format!("{} sends empty pages without end", self.session.link.endpoint);
                return Err(error(DirectoryErrorKind::Malformed, text));
            }
        }
        end.lost += self.oversized() - oversized;
        log::debug!(
            "search {}: base \"{}\", filter {}: {} entries in {pages} pages, {} not understood, {} references ignored",
            self.searches,
            search.base,
            shortened(search.filter),
            end.entries,
            end.lost,
            self.session.link.shared.references.load(Ordering::Relaxed)
        );
        Ok(end)
    }

    /// Messages that were too large to be taken, since the connection was opened.
    pub(crate) fn oversized(&self) -> u64 {
        self.session.link.shared.oversized.load(Ordering::Relaxed)
    }

    /// The cookie of the next page: empty after the last one, or when the server does not page.
    fn next_cookie(&self, controls: &[Control]) -> Result<Vec<u8>, DirectoryError> {
        let Some(value) = control_value(controls, PAGED_RESULTS) else { return Ok(Vec::new()) };
        cookie_of(value).map_err(|text| {
            let text = format!("{} sent a malformed paging answer: {text}", self.session.link.endpoint);
            error(DirectoryErrorKind::Malformed, text)
        })
    }

    /// Says goodbye and waits briefly for the tasks to end; whatever is left is ended by the drop.
    pub(crate) async fn close(mut self) {
        let mut ldap = self.session.ldap.clone();
        drop(self.session);
        let goodbye = async {
            // A server that is gone needs no goodbye.
            let _ = ldap.unbind().await;
            drop(ldap);
            while self.tasks.join_next().await.is_some() {}
        };
        if tokio::time::timeout(GOODBYE, goodbye).await.is_err() {
            log::debug!("a directory connection was cut after waiting {} s for its end", GOODBYE.as_secs());
        }
    }
}

/// The value of a response control.
pub(crate) fn control_value<'a>(controls: &'a [Control], oid: &str) -> Option<&'a [u8]> {
    controls.iter().find(|control| control.1.ctype == oid).and_then(|control| control.1.val.as_deref())
}

/// realSearchControlValue of RFC 2696: SEQUENCE { size INTEGER, cookie OCTET STRING }.
fn cookie_of(value: &[u8]) -> Result<Vec<u8>, &'static str> {
    let (outer, _) = ber::element(value)?;
    match ber::elements(outer.content)?.as_slice() {
        [_, cookie, ..] if cookie.tag == ber::OCTET_STRING => Ok(cookie.content.to_vec()),
        _ => Err("no cookie"),
    }
}

/// A filter for the log: an OR over a hundred identifiers is not worth reading whole.
fn shortened(filter: &str) -> String {
    const LENGTH: usize = 300;
    match filter.char_indices().nth(LENGTH) {
        Some((end, _)) => format!("{}… ({} bytes)", &filter[..end], filter.len()),
        None => filter.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paging_answers_are_read_without_a_panic() {
        assert_eq!(cookie_of(&[0x30, 5, 2, 1, 0, 4, 0]), Ok(vec![]));
        assert_eq!(cookie_of(&[0x30, 7, 2, 1, 9, 4, 2, 7, 8]), Ok(vec![7, 8]));
        assert!(cookie_of(&[]).is_err());
        assert!(cookie_of(&[0x30, 0]).is_err());
        assert!(cookie_of(&[0x30, 9, 2, 1]).is_err());
    }
}
