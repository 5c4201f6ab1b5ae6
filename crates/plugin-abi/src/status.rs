//! What a hook returns. Numbers are never reused; a retired one stays here as a comment.

/// Status codes of every hook.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(non_camel_case_types, reason = "C names")]
pub enum ldap_sync_status {
    /// Done; the answer's `result` is true.
    LDAP_SYNC_OK = 0,
    /// A pointer, the JSON, the action or a field is wrong; `messages.error` says which.
    LDAP_SYNC_INVALID_ARGUMENT = 1,
    /// The host was built for another version of this ABI.
    LDAP_SYNC_ABI_MISMATCH = 2,
    /// The module's database does not exist: call `ldap_sync_install` first.
    LDAP_SYNC_NOT_INSTALLED = 3,
    /// Another run is under way.
    LDAP_SYNC_BUSY = 4,
    /// Held, or not possible; the answer says why.
    LDAP_SYNC_REFUSED = 5,
    /// The PBX's database or the module's own cannot be used.
    LDAP_SYNC_DATABASE = 6,
    /// The directory cannot be used.
    LDAP_SYNC_DIRECTORY = 7,
    /// The run was cancelled; what it had done stays and is reported.
    LDAP_SYNC_CANCELLED = 8,
    /// An earlier call of this handle panicked: close it and open a new one.
    LDAP_SYNC_POISONED = 98,
    /// The library panicked; the panic is in the log and the handle is poisoned.
    LDAP_SYNC_PANIC = 99,
}
