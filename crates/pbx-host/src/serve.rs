//! Serves the admin page and its actions over HTTP, as the PBX's web server does inside MikoPBX.
//!
//! `POST /api/<action>` takes a JSON body and answers the envelope: 200, or 422 when its `result` is false. The hooks
//! are `/api/install`, `/api/config-save`, `/api/worker-tick` and `/api/models-changed`. A request that cannot be passed
//! to the library answers the envelope too, with 400, 408, 413 or 415. Everything else is a file.
//!
//! Clients that say nothing, or too slowly, are let go: see [`HEADER_TIME`], [`BODY_TIME`] and [`CONNECTIONS`].
//!
//! There is no sign-in, so only this machine's own pages may ask: requests with a foreign `Host` (DNS rebinding), a
//! foreign `Origin`, or another content type than JSON (what a foreign form can send) are refused.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::PathRejection;
use axum::extract::{DefaultBodyLimit, FromRequest, Path as UrlPath, Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::Listener;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use serde_json::Value;
use tokio::sync::{Semaphore, watch};
use tower_http::services::ServeDir;

use crate::envelope::{Envelope, refusal};
use crate::loader::{Answer, Error, Module};

/// The largest request body, bytes.
pub const BODY_LIMIT: usize = 1024 * 1024;

/// How long a request's head may take, and how long a connection may wait for its next request.
pub const HEADER_TIME: Duration = Duration::from_secs(15);

/// How long a request's body may take.
pub const BODY_TIME: Duration = Duration::from_secs(15);

/// How many connections are served at once; more wait until one ends.
pub const CONNECTIONS: usize = 256;

/// How long requests under way may take once the server is told to stop.
const LAST_REQUESTS: Duration = Duration::from_secs(10);

/// What to serve.
pub struct Site {
    /// The module that answers.
    pub module: Arc<Module>,
    /// Directory of the page's files.
    pub public: PathBuf,
    /// How often the worker tick is made; never when `None`.
    pub tick: Option<Duration>,
}

/// Takes the address, so that a taken port is known before anything else is done.
pub fn listen(address: SocketAddr) -> Result<TcpListener, String> {
    TcpListener::bind(address).map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!("{address} is in use by another program: choose another address with --listen")
        }
        io::ErrorKind::AddrNotAvailable => format!("this machine has no address {}: see --listen", address.ip()),
        io::ErrorKind::PermissionDenied => {
            format!("no right to listen on {address}: choose a port above 1023 with --listen")
        }
        _ => format!("cannot listen on {address}: {error}"),
    })
}

/// Serves until `stop` is set; requests under way then have ten seconds to end.
pub async fn run(listener: TcpListener, site: Site, stop: watch::Receiver<bool>) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let mut listener = tokio::net::TcpListener::from_std(listener)?;
    let app = router(Arc::clone(&site.module), &site.public, listener.local_addr()?);
    if let Some(period) = site.tick {
        tokio::spawn(tick_loop(site.module, period, stop.clone()));
    }
    let connections = GracefulShutdown::new();
    tokio::select! {
        () = accept(&mut listener, &app, &connections) => {}
        () = stopped(stop) => {}
    }
    drop(listener);
    // Requests that take longer end with the runtime.
    let _ = tokio::time::timeout(LAST_REQUESTS, connections.shutdown()).await;
    Ok(())
}

/// Serves every connection on a task of its own. `axum::serve` has no time for a request's head.
async fn accept(listener: &mut tokio::net::TcpListener, app: &Router, connections: &GracefulShutdown) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    // The semaphore is never closed.
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        let (stream, peer) = Listener::accept(listener).await;
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIME)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(app.clone()));
        let connection = connections.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                log::debug!("the connection of {peer} ended: {error}");
            }
            drop(place);
        });
    }
}

/// The application for a server that listens on `address`.
pub fn router(module: Arc<Module>, public: &Path, address: SocketAddr) -> Router {
    let i18n = public.join("assets/i18n");
    Router::new()
        .route("/api/{action}", post(answer))
        .with_state(module)
        .route("/assets/i18n/languages.json", get(move || languages(i18n.clone())))
        .fallback_service(ServeDir::new(public))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(middleware::from_fn_with_state(address, only_own_pages))
        .layer(middleware::map_response(secured))
}

/// The codes of the page's languages: one file each.
async fn languages(i18n: PathBuf) -> axum::Json<Vec<String>> {
    let files = std::fs::read_dir(i18n).into_iter().flatten().flatten().map(|file| file.path());
    let codes = files.filter(|path| path.extension().is_some_and(|end| end == "json"));
    let mut codes: Vec<String> = codes.filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned())).collect();
    codes.sort();
    axum::Json(codes)
}

async fn stopped(mut stop: watch::Receiver<bool>) {
    // An error means that nobody can stop the server any more; then it runs on.
    if stop.wait_for(|stop| *stop).await.is_err() {
        std::future::pending::<()>().await;
    }
}

async fn tick_loop(module: Arc<Module>, period: Duration, stop: watch::Receiver<bool>) {
    let mut timer = tokio::time::interval(period);
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = timer.tick() => {}
            () = stopped(stop.clone()) => return,
        }
        let module = Arc::clone(&module);
        let answer = tokio::task::spawn_blocking(move || module.worker_tick()).await;
        log_tick(answer.map_err(|error| error.to_string()).and_then(|answer| answer.map_err(|e| e.to_string())));
    }
}

fn log_tick(answer: Result<Answer, String>) {
    match answer.and_then(|answer| Envelope::of(&answer)) {
        Ok(envelope) if envelope.result => log::debug!("worker tick: {}", envelope.data),
        Ok(envelope) => log::warn!("worker tick: {}", envelope.errors().join("; ")),
        Err(error) => log::error!("worker tick: {error}"),
    }
}

