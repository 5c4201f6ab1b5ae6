//! What an open module keeps between the worker's ticks, so that an idle one costs next to nothing: the connections to
//! the PBX's database and to the directories, when each server was looked at, and until when there is nothing to do.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use directory::LdapDirectory;
use secrecy::{ExposeSecret, SecretString};
use sync_core::pbx::Pbx;

use crate::settings::Settings;

/// How often the database is told that a server was looked at, in milliseconds; the process remembers every time.
const NOTED_EVERY: i64 = 10 * 60 * 1000;
/// Doublings of the interval after failures, at most.
const MOST_DOUBLINGS: u32 = 4;
/// No interval is made longer than this by failures, in milliseconds.
const LONGEST_WAIT: i64 = 10 * 60 * 1000;

/// What is kept. Calls take things out, use them, and put them back.
#[derive(Debug, Default)]
pub(crate) struct Kept(Mutex<Inside>);

#[derive(Debug, Default)]
struct Inside {
    pbx: Option<Pbx>,
    directories: BTreeMap<i64, (u64, LdapDirectory)>,
    looks: BTreeMap<i64, Look>,
    journal: String,
    /// From when until when there is nothing to do.
    resting: Option<(i64, i64)>,
}

/// When a server was looked at by this process.
#[derive(Clone, Copy, Debug, Default)]
struct Look {
    at: i64,
    noted: i64,
    failures: u32,
}

impl Kept {
    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection to the PBX's database, unless another file has taken its place.
    pub(crate) fn take_pbx(&self) -> Option<Pbx> {
        self.inside().pbx.take().filter(Pbx::is_current)
    }

    /// Keeps the connection to the PBX's database.
    pub(crate) fn put_pbx(&self, pbx: Pbx) {
        self.inside().pbx = Some(pbx);
    }

    /// A server's directory, as long as it is spoken to in the same way.
    pub(crate) fn take_directory(&self, server_id: i64, digest: u64) -> Option<LdapDirectory> {
        let (kept, directory) = self.inside().directories.remove(&server_id)?;
        (kept == digest).then_some(directory)
    }

    /// Keeps a server's directory.
    pub(crate) fn put_directory(&self, server_id: i64, digest: u64, directory: LdapDirectory) {
        self.inside().directories.insert(server_id, (digest, directory));
    }

    /// Lets go of everything.
    pub(crate) fn forget(&self) {
        *self.inside() = Inside::default();
    }

    /// Notes that a server is looked at; whether the database should be told.
    pub(crate) fn look(&self, server_id: i64, now: i64) -> bool {
        let mut inside = self.inside();
        let look = inside.looks.entry(server_id).or_default();
        look.at = now;
        let tell = look.noted == 0 || look.noted > now || now - look.noted >= NOTED_EVERY;
        if tell {
            look.noted = now;
        }
        tell
    }

    /// Notes how a look has ended.
    pub(crate) fn looked(&self, server_id: i64, failed: bool) {
        let mut inside = self.inside();
        let look = inside.looks.entry(server_id).or_default();
        look.failures = if failed { look.failures.saturating_add(1) } else { 0 };
    }

    /// When this process looked at a server last; 0 is never. A time in the future is none.
    pub(crate) fn looked_at(&self, server_id: i64, now: i64) -> i64 {
        self.inside().looks.get(&server_id).map(|look| look.at).filter(|at| *at <= now).unwrap_or_default()
    }

    /// Whether the last look failed.
    pub(crate) fn has_failed(&self, server_id: i64) -> bool {
        self.inside().looks.get(&server_id).is_some_and(|look| look.failures > 0)
    }

    /// How long to wait after the last look, in milliseconds: a server that fails is asked less and less often, up to
    /// every ten minutes, so that a password that is wrong now does not lock the account.
    pub(crate) fn wait(&self, server_id: i64, interval: i64) -> i64 {
        let failures = self.inside().looks.get(&server_id).map_or(0, |look| look.failures);
        let doubled = interval.saturating_mul(1 << failures.saturating_sub(1).min(MOST_DOUBLINGS));
        doubled.min(LONGEST_WAIT.max(interval))
    }

    /// Until when there is nothing to do, if the module's database is what it was when that was found out.
    pub(crate) fn rests_until(&self, database: &Path, now: i64) -> Option<i64> {
        let inside = self.inside();
        // A clock that was set back is no reason to rest.
        let (_, until) = inside.resting.filter(|(since, until)| (*since..*until).contains(&now))?;
        (inside.journal == file_state(database)).then_some(until)
    }

    /// Notes until when there is nothing to do. It counts from the second time on: had the database been written to just
    /// before the first, a further write could have left it with the same time.
    pub(crate) fn rest(&self, database: &Path, now: i64, until: Option<i64>) {
        let state = file_state(database);
        let mut inside = self.inside();
        inside.resting = until.filter(|_| inside.journal == state).map(|until| (now, until));
        inside.journal = state;
    }
}

/// Identity, size and time of a file.
fn file_state(path: &Path) -> String {
    let of = |file: fs::Metadata| format!("{} {} {} {}", file.ino(), file.len(), file.mtime(), file.mtime_nsec());
    fs::metadata(path).map(of).unwrap_or_default()
}

/// What tells one way of speaking to a directory from another.
pub(crate) fn digest(settings: &Settings, password: &SecretString) -> u64 {
    let mut hasher = DefaultHasher::new();
    serde_json::to_string(settings).unwrap_or_default().hash(&mut hasher);
    password.expose_secret().hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_fails_is_asked_less_often() {
        let kept = Kept::default();
        assert_eq!(kept.wait(1, 60_000), 60_000);
        let waits: Vec<i64> = (0..7)
            .map(|_| {
                kept.looked(1, true);
                kept.wait(1, 60_000)
            })
            .collect();
        assert_eq!(waits, [60_000, 120_000, 240_000, 480_000, 600_000, 600_000, 600_000]);
        assert_eq!(kept.wait(1, 3_600_000), 3_600_000, "a long interval is not made longer");
        assert!(kept.has_failed(1));
        kept.looked(1, false);
        assert_eq!((kept.wait(1, 60_000), kept.has_failed(1)), (60_000, false));
    }

    #[test]
    fn the_database_hears_of_a_look_at_first_and_every_ten_minutes() {
        let kept = Kept::default();
        let told: Vec<bool> = [1_000, 61_000, 601_000, 602_000, 500].map(|now| kept.look(1, now)).to_vec();
        assert_eq!(told, [true, false, true, false, true]);
        assert_eq!((kept.looked_at(1, 1_000), kept.looked_at(1, 100), kept.looked_at(2, 1_000)), (500, 0, 0));
    }

    #[test]
    fn rest_ends_with_the_time_or_with_a_write() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("module.db");
        fs::write(&file, "1").unwrap();
        let kept = Kept::default();
        kept.rest(&file, 40, Some(100));
        assert_eq!(kept.rests_until(&file, 50), None, "at first it is not sure");
        kept.rest(&file, 40, Some(100));
        assert_eq!(kept.rests_until(&file, 50), Some(100));
        assert_eq!(kept.rests_until(&file, 30), None, "the clock was set back");
        assert_eq!(kept.rests_until(&file, 100), None);
        fs::write(&file, "22").unwrap();
        assert_eq!(kept.rests_until(&file, 50), None);
    }
}
