//! A host for tests: answers calls like `pbx-host calls`, and misbehaves at a chosen callback.
//!
//! `fault_host LIBRARY MODULE_DIR PBX_DATABASE MEDIA_DIR [ANNOUNCE_LOG]` reads calls from stdin. Environment:
//!
//! | variable | what it does |
//! |---|---|
//! | `FAULT_AT_CALLBACK=n` | kills this process with SIGKILL at the n-th callback of any kind, before it is carried out; 0 counts only and prints `{"callbacks":n}` at the end |
//! | `FAULT_BEGIN_WRITE_BUSY=n` | the first n attempts to take the write mutex answer busy |
//! | `FAULT_ANNOUNCE=1` | announcements are refused |
//! | `FAULT_NOW=ms` | the time stands still |
//! | `FAULT_CLOCK=path` | the time is what that file says, in milliseconds |

use std::env;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use log::Level;
use pbx_host::calls;
use pbx_host::loader::{Error, Module};
use pbx_host::services::{AnnounceLog, Announcer, HostServices, NobodyListens, Progress, Services};
use rustix::process::{Signal, getpid, kill_process};
use serde_json::json;

fn main() -> ExitCode {
    env_logger::Builder::new().filter_level(log::LevelFilter::Debug).parse_default_env().init();
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fault_host: {error:#}");
            let status = match error.downcast_ref::<Error>() {
                Some(Error::Open { status, .. }) => u8::try_from(*status).unwrap_or(1),
                _ => 70,
            };
            status.into()
        }
    }
}

fn run() -> Result<()> {
    let arguments: Vec<PathBuf> = env::args_os().skip(1).map(PathBuf::from).collect();
    let [library, module_dir, pbx_database, media_dir, announce_log @ ..] = &arguments[..] else {
        bail!("expected LIBRARY MODULE_DIR PBX_DATABASE MEDIA_DIR [ANNOUNCE_LOG]");
    };
    let host = Arc::new(FaultHost::from_environment(module_dir, announce_log.first().map(PathBuf::as_path))?);
    let config = json!({"moduleDir": module_dir, "pbxDatabase": pbx_database, "mediaDir": media_dir});
    let module = Module::open(library, Arc::clone(&host) as Arc<dyn HostServices>, &config.to_string())?;
    calls::drive(&module, io::stdin().lock(), io::stdout().lock())?;
    drop(module);
    if host.kill_at == Some(0) {
        println!("{}", json!({"callbacks": host.callbacks.load(Ordering::SeqCst)}));
    }
    Ok(())
}

/// The ordinary services with faults in front of them.
struct FaultHost {
    services: Services,
    callbacks: AtomicU64,
    kill_at: Option<u64>,
    busy_left: AtomicU64,
    refuses_announcements: bool,
    frozen_now: Option<i64>,
    clock: Option<PathBuf>,
}

impl FaultHost {
    fn from_environment(module_dir: &Path, announce_log: Option<&Path>) -> Result<FaultHost> {
        let announcer: Box<dyn Announcer> = match announce_log {
            Some(path) => Box::new(AnnounceLog::open(path).context("cannot open the announce log")?),
            None => Box::new(NobodyListens),
        };
        Ok(FaultHost {
            services: Services::new(module_dir, announcer, Progress::Off),
            callbacks: AtomicU64::new(0),
            kill_at: variable("FAULT_AT_CALLBACK")?,
            busy_left: AtomicU64::new(variable("FAULT_BEGIN_WRITE_BUSY")?.unwrap_or(0)),
            refuses_announcements: variable::<u64>("FAULT_ANNOUNCE")? == Some(1),
            frozen_now: variable("FAULT_NOW")?,
            clock: env::var_os("FAULT_CLOCK").map(PathBuf::from),
        })
    }

    /// Counts a callback; does not return from the one to die at.
    fn count(&self) {
        let now_at = self.callbacks.fetch_add(1, Ordering::SeqCst) + 1;
        if self.kill_at == Some(now_at) {
            // The signal is delivered to this process before the call returns.
            let killed = kill_process(getpid(), Signal::KILL);
            unreachable!("SIGKILL did not end this process: {killed:?}");
        }
    }
}

/// A number from the environment; a value that is none is an error, not a missing fault.
fn variable<T: std::str::FromStr>(name: &str) -> Result<Option<T>> {
    match env::var(name) {
        Ok(text) => match text.parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => bail!("{name}={text} is no number"),
        },
        Err(_) => Ok(None),
    }
}

impl HostServices for FaultHost {
    fn log(&self, level: Level, text: &str) {
        self.count();
        self.services.log(level, text);
    }

    fn announce(&self, events: &str) -> bool {
        self.count();
        !self.refuses_announcements && self.services.announce(events)
    }

    fn progress(&self, json: &str) {
        self.count();
        self.services.progress(json);
    }

    fn begin_write(&self, timeout: Duration) -> bool {
        self.count();
        let busy = self.busy_left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        busy.is_err() && self.services.begin_write(timeout)
    }

    fn end_write(&self) {
        self.count();
        self.services.end_write();
    }

    fn now(&self) -> i64 {
        self.count();
        let told = self.clock.as_ref().map(|file| std::fs::read_to_string(file).expect("the clock's file"));
        let told = told.map(|text| text.trim().parse().expect("the clock's file holds a number"));
        told.or(self.frozen_now).unwrap_or_else(|| self.services.now())
    }
}
