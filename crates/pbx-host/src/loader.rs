//! Loads the library and calls its hooks, as a PBX does: the only file of the host program with `unsafe`.
//!
//! [`Module::open`] checks the version before anything else, every hook answers one [`Answer`], and no panic of the
//! host's own services ever crosses into the library.

#![expect(unsafe_code, reason = "calls a C library through its ABI")]

use std::ffi::{CString, c_char, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use log::Level;
use plugin_abi::{LDAP_SYNC_ABI_VERSION, ldap_sync_host, ldap_sync_module, ldap_sync_sink};

use crate::services::HostServices;

/// What a hook answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// One of `plugin_abi::status`; a later library may know more.
    pub status: i32,
    /// The envelope: `{"result": …, "data": …, "messages": {"error": […], "info": […]}}`.
    pub json: String,
}

/// Why the library could not be loaded or did not keep to its ABI.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is missing, is no shared library, or lacks a hook.
    #[error("cannot load the library {path}: {source}; build it, or name it with --library", path = .path.display())]
    Load {
        /// The file that was tried.
        path: PathBuf,
        /// What the loader said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The library speaks another version of the ABI.
    #[error(
        "the library {path} speaks version {found} of the ABI and this program version {LDAP_SYNC_ABI_VERSION}: \
         install both from the same release", path = .path.display()
    )]
    Version {
        /// The library.
        path: PathBuf,
        /// Its `ldap_sync_abi_version()`.
        found: u32,
    },
    /// `ldap_sync_open` refused.
    #[error("the module cannot be opened (status {status}): {reason}")]
    Open {
        /// The status of `ldap_sync_open`.
        status: i32,
        /// The last error it logged.
        reason: String,
    },
    /// A hook called its sink not exactly once.
    #[error("the library breaks its ABI: {hook} (status {status}) answered {answers} times instead of once")]
    Answers {
        /// The hook.
        hook: &'static str,
        /// What it returned.
        status: i32,
        /// How often the sink was called.
        answers: usize,
    },
    /// A hook answered something that is not UTF-8.
    #[error("the library breaks its ABI: the answer of {hook} (status {status}) is not UTF-8")]
    NotUtf8 {
        /// The hook.
        hook: &'static str,
        /// What it returned.
        status: i32,
    },
    /// An action's name cannot be passed as a C string.
    #[error("the action {0:?} contains a NUL character")]
    Action(String),
}

/// One open module. Any thread may call it; dropping it closes it.
pub struct Module {
    hooks: Hooks,
    handle: NonNull<ldap_sync_module>,
    /// The callbacks' context: the library keeps its address until it is closed.
    _context: Arc<Context>,
    /// Declared last, so that the code is there until everything else is gone.
    _library: Library,
}

// SAFETY: the ABI allows any thread to call a handle, also several at once; everything else in `Module` is `Send` and
// `Sync` by itself.
unsafe impl Send for Module {}
// SAFETY: as above.
unsafe impl Sync for Module {}

impl Module {
    /// Loads `library`, checks its version and opens the module.
    ///
    /// `config_json` is `{"moduleDir": "…", "pbxDatabase": "…", "mediaDir": "…"}`. The library is never unloaded from
    /// the process (it is linked with `-z nodelete`). From here on this process must not open the PBX's database
    /// itself: two copies of SQLite in one process break each other's locks.
    pub fn open(library: &Path, services: Arc<dyn HostServices>, config_json: &str) -> Result<Module, Error> {
        let loaded = load(library)?;
        let hooks = Hooks::find(&loaded).map_err(|source| load_error(library, source))?;
        // SAFETY: the hook takes nothing and is of the library just loaded.
        let found = unsafe { (hooks.abi_version)() };
        if found != LDAP_SYNC_ABI_VERSION {
            return Err(Error::Version { path: library.to_owned(), found });
        }
        let context = Arc::new(Context { services, last_error: Mutex::default() });
        let host = context.as_host();
        let mut out = ptr::null_mut();
        // SAFETY: `host`, the configuration and `out` live for the whole call; the context lives as long as the handle.
        let status = unsafe { (hooks.open)(&raw const host, config_json.as_ptr().cast(), config_json.len(), &mut out) };
        match NonNull::new(out) {
            Some(handle) if status == 0 => Ok(Module { hooks, handle, _context: context, _library: loaded }),
            _ => Err(Error::Open { status, reason: context.last_error() }),
        }
    }

