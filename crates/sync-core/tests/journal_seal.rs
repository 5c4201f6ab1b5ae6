//! Stored passwords: sealed, opened again, and never found in a file.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use rusqlite::Connection;
use secrecy::{ExposeSecret, SecretString};
use sync_core::journal::{Journal, JournalError, Paths};
use tempfile::TempDir;

const PASSWORD: &str = "Zwölf-Boxkämpfer-4711";

struct Module {
    dir: TempDir,
    paths: Paths,
    journal: Journal,
}

fn installed() -> Module {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let journal = Journal::install(dir.path()).expect("an installed module");
    Module { paths: Paths::new(dir.path()), dir, journal }
}

impl Module {
    fn save(&mut self, id: Option<i64>, password: Option<&str>) -> i64 {
        let password = password.map(SecretString::from);
        self.journal.save_server(id, "{}", false, password.as_ref(), "").expect("a server is saved").id
    }

    fn password(&self, id: i64) -> Option<String> {
        self.journal.password(id).expect("the password opens").map(|text| text.expose_secret().to_owned())
    }

    fn refusal(&self, id: i64) -> String {
        let error = self.journal.password(id).expect_err("the password must not open");
        assert!(matches!(error, JournalError::Key { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains("secret.key") && text.ends_with("; enter the password again"), "{text}");
        assert!(!text.contains(PASSWORD), "{text}");
        text
    }

    fn raw(&self) -> Connection {
        Connection::open(self.paths.database()).expect("module.db opens")
    }
}

#[test]
fn a_password_comes_back_and_none_keeps_it() {
    let mut module = installed();
    let with = module.save(None, Some(PASSWORD));
    let without = module.save(None, None);
    assert_eq!(module.password(with).as_deref(), Some(PASSWORD));
    assert_eq!(module.password(without), None);

    module.save(Some(with), None);
    assert_eq!(module.password(with).as_deref(), Some(PASSWORD));
    module.save(Some(with), Some("another"));
    assert_eq!(module.password(with).as_deref(), Some("another"));
    module.save(Some(with), Some(""));
    assert_eq!(module.password(with), None);

    let reopened = Journal::open(module.dir.path()).unwrap();
    assert!(reopened.password(without).unwrap().is_none());
    assert!(matches!(reopened.password(99), Err(JournalError::NoServer { id: 99 })));
    assert!(matches!(
        module.journal.save_server(Some(99), "{}", false, None, ""),
        Err(JournalError::NoServer { id: 99 })
    ));
}

#[test]
fn the_same_password_is_sealed_differently_each_time() {
    let mut module = installed();
    let (first, second) = (module.save(None, Some(PASSWORD)), module.save(None, Some(PASSWORD)));
    let sealed = |id| -> Vec<u8> {
        module.raw().query_row("SELECT password FROM servers WHERE id = ?1", [id], |row| row.get(0)).unwrap()
    };
    assert_eq!(sealed(first).len(), 1 + 24 + PASSWORD.len() + 16);
    assert_ne!(sealed(first)[1..25], sealed(second)[1..25]);
    assert_ne!(sealed(first)[25..], sealed(second)[25..]);
}

#[test]
fn a_password_moved_to_another_server_does_not_open() {
    let mut module = installed();
    let (first, second) = (module.save(None, Some(PASSWORD)), module.save(None, None));
    let sql = "UPDATE servers SET password = (SELECT password FROM servers WHERE id = ?1) WHERE id = ?2";
    module.raw().execute(sql, [first, second]).unwrap();
    assert!(module.refusal(second).contains(&format!("server {second}")));
    assert_eq!(module.password(first).as_deref(), Some(PASSWORD));
}

#[test]
fn a_changed_or_unknown_stored_value_does_not_open() {
    let mut module = installed();
    let id = module.save(None, Some(PASSWORD));
    let sealed: Vec<u8> = module.raw().query_row("SELECT password FROM servers", [], |row| row.get(0)).unwrap();
    for position in [1, 24, 25, sealed.len() - 1] {
        let mut changed = sealed.clone();
        changed[position] ^= 1;
        module.raw().execute("UPDATE servers SET password = ?1", [changed]).unwrap();
        assert!(module.refusal(id).contains("damaged"));
    }
    for unknown in [vec![1], vec![1; 24], [&[2], &sealed[1..]].concat()] {
        module.raw().execute("UPDATE servers SET password = ?1", [unknown]).unwrap();
        assert!(module.refusal(id).contains("not in a form this version knows"));
    }
}

#[test]
fn without_its_key_a_password_is_asked_for_again_and_the_rest_works() {
    let mut module = installed();
    let id = module.save(None, Some(PASSWORD));
    let key = module.paths.key();
    let foreign = vec![7; 32];
    let cases: [(Option<Vec<u8>>, &str); 5] = [
        (None, "the key file is missing"),
        (Some(Vec::new()), "does not hold exactly 32 bytes"),
        (Some(vec![7; 31]), "does not hold exactly 32 bytes"),
        (Some(vec![7; 33]), "does not hold exactly 32 bytes"),
        (Some(foreign), "the key file is not the one it was sealed with"),
    ];
    for (content, reason) in cases {
        fs::remove_file(&key).unwrap();
        if let Some(content) = &content {
            fs::write(&key, content).unwrap();
        }
        let text = module.refusal(id);
        assert!(text.contains(reason), "{text}");

        let mut again = Journal::open(module.dir.path()).unwrap();
        assert_eq!(again.servers().unwrap().len(), 1);
        assert!(again.set_autosync(id, true).unwrap());
        // Entering the password again is all there is to do.
        again.save_server(Some(id), "{}", true, Some(&PASSWORD.into()), "").unwrap();
        assert_eq!(module.password(id).as_deref(), Some(PASSWORD), "after: {reason}");
        assert_eq!(fs::read(&key).unwrap().len(), 32);
    }
}

#[test]
fn a_key_that_cannot_be_read_is_never_replaced() {
    let mut module = installed();
    let id = module.save(None, Some(PASSWORD));
    let key = module.paths.key();
    fs::remove_file(&key).unwrap();
    fs::create_dir(&key).unwrap();
    let errors = [
        module.journal.password(id).unwrap_err(),
        module.journal.save_server(Some(id), "{\"new\":1}", false, Some(&"other".into()), "").unwrap_err(),
    ];
    for error in errors {
        assert!(matches!(error, JournalError::NotReadable { .. }), "{error}");
        assert!(error.to_string().contains("secret.key"), "{error}");
    }
    assert!(key.is_dir());
    assert_eq!(module.journal.server(id).unwrap().unwrap().settings, "{}", "settings and password go together");
}

#[test]
fn a_loosened_key_is_tightened_when_the_module_opens() {
    let module = installed();
    let mode = || fs::metadata(module.paths.key()).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(), 0o600);
    for loose in [0o644, 0o755, 0o660] {
        fs::set_permissions(module.paths.key(), fs::Permissions::from_mode(loose)).unwrap();
        Journal::open(module.dir.path()).unwrap();
        assert_eq!(mode(), 0o600, "from {loose:o}");
    }
}

#[test]
fn no_file_of_the_module_holds_the_password() {
    let mut module = installed();
    for round in 0..20 {
        let id = module.save(None, Some(PASSWORD));
        module.save(Some(id), Some(PASSWORD));
        if round % 2 == 0 {
            module.journal.delete_server(id).unwrap();
        }
    }
    let files: Vec<PathBuf> = fs::read_dir(module.paths.directory()).unwrap().map(|e| e.unwrap().path()).collect();
    assert!(files.contains(&module.paths.database()) && files.contains(&module.paths.key()), "{files:?}");
    let planted = PASSWORD.as_bytes();
    for file in files.into_iter().filter(|file| file.is_file()) {
        let bytes = fs::read(&file).unwrap();
        assert!(!bytes.windows(planted.len()).any(|window| window == planted), "{}", file.display());
        // Not even its part in ASCII.
        assert!(!bytes.windows(9).any(|window| window == b"mpfer-471"), "{}", file.display());
    }
    let shown = format!("{:?}", module.journal.servers().unwrap());
    assert!(!shown.contains(PASSWORD), "{shown}");
}
