//! The worker: ticks, and the PBX's edits, until it is told to stop. MikoPBX's PHP worker starts it and holds its
//! standard input: when that closes, in whatever way the PHP worker ended, this program ends too.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use plugin_abi::status::ldap_sync_status::{LDAP_SYNC_BUSY, LDAP_SYNC_NOT_INSTALLED};

use super::config::PbxConfig;
use super::edits::{Edits, Taken};
use crate::envelope::Envelope;
use crate::interrupt::Interrupt;
use crate::loader::{Error, Module};

/// How often it is looked whether to stop.
const LOOK: Duration = Duration::from_millis(250);

/// When a tick is tried again that another process was in the way of.
const BUSY_AGAIN: Duration = Duration::from_secs(2);

/// How long to wait before beanstalkd is tried again.
const RECONNECT: Duration = Duration::from_secs(5);

/// Works until `interrupt` says to stop, or `input` ends. A library that breaks its ABI ends it with an error.
pub fn run(
    module: &Arc<Module>,
    config: &PbxConfig,
    interrupt: &Arc<Interrupt>,
    period: Duration,
    input: impl Read + Send + 'static,
) -> Result<(), Error> {
    end_with(input, Arc::clone(interrupt));
    let (wake, woken) = mpsc::channel();
    let (edits_module, edits_config, edits_interrupt) = (Arc::clone(module), config.clone(), Arc::clone(interrupt));
    let edits = thread::spawn(move || take_edits(&edits_module, &edits_config, &edits_interrupt, &wake));
    let result = tick_loop(module, interrupt, period, &woken);
    interrupt.stop();
    // A panic there was written to stderr already.
    let _ = edits.join();
    result
}

/// Stops when `input` ends; what comes in there means nothing.
fn end_with(mut input: impl Read + Send + 'static, interrupt: Arc<Interrupt>) {
    thread::spawn(move || {
        // An input that cannot be read has ended too.
        let _ = io::copy(&mut input, &mut io::sink());
        log::info!("the program that started this worker has ended it");
        interrupt.stop();
    });
}

fn tick_loop(module: &Module, interrupt: &Interrupt, period: Duration, woken: &Receiver<()>) -> Result<(), Error> {
    while !interrupt.is_set() {
        let pause = match tick(module)? {
            Ticked::Done => period,
            Ticked::Busy => BUSY_AGAIN.min(period),
        };
        wait(interrupt, pause, woken);
    }
    Ok(())
}

enum Ticked {
    Done,
    /// Somebody else synchronises at the moment.
    Busy,
}

fn tick(module: &Module) -> Result<Ticked, Error> {
    let answer = module.worker_tick()?;
    let status = answer.status;
    match Envelope::of(&answer) {
        _ if status == LDAP_SYNC_BUSY as i32 => return Ok(Ticked::Busy),
        Ok(envelope) if envelope.result => log::debug!("tick: {}", envelope.data),
        Ok(_) if status == LDAP_SYNC_NOT_INSTALLED as i32 => log::debug!("tick: the module is not installed"),
        Ok(envelope) => log::warn!("tick: {}", envelope.errors().join("; ")),
        Err(error) => log::error!("tick: {error}"),
    }
    Ok(Ticked::Done)
}

/// Waits for `pause`, until a tick is asked for, or until the worker is to stop.
fn wait(interrupt: &Interrupt, pause: Duration, woken: &Receiver<()>) {
    let start = Instant::now();
    while !interrupt.is_set() && start.elapsed() < pause {
        match woken.recv_timeout(LOOK) {
            Ok(()) => return while woken.try_recv().is_ok() {},
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                // The edits' thread has ended; ticks go on.
                let _ = interrupt.wait(pause.saturating_sub(start.elapsed()));
                return;
            }
        }
    }
}

fn take_edits(module: &Module, config: &PbxConfig, interrupt: &Interrupt, wake: &Sender<()>) {
    let mut told = false;
    while !interrupt.is_set() {
        let ended = Edits::connect(config).and_then(|mut edits| {
            told = false;
            while !interrupt.is_set() {
                note(edits.take(module)?, wake);
            }
            Ok(())
        });
        if let Err(error) = ended {
            if !told {
                log::warn!(
                    "edits made on the PBX are not heard of at the moment: beanstalkd at {}: {error}",
                    config.beanstalk
                );
            }
            told = true;
            let _ = interrupt.wait(RECONNECT);
        }
    }
}

fn note(taken: Taken, wake: &Sender<()>) {
    if taken.edits > 0 {
        log::debug!("{} edits made on the PBX were handed over", taken.edits);
    }
    if taken.wake {
        // The ticks may have ended meanwhile.
        let _ = wake.send(());
    }
}