    /// Hook "module install".
    pub fn install(&self) -> Result<Answer, Error> {
        self.call("ldap_sync_install", |handle, sink, context| {
            // SAFETY: the handle is open; sink and context are valid for the call.
            unsafe { (self.hooks.install)(handle, sink, context) }
        })
    }

    /// Hook "module uninstall"; `keep_settings` leaves the module's database for the next install.
    pub fn uninstall(&self, keep_settings: bool) -> Result<Answer, Error> {
        self.call("ldap_sync_uninstall", |handle, sink, context| {
            // SAFETY: the handle is open; sink and context are valid for the call.
            unsafe { (self.hooks.uninstall)(handle, i32::from(keep_settings), sink, context) }
        })
    }

    /// Hook "worker tick": does what is due.
    pub fn worker_tick(&self) -> Result<Answer, Error> {
        self.call("ldap_sync_worker_tick", |handle, sink, context| {
            // SAFETY: the handle is open; sink and context are valid for the call.
            unsafe { (self.hooks.worker_tick)(handle, sink, context) }
        })
    }

    /// Hook "config save": stores the settings of one server.
    pub fn config_save(&self, json: impl AsRef<[u8]>) -> Result<Answer, Error> {
        let (text, length) = borrowed(json.as_ref());
        self.call("ldap_sync_config_save", |handle, sink, context| {
            // SAFETY: the handle is open; text, sink and context are valid for the call.
            unsafe { (self.hooks.config_save)(handle, text, length, sink, context) }
        })
    }

    /// Hook "PBX-side edits": hands over an array of model events.
    pub fn models_changed(&self, json: impl AsRef<[u8]>) -> Result<Answer, Error> {
        let (text, length) = borrowed(json.as_ref());
        self.call("ldap_sync_models_changed", |handle, sink, context| {
            // SAFETY: the handle is open; text, sink and context are valid for the call.
            unsafe { (self.hooks.models_changed)(handle, text, length, sink, context) }
        })
    }

    /// One action of the admin page. An empty `json` is passed as NULL.
    pub fn request(&self, action: &str, json: impl AsRef<[u8]>) -> Result<Answer, Error> {
        let action = CString::new(action).map_err(|_| Error::Action(action.to_owned()))?;
        let (text, length) = borrowed(json.as_ref());
        self.call("ldap_sync_request", |handle, sink, context| {
            // SAFETY: the handle is open; action, text, sink and context are valid for the call.
            unsafe { (self.hooks.request)(handle, action.as_ptr(), text, length, sink, context) }
        })
    }

    /// Calls a hook with a sink of our own and takes its one answer.
    fn call(
        &self,
        hook: &'static str,
        run: impl FnOnce(*mut ldap_sync_module, ldap_sync_sink, *mut c_void) -> i32,
    ) -> Result<Answer, Error> {
        let reception = Mutex::new(Vec::new());
        let status = run(self.handle.as_ptr(), Some(receive), (&raw const reception).cast_mut().cast());
        let mut answers = reception.into_inner().unwrap_or_else(PoisonError::into_inner);
        match (answers.pop(), answers.len()) {
            (Some(answer), 0) => match String::from_utf8(answer) {
                Ok(json) => Ok(Answer { status, json }),
                Err(_) => Err(Error::NotUtf8 { hook, status }),
            },
            (None, _) => Err(Error::Answers { hook, status, answers: 0 }),
            (Some(_), more) => Err(Error::Answers { hook, status, answers: more + 1 }),
        }
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        // SAFETY: the handle was made by `open` and is closed only here; no call is under way, since calls borrow `self`.
        unsafe { (self.hooks.close)(self.handle.as_ptr()) }
    }
}

