//! One client's session with the embedded directory: what each request is answered with.

use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use rasn::prelude::*;
use rasn_ldap::{
    AttributeSelection, AuthenticationChoice, BindRequest, CompareRequest, Control, Controls, Filter, LdapMessage,
    LdapString, ModifyRequest, PartialAttribute, ProtocolOp, SearchRequest, SearchRequestScope, SearchResultEntry,
};

use super::directory::Access;
use super::dn::Dn;
use super::filter;
use super::ldif::Entry;
use super::schema::{self, Usage};
use super::store::{self, Moment, Store};
use super::wire::{Code, Outcome, Response, ResponseOp};

const PAGED_RESULTS: &str = "1.2.840.113556.1.4.319";
const ASSERTION: &str = "1.3.6.1.1.12";
const POST_READ: &str = "1.3.6.1.1.13.2";
const WHO_AM_I: &str = "1.3.6.1.4.1.4203.1.11.3";
/// "All operational attributes" by `+` (RFC 3673) and absolute true and false filters (RFC 4526).
const FEATURES: [&str; 2] = ["1.3.6.1.4.1.4203.1.5.1", "1.3.6.1.4.1.4203.1.5.3"];

/// The largest message of a client that has not bound, and of one that has, in bytes.
const ANONYMOUS_LIMIT: usize = 256 * 1024;
const BOUND_LIMIT: usize = 16 * 1024 * 1024;

/// What all sessions share.
#[derive(Debug)]
pub(super) struct Shared {
    store: Mutex<Store>,
    service: Dn,
    writable: Vec<&'static str>,
}

impl Shared {
    /// The store with the rights of the service account. Errors are sentences about `access`.
    pub(super) fn new(store: Store, access: &Access) -> Result<Shared, String> {
        let service = Dn::parse(&access.service_dn).map_err(|_| format!("{:?} is not a DN", access.service_dn))?;
        let known = |name: &String| {
            let kind = schema::attribute_type(name).filter(|kind| kind.usage == Usage::User);
            kind.map(|kind| kind.name).ok_or_else(|| format!("attribute {name:?} is not in the schema"))
        };
        let writable = access.writable.iter().map(known).collect::<Result<_, _>>()?;
        Ok(Shared { store: Mutex::new(store), service, writable })
    }

    /// The store. A change is made to a copy of its entry first, so the store is whole even after a panic.
    pub(super) fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What follows a request.
pub(super) enum Answer {
    /// These messages, perhaps none.
    Send(Vec<Response>),
    /// This message, and the session ends.
    Disconnect(Response),
    /// The session ends without a word.
    Close,
}

/// A client's session.
pub(super) struct Session<'a> {
    shared: &'a Shared,
    bound: Option<Bound>,
    paging: Option<Paging>,
    pages: u64,
}

/// Who the client is.
struct Bound {
    dn: Dn,
    text: String,
}

/// A paged search that is not finished (RFC 2696).
struct Paging {
    cookie: Vec<u8>,
    request: SearchRequest,
    rest: Vec<usize>,
    sent: usize,
}

/// The controls of a request that are known here.
#[derive(Default)]
struct KnownControls {
    paged: Option<PagedResults>,
    assertion: Option<Filter>,
    post_read: Option<AttributeSelection>,
}

/// realSearchControlValue of RFC 2696.
#[derive(AsnType, Encode, Decode, Debug, Clone, PartialEq, Eq)]
struct PagedResults {
    size: u32,
    cookie: OctetString,
}

