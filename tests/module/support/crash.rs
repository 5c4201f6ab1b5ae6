//! A power cut at every moment of a run: the host is killed at each of its callbacks and at random moments.

use std::os::unix::process::ExitStatusExt;
use std::time::Instant;

use serde_json::{Value, json};

use super::pause;
use super::world::{World, sync};

const MOMENTS: u64 = 25;
const SIGKILL: i32 = 9;

/// A PBX and a directory with a synchronisation ahead of them, which can be made again and again.
pub(crate) trait Template {
    /// The server that is synchronised.
    fn server_id(&self) -> &Value;

    /// A copy of the PBX that is about to be disturbed, with the directory put back to what it was.
    fn scene(&self) -> World;

    /// Runs again after the disturbance and compares both sides; `when` is the moment of the disturbance.
    fn recover(&self, world: &World, when: &str);
}

/// The call that makes the synchronisation.
fn synchronise(template: &impl Template) -> Value {
    json!({"hook": "request", "action": "sync-ldap-users", "body": {"id": template.server_id()}})
}

/// How many callbacks the host gets from its start to its end with one undisturbed run.
fn callbacks(template: &impl Template) -> u64 {
    let world = template.scene();
    let mut plugin = world.installation.start_with_fault(0);
    plugin.call(&synchronise(template)).list();
    plugin.callbacks()
}

fn undisturbed_milliseconds(template: &impl Template) -> u64 {
    let world = template.scene();
    let mut plugin = world.installation.start();
    let begun = Instant::now();
    sync(&mut plugin, template.server_id());
    u64::try_from(begun.elapsed().as_millis()).expect("a run is short")
}

/// Kills the host at callback `first` and at each second one after it: two halves, which run side by side.
pub(crate) fn kill_at_every_second_callback(template: &impl Template, first: u64) {
    let callbacks = callbacks(template);
    assert!(callbacks > 20, "a whole run made only {callbacks} callbacks; was nothing counted?");
    println!("a run makes {callbacks} callbacks");
    let mut killed = 0;
    for callback in (first..=callbacks).step_by(2) {
        let world = template.scene();
        let mut plugin = world.installation.start_with_fault(callback);
        // The last callbacks come when the module is closed, after the answer.
        plugin.try_call(&synchronise(template));
        killed += u64::from(plugin.stop().signal() == Some(SIGKILL));
        template.recover(&world, &format!("callback {callback} of {callbacks}"));
    }
    // The number of progress reports depends on the time a run takes, so the last few may not come.
    assert!(killed * 20 >= callbacks * 9, "only {killed} of half of {callbacks} callbacks killed the host");
}

/// Kills the host at moments spread over a run, until enough of them came before its answer.
pub(crate) fn kill_at_random_moments(template: &impl Template) {
    let mut length = undisturbed_milliseconds(template);
    let mut killed = 0;
    // A fixed sequence (Knuth's multiplicative hashing) spread over the length of a run: random enough, and repeatable.
    for index in 1..=4 * MOMENTS {
        let moment = index.wrapping_mul(2_654_435_761) % (length + 1);
        let world = template.scene();
        let mut plugin = world.installation.start();
        plugin.send(&synchronise(template));
        pause(moment);
        plugin.kill();
        if plugin.has_answered() {
            // This run was shorter than the first one: later moments would come too late as well.
            length = moment.max(1);
        } else {
            killed += 1;
        }
        template.recover(&world, &format!("{moment} ms of {length}"));
        if killed == MOMENTS {
            return;
        }
    }
    panic!("only {killed} of {MOMENTS} kills came before the answer");
}
