//! What each subcommand does.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anstream::{eprintln, print, println};
use anyhow::{Context, Result, anyhow, bail};
use pbx_host::envelope::Envelope;
use pbx_host::interrupt::{Interrupt, single_thread};
use pbx_host::loader::{Answer, Module};
use pbx_host::serve::{self, Site};
use pbx_host::services::{AnnounceLog, Announcer, NobodyListens, Progress, Services};
use pbx_host::{calls, places};
use serde_json::{Value, json};

use crate::cli::{Command, Global};
use crate::settings::ServerArgs;
use crate::{inside, story, tables};

/// How long the runtime of the web server waits for calls that did not end in time.
const LAST_CALLS: Duration = Duration::from_secs(1);

/// The library refused something this program needed; `text` says why.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub(crate) struct Refused {
    /// The library's status.
    pub(crate) status: i32,
    text: String,
}

/// Runs a subcommand; answers the library's status.
pub(crate) fn run(global: &Global, command: Command) -> Result<i32> {
    match command {
        Command::Demo(args) => story::run(global, &args),
        Command::DemoPbx { directory } => story::make_demo_pbx(&directory),
        Command::MikopbxCall { pbx, limit } => inside::call(global, &pbx, Duration::from_secs(limit)),
        Command::MikopbxWorker { pbx, tick } => inside::work(global, &pbx, Duration::from_secs(tick)),
        command => run_in(&Session::open(global)?, command),
    }
}

fn run_in(session: &Session, command: Command) -> Result<i32> {
    let module = &session.module;
    match command {
        Command::Install => session.show(&module.install()?, |_| "The module is installed.\n".to_owned()),
        Command::Uninstall { keep_settings } => {
            session.show(&module.uninstall(keep_settings)?, |_| "The module is uninstalled.\n".to_owned())
        }
        Command::Configure { id, server } => configure(session, id.as_deref(), &server),
        Command::Test { id, server } => ask_about(session, "test-connection", id.as_deref(), &server, tables::steps),
        Command::Users { id, server } => {
            ask_about(session, "get-available-ldap-users", id.as_deref(), &server, tables::users)
        }
        Command::Preview { id, all } => {
            ask(session, "preview-sync", id.as_deref(), |data| tables::preview(data, all) + &tables::plan_number(data))
        }
        Command::Sync { id, plan, all } => sync(session, id.as_deref(), plan, all),
        Command::Status => session.show(&module.request("get-status", "")?, tables::status),
        Command::People { id, search, page, per_page, sort } => {
            let id = session.server_id(id.as_deref())?;
            let body = json!({"id": id, "search": search, "page": page, "perPage": per_page, "sort": sort});
            session.show(&module.request("get-people", body.to_string())?, tables::people_page)
        }
        Command::Conflicts { id } => ask(session, "get-server-conflicts", id.as_deref(), tables::conflicts),
        Command::Runs { id } => ask(session, "get-runs", id.as_deref(), tables::runs),
        Command::Run { id } => {
            session.show(&module.request("get-run", json!({"runId": id_value(&id)}).to_string())?, tables::run)
        }
        Command::Tick { every } => tick(session, every.map(Duration::from_secs)),
        Command::Request { action, body } => request(session, &action, body),
        Command::Calls => {
            calls::drive(module, io::stdin().lock(), io::stdout().lock())?;
            Ok(0)
        }
        Command::Serve { listen, public, tick } => {
            let public = places::public(public.as_deref()).map_err(|error| anyhow!(error))?;
            let listener = serve::listen(listen).map_err(|error| anyhow!(error))?;
            serve_page(session, &*session.interrupt()?, listener, public, tick.map(Duration::from_secs))
        }
        Command::Demo(_) | Command::DemoPbx { .. } | Command::MikopbxCall { .. } | Command::MikopbxWorker { .. } => {
            bail!("this command opens a module of its own")
        }
    }
}

