//! The command line: what can be asked, in words.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use pbx_host::mikopbx::config::SETTINGS_FILE;
use pbx_host::places::LIBRARY_VARIABLE;

use crate::settings::ServerArgs;

const EXAMPLES: &str = "\
Examples:
  Try everything on a demo PBX and a demo directory:
    pbx-host demo

  Prepare a copy of a PBX's database and connect it to an Active Directory:
    export LDAP_SYNC_MODULE_DIR=/tmp/try/module LDAP_SYNC_PBX_DATABASE=/tmp/try/mikopbx.db LDAP_SYNC_MEDIA_DIR=/tmp/try/media
    pbx-host install
    pbx-host configure --type ad --host dc1.example.com --ca ca.pem --login 'EXAMPLE\\pbx' --password-file secret \\
        --base-dn DC=example,DC=com --map number=ipPhone --write-back

  See what would change, then change it:
    pbx-host preview
    pbx-host sync
    pbx-host conflicts

  Look at it in a browser, with a worker tick every minute:
    pbx-host serve --tick 60

Exit status:
  0        done
  1 to 99  the library's status: 1 wrong argument or field, 2 other ABI version, 3 not installed, 4 another run is under
           way, 5 refused or held, 6 a database cannot be used, 7 the directory cannot be used, 8 cancelled,
           98 and 99 a fault in the library
  64       this program was called wrongly
  70       this program could not do its part, for example the library was not found";

/// Loads the ModuleLdapSync library as a PBX does and calls it.
#[derive(Parser)]
#[command(name = "pbx-host", version, arg_required_else_help = true, after_long_help = EXAMPLES)]
#[command(long_about = "Loads the ModuleLdapSync library as a PBX does and calls it: install, configure, preview, \
    synchronise, serve the admin page.\n\nUse it on a PBX database that no running PBX has open, for example a copy.")]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Args)]
