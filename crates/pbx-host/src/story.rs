//! The demo: the whole flow from an empty PBX to employees with numbers, told step by step.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use anstream::{print, println};
use anyhow::{Context, Result, anyhow, bail, ensure};
use pbx_host::demo::{self, DemoDirectory, Prefer};
use pbx_host::envelope::Envelope;
use pbx_host::services::AnnounceLog;
use pbx_host::{places, serve};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::cli::{DemoArgs, DirectoryChoice, Global};
use crate::commands::{Places, Session, serve_page};
use crate::tables::{self, BOLD, DIM};
use pbx_host::interrupt::Interrupt;

/// Language of the demo PBX, as MikoPBX writes it.
const LANGUAGE: &str = "en-en";

/// Tells the story; the page is served at its end unless `--once`.
pub(crate) fn run(global: &Global, args: &DemoArgs) -> Result<i32> {
    // What could fail at the end is tried first.
    let page = match args.once {
        true => None,
        false => Some((
            serve::listen(args.listen).map_err(|error| anyhow!(error))?,
            places::public(args.public.as_deref()).map_err(|error| anyhow!(error))?,
        )),
    };
    let library = places::library(global.library.as_deref()).map_err(|error| anyhow!(error))?;
    let stage = Stage::set(args.keep.as_deref())?;

    println!("{BOLD}ModuleLdapSync: a directory and a PBX in step{BOLD:#}");
    heading(1, "A PBX and a directory");
    let clock = Instant::now();
    stage.make_pbx()?;
    told(&format!("A demo PBX stands in {}.", stage.pbx_database().display()), clock);
    let clock = Instant::now();
    let directory = start_directory(args.directory)?;
    told(&format!("A directory answers on {}: {}.", address(&directory), directory.description()), clock);

    heading(2, "The module");
    let clock = Instant::now();
    let announced = Arc::new(AnnounceLog::open(&stage.path().join("announced.jsonl"))?);
    let session = Session::open_at(&stage.places(library.clone()), Box::new(Arc::clone(&announced)), global)?;
    let interrupt = session.interrupt()?;
    session.data(&session.module.install()?)?;
    told(&format!("{} is loaded through its C ABI and installed.", library.display()), clock);

    let act = Act { session: &session, interrupt: &interrupt, announced: &announced };
    let status = act.play(&directory)?;
    match page {
        Some((listener, public)) if status == 0 && !interrupt.is_set() => {
            heading(8, "The page");
            stage.tell_how_to_go_on();
            serve_page(&session, &interrupt, listener, public, None)
        }
        _ => {
            stage.tell_how_to_go_on();
            Ok(status)
        }
    }
}

/// Makes the demo PBX. Runs in a process of its own, which never loads the library.
pub(crate) fn make_demo_pbx(directory: &Path) -> Result<i32> {
    let (database, media) = (directory.join(DATABASE), directory.join(MEDIA));
    fs::create_dir_all(&media).with_context(|| format!("cannot create {}", media.display()))?;
    demo::pbx::create(&database, &media, LANGUAGE)
        .with_context(|| format!("cannot make the demo PBX in {}", directory.display()))?;
    Ok(0)
}

/// The steps that call the library.
struct Act<'a> {
    session: &'a Session,
    interrupt: &'a Interrupt,
    announced: &'a AnnounceLog,
}

impl Act<'_> {
    fn play(&self, directory: &DemoDirectory) -> Result<i32> {
        heading(3, "The connection");
        let server = self.connect(directory)?;
        heading(4, "Preview: what a synchronisation would do; nothing is changed yet");
        self.timed("preview-sync", &server, |data| print!("{}", tables::preview(data, false)))?;
        heading(5, "Synchronisation");
        self.synchronise(&server)?;
        heading(6, "What waits for a decision");
        self.timed("get-server-conflicts", &server, |data| print!("{}", tables::conflicts(data)))?;
        heading(7, "Once more");
        self.nothing_left_to_do(&server)?;
        Ok(0)
    }

    /// Saves the settings and checks the connection; answers the request body that names the server.
    fn connect(&self, directory: &DemoDirectory) -> Result<String> {
        let settings = server_settings(directory).to_string();
        let module = &self.session.module;
        let saved = self.session.data(&module.config_save(settings)?)?;
        println!("The settings are saved as server {}; the password is sealed.", saved["id"]);
        let server = json!({"id": saved["id"]}).to_string();
        self.timed("test-connection", &server, |data| print!("{}", tables::steps(data)))?;
        Ok(server)
    }

    fn synchronise(&self, server: &str) -> Result<()> {
        let clock = Instant::now();
        let answer = self.session.module.request("sync-ldap-users", server)?;
        let data = self.session.data(&answer)?;
        print!("{}", tables::sync(&data, false));
        let envelope = Envelope::of(&answer).map_err(|error| anyhow!(error))?;
        for line in envelope.info() {
            told(&capitalised(&line), clock);
        }
        println!("Values written back to the directory: {}.", tables::written_back(&data));
        println!("Changes announced to the PBX: {}.", self.announced.count());
        self.go_on()
    }

    /// The second synchronisation and a worker tick must change nothing on either side.
    fn nothing_left_to_do(&self, server: &str) -> Result<()> {
        let before = self.announced.count();
        let clock = Instant::now();
        let data = self.session.data(&self.session.module.request("sync-ldap-users", server)?)?;
        let rows = data.as_array().map_or(&[][..], Vec::as_slice);
        let count = |result: &str| rows.iter().filter(|row| row["usersSyncResult"] == result).count();
        let (changed, waiting) = (count("UPDATED"), count("CONFLICT"));
        if changed > 0 {
            print!("{}", tables::sync(&data, false));
        }
        ensure!(
            changed == 0 && self.announced.count() == before,
            "the second synchronisation changed {} although nothing had changed on either side",
            tables::people(changed)
        );
        let read = tables::people(rows.len());
        told(
            &format!("A second synchronisation compared {read}: everything is up to date, nothing was written."),
            clock,
        );
        if waiting > 0 {
            println!("Still waiting for a decision: {}.", tables::people(waiting));
        }
        let clock = Instant::now();
        let tick = self.session.data(&self.session.module.worker_tick()?)?;
        ensure!(self.announced.count() == before, "the worker tick changed something although nothing was due");
        told(&format!("A worker tick: {}", tables::tick(&tick).trim_end().replace('\n', " ")), clock);
        self.go_on()
    }

    /// Asks for an action about the server, lets `show` print the answer, and tells how long the library took.
    fn timed(&self, action: &str, server: &str, show: impl FnOnce(&Value)) -> Result<()> {
        let clock = Instant::now();
        let data = self.session.data(&self.session.module.request(action, server)?)?;
        let took = clock.elapsed();
        show(&data);
        println!("{DIM}({action}: {:.2} s){DIM:#}", took.as_secs_f64());
        self.go_on()
    }

    /// Ends the story between two steps when the program was told to stop.
    fn go_on(&self) -> Result<()> {
        io::stdout().flush()?;
        ensure!(!self.interrupt.is_set(), "stopped");
        Ok(())
    }
}

