//! What every hook goes through: handles, borrowed memory, panics, and the one answer to the sink.

use std::any::Any;
use std::collections::BTreeMap;
use std::ffi::{CStr, c_char, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use log::error;
use plugin_abi::status::ldap_sync_status::{self as Status, *};
use plugin_abi::{LDAP_SYNC_ABI_VERSION, ldap_sync_host, ldap_sync_module, ldap_sync_sink};
use serde_json::Value;

use crate::answer::{Answer, Failure};
use crate::host::{Callbacks, with_host};
use crate::plugin::Plugin;

/// Longest JSON a hook takes, in bytes.
const LONGEST_JSON: usize = 4 * 1024 * 1024;

/// Bytes the caller lends for the length of a call.
pub(crate) struct Input {
    bytes: *const c_char,
    length: usize,
}

impl Input {
    pub(crate) fn new(bytes: *const c_char, length: usize) -> Input {
        Input { bytes, length }
    }

    /// Reads the bytes as JSON; NULL with length 0 is `null`.
    ///
    /// # Safety
    /// `bytes` is NULL or points to `length` readable bytes.
    pub(crate) unsafe fn json(&self) -> Result<Value, Failure> {
        if self.bytes.is_null() {
            return if self.length == 0 { Ok(Value::Null) } else { Err(Failure::argument("the JSON pointer is NULL")) };
        }
        if self.length > LONGEST_JSON {
            let text = format!("the JSON is {} bytes long; at most {LONGEST_JSON} are taken", self.length);
            return Err(Failure::argument(text));
        }
        // SAFETY: the caller promises `length` readable bytes, and the slice does not outlive this function.
        let bytes = unsafe { std::slice::from_raw_parts(self.bytes.cast::<u8>(), self.length) };
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(Value::Null);
        }
        let text = std::str::from_utf8(bytes).map_err(|error| {
            Failure::argument(format!("the JSON is not valid UTF-8 after byte {}", error.valid_up_to()))
        })?;
        serde_json::from_str(text).map_err(|error| Failure::argument(format!("this is not valid JSON: {error}")))
    }
}

/// Reads the name of an action.
///
/// # Safety
/// `action` is NULL or NUL-terminated.
pub(crate) unsafe fn action_name(action: *const c_char) -> Result<String, Failure> {
    if action.is_null() {
        return Err(Failure::argument("the action is NULL"));
    }
    // SAFETY: not NULL, and the caller promises a terminating NUL.
    let name = unsafe { CStr::from_ptr(action) };
    name.to_str().map(str::to_owned).map_err(|_| Failure::argument("the action is not valid UTF-8"))
}

/// Where the answer of a hook goes.
pub(crate) struct Reply {
    sink: ldap_sync_sink,
    context: *mut c_void,
}

impl Reply {
    pub(crate) fn new(sink: ldap_sync_sink, context: *mut c_void) -> Reply {
        Reply { sink, context }
    }

    fn send(&self, text: &str) {
        if let Some(sink) = self.sink {
            // SAFETY: the host gave a function of this type together with its context.
            unsafe { sink(self.context, text.as_ptr().cast(), text.len()) };
        }
    }
}

/// One open module.
struct Handle {
    plugin: Plugin,
    host: Callbacks,
    poisoned: AtomicBool,
    /// Held for reading by every call, so that `close` returns only when the host's context is no longer needed.
    calls: RwLock<()>,
}

/// The open handles. The pointer the host holds is a number in here and never followed, so that a handle closed
/// twice, or used after its end, is an error instead of undefined behaviour.
static HANDLES: Mutex<BTreeMap<usize, Arc<Handle>>> = Mutex::new(BTreeMap::new());

fn handles() -> MutexGuard<'static, BTreeMap<usize, Arc<Handle>>> {
    HANDLES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs a hook's body: checks the handle, catches panics, answers the sink once.