/// The hooks of a loaded library, with the types of `plugin-abi`.
struct Hooks {
    abi_version: unsafe extern "C" fn() -> u32,
    open: unsafe extern "C" fn(*const ldap_sync_host, *const c_char, usize, *mut *mut ldap_sync_module) -> i32,
    install: unsafe extern "C" fn(*mut ldap_sync_module, ldap_sync_sink, *mut c_void) -> i32,
    uninstall: unsafe extern "C" fn(*mut ldap_sync_module, i32, ldap_sync_sink, *mut c_void) -> i32,
    worker_tick: unsafe extern "C" fn(*mut ldap_sync_module, ldap_sync_sink, *mut c_void) -> i32,
    config_save: WithJson,
    models_changed: WithJson,
    request: unsafe extern "C" fn(
        *mut ldap_sync_module,
        *const c_char,
        *const c_char,
        usize,
        ldap_sync_sink,
        *mut c_void,
    ) -> i32,
    close: unsafe extern "C" fn(*mut ldap_sync_module),
}

type WithJson = unsafe extern "C" fn(*mut ldap_sync_module, *const c_char, usize, ldap_sync_sink, *mut c_void) -> i32;

impl Hooks {
    fn find(library: &Library) -> Result<Hooks, libloading::Error> {
        // SAFETY: each symbol is taken with the type that plugin-abi declares for it. Should the library be of another
        // version, only `ldap_sync_abi_version` is called, whose type no version changes.
        unsafe {
            Ok(Hooks {
                abi_version: *library.get(b"ldap_sync_abi_version\0")?,
                open: *library.get(b"ldap_sync_open\0")?,
                install: *library.get(b"ldap_sync_install\0")?,
                uninstall: *library.get(b"ldap_sync_uninstall\0")?,
                worker_tick: *library.get(b"ldap_sync_worker_tick\0")?,
                config_save: *library.get(b"ldap_sync_config_save\0")?,
                models_changed: *library.get(b"ldap_sync_models_changed\0")?,
                request: *library.get(b"ldap_sync_request\0")?,
                close: *library.get(b"ldap_sync_close\0")?,
            })
        }
    }
}

/// Loads the file itself: a bare name must not be looked up in the system's library directories.
fn load(path: &Path) -> Result<Library, Error> {
    let file = path.canonicalize().map_err(|source| load_error(path, source))?;
    // SAFETY: loading runs the library's initialisers; a Rust cdylib has none of its own, and the administrator chose
    // the file.
    unsafe { Library::open(Some(file), RTLD_NOW | RTLD_LOCAL) }.map_err(|source| load_error(path, source))
}

fn load_error(path: &Path, source: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Load { path: path.to_owned(), source: Box::new(source) }
}

/// A text as pointer and length; nothing at all as NULL.
fn borrowed(text: &[u8]) -> (*const c_char, usize) {
    match text {
        [] => (ptr::null(), 0),
        text => (text.as_ptr().cast(), text.len()),
    }
}

/// What the callbacks find behind their context pointer.
struct Context {
    services: Arc<dyn HostServices>,
    /// The last error logged; it explains a failed open.
    last_error: Mutex<String>,
}

impl Context {
    fn as_host(self: &Arc<Context>) -> ldap_sync_host {
        ldap_sync_host {
            abi_version: LDAP_SYNC_ABI_VERSION,
            size: u32::try_from(size_of::<ldap_sync_host>()).unwrap_or(u32::MAX),
            context: Arc::as_ptr(self).cast_mut().cast(),
            log: Some(on_log),
            announce: Some(on_announce),
            progress: Some(on_progress),
            begin_write: Some(on_begin_write),
            end_write: Some(on_end_write),
            now: Some(on_now),
        }
    }

