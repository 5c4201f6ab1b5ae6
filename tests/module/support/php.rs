//! MikoPBX's PHP: the module's own classes on small stand-ins of MikoPBX's (`tests/php`), each step in a process of its
//! own, as in the PBX.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::host::Answer;
use super::servers::pbx_services::PbxServices;
use super::world::World;
use super::{have, package, root, run_unchecked, wait_until};

/// A PBX whose PHP drives the module.
pub(crate) struct Php {
    settings: PathBuf,
    home: PathBuf,
    zip: PathBuf,
}

impl Php {
    /// The PHP of the PBX `world` beside `services`; `None` when the machine has no PHP.
    pub(crate) fn new(world: &World, services: &PbxServices) -> Option<Php> {
        if !have("PHP", &["php", "python3"], false) {
            return None;
        }
        world.pbx().set_setting("WEBPort", &services.bus.port.to_string());
        let home = world.path().to_owned();
        let zip = package::made().to_owned();
        Some(Php { settings: services.settings(world), home, zip })
    }

    /// The module's directory.
    pub(crate) fn module(&self) -> PathBuf {
        self.home.join("ModuleLdapSync")
    }

    /// Unpacks the package, as the PBX's installer does before it calls the module.
    pub(crate) fn unpack(&self) {
        fs::create_dir_all(self.module()).expect("the module's directory");
        package::unpack(&self.zip, &self.module());
        let mode = fs::metadata(self.module().join("bin/pbx-host")).expect("the host program").permissions().mode();
        assert_eq!(mode & 0o111, 0, "the installer gives nothing the right to be executed");
    }

    /// Does one thing the PBX does; answers its result.
    pub(crate) fn drive(&self, request: &Value) -> Value {
        let output = run_unchecked(self.command().arg(root().join("tests/php/drive.php")), &request.to_string());
        let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{request} ended with {}\n{text}\n{errors}\n{}", output.status, self.syslog());
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in the answer to {request}: {text}"))
    }

    /// Does one thing that must succeed.
    pub(crate) fn succeed(&self, request: &Value) {
        let answer = self.drive(request);
        let result = answer.get("result").unwrap_or(&answer);
        assert_eq!(result, &json!(true), "{request}: {answer}\n{}", self.syslog());
    }

    /// Unpacks, installs and enables the module.
    pub(crate) fn install(&self) {
        self.unpack();
        self.succeed(&json!({"do": "install"}));
        self.succeed(&json!({"do": "enable"}));
    }

    /// One action over the PBX's REST interface.
    pub(crate) fn rest(&self, action: &str, data: &Value) -> Answer {
        let body = self.drive(&json!({"do": "rest", "action": action, "data": data}));
        assert!(body["result"].is_boolean() && body["messages"]["error"].is_array(), "no envelope: {body}");
        Answer { status: if body["result"] == true { 0 } else { 5 }, body }
    }

    /// Starts the module's worker as the PBX's supervisor does.
    pub(crate) fn start_worker(&self) -> PhpWorker {
        let workers = self.drive(&json!({"do": "workers"}));
        let file = workers[0]["file"].as_str().unwrap_or_else(|| panic!("no worker in {workers}"));
        let mut command = self.command();
        command.args(["-f", file, "start"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::inherit());
        let worker = PhpWorker { child: command.spawn().expect("php can be started") };
        assert!(wait_until(Duration::from_secs(20), || worker.program().is_some()), "{}", self.syslog());
        worker
    }

    fn command(&self) -> Command {
        let mut command = Command::new("php");
        command.arg("-d").arg(format!("include_path={}", root().join("tests/php").display()));
        command.args(["-d", "display_errors=stderr"]).env("LDAP_SYNC_PBX_SETTINGS", &self.settings);
        command
    }

    /// The PBX's system log.
    pub(crate) fn syslog(&self) -> String {
        fs::read_to_string(self.home.join("syslog")).unwrap_or_default()
    }

    /// Failures of workers the PBX counted.
    pub(crate) fn crashes(&self) -> usize {
        fs::read_to_string(self.home.join("crashes")).unwrap_or_default().lines().count()
    }
}

/// A running PHP worker.
pub(crate) struct PhpWorker {
    child: Child,
}

impl PhpWorker {
    /// Process id of the host program it started.
    pub(crate) fn program(&self) -> Option<u32> {
        let children = format!("/proc/{0}/task/{0}/children", self.child.id());
        fs::read_to_string(children).ok()?.split_whitespace().next()?.parse().ok()
    }

    /// Sends a signal to the PHP worker.
    pub(crate) fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }

    /// Waits for its end; `None` when it lives on.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        let mut status = None;
        wait_until(Duration::from_secs(20), || {
            status = self.child.try_wait().expect("a started child can be waited for");
            status.is_some()
        });
        status
    }
}

impl Drop for PhpWorker {
    fn drop(&mut self) {
        // It may have ended already. The host program ends with it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal to one process.
pub(crate) fn signal(pid: u32, name: &str) {
    super::run(Command::new("kill").args([&format!("-{name}"), &pid.to_string()]));
}

/// Whether a process is there.
pub(crate) fn is_alive(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}
