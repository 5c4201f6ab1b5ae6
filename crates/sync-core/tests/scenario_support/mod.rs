//! A whole synchronisation in one process: the PBX's and the module's databases are real files; the directory and the host
//! are doubles, because the faults tried here cannot be ordered from a real server.

mod directory;
mod host;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use sync_core::directory::Coverage;
use sync_core::journal::{Journal, PeopleQuery};
use sync_core::limits::Limits;
use sync_core::link::Link;
use sync_core::pbx::{Pbx, Task};
use sync_core::person::{DirectoryKey, Field};
use sync_core::plan::{Conflict, PersonPlan};
use sync_core::policy::Policy;
use sync_core::report::PersonOutcome;
use sync_core::run::{Job, Report, RunError, Session, synchronise};
use tempfile::TempDir;

pub(crate) use directory::DirectoryDouble;
pub(crate) use host::HostDouble;

use crate::pbx_support::{Fixture, update, vault};

/// The attributes of the server's mapping.
const ATTRIBUTES: [(Field, &str); 5] = [
    (Field::Name, "displayName"),
    (Field::Number, "telephoneNumber"),
    (Field::Mobile, "mobile"),
    (Field::Email, "mail"),
    (Field::Photo, "jpegPhoto"),
];

/// Fingerprints of the mapping.
const MAPPING: &str = "a mapping";
pub(crate) const ANOTHER_MAPPING: &str = "another mapping";

/// A PBX, an installed module with one server, and the server's directory.
pub(crate) struct Scene {
    pub(crate) pbx: Fixture,
    pub(crate) journal: Journal,
    pub(crate) directory: DirectoryDouble,
    pub(crate) host: HostDouble,
    pub(crate) policy: Policy,
    pub(crate) limits: Limits,
    module: TempDir,
    random: u32,
}

impl Scene {
    pub(crate) fn new() -> Scene {
        let module = TempDir::new().expect("temporary directory");
        let mut journal = Journal::install(module.path()).expect("installs");
        let policy = Policy {
            server_id: save_server(&mut journal, None, MAPPING),
            fingerprint: MAPPING.to_owned(),
            attributes: ATTRIBUTES.map(|(field, name)| (field, name.to_owned())).into(),
            write_back: true,
            forward_to_mobile: true,
            ..Policy::default()
        };
        Scene {
            pbx: Fixture::new(),
            journal,
            directory: DirectoryDouble::default(),
            host: HostDouble::default(),
            policy,
            limits: Limits::default(),
            module,
            random: 0,
        }
    }

    /// From here on another server, with an empty directory, is synchronised.
    pub(crate) fn switch_to_another_server(&mut self) {
        self.policy.server_id = save_server(&mut self.journal, None, MAPPING);
        self.directory = DirectoryDouble::default();
    }

    /// The administrator saves another mapping.
    pub(crate) fn change_mapping(&mut self) {
        save_server(&mut self.journal, Some(self.policy.server_id), ANOTHER_MAPPING);
        self.policy.fingerprint = ANOTHER_MAPPING.to_owned();
    }