impl<'a> Session<'a> {
    /// An anonymous session.
    pub(super) fn new(shared: &'a Shared) -> Session<'a> {
        Session { shared, bound: None, paging: None, pages: 0 }
    }

    /// The largest message this client may send, in bytes.
    pub(super) fn message_limit(&self) -> usize {
        if self.bound.is_some() { BOUND_LIMIT } else { ANONYMOUS_LIMIT }
    }

    /// Answers one request.
    pub(super) fn answer(&mut self, message: LdapMessage) -> Answer {
        let id = message.message_id;
        let controls = message.controls.unwrap_or_default();
        let one = |op: ResponseOp| Answer::Send(vec![Response::new(id, op)]);
        match message.protocol_op {
            ProtocolOp::UnbindRequest(_) => Answer::Close,
            // Every request is answered before the next one is read, so there is nothing left to abandon.
            ProtocolOp::AbandonRequest(_) => Answer::Send(Vec::new()),
            ProtocolOp::BindRequest(request) => one(ResponseOp::Bind(self.bind(&request, &controls))),
            ProtocolOp::SearchRequest(request) => Answer::Send(self.search(id, request, &controls)),
            ProtocolOp::ModifyRequest(request) => Answer::Send(vec![self.modify(id, &request, &controls)]),
            ProtocolOp::CompareRequest(request) => one(ResponseOp::Compare(settle(self.compare(&request, &controls)))),
            ProtocolOp::AddRequest(request) => {
                let parent = Dn::parse(&request.entry).map(|dn| dn.parent().unwrap_or_default());
                one(ResponseOp::Add(self.refuse_structure(parent.ok())))
            }
            ProtocolOp::DelRequest(request) => {
                one(ResponseOp::Delete(self.refuse_structure(Dn::parse(&request.0).ok())))
            }
            ProtocolOp::ModDnRequest(request) => {
                one(ResponseOp::ModifyDn(self.refuse_structure(Dn::parse(&request.entry).ok())))
            }
            ProtocolOp::ExtendedReq(request) => {
                one(ResponseOp::Extended(self.extended(&request.request_name, &controls)))
            }
            _ => Answer::Disconnect(Response::disconnection("a response was sent as a request")),
        }
    }

    /// Simple bind (RFC 4513, section 5.1). Any bind ends the session's former identity first.
    fn bind(&mut self, request: &BindRequest, controls: &Controls) -> Outcome {
        self.bound = None;
        self.paging = None;
        match self.authenticate(request, controls) {
            Ok(bound) => {
                self.bound = bound;
                Outcome::new(Code::Success, "")
            }
            Err(outcome) => outcome,
        }
    }

    fn authenticate(&self, request: &BindRequest, controls: &Controls) -> Result<Option<Bound>, Outcome> {
        KnownControls::read(controls, &[])?;
        if request.version != 3 {
            return Err(Outcome::new(Code::ProtocolError, "only LDAP version 3 is supported"));
        }
        let AuthenticationChoice::Simple(password) = &request.authentication else {
            return Err(Outcome::new(Code::AuthMethodNotSupported, "only simple authentication is supported"));
        };
        let dn = parse_dn(&request.name)?;
        if password.is_empty() {
            return if dn.is_root() {
                Ok(None)
            } else {
                Err(Outcome::new(Code::UnwillingToPerform, "unauthenticated bind (DN with no password) disallowed"))
            };
        }
        let store = self.shared.store();
        // One answer for an unknown name, an entry without password and a wrong password: names are not disclosed.
        let entry = store.find(&dn).filter(|entry| entry.values("userPassword").iter().any(|held| password == held));
        let entry = entry.ok_or_else(|| Outcome::new(Code::InvalidCredentials, ""))?;
        Ok(Some(Bound { dn, text: entry.dn.clone() }))
    }

    fn search(&mut self, id: u32, request: SearchRequest, controls: &Controls) -> Vec<Response> {
        match self.try_search(request, controls) {
            Ok(found) => found.into_responses(id),
            Err(outcome) => vec![Response::new(id, ResponseOp::SearchDone(outcome))],
        }
    }

    fn try_search(&mut self, request: SearchRequest, controls: &Controls) -> Result<Found, Outcome> {
        let known = KnownControls::read(controls, &[PAGED_RESULTS, ASSERTION])?;
        let base = parse_dn(&request.base_object)?;
        if base.is_root() && request.scope == SearchRequestScope::BaseObject {
            return Ok(self.search_root_dse(&request));
        }
        let store = self.readable_store()?;
        let entry = store.get(&base)?;
        check_assertion(known.assertion.as_ref(), entry)?;
        let Some(paged) = known.paged else {
            let matching = store.search(&base, request.scope, &request.filter, &is_readable);
            return Ok(Found::new(&store, &request, &matching, 0));
        };
        let (matching, sent) = match self.paging.take() {
            _ if paged.cookie.is_empty() => (store.search(&base, request.scope, &request.filter, &is_readable), 0),
            Some(paging) if paged.cookie == paging.cookie && paging.request == request => (paging.rest, paging.sent),
            _ => return Err(self.refuse_cookie(&paged.cookie)),
        };
        if paged.size == 0 && !paged.cookie.is_empty() {
            // A page of nothing gives up the rest of the search (RFC 2696, section 3).
            return Ok(Found::new(&store, &request, &[], sent).with_cookie(Vec::new()));
        }
        let size = if paged.size == 0 { matching.len() } else { paged.size.try_into().unwrap_or(usize::MAX) };
        let (page, rest) = matching.split_at(size.min(matching.len()));
        let found = Found::new(&store, &request, page, sent);
        drop(store);
        if rest.is_empty() || found.done.result_code != Code::Success {
            return Ok(found.with_cookie(Vec::new()));
        }
        self.pages += 1;
        let cookie = self.pages.to_be_bytes().to_vec();
        let sent = sent + page.len();
        self.paging = Some(Paging { cookie: cookie.clone(), request, rest: rest.to_vec(), sent });
        Ok(found.with_cookie(cookie))
    }

    /// OpenLDAP tells a cookie that was given out in this session from one that was not.
    fn refuse_cookie(&self, cookie: &[u8]) -> Outcome {
        match cookie.try_into().map(u64::from_be_bytes) {
            Ok(page) if page <= self.pages => {
                Outcome::new(Code::UnwillingToPerform, "paged results cookie is invalid or old")
            }
            _ => Outcome::new(Code::ProtocolError, "paged results cookie is invalid"),
        }
    }

    /// The server's own entry, which anybody may read (RFC 4512, section 5.1).
    fn search_root_dse(&self, request: &SearchRequest) -> Found {
        let mut entry = Entry { dn: String::new(), attributes: Vec::new() };
        let mut push = |name: &str, value: &str| entry.push(name, value.as_bytes().to_vec());
        push("objectClass", "top");
        push("structuralObjectClass", "top");
        push("namingContexts", self.shared.store().suffix());
        [PAGED_RESULTS, ASSERTION, POST_READ].into_iter().for_each(|oid| push("supportedControl", oid));
        push("supportedExtension", WHO_AM_I);
        FEATURES.into_iter().for_each(|oid| push("supportedFeatures", oid));
        push("supportedLDAPVersion", "3");
        push("vendorName", "ModuleLdapSync");
        push("vendorVersion", env!("CARGO_PKG_VERSION"));
        push("entryDN", "");
        let selection = Selection::new(&request.attributes);
        let shown = filter::matches(&request.filter, &entry, &|_| true) == Some(true);
        let entries = shown.then(|| selection.present(&entry, request.types_only));
        Found { entries: entries.into_iter().collect(), done: Outcome::new(Code::Success, ""), cookie: None }
    }

    fn modify(&mut self, id: u32, request: &ModifyRequest, controls: &Controls) -> Response {
        let result = self.try_modify(request, controls);
        let (outcome, post_read) = match result {
            Ok(post_read) => (Outcome::new(Code::Success, ""), post_read),
            Err(outcome) => (outcome, None),
        };
        let mut response = Response::new(id, ResponseOp::Modify(outcome));
        response.controls = post_read.map(|entry| vec![response_control(POST_READ, &entry)]);
        response
    }

    /// The entry after the change, when post-read asks for it. The order of the checks is that of OpenLDAP.
    fn try_modify(
        &mut self,
        request: &ModifyRequest,
        controls: &Controls,
    ) -> Result<Option<SearchResultEntry>, Outcome> {
        let known = KnownControls::read(controls, &[ASSERTION, POST_READ])?;
        let dn = parse_dn(&request.object)?;
        let kinds = request.changes.iter().map(store::check_change).collect::<Result<Vec<_>, _>>()?;
        let Some(bound) = &self.bound else {
            return Err(Outcome::new(Code::StrongerAuthRequired, "modifications require authentication"));
        };
        let mut store = self.shared.store();
        check_assertion(known.assertion.as_ref(), store.get(&dn)?)?;
        let may_write =
            bound.dn == self.shared.service && kinds.iter().all(|kind| self.shared.writable.contains(&kind.name));
        if !may_write {
            return Err(Outcome::new(Code::InsufficientAccessRights, ""));
        }
        store.modify(&dn, &request.changes, &bound.text, &now())?;
        let entry = store.get(&dn)?;
        Ok(known.post_read.map(|selection| Selection::new(&selection).present(entry, false)))
    }

    fn compare(&self, request: &CompareRequest, controls: &Controls) -> Result<Outcome, Outcome> {
        let known = KnownControls::read(controls, &[ASSERTION])?;
        let dn = parse_dn(&request.entry)?;
        let store = self.readable_store()?;
        let entry = store.get(&dn)?;
        check_assertion(known.assertion.as_ref(), entry)?;
        let name = request.ava.attribute_desc.as_str();
        let kind = schema::attribute_type(name)
            .ok_or_else(|| Outcome::new(Code::UndefinedAttributeType, format!("{name}: attribute type undefined")))?;
        if !is_readable(kind.name) {
            return Err(Outcome::new(Code::InsufficientAccessRights, ""));
        }
        if entry.values(kind.name).is_empty() {
            return Err(Outcome::new(Code::NoSuchAttribute, ""));
        }
        match filter::matches(&Filter::EqualityMatch(request.ava.clone()), entry, &is_readable) {
            Some(true) => Ok(Outcome::new(Code::CompareTrue, "")),
            Some(false) => Ok(Outcome::new(Code::CompareFalse, "")),
            None => Err(Outcome::new(Code::InappropriateMatching, "")),
        }
    }

    /// Nobody may add, delete or rename entries; `target` is the entry whose write right that would take.
    fn refuse_structure(&self, target: Option<Dn>) -> Outcome {
        let Some(target) = target else { return Outcome::new(Code::InvalidDnSyntax, "invalid DN") };
        if self.bound.is_none() {
            return Outcome::new(Code::StrongerAuthRequired, "modifications require authentication");
        }
        match self.shared.store().get(&target) {
            Ok(_) => Outcome::new(Code::InsufficientAccessRights, "the tree of this directory cannot be changed"),
            Err(outcome) => outcome,
        }
    }

    fn extended(&self, name: &[u8], controls: &Controls) -> Outcome {
        if let Err(outcome) = KnownControls::read(controls, &[]) {
            return outcome;
        }
        if name != WHO_AM_I.as_bytes() {
            return Outcome::new(Code::ProtocolError, "unsupported extended operation");
        }
        let mut outcome = Outcome::new(Code::Success, "");
        let who = self.bound.as_ref().map_or(String::new(), |bound| format!("dn:{}", bound.text));
        outcome.response_value = Some(who.into_bytes().into());
        outcome
    }

    /// The store for a client that may read. To others every entry is missing, and nothing is said about its neighbours.
    fn readable_store(&self) -> Result<MutexGuard<'a, Store>, Outcome> {
        if self.bound.is_none() {
            return Err(Outcome::new(Code::NoSuchObject, ""));
        }
        Ok(self.shared.store())
    }
}

