//! A power cut at every moment of a first synchronisation: afterwards everybody stands once and both sides agree.

mod support;

use std::os::unix::process::ExitStatusExt;
use std::time::Instant;

use serde_json::{Value, json};
use support::directory::Directory;
use support::host::Installation;
use support::pause;
use support::pbx::Rows;
use support::people::{Someone, crowd};
use support::servers::slapd;
use support::world::{World, count, sync};

const PEOPLE: usize = 100;
const MOMENTS: u64 = 25;
const SIGKILL: i32 = 9;

#[test]
fn killed_at_every_odd_callback() {
    killed_at_every_second_callback(1);
}

#[test]
fn killed_at_every_even_callback() {
    killed_at_every_second_callback(2);
}

fn killed_at_every_second_callback(first: u64) {
    let Some(template) = Template::make() else { return };
    let callbacks = template.callbacks();
    assert!(callbacks > 20, "a whole run made only {callbacks} callbacks; was nothing counted?");
    println!("a run makes {callbacks} callbacks");
    let mut killed = 0;
    for callback in (first..=callbacks).step_by(2) {
        let scene = template.scene();
        let mut plugin = scene.world.installation.start_with_fault(callback);
        // The last callbacks come when the module is closed, after the answer.
        plugin.try_call(&template.synchronise());
        killed += u64::from(plugin.stop().signal() == Some(SIGKILL));
        scene.recover(&template, &format!("callback {callback} of {callbacks}"));
    }
    // The number of progress reports depends on the time a run takes, so the last few may not come.
    assert!(killed * 20 >= callbacks * 9, "only {killed} of half of {callbacks} callbacks killed the host");
}

#[test]
fn killed_at_random_moments() {
    let Some(template) = Template::make() else { return };
    let mut length = template.undisturbed_milliseconds();
    let mut killed = 0;
    // A fixed sequence (Knuth's multiplicative hashing) spread over the length of a run: random enough, and repeatable.
    for index in 1..=4 * MOMENTS {
        let moment = index.wrapping_mul(2_654_435_761) % (length + 1);
        let scene = template.scene();
        let mut plugin = scene.world.installation.start();
        plugin.send(&template.synchronise());
        pause(moment);
        plugin.kill();
        if plugin.has_answered() {
            // This run was shorter than the first one: later moments would come too late as well.
            length = moment.max(1);
        } else {
            killed += 1;
        }
        scene.recover(&template, &format!("{moment} ms of {length}"));
        if killed == MOMENTS {
            return;
        }
    }
    panic!("only {killed} of {MOMENTS} kills came before the answer");
}

/// An installed module that never ran, copied for every scene, and the people its directory holds.
struct Template {
    world: World,
    id: Value,
    people: Vec<Someone>,
    pristine: Rows,
    server: slapd::Slapd,
}

/// One copy of the template that is about to be disturbed; the directory is the same with its numbers taken out.
struct Scene {
    world: World,
}

impl Template {
    fn make() -> Option<Template> {
        let people = crowd(PEOPLE);
        let server = slapd::start(&people)?;
        let world = World::new();
        let (mut plugin, id) = world.install(&server.settings("none"));
        assert!(plugin.stop().success());
        let pristine = world.pbx().dump();
        Some(Template { world, id, people, pristine, server })
    }

    fn scene(&self) -> Scene {
        take_numbers_out(&self.server);
        let scene = Scene { world: self.world.copy() };
        scene.world.installation.forget();
        scene
    }

    /// The call that makes the synchronisation.
    fn synchronise(&self) -> Value {
        json!({"hook": "request", "action": "sync-ldap-users", "body": {"id": self.id}})
    }

    /// How many callbacks the host gets from its start to its end with one undisturbed run.
    fn callbacks(&self) -> u64 {
        let scene = self.scene();
        let mut plugin = scene.world.installation.start_with_fault(0);
        plugin.call(&self.synchronise()).list();
        plugin.callbacks()
    }

    fn undisturbed_milliseconds(&self) -> u64 {
        let scene = self.scene();
        let mut plugin = scene.world.installation.start();
        let start = Instant::now();
        sync(&mut plugin, &self.id);
        u64::try_from(start.elapsed().as_millis()).expect("a run is short")
    }
}

impl Scene {
    /// Runs again after the disturbance and compares both sides.
    fn recover(&self, template: &Template, when: &str) {
        let installation: &Installation = &self.world.installation;
        let mut plugin = installation.start();
        let answer = sync(&mut plugin, &template.id);
        assert_eq!(count(answer.list(), "CONFLICT"), 0, "killed at {when}: {}", answer.body);
        self.everybody_once(template, when);
        self.world.assert_rows_are_mikopbx(112);
        self.world.assert_announced_at_least(&template.pristine);

        let settled = self.world.sides(&template.server);
        installation.forget();
        sync(&mut plugin, &template.id);
        self.world.assert_unchanged(&template.server, &settled, &format!("the run after recovery ({when})"));
        assert_eq!(installation.announced(), [], "killed at {when}");
    }

    fn everybody_once(&self, template: &Template, when: &str) {
        let employees = self.world.pbx().employees();
        let numbers = template.server.by_login("telephoneNumber");
        for person in &template.people {
            let found: Vec<_> =
                employees.iter().filter(|row| row.email == person.mail || row.name == person.name).collect();
            assert_eq!(found.len(), 1, "killed at {when}, {} is {found:?}", person.name);
            assert_eq!(
                numbers[&person.login],
                [found[0].number.clone()],
                "killed at {when}: both sides of {}",
                person.name
            );
            assert!(!found[0].mobile.is_empty(), "killed at {when}: {} has no mobile", person.name);
        }
        assert_eq!(employees.len(), template.world.pbx().employees().len() + template.people.len(), "killed at {when}");
    }
}

/// Puts the directory back into the state before the first synchronisation.
fn take_numbers_out(server: &Directory) {
    let numbered = server.by_login("telephoneNumber").into_iter().filter(|(_, values)| !values.is_empty());
    let change = |login: String| format!("dn: {}\nchangetype: modify\ndelete: telephoneNumber\n\n", server.dn(&login));
    let ldif: String = numbered.map(|(login, _)| change(login)).collect();
    if !ldif.is_empty() {
        server.modify(&ldif);
    }
}