    fn log(&self, level: i32, text: &str) {
        let level = match level {
            ..=1 => Level::Error,
            2 => Level::Warn,
            3 => Level::Info,
            4 => Level::Debug,
            _ => Level::Trace,
        };
        if level == Level::Error {
            text.clone_into(&mut self.last_error.lock().unwrap_or_else(PoisonError::into_inner));
        }
        self.services.log(level, text);
    }

    fn last_error(&self) -> String {
        let text = self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if text.is_empty() { "the library gave no reason".to_owned() } else { text }
    }
}

/// Runs the body of a callback; a panic ends here, is printed by Rust's panic hook, and answers `failed`.
fn guarded<T>(failed: T, body: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or(failed)
}

/// The context of a callback.
///
/// # Safety
/// `context` is the pointer that [`Context::as_host`] gave and its `Module` is open or being opened.
unsafe fn context_of<'a>(context: *mut c_void) -> &'a Context {
    // SAFETY: the caller's promise; a `Context` is only ever borrowed shared.
    unsafe { &*context.cast_const().cast::<Context>() }
}

/// The bytes of a callback's argument.
///
/// # Safety
/// `text` is NULL or points at `length` bytes that stay for the callback.
unsafe fn bytes_of<'a>(text: *const c_char, length: usize) -> &'a [u8] {
    if text.is_null() {
        return &[];
    }
    // SAFETY: the caller's promise.
    unsafe { slice::from_raw_parts(text.cast(), length) }
}

unsafe extern "C" fn on_log(context: *mut c_void, level: i32, utf8: *const c_char, length: usize) {
    guarded((), || {
        // SAFETY: the ABI hands back our context and borrows the text for the call.
        let (context, text) = unsafe { (context_of(context), bytes_of(utf8, length)) };
        context.log(level, &String::from_utf8_lossy(text));
    });
}

unsafe extern "C" fn on_announce(context: *mut c_void, json: *const c_char, length: usize) -> i32 {
    guarded(1, || {
        // SAFETY: the ABI hands back our context and borrows the text for the call.
        let (context, text) = unsafe { (context_of(context), bytes_of(json, length)) };
        i32::from(!std::str::from_utf8(text).is_ok_and(|events| context.services.announce(events)))
    })
}

unsafe extern "C" fn on_progress(context: *mut c_void, json: *const c_char, length: usize) {
    guarded((), || {
        // SAFETY: the ABI hands back our context and borrows the text for the call.
        let (context, text) = unsafe { (context_of(context), bytes_of(json, length)) };
        context.services.progress(&String::from_utf8_lossy(text));
    });
}

unsafe extern "C" fn on_begin_write(context: *mut c_void, timeout_ms: u32) -> i32 {
    guarded(1, || {
        // SAFETY: the ABI hands back our context.
        let context = unsafe { context_of(context) };
        i32::from(!context.services.begin_write(Duration::from_millis(timeout_ms.into())))
    })
}

unsafe extern "C" fn on_end_write(context: *mut c_void) {
    guarded((), || {
        // SAFETY: the ABI hands back our context.
        unsafe { context_of(context) }.services.end_write();
    });
}

unsafe extern "C" fn on_now(context: *mut c_void) -> i64 {
    guarded(0, || {
        // SAFETY: the ABI hands back our context.
        unsafe { context_of(context) }.services.now()
    })
}

/// The sink of every hook: keeps each answer it is given.
unsafe extern "C" fn receive(context: *mut c_void, utf8: *const c_char, length: usize) {
    guarded((), || {
        // SAFETY: `Module::call` passes its reception, which outlives the hook; the text is borrowed for the call.
        let (reception, text) =
            unsafe { (&*context.cast_const().cast::<Mutex<Vec<Vec<u8>>>>(), bytes_of(utf8, length)) };
        reception.lock().unwrap_or_else(PoisonError::into_inner).push(text.to_vec());
    });
}
