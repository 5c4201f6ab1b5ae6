//! The two commands that MikoPBX's PHP starts.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use pbx_host::interrupt::Interrupt;
use pbx_host::loader::Module;
use pbx_host::mikopbx::config::PbxConfig;
use pbx_host::mikopbx::pbx::PbxServices;
use pbx_host::mikopbx::{call, worker};
use pbx_host::places;
use serde_json::json;

use crate::cli::{Global, PbxArgs};

/// `mikopbx-call`.
pub(crate) fn call(global: &Global, pbx: &PbxArgs, limit: Duration) -> Result<i32> {
    let inside = Inside::open(global, pbx)?;
    let _interrupt = inside.interrupt()?;
    call::run(inside.module, &inside.services, &inside.config, limit, io::stdin().lock(), io::stdout().lock())
        .context("the call cannot be read or its answer not be written")?;
    Ok(0)
}

/// `mikopbx-worker`.
pub(crate) fn work(global: &Global, pbx: &PbxArgs, tick: Duration) -> Result<i32> {
    let inside = Inside::open(global, pbx)?;
    let interrupt = inside.interrupt()?;
    worker::run(&inside.module, &inside.config, &interrupt, tick, io::stdin())?;
    Ok(0)
}

/// The module, opened inside MikoPBX.
struct Inside {
    module: Arc<Module>,
    services: Arc<PbxServices>,
    config: PbxConfig,
}

impl Inside {
    fn open(global: &Global, pbx: &PbxArgs) -> Result<Inside> {
        let library = places::library(global.library.as_deref()).map_err(|error| anyhow!(error))?;
        let config = PbxConfig::read(&pbx.pbx_settings).map_err(|error| anyhow!(error))?;
        let services = Arc::new(PbxServices::new(&config, pbx.web_port));
        let places = json!({
            "moduleDir": config.module_dir, "pbxDatabase": config.database, "mediaDir": config.media_dir,
        });
        let module = Module::open(&library, Arc::clone(&services) as _, &places.to_string())?;
        Ok(Inside { module: Arc::new(module), services, config })
    }

    fn interrupt(&self) -> Result<Arc<Interrupt>> {
        Interrupt::watch(Arc::clone(&self.module), Arc::clone(&self.services) as _).context("cannot listen for signals")
    }
}