pub(crate) struct Global {
    /// The library; found beside this program when not named
    #[arg(long, global = true, value_name = "FILE", env = LIBRARY_VARIABLE)]
    pub(crate) library: Option<PathBuf>,
    /// Directory of the module; its own database is DIR/db/module.db
    #[arg(long, global = true, value_name = "DIR", env = "LDAP_SYNC_MODULE_DIR")]
    pub(crate) module_dir: Option<PathBuf>,
    /// The PBX's database, mikopbx.db
    #[arg(long, global = true, value_name = "FILE", env = "LDAP_SYNC_PBX_DATABASE")]
    pub(crate) pbx_database: Option<PathBuf>,
    /// The PBX's media directory, where avatars are kept
    #[arg(long, global = true, value_name = "DIR", env = "LDAP_SYNC_MEDIA_DIR")]
    pub(crate) media_dir: Option<PathBuf>,
    /// Append every announced change to a file, one JSON object per line
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) announce_log: Option<PathBuf>,
    /// Print the library's answer as JSON instead of tables
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Print progress to stderr as JSON lines instead of a bar
    #[arg(long, global = true, conflicts_with = "quiet")]
    pub(crate) json_progress: bool,
    /// Log more: -v information, -vv debug, -vvv trace
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Log errors only and show no progress
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Create or migrate the module's own database
    Install,
    /// Remove the module's own database
    Uninstall {
        /// Leave the database for the next install
        #[arg(long)]
        keep_settings: bool,
    },
    /// Save the settings of a directory server
    #[command(after_help = "With --id only what is named changes; a password that is not given stays as it is.")]
    Configure {
        /// Change this server instead of adding one
        #[arg(long)]
        id: Option<String>,
        #[command(flatten)]
        server: Box<ServerArgs>,
    },
    /// Check a connection step by step: reach, TLS, sign-in, base, filter, rights
    #[command(after_help = "Checks a saved server, or with --host settings that are not saved.")]
    Test {
        /// A saved server; may be left out when there is only one
        id: Option<String>,
        #[command(flatten)]
        server: Box<ServerArgs>,
    },
    /// List the people the filter finds; changes nothing anywhere
    Users {
        /// A saved server; may be left out when there is only one
        id: Option<String>,
        #[command(flatten)]
        server: Box<ServerArgs>,
    },
    /// Show what a synchronisation would do; changes nothing on either side
    Preview {
        /// The server; may be left out when there is only one
        id: Option<String>,
        /// List unchanged people too
        #[arg(long)]
        all: bool,
    },
    /// Synchronise now
    Sync {
        /// The server; may be left out when there is only one
        id: Option<String>,
        /// Do exactly what the last preview showed, known by its plan number, or nothing
        #[arg(long, conflicts_with = "id")]
        plan: Option<String>,
        /// List unchanged people too
        #[arg(long)]
        all: bool,
    },
    /// Show the servers, their last and their next run
    Status,
    /// List everyone kept in step
    People {
        /// The server; may be left out when there is only one
        id: Option<String>,
        /// Only people whose name, number, mobile or e-mail contains this
        #[arg(long, default_value = "")]
        search: String,
        /// Page, from 1
        #[arg(long, default_value_t = 1)]
        page: u32,
        /// People on a page
        #[arg(long, default_value_t = 50)]
        per_page: u32,
        /// Field to sort by
        #[arg(long, default_value = "name")]
        sort: String,
    },
    /// List what waits for a decision
    Conflicts {
        /// The server; may be left out when there is only one
        id: Option<String>,
    },
    /// List the runs
    Runs {
        /// The server; may be left out when there is only one
        id: Option<String>,
    },
    /// Show one run with its changes
    Run {
        /// The run, as listed by `runs`
        id: String,
    },
    /// Make a worker tick: synchronise what is due
    Tick {
        /// Go on, with this many seconds between two ticks, until Ctrl-C
        #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
        every: Option<u64>,
    },
    /// Ask for any action of the admin page and print the answer as JSON
    Request {
        /// The action, for example get-actions
        action: String,
        /// Its body; `-` reads it from stdin
        #[arg(value_name = "JSON")]
        body: Option<String>,
    },
    /// Read calls as JSON lines from stdin, answer each with a JSON line
    #[command(after_help = "A call is {\"hook\":\"request\",\"action\":\"…\",\"body\":{…}}; the hooks are install, \
        uninstall (with \"keep\":true), config_save, models_changed, worker_tick and request. \
        {\"parallel\":[…]} makes several calls at once. The answer is {\"status\":n,\"answer\":{…}}.")]
    Calls,
    /// Serve the admin page
    #[command(after_help = "There is no sign-in: whoever reaches the address can use the page.")]
    Serve {
        /// Address to listen on
        #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
        listen: SocketAddr,
        /// Directory of the page's files; found beside this program when not named
        #[arg(long, value_name = "DIR")]
        public: Option<PathBuf>,
        /// Make a worker tick every so many seconds
        #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
        tick: Option<u64>,
    },
    /// Inside MikoPBX: read one call as JSON from stdin and answer it with a JSON line
    #[command(
        after_help = "The call is one of those `calls` takes. The exit status is 0 when there is an answer, whose \
        own status says whether it succeeded."
    )]
    MikopbxCall {
        #[command(flatten)]
        pbx: PbxArgs,
        /// End the call after this time
        #[arg(long, value_name = "SECONDS", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=86400))]
        limit: u64,
    },
    /// Inside MikoPBX: make the worker's ticks and take the PBX's edits until stdin ends
    MikopbxWorker {
        #[command(flatten)]
        pbx: PbxArgs,
        /// Time between two ticks
        #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
        tick: u64,
    },
    /// Show the whole thing on a demo PBX and a demo directory
    Demo(DemoArgs),
    /// Make the demo PBX in a directory, without loading the library
    #[command(hide = true)]
    DemoPbx {
        /// The directory
        directory: PathBuf,
    },
}

/// What a running MikoPBX says about itself.
#[derive(Args)]
pub(crate) struct PbxArgs {
    /// MikoPBX's settings: its paths and the addresses of its services
    #[arg(long, value_name = "FILE", env = "LDAP_SYNC_PBX_SETTINGS", default_value = SETTINGS_FILE)]
    pub(crate) pbx_settings: PathBuf,
    /// Port of MikoPBX's web server on this machine, whose event bus is told of progress
    #[arg(long, value_name = "PORT")]
    pub(crate) web_port: Option<u16>,
}

/// Options of the demo.
#[derive(Args)]
pub(crate) struct DemoArgs {
    /// End after the tables, without serving the page
    #[arg(long)]
    pub(crate) once: bool,
    /// Address of the page
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub(crate) listen: SocketAddr,
    /// Directory of the page's files; found beside this program when not named
    #[arg(long, value_name = "DIR")]
    pub(crate) public: Option<PathBuf>,
    /// Which directory server to use
    #[arg(long, value_enum, default_value_t = DirectoryChoice::Auto)]
    pub(crate) directory: DirectoryChoice,
    /// Keep everything in this directory instead of a temporary one; it must be new or empty
    #[arg(long, value_name = "DIR")]
    pub(crate) keep: Option<PathBuf>,
}

/// The directory server of the demo.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DirectoryChoice {
    /// slapd when this machine has it, else the embedded one
    Auto,
    /// OpenLDAP's slapd
    Slapd,
    /// The one built into this program
    Embedded,
}