impl KnownControls {
    /// Reads the controls named in `supported`; a critical control outside of them is refused, another one ignored
    /// (RFC 4511, section 4.1.11).
    fn read(controls: &Controls, supported: &[&str]) -> Result<KnownControls, Outcome> {
        let mut known = KnownControls::default();
        for control in controls {
            let supported = supported.iter().find(|oid| oid.as_bytes() == control.control_type.as_ref() as &[u8]);
            let Some(oid) = supported else {
                if control.criticality {
                    let text = "critical extension is not recognized";
                    return Err(Outcome::new(Code::UnavailableCriticalExtension, text));
                }
                continue;
            };
            known.take(oid, control.control_value.as_deref().unwrap_or_default())?;
        }
        Ok(known)
    }

    fn take(&mut self, oid: &str, value: &[u8]) -> Result<(), Outcome> {
        let malformed = |_| Outcome::new(Code::ProtocolError, format!("the value of control {oid} cannot be decoded"));
        let repeated = match oid {
            PAGED_RESULTS => self.paged.replace(rasn::ber::decode(value).map_err(malformed)?).is_some(),
            ASSERTION => self.assertion.replace(rasn::ber::decode(value).map_err(malformed)?).is_some(),
            _ => self.post_read.replace(rasn::ber::decode(value).map_err(malformed)?).is_some(),
        };
        if repeated {
            return Err(Outcome::new(Code::ProtocolError, format!("control {oid} is given twice")));
        }
        Ok(())
    }
}

