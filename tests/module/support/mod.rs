//! What the tests of the plugin from outside share: the built programs, real directories, a demo PBX, the plugin in a
//! child process, and our own reading of what both sides hold.
//!
//! The test process opens the PBX's database; it therefore never loads the library. The plugin always runs in a child.

pub(crate) mod bare;
pub(crate) mod both_directions;
pub(crate) mod browser;
pub(crate) mod build;
pub(crate) mod crash;
pub(crate) mod directory;
pub(crate) mod employee_check;
pub(crate) mod first_sync;
pub(crate) mod host;
pub(crate) mod in_step;
pub(crate) mod inside;
pub(crate) mod package;
pub(crate) mod pbx;
pub(crate) mod pbx_edit;
pub(crate) mod people;
pub(crate) mod php;
pub(crate) mod proxy;
pub(crate) mod servers;
pub(crate) mod site;
pub(crate) mod world;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Now, Unix time in milliseconds, for tests beside servers that keep real time.
#[expect(clippy::disallowed_methods, reason = "servers keep real time, and the test is told around it")]
pub(crate) fn real_time() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
    i64::try_from(since.as_millis()).expect("a time of this age")
}

/// The root of the repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Waits; polling another process is what these tests are made of.
#[expect(clippy::disallowed_methods, reason = "the tests poll processes of others and have nothing to wait on")]
pub(crate) fn pause(milliseconds: u64) {
    std::thread::sleep(Duration::from_millis(milliseconds));
}

/// Polls `done` every 20 ms until it holds; false when it still does not after `limit`.
pub(crate) fn wait_until(limit: Duration, mut done: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    loop {
        if done() {
            return true;
        }
        if start.elapsed() > limit {
            return false;
        }
        pause(20);
    }
}

/// Where a program of the system stands: `PATH`, then the directories of system programs.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin", "/usr/bin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(system).map(|directory| directory.join(name)).find(|file| file.is_file())
}

/// True when the system has all of `programs` and, where `root` is set, this process may use privileged ports.
///
/// With `REQUIRE_SERVERS=1` (set by `cargo xtask test` where it could install them, and in CI) a missing server fails
/// the test; else the test is left out and says so. `WITHOUT_SERVERS=1` leaves all of them out.
pub(crate) fn have(server: &str, programs: &[&str], needs_root: bool) -> bool {
    if std::env::var("WITHOUT_SERVERS").is_ok_and(|value| value == "1") {
        println!("left out: tests against real servers are switched off ({server})");
        return false;
    }
    let mut missing: Vec<String> =
        programs.iter().filter(|name| program(name).is_none()).map(|name| (*name).to_owned()).collect();
    if needs_root && !is_root() {
        missing.push("the rights of root".to_owned());
    }
    if missing.is_empty() {
        return true;
    }
    let text = format!("{server} cannot run here, missing: {}", missing.join(", "));
    assert!(std::env::var("REQUIRE_SERVERS").map_or(true, |value| value != "1"), "{text}");
    println!("left out: {text}");
    false
}

/// Whether this process runs as root.
pub(crate) fn is_root() -> bool {
    std::fs::read_to_string("/proc/self/status")
        .is_ok_and(|text| text.lines().any(|line| line.starts_with("Uid:\t0\t")))
}

/// A TCP port of 127.0.0.1 that nobody listens on at the moment. It lies below the ports that the system gives to outgoing
/// connections: none of them takes it before the server does, and nobody who tries it is connected with himself.
pub(crate) fn free_port() -> u16 {
    let any = || 10_000 + u16::try_from(RandomState::new().build_hasher().finish() % 20_000).expect("a small number");
    std::iter::repeat_with(any)
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("loopback has a port")
}

/// Runs a command to its end and returns what it wrote; a failure ends the test with that text.
pub(crate) fn run(command: &mut Command) -> String {
    let output = run_unchecked(command, "");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{command:?} ended with {}\n{text}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

/// Runs a command with `input` on its standard input.
pub(crate) fn run_unchecked(command: &mut Command, input: &str) -> Output {
    use std::io::Write;
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?} cannot be started: {error}"));
    let mut stdin = child.stdin.take().expect("stdin is piped");
    let input = input.as_bytes().to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().expect("a started child can be waited for");
    // A program may end without reading its input; then writing fails, and its exit status tells the story.
    let _ = writer.join();
    output
}