    /// A second connection to the module's database, as a call during a run has it.
    pub(crate) fn another_journal(&self) -> impl Fn() -> Journal + 'static {
        let module = self.module.path().to_owned();
        move || Journal::open(&module).expect("opens")
    }

    /// The module's database, past the journal.
    pub(crate) fn module_database(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.journal.paths().database()).expect("the module's database")
    }

    /// Synchronises by hand.
    pub(crate) fn try_sync(&mut self) -> Result<Report, RunError> {
        self.run(self.limits.clone(), true).map(|report| report.expect("a run that somebody started"))
    }

    /// Synchronises as a tick does that looks at people who may have changed; must succeed.
    pub(crate) fn tick(&mut self) -> Option<Report> {
        let limits = Limits { tick: true, ..self.limits.clone() };
        self.run(limits, false).expect("the run succeeds")
    }

    fn run(&mut self, limits: Limits, complete: bool) -> Result<Option<Report>, RunError> {
        let paths = self.journal.paths();
        let spool = paths.spool().join("of-this-run");
        let vault = vault();
        let (database, media) = (self.pbx.database(), self.pbx.media());
        let mut pbx =
            Pbx::open(&database, &media, &spool, &paths.replaced_photos(), Arc::clone(&vault)).expect("opens");
        let state = &mut self.random;
        // A linear congruential generator: the same names and secrets in every run of a test.
        let mut random = |buffer: &mut [u8]| {
            for byte in buffer {
                *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                *byte = (*state >> 16) as u8;
            }
        };
        let mut session = Session {
            journal: &mut self.journal,
            pbx: &mut pbx,
            directory: &mut self.directory,
            host: &self.host,
            spool: &spool,
            vault,
            random: &mut random,
        };
        synchronise(Job { limits, complete, ..Job::by_hand(&self.policy) }, &mut session)
    }

    /// Synchronises by hand; must succeed.
    pub(crate) fn sync(&mut self) -> Report {
        self.try_sync().expect("the run succeeds")
    }

    /// Synchronises until the process "dies" in the directory double; afterwards the databases are opened anew.
    pub(crate) fn sync_and_die(&mut self) {
        assert!(catch_unwind(AssertUnwindSafe(|| self.try_sync())).is_err(), "the directory double kills the run");
        self.journal = self.another_journal()();
        self.directory.dies_after_writes = None;
    }

    /// A run whose PBX transaction is committed and which then cannot settle anything, as one that dies at that moment.
    pub(crate) fn sync_without_settling(&mut self) {
        let module = self.module_database();
        for event in ["INSERT", "UPDATE"] {
            let sql = format!(
                "CREATE TRIGGER refuse_{event} BEFORE {event} ON links BEGIN SELECT RAISE(ABORT, 'the process died'); END"
            );
            module.execute_batch(&sql).expect("a trigger");
        }
        self.try_sync().expect_err("nothing can be settled");
        module.execute_batch("DROP TRIGGER refuse_INSERT; DROP TRIGGER refuse_UPDATE").expect("no trigger");
        assert!(!self.journal.open_intents().expect("intents").is_empty(), "an intent is left open");
    }

    /// Changes an employee as the PBX's administrator.
    pub(crate) fn edit_on_pbx(&self, user_id: i64, values: &[(Field, &str)]) {
        self.pbx.apply(&[Task::Update(update(&self.pbx, user_id, values))]);
    }

    /// As [`Scene::edit_on_pbx`], where the PBX may refuse the value.
    pub(crate) fn try_edit_on_pbx(&self, user_id: i64, values: &[(Field, &str)]) {
        let snapshot = self.pbx.open().read().expect("reads");
        if snapshot.employees.iter().any(|employee| employee.user_id == user_id) {
            self.pbx.apply(&[Task::Update(update(&self.pbx, user_id, values))]);
        }
    }

    /// The media directory cannot be reached while `body` runs.
    pub(crate) fn without_media<T>(&mut self, body: impl FnOnce(&mut Scene) -> T) -> T {
        let (media, aside) = (self.pbx.media(), self.pbx.directory.path().join("media-is-away"));
        std::fs::rename(&media, &aside).expect("a directory can be moved");
        let result = body(self);
        std::fs::rename(&aside, &media).expect("a directory can be moved back");
        result
    }

    /// How many `m_Users` rows have this name.
    pub(crate) fn employees_named(&self, name: &str) -> i64 {
        let sql = "SELECT count(*) FROM m_Users WHERE username = ?1";
        self.pbx.connect().query_row(sql, [name], |row| row.get(0)).expect("a count")
    }

    /// One column of `m_Users` of the employee with this name.
    pub(crate) fn user_column(&self, column: &str, name: &str) -> String {
        let sql = format!("SELECT coalesce({column}, '') FROM m_Users WHERE username = ?1");
        self.pbx.connect().query_row(&sql, [name], |row| row.get(0)).unwrap_or_else(|_| panic!("no employee {name}"))
    }

    /// The internal number of the employee with this name.
    pub(crate) fn number_of(&self, name: &str) -> String {
        self.extension_of(name, "SIP")
    }

    /// The mobile of the employee with this name; empty without one.
    pub(crate) fn mobile_of(&self, name: &str) -> String {
        self.extension_of(name, "EXTERNAL")
    }

    fn extension_of(&self, name: &str, kind: &str) -> String {
        let sql = "SELECT coalesce(max(e.number), '') FROM m_Users u JOIN m_Extensions e ON e.userid = u.id
            WHERE u.username = ?1 AND e.type = ?2";
        self.pbx.connect().query_row(sql, [name, kind], |row| row.get(0)).expect("a number")
    }

    /// The link of one entry.
    pub(crate) fn link(&self, key: &str) -> Option<Link> {
        let links = self.journal.links(self.policy.server_id).expect("links");
        links.into_iter().find(|link| link.key == DirectoryKey(key.to_owned()))
    }

    /// The only person of the people page.
    pub(crate) fn only_listed_person(&self) -> Link {
        let query = PeopleQuery { limit: 10, ..PeopleQuery::default() };
        let (mut people, _) = self.journal.people(&query).expect("people");
        assert_eq!(people.len(), 1, "{people:?}");
        people.remove(0)
    }

    /// Synchronises; neither side may change.
    pub(crate) fn assert_settled(&mut self) {
        let (pbx, directory) = (self.pbx.dump(), self.directory.values());
        let report = self.sync();
        assert_eq!(self.directory.values(), directory, "the next run changed the directory: {}", told(&report));
        assert_eq!(
            crate::pbx_support::differences(&pbx, &self.pbx.dump()),
            crate::pbx_support::NOTHING,
            "the next run changed the PBX: {}",
            told(&report)
        );
    }
}