/// What a search answers.
struct Found {
    entries: Vec<SearchResultEntry>,
    done: Outcome,
    /// The cookie for the next page, empty after the last; `None` when pages were not asked for.
    cookie: Option<Vec<u8>>,
}

impl Found {
    /// The entries at these places, `sent` others having been sent before within the same size limit.
    fn new(store: &Store, request: &SearchRequest, places: &[usize], sent: usize) -> Found {
        let limit = match request.size_limit {
            0 => usize::MAX,
            limit => usize::try_from(limit).unwrap_or(usize::MAX).saturating_sub(sent),
        };
        let selection = Selection::new(&request.attributes);
        let entries = places.iter().take(limit).filter_map(|place| store.at(*place));
        let code = if places.len() > limit { Code::SizeLimitExceeded } else { Code::Success };
        Found {
            entries: entries.map(|entry| selection.present(entry, request.types_only)).collect(),
            done: Outcome::new(code, ""),
            cookie: None,
        }
    }

    fn with_cookie(mut self, cookie: Vec<u8>) -> Found {
        self.cookie = Some(cookie);
        self
    }

    fn into_responses(self, id: u32) -> Vec<Response> {
        let mut responses: Vec<Response> =
            self.entries.into_iter().map(|entry| Response::new(id, ResponseOp::SearchEntry(entry))).collect();
        let mut done = Response::new(id, ResponseOp::SearchDone(self.done));
        let paged = self.cookie.map(|cookie| PagedResults { size: 0, cookie: cookie.into() });
        done.controls = paged.map(|paged| vec![response_control(PAGED_RESULTS, &paged)]);
        responses.push(done);
        responses
    }
}

