//! The stretch of wire between the network and the LDAP library.
//!
//! Every message passes through here: the server's are checked before the library decodes them, and answers are matched
//! with the requests they belong to. What a search finds does not go through the library, which would take several times
//! longer to decode it than the server to send it: it waits here for whoever searches, and no more of it than fits into
//! bounded memory.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::Notify;

use crate::framing::{self, Frame, FrameError, operation};

/// Bytes of what searches found that may wait for their consumers.
const MAX_WAITING: usize = 8 << 20;
/// Bytes that an item takes besides its message, about.
const ITEM: usize = 128;
/// Read buffer of each direction.
const BUFFER: usize = 64 << 10;

/// Why the connection came to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The server closed it.
    Closed,
    /// The network broke it; the operating system's words.
    Broken(String),
    /// The server said goodbye (RFC 4511, 4.4.1); its words.
    Disconnected(String),
    /// The server answered in TLS to plain LDAP.
    TlsRecord,
    /// The server broke the protocol; the text says how.
    Malformed(String),
}

/// What a server sends before the result of a search.
#[derive(Clone, Debug)]
pub(crate) enum Item {
    /// A message that holds an entry (RFC 4511, 4.5.2).
    Entry(Bytes),
    /// An intermediate message (RFC 4511, 4.13).
    Intermediate(Bytes),
}

impl Item {
    /// Bytes it takes while it waits, about.
    fn size(&self) -> usize {
        match self {
            Item::Entry(message) | Item::Intermediate(message) => ITEM + message.len(),
        }
    }
}

/// What both sides of the relay know.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    failure: Mutex<Option<Failure>>,
    waiting: Mutex<Waiting>,
    room: Notify,
    /// Whether the server has answered anything.
    pub answered: AtomicBool,
    /// Search references ignored so far.
    pub references: AtomicU64,
    /// Entries too large to take, read past.
    pub oversized: AtomicU64,
}

/// What was found and not yet taken, by the message id of the search.
#[derive(Debug, Default)]
struct Waiting {
    searches: HashMap<i32, Found>,
    total: usize,
}

/// What one search has found.
#[derive(Debug, Default)]
struct Found {
    items: VecDeque<Item>,
    /// Told of each of them.
    more: Arc<Notify>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// Why the connection ended, if it did.
    pub(crate) fn failure(&self) -> Option<Failure> {
        lock(&self.failure).clone()
    }

    /// Keeps the first reason given.
    fn fail(&self, failure: Failure) {
        lock(&self.failure).get_or_insert(failure);
    }

    /// Keeps an item for the search `id`, as soon as there is room for it.
    async fn keep(&self, id: i32, item: Item) {
        let size = item.size();
        loop {
            {
                let mut waiting = lock(&self.waiting);
                if waiting.total == 0 || waiting.total + size <= MAX_WAITING {
                    waiting.total += size;
                    let found = waiting.searches.entry(id).or_default();
                    found.items.push_back(item);
                    found.more.notify_one();
                    return;
                }
            }
            self.room.notified().await;
        }
    }

    /// What is told of each item of the search `id`.
    pub(crate) fn more(&self, id: i32) -> Arc<Notify> {
        Arc::clone(&lock(&self.waiting).searches.entry(id).or_default().more)
    }

    /// The next item of the search `id`.
    pub(crate) fn take(&self, id: i32) -> Option<Item> {
        let mut waiting = lock(&self.waiting);
        let item = waiting.searches.get_mut(&id)?.items.pop_front()?;
        waiting.total -= item.size();
        self.room.notify_one();
        Some(item)
    }

    /// Forgets a search that has ended.
    pub(crate) fn forget(&self, id: i32) {
        let mut waiting = lock(&self.waiting);
        let left = waiting.searches.remove(&id).unwrap_or_default();
        waiting.total -= left.items.iter().map(Item::size).sum::<usize>();
        self.room.notify_one();
    }
}

/// Requests under way: message id and operation.
type Pending = Mutex<HashMap<i32, u8>>;

/// Carries messages between the server and the LDAP library until either side ends.
pub(crate) async fn run<S: AsyncRead + AsyncWrite + Send>(server: S, library: UnixStream, shared: &Shared) {
    let (from_server, mut to_server) = tokio::io::split(server);
    let (from_library, mut to_library) = library.into_split();
    let pending = Pending::default();
    let mut from_server = BufReader::with_capacity(BUFFER, from_server);
    let mut from_library = BufReader::with_capacity(BUFFER, from_library);
    tokio::select! {
        () = requests(&mut from_library, &mut to_server, &pending) => (),
        () = answers(&mut from_server, &mut to_library, &pending, shared) => (),
    }
}

