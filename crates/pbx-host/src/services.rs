//! What this program gives the library in place of a PBX: log, announcements, progress, the write mutex and the time.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use log::Level;
use serde_json::Value;

/// The callbacks of `ldap_sync_host`, as Rust. They may be called from any thread and must not call the module.
pub trait HostServices: Send + Sync {
    /// One line of the library's log.
    fn log(&self, level: Level, text: &str);

    /// Delivers a JSON array of model events; false means: not delivered, to be tried again later.
    fn announce(&self, events: &str) -> bool;

    /// Progress of a run, as JSON.
    fn progress(&self, json: &str);

    /// Takes the PBX's write mutex, waiting no longer than `timeout`; true when held.
    fn begin_write(&self, timeout: Duration) -> bool;

    /// Releases the PBX's write mutex.
    fn end_write(&self);

    /// Unix time in milliseconds.
    fn now(&self) -> i64;
}

/// The services of this program for a PBX database that no running PBX has open.
pub struct Services {
    announcer: Box<dyn Announcer>,
    progress: Progress,
    write_lock: WriteLock,
    /// `runId` of the run whose progress was reported last, until it is done.
    current_run: Mutex<Option<Value>>,
}

impl Services {
    /// Services for the module in `module_dir`.
    pub fn new(module_dir: &Path, announcer: Box<dyn Announcer>, progress: Progress) -> Services {
        let write_lock = WriteLock::new(module_dir.join("db").join("write.lock"));
        Services { announcer, progress, write_lock, current_run: Mutex::default() }
    }

    /// `runId` of the run under way, for `cancel-run`.
    pub fn current_run(&self) -> Option<Value> {
        unpoisoned(&self.current_run).clone()
    }
}

impl HostServices for Services {
    fn log(&self, level: Level, text: &str) {
        self.progress.suspended(|| log::log!(target: "ldap_sync", level, "{text}"));
    }

    fn announce(&self, events: &str) -> bool {
        match self.announcer.deliver(events) {
            Ok(()) => true,
            Err(reason) => {
                log::warn!("changes were not announced and will be announced again later: {reason}");
                false
            }
        }
    }

    fn progress(&self, json: &str) {
        let Ok(report) = serde_json::from_str::<Value>(json) else {
            return log::warn!("the library reported progress that is not JSON: {json}");
        };
        let done = report["phase"] == "done";
        *unpoisoned(&self.current_run) = report.get("runId").filter(|_| !done).cloned();
        self.progress.show(&report, json);
    }

    fn begin_write(&self, timeout: Duration) -> bool {
        self.write_lock.acquire(timeout)
    }

    fn end_write(&self) {
        self.write_lock.release();
    }

    #[expect(clippy::disallowed_methods, reason = "the host is the library's source of time")]
    fn now(&self) -> i64 {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
    }
}

/// Where announcements go.
pub trait Announcer: Send + Sync {
    /// Delivers a JSON array of model events, all or none; the error says why it could not.
    fn deliver(&self, events: &str) -> Result<(), String>;
}

/// Nobody listens: there is no running PBX to be told, so every announcement counts as delivered.
pub struct NobodyListens;

impl Announcer for NobodyListens {
    fn deliver(&self, _events: &str) -> Result<(), String> {
        Ok(())
    }
}

/// Appends every event to a file, one JSON object per line, and waits until the file is on disk.
pub struct AnnounceLog {
    path: PathBuf,
    file: Mutex<File>,
    count: AtomicU64,
}

impl AnnounceLog {
    /// Opens or creates the file.
    pub fn open(path: &Path) -> io::Result<AnnounceLog> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(AnnounceLog { path: path.to_owned(), file: Mutex::new(file), count: AtomicU64::new(0) })
    }

    /// How many events were written since it was opened.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}

impl Announcer for AnnounceLog {
    fn deliver(&self, events: &str) -> Result<(), String> {
        let events: Vec<Value> =
            serde_json::from_str(events).map_err(|error| format!("the events are not a JSON array: {error}"))?;
        let lines: String = events.iter().map(|event| format!("{event}\n")).collect();
        let mut file = unpoisoned(&self.file);
        file.write_all(lines.as_bytes())
            .and_then(|()| file.sync_data())
            .map_err(|error| format!("cannot write {}: {error}", self.path.display()))?;
        self.count.fetch_add(events.len() as u64, Ordering::Relaxed);
        Ok(())
    }
}

impl<T: Announcer + ?Sized> Announcer for std::sync::Arc<T> {
    fn deliver(&self, events: &str) -> Result<(), String> {
        (**self).deliver(events)
    }
}

/// How the progress of a run is shown, always on stderr.
pub enum Progress {
    /// Not at all.
    Off,
    /// The library's JSON, one object per line.
    JsonLines,
    /// A bar.
    Bar(ProgressBar),
}

