//! Announcements to a running MikoPBX: one job per changed record, then the stale entries of its cache.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use redis::{Connection, RedisResult};
use serde_json::Value;

use super::beanstalk::Client;
use super::event_bus::EventBus;
use super::mutex;
use crate::services::Announcer;

/// The tube MikoPBX's worker of model events listens on.
pub const TUBE: &str = "MikoPBX-Core-Workers-WorkerModelsEvents";

/// Time to run of the PBX's own jobs.
const TIME_TO_RUN: Duration = Duration::from_secs(60);

/// MikoPBX's cache of query results in Redis: database and prefix.
pub const CACHE_DATABASE: u8 = 4;
/// What the names of its keys begin with; the model's short name follows.
pub const CACHE_PREFIX: &str = "_PH_MANAGED_CACHE:";

/// Keys asked for, and deleted, at once.
const KEYS: usize = 500;

/// Tells MikoPBX.
pub struct Announcements {
    beanstalk: String,
    redis: String,
    bus: Arc<EventBus>,
}

impl Announcements {
    /// Announcements through the beanstalkd and the Redis at these addresses, and through `bus`.
    pub fn new(beanstalk: &str, redis: &str, bus: Arc<EventBus>) -> Announcements {
        Announcements { beanstalk: beanstalk.to_owned(), redis: redis.to_owned(), bus }
    }

    /// An entry of the cache that stays lives for minutes only, so this never fails an announcement.
    fn clear_caches(&self, models: &BTreeSet<String>) {
        let cleared = mutex::connect(&self.redis, CACHE_DATABASE)
            .and_then(|mut redis| models.iter().try_for_each(|model| clear_cache(&mut redis, model)));
        if let Err(error) = cleared {
            log::warn!("the PBX's cache of {} is stale for some minutes: {error}", list(models));
        }
    }
}

impl Announcer for Announcements {
    fn deliver(&self, events: &str) -> Result<(), String> {
        let events: Vec<Value> =
            serde_json::from_str(events).map_err(|error| format!("the events are not a JSON array: {error}"))?;
        if events.is_empty() {
            return Ok(());
        }
        let jobs: Vec<String> = events.iter().map(Value::to_string).collect();
        Client::connect(&self.beanstalk)
            .and_then(|mut queue| queue.put(TUBE, &jobs, TIME_TO_RUN))
            .map_err(|error| format!("beanstalkd at {}: {error}", self.beanstalk))?;
        self.clear_caches(&models(&events));
        for event in &events {
            self.bus.publish("models-changed", &for_pages(event));
        }
        Ok(())
    }
}

/// Short names of the models: `MikoPBX\Common\Models\Users` is `Users`.
fn models(events: &[Value]) -> BTreeSet<String> {
    let names = events.iter().filter_map(|event| event["model"].as_str()?.rsplit('\\').next());
    names.filter(|name| name.chars().all(char::is_alphanumeric)).map(str::to_owned).collect()
}

/// What MikoPBX tells its pages of an event.
fn for_pages(event: &Value) -> Value {
    let wanted = ["model", "recordId", "action", "changedFields"];
    wanted.iter().map(|key| ((*key).to_owned(), event[*key].clone())).collect::<serde_json::Map<_, _>>().into()
}

fn clear_cache(redis: &mut Connection, model: &str) -> RedisResult<()> {
    let pattern = format!("{CACHE_PREFIX}{model}*");
    let mut cursor: u64 = 0;
    loop {
        let mut scan = redis::cmd("SCAN");
        scan.arg(cursor).arg("MATCH").arg(&pattern).arg("COUNT").arg(KEYS);
        let (next, keys): (u64, Vec<Vec<u8>>) = scan.query(redis)?;
        if !keys.is_empty() {
            redis::cmd("DEL").arg(keys).query::<u64>(redis)?;
        }
        if next == 0 {
            return Ok(());
        }
        cursor = next;
    }
}

fn list(models: &BTreeSet<String>) -> String {
    models.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn models_have_their_short_names_and_no_pattern_in_them() {
        let events = [
            json!({"model": r"MikoPBX\Common\Models\Users"}),
            json!({"model": r"MikoPBX\Common\Models\Users"}),
            json!({"model": "Sip*"}),
            json!({"model": 3}),
        ];
        assert_eq!(models(&events), BTreeSet::from(["Users".to_owned()]));
    }

    #[test]
    fn pages_hear_what_mikopbx_tells_them() {
        let event =
            json!({"source": "x", "model": "m", "recordId": "1", "action": "afterSave", "changedFields": ["a"]});
        let told = json!({"model": "m", "recordId": "1", "action": "afterSave", "changedFields": ["a"]});
        assert_eq!(for_pages(&event), told);
    }

    #[test]
    fn nobody_who_takes_jobs_is_an_error_that_names_the_place() {
        let bus = Arc::new(EventBus::new(None));
        let nobody = Announcements::new("127.0.0.1:1", "127.0.0.1:1", bus);
        let error = nobody.deliver(r#"[{"model":"x"}]"#).unwrap_err();
        assert!(error.contains("beanstalkd at 127.0.0.1:1"), "{error}");
        assert_eq!(nobody.deliver("[]"), Ok(()));
    }
}
