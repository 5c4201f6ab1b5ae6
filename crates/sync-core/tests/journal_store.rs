//! The file of the module's database: made, taken over, brought forward, refused.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rusqlite::Connection;
use secrecy::ExposeSecret;
use sync_core::journal::{Journal, JournalError, MIGRATIONS, Paths, RunLock};

/// The tables that the module's PHP predecessor leaves in the same file, with a row in each that matters.
const PHP_MODULE: &str = r#"
    CREATE TABLE "m_ModuleLdapSyncServers" (
        `id` INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, `serverName` VARCHAR(0) NOT NULL,
        `administrativePassword` VARCHAR(0) NOT NULL, `disabled` VARCHAR(1) NOT NULL);
    CREATE TABLE "m_ModuleLdapSync_Users" (
        `id` INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, `user_id` VARCHAR(0) NOT NULL,
        `server_id` VARCHAR(0) NOT NULL, `guid` VARCHAR(0) NOT NULL);
    INSERT INTO m_ModuleLdapSyncServers VALUES (1, 'dc1.example.org', 'clear', '0');
    INSERT INTO m_ModuleLdapSync_Users VALUES (7, '12', '1', '0b5ef2a1-0000-4000-8000-000000000001');
"#;

struct Module {
    dir: tempfile::TempDir,
    paths: Paths,
}

fn module() -> Module {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let paths = Paths::new(dir.path());
    Module { dir, paths }
}

impl Module {
    fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The database, opened past the journal.
    fn raw(&self) -> Connection {
        fs::create_dir_all(self.paths.directory()).expect("the db directory");
        Connection::open(self.paths.database()).expect("module.db opens")
    }

    fn refusal(&self) -> JournalError {
        Journal::open(self.path()).err().expect("opening must fail")
    }

    /// Our part of the schema, as SQLite keeps it.
    fn schema(&self) -> Vec<(String, String)> {
        let raw = self.raw();
        let query = "SELECT name, coalesce(sql, '') FROM sqlite_schema
                     WHERE name NOT LIKE 'm\\_ModuleLdapSync%' ESCAPE '\\' ORDER BY name";
        let mut statement = raw.prepare(query).expect("a query");
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).expect("rows");
        rows.collect::<Result<_, _>>().expect("a schema")
    }
}

fn version(connection: &Connection) -> u32 {
    connection.pragma_query_value(None, "user_version", |row| row.get(0)).expect("a version")
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("the file is there").permissions().mode() & 0o7777
}

#[test]
fn every_past_version_ends_at_the_same_schema() {
    assert_eq!(MIGRATIONS.len(), 9, "a new migration needs a look at this test");
    let fresh = module();
    Journal::install(fresh.path()).unwrap();
    let wanted = fresh.schema();
    assert!(wanted.iter().any(|(name, sql)| name == "pbx_edits" && sql.contains("STRICT")), "{wanted:?}");

    for past in 1..=MIGRATIONS.len() {
        let old = module();
        let raw = old.raw();
        for step in &MIGRATIONS[..past] {
            raw.execute_batch(step).unwrap();
        }
        raw.pragma_update(None, "user_version", past as u32).unwrap();
        raw.execute("INSERT INTO servers (settings) VALUES ('{\"kept\":1}')", []).unwrap();
        let waits = past >= 2 && raw.execute("INSERT INTO outbox (event) VALUES ('{\"n\":1}')", []).is_ok();
        drop(raw);
        let journal = Journal::open(old.path()).unwrap();
        assert_eq!(journal.servers().unwrap()[0].settings, "{\"kept\":1}", "from version {past}");
        assert_eq!(journal.outbox(10).unwrap().1, if waits { "[{\"n\":1}]" } else { "[]" }, "from version {past}");
        assert_eq!(waits, past >= 2);
        assert_eq!(old.schema(), wanted, "from version {past}");
        assert_eq!(version(&old.raw()) as usize, MIGRATIONS.len());
    }
}

