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
use serde_json::value::RawValue;

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

/// A host that knows what is under way.
pub trait RunningHost: HostServices {
    /// `runId` of the run under way, for `cancel-run`.
    fn current_run(&self) -> Option<Value>;
}

/// The services of this program for a PBX database that no running PBX has open.
pub struct Services {
    announcer: Box<dyn Announcer>,
    progress: Progress,
    write_lock: WriteLock,
    current_run: CurrentRun,
}

impl Services {
    /// Services for the module in `module_dir`.
    pub fn new(module_dir: &Path, announcer: Box<dyn Announcer>, progress: Progress) -> Services {
        let write_lock = WriteLock::new(module_dir.join("db").join("write.lock"));
        Services { announcer, progress, write_lock, current_run: CurrentRun::default() }
    }

    /// Takes the progress bar off the screen, also after a run that did not report its end.
    pub fn clear_progress(&self) {
        if let Progress::Bar(bar) = &self.progress {
            bar.clear();
        }
    }
}

impl RunningHost for Services {
    fn current_run(&self) -> Option<Value> {
        self.current_run.get()
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
                let text = format!("changes were not announced and will be announced again later: {reason}");
                self.log(Level::Warn, &text);
                false
            }
        }
    }

    fn progress(&self, json: &str) {
        let Ok(report) = serde_json::from_str::<Value>(json) else {
            return self.log(Level::Warn, &format!("the library reported progress that is not JSON: {json}"));
        };
        self.current_run.note(&report);
        self.progress.show(&report, json);
    }

    fn begin_write(&self, timeout: Duration) -> bool {
        self.write_lock.acquire(timeout).unwrap_or_else(|error| {
            let path = self.write_lock.path.display();
            self.log(Level::Error, &format!("cannot lock {path} for writing to the PBX's database: {error}"));
            false
        })
    }

    fn end_write(&self) {
        self.write_lock.release();
    }

    fn now(&self) -> i64 {
        system_time()
    }
}

/// Unix time in milliseconds.
#[expect(clippy::disallowed_methods, reason = "the host is the library's source of time")]
pub fn system_time() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
}

/// `runId` of the run whose progress was reported last, until it is done.
#[derive(Default)]
pub struct CurrentRun(Mutex<Option<Value>>);

impl CurrentRun {
    /// Takes note of a report of progress.
    pub fn note(&self, report: &Value) {
        let done = report["phase"] == "done";
        *unpoisoned(&self.0) = report.get("runId").filter(|_| !done).cloned();
    }

    /// The run under way.
    pub fn get(&self) -> Option<Value> {
        unpoisoned(&self.0).clone()
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
        let events: Vec<&RawValue> =
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
    /// A bar for each phase.
    Bar(PhaseBar),
}

impl Progress {
    /// A bar when stderr is a terminal, else nothing.
    pub fn bar_on_terminal() -> Progress {
        if io::stderr().is_terminal() { Progress::Bar(PhaseBar::default()) } else { Progress::Off }
    }

    fn show(&self, report: &Value, json: &str) {
        match self {
            Progress::Off => {}
            // A closed stderr is no reason to fail a run.
            Progress::JsonLines => drop(writeln!(io::stderr(), "{}", json.trim_end())),
            Progress::Bar(bar) => bar.show(report),
        }
    }

    /// Runs `print` while no bar is on the screen.
    fn suspended(&self, print: impl FnOnce()) {
        match self {
            Progress::Bar(bar) => bar.suspended(print),
            Progress::Off | Progress::JsonLines => print(),
        }
    }
}

/// The bar of the phase a run is in; on the screen only between a run's first report and its end.
#[derive(Default)]
pub struct PhaseBar {
    bar: Mutex<Option<ProgressBar>>,
}

impl PhaseBar {
    fn show(&self, report: &Value) {
        let phase = report["phase"].as_str().unwrap_or("working");
        let total = report["total"].as_u64().filter(|total| *total > 0);
        let done = report["done"].as_u64().unwrap_or(0);
        let mut slot = unpoisoned(&self.bar);
        let goes_on = slot.as_ref().is_some_and(|bar| bar.message() == phase && bar.length() == total);
        if !goes_on && let Some(bar) = slot.take() {
            bar.finish_and_clear();
        }
        if phase == "done" {
            return;
        }
        let bar = slot.get_or_insert_with(|| new_bar(phase, total));
        bar.set_prefix(pace(report));
        bar.set_position(done);
    }

