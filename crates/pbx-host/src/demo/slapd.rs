//! OpenLDAP's server as a private process for the demo: its own configuration and database in a temporary directory,
//! listening on the loopback address only.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::directory::Access;
use super::ldif;

/// Where Debian and its relatives install the server, its schema files and its modules.
const SLAPD: &str = "/usr/sbin/slapd";
const SCHEMA: &str = "/etc/ldap/schema";
const MODULES: &str = "/usr/lib/ldap";
/// Starts a program that is killed when the thread that started it ends (util-linux).
const SETPRIV: &str = "/usr/bin/setpriv";

/// How long the server may take until it answers.
const START_TIMEOUT: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(10);
/// How often another port is tried when the chosen one was taken in between.
const ATTEMPTS: usize = 3;

/// Why slapd did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SlapdError {
    /// There is no slapd where Debian installs it.
    #[error("{SLAPD} does not exist; install the package slapd, or use the embedded directory")]
    NotInstalled,
    /// A file or process of ours could not be made.
    #[error("slapd cannot be started: {what}: {source}")]
    System {
        /// What was tried.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// The entries are not LDIF.
    #[error("slapd cannot be given its entries: {0}")]
    Ldif(#[from] ldif::LdifError),
    /// The program ended with an error, or did not answer.
    #[error("{program} failed ({reason}): {output}")]
    Failed {
        /// `slapadd`, `slapcat` or `slapd`.
        program: &'static str,
        /// Its exit status, or what it did not do.
        reason: String,
        /// The end of what it printed.
        output: String,
    },
}

/// A running slapd. It is stopped and its files are deleted when dropped.
#[derive(Debug)]
pub struct Slapd {
    directory: TempDir,
    port: u16,
    version: String,
    keeper: Option<Keeper>,
}

impl Slapd {
    /// Whether slapd is installed.
    pub fn is_installed() -> bool {
        Path::new(SLAPD).exists()
    }

    /// Loads the entries of `ldif`, whose first entry is the suffix, and starts slapd on 127.0.0.1 and a free port.
    /// Returns when it answers.
    pub fn start(ldif: &str, access: &Access) -> Result<Slapd, SlapdError> {
        if !Slapd::is_installed() {
            return Err(SlapdError::NotInstalled);
        }
        let directory =
            tempfile::Builder::new().prefix("demo-slapd-").tempdir().map_err(system("making a directory"))?;
        let entries = ldif::parse_ldif(ldif)?;
        let suffix = entries.first().map_or("", |entry| entry.dn.as_str());
        prepare(directory.path(), suffix, &ldif::write_ldif(&entries), access)?;
        let version = version();
        let mut attempt = 1;
        loop {
            match Keeper::start(directory.path()) {
                Ok((keeper, port)) => return Ok(Slapd { directory, port, version, keeper: Some(keeper) }),
                Err(error) if attempt == ATTEMPTS => return Err(error),
                Err(error) => log::debug!("attempt {attempt} to start slapd: {error}"),
            }
            attempt += 1;
        }
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its name and version, for example `slapd 2.5.13`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// All entries as they are now, operational attributes and passwords included, as `slapcat` writes them.
    pub fn dump_ldif(&self) -> Result<String, SlapdError> {
        let configuration = self.directory.path().join("slapd.conf");
        let output = run_tool("slapcat", Command::new(SLAPD).arg("-Tcat").arg("-f").arg(configuration))?;
        Ok(String::from_utf8_lossy(&output).into_owned())
    }
}

impl Drop for Slapd {
    fn drop(&mut self) {
        // The process must have ended before its files go.
        drop(self.keeper.take());
    }
}

/// The thread that starts slapd and ends it. It lives as long as the process, because `setpriv --pdeathsig` watches
/// the thread, not the program, that started it.
#[derive(Debug)]
struct Keeper {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    fn start(directory: &Path) -> Result<(Keeper, u16), SlapdError> {
        let directory = directory.to_owned();
        let (stop, stopped) = mpsc::channel();
        let (report, started) = mpsc::channel();
        let keep = move || match spawn(&directory) {
            Ok((child, port)) => {
                // An error means that nobody waits for this server any more; it is stopped right away.
                let _ = report.send(Ok(port));
                // An error is the sender's end: there is never a message.
                let _ = stopped.recv();
                drop(child);
            }
            Err(error) => {
                let _ = report.send(Err(error));
            }
        };
        let thread = std::thread::Builder::new().name("demo-slapd".to_owned()).spawn(keep);
        let keeper = Keeper { stop: Some(stop), thread: Some(thread.map_err(system("starting a thread"))?) };
        let lost = |_| system("waiting for its thread")(io::Error::other("the thread ended"));
        let port = started.recv().map_err(lost)??;
        Ok((keeper, port))
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::warn!("the thread that keeps slapd ended by a panic");
        }
    }
}

/// Writes the configuration and loads the entries.
fn prepare(directory: &Path, suffix: &str, ldif: &str, access: &Access) -> Result<(), SlapdError> {
    fs::create_dir(directory.join("db")).map_err(system("making its database directory"))?;
    let configuration = directory.join("slapd.conf");
    fs::write(&configuration, slapd_conf(directory, suffix, access)).map_err(system("writing its configuration"))?;
    let entries = directory.join("entries.ldif");
    fs::write(&entries, ldif).map_err(system("writing its entries"))?;
    let mut slapadd = Command::new(SLAPD);
    run_tool("slapadd", slapadd.args(["-Tadd", "-q", "-f"]).arg(&configuration).arg("-l").arg(&entries))?;
    Ok(())
}

/// The service account may write its attributes and read without limit; others with a password may read.
fn slapd_conf(directory: &Path, suffix: &str, access: &Access) -> String {
    let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    let path = |name: &str| quoted(&directory.join(name).to_string_lossy());
    let service = quoted(&access.service_dn);
    let mut text = String::new();
    for schema in ["core", "cosine", "inetorgperson"] {
        let _ = writeln!(text, "include {SCHEMA}/{schema}.schema");
    }
    let _ = writeln!(text, "modulepath {MODULES}\nmoduleload back_mdb\npidfile {}", path("slapd.pid"));
    let _ = writeln!(text, "database mdb\nsuffix {}\ndirectory {}\nmaxsize 1073741824", quoted(suffix), path("db"));
    let _ = writeln!(text, "index objectClass,entryUUID,entryCSN,uid,mail eq");
    let _ = writeln!(text, "limits dn.exact={service} size=unlimited time=unlimited");
    let _ = writeln!(text, "access to attrs=userPassword by anonymous auth by * none");
    if !access.writable.is_empty() {
        let attributes = access.writable.join(",");
        let _ = writeln!(text, "access to attrs={attributes} by dn.exact={service} write by users read by * none");
    }
    let _ = writeln!(text, "access to * by users read by * none");
    text
}

/// Starts slapd on a free port and waits until it answers there.
fn spawn(directory: &Path) -> Result<(Process, u16), SlapdError> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
    let port = listener.map_err(system("finding a free port"))?.port();
    let log = directory.join("slapd.log");
    let output = File::create(&log).map_err(system("writing its log"))?;
    let child = command()
        .args(["-d", "0", "-h", &format!("ldap://127.0.0.1:{port}"), "-f"])
        .arg(directory.join("slapd.conf"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(output)
        .spawn()
        .map_err(system("starting the process"))?;
    let mut child = Process(child);
    let failed = |reason: String| SlapdError::Failed { program: "slapd", reason, output: tail(&log) };
    let deadline = Instant::now() + START_TIMEOUT;
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        child.exited()?.map_or(Ok(()), |status| Err(failed(status.to_string())))?;
        if Instant::now() > deadline {
            return Err(failed(format!("it did not answer within {} s", START_TIMEOUT.as_secs())));
        }
        pause();
    }
    // Somebody else may have taken the port; then ours has ended, or is about to.
    pause();
    child.exited()?.map_or(Ok(()), |status| Err(failed(status.to_string())))?;
    Ok((child, port))
}

/// slapd in the foreground, killed with the thread that starts it where that can be had.
fn command() -> Command {
    if Path::new(SETPRIV).exists() {
        let mut command = Command::new(SETPRIV);
        command.args(["--pdeathsig", "TERM", "--", SLAPD]);
        command
    } else {
        Command::new(SLAPD)
    }
}

/// The process, which is killed and waited for when dropped. Its database is deleted after that, so nothing is lost by
/// killing it.
struct Process(Child);

impl Process {
    fn exited(&mut self) -> Result<Option<ExitStatus>, SlapdError> {
        self.0.try_wait().map_err(system("watching the process"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Err(error) = self.0.kill().and_then(|()| self.0.wait()) {
            log::warn!("slapd (process {}) could not be stopped: {error}", self.0.id());
        }
    }
}

/// Runs slapadd or slapcat to its end and returns what it printed.
fn run_tool(program: &'static str, command: &mut Command) -> Result<Vec<u8>, SlapdError> {
    let output = command.stdin(Stdio::null()).output().map_err(system(&format!("running {program}")))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(SlapdError::Failed { program, reason: output.status.to_string(), output: last_lines(&text) })
}

/// `slapd 2.5.13` from what `slapd -VV` prints, `@(#) $OpenLDAP: slapd 2.5.13+dfsg-5 (...) $`.
fn version() -> String {
    let output = Command::new(SLAPD).arg("-VV").stdin(Stdio::null()).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stderr).into_owned()).unwrap_or_default();
    let digits = text.split_once("slapd ").map_or("", |(_, rest)| rest);
    let end = digits.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(digits.len());
    format!("slapd {}", &digits[..end]).trim_end().to_owned()
}

fn tail(log: &Path) -> String {
    fs::read_to_string(log).map(|text| last_lines(text.trim())).unwrap_or_default()
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(5)..].join(" / ")
}

#[expect(clippy::disallowed_methods, reason = "a process is waited for, which has no other sign of being ready")]
fn pause() {
    std::thread::sleep(POLL);
}

fn system(what: &str) -> impl FnOnce(io::Error) -> SlapdError {
    let what = what.to_owned();
    move |source| SlapdError::System { what, source }
}