async fn requests<R, W>(from: &mut R, to: &mut W, pending: &Pending)
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    while let Ok(Frame::Message(message)) = framing::read_frame(from).await {
        if let Ok((id, kind)) = framing::request_kind(&message) {
            lock(pending).insert(id, kind);
        }
        let sent = async {
            to.write_all(&message).await?;
            to.flush().await
        };
        if let Err(error) = sent.await {
            // What the server said before it closed explains more than the broken pipe: the other direction reports it.
            log::debug!("sending to the directory server failed: {error}");
            std::future::pending::<()>().await;
        }
    }
    // The library is done: say so to the server as well. Nothing depends on the outcome.
    let _ = to.shutdown().await;
}

async fn answers<R, W>(from: &mut R, to: &mut W, pending: &Pending, shared: &Shared)
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    loop {
        let frame = match framing::read_frame(from).await {
            Ok(frame) => frame,
            Err(error) => return shared.fail(failure_of(error)),
        };
        let message = match frame {
            Frame::Message(message) => message,
            Frame::Skipped(size) => {
                log::warn!("an entry of {size} bytes was left out");
                shared.oversized.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            Frame::End => return shared.fail(Failure::Closed),
        };
        shared.answered.store(true, Ordering::Relaxed);
        match admit(&message, pending, shared) {
            Err(failure) => return shared.fail(failure),
            Ok(Passage::Drop) => (),
            Ok(Passage::Entry(id)) => shared.keep(id, Item::Entry(message.into())).await,
            Ok(Passage::Intermediate(id)) => shared.keep(id, Item::Intermediate(message.into())).await,
            Ok(Passage::Result) if to.write_all(&message).await.is_err() => return,
            Ok(Passage::Result) => (),
        }
    }
}

fn failure_of(error: FrameError) -> Failure {
    match error {
        FrameError::Io(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Failure::Closed,
        FrameError::Io(error) => Failure::Broken(error.to_string()),
        FrameError::TlsRecord => Failure::TlsRecord,
        FrameError::Malformed(text) => Failure::Malformed(text),
    }
}

enum Passage {
    /// Found by the search with this message id.
    Entry(i32),
    /// Said about the search with this message id.
    Intermediate(i32),
    Result,
    Drop,
}

/// Decides what happens to a message of the server.
fn admit(message: &[u8], pending: &Pending, shared: &Shared) -> Result<Passage, Failure> {
    let answer = framing::check_answer(message).map_err(|text| Failure::Malformed(text.to_owned()))?;
    if answer.id == 0 {
        let (code, text) = answer.result.unwrap_or_default();
        return Err(Failure::Disconnected(format!("result code {code}, \"{}\"", text.trim())));
    }
    let mut pending = lock(pending);
    let Some(request) = pending.get(&answer.id).copied() else {
        log::debug!("an answer to no request of ours was ignored");
        return Ok(Passage::Drop);
    };
    match (request, answer.operation) {
        (operation::SEARCH, operation::SEARCH_ENTRY) => Ok(Passage::Entry(answer.id)),
        (operation::SEARCH, operation::SEARCH_REFERENCE) => {
            shared.references.fetch_add(1, Ordering::Relaxed);
            Ok(Passage::Drop)
        }
        (operation::SEARCH, operation::INTERMEDIATE) => Ok(Passage::Intermediate(answer.id)),
        (_, operation::INTERMEDIATE) => Ok(Passage::Drop),
        (operation::SEARCH, operation::SEARCH_DONE)
        | (operation::BIND, operation::BIND_ANSWER)
        | (operation::MODIFY, operation::MODIFY_ANSWER)
        | (operation::EXTENDED, operation::EXTENDED_ANSWER) => {
            pending.remove(&answer.id);
            Ok(Passage::Result)
        }
        (request, answer) => Err(Failure::Malformed(format!("answer {answer} to request {request}"))),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn entries_wait_until_earlier_ones_are_consumed() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        runtime.block_on(async {
            let shared = Shared::default();
            let item = |size| Item::Entry(vec![0; size].into());
            let wait = Duration::from_millis(50);
            let passes = async |id, size| tokio::time::timeout(wait, shared.keep(id, item(size))).await.is_ok();
            assert!(passes(1, MAX_WAITING * 2).await, "a single large entry passes");
            assert!(!passes(2, 1).await, "nothing more passes meanwhile");
            assert!(shared.take(2).is_none());
            assert!(shared.take(1).is_some() && shared.take(1).is_none());
            assert!(passes(2, MAX_WAITING - 2 * ITEM - 1).await);
            assert!(passes(1, 1).await);
            assert!(!passes(1, 1).await);
            assert!(shared.take(2).is_some());
            assert!(passes(1, 1).await);
            assert!(passes(3, MAX_WAITING / 2).await && !passes(1, MAX_WAITING / 2).await);
            shared.forget(3);
            assert!(passes(1, MAX_WAITING / 2).await, "what an abandoned search has found makes room");
        });
    }
}