    fn clear(&self) {
        if let Some(bar) = unpoisoned(&self.bar).take() {
            bar.finish_and_clear();
        }
    }

    fn suspended(&self, print: impl FnOnce()) {
        match &*unpoisoned(&self.bar) {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }
}

fn new_bar(phase: &str, total: Option<u64>) -> ProgressBar {
    let template = match total {
        Some(_) => "  {msg:<13} {wide_bar} {pos}/{len}  {prefix}",
        None => "  {msg:<13} {spinner} {pos}  {prefix}",
    };
    // The template is a constant; should it ever be wrong, the bar looks plain.
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr()).with_style(style).with_message(phase.to_owned())
}

/// Rate and remaining time as the library reckons them.
fn pace(report: &Value) -> String {
    let rate = report["rate"].as_f64().map(|rate| format!("{rate:.0}/s"));
    let left = report["etaSeconds"].as_f64().map(|seconds| format!("{seconds:.0} s left"));
    rate.into_iter().chain(left).collect::<Vec<_>>().join(", ")
}

/// The write mutex of a PBX database that is not in use by a PBX: an exclusive lock on a file (`flock`), which also
/// keeps other processes of this program out, and which the kernel releases when a process dies.
pub struct WriteLock {
    path: PathBuf,
    held: Mutex<Option<(File, Instant)>>,
}

impl WriteLock {
    /// How long to wait between two attempts.
    const PAUSE: Duration = Duration::from_millis(10);

    /// A lock on the file `path`, which is created when first needed; its directory must exist.
    pub fn new(path: PathBuf) -> WriteLock {
        WriteLock { path, held: Mutex::default() }
    }

    /// Takes the lock, waiting no longer than `timeout`; true when held. The error says that there can be no lock.
    #[expect(clippy::disallowed_methods, reason = "waiting for the write mutex belongs to the host")]
    pub fn acquire(&self, timeout: Duration) -> io::Result<bool> {
        let start = Instant::now();
        while !self.attempt()? {
            if start.elapsed() >= timeout {
                return Ok(false);
            }
            thread::sleep(WriteLock::PAUSE);
        }
        Ok(true)
    }

    /// Releases the lock, and logs how long it was held; nothing happens when it is not held.
    pub fn release(&self) {
        // Closing the file releases the lock: it was never duplicated.
        if let Some((_, since)) = unpoisoned(&self.held).take() {
            log::debug!("the write mutex was held for {} us", since.elapsed().as_micros());
        }
    }

    fn attempt(&self) -> io::Result<bool> {
        let mut held = unpoisoned(&self.held);
        if held.is_some() {
            return Ok(false);
        }
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&self.path)?;
        match file.try_lock() {
            Ok(()) => {
                *held = Some((file, Instant::now()));
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
        assert!(first.acquire(Duration::ZERO).unwrap());
        assert!(!second.acquire(Duration::from_millis(30)).unwrap(), "held by the first");
        assert!(!first.acquire(Duration::ZERO).unwrap(), "not taken twice either");
        first.release();
        assert!(second.acquire(Duration::ZERO).unwrap());
        second.release();
    }

    #[test]
    fn a_lock_that_cannot_be_made_is_an_error_at_once_and_busy_to_the_library() {
        let directory = tempfile::tempdir().unwrap();
        let missing = directory.path().join("missing");
        assert!(WriteLock::new(missing.join("write.lock")).acquire(Duration::from_secs(5)).is_err());
        assert!(!Services::new(&missing, Box::new(NobodyListens), Progress::Off).begin_write(Duration::ZERO));
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
    fn a_bar_follows_its_phase_and_ends_with_the_run() {
        let bar = PhaseBar::default();
        let shown = || unpoisoned(&bar.bar).as_ref().map(|bar| (bar.message(), bar.position(), bar.length()));
        assert_eq!(shown(), None);
        bar.show(&serde_json::json!({"phase": "reading", "done": 500, "total": 0}));
        assert_eq!(shown(), Some(("reading".to_owned(), 500, None)));
        bar.show(&serde_json::json!({"phase": "applying", "done": 1, "total": 9, "rate": 2.5, "etaSeconds": 3}));
        assert_eq!(shown(), Some(("applying".to_owned(), 1, Some(9))));
        bar.show(&serde_json::json!({"phase": "done", "done": 9, "total": 9}));
        assert_eq!(shown(), None);
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
