//! The exported hooks: each a translation from C to one call of the plugin.

use std::ffi::{c_char, c_void};

use plugin_abi::{LDAP_SYNC_ABI_VERSION, ldap_sync_host, ldap_sync_module, ldap_sync_sink};

use crate::boundary::{Input, Reply, action_name, call, close, open};

/// The ABI version of the library.
#[unsafe(no_mangle)]
pub extern "C" fn ldap_sync_abi_version() -> u32 {
    LDAP_SYNC_ABI_VERSION
}

/// Opens the module; see `include/ldap_sync.h`.
///
/// # Safety
/// `host` points to a `ldap_sync_host` of at least the size it states, `config_json` to `length` bytes, `out` to a
/// pointer; each may be NULL, which is answered with INVALID_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ldap_sync_open(
    host: *const ldap_sync_host,
    config_json: *const c_char,
    length: usize,
    out: *mut *mut ldap_sync_module,
) -> i32 {
    // SAFETY: the caller's promises are those of `open`.
    unsafe { open(host, Input::new(config_json, length), out) }
}

/// Hook "module install".
///
/// # Safety
/// `sink` may be called with `context` during the call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ldap_sync_install(
    module: *mut ldap_sync_module,
    sink: ldap_sync_sink,
    context: *mut c_void,
) -> i32 {
    call(module, Reply::new(sink, context), |plugin| plugin.install())
}

/// Hook "module uninstall".
///
/// # Safety
/// `sink` may be called with `context` during the call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ldap_sync_uninstall(
    module: *mut ldap_sync_module,
    keep_settings: i32,
    sink: ldap_sync_sink,
    context: *mut c_void,
) -> i32 {
    call(module, Reply::new(sink, context), |plugin| plugin.uninstall(keep_settings != 0))
}

/// Hook "worker tick".
///
/// # Safety
/// `sink` may be called with `context` during the call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ldap_sync_worker_tick(
    module: *mut ldap_sync_module,
    sink: ldap_sync_sink,
    context: *mut c_void,
) -> i32 {
    call(module, Reply::new(sink, context), |plugin| plugin.worker_tick())
}

/// Hook "config save".
///
/// # Safety
/// `json` points to `length` bytes or is NULL; `sink` may be called with `context` during the call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ldap_sync_config_save(
    module: *mut ldap_sync_module,
    json: *const c_char,
    length: usize,
    sink: ldap_sync_sink,
    context: *mut c_void,
) -> i32 {
    // SAFETY: the caller lends `length` bytes for the time of the call.
    let body = unsafe { Input::new(json, length).json() };
    call(module, Reply::new(sink, context), |plugin| plugin.config_save(&body?))
}

/// Hook "PBX-side edits".
///
/// # Safety
/// `json` points to `length` bytes or is NULL; `sink` may be called with `context` during the call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ldap_sync_models_changed(
    module: *mut ldap_sync_module,
    json: *const c_char,
    length: usize,
    sink: ldap_sync_sink,
    context: *mut c_void,
) -> i32 {
    // SAFETY: the caller lends `length` bytes for the time of the call.
    let body = unsafe { Input::new(json, length).json() };
    call(module, Reply::new(sink, context), |plugin| plugin.models_changed(&body?))
}

/// Serves one action of the admin page.
///
/// # Safety
/// `action` is NUL-terminated or NULL, `json` points to `length` bytes or is NULL; `sink` may be called with `context`
/// during the call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ldap_sync_request(
    module: *mut ldap_sync_module,
    action: *const c_char,
    json: *const c_char,
    length: usize,
    sink: ldap_sync_sink,
    context: *mut c_void,
) -> i32 {
    // SAFETY: the caller lends a NUL-terminated name and `length` bytes for the time of the call.
    let (action, body) = unsafe { (action_name(action), Input::new(json, length).json()) };
    call(module, Reply::new(sink, context), |plugin| plugin.request(&action?, &body?))
}

/// Closes the handle.
///
/// # Safety
/// Any pointer is accepted: one that is not an open handle is ignored.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ldap_sync_close(module: *mut ldap_sync_module) {
    close(module);
}
