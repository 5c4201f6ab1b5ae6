//! The story of two sides that are edited by people: told on every directory.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::directory::{Directory, Kind};
use super::host::{Answer, Plugin};
use super::pbx::md5_hex;
use super::pbx_edit::told;
use super::people::{Someone, crowd, ldif};
use super::world::{World, assert_pbx_unchanged, row, sync};
use super::{real_time, run};

/// A SIP secret MikoPBX takes.
const GOOD_SECRET: &str = "Kj8sHd72LmQp4Xz9Vb3T";
/// How long one part of the story is after another, in milliseconds: longer than any tolerance.
const LATER: i64 = 1_000_000;

/// The attribute that holds SIP secrets in these directories.
pub(crate) fn secret_attribute(kind: Kind) -> &'static str {
    if kind == Kind::ActiveDirectory { "info" } else { "carLicense" }
}

/// The people of the story.
pub(crate) fn people() -> Vec<Someone> {
    crowd(14)
}

struct Story<'a> {
    world: &'a World,
    directory: &'a Directory,
    plugin: Plugin,
    id: Value,
    /// The host's clock, Unix time in milliseconds.
    now: i64,
    people: Vec<Someone>,
}

/// Tells the whole story.
pub(crate) fn tell(world: &World, directory: &Directory, security: &str) {
    let settings = settings(directory, security);
    let now = real_time() - LATER;
    let mut plugin = world.installation.start_at(now);
    plugin.install().data();
    let saved = plugin.save(&settings);
    assert!(saved.information().contains("readable text"), "no warning about SIP secrets: {}", saved.body);
    let id = saved.data()["id"].clone();
    let mut story = Story { world, directory, plugin, id, now, people: people() };
    story.first_sync();
    story.the_newer_edit_stands();
    story.different_fields();
    story.cleared_values();
    story.swaps();
    story.moves();
    story.each_policy();
    story.photos();
    story.secrets();
    story.leavers();
    story.deleted_on_the_pbx();
    story.nothing_secret_is_told();
}

/// The settings of the story: everything is mapped.
pub(crate) fn settings(directory: &Directory, security: &str) -> Value {
    let mut settings = directory.settings(security);
    settings["attributes"]["userPasswordAttribute"] = json!(secret_attribute(directory.kind));
    if directory.kind == Kind::OpenLdap {
        settings["attributes"]["userAccountControl"] = json!("employeeType");
    }
    settings
}

