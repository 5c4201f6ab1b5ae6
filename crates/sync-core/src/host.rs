//! What the core asks of the program it runs in.

/// The host's services. The C boundary implements it over the callbacks of `ldap_sync_host`.
pub trait Host {
    /// Delivers a JSON array of model events to the PBX; false means: not delivered, try again later.
    fn announce(&self, events: &str) -> bool;

    /// Whether there is anybody to deliver events to. Where there is not, they wait without a word at each attempt.
    fn announces(&self) -> bool {
        true
    }

    /// Reports progress as JSON.
    fn progress(&self, json: &str);

    /// Takes the PBX's write mutex, waiting at most `timeout_ms` milliseconds; true when held.
    fn begin_write(&self, timeout_ms: u32) -> bool;

    /// Releases the PBX's write mutex.
    fn end_write(&self);

    /// Unix time in milliseconds.
    fn now(&self) -> i64;

    /// Waits for `ms` milliseconds, between two attempts to get a lock.
    fn pause(&self, ms: u32);
}
