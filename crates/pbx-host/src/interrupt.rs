//! Ctrl-C (SIGINT) and SIGTERM: the run under way is cancelled and the program ends in order; a second time it ends at
//! once, which a run survives like any other crash.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use pbx_host::loader::Module;
use pbx_host::services::Services;
use serde_json::json;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// Exit status after the second signal: 128 and the number of SIGINT.
const ENDED_BY_SIGNAL: i32 = 130;

/// Knows whether the program was told to stop.
pub(crate) struct Interrupt {
    stop: watch::Receiver<bool>,
}

impl Interrupt {
    /// Takes over the signals from now on.
    pub(crate) fn watch(module: Arc<Module>, services: Arc<Services>) -> Result<Interrupt> {
        let runtime = single_thread()?;
        let (told, stop) = watch::channel(false);
        let guard = runtime.enter();
        let mut signals = Signals::listen().context("cannot listen for Ctrl-C")?;
        drop(guard);
        thread::Builder::new().name("signals".to_owned()).spawn(move || {
            runtime.block_on(signals.next());
            told.send_replace(true);
            cancel(&module, &services);
            runtime.block_on(signals.next());
            std::process::exit(ENDED_BY_SIGNAL);
        })?;
        Ok(Interrupt { stop })
    }

    /// Whether the program was told to stop.
    pub(crate) fn is_set(&self) -> bool {
        *self.stop.borrow()
    }

    /// Becomes true when the program is told to stop.
    pub(crate) fn receiver(&self) -> watch::Receiver<bool> {
        self.stop.clone()
    }

    /// Waits for `time`; true when the program was told to stop meanwhile.
    pub(crate) fn wait(&self, time: Duration) -> Result<bool> {
        let mut stop = self.stop.clone();
        let told =
            single_thread()?.block_on(async { tokio::time::timeout(time, stop.wait_for(|stop| *stop)).await.is_ok() });
        Ok(told)
    }
}

/// A runtime for one thread.
pub(crate) fn single_thread() -> Result<Runtime> {
    Builder::new_current_thread().enable_all().build().context("cannot start the asynchronous runtime")
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

fn cancel(module: &Module, services: &Services) {
    let Some(run_id) = services.current_run() else { return };
    log::warn!("stopping after the changes in hand; once more Ctrl-C stops at once");
    match module.request("cancel-run", json!({"runId": run_id}).to_string()) {
        Ok(answer) if answer.status == 0 => {}
        Ok(answer) => log::warn!("the run could not be cancelled: {}", answer.json),
        Err(error) => log::warn!("the run could not be cancelled: {error}"),
    }
}
