//! The callbacks of the PBX, and the log that goes through them.

use std::cell::RefCell;
use std::ffi::c_void;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use log::{Level, LevelFilter, Log, Metadata, Record};
use once_cell::sync::OnceCell;
use plugin_abi::ldap_sync_host;
use sync_core::host::Host;

/// The host's callbacks, safe to call from any thread.
#[derive(Clone)]
pub(crate) struct Callbacks(ldap_sync_host);

// SAFETY: the ABI says that any thread may call a handle and that callbacks may come on any thread of the library; the
// context is handed back without being looked at.
unsafe impl Send for Callbacks {}
// SAFETY: as above.
unsafe impl Sync for Callbacks {}

impl Callbacks {
    pub(crate) fn new(host: ldap_sync_host) -> Callbacks {
        Callbacks(host)
    }

    /// Whether the host guards our writes against the PBX's own.
    pub(crate) fn guards_writes(&self) -> bool {
        self.0.begin_write.is_some()
    }

    fn context(&self) -> *mut c_void {
        self.0.context
    }

    fn log(&self, level: Level, text: &str) {
        if let Some(log) = self.0.log {
            // SAFETY: the host gave a function of this type together with its context; the text outlives the call.
            unsafe { log(self.context(), level as i32, text.as_ptr().cast(), text.len()) };
        }
    }
}

impl Host for Callbacks {
    fn announce(&self, events: &str) -> bool {
        // SAFETY: as in `log`.
        self.0
            .announce
            .is_some_and(|announce| unsafe { announce(self.context(), events.as_ptr().cast(), events.len()) } == 0)
    }

    fn announces(&self) -> bool {
        self.0.announce.is_some()
    }

    fn progress(&self, json: &str) {
        if let Some(progress) = self.0.progress {
            // SAFETY: as in `log`.
            unsafe { progress(self.context(), json.as_ptr().cast(), json.len()) };
        }
    }

    fn begin_write(&self, timeout_ms: u32) -> bool {
        // SAFETY: as in `log`.
        self.0.begin_write.is_none_or(|begin| unsafe { begin(self.context(), timeout_ms) } == 0)
    }

    fn end_write(&self) {
        if let Some(end) = self.0.end_write {
            // SAFETY: as in `log`.
            unsafe { end(self.context()) };
        }
    }

    fn now(&self) -> i64 {
        match self.0.now {
            // SAFETY: as in `log`.
            Some(now) => unsafe { now(self.context()) },
            None => system_clock(),
        }
    }

    #[expect(clippy::disallowed_methods, reason = "the waiting between two attempts to get a lock ends here")]
    fn pause(&self, ms: u32) {
        std::thread::sleep(Duration::from_millis(ms.into()));
    }
}

#[expect(clippy::disallowed_methods, reason = "the source of time")]
fn system_clock() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
}

thread_local! {
    /// The host whose hook this thread is in.
    static CURRENT: RefCell<Option<Callbacks>> = const { RefCell::new(None) };
}

/// Runs `body` with the log going to `host`.
pub(crate) fn with_host<T>(host: &Callbacks, body: impl FnOnce() -> T) -> T {
    static INSTALLED: OnceCell<()> = OnceCell::new();
    INSTALLED.get_or_init(|| {
        // Another logger in the process means that somebody else already sees our lines.
        if log::set_logger(&HostLog).is_ok() {
            log::set_max_level(LevelFilter::Trace);
        }
    });
    let before = CURRENT.replace(Some(host.clone()));
    let result = body();
    CURRENT.set(before);
    result
}

struct HostLog;

/// Crates whose lines are ours. Libraries below may log what they send, passwords included, so theirs are dropped.
const OURS: [&str; 3] = ["module_ldap_sync", "sync_core", "directory"];

impl Log for HostLog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        OURS.contains(&metadata.target().split("::").next().unwrap_or_default())
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let host = CURRENT.with_borrow(Clone::clone);
            if let Some(host) = host {
                host.log(record.level(), &record.args().to_string());
            }
        }
    }

    fn flush(&self) {}
}

/// A host without any callback.
#[cfg(test)]
pub(crate) fn silent() -> ldap_sync_host {
    ldap_sync_host {
        abi_version: plugin_abi::LDAP_SYNC_ABI_VERSION,
        size: size_of::<ldap_sync_host>() as u32,
        context: std::ptr::null_mut(),
        log: None,
        announce: None,
        progress: None,
        begin_write: None,
        end_write: None,
        now: None,
    }
}
