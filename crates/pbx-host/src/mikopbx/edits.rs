//! The PBX's own edits: MikoPBX's PHP puts each into a tube of this module, and this program hands them to the library
//! in batches. An edit is a hint; whatever is lost is found by the next synchronisation.

use std::io;
use std::time::Duration;

use serde_json::Value;

use super::beanstalk::{Client, Job};
use super::config::PbxConfig;
use crate::envelope::Envelope;
use crate::loader::Module;

/// The tube.
pub const TUBE: &str = "ModuleLdapSync-edits";

/// The key of a job that is no edit and only asks for a tick now.
pub const WAKE: &str = "wake";

/// Edits handed over at once.
const BATCH: usize = 500;

/// How long one wait for a job takes: the longest time until a stop is noticed.
const WAIT: Duration = Duration::from_secs(1);

/// After this time edits that could not be handed over are tried again.
const LATER: Duration = Duration::from_secs(30);

/// What a batch brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Edits the library has.
    pub edits: usize,
    /// Whether a tick was asked for.
    pub wake: bool,
}

/// The tube, connected.
pub struct Edits {
    queue: Client,
}

impl Edits {
    /// Connects.
    pub fn connect(config: &PbxConfig) -> io::Result<Edits> {
        let mut queue = Client::connect(&config.beanstalk)?;
        queue.watch_only(TUBE)?;
        Ok(Edits { queue })
    }

    /// Waits a second for jobs and hands those that are there to `module`. A job that is no JSON is dropped.
    pub fn take(&mut self, module: &Module) -> io::Result<Taken> {
        let jobs = self.reserve()?;
        let values: Vec<Option<Value>> = jobs.iter().map(|job| decode(&job.body)).collect();
        let wake = values.iter().flatten().any(|value| !value[WAKE].is_null());
        let edits: Vec<&Value> = values.iter().flatten().filter(|value| value["model"].is_string()).collect();
        let handed_over = edits.is_empty() || hand_over(module, &edits);
        for job in jobs {
            if handed_over { self.queue.delete(job.id)? } else { self.queue.release(job.id, LATER)? }
        }
        Ok(Taken { edits: if handed_over { edits.len() } else { 0 }, wake })
    }

    fn reserve(&mut self) -> io::Result<Vec<Job>> {
        let mut jobs: Vec<Job> = self.queue.reserve(WAIT)?.into_iter().collect();
        while !jobs.is_empty() && jobs.len() < BATCH {
            match self.queue.reserve(Duration::ZERO)? {
                Some(job) => jobs.push(job),
                None => break,
            }
        }
        Ok(jobs)
    }
}

/// Asks the worker for a tick now.
pub fn wake(config: &PbxConfig, why: &str) -> io::Result<()> {
    let job = serde_json::json!({ WAKE: why }).to_string();
    Client::connect(&config.beanstalk)?.put(TUBE, &[job], LATER)
}

fn hand_over(module: &Module, edits: &[&Value]) -> bool {
    let body = serde_json::json!(edits).to_string();
    let answer = module.models_changed(body).map_err(|error| error.to_string());
    match answer.and_then(|answer| Envelope::of(&answer)) {
        Ok(envelope) if envelope.result => true,
        Ok(envelope) => {
            log::warn!("{} edits are handed over again later: {}", edits.len(), envelope.errors().join("; "));
            false
        }
        Err(error) => {
            log::warn!("{} edits are handed over again later: {error}", edits.len());
            false
        }
    }
}

/// A job as JSON: as it is, or inside the string that PHP's `serialize` makes of it (`s:<bytes>:"…";`).
fn decode(body: &[u8]) -> Option<Value> {
    serde_json::from_slice(body).ok().or_else(|| serde_json::from_slice(php_string(body)?).ok())
}

fn php_string(body: &[u8]) -> Option<&[u8]> {
    let rest = body.strip_prefix(b"s:")?;
    let colon = rest.iter().position(|byte| *byte == b':')?;
    let length: usize = std::str::from_utf8(&rest[..colon]).ok()?.parse().ok()?;
    let text = rest[colon + 1..].strip_prefix(b"\"")?.strip_suffix(b"\";")?;
    (text.len() == length).then_some(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn jobs_come_as_json_and_as_php_strings() {
        let event = json!({"model": "Користувачі"});
        assert_eq!(decode(event.to_string().as_bytes()), Some(event.clone()));
        let text = event.to_string();
        assert_eq!(decode(format!("s:{}:\"{text}\";", text.len()).as_bytes()), Some(event));
    }

    #[test]
    fn anything_else_is_no_job() {
        for body in ["", "s:", "s:3:\"{}\";", "s:9999999999999999999999:\"{}\";", "a:1:{i:0;i:1;}", "s:2:{}"] {
            assert_eq!(decode(body.as_bytes()), None, "{body:?}");
        }
    }
}
