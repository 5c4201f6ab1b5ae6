//! A client of beanstalkd, MikoPBX's queue of jobs, with what this program needs of its protocol
//! (`doc/protocol.txt` of beanstalkd).

use std::io::{self, BufRead, BufReader, Error, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// How long connecting and one answer may take; beanstalkd runs on the same machine.
const PATIENCE: Duration = Duration::from_secs(5);

/// Jobs sent before their answers are read.
const PIPELINE: usize = 100;

/// The largest job that is taken from a tube, bytes: beanstalkd's own default is 65535.
const LARGEST_JOB: usize = 16 * 1024 * 1024;

/// One connection.
pub struct Client {
    stream: BufReader<TcpStream>,
}

/// A reserved job: nobody else gets it until it is released, or its time to run is over.
#[derive(Debug, PartialEq, Eq)]
pub struct Job {
    /// For [`Client::delete`] and [`Client::release`].
    pub id: u64,
    /// What was put.
    pub body: Vec<u8>,
}

impl Client {
    /// Connects to `address`, `host:port`.
    pub fn connect(address: &str) -> io::Result<Client> {
        let mut last = Error::other("the name has no address");
        for address in address.to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, PATIENCE) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    stream.set_read_timeout(Some(PATIENCE))?;
                    stream.set_write_timeout(Some(PATIENCE))?;
                    return Ok(Client { stream: BufReader::new(stream) });
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Puts jobs into `tube`, in this order. After an error some of them may have been put.
    pub fn put(&mut self, tube: &str, bodies: &[String], time_to_run: Duration) -> io::Result<()> {
        self.send(format!("use {tube}\r\n").as_bytes())?;
        self.expect("USING")?;
        for lot in bodies.chunks(PIPELINE) {
            // The priority of MikoPBX's own jobs, without delay.
            let commands: String = lot
                .iter()
                .map(|body| format!("put 1024 0 {} {}\r\n{body}\r\n", time_to_run.as_secs(), body.len()))
                .collect();
            self.send(commands.as_bytes())?;
            for _ in lot {
                self.expect("INSERTED")?;
            }
        }
        Ok(())
    }

    /// Takes jobs from `tube` and no other from now on.
    pub fn watch_only(&mut self, tube: &str) -> io::Result<()> {
        self.send(format!("watch {tube}\r\n").as_bytes())?;
        self.expect("WATCHING")?;
        self.send(b"ignore default\r\n")?;
        self.expect("WATCHING").map(drop)
    }

    /// Waits for a job, whole seconds of at most `timeout`; `None` when none came.
    pub fn reserve(&mut self, timeout: Duration) -> io::Result<Option<Job>> {
        self.stream.get_ref().set_read_timeout(Some(timeout + PATIENCE))?;
        self.send(format!("reserve-with-timeout {}\r\n", timeout.as_secs()).as_bytes())?;
        let line = self.line()?;
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["RESERVED", id, length] => {
                let body = self.body(number(length, &line)?)?;
                Ok(Some(Job { id: number(id, &line)?, body }))
            }
            // DEADLINE_SOON: a job reserved by this connection has little time left; the caller finishes it first.
            ["TIMED_OUT" | "DEADLINE_SOON"] => Ok(None),
            _ => Err(unexpected(&line)),
        }
    }

    /// Ends a job that was done.
    pub fn delete(&mut self, id: u64) -> io::Result<()> {
        self.send(format!("delete {id}\r\n").as_bytes())?;
        self.expect("DELETED").map(drop)
    }

    /// Gives a job back, to be taken again after `delay`.
    pub fn release(&mut self, id: u64, delay: Duration) -> io::Result<()> {
        self.send(format!("release {id} 1024 {}\r\n", delay.as_secs()).as_bytes())?;
        self.expect("RELEASED").map(drop)
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// Reads an answer that begins with `word`.
    fn expect(&mut self, word: &str) -> io::Result<String> {
        let line = self.line()?;
        if line.split(' ').next() == Some(word) { Ok(line) } else { Err(unexpected(&line)) }
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.stream.by_ref().take(1024).read_line(&mut line)?;
        match line.strip_suffix("\r\n") {
            Some(line) => Ok(line.to_owned()),
            None if line.is_empty() => Err(Error::new(io::ErrorKind::UnexpectedEof, "the connection was closed")),
            None => Err(unexpected(&line)),
        }
    }

    fn body(&mut self, length: usize) -> io::Result<Vec<u8>> {
        if length > LARGEST_JOB {
            return Err(Error::other(format!("a job of {length} bytes is too large")));
        }
        let mut body = vec![0; length + 2];
        self.stream.read_exact(&mut body)?;
        body.truncate(length);
        Ok(body)
    }
}

fn number<T: std::str::FromStr>(text: &str, line: &str) -> io::Result<T> {
    text.parse().map_err(|_| unexpected(line))
}

fn unexpected(line: &str) -> Error {
    Error::other(format!("beanstalkd answered {:?}", line.trim_end()))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// A server that answers `answers`, whatever it is asked, and then closes.
    fn server(answers: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(answers.as_bytes()).unwrap();
            // The client closes when it has seen enough.
            let _ = stream.read_to_end(&mut Vec::new());
        });
        address
    }

    #[test]
    fn a_job_may_hold_line_ends() {
        let mut client = Client::connect(&server("RESERVED 7 4\r\na\r\nb\r\nTIMED_OUT\r\n")).unwrap();
        assert_eq!(client.reserve(Duration::ZERO).unwrap(), Some(Job { id: 7, body: b"a\r\nb".to_vec() }));
        assert_eq!(client.reserve(Duration::ZERO).unwrap(), None);
    }

    #[test]
    fn a_job_that_is_refused_is_an_error_with_the_servers_word() {
        let mut client = Client::connect(&server("USING t\r\nINSERTED 1\r\nJOB_TOO_BIG\r\n")).unwrap();
        let jobs = ["1".to_owned(), "2".to_owned()];
        let error = client.put("t", &jobs, Duration::from_secs(60)).unwrap_err().to_string();
        assert!(error.contains("JOB_TOO_BIG"), "{error}");
    }

    #[test]
    fn sizes_and_words_of_a_mad_server_are_refused() {
        for answer in ["RESERVED 1 99999999999\r\n", "RESERVED x 1\r\n", "HELLO\r\n", "no line end"] {
            let mut client = Client::connect(&server(answer)).unwrap();
            assert!(client.reserve(Duration::ZERO).is_err(), "{answer:?}");
        }
    }
}
