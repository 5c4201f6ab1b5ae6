//! A power cut at every moment of a run with all kinds of changes on both sides: run again, and both sides stand as after
//! an undisturbed run, with nothing lost and nothing left to do.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::both_directions::settings;
use crate::support::crash::{self, Template};
use crate::support::directory::Dump;
use crate::support::pbx::EmployeeRow;
use crate::support::people::{Someone, crowd, ldif, line};
use crate::support::servers::slapd::{self, Options, Slapd};
use crate::support::world::{World, sync};
use serde_json::{Value, json};

/// The attributes that are kept in step.
const ATTRIBUTES: [&str; 6] = ["displayName", "telephoneNumber", "mobile", "mail", "jpegPhoto", "carLicense"];

/// A PBX and a directory with edits on both sides that no run has seen yet.
struct Story {
    world: World,
    id: Value,
    server: Slapd,
    directory: Dump,
    expected: Settled,
}

/// What both sides hold when everything is done; secrets of the employees made by the run differ each time.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Settled {
    employees: Vec<EmployeeRow>,
    photos: BTreeMap<i64, Vec<u8>>,
    secrets: BTreeMap<i64, String>,
    switched_off: BTreeSet<i64>,
    directory: BTreeMap<String, BTreeMap<String, BTreeSet<Vec<u8>>>>,
}

#[test]
fn killed_at_every_odd_callback() {
    let Some(story) = Story::make() else { return };
    crash::kill_at_every_second_callback(&story, 1);
}

#[test]
fn killed_at_every_even_callback() {
    let Some(story) = Story::make() else { return };
    crash::kill_at_every_second_callback(&story, 2);
}

#[test]
fn killed_at_random_moments() {
    let Some(story) = Story::make() else { return };
    crash::kill_at_random_moments(&story);
}

impl Story {
    fn make() -> Option<Story> {
        let people = crowd(24);
        let writable = "telephoneNumber,mobile,mail,displayName,jpegPhoto,carLicense";
        let server = slapd::start_with(&people[..20], &Options { writable, ..Options::default() })?;
        let world = World::new();
        let mut settings = settings(&server, "none");
        settings["stopLeaversAfter"] = json!(0);
        settings["fieldConflicts"] = json!({"mobile": "directory"});
        let (mut plugin, id) = world.install(&settings);
        sync(&mut plugin, &id);
        assert!(plugin.stop().success());
        edit_both_sides(&world, &server, &people);
        let directory = server.dump();
        let mut story = Story { world, id, server, directory, expected: Settled::nothing() };
        story.expected = story.undisturbed();
        Some(story)
    }

    fn undisturbed(&self) -> Settled {
        let world = self.scene();
        let before = Settled::read(&world, &self.server, self.known());
        let mut plugin = world.installation.start();
        let answer = sync(&mut plugin, &self.id);
        let conflicts = plugin.request("get-server-conflicts", json!({"id": self.id}));
        assert!(conflicts.list().is_empty(), "{}", conflicts.body);
        world.assert_rows_are_mikopbx(112);
        let after = Settled::read(&world, &self.server, self.known());
        assert_ne!(before, after, "{}", answer.information());
        after
    }

    /// The largest id of an employee there was before the run.
    fn known(&self) -> i64 {
        self.world.pbx().last_user_id()
    }

    fn put_directory_back(&self) {
        let now = self.server.dump();
        let mut text = String::new();
        for (dn, entry) in &self.directory {
            for attribute in ATTRIBUTES {
                let name = attribute.to_ascii_lowercase();
                let (was, is) = (entry.get(&name), now[dn].get(&name));
                if was != is {
                    line(&mut text, "dn", dn);
                    text += &format!("changetype: modify\nreplace: {attribute}\n");
                    for value in was.into_iter().flatten() {
                        text += &format!("{attribute}:: {}\n", base64_of(value));
                    }
                    text += "\n";
                }
            }
        }
        if !text.is_empty() {
            self.server.modify(&text);
        }
    }
}

impl Template for Story {
    fn server_id(&self) -> &Value {
        &self.id
    }

    fn scene(&self) -> World {
        self.put_directory_back();
        let world = self.world.copy();
        world.installation.forget();
        world
    }