fn configure(session: &Session, id: Option<&str>, server: &ServerArgs) -> Result<i32> {
    let settings = match id {
        None => server.settings()?,
        Some(id) => server.change(id_value(id))?,
    };
    session.show(&session.module.config_save(settings.to_string())?, |data| {
        format!("Saved as server {}. See what a synchronisation would do: pbx-host preview {0}\n", data["id"])
    })
}

/// An action about a saved server, or about one that is described and not saved.
fn ask_about(
    session: &Session,
    action: &str,
    id: Option<&str>,
    server: &ServerArgs,
    render: impl Fn(&Value) -> String,
) -> Result<i32> {
    let body = match id {
        None if server.describe_a_server() => server.settings()?,
        id => json!({"id": session.server_id(id)?}),
    };
    session.show(&session.module.request(action, body.to_string())?, render)
}

fn ask(session: &Session, action: &str, id: Option<&str>, render: impl Fn(&Value) -> String) -> Result<i32> {
    let body = json!({"id": session.server_id(id)?});
    session.show(&session.module.request(action, body.to_string())?, render)
}

fn sync(session: &Session, id: Option<&str>, plan: Option<String>, all: bool) -> Result<i32> {
    let _interrupt = session.interrupt()?;
    let Some(plan) = plan else { return ask(session, "sync-ldap-users", id, |data| tables::sync(data, all)) };
    let body = json!({"planId": plan}).to_string();
    session.show(&session.module.request("apply-plan", body)?, |data| tables::sync(data, all))
}

fn tick(session: &Session, every: Option<Duration>) -> Result<i32> {
    let interrupt = session.interrupt()?;
    loop {
        let status = session.show(&session.module.worker_tick()?, tables::tick)?;
        match every {
            Some(pause) if !interrupt.wait(pause)? => {}
            _ => return Ok(status),
        }
    }
}

fn request(session: &Session, action: &str, body: Option<String>) -> Result<i32> {
    let body = match body.as_deref() {
        Some("-") => io::read_to_string(io::stdin()).context("cannot read the request from stdin")?,
        _ => body.unwrap_or_default(),
    };
    let _interrupt = session.interrupt()?;
    let answer = session.module.request(action, body)?;
    session.services.clear_progress();
    match serde_json::from_str::<Value>(&answer.json) {
        Ok(envelope) if !session.json => print!("{}", tables::json(&envelope)),
        _ => println!("{}", answer.json),
    }
    Ok(answer.status)
}

/// Serves the page until the program is told to stop.
pub(crate) fn serve_page(
    session: &Session,
    interrupt: &Interrupt,
    listener: std::net::TcpListener,
    public: PathBuf,
    tick: Option<Duration>,
) -> Result<i32> {
    let address = listener.local_addr()?;
    if !address.ip().is_loopback() {
        eprintln!("warning: {address} can be reached from other machines, and the page has no sign-in");
    }
    println!("The page is on http://{address} until Ctrl-C.");
    io::stdout().flush()?;
    let runtime = single_thread()?;
    let site = Site { module: Arc::clone(&session.module), public, tick };
    let result = runtime.block_on(serve::run(listener, site, interrupt.receiver()));
    runtime.shutdown_timeout(LAST_CALLS);
    result.context("the web server failed")?;
    Ok(0)
}

/// An open module with what this program gives it.
pub(crate) struct Session {
    pub(crate) module: Arc<Module>,
    services: Arc<Services>,
    json: bool,
}

impl Session {
    /// Opens the module that the options name.
    fn open(global: &Global) -> Result<Session> {
        let places = Places {
            library: places::library(global.library.as_deref()).map_err(|error| anyhow!(error))?,
            module_dir: named(global.module_dir.as_deref(), "--module-dir", "the module's directory")?,
            pbx_database: named(global.pbx_database.as_deref(), "--pbx-database", "the PBX's database")?,
            media_dir: named(global.media_dir.as_deref(), "--media-dir", "the PBX's media directory")?,
        };
        let announcer: Box<dyn Announcer> = match &global.announce_log {
            Some(path) => Box::new(AnnounceLog::open(path).with_context(|| format!("cannot open {}", path.display()))?),
            None => Box::new(NobodyListens),
        };
        Session::open_at(&places, announcer, global)
    }