impl Story<'_> {
    fn login(&self, at: usize) -> String {
        self.people[at].login.clone()
    }

    fn user(&self, at: usize) -> i64 {
        let mail = format!("{}@example.test", self.people[at].login);
        let employees = self.world.pbx().employees();
        let found = employees.iter().find(|row| row.email == mail || row.name == self.people[at].name);
        found.unwrap_or_else(|| panic!("{} is no employee: {employees:#?}", self.people[at].name)).user_id
    }

    fn attribute(&self, at: usize, attribute: &str) -> String {
        self.directory.values(&self.people[at].login, attribute).join("|")
    }

    fn at_time(&mut self, now: i64) {
        self.now = now;
        self.plugin = self.world.installation.start_at(now);
    }

    fn later(&mut self) {
        self.at_time(self.now + LATER);
    }

    fn sync(&mut self) -> Answer {
        sync(&mut self.plugin, &self.id)
    }

    /// Runs; afterwards the rows are MikoPBX's own and nothing is left to do.
    fn sync_and_settle(&mut self) -> Answer {
        self.world.installation.forget();
        let before = self.world.pbx().dump();
        let answer = self.sync();
        self.world.assert_announced_exactly(&before);
        self.world.assert_rows_are_mikopbx(112);
        let after = self.world.sides(self.directory);
        self.world.installation.forget();
        let again = self.sync();
        let what = format!("the run after {}", answer.information());
        self.world.assert_unchanged(self.directory, &after, &format!("{what}: {}", again.information()));
        assert_eq!(self.world.installation.announced(), [], "{what}");
        answer
    }

    fn conflicts(&mut self) -> Vec<Value> {
        self.plugin.request("get-server-conflicts", json!({"id": self.id})).list().to_vec()
    }

    fn only_conflict(&mut self, cause: &str) -> Value {
        let conflicts = self.conflicts();
        assert_eq!(conflicts.len(), 1, "{conflicts:#?}");
        assert_eq!(conflicts[0]["cause"], json!(cause), "{conflicts:#?}");
        conflicts[0].clone()
    }

    fn resolve(&mut self, conflict: &Value, choice: &str) {
        let body = json!({"recordId": conflict["id"], "choice": choice});
        self.plugin.request("resolve-conflict", body).data();
    }

    fn change_settings(&mut self, changes: Value) {
        let mut changes = changes;
        changes["id"] = self.id.clone();
        self.plugin.save(&changes).data();
    }

    fn first_sync(&mut self) {
        self.sync_and_settle();
        for at in 0..self.people.len() {
            let employee = self.world.pbx().employee(self.user(at));
            assert_eq!(self.attribute(at, "telephoneNumber"), employee.number);
            let secret = self.world.pbx().secret(employee.user_id);
            assert_eq!(self.attribute(at, secret_attribute(self.directory.kind)), secret, "the secret goes back");
        }
    }

    /// The same field on both sides: the later edit stands where both times are known.
    fn the_newer_edit_stands(&mut self) {
        let (first, second) = (self.user(0), self.user(1));
        // The PBX's edit is reported long before the directory's is made.
        self.world.pbx().set_email(first, "older@pbx.test");
        self.at_time(self.now + LATER / 2);
        self.plugin.models_changed(told(first, "email", self.now)).data();
        self.directory.set(&self.login(0), "mail", "newer@directory.test");
        self.at_time(real_time() + 1_000);
        self.sync();
        if self.directory.kind == Kind::ActiveDirectory {
            assert_eq!(self.world.pbx().employee(first).email, "newer@directory.test");
            assert_eq!(self.conflicts(), Vec::<Value>::new());
        } else {
            // The time of the entry does not prove which attribute was edited then.
            assert_eq!(self.world.pbx().employee(first).email, "older@pbx.test");
            assert_eq!(self.attribute(0, "mail"), "newer@directory.test");
            let conflict = self.only_conflict("both-changed");
            assert_eq!(conflict["directoryValue"], json!("newer@directory.test"));
            assert_eq!(conflict["pbxValue"], json!("older@pbx.test"));
            self.resolve(&conflict, "directory");
        }
        self.sync_and_settle();
        assert_eq!(self.world.pbx().employee(first).email, "newer@directory.test");
        assert_eq!(self.conflicts(), Vec::<Value>::new(), "solved, so it is gone");

        self.directory.set(&self.login(1), "mail", "older@directory.test");
        self.world.pbx().set_email(second, "newer@pbx.test");
        self.later();
        self.plugin.models_changed(told(second, "email", self.now - LATER / 2)).data();
        self.sync_and_settle();
        assert_eq!(self.attribute(1, "mail"), "newer@pbx.test");
        assert_eq!(self.world.pbx().employee(second).email, "newer@pbx.test");
        assert_eq!(self.conflicts(), Vec::<Value>::new());
        for (at, user) in [(0, first), (1, second)] {
            let mail = format!("{}@example.test", self.people[at].login);
            self.world.pbx().set_email(user, &mail);
            self.later();
            self.plugin.models_changed(told(user, "email", self.now)).data();
        }
        self.sync_and_settle();
    }

    /// Different fields of one person edited on both sides.
    fn different_fields(&mut self) {
        let user = self.user(2);
        self.directory.set(&self.login(2), "mail", "third@directory.test");
        self.directory.set(&self.login(2), "mobile", "+7 926 700-00-03");
        self.world.pbx().set_number(user, "399");
        self.world.pbx().rename(user, "Renamed on the PBX Ёё");
        let answer = self.sync_and_settle();
        let employee = self.world.pbx().employee(user);
        assert_eq!((employee.email.as_str(), employee.mobile.as_str()), ("third@directory.test", "79267000003"));
        assert_eq!(self.attribute(2, "telephoneNumber"), "399");
        assert_eq!(self.attribute(2, "displayName"), "Renamed on the PBX Ёё");
        assert_eq!(row(answer.list(), "Renamed on the PBX Ёё")["userHadChangesOnTheSide"], json!("OnBothSides"));
        self.directory.set(&self.login(2), "displayName", &self.people[2].name);
        self.sync_and_settle();
        assert_eq!(self.world.pbx().employee(user).name, self.people[2].name);
    }

    fn cleared_values(&mut self) {
        let (third, fourth) = (self.user(3), self.user(4));
        self.directory.set(&self.login(3), "mobile", "");
        self.directory.set(&self.login(3), "telephoneNumber", "");
        self.world.pbx().set_email(fourth, "");
        let number = self.world.pbx().employee(third).number;
        self.sync_and_settle();
        assert_eq!(self.world.pbx().employee(third).mobile, "");
        assert_eq!(self.attribute(3, "telephoneNumber"), number, "the PBX never loses a number");
        assert_eq!(self.attribute(4, "mail"), "");
    }

    fn swaps(&mut self) {
        let (one, two) = (self.user(5), self.user(6));
        let (was_one, was_two) = (self.world.pbx().employee(one), self.world.pbx().employee(two));
        for attribute in ["telephoneNumber", "mail"] {
            let (first, second) = (self.attribute(5, attribute), self.attribute(6, attribute));
            self.directory.set(&self.login(5), attribute, &second);
            self.directory.set(&self.login(6), attribute, &first);
        }
        self.world.pbx().set_mobile(one, "79990000000");
        self.world.pbx().set_mobile(two, &was_one.mobile);
        self.world.pbx().set_mobile(one, &was_two.mobile);
        self.sync_and_settle();
        let (is_one, is_two) = (self.world.pbx().employee(one), self.world.pbx().employee(two));
        assert_eq!((&is_one.number, &is_one.email), (&was_two.number, &was_two.email));
        assert_eq!((&is_two.number, &is_two.email), (&was_one.number, &was_one.email));
        let digits = |text: String| text.chars().filter(char::is_ascii_digit).collect::<String>();
        assert_eq!(digits(self.attribute(5, "mobile")), was_two.mobile, "swapped on the PBX, swapped in the directory");
        assert_eq!(digits(self.attribute(6, "mobile")), was_one.mobile);
        // Back again, so that everybody is found by the own address.
        let (first, second) = (self.attribute(5, "mail"), self.attribute(6, "mail"));
        self.directory.set(&self.login(5), "mail", &second);
        self.directory.set(&self.login(6), "mail", &first);
        self.sync_and_settle();
    }

    /// An entry that moves within the people is the same person.
    fn moves(&mut self) {
        let unit = self.directory.add_unit("Inner");
        let user = self.user(7);
        self.directory.move_to(&self.login(7), &unit);
        self.world.pbx().set_mobile(user, "79260000077");
        self.sync_and_settle();
        assert_eq!(self.attribute(7, "mobile"), "+79260000077", "written where the entry stands now");
        assert_eq!(self.user(7), user);
        self.directory.move_to(&self.login(7), &self.directory.people);
        self.sync_and_settle();
    }

    /// A field edited on both sides, under each policy that needs no times.
    fn each_policy(&mut self) {
        let user = self.user(8);
        for (turn, (policy, winner)) in
            [("directory", "directory"), ("pbx", "pbx"), ("ask", "")].into_iter().enumerate()
        {
            self.change_settings(json!({"fieldConflicts": {"mobile": policy}}));
            let (there, here) = (format!("+7 926 80{turn}-00-01"), format!("7926900000{turn}"));
            self.directory.set(&self.login(8), "mobile", &there);
            self.world.pbx().set_mobile(user, &here);
            self.sync();
            let mobile = self.world.pbx().employee(user).mobile;
            match winner {
                "directory" => assert_eq!(mobile, format!("792680{turn}0001")),
                "pbx" => assert_eq!((mobile, self.attribute(8, "mobile")), (here.clone(), format!("+{here}"))),
                _ => {
                    assert_eq!((mobile, self.attribute(8, "mobile")), (here.clone(), there.clone()), "nothing is lost");
                    let conflict = self.only_conflict("both-changed");
                    self.resolve(&conflict, "pbx");
                    self.sync();
                    assert_eq!(self.attribute(8, "mobile"), format!("+{here}"));
                }
            }
            self.sync_and_settle();
            assert_eq!(self.conflicts(), Vec::<Value>::new());
        }
        // One way only: an edit on the other side stays where it is.
        self.change_settings(
            json!({"fieldDirections": {"mobile": "directory"}, "fieldConflicts": {"mobile": "newest"}}),
        );
        self.world.pbx().set_mobile(user, "79268888888");
        let there = self.attribute(8, "mobile");
        self.sync_and_settle();
        assert_eq!(self.attribute(8, "mobile"), there);
        assert_eq!(self.world.pbx().employee(user).mobile, "79268888888");
        self.change_settings(json!({"fieldDirections": {"mobile": "two-way"}}));
        self.sync_and_settle();
        assert_eq!(self.attribute(8, "mobile"), "+79268888888");
    }

    fn photos(&mut self) {
        // 389 Directory Server tells whole seconds only, so an entry counts as unchanged once minutes have passed; here
        // several edits follow within a second, and the clock must be the true one.
        let story_time = self.now;
        self.at_time(real_time());
        let attribute = self.directory.kind.photo_attribute();
        let (user, login) = (self.user(9), self.login(9));
        let mine = |mark: &str| Someone::new(mark, "x").photo_bytes();
        self.directory.set_bytes(&login, attribute, &mine("one"));
        self.sync_and_settle();
        assert_eq!(self.world.pbx().photo(user), mine("one"), "byte for byte");

        self.world.pbx().set_photo(user, &mine("two"));
        self.sync_and_settle();
        assert_eq!(self.directory.bytes(&login, attribute), mine("two"), "byte for byte");

        // A large PNG goes as a JPEG, and as a small one where the attribute takes no more.
        let png = large_png();
        self.world.pbx().set_photo(user, &png);
        self.sync_and_settle();
        let there = self.directory.bytes(&login, attribute);
        assert!(there.starts_with(b"\xff\xd8\xff") && there != png);
        let most = if self.directory.kind == Kind::ActiveDirectory { 100 << 10 } else { 5 << 20 };
        assert!(there.len() <= most, "{} bytes", there.len());
        assert_eq!(md5_hex(&self.world.pbx().photo(user)), md5_hex(&png), "the PBX keeps its own");

        // What is no image is refused with a note and changes nothing.
        if self.directory.kind == Kind::ActiveDirectory {
            self.directory.set_bytes(&login, attribute, &[b"\xff\xd8\xff\xe0".as_slice(), &[7; 3000]].concat());
            let answer = self.sync();
            let notes = row(answer.list(), &self.people[9].name)["notes"].to_string();
            assert!(notes.contains("no image"), "{notes}");
            assert_eq!(md5_hex(&self.world.pbx().photo(user)), md5_hex(&png));
        }
        self.directory.set_bytes(&login, attribute, &mine("three"));
        self.sync_and_settle();
        assert_eq!(md5_hex(&self.world.pbx().photo(user)), md5_hex(&mine("three")));
        self.world.pbx().set_photo(user, b"");
        self.sync_and_settle();
        assert_eq!(self.directory.bytes(&login, attribute), b"");
        self.directory.set_bytes(&login, attribute, &mine("four"));
        self.sync_and_settle();
        self.directory.set_bytes(&login, attribute, b"");
        self.sync_and_settle();
        assert_eq!(self.world.pbx().photo(user), b"");
        self.at_time(story_time);
    }

    fn secrets(&mut self) {
        let (user, attribute) = (self.user(10), secret_attribute(self.directory.kind));
        self.directory.set(&self.login(10), attribute, GOOD_SECRET);
        self.sync_and_settle();
        assert_eq!(self.world.pbx().secret(user), GOOD_SECRET);
        let other: String = GOOD_SECRET.chars().rev().collect();
        self.world.pbx().set_secret(user, &other);
        self.sync_and_settle();
        assert_eq!(self.attribute(10, attribute), other);

        self.directory.set(&self.login(10), attribute, "12345");
        self.sync();
        let conflict = self.only_conflict("secret-refused");
        assert_eq!((&conflict["directoryValue"], &conflict["pbxValue"]), (&json!("secret"), &json!("secret")));
        assert_eq!(self.world.pbx().secret(user), other);
        self.resolve(&conflict, "pbx");
        self.sync_and_settle();
        assert_eq!(self.attribute(10, attribute), other);
        self.directory.set(&self.login(10), attribute, "");
        self.sync_and_settle();
        assert_eq!(self.attribute(10, attribute), other, "the PBX never loses a secret");
    }

    /// Disabled, moved away, deleted: listed with different reasons, kept, stopped where the settings say so; back again
    /// exactly as before; and a new entry of the same person.
    fn leavers(&mut self) {
        self.change_settings(json!({"stopLeaversAfter": 1}));
        let users = [self.user(11), self.user(12), self.user(13)];
        let number = self.world.pbx().employee(users[0]).number;
        let queue = "insert into m_CallQueueMembers (queue, extension, priority)
            select uniqid, ?1, 9 from m_CallQueues order by id limit 1";
        self.world.pbx().execute(queue, &[&number]);
        let before = self.world.pbx().dump();
        self.directory.switch(&self.login(11), false);
        self.directory.move_to(&self.login(12), &self.directory.outside());
        self.directory.delete(&self.login(13));
        self.sync();
        assert_pbx_unchanged(&before, &self.world.pbx().dump(), "people leaving");
        let listed = self.plugin.request("get-disabled-ldap-users", json!({"id": self.id}));
        let states: Vec<(i64, String)> = listed
            .list()
            .iter()
            .map(|row| (row["userId"].as_i64().expect("an id"), row["state"].as_str().expect("a state").to_owned()))
            .collect();
        for (user, state) in users.into_iter().zip(["disabled", "moved", "absent"]) {
            assert!(states.contains(&(user, state.to_owned())), "{states:?}");
        }
        let queued = listed.list().iter().find(|row| row["userId"] == json!(users[0])).expect("listed");
        assert!(queued["usedBy"].to_string().contains("queue"), "{queued}");
        assert!(
            queued["since"].as_i64() == Some(self.now) && queued["why"].to_string().contains("disabled"),
            "{queued}"
        );

        // A day later the accounts are switched off, and nothing else.
        self.at_time(self.now + 86_400_000);
        self.world.installation.forget();
        self.sync();
        self.world.assert_announced_exactly(&before);
        assert!(users.into_iter().all(|user| self.world.pbx().is_off(user)));
        self.world.assert_rows_are_mikopbx(112);
        self.sync_and_settle();

        // Back in the directory: exactly as they were.
        self.directory.switch(&self.login(11), true);
        self.directory.move_to(&self.login(12), &self.directory.people);
        self.sync_and_settle();
        assert!(!self.world.pbx().is_off(users[0]) && !self.world.pbx().is_off(users[1]));

        // The same person under a new entry.
        let again = ldif(&[self.people[13].clone()], self.directory.kind, &self.directory.people);
        self.directory.add(&again);
        self.sync();
        let conflict = self.only_conflict("re-hire");
        assert_eq!(conflict["userId"], json!(users[2]), "{conflict}");
        self.resolve(&conflict, "link");
        self.sync_and_settle();
        assert_eq!(self.user(13), users[2], "no second employee");
        assert!(!self.world.pbx().is_off(users[2]));
        let after = self.world.pbx().dump();
        let of_people = |rows: &super::pbx::Rows| {
            let mut rows = rows.clone();
            rows.retain(|(table, _), _| table.starts_with("m_"));
            rows
        };
        assert_pbx_unchanged(&of_people(&before), &of_people(&after), "leaving and coming back");

        // Deleted where the settings say so: only whom a synchronisation made, and nothing points at.
        self.change_settings(json!({"stopLeaversAfter": null, "deleteLeaversAfter": 0}));
        self.directory.switch(&self.login(11), false);
        self.directory.delete(&self.login(13));
        self.world.installation.forget();
        let before = self.world.pbx().dump();
        self.sync();
        let employees = self.world.pbx().employees();
        assert!(employees.iter().any(|row| row.user_id == users[0]), "a queue still points at this one");
        assert!(employees.iter().all(|row| row.user_id != users[2]), "deleted");
        self.world.assert_announced_exactly(&before);
        self.world.assert_rows_are_mikopbx(112);
        self.change_settings(json!({"deleteLeaversAfter": null}));
        self.directory.switch(&self.login(11), true);
        self.sync_and_settle();
        self.people.pop();
    }

    fn deleted_on_the_pbx(&mut self) {
        let user = self.user(12);
        self.world.pbx().delete(user);
        self.sync();
        let conflict = self.only_conflict("employee-deleted");
        let explained = self.plugin.request("explain-person", json!({"userId": user}));
        assert_eq!(explained.data()["conflicts"][0]["cause"], json!("employee-deleted"));
        self.resolve(&conflict, "create");
        self.sync_and_settle();
        assert_ne!(self.user(12), user, "made again");
        let employee = self.world.pbx().employee(self.user(12));
        assert_eq!(self.attribute(12, "telephoneNumber"), employee.number);
        let explained = self.plugin.request("explain-person", json!({"userId": employee.user_id}));
        let fields = explained.data()["servers"][0]["fields"].to_string();
        assert!(
            fields.contains("new in the directory") && !fields.contains(&self.world.pbx().secret(employee.user_id))
        );
    }

    fn nothing_secret_is_told(&mut self) {
        let mut told = self.world.installation.log_text();
        let runs = self.plugin.request("get-runs", json!({"id": self.id})).list().to_vec();
        for run in runs {
            told += &self.plugin.request("get-run", json!({"runId": run["runId"]})).body.to_string();
        }
        let module = std::fs::read(self.world.module_database()).expect("the module's database");
        let stored = String::from_utf8_lossy(&module).into_owned();
        for at in 0..self.people.len() {
            let secret = self.world.pbx().secret(self.user(at));
            assert!(!told.contains(&secret), "a SIP secret is in the log or in an answer");
            assert!(!stored.contains(&secret), "a SIP secret is in the module's database");
        }
        assert!(!told.contains(GOOD_SECRET) && !stored.contains(GOOD_SECRET));
    }
}

/// A PNG of noise, several hundred kilobytes large, made by the interpreter the tests have anyway.
fn large_png() -> Vec<u8> {
    let script = "import base64,random,struct,zlib\n\
        random.seed(7)\n\
        rows=b''.join(b'\\0'+random.randbytes(3*400) for _ in range(300))\n\
        def chunk(kind,data): return struct.pack('>I',len(data))+kind+data+struct.pack('>I',zlib.crc32(kind+data))\n\
        png=b'\\x89PNG\\r\\n\\x1a\\n'+chunk(b'IHDR',struct.pack('>IIBBBBB',400,300,8,2,0,0,0))\n\
        png+=chunk(b'IDAT',zlib.compress(rows))+chunk(b'IEND',b'')\n\
        print(base64.b64encode(png).decode())\n";
    let python = Path::new("/usr/bin/python3");
    let text = run(std::process::Command::new(python).args(["-c", script]));
    STANDARD.decode(text.trim()).expect("base64")
}
