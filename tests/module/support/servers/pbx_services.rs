//! What runs beside a live MikoPBX: beanstalkd, Redis, and the event bus of its web server.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pbx_host::mikopbx::beanstalk::Client;
use serde_json::{Value, json};

use super::guard::Guard;
use crate::support::world::World;
use crate::support::{free_port, have, program, run};

/// Running services.
pub(crate) struct PbxServices {
    /// beanstalkd.
    pub(crate) queue: Guard,
    /// Redis.
    pub(crate) redis: Guard,
    pub(crate) queue_port: u16,
    pub(crate) redis_port: u16,
    pub(crate) bus: EventBus,
    _files: [tempfile::TempDir; 2],
}

/// Starts beanstalkd and Redis; `None` when the machine has none.
pub(crate) fn start() -> Option<PbxServices> {
    if !have("a PBX's services", &["beanstalkd", "redis-server", "redis-cli"], false) {
        return None;
    }
    let (queue_port, redis_port) = (free_port(), free_port());
    let files = ["queue-", "redis-"]
        .map(|prefix| tempfile::Builder::new().prefix(prefix).tempdir().expect("a temporary directory"));
    let mut beanstalkd = Command::new(program("beanstalkd").expect("found before"));
    beanstalkd.args(["-l", "127.0.0.1", "-p", &queue_port.to_string()]);
    let queue = Guard::start(files[0].path(), &beanstalkd, "");
    let mut server = Command::new(program("redis-server").expect("found before"));
    server.args([
        "--bind",
        "127.0.0.1",
        "--port",
        &redis_port.to_string(),
        "--save",
        "",
        "--appendonly",
        "no",
        "--dir",
    ]);
    server.arg(files[1].path());
    let redis = Guard::start(files[1].path(), &server, "");
    queue.wait_ready("beanstalkd", || Client::connect(&format!("127.0.0.1:{queue_port}")).is_ok());
    redis.wait_ready("redis-server", || TcpStream::connect(("127.0.0.1", redis_port)).is_ok());
    Some(PbxServices { queue, redis, queue_port, redis_port, bus: EventBus::start(), _files: files })
}

impl PbxServices {
    /// Writes MikoPBX's settings file for `world`; answers its place.
    pub(crate) fn settings(&self, world: &World) -> PathBuf {
        let file = world.path().join("mikopbx-settings.json");
        let settings = json!({
            "database": {"dbfile": world.pbx().database},
            "core": {"modulesDir": world.path()},
            "asterisk": {"mediadir": world.pbx().media},
            "beanstalk": {"host": "127.0.0.1", "port": self.queue_port},
            "redis": {"host": "127.0.0.1", "port": self.redis_port.to_string()},
        });
        fs::write(&file, settings.to_string()).expect("the settings file");
        file
    }

    /// A connection to beanstalkd.
    pub(crate) fn client(&self) -> Client {
        Client::connect(&format!("127.0.0.1:{}", self.queue_port)).expect("beanstalkd answers")
    }

    /// Takes every job out of a tube, oldest first.
    pub(crate) fn jobs(&self, tube: &str) -> Vec<Value> {
        let mut client = self.client();
        client.watch_only(tube).expect("a tube can be watched");
        let mut jobs = Vec::new();
        while let Some(job) = client.reserve(Duration::ZERO).expect("beanstalkd answers") {
            client.delete(job.id).expect("a reserved job can be deleted");
            jobs.push(serde_json::from_slice(&job.body).expect("the PBX takes a job that is JSON"));
        }
        jobs
    }

    /// How many jobs wait in a tube.
    pub(crate) fn waiting(&self, tube: &str) -> u64 {
        let mut stream = TcpStream::connect(("127.0.0.1", self.queue_port)).expect("beanstalkd answers");
        stream.write_all(format!("stats-tube {tube}\r\nquit\r\n").as_bytes()).expect("beanstalkd answers");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("beanstalkd answers");
        // A tube that nobody uses and that is empty does not exist.
        let ready = answer.lines().find_map(|line| line.strip_prefix("current-jobs-ready: "));
        ready.map_or(0, |count| count.parse().expect("a number"))
    }

    /// Asks Redis; an absent value is an empty text.
    pub(crate) fn redis(&self, database: u8, command: &[&str]) -> String {
        let mut client = Command::new("redis-cli");
        client.args(["-p", &self.redis_port.to_string(), "-n", &database.to_string()]).args(command);
        run(&mut client).trim().to_owned()
    }
}

/// The event bus of the PBX's web server: takes every message and remembers it.
pub(crate) struct EventBus {
    pub(crate) port: u16,
    messages: Arc<Mutex<Vec<(String, Value)>>>,
}

impl EventBus {
    fn start() -> EventBus {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let messages = Arc::new(Mutex::default());
        let kept = Arc::clone(&messages);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let kept = Arc::clone(&kept);
                std::thread::spawn(move || serve(stream, &kept));
            }
        });
        EventBus { port, messages }
    }

    /// Every message so far: path and body.
    pub(crate) fn messages(&self) -> Vec<(String, Value)> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Takes requests until the client closes.
fn serve(stream: TcpStream, kept: &Mutex<Vec<(String, Value)>>) {
    let mut reader = BufReader::new(stream);
    while let Some((path, body)) = request(&mut reader) {
        kept.lock().unwrap_or_else(PoisonError::into_inner).push((path, body));
        let answer = b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n";
        if reader.get_mut().write_all(answer).is_err() {
            return;
        }
    }
}

fn request(reader: &mut BufReader<TcpStream>) -> Option<(String, Value)> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        if header.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = header.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((path, serde_json::from_slice(&body).ok()?))
}