    fn recover(&self, world: &World, when: &str) {
        let mut plugin = world.installation.start();
        sync(&mut plugin, &self.id);
        world.assert_rows_are_mikopbx(112);
        world.assert_announced_at_least(&self.world.pbx().dump());
        let found = Settled::read(world, &self.server, self.known());
        assert_eq!(found, self.expected, "killed at {when}");
        let conflicts = plugin.request("get-server-conflicts", json!({"id": self.id}));
        assert!(conflicts.list().is_empty(), "killed at {when}: {}", conflicts.body);
        world.installation.forget();
        let settled = world.sides(&self.server);
        sync(&mut plugin, &self.id);
        world.assert_unchanged(&self.server, &settled, &format!("the run after recovery ({when})"));
        assert_eq!(world.installation.announced(), [], "killed at {when}");
    }
}

fn base64_of(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

impl Settled {
    fn nothing() -> Settled {
        Settled {
            employees: Vec::new(),
            photos: BTreeMap::new(),
            secrets: BTreeMap::new(),
            switched_off: BTreeSet::new(),
            directory: BTreeMap::new(),
        }
    }

    fn read(world: &World, server: &Slapd, known: i64) -> Settled {
        let mut employees = world.pbx().employees();
        // Made with a name of its own each time.
        employees.iter_mut().filter(|row| row.user_id > known).for_each(|row| row.sip_uniqid.clear());
        let of = |id: i64| (id, world.pbx().secret(id));
        let old = || employees.iter().map(|row| row.user_id).filter(|id| *id <= known);
        let mut directory: BTreeMap<String, BTreeMap<String, BTreeSet<Vec<u8>>>> = server.dump();
        let fresh: BTreeSet<String> =
            employees.iter().filter(|row| row.user_id > known).map(|row| row.email.clone()).collect();
        for entry in directory.values_mut() {
            let mails = entry.get("mail").cloned().unwrap_or_default();
            let is_new = mails.iter().any(|mail| fresh.contains(&String::from_utf8_lossy(mail).into_owned()));
            entry.retain(|name, _| {
                let kept = ATTRIBUTES.iter().any(|attribute| attribute.eq_ignore_ascii_case(name));
                kept && !(is_new && name == "carlicense")
            });
        }
        Settled {
            photos: employees.iter().map(|row| (row.user_id, world.pbx().photo(row.user_id))).collect(),
            secrets: old().map(of).collect(),
            switched_off: employees.iter().map(|row| row.user_id).filter(|id| world.pbx().is_off(*id)).collect(),
            directory,
            employees,
        }
    }
}

/// Everything people do, at most five of a kind, so that nothing is held.
fn edit_both_sides(world: &World, server: &Slapd, people: &[Someone]) {
    let pbx = world.pbx();
    let user = |at: usize| pbx.employee_named(&people[at].name).user_id;
    let login = |at: usize| people[at].login.as_str();
    let users: Vec<i64> = (0..20).map(user).collect();
    let photo = |mark: &str| Someone::new(mark, "x").photo_bytes();
    // In the directory.
    server.set(login(0), "mail", "changed0@directory.test");
    server.set(login(0), "mobile", "+7 926 000-00-10");
    server.set(login(1), "displayName", "Renamed There");
    server.set(login(2), "mobile", "");
    server.set(login(3), "telephoneNumber", "");
    for attribute in ["telephoneNumber", "mail"] {
        let (one, two) = (server.values(login(4), attribute), server.values(login(5), attribute));
        server.set(login(4), attribute, &two[0]);
        server.set(login(5), attribute, &one[0]);
    }
    server.set_bytes(login(6), "jpegPhoto", &photo("there"));
    server.set(login(7), "carLicense", "Qz7xW2mNp9LkR4tVb8Hc");
    // On the PBX.
    pbx.set_email(users[8], "changed8@pbx.test");
    pbx.set_mobile(users[9], "79260000019");
    pbx.rename(users[10], "Renamed Here");
    pbx.set_number(users[11], "377");
    pbx.set_photo(users[12], &photo("here"));
    pbx.set_secret(users[13], "Hc8bVt4RkL9pNm2wX7zQ");
    pbx.set_email(users[14], "");
    // On both: of different fields, and of the same one.
    server.set(login(15), "mail", "changed15@directory.test");
    pbx.set_mobile(users[15], "79260000025");
    server.set(login(16), "mobile", "+7 926 000-00-36");
    pbx.set_mobile(users[16], "79260000026");
    // People who leave and people who come.
    server.switch(login(17), false);
    server.delete(login(18));
    server.add(&ldif(&people[20..], server.kind, &server.people));
}