const DATABASE: &str = "mikopbx.db";
const MEDIA: &str = "media";
const MODULE: &str = "module";

/// Where the demo takes place.
enum Stage {
    Temporary(TempDir),
    Kept(PathBuf),
}

impl Stage {
    fn set(keep: Option<&Path>) -> Result<Stage> {
        let stage = match keep {
            None => Stage::Temporary(tempfile::tempdir().context("cannot make a temporary directory")?),
            Some(path) => Stage::Kept(new_directory(path)?),
        };
        fs::create_dir_all(stage.path().join(MODULE))?;
        Ok(stage)
    }

    fn path(&self) -> &Path {
        match self {
            Stage::Temporary(directory) => directory.path(),
            Stage::Kept(path) => path,
        }
    }

    fn pbx_database(&self) -> PathBuf {
        self.path().join(DATABASE)
    }

    fn places(&self, library: PathBuf) -> Places {
        let path = self.path();
        Places {
            library,
            module_dir: path.join(MODULE),
            pbx_database: self.pbx_database(),
            media_dir: path.join(MEDIA),
        }
    }

    /// In a child process: this one loads the library and must never open the PBX's database.
    fn make_pbx(&self) -> Result<()> {
        let program = std::env::current_exe().context("cannot find out where this program is")?;
        let status = Command::new(&program)
            .arg("demo-pbx")
            .arg(self.path())
            .status()
            .with_context(|| format!("cannot start {}", program.display()))?;
        ensure!(status.success(), "the demo PBX could not be made ({status})");
        Ok(())
    }

    fn tell_how_to_go_on(&self) {
        if let Stage::Kept(path) = self {
            let path = path.display();
            println!(
                "Everything is kept in {path}. To look at it again:\n  pbx-host --module-dir {path}/{MODULE} \
                 --pbx-database {path}/{DATABASE} --media-dir {path}/{MEDIA} status"
            );
        }
    }
}

/// A directory that is new or empty, as an absolute path.
fn new_directory(path: &Path) -> Result<PathBuf> {
    fs::create_dir_all(path).with_context(|| format!("cannot create {} (--keep)", path.display()))?;
    let path = path.canonicalize()?;
    if fs::read_dir(&path)?.next().is_some() {
        bail!("{} is not empty: --keep wants a new directory", path.display());
    }
    Ok(path)
}

fn start_directory(choice: DirectoryChoice) -> Result<DemoDirectory> {
    let prefer = match choice {
        DirectoryChoice::Auto => Prefer::Auto,
        DirectoryChoice::Slapd => Prefer::Slapd,
        DirectoryChoice::Embedded => Prefer::Embedded,
    };
    DemoDirectory::start(prefer).context("the demo directory could not be started")
}

fn server_settings(directory: &DemoDirectory) -> Value {
    json!({
        "ldapType": "OpenLDAP",
        "serverName": directory.host(),
        "serverPort": directory.port(),
        "security": "none",
        "administrativeLogin": demo::SERVICE_DN,
        "administrativePassword": demo::SERVICE_PASSWORD,
        "baseDN": demo::BASE_DN,
        "userFilter": "(objectClass=inetOrgPerson)",
        "attributes": {"userAccountControl": "employeeType"},
        "defaultRegion": "RU",
        "updateAttributes": true,
        "autosync": true,
    })
}

fn address(directory: &DemoDirectory) -> String {
    format!("ldap://{}:{}", directory.host(), directory.port())
}

fn heading(number: u8, title: &str) {
    println!("\n{BOLD}{number}. {title}{BOLD:#}");
}

/// A sentence with the time it took.
fn told(sentence: &str, since: Instant) {
    println!("{sentence} {DIM}({:.2} s){DIM:#}", since.elapsed().as_secs_f64());
}

fn capitalised(sentence: &str) -> String {
    let mut characters = sentence.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}