/// Saves a server, a new one without `id`, and answers its id.
pub(crate) fn save_server(journal: &mut Journal, id: Option<i64>, fingerprint: &str) -> i64 {
    journal.save_server(id, "{}", true, None, fingerprint).expect("a server").id
}

/// What a run planned and did for one entry.
pub(crate) fn about<'a>(report: &'a Report, key: &str) -> (&'a PersonPlan, &'a PersonOutcome) {
    let mut all = report.plan.people.iter().zip(&report.outcomes);
    all.find(|(plan, _)| plan.person.entry.key.as_str() == key).unwrap_or_else(|| panic!("nothing about {key}"))
}

/// What a run left for a human about one entry.
pub(crate) fn conflicts_of<'a>(report: &'a Report, key: &str) -> Vec<&'a Conflict> {
    let (plan, outcome) = about(report, key);
    plan.conflicts.iter().chain(&outcome.conflicts).collect()
}

/// Why a field of an entry is not as one side wants it: its conflicts and notes.
pub(crate) fn reasons(report: &Report, key: &str, field: Field) -> String {
    let (plan, outcome) = about(report, key);
    let conflicts = conflicts_of(report, key).into_iter().filter(|conflict| conflict.field == Some(field));
    let notes = plan.notes.iter().chain(&outcome.notes).filter(|note| note.field == Some(field));
    conflicts.map(|conflict| conflict.reason.clone()).chain(notes.map(|note| note.text.clone())).collect()
}

/// A read that did not bring everybody.
pub(crate) fn partial() -> Coverage {
    Coverage::Partial("the server cut the answer".to_owned())
}

/// A run in words, for failed assertions.
pub(crate) fn told(report: &Report) -> String {
    let people = report.plan.people.iter().zip(&report.outcomes).map(|(plan, outcome)| {
        let (key, action, user) = (&plan.person.entry.key.0, plan.action, outcome.user_id);
        let conflicts = plan.conflicts.iter().chain(&outcome.conflicts).map(|conflict| &conflict.reason);
        let conflicts: Vec<_> = conflicts.collect();
        format!(
            "\n  {key} {action:?} user {user:?} {:?} -> {:?} conflicts {conflicts:?}",
            plan.changes, outcome.changes
        )
    });
    format!("{}{}", report.summary, people.collect::<String>())
}
