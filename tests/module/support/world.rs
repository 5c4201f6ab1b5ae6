//! One PBX with one installed module, in a temporary directory, and what a test says about both sides.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::build::built;
use super::directory::{Directory, Dump};
use super::employee_check::employee_rows_check;
use super::host::{Answer, Installation, Plugin};
use super::pbx::{Pbx, Rows, differences, expected_events};
use super::run;

/// A demo PBX and the place of a module.
pub(crate) struct World {
    pub(crate) installation: Installation,
    files: tempfile::TempDir,
}

/// Both sides at one moment.
pub(crate) struct Sides {
    pub(crate) pbx: Rows,
    pub(crate) directory: Dump,
}

impl World {
    /// A fresh demo PBX without the module.
    pub(crate) fn new() -> World {
        let files = tempfile::Builder::new().prefix("pbx-").tempdir().expect("a temporary directory");
        run(Command::new(&built().host).arg("demo-pbx").arg(files.path()));
        World::around(files)
    }

    /// A copy of this world, with a PBX and a module of its own.
    pub(crate) fn copy(&self) -> World {
        let files = tempfile::Builder::new().prefix("pbx-").tempdir().expect("a temporary directory");
        run(Command::new("cp").arg("-a").arg(self.path().join(".")).arg(files.path()));
        World::around(files)
    }

    fn around(files: tempfile::TempDir) -> World {
        let path = |name: &str| files.path().join(name);
        let module = path("ModuleLdapSync");
        fs::create_dir_all(&module).expect("the module's directory");
        let pbx = Pbx { database: path("mikopbx.db"), media: path("media") };
        let installation = Installation { module, pbx, announced: path("announced.jsonl"), log: path("plugin.log") };
        World { installation, files }
    }

    pub(crate) fn path(&self) -> &Path {
        self.files.path()
    }

    pub(crate) fn pbx(&self) -> &Pbx {
        &self.installation.pbx
    }

    /// The module's own database.
    pub(crate) fn module_database(&self) -> PathBuf {
        self.installation.module.join("db/module.db")
    }

    /// Starts the plugin, installs it and saves `settings`; answers the plugin and the server's id.
    pub(crate) fn install(&self, settings: &Value) -> (Plugin, Value) {
        let mut plugin = self.installation.start();
        plugin.install().data();
        let id = plugin.save_server(settings);
        (plugin, id)
    }

    /// Both sides now.
    pub(crate) fn sides(&self, directory: &Directory) -> Sides {
        Sides { pbx: self.pbx().dump(), directory: directory.dump() }
    }

    /// Nothing differs on either side, not even a change mark of the directory.
    pub(crate) fn assert_unchanged(&self, directory: &Directory, before: &Sides, what: &str) {
        assert_pbx_unchanged(&before.pbx, &self.pbx().dump(), what);
        assert!(before.directory == directory.dump(), "{what} changed the directory");
    }

    /// The rows of employees with greater ids are what MikoPBX would have written.
    pub(crate) fn assert_rows_are_mikopbx(&self, after: i64) {
        let found = employee_rows_check(self.pbx(), after);
        assert!(found.is_empty(), "{} deviations from MikoPBX's own rows:\n{}", found.len(), found.join("\n"));
    }

    /// What was announced since the last `forget` is what differs from `before`: all of it, once, and nothing else.
    pub(crate) fn assert_announced_exactly(&self, before: &Rows) {
        let announced = self.installation.announced();
        let set: BTreeSet<_> = announced.iter().cloned().collect();
        assert_eq!(set, expected_events(before, &self.pbx().dump()), "announced (left) and changed (right) records");
        assert_eq!(announced.len(), set.len(), "records announced more than once: {announced:?}");
    }

    /// Everything that differs from `before` was announced; announcing more than that is allowed after a crash.
    pub(crate) fn assert_announced_at_least(&self, before: &Rows) {
        let announced: BTreeSet<_> = self.installation.announced().into_iter().collect();
        let changed = expected_events(before, &self.pbx().dump());
        let missing: Vec<_> = changed.difference(&announced).collect();
        assert!(missing.is_empty(), "changed and never announced: {missing:?}");
    }
}

/// Ends the test with the differences, if there are any.
pub(crate) fn assert_pbx_unchanged(before: &Rows, after: &Rows, what: &str) {
    let found = differences(before, after);
    assert!(found.is_empty(), "{what} changed the PBX: {found:#?}");
}

/// Makes a preview; answers its data.
pub(crate) fn preview(plugin: &mut Plugin, id: &Value) -> Value {
    plugin.request("preview-sync", json!({"id": id})).data().clone()
}

/// Makes a synchronisation that must succeed; answers its rows.
pub(crate) fn sync(plugin: &mut Plugin, id: &Value) -> Answer {
    let answer = plugin.request("sync-ldap-users", json!({"id": id}));
    answer.list();
    answer
}

/// The row about the person of this name.
pub(crate) fn row<'a>(rows: &'a [Value], name: &str) -> &'a Value {
    let found: Vec<&Value> = rows.iter().filter(|row| row["name"] == json!(name)).collect();
    assert_eq!(found.len(), 1, "rows about {name}: {found:?}");
    found[0]
}

/// How many rows have this result.
pub(crate) fn count(rows: &[Value], result: &str) -> usize {
    rows.iter().filter(|row| row["usersSyncResult"] == json!(result)).count()
}