pub(crate) fn call(
    module: *mut ldap_sync_module,
    reply: Reply,
    body: impl FnOnce(&Plugin) -> Result<Answer, Failure>,
) -> i32 {
    let open = handles();
    let handle = open.get(&module.addr()).cloned();
    // Taken before anybody can close the handle, and held until the sink has its answer.
    let _call = handle.as_ref().map(|handle| handle.calls.read().unwrap_or_else(PoisonError::into_inner));
    drop(open);
    let result = match &handle {
        None => Err(Failure::argument("the handle is NULL, closed, or was never opened")),
        Some(handle) if handle.poisoned.load(Ordering::SeqCst) => Err(Failure::new(
            LDAP_SYNC_POISONED,
            "an earlier call of this handle ended in an internal error: close it and open a new one",
        )),
        Some(handle) => with_host(&handle.host, || {
            catch_unwind(AssertUnwindSafe(|| body(&handle.plugin))).unwrap_or_else(|panic| {
                handle.poisoned.store(true, Ordering::SeqCst);
                Err(internal_error(&*panic))
            })
        }),
    };
    let (status, text) = match result {
        Ok(answer) => (LDAP_SYNC_OK, answer.envelope()),
        Err(failure) => (failure.status, failure.envelope()),
    };
    reply.send(&text);
    status as i32
}

/// Opens a handle.
///
/// # Safety
/// `host` is NULL or points to a struct of at least the size it states; `config` is as [`Input::json`] asks; `out` is
/// NULL or writable.
pub(crate) unsafe fn open(host: *const ldap_sync_host, config: Input, out: *mut *mut ldap_sync_module) -> i32 {
    if out.is_null() {
        return LDAP_SYNC_INVALID_ARGUMENT as i32;
    }
    // SAFETY: not NULL, and the caller promises that it can be written.
    unsafe { out.write(std::ptr::null_mut()) };
    // SAFETY: the caller's promise about `host`.
    let host = match unsafe { read_host(host) } {
        Ok(host) => Callbacks::new(host),
        Err(status) => return status as i32,
    };
    let opened = with_host(&host, || {
        catch_unwind(AssertUnwindSafe(|| {
            // SAFETY: the caller's promise about `config`.
            let config = unsafe { config.json() }?;
            Plugin::open(&config, host.clone())
        }))
        .unwrap_or_else(|panic| Err(internal_error(&*panic)))
        .inspect_err(|failure| error!("the module cannot be opened: {failure}"))
    });
    match opened {
        Ok(plugin) => {
            let handle = register(Handle { plugin, host, poisoned: AtomicBool::new(false), calls: RwLock::new(()) });
            // SAFETY: as above.
            unsafe { out.write(handle) };
            LDAP_SYNC_OK as i32
        }
        Err(failure) => failure.status as i32,
    }
}

/// Ends a handle; a call that is still under way on another thread finishes first.
pub(crate) fn close(module: *mut ldap_sync_module) {
    let handle = handles().remove(&module.addr());
    if let Some(handle) = handle {
        drop(handle.calls.write().unwrap_or_else(PoisonError::into_inner));
        let host = handle.host.clone();
        let dropped = with_host(&host, || catch_unwind(AssertUnwindSafe(|| drop(handle))));
        if let Err(panic) = dropped {
            with_host(&host, || drop(internal_error(&*panic)));
        }
    }
}

/// Reads the host's struct, version and size first.
///
/// # Safety
/// As [`open`].
unsafe fn read_host(host: *const ldap_sync_host) -> Result<ldap_sync_host, Status> {
    if host.is_null() {
        return Err(LDAP_SYNC_INVALID_ARGUMENT);
    }
    // SAFETY: every version of the struct begins with these two numbers.
    let (version, size) = unsafe { ((*host).abi_version, (*host).size) };
    if version != LDAP_SYNC_ABI_VERSION || (size as usize) < size_of::<ldap_sync_host>() {
        if (size as usize) >= size_of::<ldap_sync_host>() {
            // SAFETY: the struct is at least as large as ours.
            let callbacks = Callbacks::new(unsafe { host.read() });
            with_host(&callbacks, || {
                error!("the host was built for version {version} of the ABI, the library has {LDAP_SYNC_ABI_VERSION}");
            });
        }
        return Err(LDAP_SYNC_ABI_MISMATCH);
    }
    // SAFETY: the version is ours and the struct at least as large as ours.
    Ok(unsafe { host.read() })
}