/// `POST /api/<action>`.
async fn answer(
    State(module): State<Arc<Module>>,
    action: Result<UrlPath<String>, PathRejection>,
    request: Request,
) -> Response {
    let action = match action {
        Ok(UrlPath(action)) => action,
        Err(error) => return refused(error.status(), &format!("the action's name cannot be read: {error}")),
    };
    if !is_json(request.headers()) {
        return refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, "the content type must be application/json");
    }
    let body = match body(request).await {
        Ok(body) => body,
        Err(refusal) => return refusal,
    };
    if let Err(error) = check_json(&body) {
        return refused(StatusCode::BAD_REQUEST, &format!("the request is not JSON: {error}"));
    }
    let call = tokio::task::spawn_blocking(move || call(&module, &action, &body));
    match call.await {
        Ok(Ok(answer)) => json_response(
            if answer.status == 0 { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY },
            answer.json,
        ),
        Ok(Err(error @ Error::Action(_))) => refused(StatusCode::BAD_REQUEST, &error.to_string()),
        Ok(Err(error)) => refused(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
        Err(error) => refused(StatusCode::INTERNAL_SERVER_ERROR, &format!("the call failed in the host: {error}")),
    }
}

/// The whole body, or the response that refuses it.
async fn body(request: Request) -> Result<Bytes, Response> {
    match tokio::time::timeout(BODY_TIME, Bytes::from_request(request, &())).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(error)) if error.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            Err(refused(error.status(), &format!("the request is larger than {BODY_LIMIT} bytes")))
        }
        Ok(Err(error)) => Err(refused(error.status(), &format!("the request cannot be read: {error}"))),
        Err(_) => Err(refused(
            StatusCode::REQUEST_TIMEOUT,
            &format!("the request did not arrive within {} seconds", BODY_TIME.as_secs()),
        )),
    }
}

fn call(module: &Module, action: &str, body: &[u8]) -> Result<Answer, Error> {
    match action {
        "install" => module.install(),
        "config-save" => module.config_save(body),
        "worker-tick" => module.worker_tick(),
        "models-changed" => module.models_changed(body),
        action => module.request(action, body),
    }
}

/// An empty body stands for no body.
fn check_json(body: &[u8]) -> Result<(), serde_json::Error> {
    if body.is_empty() { Ok(()) } else { serde_json::from_slice::<Value>(body).map(drop) }
}

fn is_json(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("application/json")
}

fn refused(status: StatusCode, reason: &str) -> Response {
    json_response(status, refusal(reason))
}

fn json_response(status: StatusCode, json: String) -> Response {
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    (status, headers, json).into_response()
}

/// Refuses what a page of another site could send.
async fn only_own_pages(State(address): State<SocketAddr>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    let text = |name| headers.get(name).map(|value: &HeaderValue| value.to_str().unwrap_or_default().to_owned());
    match text(header::HOST) {
        Some(host) if is_own_host(address, &host) => {}
        host => {
            let host = host.unwrap_or_default();
            return refused(StatusCode::MISDIRECTED_REQUEST, &format!("this server is not called {host:?}"));
        }
    }
    if let Some(origin) = text(header::ORIGIN)
        && !origin.strip_prefix("http://").is_some_and(|host| is_own_host(address, host))
    {
        return refused(StatusCode::FORBIDDEN, &format!("pages of {origin:?} may not use this server"));
    }
    next.run(request).await
}

/// Whether `host` (with its port) is a name of the server listening on `address`: the address itself, `localhost` for
/// a loopback address, and any address for a server that listens on all. A name cannot be proven ours, an address can.
fn is_own_host(address: SocketAddr, host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    if host.contains('@') || authority.port_u16().unwrap_or(80) != address.port() {
        return false;
    }
    let own = address.ip();
    let name = authority.host();
    if name.eq_ignore_ascii_case("localhost") {
        return own.is_loopback() || own.is_unspecified();
    }
    let literal = name.trim_start_matches('[').trim_end_matches(']');
    literal.parse::<IpAddr>().is_ok_and(|ip| ip == own || own.is_unspecified())
}

/// Adds the headers that keep the page to itself.
async fn secured(mut response: Response) -> Response {
    const HEADERS: [(header::HeaderName, &str); 4] = [
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ];
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response.headers_mut().entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-cache"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(address: &str, host: &str, own: bool) {
        assert_eq!(is_own_host(address.parse().unwrap(), host), own, "{host:?} at {address}");
    }

    #[test]
    fn only_the_listened_address_and_localhost_are_own_names() {
        check("127.0.0.1:8080", "127.0.0.1:8080", true);
        check("127.0.0.1:8080", "localhost:8080", true);
        check("127.0.0.1:8080", "LocalHost:8080", true);
        check("127.0.0.1:80", "localhost", true);
        check("[::1]:8080", "[::1]:8080", true);
        check("127.0.0.1:8080", "127.0.0.1", false);
        check("127.0.0.1:8080", "127.0.0.1:8081", false);
        check("127.0.0.1:8080", "evil.example:8080", false);
        check("127.0.0.1:8080", "localhost.evil.example:8080", false);
        check("127.0.0.1:8080", "x@localhost:8080", false);
        check("127.0.0.1:8080", "localhost:8080/evil", false);
        check("127.0.0.1:8080", "", false);
    }

    #[test]
    fn a_server_on_all_addresses_takes_addresses_but_no_names() {
        check("0.0.0.0:8080", "192.0.2.7:8080", true);
        check("0.0.0.0:8080", "localhost:8080", true);
        check("0.0.0.0:8080", "pbx.example:8080", false);
        check("192.0.2.7:8080", "localhost:8080", false);
    }
}