#[test]
fn tables_of_the_php_module_stay_and_ours_are_added() {
    let fresh = module();
    Journal::install(fresh.path()).unwrap();
    let taken_over = module();
    taken_over.raw().execute_batch(PHP_MODULE).unwrap();
    assert!(matches!(taken_over.refusal(), JournalError::NotInstalled { .. }));

    Journal::install(taken_over.path()).unwrap();
    assert_eq!(taken_over.schema(), fresh.schema());
    let query = "SELECT user_id || ' ' || guid FROM m_ModuleLdapSync_Users";
    let link: String = taken_over.raw().query_row(query, [], |row| row.get(0)).unwrap();
    assert_eq!(link, "12 0b5ef2a1-0000-4000-8000-000000000001");
    let query = "SELECT serverName FROM m_ModuleLdapSyncServers";
    let server: String = taken_over.raw().query_row(query, [], |row| row.get(0)).unwrap();
    assert_eq!(server, "dc1.example.org");
}

#[test]
fn installing_twice_keeps_everything() {
    let module = module();
    let mut journal = Journal::install(module.path()).unwrap();
    journal.save_server(None, "{}", true, Some(&"one".into()), "").unwrap();
    drop(journal);
    let key = fs::read(module.paths.key()).unwrap();
    let schema = module.schema();

    let journal = Journal::install(module.path()).unwrap();
    assert_eq!(journal.servers().unwrap().len(), 1);
    assert_eq!(fs::read(module.paths.key()).unwrap(), key);
    assert_eq!(module.schema(), schema);
    assert_eq!(mode(module.paths.directory()), 0o700);
}

