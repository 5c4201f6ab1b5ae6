//! The library's callbacks inside MikoPBX.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use log::Level;
use serde_json::Value;

use super::announce::Announcements;
use super::config::PbxConfig;
use super::event_bus::EventBus;
use super::mutex::WriteMutex;
use crate::services::{Announcer, CurrentRun, HostServices, RunningHost, system_time};

/// Type of the messages about a run's progress on the event bus.
pub const PROGRESS: &str = "ldap-sync-progress";

/// The shortest time between two messages about the same phase.
const PROGRESS_PAUSE: Duration = Duration::from_millis(500);

/// Log, announcements, progress, write mutex and time of a running MikoPBX.
pub struct PbxServices {
    announcements: Announcements,
    bus: Arc<EventBus>,
    mutex: WriteMutex,
    current_run: CurrentRun,
    told: Mutex<Option<(Value, Instant)>>,
}

impl PbxServices {
    /// The services that `config` names, and the event bus behind the web server on `web_port`.
    pub fn new(config: &PbxConfig, web_port: Option<u16>) -> PbxServices {
        let bus = Arc::new(EventBus::new(web_port));
        PbxServices {
            announcements: Announcements::new(&config.beanstalk, &config.redis, Arc::clone(&bus)),
            bus,
            mutex: WriteMutex::new(&config.redis),
            current_run: CurrentRun::default(),
            told: Mutex::default(),
        }
    }

    /// Whether pages are to hear of this report now: each phase at once, within a phase not too often.
    fn is_news(&self, phase: &Value) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.as_ref().is_some_and(|(last, when)| last == phase && when.elapsed() < PROGRESS_PAUSE) {
            return false;
        }
        *told = Some((phase.clone(), Instant::now()));
        true
    }
}

impl RunningHost for PbxServices {
    fn current_run(&self) -> Option<Value> {
        self.current_run.get()
    }
}

impl HostServices for PbxServices {
    fn log(&self, level: Level, text: &str) {
        log::log!(target: "ldap_sync", level, "{text}");
    }

    fn announce(&self, events: &str) -> bool {
        match self.announcements.deliver(events) {
            Ok(()) => true,
            Err(reason) => {
                log::warn!("changes were not announced to the PBX and will be announced again later: {reason}");
                false
            }
        }
    }

    fn progress(&self, json: &str) {
        let Ok(report) = serde_json::from_str::<Value>(json) else {
            return log::warn!("the library reported progress that is not JSON: {json}");
        };
        self.current_run.note(&report);
        if self.is_news(&report["phase"]) {
            self.bus.publish(PROGRESS, &report);
        }
    }

    fn begin_write(&self, timeout: Duration) -> bool {
        self.mutex.acquire(timeout).unwrap_or_else(|error| {
            log::error!(
                "nothing is written to the PBX's database, because its write mutex in Redis cannot be had: {error}"
            );
            false
        })
    }

    fn end_write(&self) {
        if let Err(error) = self.mutex.release() {
            log::error!("{error}");
        }
    }

    fn now(&self) -> i64 {
        system_time()
    }
}
