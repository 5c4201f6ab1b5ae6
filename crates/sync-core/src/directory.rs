//! What a directory is to the core: something that can be read as a whole and written value by value.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use crate::person::{AccountState, DirectoryEntry, DirectoryKey, Field};
use crate::recency::DirectoryTime;
use crate::vault::Vault;

/// How much of the directory a read covers. Only [`Coverage::Full`] proves that somebody is absent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Coverage {
    /// The search ended with success and every entry was understood.
    Full,
    /// Something is missing; the sentence says what.
    Partial(String),
}

/// Everything a read brought.
#[derive(Clone, Debug)]
pub struct DirectorySnapshot {
    /// The entries found, one per key, in the order of their keys.
    pub entries: Vec<Arc<DirectoryEntry>>,
    /// How much of the directory this is.
    pub coverage: Coverage,
    /// Linked people whom the search did not find, and who are in the directory all the same.
    pub elsewhere: BTreeMap<DirectoryKey, Elsewhere>,
    /// Sentences for the report: entries left out, odd values, which server answered.
    pub warnings: Vec<String>,
    /// The people who were asked for, where not everybody was: nothing is known of anybody else.
    pub asked: Option<BTreeSet<DirectoryKey>>,
    /// Where the directory has no [`Directory::mark`] of its own: what [`Directory::changed`] takes in its place.
    pub newest: Option<String>,
}

impl DirectorySnapshot {
    /// Whether whoever is not among the entries is known not to be found by the server's base and filter. An answer of
    /// nobody at all is never taken for everybody having left.
    pub fn tells_of_absence(&self) -> bool {
        self.coverage == Coverage::Full && (self.asked.is_some() || !self.entries.is_empty())
    }

    /// Whether this person was asked for.
    pub fn was_asked(&self, key: &DirectoryKey) -> bool {
        self.asked.as_ref().is_none_or(|asked| asked.contains(key))
    }
}

/// Up to where a directory is known: what is kept from one run to the next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// [`Directory::mark`], or [`DirectorySnapshot::newest`] in its place.
    pub mark: String,
    /// [`Directory::cookie`], or the one that came with the last answer to [`Directory::changed`].
    pub cookie: String,
}

/// Who may have changed since a position. Too many are named rather than too few.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changed {
    /// The directory cannot tell; the sentence says why. Everybody has to be read.
    Unknown(String),
    /// The directory can tell.
    Known {
        /// Who may have changed, or is gone.
        changed: BTreeSet<DirectoryKey>,
        /// Where the directory does not say who is gone: who is found, at least those who have not changed. Whoever is in
        /// neither set is not found by base and filter any more.
        present: Option<BTreeSet<DirectoryKey>>,
        /// Where to ask from the next time.
        position: Position,
    },
}

/// An entry outside the server's base or filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elsewhere {
    /// Its DN.
    pub dn: String,
    /// Account status.
    pub account: AccountState,
}

/// What the last run left that photos are fetched by.
#[derive(Clone, Debug, Default)]
pub struct KnownPhotos {
    /// Change marks: a photo is fetched only where the mark moved.
    pub marks: BTreeMap<DirectoryKey, String>,
    /// People who had a photo. When one of them brings none, those whose mark did not move tell whether the attribute can
    /// still be read at all.
    pub had: BTreeSet<DirectoryKey>,
}

/// What a read needs to know.
pub struct ReadRequest<'a> {
    /// Asked for once everybody is found, where photos are wanted. `None`: it cannot be told, and the read ends with
    /// [`DirectoryErrorKind::Cancelled`].
    pub photos: &'a dyn Fn() -> Option<Arc<KnownPhotos>>,
    /// Directory for the photos that arrive; files are named by MD5.
    pub spool: &'a Path,
    /// Only these people are read, as far as base and filter find them.
    pub only: Option<&'a BTreeSet<DirectoryKey>>,
    /// Takes the SIP secrets that arrive; the entries hold their fingerprints.
    pub vault: &'a Vault,
    /// Unix time in milliseconds.
    pub now: i64,
}

/// A value on its way into the directory. `Debug` tells its length only, since it may be a SIP secret or a photo.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct RawValue(pub Vec<u8>);

impl RawValue {
    /// A text.
    pub fn text(text: &str) -> RawValue {
        RawValue(text.as_bytes().to_vec())
    }

    /// Whether this is "no value": nothing, or white space alone.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(u8::is_ascii_whitespace)
    }
}

impl fmt::Debug for RawValue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} bytes", self.0.len())
    }
}

