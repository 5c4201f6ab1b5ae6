//! MikoPBX's write mutex: a key in Redis that its own saves take too, and that expires by itself when a process dies.

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use redis::{Connection, RedisError, RedisResult};

/// The key, in database 1, as MikoPBX's Redis client names it.
pub const KEY: &str = "_PH_REDIS_CLIENT:mutex:db-write";

/// The number of the database.
pub const DATABASE: u8 = 1;

/// Seconds after which Redis forgets a holder that does not renew.
const EXPIRY: u64 = 30;

/// How often a holder renews.
const RENEWAL: Duration = Duration::from_secs(10);

/// How long to wait between two attempts.
const PAUSE: Duration = Duration::from_millis(20);

/// How long connecting and one answer may take; Redis runs on the same machine.
const PATIENCE: Duration = Duration::from_secs(2);

/// Deletes the key if it still holds our token; answers how many keys went.
const RELEASE: &str = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0";

/// Lets our token live on; answers 0 when the key is no longer ours.
const RENEW: &str =
    "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('EXPIRE', KEYS[1], ARGV[2]) end return 0";

/// Connects to database `database` of the Redis at `address`, `host:port`.
pub fn connect(address: &str, database: u8) -> RedisResult<Connection> {
    let client = redis::Client::open(format!("redis://{address}/{database}"))?;
    let connection = client.get_connection_with_timeout(PATIENCE)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.set_write_timeout(Some(PATIENCE))?;
    Ok(connection)
}

/// The mutex.
pub struct WriteMutex {
    address: String,
    connection: Mutex<Option<Connection>>,
    held: Mutex<Option<Held>>,
}

/// A held mutex, which a thread renews until this is dropped.
struct Held {
    token: String,
    /// Dropped first: that ends the thread.
    end: Option<Sender<()>>,
    renewal: Option<JoinHandle<()>>,
}

impl WriteMutex {
    /// The mutex in the Redis at `address`, `host:port`.
    pub fn new(address: &str) -> WriteMutex {
        WriteMutex { address: address.to_owned(), connection: Mutex::default(), held: Mutex::default() }
    }

    /// Takes the mutex, waiting no longer than `timeout`; true when held. The error says that there can be no mutex.
    #[expect(clippy::disallowed_methods, reason = "waiting for the write mutex belongs to the host")]
    pub fn acquire(&self, timeout: Duration) -> Result<bool, String> {
        let start = Instant::now();
        let token = token()?;
        loop {
            if self.attempt(&token).map_err(|error| error.to_string())? {
                *unpoisoned(&self.held) = Some(Held::new(token, &self.address)?);
                return Ok(true);
            }
            if start.elapsed() >= timeout {
                return Ok(false);
            }
            thread::sleep(PAUSE);
        }
    }

    /// Releases the mutex; nothing happens when it is not held. The error says that it was lost before, or that it
    /// stays until it expires.
    pub fn release(&self) -> Result<(), String> {
        let Some(held) = unpoisoned(&self.held).take() else { return Ok(()) };
        let token = held.token.clone();
        drop(held);
        match self.ask(|redis| redis::cmd("EVAL").arg(RELEASE).arg(1).arg(KEY).arg(&token).query::<u64>(redis)) {
            Ok(0) => Err("the write mutex was lost while it was held: somebody else may have written meanwhile".into()),
            Ok(_) => Ok(()),
            Err(error) => Err(format!("the write mutex stays until it expires, at most {EXPIRY} s: {error}")),
        }
    }

    fn attempt(&self, token: &str) -> RedisResult<bool> {
        let answer = self.ask(|redis| {
            let mut set = redis::cmd("SET");
            set.arg(KEY).arg(token).arg("NX").arg("EX").arg(EXPIRY).query::<Option<String>>(redis)
        })?;
        Ok(answer.is_some())
    }

    /// Asks Redis; a connection that broke since the last question is made again, once.
    fn ask<T>(&self, question: impl Fn(&mut Connection) -> RedisResult<T>) -> RedisResult<T> {
        let mut slot = unpoisoned(&self.connection);
        if let Some(connection) = slot.as_mut() {
            match question(connection) {
                Err(error) if is_broken(&error) => *slot = None,
                answer => return answer,
            }
        }
        let connection = slot.insert(connect(&self.address, DATABASE)?);
        question(connection)
    }
}

impl Drop for WriteMutex {
    fn drop(&mut self) {
        // What cannot be released now expires.
        let _ = self.release();
    }
}

impl Held {
    fn new(token: String, address: &str) -> Result<Held, String> {
        let (end, ended) = mpsc::channel();
        let (renewed, address) = (token.clone(), address.to_owned());
        let renewal = thread::Builder::new()
            .name("write mutex".to_owned())
            .spawn(move || {
                while ended.recv_timeout(RENEWAL) == Err(RecvTimeoutError::Timeout) {
                    renew(&address, &renewed);
                }
            })
            .map_err(|error| format!("no thread can be started: {error}"))?;
        Ok(Held { token, end: Some(end), renewal: Some(renewal) })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(renewal) = self.renewal.take() {
            // It catches no panic of its own, and a panic there changes nothing here.
            let _ = renewal.join();
        }
    }
}

fn renew(address: &str, token: &str) {
    let renewed = connect(address, DATABASE).and_then(|mut redis| {
        redis::cmd("EVAL").arg(RENEW).arg(1).arg(KEY).arg(token).arg(EXPIRY).query::<u64>(&mut redis)
    });
    match renewed {
        Ok(0) => log::error!("the write mutex was lost while it was held"),
        Ok(_) => log::debug!("the write mutex was renewed"),
        Err(error) => log::error!("the write mutex cannot be renewed: {error}"),
    }
}

/// 32 hexadecimal digits, as MikoPBX's own tokens are.
fn token() -> Result<String, String> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).map_err(|error| format!("the system gives no random bytes: {error}"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn is_broken(error: &RedisError) -> bool {
    error.is_io_error() || error.is_connection_dropped() || error.is_timeout()
}

/// The value of a mutex, also after a panic elsewhere: every value kept here is whole at any time.
fn unpoisoned<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
