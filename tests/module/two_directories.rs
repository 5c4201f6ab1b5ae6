//! The same person in two directories: one employee only when an administrator links them, and the directories never
//! fight over the values.

use crate::support::directory::Directory;
use crate::support::host::Plugin;
use crate::support::people::{Someone, crowd};
use crate::support::servers::slapd;
use crate::support::world::{World, row, sync};
use serde_json::{Value, json};

struct Both<'a> {
    world: &'a World,
    directories: [&'a Directory; 2],
    plugin: Plugin,
    ids: [Value; 2],
}

impl Both<'_> {
    fn sync(&mut self, at: usize) {
        sync(&mut self.plugin, &self.ids[at].clone());
    }

    /// Runs of both servers; the last ones change nothing anywhere.
    fn settle(&mut self, what: &str) {
        for at in [0, 1, 0, 1] {
            self.sync(at);
        }
        let before = self.directories.map(|directory| self.world.sides(directory));
        for at in [0, 1, 1, 0] {
            self.sync(at);
        }
        for (directory, before) in self.directories.iter().zip(&before) {
            self.world.assert_unchanged(directory, before, what);
        }
        self.world.assert_rows_are_mikopbx(112);
    }

    fn conflicts(&mut self, at: usize) -> Vec<Value> {
        self.plugin.request("get-server-conflicts", json!({"id": self.ids[at]})).list().to_vec()
    }

    fn resolve(&mut self, conflict: &Value, choice: &str) {
        let body = json!({"recordId": conflict["id"], "choice": choice});
        self.plugin.request("resolve-conflict", body).data();
    }

    fn values(&self, at: usize, login: &str, attribute: &str) -> String {
        self.directories[at].values(login, attribute).join("|")
    }

    fn left(&mut self) -> Vec<Value> {
        let all = self.ids.clone().map(|id| self.plugin.request("get-disabled-ldap-users", json!({"id": id})));
        all.iter().flat_map(|answer| answer.list().to_vec()).collect()
    }
}

#[test]
fn one_person_in_two_directories_is_one_employee_only_when_an_administrator_says_so() {
    let people = crowd(8);
    let twin = Someone::new("twin", &people[0].name).mail("person00001@example.test").mobile("+7 916 000-00-01");
    let others: Vec<Someone> = [twin].into_iter().chain(people[5..].iter().cloned()).collect();
    let Some(first) = slapd::start(&people[..5]) else { return };
    let Some(second) = slapd::start(&others) else { return };
    let world = World::new();
    let (mut plugin, one) = world.install(&first.settings("none"));
    sync(&mut plugin, &one);
    let employees = world.pbx().employees().len();
    let two = plugin.save_server(&second.settings("none"));
    assert_ne!(one, two);
    let answer = sync(&mut plugin, &two);
    assert!(answer.information().starts_with("3 new, 0 updated"), "{}", answer.body);
    assert_eq!(row(answer.list(), &people[0].name)["usersSyncResult"], json!("CONFLICT"));
    assert_eq!(world.pbx().employees().len(), employees + 3, "nobody twice");

    let mut both = Both { world: &world, directories: [&first, &second], plugin, ids: [one, two] };
    let user = world.pbx().employee_named(&people[0].name).user_id;
    let conflicts = both.conflicts(1);
    assert_eq!((conflicts.len(), &conflicts[0]["cause"]), (1, &json!("already-linked")), "{conflicts:#?}");
    both.resolve(&conflicts[0], "link");
    both.settle("a person linked to both directories");
    assert_eq!(world.pbx().employees().len(), employees + 3);
    let number = world.pbx().employee(user).number;
    assert_eq!(both.values(1, "twin", "telephoneNumber"), number, "the second directory learns the number");
    assert_eq!(both.values(0, &people[0].login, "telephoneNumber"), number);

    // An edit in one directory reaches the other by the PBX, whichever it is.
    let login = people[0].login.as_str();
    for (from, edited, to, reached) in [(0, login, 1, "twin"), (1, "twin", 0, login)] {
        let mail = format!("edited.in.{from}@example.test");
        both.directories[from].set(edited, "mail", &mail);
        both.settle(&format!("an edit in directory {from}"));
        assert_eq!(both.values(to, reached, "mail"), mail);
        assert_eq!(world.pbx().employee(user).email, mail);
    }
    assert_eq!((both.conflicts(0), both.conflicts(1)), (Vec::new(), Vec::new()));

    // Both edited differently: the second waits for a decision, and no run undoes what another made.
    first.set(login, "mail", "from.one@example.test");
    second.set("twin", "mail", "from.two@example.test");
    both.settle("edits in both directories");
    assert_eq!(both.values(0, login, "mail"), "from.one@example.test");
    assert_eq!(both.values(1, "twin", "mail"), "from.two@example.test");
    assert_eq!(world.pbx().employee(user).email, "from.one@example.test");
    let waiting = both.conflicts(1);
    assert_eq!((waiting.len(), &waiting[0]["cause"]), (1, &json!("both-changed")), "{waiting:#?}");
    both.resolve(&waiting[0], "directory");
    both.settle("the decision");
    for (at, edited) in [(0, login), (1, "twin")] {
        assert_eq!(both.values(at, edited, "mail"), "from.two@example.test");
    }
    assert_eq!((both.conflicts(0), both.conflicts(1)), (Vec::new(), Vec::new()));

    // Whoever leaves one of both is still here; whoever leaves both is listed.
    second.delete("twin");
    both.settle("a person deleted from one directory");
    assert_eq!(both.left(), Vec::<Value>::new());
    first.delete(login);
    both.settle("a person deleted from both");
    let left = both.left();
    assert!(!left.is_empty() && left.iter().all(|person| person["userId"] == json!(user)), "{left:#?}");
    assert_eq!(world.pbx().employee(user).number, number, "account and number stay");
}
