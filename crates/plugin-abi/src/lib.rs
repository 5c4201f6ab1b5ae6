//! The C ABI, version 1, between a PBX and the ModuleLdapSync library.
//!
//! UTF-8 JSON in and out. Every pointer is borrowed for the length of the call; no memory changes owner. There is one
//! opaque handle, made by [`ldap_sync_open`] and ended by [`ldap_sync_close`]. Every hook catches panics. Any thread may
//! call a handle. Callbacks happen only during a call, possibly on a thread of the library, and must not call back in.
//! The sink is called exactly once per hook, also for errors.
//!
//! `include/ldap_sync.h` is generated from this file; a test proves that it is fresh.

use core::ffi::{c_char, c_void};

pub mod status;

/// Version of this ABI. A host passes it in [`ldap_sync_host::abi_version`].
pub const LDAP_SYNC_ABI_VERSION: u32 = 1;

/// One open module: opaque, made by `ldap_sync_open`, ended by `ldap_sync_close`.
#[repr(C)]
pub struct ldap_sync_module {
    _private: [u8; 0],
}

/// Takes a hook's answer: `length` bytes of UTF-8 JSON, valid only during the call.
#[expect(non_camel_case_types, reason = "C names")]
pub type ldap_sync_sink = Option<unsafe extern "C" fn(context: *mut c_void, utf8: *const c_char, length: usize)>;

/// What the PBX gives at open. Any callback may be NULL.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ldap_sync_host {
    /// `LDAP_SYNC_ABI_VERSION` the host was built with.
    pub abi_version: u32,
    /// `sizeof(ldap_sync_host)`: smaller than version 1's is refused, larger accepted.
    pub size: u32,
    /// Handed back unchanged to every callback.
    pub context: *mut c_void,
    /// One line of the log; level 1 error, 2 warning, 3 information, 4 debug, 5 trace.
    pub log: Option<unsafe extern "C" fn(context: *mut c_void, level: i32, utf8: *const c_char, length: usize)>,
    /// A JSON array of model events as the PBX itself publishes them; 0 means delivered, anything else: retried later.
    pub announce: Option<unsafe extern "C" fn(context: *mut c_void, json: *const c_char, length: usize) -> i32>,
    /// Progress of a run as JSON: runId, phase, done, total, rate, etaSeconds.
    pub progress: Option<unsafe extern "C" fn(context: *mut c_void, json: *const c_char, length: usize)>,
    /// Takes the PBX's own write mutex, waiting at most `timeout_ms` milliseconds; 0 means held, anything else: busy.
    pub begin_write: Option<unsafe extern "C" fn(context: *mut c_void, timeout_ms: u32) -> i32>,
    /// Releases the mutex that `begin_write` took.
    pub end_write: Option<unsafe extern "C" fn(context: *mut c_void)>,
    /// Unix time in milliseconds; the system clock is used when NULL.
    pub now: Option<unsafe extern "C" fn(context: *mut c_void) -> i64>,
}

unsafe extern "C" {
    /// The ABI version of the library.
    pub fn ldap_sync_abi_version() -> u32;

    /// Opens the module. `config_json`: `{"moduleDir": "...", "pbxDatabase": "...", "mediaDir": "..."}`.
    /// On success `*out` is the handle; otherwise it is NULL. Why it failed goes to the host's log.
    pub fn ldap_sync_open(
        host: *const ldap_sync_host,
        config_json: *const c_char,
        length: usize,
        out: *mut *mut ldap_sync_module,
    ) -> i32;

    /// Hook "module install": creates or migrates the module's own database and its key.
    pub fn ldap_sync_install(module: *mut ldap_sync_module, sink: ldap_sync_sink, context: *mut c_void) -> i32;

    /// Hook "module uninstall". With `keep_settings` not 0 the module's database stays for the next install.
    pub fn ldap_sync_uninstall(
        module: *mut ldap_sync_module,
        keep_settings: i32,
        sink: ldap_sync_sink,
        context: *mut c_void,
    ) -> i32;

    /// Hook "worker tick": does what is due and returns.
    pub fn ldap_sync_worker_tick(module: *mut ldap_sync_module, sink: ldap_sync_sink, context: *mut c_void) -> i32;

    /// Hook "config save": checks and stores the settings of one server; answers the saved server.
    pub fn ldap_sync_config_save(
        module: *mut ldap_sync_module,
        json: *const c_char,
        length: usize,
        sink: ldap_sync_sink,
        context: *mut c_void,
    ) -> i32;

    /// Hook "PBX-side edits": takes an array of model events, keeps them and returns at once.
    pub fn ldap_sync_models_changed(
        module: *mut ldap_sync_module,
        json: *const c_char,
        length: usize,
        sink: ldap_sync_sink,
        context: *mut c_void,
    ) -> i32;

    /// Serves one action of the admin page. `action` is NUL-terminated; `json` may be NULL with length 0.
    pub fn ldap_sync_request(
        module: *mut ldap_sync_module,
        action: *const c_char,
        json: *const c_char,
        length: usize,
        sink: ldap_sync_sink,
        context: *mut c_void,
    ) -> i32;

    /// Closes the handle, also a poisoned one. NULL is ignored.
    pub fn ldap_sync_close(module: *mut ldap_sync_module);
}