#[test]
fn the_pragmas_of_the_file_are_as_promised() {
    let module = module();
    let mut journal = Journal::install(module.path()).unwrap();
    let pragma =
        |tx: &Connection, name| tx.pragma_query_value(None, name, |row| row.get::<_, rusqlite::types::Value>(0));
    let found = journal
        .write(|tx| {
            Ok(["journal_mode", "synchronous", "foreign_keys", "busy_timeout"].map(|name| pragma(tx, name).unwrap()))
        })
        .unwrap();
    let number = rusqlite::types::Value::Integer;
    assert_eq!(found, [rusqlite::types::Value::Text("delete".into()), number(2), number(1), number(5000)]);
    let names: Vec<_> = fs::read_dir(module.paths.directory()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(names.iter().all(|name| !name.to_string_lossy().contains("-wal")), "{names:?}");
}

#[test]
fn a_module_that_is_not_installed_says_so() {
    let module = module();
    let error = module.refusal();
    assert!(matches!(error, JournalError::NotInstalled { .. }));
    let text = error.to_string();
    assert!(text.contains("db/module.db") && text.contains("install the module first"), "{text}");
    assert!(!module.paths.directory().exists(), "opening makes nothing");

    // An empty file is what a backup of nothing leaves.
    fs::create_dir(module.paths.directory()).unwrap();
    fs::write(module.paths.database(), "").unwrap();
    assert!(matches!(module.refusal(), JournalError::NotInstalled { .. }));
}

#[test]
fn a_newer_database_is_refused_and_left_alone() {
    let module = module();
    Journal::install(module.path()).unwrap();
    module.raw().pragma_update(None, "user_version", 4711).unwrap();
    let before = fs::read(module.paths.database()).unwrap();
    for error in [module.refusal(), Journal::install(module.path()).err().unwrap()] {
        assert!(matches!(error, JournalError::Newer { found: 4711, known: 9, .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains("db/module.db") && text.contains("newer version of the module"), "{text}");
    }
    assert_eq!(fs::read(module.paths.database()).unwrap(), before);
}

#[test]
fn a_damaged_file_is_named_and_left_alone() {
    let module = module();
    fs::create_dir(module.paths.directory()).unwrap();
    let garbage = "this is no database, but it is long enough for SQLite to have a look at it. ".repeat(40);
    fs::write(module.paths.database(), &garbage).unwrap();
    for error in [module.refusal(), Journal::install(module.path()).err().unwrap()] {
        assert!(matches!(error, JournalError::Damaged { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains("db/module.db") && text.contains("backup"), "{text}");
    }
    assert_eq!(fs::read_to_string(module.paths.database()).unwrap(), garbage);
}

#[test]
fn pages_that_are_overwritten_are_noticed() {
    let module = module();
    let mut journal = Journal::install(module.path()).unwrap();
    for _ in 0..200 {
        journal.save_server(None, &"x".repeat(500), false, None, "").unwrap();
    }
    drop(journal);
    let mut bytes = fs::read(module.paths.database()).unwrap();
    let end = bytes.len();
    bytes[8192..end].fill(0xff);
    fs::write(module.paths.database(), bytes).unwrap();
    let error = Journal::open(module.path()).and_then(|journal| journal.servers()).err().unwrap();
    assert!(matches!(error, JournalError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("db/module.db"), "{error}");
}

#[test]
fn a_database_locked_for_too_long_changes_nothing() {
    let module = module();
    let mut journal = Journal::install(module.path()).unwrap();
    let other = module.raw();
    other.execute_batch("BEGIN IMMEDIATE; DELETE FROM numbers_used").unwrap();
    assert!(journal.servers().unwrap().is_empty(), "reading goes on beside a writer");
    let error = journal.save_server(None, "{}", false, None, "").unwrap_err();
    assert!(matches!(error, JournalError::Locked { .. }), "{error}");
    assert!(error.to_string().contains("db/module.db is locked by another program"), "{error}");
    other.execute_batch("ROLLBACK").unwrap();
    journal.save_server(None, "{}", false, None, "").unwrap();
    assert_eq!(journal.servers().unwrap().len(), 1);
}

#[test]
fn a_failing_transaction_leaves_nothing() {
    let module = module();
    let mut journal = Journal::install(module.path()).unwrap();
    let error = journal
        .write(|tx| {
            tx.execute("INSERT INTO servers (settings) VALUES ('{}')", [])?;
            Err::<(), _>(JournalError::NoServer { id: 9 })
        })
        .unwrap_err();
    assert!(matches!(error, JournalError::NoServer { id: 9 }));
    assert!(journal.servers().unwrap().is_empty());
    let error = journal.write(|tx| Ok(tx.execute("INSERT INTO nowhere VALUES (1)", [])?)).unwrap_err();
    assert!(error.to_string().contains(&module.paths.database().display().to_string()), "{error}");
}

#[test]
fn a_module_directory_that_cannot_exist_is_named() {
    let module = module();
    let file = module.path().join("file");
    fs::write(&file, "").unwrap();
    for impossible in [file, module.path().join("missing"), PathBuf::from("/proc")] {
        let error = Journal::install(&impossible).err().unwrap();
        assert!(matches!(error, JournalError::NotWritable { .. }), "{error}");
        assert!(error.to_string().contains(&impossible.join("db").display().to_string()), "{error}");
    }
}

const CHILD: &str = "JOURNAL_TEST_READ_ONLY";

/// Rights do not bind root, so a test started by root does its work as `nobody` in a copy of its own program.
#[test]
fn read_only_directories_are_named_and_still_readable() {
    if let Some(dir) = std::env::var_os(CHILD) {
        return check_read_only(Path::new(&dir));
    }
    let module = module();
    let mut journal = Journal::install(module.path()).unwrap();
    journal.save_server(None, "{}", false, None, "").unwrap();
    let empty = module.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let program = module.path().join("test-program");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let modes = [
        (program.as_path(), 0o755),
        (&empty, 0o555),
        (&module.paths.database(), 0o444),
        (module.paths.directory(), 0o555),
        (module.path(), 0o555),
    ];
    for (path, mode) in modes {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let mut child = Command::new(&program);
    child.args(["--exact", "read_only_directories_are_named_and_still_readable"]).env(CHILD, module.path());
    if fs::metadata("/proc/self").unwrap().uid() == 0 {
        child.uid(65534).gid(65534);
    }
    let output = child.output().unwrap();
    fs::set_permissions(module.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(module.paths.directory(), fs::Permissions::from_mode(0o755)).unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}{}", String::from_utf8_lossy(&output.stderr));
}

fn check_read_only(dir: &Path) {
    let paths = Paths::new(dir);
    let mut journal = Journal::open(dir).expect("an installed module opens for reading");
    assert_eq!(journal.servers().expect("servers").len(), 1);
    let error = journal.save_server(None, "{}", false, None, "").expect_err("nothing can be written");
    assert!(matches!(error, JournalError::NotWritable { .. }), "{error}");
    assert!(error.to_string().contains(&format!("cannot write {}", paths.database().display())), "{error}");
    let error = RunLock::try_acquire(&paths.run_lock()).expect_err("no lock file can be made");
    assert!(error.to_string().contains("run.lock"), "{error}");
    let error = Journal::install(&dir.join("empty")).err().expect("nothing can be installed");
    assert!(matches!(error, JournalError::NotWritable { .. }), "{error}");
}

#[test]
fn files_made_by_root_belong_to_the_owner_of_the_module() {
    let module = module();
    if fs::metadata(module.path()).unwrap().uid() == 0 {
        chown(module.path(), Some(1011), Some(1012)).unwrap();
    }
    let owner = |path: &Path| fs::symlink_metadata(path).map(|found| (found.uid(), found.gid())).unwrap();
    let wanted = owner(module.path());
    Journal::install(module.path()).unwrap();
    RunLock::try_acquire(&module.paths.run_lock()).unwrap().unwrap();
    for path in [module.paths.directory(), &module.paths.database(), &module.paths.key(), &module.paths.run_lock()] {
        assert_eq!(owner(path), wanted, "{}", path.display());
    }
    // A link laid by that owner gives nothing else away.
    let precious = tempfile::NamedTempFile::new().unwrap();
    let before = owner(precious.path());
    fs::remove_file(module.paths.run_lock()).unwrap();
    symlink(precious.path(), module.paths.run_lock()).unwrap();
    RunLock::try_acquire(&module.paths.run_lock()).unwrap().unwrap();
    assert_eq!(owner(precious.path()), before);
}

#[test]
fn several_may_install_at_once() {
    let module = module();
    let installed = std::thread::scope(|scope| {
        let install = |n: usize| {
            let dir = module.path();
            scope.spawn(move || {
                let mut journal = Journal::install(dir)?;
                let password = format!("password-{n}");
                journal.save_server(None, &password, false, Some(&password.as_str().into()), "").map(|saved| saved.id)
            })
        };
        let threads: Vec<_> = (0..6).map(install).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Result<Vec<_>, _>>().unwrap()
    });
    let journal = Journal::open(module.path()).unwrap();
    for id in installed {
        let settings = journal.server(id).unwrap().unwrap().settings;
        assert_eq!(journal.password(id).unwrap().unwrap().expose_secret(), settings);
    }
}

#[test]
fn only_one_holds_the_run_lock() {
    let module = module();
    Journal::install(module.path()).unwrap();
    let path = module.paths.run_lock();
    let lock = RunLock::try_acquire(&path).unwrap().expect("the lock is free");
    assert!(RunLock::try_acquire(&path).unwrap().is_none());
    // A second process sees it as well.
    let held = Command::new("flock").args(["--nonblock", "--conflict-exit-code", "9"]).arg(&path).arg("true").status();
    assert_eq!(held.unwrap().code(), Some(9));
    drop(lock);
    assert!(RunLock::try_acquire(&path).unwrap().is_some());
    assert_eq!(mode(&path), 0o600);
}
