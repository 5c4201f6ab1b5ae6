//! One open module: its places, its hooks.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use log::{info, warn};
use plugin_abi::status::ldap_sync_status::*;
use serde::Deserialize;
use serde_json::{Value, json};
use sync_core::host::Host;
use sync_core::journal::{Journal, Paths, RunLock};

use crate::answer::{Answer, Failure};
use crate::host::Callbacks;
use crate::kept::Kept;
use crate::settings::Form;
use crate::{REVISION, VERSION, actions, runs, take_over};

/// Where things are, as the host says at open.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Places {
    /// The module's directory; ours is `db` in it.
    pub(crate) module_dir: PathBuf,
    /// The PBX's database.
    pub(crate) pbx_database: PathBuf,
    /// The PBX's media directory, with `avatars` in it.
    pub(crate) media_dir: PathBuf,
}

/// One open module.
pub(crate) struct Plugin {
    pub(crate) places: Places,
    pub(crate) host: Callbacks,
    pub(crate) kept: Kept,
    told_missing: AtomicBool,
}

impl Plugin {
    pub(crate) fn open(config: &Value, host: Callbacks) -> Result<Plugin, Failure> {
        let places = Places::deserialize(config)
            .map_err(|error| Failure::argument(format!("moduleDir, pbxDatabase and mediaDir are expected: {error}")))?;
        info!("module {VERSION} ({REVISION}) opened in {}", places.module_dir.display());
        Ok(Plugin { places, host, kept: Kept::default(), told_missing: AtomicBool::new(false) })
    }

    /// Opens the module's database.
    pub(crate) fn journal(&self) -> Result<Journal, Failure> {
        Ok(Journal::open(&self.places.module_dir)?)
    }

    /// Takes the run lock, which also separates processes.
    pub(crate) fn run_lock(&self) -> Result<RunLock, Failure> {
        let path = Paths::new(&self.places.module_dir).run_lock();
        RunLock::try_acquire(&path)?.ok_or_else(|| {
            Failure::new(LDAP_SYNC_BUSY, "another run is under way; wait until it has ended, or cancel it")
        })
    }

    /// Tells once what is missing without the callbacks that the host did not give.
    pub(crate) fn warn_of_missing_callbacks(&self) {
        if self.told_missing.swap(true, Ordering::SeqCst) {
            return;
        }
        if !self.host.guards_writes() {
            warn!("the host gave no write mutex: beside a running PBX its own saves can fail while this module writes");
        }
        if !self.host.announces() {
            warn!(
                "the host gave no way to announce changes: the PBX goes on with what it knew until a host that can \
                 announce them takes over"
            );
        }
    }

    pub(crate) fn install(&self) -> Result<Answer, Failure> {
        let mut journal = Journal::install(&self.places.module_dir)?;
        info!("installed: {}", journal.paths().database().display());
        let (taken_over, told) = take_over::take_over(&mut journal, self.host.now())?;
        Ok(Answer::new(json!({"installed": true, "version": VERSION, "takenOver": taken_over})).with_info(told))
    }

    pub(crate) fn uninstall(&self, keep_settings: bool) -> Result<Answer, Failure> {
        let paths = Paths::new(&self.places.module_dir);
        self.kept.forget();
        if paths.database().exists() {
            let _lock = self.run_lock()?;
            if !keep_settings {
                paths.remove()?;
                info!("uninstalled; nobody on the PBX or in the directory was changed");
            }
        }
        Ok(Answer::new(json!({"uninstalled": true, "settingsKept": keep_settings})))
    }

    pub(crate) fn worker_tick(&self) -> Result<Answer, Failure> {
        runs::tick(self)
    }

    pub(crate) fn config_save(&self, body: &Value) -> Result<Answer, Failure> {
        let mut journal = self.journal()?;
        let stored = actions::optional_server(&journal, body)?;
        let id = stored.as_ref().map(|record| record.id);
        let kept = stored.as_ref().map(actions::stored_settings);
        let damaged = kept.as_ref().is_some_and(Result::is_err);
        let kept = kept.and_then(Result::ok);
        let form = Form::read(body, kept.clone()).map_err(|errors| Failure::fields(errors, Vec::new()))?;
        let unknown = actions::unknown_keys(&form.unknown);
        let password = match &form.password {
            Some(password) => Some(password.clone()),
            None => id.map(|id| journal.password(id)).transpose()?.flatten(),
        };
        let has_password = password.is_some();
        let errors = directory::validate(&form.settings.directory(password.unwrap_or_default()));
        if !errors.is_empty() {
            let errors = errors.into_iter().map(|(field, text)| (field.to_owned(), text)).collect();
            return Err(Failure::fields(errors, unknown));
        }
        let autosync = form.autosync.unwrap_or(stored.as_ref().is_some_and(|record| record.autosync));
        let text = serde_json::to_string(&form.settings).unwrap_or_default();
        let fingerprint = form.settings.fingerprint();
        let saved = journal.save_server(form.id, &text, autosync, form.password.as_ref(), &fingerprint)?;
        let mut info = unknown;
        if damaged {
            info.push("the stored settings could not be read: what the form did not say has its default".to_owned());
        }
        if has_password && form.password.is_none() && kept.is_some_and(|kept| !kept.same_address(&form.settings)) {
            info.push(
                "the server's address has changed and the stored password was kept: the next run sends it to the new one"
                    .to_owned(),
            );
        }
        if saved.bases_forgotten > 0 {
            info.push(
                "where or how people are read has changed: the next run compares both sides anew, reports differences \
                 and has to be started by hand"
                    .to_owned(),
            );
        }
        info.extend(actions::warnings(&form.settings));
        Ok(Answer::new(form.settings.answer(saved.id, autosync, has_password)).with_info(info))
    }

    pub(crate) fn models_changed(&self, body: &Value) -> Result<Answer, Failure> {
        let Some(events) = body.as_array().filter(|events| events.iter().all(Value::is_object)) else {
            return Err(Failure::argument("an array of model events is expected"));
        };
        let now = self.host.now();
        // A host that tells later than it was told says when it was; a time in the future is none.
        let made = |event: &Value| event["at"].as_i64().filter(|at| *at <= now).unwrap_or(now);
        let edits: Vec<(String, i64)> = events.iter().map(|event| (event.to_string(), made(event))).collect();
        self.journal()?.append_edits(&edits)?;
        Ok(Answer::new(json!({"taken": edits.len()})))
    }

    pub(crate) fn request(&self, action: &str, body: &Value) -> Result<Answer, Failure> {
        actions::serve(self, action, body)
    }
}