fn register(handle: Handle) -> *mut ldap_sync_module {
    // Never 0 and never one that was given before, so that closing an old handle again cannot end a new one; steps of
    // 16 look like addresses.
    static NEXT: AtomicUsize = AtomicUsize::new(0x1000);
    let number = NEXT.fetch_add(16, Ordering::Relaxed);
    handles().insert(number, Arc::new(handle));
    std::ptr::without_provenance_mut(number)
}

fn internal_error(panic: &(dyn Any + Send)) -> Failure {
    let message = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or(panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message");
    error!("internal error, please report it: {message}");
    Failure::new(LDAP_SYNC_PANIC, "an internal error; it is in the PBX's log. Nothing more is done with this handle")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::silent;
    use std::ptr::null_mut;

    unsafe extern "C" fn collect(context: *mut c_void, text: *const c_char, length: usize) {
        // SAFETY: the tests pass a Vec<String> and the boundary lends `length` bytes.
        unsafe {
            let bytes = std::slice::from_raw_parts(text.cast::<u8>(), length);
            (*context.cast::<Vec<String>>()).push(String::from_utf8_lossy(bytes).into_owned());
        }
    }

    fn opened(dir: &std::path::Path) -> *mut ldap_sync_module {
        let config =
            format!(r#"{{"moduleDir": {0:?}, "pbxDatabase": {0:?}, "mediaDir": {0:?}}}"#, dir.to_string_lossy());
        let mut handle = null_mut();
        // SAFETY: valid pointers for the length of the call.
        let status = unsafe { open(&silent(), Input::new(config.as_ptr().cast(), config.len()), &mut handle) };
        assert_eq!(status, 0);
        handle
    }

    #[test]
    fn a_panic_is_answered_and_poisons_the_handle() {
        let dir = tempfile::tempdir().unwrap();
        let handle = opened(dir.path());
        let mut answers: Vec<String> = Vec::new();
        let context = (&raw mut answers).cast::<c_void>();
        assert_eq!(call(handle, Reply::new(Some(collect), context), |_| panic!("marker")), 99);
        assert_eq!(call(handle, Reply::new(Some(collect), context), |_| Ok(Answer::default())), 98);
        close(handle);
        assert_eq!(call(handle, Reply::new(Some(collect), context), |_| Ok(Answer::default())), 1);
        assert_eq!(answers.len(), 3);
        assert!(answers.iter().all(|answer| answer.contains(r#""result":false"#) && !answer.contains("marker")));
    }

    #[test]
    fn the_number_of_a_closed_handle_is_not_given_again() {
        let dir = tempfile::tempdir().unwrap();
        let first = opened(dir.path());
        close(first);
        let second = opened(dir.path());
        close(first);
        assert_eq!(call(second, Reply::new(None, null_mut()), |_| Ok(Answer::default())), 0);
        close(second);
    }

    #[test]
    fn closing_waits_for_a_call_that_is_under_way() {
        let dir = tempfile::tempdir().unwrap();
        let handle = opened(dir.path()).addr();
        let (begun, begins) = std::sync::mpsc::channel();
        let (finish, finishes) = std::sync::mpsc::channel::<()>();
        let caller = std::thread::spawn(move || {
            call(std::ptr::without_provenance_mut(handle), Reply::new(None, null_mut()), |_| {
                begun.send(()).unwrap();
                finishes.recv().unwrap();
                Ok(Answer::default())
            })
        });
        begins.recv().unwrap();
        let (closed, closes) = std::sync::mpsc::channel();
        let closer = std::thread::spawn(move || {
            close(std::ptr::without_provenance_mut(handle));
            closed.send(()).unwrap();
        });
        assert!(closes.recv_timeout(std::time::Duration::from_millis(100)).is_err(), "close did not wait");
        finish.send(()).unwrap();
        assert_eq!(caller.join().unwrap(), 0);
        closer.join().unwrap();
    }

    #[test]
    fn a_handle_closed_twice_is_ignored() {
        let dir = tempfile::tempdir().unwrap();
        let (first, second) = (opened(dir.path()), opened(dir.path()));
        assert_ne!(first, second);
        close(first);
        close(first);
        close(null_mut());
        assert_eq!(call(second, Reply::new(None, null_mut()), |_| Ok(Answer::default())), 0);
        close(second);
    }
}