/// One value to be written to one entry by compare-and-set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryWrite {
    /// The entry.
    pub key: DirectoryKey,
    /// Its DN at the time of the read.
    pub dn: String,
    /// Its change mark at the time of the read.
    pub change_mark: String,
    /// The field; the directory knows the attribute mapped to it.
    pub field: Field,
    /// What is written over what.
    pub value: NewValue,
}

/// What is written over what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NewValue {
    /// A text, or a SIP secret.
    Text {
        /// The attribute's values at the time of the read, as the directory spells them.
        seen: Vec<RawValue>,
        /// The one of `seen` that is replaced; `None` adds the new value.
        replaces: Option<RawValue>,
        /// The new value; empty removes the one replaced.
        value: RawValue,
    },
    /// A photo.
    Photo {
        /// MD5 of the photo that is replaced, lower-case hex; empty where there must be none.
        replaces: String,
        /// The image; empty removes the one replaced.
        image: RawValue,
    },
}

/// What became of one write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteOutcome {
    /// The value stands in the directory. The entry's new change mark, when the server told it, else empty.
    Written {
        /// New change mark or empty.
        change_mark: String,
    },
    /// Somebody changed the entry since it was read; nothing was written.
    ChangedMeanwhile,
    /// The account may not write this attribute; the sentence names attribute and server.
    NoRights(String),
    /// The server refused the value or the entry is gone; the sentence says why.
    Refused(String),
}

/// A directory that can be read and written.
pub trait Directory {
    /// The cheapest question: a text that differs as soon as anything in the directory has changed. `None` where the
    /// server keeps no such thing.
    fn mark(&mut self) -> Result<Option<String>, DirectoryError>;

    /// What [`Directory::changed`] needs beside the mark, for asking what changes from now on; asked before everybody is
    /// read. Empty where the mark is enough.
    fn cookie(&mut self) -> Result<String, DirectoryError>;

    /// Who may have changed since `since`; `now` is Unix time in milliseconds.
    fn changed(&mut self, since: &Position, now: i64) -> Result<Changed, DirectoryError>;

    /// Reads everyone the server's filter finds. `progress` gets the number of entries so far after each page and may
    /// break off; the read then ends with [`DirectoryErrorKind::Cancelled`].
    fn read(
        &mut self,
        request: &ReadRequest<'_>,
        progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Result<DirectorySnapshot, DirectoryError>;

    /// Looks for entries by their identifiers in the whole directory, whatever the server's base and filter say. Whoever
    /// is not in the answer is not there, or not shown to the login.
    fn find(&mut self, keys: &[DirectoryKey], now: i64) -> Result<BTreeMap<DirectoryKey, Elsewhere>, DirectoryError>;

    /// When these fields of these entries were edited, as far as the directory tells; asked only about two-sided edits.
    fn edit_times(
        &mut self,
        wanted: &BTreeMap<DirectoryKey, BTreeSet<Field>>,
    ) -> Result<BTreeMap<(DirectoryKey, Field), DirectoryTime>, DirectoryError>;

    /// Writes values, pipelined over one connection; answers one outcome per write, in order. An error means that the
    /// connection failed; `done` was called, with the write's index, for every outcome that is certain. Photos that are
    /// overwritten are kept in `replaced_photos`, in files named by their MD5.
    fn write(
        &mut self,
        writes: &[DirectoryWrite],
        replaced_photos: &Path,
        done: &mut dyn FnMut(usize, &WriteOutcome),
    ) -> Result<(), DirectoryError>;
}

/// Why a directory could not be used: a sentence that names the server, what was tried and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct DirectoryError {
    /// What kind of failure, for code and tests.
    pub kind: DirectoryErrorKind,
    /// The sentence for the administrator; never a password.
    pub message: String,
}

/// Kinds of [`DirectoryError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DirectoryErrorKind {
    /// The settings cannot work (a filter that does not parse, a bad CA).
    Settings,
    /// No host answered.
    Unreachable,
    /// The TLS handshake failed or TLS and plain were mixed up.
    Tls,
    /// The certificate is not trusted; it can be shown and pinned.
    Certificate,
    /// Login or password refused, or the server wants encryption.
    SignIn,
    /// The base DN or organisational unit does not exist.
    Base,
    /// The server cut the answer (size, time or administrative limit).
    Limit,
    /// The server did not answer in time or closed the connection.
    Connection,
    /// The server's answer breaks the protocol.
    Malformed,
    /// Any other result code.
    Other,
    /// Broken off by the caller.
    Cancelled,
}
