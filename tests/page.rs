//! The admin page in a real browser: Chromium shows what the library answers through the host program's web server.

mod support;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::json;
use support::build::built;
use support::people::Someone;
use support::servers::slapd;
use support::world::{World, assert_pbx_unchanged, sync};
use support::{have, root};

/// The host program serving the page; it ends with this value.
struct Site {
    child: Child,
    address: String,
}

impl Drop for Site {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Site {
    /// Serves the page over the module of `world`.
    fn start(world: &World) -> Site {
        let mut command = Command::new(&built().host);
        command.arg("--library").arg(&built().library);
        command.arg("--module-dir").arg(&world.installation.module);
        command.arg("--pbx-database").arg(&world.pbx().database).arg("--media-dir").arg(&world.pbx().media);
        command.args(["serve", "--listen", "127.0.0.1:0", "--public"]).arg(root().join("public"));
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the host program can be started");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("stdout is piped");
        BufReader::new(stdout).read_line(&mut line).expect("a first line");
        let address = line.split_whitespace().find(|word| word.starts_with("http://")).map(str::to_owned);
        Site { child, address: address.unwrap_or_else(|| panic!("no address in {line:?}")) }
    }

    /// The page at `place` as Chromium has it once its scripts have run.
    fn show(&self, place: &str) -> String {
        let profile = tempfile::tempdir().expect("a temporary directory");
        let mut command = Command::new("chromium");
        command.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]);
        command.args(["--disable-background-networking", "--disable-component-update", "--disable-sync"]);
        command.arg(format!("--user-data-dir={}", profile.path().display()));
        command.args(["--virtual-time-budget=8000", "--dump-dom"]).arg(format!("{}{place}", self.address));
        let output = command.stderr(Stdio::null()).output().expect("chromium can be started");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

#[track_caller]
fn check(page: &str, words: &[&str]) {
    for word in words {
        assert!(page.contains(word), "{word:?} is not on the page:\n{page}");
    }
}

#[test]
fn the_page_shows_status_people_and_conflicts() {
    if !have("Chromium", &["chromium"], false) {
        return;
    }
    let people = [
        Someone::new("ann", "Ann O'Neil").mail("ann@example.test"),
        Someone::new("tom", "<b>Tom</b> & <i>Co</i>").mail("tom@example.test"),
        Someone::new("yael", "יעל כהן").mail("yael@example.test"),
        Someone::new("park", "Wants Parking").number("801"),
    ];
    let Some(server) = slapd::start(&people) else { return };
    let world = World::new();
    let (mut plugin, id) = world.install(&server.settings("ldaps"));
    let site = Site::start(&world);
    let before = world.pbx().dump();

    check(&site.show("/?lang=en#/servers/1/preview"), &["Ann O'Neil", "801 is taken by parking"]);
    assert_pbx_unchanged(&before, &world.pbx().dump(), "showing a preview");
    sync(&mut plugin, &id);

    let overview = site.show("/?lang=en");
    // A name from the directory is text, never markup.
    check(&overview, &["Directory servers", "OpenLDAP", "Ann O'Neil", "&lt;b&gt;Tom&lt;/b&gt; &amp;", "יעל כהן"]);
    assert!(!overview.contains("<b>Tom</b>"), "a name became markup");
    check(&site.show("/?lang=ru"), &["Обзор", "Ann O'Neil"]);
    check(&site.show("/?lang=en#/conflicts"), &["Wants Parking", "801 is taken by parking"]);
    check(&site.show("/?lang=en#/runs"), &["3 new"]);
    let last = plugin.request("get-runs", json!({ "id": id })).list()[0]["runId"].to_string();
    check(&site.show(&format!("/?lang=en#/runs/{last}")), &["Ann O'Neil", "ann@example.test"]);
}
