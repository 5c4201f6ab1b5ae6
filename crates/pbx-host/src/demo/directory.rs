//! An LDAP directory inside the program, for the demo on machines without an LDAP server and for tests.
//!
//! It answers what the module asks of a directory as OpenLDAP would: simple binds, searches with every filter of RFC 4511
//! but extensible matches, simple paged results (RFC 2696), and modifications with assertion (RFC 4528) and post-read
//! (RFC 4527). Entries cannot be added, deleted or renamed, there is no TLS, and it listens on the loopback address only.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, oneshot};

use super::ldif::{self, Entry};
use super::session::{self, Answer, Session, Shared};
use super::store::Store;
use super::wire::{self, Response};

/// How many clients are served at a time; further ones wait.
const MAX_CLIENTS: usize = 64;

/// Who may change what.
#[derive(Clone, Debug)]
pub struct Access {
    /// The account that may write; everybody else with a password may only read.
    pub service_dn: String,
    /// The attributes it may write.
    pub writable: Vec<String>,
}

/// Why the embedded directory did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmbeddedError {
    /// The entries or the rights are unusable.
    #[error("the embedded directory cannot use its data: {0}")]
    Data(String),
    /// The address or the thread is not to be had.
    #[error("the embedded directory cannot listen on 127.0.0.1 port {port}; choose another port")]
    Listen {
        /// The port asked for, 0 for any.
        port: u16,
        /// What the system said.
        source: io::Error,
    },
}

/// A running embedded directory. It stops when dropped.
#[derive(Debug)]
pub struct EmbeddedDirectory {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl EmbeddedDirectory {
    /// Starts a directory with the entries of `ldif` on 127.0.0.1 and `port` (0: any free one), in a thread of its own.
    /// The first entry is the suffix. Passwords in `userPassword` are compared as they stand.
    pub fn start(ldif: &str, port: u16, access: &Access) -> Result<EmbeddedDirectory, EmbeddedError> {
        let store = Store::load(ldif, &session::now()).map_err(|error| EmbeddedError::Data(error.to_string()))?;
        let shared = Arc::new(Shared::new(store, access).map_err(EmbeddedError::Data)?);
        let failed = |source| EmbeddedError::Listen { port, source };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(failed)?;
        let (stop, stopped) = oneshot::channel();
        let serving = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("demo-directory".to_owned())
            .spawn(move || runtime.block_on(serve_until(listener, serving, stopped)))
            .map_err(failed)?;
        Ok(EmbeddedDirectory { address, shared, stop: Some(stop), thread: Some(thread) })
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// All entries as they are now, operational attributes and passwords included.
    pub fn entries(&self) -> Vec<Entry> {
        self.shared.store().entries().cloned().collect()
    }

    /// The same as LDIF.
    pub fn dump_ldif(&self) -> String {
        ldif::write_ldif(self.shared.store().entries())
    }
}

impl Drop for EmbeddedDirectory {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // An error means that the thread has ended already.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::warn!("the embedded directory ended by a panic");
        }
    }
}

/// Serves until `stopped`; open sessions end with the runtime that this future runs on.
async fn serve_until(listener: TcpListener, shared: Arc<Shared>, stopped: oneshot::Receiver<()>) {
    tokio::select! {
        _ = stopped => {}
        error = serve(listener, shared) => log::error!("the embedded directory stopped: {error}"),
    }
}

/// Accepts clients; returns only when that is no longer possible.
async fn serve(listener: TcpListener, shared: Arc<Shared>) -> io::Error {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return error,
    };
    let places = Arc::new(Semaphore::new(MAX_CLIENTS));
    loop {
        let place = match Arc::clone(&places).acquire_owned().await {
            Ok(place) => place,
            Err(error) => return io::Error::other(error),
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let shared = Arc::clone(&shared);
                // A task of its own: whatever happens in a session, the others go on.
                tokio::spawn(async move {
                    if let Err(error) = talk(stream, &shared).await {
                        log::debug!("a session with the embedded directory ended: {error}");
                    }
                    drop(place);
                });
            }
            // The client was gone before it was accepted.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => return error,
        }
    }
}

async fn talk(mut stream: TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut session = Session::new(shared);
    loop {
        let message = match wire::read_message(&mut stream, session.message_limit()).await {
            Ok(Some(message)) => message,
            Ok(None) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                send(&mut stream, &[Response::disconnection(&error.to_string())]).await?;
                return Err(error);
            }
            Err(error) => return Err(error),
        };
        match session.answer(message) {
            Answer::Close => return Ok(()),
            Answer::Disconnect(notice) => return send(&mut stream, &[notice]).await,
            Answer::Send(responses) => send(&mut stream, &responses).await?,
        }
    }
}

async fn send(stream: &mut TcpStream, responses: &[Response]) -> io::Result<()> {
    let mut bytes = Vec::new();
    for response in responses {
        bytes.extend(response.encoded()?);
    }
    stream.write_all(&bytes).await
}