impl Progress {
    /// A bar when stderr is a terminal, else nothing.
    pub fn bar_on_terminal() -> Progress {
        if !io::stderr().is_terminal() {
            return Progress::Off;
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        Progress::Bar(bar)
    }

    fn show(&self, report: &Value, json: &str) {
        match self {
            Progress::Off => {}
            Progress::JsonLines => drop(writeln!(io::stderr(), "{}", json.trim_end())),
            Progress::Bar(bar) => show_bar(bar, report),
        }
    }

    /// Runs `print` while no bar is on the screen.
    fn suspended(&self, print: impl FnOnce()) {
        match self {
            Progress::Bar(bar) => bar.suspend(print),
            Progress::Off | Progress::JsonLines => print(),
        }
    }
}

fn show_bar(bar: &ProgressBar, report: &Value) {
    let phase = report["phase"].as_str().unwrap_or("working");
    if phase == "done" {
        bar.finish_and_clear();
        return bar.reset();
    }
    if bar.message() != phase {
        bar.reset();
        bar.set_message(phase.to_owned());
    }
    let total = report["total"].as_u64().filter(|total| *total > 0);
    let template = match total {
        Some(_) => "  {msg:<13} {wide_bar} {pos}/{len}  {per_sec}, {eta} left",
        None => "  {msg:<13} {spinner} {pos}",
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    match total {
        Some(total) => bar.set_length(total),
        None => bar.unset_length(),
    }
    bar.set_position(report["done"].as_u64().unwrap_or(0));
}

/// The write mutex of a PBX database that is not in use by a PBX: an exclusive lock on a file (`flock`), which also
/// keeps other processes of this program out, and which the kernel releases when a process dies.
pub struct WriteLock {
    path: PathBuf,
    held: Mutex<Option<File>>,
}

impl WriteLock {
    /// How long to wait between two attempts.
    const PAUSE: Duration = Duration::from_millis(10);

    /// A lock on the file `path`, which is created when first needed; its directory must exist.
    pub fn new(path: PathBuf) -> WriteLock {
        WriteLock { path, held: Mutex::default() }
    }

    /// Takes the lock, waiting no longer than `timeout`; true when held.
    #[expect(clippy::disallowed_methods, reason = "waiting for the write mutex belongs to the host")]
    pub fn acquire(&self, timeout: Duration) -> bool {
        let start = Instant::now();
        loop {
            match self.attempt() {
                Ok(true) => return true,
                Ok(false) if start.elapsed() < timeout => thread::sleep(WriteLock::PAUSE),
                Ok(false) => return false,
                Err(error) => {
                    log::error!("cannot lock {} for writing to the PBX's database: {error}", self.path.display());
                    return false;
                }
            }
        }
    }

    /// Releases the lock; nothing happens when it is not held.
    pub fn release(&self) {
        // Closing the file releases the lock: it was never duplicated.
        drop(unpoisoned(&self.held).take());
    }

    fn attempt(&self) -> io::Result<bool> {
        let mut held = unpoisoned(&self.held);
        if held.is_some() {
            return Ok(false);
        }
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&self.path)?;
        match file.try_lock() {
            Ok(()) => {
                *held = Some(file);
                Ok(true)
            }
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

/// The value of a mutex, also after a panic elsewhere: every value kept here is whole at any time.
fn unpoisoned<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_write_lock_keeps_a_second_holder_out_until_it_is_released() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("write.lock");
        let (first, second) = (WriteLock::new(path.clone()), WriteLock::new(path));
        assert!(first.acquire(Duration::ZERO));
        assert!(!second.acquire(Duration::from_millis(30)), "held by the first");
        assert!(!first.acquire(Duration::ZERO), "not taken twice either");
        first.release();
        assert!(second.acquire(Duration::ZERO));
        second.release();
    }

    #[test]
    fn a_lock_that_cannot_be_made_is_busy() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(!WriteLock::new(file.join("write.lock")).acquire(Duration::from_secs(5)));
    }

    #[test]
    fn announcements_are_written_one_event_per_line_and_counted() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("announced.jsonl");
        let log = AnnounceLog::open(&path).unwrap();
        log.deliver(r#"[{"recordId":"1"},{"recordId":"2"}]"#).unwrap();
        log.deliver("[]").unwrap();
        assert!(log.deliver(r#"{"recordId":"3"}"#).unwrap_err().contains("not a JSON array"));
        assert_eq!(log.count(), 2);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\"recordId\":\"1\"}\n{\"recordId\":\"2\"}\n");
    }

    #[test]
    fn the_run_under_way_is_known_until_it_is_done() {
        let directory = tempfile::tempdir().unwrap();
        let services = Services::new(directory.path(), Box::new(NobodyListens), Progress::Off);
        assert_eq!(services.current_run(), None);
        services.progress(r#"{"runId":7,"phase":"applying","done":1,"total":2}"#);
        assert_eq!(services.current_run(), Some(7.into()));
        services.progress(r#"{"runId":7,"phase":"done","done":2,"total":2}"#);
        assert_eq!(services.current_run(), None);
    }
}
