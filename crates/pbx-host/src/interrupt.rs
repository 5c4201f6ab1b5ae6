//! Ctrl-C (SIGINT) and SIGTERM: the run under way is cancelled and the program ends in order; a second time it ends at
//! once, which a run survives like any other crash.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use serde_json::json;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::loader::Module;
use crate::services::RunningHost;

/// Exit status after the second signal: 128 and the number of SIGINT.
const ENDED_BY_SIGNAL: i32 = 130;

/// Knows whether the program was told to stop.
pub struct Interrupt {
    told: watch::Sender<bool>,
    stop: watch::Receiver<bool>,
    module: Arc<Module>,
    services: Arc<dyn RunningHost>,
}

impl Interrupt {
    /// Takes over the signals from now on.
    pub fn watch(module: Arc<Module>, services: Arc<dyn RunningHost>) -> io::Result<Arc<Interrupt>> {
        let runtime = single_thread()?;
        let (told, stop) = watch::channel(false);
        let guard = runtime.enter();
        let mut signals = Signals::listen()?;
        drop(guard);
        let interrupt = Arc::new(Interrupt { told, stop, module, services });
        let watching = Arc::clone(&interrupt);
        thread::Builder::new().name("signals".to_owned()).spawn(move || {
            runtime.block_on(signals.next());
            watching.stop();
            runtime.block_on(signals.next());
            watching.services.end_write();
            std::process::exit(ENDED_BY_SIGNAL);
        })?;
        Ok(interrupt)
    }

    /// Tells the program to stop, as the first signal does.
    pub fn stop(&self) {
        if !self.told.send_replace(true) {
            cancel(&self.module, &*self.services);
        }
    }

    /// Whether the program was told to stop.
    pub fn is_set(&self) -> bool {
        *self.stop.borrow()
    }

    /// Becomes true when the program is told to stop.
    pub fn receiver(&self) -> watch::Receiver<bool> {
        self.stop.clone()
    }

    /// Waits for `time`; true when the program was told to stop meanwhile.
    pub fn wait(&self, time: Duration) -> io::Result<bool> {
        let mut stop = self.stop.clone();
        let told =
            single_thread()?.block_on(async { tokio::time::timeout(time, stop.wait_for(|stop| *stop)).await.is_ok() });
        Ok(told)
    }
}

/// A runtime for one thread.
pub fn single_thread() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Signals> {
        Ok(Signals { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Cancels the run under way, if there is one.
pub fn cancel(module: &Module, services: &dyn RunningHost) {
    let Some(run_id) = services.current_run() else { return };
    log::warn!("stopping after the changes in hand; a second signal (Ctrl-C) stops at once");
    match module.request("cancel-run", json!({"runId": run_id}).to_string()) {
        Ok(answer) if answer.status == 0 => {}
        Ok(answer) => log::warn!("the run could not be cancelled: {}", answer.json),
        Err(error) => log::warn!("the run could not be cancelled: {error}"),
    }
}