/// Which attributes are returned (RFC 4511, section 4.5.1.8; RFC 3673).
struct Selection {
    all_user: bool,
    all_operational: bool,
    names: Vec<&'static str>,
}

impl Selection {
    fn new(list: &[LdapString]) -> Selection {
        let has = |name: &str| list.iter().any(|item| item.as_str() == name);
        Selection {
            all_user: list.is_empty() || has("*"),
            all_operational: has("+"),
            names: list.iter().filter_map(|item| schema::attribute_type(item)).map(|kind| kind.name).collect(),
        }
    }

    fn includes(&self, name: &str) -> bool {
        let Some(kind) = schema::attribute_type(name).filter(|kind| is_readable(kind.name)) else { return false };
        let all = if kind.usage == Usage::User { self.all_user } else { self.all_operational };
        all || self.names.contains(&kind.name)
    }

    fn present(&self, entry: &Entry, types_only: bool) -> SearchResultEntry {
        let selected = entry.attributes.iter().filter(|attribute| self.includes(&attribute.name));
        let attributes = selected.map(|attribute| {
            let values = if types_only { &[][..] } else { &attribute.values };
            let values = values.iter().map(|value| value.clone().into()).collect();
            PartialAttribute::new(attribute.name.as_str().into(), SetOf::from_vec(values))
        });
        SearchResultEntry::new(entry.dn.as_str().into(), attributes.collect())
    }
}

/// Passwords are for binding only.
fn is_readable(name: &str) -> bool {
    name != "userPassword"
}

fn parse_dn(text: &str) -> Result<Dn, Outcome> {
    Dn::parse(text).map_err(|error| Outcome::new(Code::InvalidDnSyntax, error.to_string()))
}

/// RFC 4528: the operation is done only when the filter is true for its entry.
fn check_assertion(assertion: Option<&Filter>, entry: &Entry) -> Result<(), Outcome> {
    match assertion {
        Some(assertion) if filter::matches(assertion, entry, &is_readable) != Some(true) => {
            Err(Outcome::new(Code::AssertionFailed, ""))
        }
        _ => Ok(()),
    }
}

fn settle(result: Result<Outcome, Outcome>) -> Outcome {
    result.unwrap_or_else(|outcome| outcome)
}

fn response_control(oid: &str, value: &impl rasn::Encode) -> Control {
    // These values are sequences of octet strings and small numbers, which have no unencodable form.
    let value = rasn::ber::encode(value).ok().map(OctetString::from);
    Control::new(oid.as_bytes().to_vec().into(), false, value)
}

/// The demo directory's clock: it stamps changes, as a real server does.
pub(super) fn now() -> Moment {
    let now = Timestamp::now();
    Moment { seconds: now.strftime("%Y%m%d%H%M%SZ").to_string(), micros: now.strftime("%Y%m%d%H%M%S%.6fZ").to_string() }
}
