//! A server that stalls or dies in the middle of an answer: a TCP relay that passes on a number of bytes and then
//! does what the test wants.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};

/// What happens after the last byte that is passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// Nothing more comes, the connection stays open.
    Stall,
    /// The connection closes.
    Close,
}

/// Starts a relay to `target` that passes on `bytes` bytes of the server's answers per connection; answers its port.
/// The relay ends with the test process.
pub(crate) fn start(target: (String, u16), bytes: usize, then: Then) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let port = listener.local_addr().expect("a bound socket has an address").port();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            if let Ok(server) = TcpStream::connect((target.0.as_str(), target.1)) {
                relay(&client, &server, bytes, then);
            }
        }
    });
    port
}

/// A listener that accepts connections and never answers; gives its port.
pub(crate) fn silent() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let port = listener.local_addr().expect("a bound socket has an address").port();
    std::thread::spawn(move || {
        // Keeping the connections keeps them open.
        let _kept: Vec<TcpStream> = listener.incoming().flatten().collect();
    });
    port
}

fn relay(client: &TcpStream, server: &TcpStream, bytes: usize, then: Then) {
    let (mut from_client, mut to_server) = (copy(client), copy(server));
    let (mut from_server, mut to_client) = (copy(server), copy(client));
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from_client, &mut to_server);
        let _ = to_server.shutdown(Shutdown::Both);
    });
    let mut left = bytes;
    std::thread::spawn(move || {
        let mut buffer = [0; 1024];
        while let Ok(read) = from_server.read(&mut buffer) {
            let pass = read.min(left);
            if read == 0 || to_client.write_all(&buffer[..pass]).is_err() {
                let _ = to_client.shutdown(Shutdown::Both);
                return;
            }
            left -= pass;
            if pass < read && then == Then::Close {
                let _ = to_client.shutdown(Shutdown::Both);
                return;
            }
        }
    });
}

fn copy(stream: &TcpStream) -> TcpStream {
    stream.try_clone().expect("a socket can be shared by two threads")
}