    /// Opens the module in given places.
    pub(crate) fn open_at(places: &Places, announcer: Box<dyn Announcer>, global: &Global) -> Result<Session> {
        let services = Arc::new(Services::new(&places.module_dir, announcer, progress(global)));
        let config = json!({
            "moduleDir": places.module_dir, "pbxDatabase": places.pbx_database, "mediaDir": places.media_dir,
        });
        let module = Module::open(&places.library, Arc::clone(&services) as _, &config.to_string())?;
        Ok(Session { module: Arc::new(module), services, json: global.json })
    }

    /// Takes over Ctrl-C.
    pub(crate) fn interrupt(&self) -> Result<Arc<Interrupt>> {
        Interrupt::watch(Arc::clone(&self.module), Arc::clone(&self.services) as _).context("cannot listen for Ctrl-C")
    }

    /// Prints an answer: as JSON, or what was asked for as `render` makes it and everything else as sentences.
    fn show(&self, answer: &Answer, render: impl Fn(&Value) -> String) -> Result<i32> {
        self.services.clear_progress();
        if self.json {
            println!("{}", answer.json);
            return Ok(answer.status);
        }
        let envelope = Envelope::of(answer).map_err(|error| anyhow!(error))?;
        if envelope.result || !envelope.data.is_null() {
            print!("{}", render(&envelope.data));
        }
        for line in envelope.info() {
            println!("{line}");
        }
        for line in envelope.errors() {
            eprintln!("error: {line}");
        }
        Ok(answer.status)
    }

    /// What an answer brings; a refusal ends the command with the library's status.
    pub(crate) fn data(&self, answer: &Answer) -> Result<Value> {
        self.services.clear_progress();
        let envelope = Envelope::of(answer).map_err(|error| anyhow!(error))?;
        match envelope.result {
            true => Ok(envelope.data),
            false => Err(Refused { status: answer.status, text: envelope.errors().join("; ") }.into()),
        }
    }

    /// The server meant: the one given, else the only one there is.
    fn server_id(&self, given: Option<&str>) -> Result<Value> {
        if let Some(id) = given {
            return Ok(id_value(id));
        }
        let status = self.data(&self.module.request("get-status", "")?)?;
        let servers = status["servers"].as_array().map_or(&[][..], Vec::as_slice);
        match servers {
            [] => bail!("there is no server yet: add one with `configure`"),
            [only] => Ok(only["id"].clone()),
            several => {
                let names: Vec<String> =
                    several.iter().map(|server| format!("{} ({})", server["id"], server["server"])).collect();
                bail!("which server? Name one of {}", names.join(", "))
            }
        }
    }
}

/// Where the parts of a session are.
pub(crate) struct Places {
    pub(crate) library: PathBuf,
    pub(crate) module_dir: PathBuf,
    pub(crate) pbx_database: PathBuf,
    pub(crate) media_dir: PathBuf,
}

/// A path that has to be given; absolute, since the library must not depend on the working directory.
fn named(path: Option<&Path>, option: &str, what: &str) -> Result<PathBuf> {
    let path = path.ok_or_else(|| anyhow!("name {what} with {option} or its environment variable (see --help)"))?;
    std::path::absolute(path).with_context(|| format!("cannot use {} ({option})", path.display()))
}

fn progress(global: &Global) -> Progress {
    match (global.quiet, global.json_progress) {
        (true, _) => Progress::Off,
        (false, true) => Progress::JsonLines,
        (false, false) => Progress::bar_on_terminal(),
    }
}

/// An id as the library stores it: a number, unless it is none.
fn id_value(id: &str) -> Value {
    id.parse::<i64>().map_or_else(|_| json!(id), Value::from)
}
