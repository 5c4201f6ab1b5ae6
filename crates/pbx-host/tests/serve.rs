//! The web server against real requests over loopback.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use pbx_host::loader::Module;
use pbx_host::serve::{self, Site};
use pbx_host::services::{NobodyListens, Progress, Services};
use support::FakeLibrary;
use tempfile::TempDir;
use tokio::sync::watch;

struct Server {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
    _library: FakeLibrary,
    _site: TempDir,
}

struct Reply {
    status: u16,
    headers: String,
    body: String,
}

impl Server {
    fn start() -> Server {
        let library = FakeLibrary::build(1);
        let site = tempfile::tempdir().unwrap();
        let public = site.path().join("public");
        fs::create_dir_all(public.join("css")).unwrap();
        fs::write(public.join("index.html"), "<title>page</title>").unwrap();
        fs::write(public.join("css/page.css"), "p{}").unwrap();
        fs::create_dir_all(public.join("assets/i18n")).unwrap();
        for file in ["ru.json", "en.json", "notes.txt"] {
            fs::write(public.join("assets/i18n").join(file), "{}").unwrap();
        }
        fs::write(site.path().join("secret"), "not for the web").unwrap();
        let services = Services::new(site.path(), Box::new(NobodyListens), Progress::Off);
        let module = Arc::new(Module::open(&library.path(), Arc::new(services), "{}").unwrap());
        let listener = serve::listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(serve::run(listener, Site { module, public, tick: None }, stopped)).unwrap();
        });
        Server { address, stop, thread: Some(thread), _library: library, _site: site }
    }

    fn send(&self, request: &str) -> Reply {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut text = Vec::new();
        // A refused body may end in a reset after the answer.
        let _ = stream.read_to_end(&mut text);
        let text = String::from_utf8(text).unwrap();
        let (headers, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
        let status = headers.split(' ').nth(1).unwrap().parse().unwrap();
        Reply { status, headers: headers.to_ascii_lowercase(), body: body.to_owned() }
    }

    fn get(&self, path: &str) -> Reply {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.address))
    }

    fn post(&self, path: &str, headers: &str, body: &str) -> Reply {
        self.send(&format!(
            "POST {path} HTTP/1.1\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        ))
    }

    /// A request as the page sends it.
    fn ask(&self, action: &str, body: &str) -> Reply {
        let address = self.address;
        let headers =
            format!("Host: {address}\r\nOrigin: http://{address}\r\nContent-Type: application/json; charset=utf-8\r\n");
        self.post(&format!("/api/{action}"), &headers, body)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        let joined = self.thread.take().map(JoinHandle::join);
        assert!(matches!(joined, Some(Ok(()))), "the server stops cleanly");
    }
}

#[test]
fn actions_and_hooks_answer_the_envelope() {
    let server = Server::start();
    let reply = server.ask("echo", r#"{"id":1}"#);
    assert_eq!(
        (reply.status, reply.body.as_str()),
        (200, r#"{"result":true,"data":{"hook":"request","body":{"id":1}}}"#)
    );
    assert!(server.ask("echo", "").body.contains(r#""body":null"#));
    assert!(server.ask("config-save", "{}").body.contains(r#""hook":"config_save""#));
    assert!(server.ask("models-changed", "[]").body.contains(r#""hook":"models_changed""#));
    assert!(server.ask("install", "").body.contains(r#""data":"install""#));
    assert!(server.ask("worker-tick", "{}").body.contains(r#""data":"worker_tick""#));
    assert!(server.ask("echo", "1").headers.contains("cache-control: no-store"));
}

#[test]
fn the_page_learns_which_languages_there_are() {
    let reply = Server::start().get("/assets/i18n/languages.json");
    assert_eq!((reply.status, reply.body.as_str()), (200, r#"["en","ru"]"#));
}

#[test]
fn refusals_have_their_status_and_a_reason() {
    let server = Server::start();
    let refused = server.ask("refuse", "{}");
    assert_eq!((refused.status, refused.body.contains("held")), (422, true));
    assert_eq!(server.ask("no-such-action", "{}").status, 422);
    let broken = server.ask("echo", "{oops");
    assert_eq!((broken.status, broken.body.contains("not JSON")), (400, true));
    let large = server.ask("echo", &format!("\"{}\"", "x".repeat(serve::BODY_LIMIT)));
    assert_eq!((large.status, large.body.contains("larger than 1048576 bytes")), (413, true));
    let nul = server.ask("echo%00x", "{}");
    assert_eq!((nul.status, nul.body.contains("NUL")), (400, true));
    let no_text = server.ask("%ff", "{}");
    assert_eq!((no_text.status, no_text.body.contains("cannot be read")), (400, true));
    for reply in [refused, broken, large, nul, no_text] {
        let envelope: serde_json::Value = serde_json::from_str(&reply.body).unwrap();
        assert_eq!(envelope["result"], false, "{}", reply.body);
        assert!(envelope["messages"]["error"][0].is_string(), "{}", reply.body);
    }
    assert_eq!(server.ask("silent", "").status, 500);
    assert_eq!(server.get("/api/echo").status, 405);
}

#[test]
fn other_sites_cannot_use_it() {
    let server = Server::start();
    let address = server.address;
    let json = "Content-Type: application/json\r\n";
    let foreign_host = server.post("/api/echo", &format!("Host: evil.example:{}\r\n{json}", address.port()), "{}");
    assert_eq!((foreign_host.status, foreign_host.body.contains("evil.example")), (421, true));
    let foreign_page = server.send("GET / HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n");
    assert_eq!(foreign_page.status, 421);
    for origin in ["http://evil.example", "null", "https://127.0.0.1", "http://localhost.evil.example"] {
        let reply = server.post("/api/echo", &format!("Host: {address}\r\nOrigin: {origin}\r\n{json}"), "{}");
        assert_eq!(reply.status, 403, "{origin}");
    }
    for content_type in ["", "Content-Type: text/plain\r\n", "Content-Type: application/x-www-form-urlencoded\r\n"] {
        let reply = server.post("/api/echo", &format!("Host: {address}\r\n{content_type}"), "{}");
        assert_eq!(reply.status, 415, "{content_type}");
    }
    let by_name = server.post("/api/echo", &format!("Host: localhost:{}\r\n{json}", address.port()), "{}");
    assert_eq!(by_name.status, 200);
}

#[test]
fn files_are_served_and_nothing_above_them() {
    let server = Server::start();
    let page = server.get("/");
    assert_eq!((page.status, page.body.as_str()), (200, "<title>page</title>"));
    assert!(page.headers.contains("content-security-policy: default-src 'self'; img-src 'self' data:"));
    assert!(page.headers.contains("x-content-type-options: nosniff"));
    assert!(server.get("/css/page.css").headers.contains("content-type: text/css"));
    for path in ["/css/", "/../secret", "/%2e%2e/secret", "/css/../../secret", "/..%2fsecret", "//secret", "/nothing"] {
        let reply = server.get(path);
        assert!(matches!(reply.status, 400 | 404), "{path}: {}", reply.status);
        assert!(!reply.body.contains("not for the web") && !reply.body.contains("page.css"), "{path}");
    }
}

#[test]
fn the_page_answers_while_a_call_is_under_way() {
    let server = Server::start();
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| {
            let start = Instant::now();
            (server.ask("slow", "{}").status, start.elapsed())
        });
        let quick: Vec<Duration> = (0..5)
            .map(|_| {
                let start = Instant::now();
                assert_eq!(server.get("/").status, 200);
                start.elapsed()
            })
            .collect();
        let (status, took) = slow.join().unwrap();
        assert_eq!(status, 200);
        assert!(took >= Duration::from_millis(300), "{took:?}");
        assert!(quick.iter().min().unwrap() < &Duration::from_millis(200), "{quick:?}");
    });
}

#[test]
fn clients_that_say_nothing_are_let_go() {
    let server = Server::start();
    let address = server.address;
    let unfinished_body = format!(
        "POST /api/echo HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{{"
    );
    let after_a_request = format!("GET / HTTP/1.1\r\nHost: {address}\r\n\r\n");
    let silent = ["", "GET / HTTP/1.1\r\nHost: ", &after_a_request, &unfinished_body];
    let patience = serve::HEADER_TIME + serve::BODY_TIME + Duration::from_secs(10);
    let answers: Vec<String> = std::thread::scope(|scope| {
        let clients = silent.map(|text| {
            scope.spawn(move || {
                let mut stream = TcpStream::connect(address).unwrap();
                stream.set_read_timeout(Some(patience)).unwrap();
                stream.write_all(text.as_bytes()).unwrap();
                let mut answer = String::new();
                stream.read_to_string(&mut answer).expect("the server closes the connection");
                answer
            })
        });
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    assert!(answers[2].starts_with("HTTP/1.1 200"), "{answers:?}");
    assert!(answers[3].starts_with("HTTP/1.1 408") && answers[3].contains("\"result\":false"), "{answers:?}");
    assert_eq!(server.get("/").status, 200);
}

#[test]
fn more_connections_wait_until_one_ends() {
    let server = Server::start();
    let mut silent: Vec<TcpStream> =
        (0..serve::CONNECTIONS).map(|_| TcpStream::connect(server.address).unwrap()).collect();
    let mut waiting = TcpStream::connect(server.address).unwrap();
    write!(waiting, "GET / HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", server.address).unwrap();
    waiting.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    assert!(waiting.read(&mut [0]).is_err(), "all places are taken");
    silent.pop();
    waiting.set_read_timeout(Some(serve::HEADER_TIME / 2)).unwrap();
    let mut answer = String::new();
    waiting.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[test]
fn a_taken_port_is_a_clear_error() {
    let taken = serve::listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = taken.local_addr().unwrap();
    let error = serve::listen(address).unwrap_err();
    assert!(error.contains(&address.to_string()) && error.contains("--listen"), "{error}");
}
