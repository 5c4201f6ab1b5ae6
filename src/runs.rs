//! The wiring of a synchronisation: settings, databases and directory brought together for `sync_core::run`.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use directory::LdapDirectory;
use jiff::tz::TimeZone;
use log::warn;
use plugin_abi::status::ldap_sync_status::*;
use secrecy::SecretString;
use serde_json::{Value, json};
use sync_core::directory::DirectoryError;
use sync_core::host::Host;
use sync_core::journal::{Journal, Paths, RunRecord, ServerRecord};
use sync_core::limits::{Hold, Limits};
use sync_core::link::Link;
use sync_core::pbx::{Pbx, PbxSnapshot};
use sync_core::plan::Plan;
use sync_core::previewed::Previewed;
use sync_core::report;
use sync_core::run::{self, Job, Report, RunError, Session};
use sync_core::vault::Vault;

use crate::actions::{checked_form, required_id, server, stored_settings, unknown_keys};
use crate::answer::{Answer, Failure};
use crate::orders::{self, Order};
use crate::plugin::Plugin;
use crate::settings::{DEFAULT_INTERVAL, Settings};
use crate::{kept, schedule, side_by_side};

/// Days for which runs and what they replaced are kept.
const DAYS_KEPT: u32 = 90;

/// `get-available-ldap-users`: the people a server's filter finds.
pub(crate) fn available(plugin: &Plugin, body: &Value) -> Result<Answer, Failure> {
    let mut journal = plugin.journal()?;
    let (form, checked) = checked_form(&journal, body)?;
    let settings = &form.settings;
    let (plan, _) = plan_only(plugin, &mut journal, form.id.unwrap_or_default(), settings, checked.password)?;
    Ok(Answer::new(report::available_rows(&plan, &settings.mapped()))
        .with_info(plan.warnings)
        .with_info(unknown_keys(&form.unknown)))
}

/// `preview-sync`: the plan of a stored server, nothing applied.
pub(crate) fn preview(plugin: &Plugin, body: &Value) -> Result<Answer, Failure> {
    let mut journal = plugin.journal()?;
    let record = server(&journal, required_id(body, "id")?)?;
    let settings = stored_settings(&record)?;
    let password = journal.password(record.id)?.unwrap_or_default();
    let (plan, holds) = plan_only(plugin, &mut journal, record.id, &settings, password)?;
    let plan_id = journal.note_preview(record.id, &Previewed::of(&plan), plugin.host.now())?;
    let preview = report::preview(&plan, &holds, record.id, &plan_id);
    Ok(Answer::new(preview).with_info([report::summary(&plan, &[], &holds)]))
}

/// `sync-ldap-users`: a run made by hand.
pub(crate) fn synchronise(plugin: &Plugin, body: &Value) -> Result<Answer, Failure> {
    let mut journal = plugin.journal()?;
    let record = server(&journal, required_id(body, "id")?)?;
    orders::carry_out(plugin, &mut journal, &record, &Order::Everything)
}

/// What kind of run is wanted.
#[derive(Default)]
pub(crate) struct Wanted {
    pub(crate) limits: Limits,
    /// Nothing is done when the limits hold anything beyond what was approved.
    pub(crate) all_or_nothing: bool,
    /// Nothing is done unless it is exactly this.
    pub(crate) exactly: Option<Previewed>,
    /// The run that was asked for by `start-sync`.
    pub(crate) queued: Option<i64>,
    /// Why the directory cannot be used, where that is known already.
    pub(crate) unreachable: Option<Unreachable>,
}

impl Wanted {
    /// Whether nobody stands behind the run.
    fn is_unattended(&self) -> bool {
        self.limits.tick && !self.all_or_nothing
    }
}

/// Makes a run somebody stands behind and answers it as `sync-ldap-users` does. To be called with the run lock held.
pub(crate) fn synchronise_now(
    plugin: &Plugin,
    journal: &mut Journal,
    record: &ServerRecord,
    wanted: Wanted,
) -> Result<Answer, Failure> {
    let (settings, report) = run_server(plugin, journal, record, wanted)?;
    let Some(report) = report else { return Ok(Answer::new(json!([]))) };
    let rows = report::sync_rows(&report.plan, &report.outcomes, &settings.mapped());
    let held = report.holds.iter().map(|hold| format!("held: {}", hold.reason));
    let info: Vec<String> =
        [report.summary.clone()].into_iter().chain(held).chain(report.plan.warnings.iter().cloned()).collect();
    if found_nobody(&report) {
        return Err(Failure::new(LDAP_SYNC_REFUSED, info.join("; ")).with_data(rows.into()));
    }
    Ok(Answer::new(rows).with_info(info))
}

/// A directory that answers nobody, where people were found before, is an error somewhere and no result.
fn found_nobody(report: &Report) -> bool {
    report.plan.people.is_empty() && report.plan.linked > 0
}

/// The worker's tick: announces what is still to be announced and runs every server that is due.
///
/// Where nothing was due the last time and nobody has written to the module's database since, it is over at once.
pub(crate) fn tick(plugin: &Plugin) -> Result<Answer, Failure> {
    let now = plugin.host.now();
    let database = Paths::new(&plugin.places.module_dir).database();
    if let Some(until) = plugin.kept.rests_until(&database, now) {
        return Ok(Answer::new(json!({"ran": [], "nextDue": until})));
    }
    let mut journal = plugin.journal()?;
    let _lock = plugin.run_lock()?;
    plugin.warn_of_missing_callbacks();
    // What cannot be put in order fails the servers that are due as well, and there it is recorded for the page.
    let mut failures: Vec<Failure> = settle_earlier(plugin, &mut journal).err().into_iter().collect();
    let mut ran = Vec::new();
    let to_run = to_run(plugin, &journal, now)?;
    let idle = to_run.is_empty();
    let (alone, together) = with_directories(plugin, &mut journal, to_run)?;
    let mut run = |journal: &mut Journal, to_run: ToRun, unreachable: Option<Unreachable>| {
        let server_id = to_run.server_id;
        let row = |run_id: Option<i64>, summary: &str, holds: &[Hold]| {
            let held: Vec<Value> = holds.iter().map(report::hold_row).collect();
            json!({"serverId": server_id, "runId": run_id, "summary": summary, "held": held})
        };
        match run_wanted(plugin, journal, to_run, unreachable) {
            Ok(Some(report)) => ran.push(row(Some(report.run_id), &report.summary, &report.holds)),
            // Nothing has changed on either side.
            Ok(None) => {}
            Err(failure) => {
                ran.push(row(None, &failure.to_string(), &[]));
                failures.push(failure);
            }
        }
    };
    alone.into_iter().for_each(|one| run(&mut journal, one, None));
    let is_asked = |(one, _): &(ToRun, u64)| one.asked.is_some();
    side_by_side::as_they_answer(&plugin.host, together, is_asked, |(one, digest), directory, answer| {
        plugin.kept.put_directory(one.server_id, digest, directory);
        run(&mut journal, one, answer.err().map(|error| Unreachable { digest, error }));
    });
    let servers = journal.servers()?;
    let next = servers.iter().filter(|one| one.autosync).map(|one| due_at(plugin, one, now)).min();
    let open = failures.is_empty() && idle && journal.outbox(1)?.0.is_empty() && journal.queued_runs()?.is_empty();
    plugin.kept.rest(&database, now, open.then_some(next.unwrap_or(i64::MAX)));
    let data = json!({"ran": ran, "nextDue": next});
    match failures.into_iter().next() {
        None => Ok(Answer::new(data)),
        Some(failure) => Err(failure.with_data(data)),
    }
}

/// A server that a tick runs.
struct ToRun {
    server_id: i64,
    /// What somebody asked for; nothing where it is due.
    asked: Option<RunRecord>,
}

/// Why a directory cannot be used, as far as it is spoken to in the way this digest stands for.
#[derive(Debug)]
pub(crate) struct Unreachable {
    digest: u64,
    error: DirectoryError,
}

/// The servers that a tick runs: those for which somebody asked, with the row that says for what, then those due.
fn to_run(plugin: &Plugin, journal: &Journal, now: i64) -> Result<Vec<ToRun>, Failure> {
    let asked: Vec<RunRecord> = journal.queued_runs()?;
    let is_asked = |record: &ServerRecord| asked.iter().any(|run| run.server_id == record.id);
    let due = journal.servers()?.into_iter().filter(|record| is_due(plugin, record, now) && !is_asked(record));
    let due: Vec<ToRun> = due.map(|record| ToRun { server_id: record.id, asked: None }).collect();
    Ok(asked.into_iter().map(|run| ToRun { server_id: run.server_id, asked: Some(run) }).chain(due).collect())
}

/// With their directories, where there are several, so that those that answer come before one that hangs. A server whose
/// settings cannot be used stays without.
#[expect(clippy::type_complexity, reason = "the two parts of one list")]
fn with_directories(
    plugin: &Plugin,
    journal: &mut Journal,
    to_run: Vec<ToRun>,
) -> Result<(Vec<ToRun>, Vec<((ToRun, u64), LdapDirectory)>), Failure> {
    let (mut alone, mut together) = (Vec::new(), Vec::new());
    if to_run.iter().map(|one| one.server_id).collect::<BTreeSet<_>>().len() < 2 {
        return Ok((to_run, together));
    }
    for one in to_run {
        let Some(record) = journal.server(one.server_id)? else { continue };
        match (stored_settings(&record), journal.password(record.id)) {
            (Ok(settings), Ok(password)) => {
                note_look(plugin, journal, record.id, Some(&settings), one.asked.is_some())?;
                let (digest, directory) =
                    directory_of(plugin, Some(record.id), &settings, password.unwrap_or_default());
                together.push(((one, digest), directory));
            }
            _ => alone.push(one),
        }
    }
    Ok((alone, together))
}

/// Notes that a server is looked at: before that is done, so that one that kills the process is not tried again at once.
fn note_look(
    plugin: &Plugin,
    journal: &mut Journal,
    server_id: i64,
    settings: Option<&Settings>,
    always: bool,
) -> Result<(), Failure> {
    let started = plugin.host.now();
    if plugin.kept.look(server_id, started) || always {
        journal.note_run(server_id, started, after_interval(started, settings))?;
    }
    Ok(())
}

/// One run of a tick. What was asked for and cannot be done any more is noted as failed, with the reason.
fn run_wanted(
    plugin: &Plugin,
    journal: &mut Journal,
    ToRun { server_id, asked }: ToRun,
    unreachable: Option<Unreachable>,
) -> Result<Option<Report>, Failure> {
    // Read anew, because the settings may have been saved and the run cancelled during the one before.
    let Some(record) = &journal.server(server_id)? else { return Ok(None) };
    let wanted = match &asked {
        Some(run) => orders::wanted_by(journal, record, run),
        None => {
            let limits = Limits { tick: true, first_run: !record.approved_first_run, ..Limits::default() };
            Ok(Wanted { limits, ..Wanted::default() })
        }
    };
    if let (Some(run), Err(failure)) = (&asked, &wanted) {
        journal.end_queued(run.id, plugin.host.now(), &failure.to_string())?;
    }
    Ok(run_server(plugin, journal, record, Wanted { unreachable, ..wanted? })?.1)
}

/// Puts in order what an earlier process left, and announces what is still to be announced. To be called with the run
/// lock held: whatever run is not closed then belongs to a process that died.
fn settle_earlier(plugin: &Plugin, journal: &mut Journal) -> Result<(), Failure> {
    let abandoned = journal.close_abandoned_runs(plugin.host.now())?;
    if abandoned > 0 {
        warn!("{abandoned} earlier run(s) ended in the middle");
    }
    if journal.open_intents()?.is_empty() {
        return Ok(run::deliver(journal, &plugin.host)?);
    }
    recover(plugin, journal)
}

/// A server without a first run by hand is read and planned too: what the first run would do is held for approval.
/// A PBX starts in 1970 until its clock is set: a time in the future counts as due.
fn is_due(plugin: &Plugin, record: &ServerRecord, now: i64) -> bool {
    let is_time = due_at(plugin, record, now) <= now || record.last_attempt > now;
    record.autosync && is_time && !is_quiet(record, now)
}

/// Whether the server's settings want no automatic run at this time of day.
fn is_quiet(record: &ServerRecord, now: i64) -> bool {
    let Ok(settings) = stored_settings(record) else { return false };
    let [from, to] = [&settings.quiet_from, &settings.quiet_to].map(|time| schedule::minutes(time));
    let (Some(from), Some(to)) = (from, to) else { return false };
    schedule::is_between(schedule::local_minutes(now, &TimeZone::system()), from, to)
}

/// When the next automatic run is due, as far as this process knows: it remembers when it looked at the server, also
/// where nothing had changed.
fn due_at(plugin: &Plugin, record: &ServerRecord, now: i64) -> i64 {
    match plugin.kept.looked_at(record.id, now) {
        looked if looked > record.last_attempt || plugin.kept.has_failed(record.id) => {
            let interval = after_interval(0, stored_settings(record).as_ref().ok());
            looked.saturating_add(plugin.kept.wait(record.id, interval))
        }
        _ => next_run(record),
    }
}

/// When the next automatic run is due, Unix time in milliseconds. A shorter interval than that of the last run counts
/// as soon as it is saved.
pub(crate) fn next_run(record: &ServerRecord) -> i64 {
    record.next_run.min(after_interval(record.last_attempt, stored_settings(record).as_ref().ok()))
}

fn after_interval(time: i64, settings: Option<&Settings>) -> i64 {
    let seconds = settings.map_or(DEFAULT_INTERVAL, |settings| settings.sync_interval);
    time.saturating_add_unsigned(seconds.saturating_mul(1000))
}

/// Makes one run, which a row in the journal tells of even when it cannot begin.
fn run_server(
    plugin: &Plugin,
    journal: &mut Journal,
    record: &ServerRecord,
    wanted: Wanted,
) -> Result<(Settings, Option<Report>), Failure> {
    plugin.warn_of_missing_callbacks();
    let newest = |journal: &Journal| journal.runs(record.id, 1).map(|runs| runs.first().map(|run| run.id));
    let before = newest(journal)?;
    let (queued, kind) = (wanted.queued, if wanted.is_unattended() { "tick" } else { "manual" });
    let ended = try_run_server(plugin, journal, record, wanted);
    plugin.kept.looked(record.id, ended.is_err());
    if let Err(failure) = &ended {
        let (now, reason) = (plugin.host.now(), failure.to_string());
        match queued {
            Some(run_id) => journal.end_queued(run_id, now, &reason)?,
            None if newest(journal)? == before => drop(journal.note_failed_run(record.id, kind, now, &reason)?),
            None => {}
        }
    }
    if !matches!(ended, Ok((_, None))) {
        journal.prune(plugin.host.now(), DAYS_KEPT)?;
    }
    ended
}

fn try_run_server(
    plugin: &Plugin,
    journal: &mut Journal,
    record: &ServerRecord,
    wanted: Wanted,
) -> Result<(Settings, Option<Report>), Failure> {
    let started = plugin.host.now();
    let settings = stored_settings(record);
    let unattended = wanted.is_unattended();
    // Of one that has not answered it was noted before it was asked.
    if wanted.unreachable.is_none() {
        note_look(plugin, journal, record.id, settings.as_ref().ok(), !unattended)?;
    }
    let settings = settings?;
    let Wanted { mut limits, all_or_nothing, exactly, queued, unreachable } = wanted;
    let password = journal.password(record.id)?.unwrap_or_default();
    if let Some(Unreachable { digest, error }) = unreachable
        && digest == kept::digest(&settings, &password)
    {
        return Err(error.into());
    }
    let policy = settings.policy(record.id, &record.fingerprint);
    let complete = !unattended || is_complete_due(journal, record, &settings, started)?;
    limits.most_new = usize::try_from(settings.most_new_people).unwrap_or(limits.most_new);
    let job = Job { policy: &policy, limits, queued, all_or_nothing, exactly, complete };
    let kept = Some(record.id);
    let report = with_session(plugin, journal, kept, &settings, password, |session| run::synchronise(job, session))?;
    if !unattended && report.as_ref().is_some_and(|report| !found_nobody(report)) {
        journal.approve_first_run(record.id, &record.fingerprint)?;
    }
    Ok((settings, report))
}

/// Whether it is time to compare everybody once more.
fn is_complete_due(journal: &Journal, record: &ServerRecord, settings: &Settings, now: i64) -> Result<bool, Failure> {
    let last = journal.watch(record.id)?.map_or(0, |watch| watch.complete);
    let at = schedule::minutes(&settings.complete_run_at).unwrap_or_default();
    Ok(schedule::is_complete_due(last, now, at, &TimeZone::system()))
}

fn plan_only(
    plugin: &Plugin,
    journal: &mut Journal,
    server_id: i64,
    settings: &Settings,
    password: SecretString,
) -> Result<(Plan, Vec<Hold>), Failure> {
    let policy = settings.policy(server_id, "");
    let job = Job::by_hand(&policy);
    with_session(plugin, journal, None, settings, password, |session| run::preview(job, session))
}

/// Opens both sides of a server and hands them to `body`. Connections are kept for the next run of the server `kept`; that
/// needs the run lock.
fn with_session<T>(
    plugin: &Plugin,
    journal: &mut Journal,
    kept: Option<i64>,
    settings: &Settings,
    password: SecretString,
    body: impl FnOnce(&mut Session<'_>) -> Result<T, RunError>,
) -> Result<T, Failure> {
    let spool = journal.paths().spool().join(session_name());
    let has_secrets = settings.policy(0, "").has_secrets();
    let vault = Arc::new(if has_secrets { journal.vault()? } else { Vault::closed() });
    let mut pbx = match kept.and_then(|_| plugin.kept.take_pbx()) {
        Some(mut pbx) => {
            pbx.begin_session(&spool, Arc::clone(&vault));
            pbx
        }
        None => open_pbx(plugin, journal, &spool, Arc::clone(&vault))?,
    };
    let (digest, mut directory) = directory_of(plugin, kept, settings, password);
    let (host, random) = (&plugin.host, &mut random);
    let ended =
        body(&mut Session { journal, pbx: &mut pbx, directory: &mut directory, host, spool: &spool, vault, random });
    if let Some(server_id) = kept {
        plugin.kept.put_pbx(pbx);
        plugin.kept.put_directory(server_id, digest, directory);
    }
    Ok(ended?)
}

/// The directory of a server, kept or new, with what tells it from one that is spoken to in another way.
fn directory_of(
    plugin: &Plugin,
    kept: Option<i64>,
    settings: &Settings,
    password: SecretString,
) -> (u64, LdapDirectory) {
    let digest = kept::digest(settings, &password);
    let directory = kept.and_then(|server_id| plugin.kept.take_directory(server_id, digest));
    (digest, directory.unwrap_or_else(|| LdapDirectory::new(settings.directory(password))))
}

/// Settles what an earlier process left open. To be called with the run lock held.
pub(crate) fn recover(plugin: &Plugin, journal: &mut Journal) -> Result<(), Failure> {
    let vault = Arc::new(journal.vault()?);
    let mut pbx = open_pbx(plugin, journal, &journal.paths().spool(), vault)?;
    Ok(run::recover(journal, &mut pbx, &plugin.host)?)
}

/// What the PBX holds now, for answers.
pub(crate) fn read_pbx(plugin: &Plugin, journal: &Journal) -> Result<PbxSnapshot, Failure> {
    let vault = Arc::new(journal.vault()?);
    Ok(open_pbx(plugin, journal, &journal.paths().spool(), vault)?.read()?)
}

/// The photo of a linked person's employee; none when there is none, or when the id is another employee's now.
pub(crate) fn pbx_photo(plugin: &Plugin, journal: &Journal, link: &Link) -> Result<Option<Vec<u8>>, Failure> {
    let pbx = open_pbx(plugin, journal, &journal.paths().spool(), Arc::new(Vault::closed()))?;
    let told = |text| format!("the photo of employee {} cannot be shown: {text}", link.user_id);
    pbx.current_photo(link.user_id, &link.sip_uniqid).map_err(|text| Failure::new(LDAP_SYNC_DATABASE, told(text)))
}

fn open_pbx(plugin: &Plugin, journal: &Journal, spool: &Path, vault: Arc<Vault>) -> Result<Pbx, Failure> {
    let (places, paths) = (&plugin.places, journal.paths());
    Ok(Pbx::open(&places.pbx_database, &places.media_dir, spool, &paths.replaced_photos(), vault)?)
}

/// A name of its own for the photos of each session, so that a preview never touches those of a run.
fn session_name() -> String {
    let mut bytes = [0; 8];
    random(&mut bytes);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Random bytes from the operating system.
fn random(buffer: &mut [u8]) {
    // Without randomness there are no secrets: better an internal error than a guessable one.
    getrandom::fill(buffer).expect("the operating system gives random bytes");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{Callbacks, silent};

    /// A module whose PBX has no database, with one server that goes by itself.
    struct Module {
        dir: tempfile::TempDir,
        plugin: Plugin,
        id: i64,
    }

    impl Module {
        fn new(settings: &str) -> Module {
            let dir = tempfile::tempdir().unwrap();
            let place = |name: &str| dir.path().join(name);
            let config = json!({"moduleDir": dir.path(), "pbxDatabase": place("none.db"), "mediaDir": place("media")});
            let plugin = Plugin::open(&config, Callbacks::new(silent())).unwrap();
            let mut journal = Journal::install(dir.path()).unwrap();
            let id = journal.save_server(None, settings, true, Some(&"secret".into()), "f").unwrap().id;
            journal.approve_first_run(id, "f").unwrap();
            Module { dir, plugin, id }
        }

        fn journal(&self) -> Journal {
            Journal::open(self.dir.path()).unwrap()
        }

        fn record(&self) -> ServerRecord {
            self.journal().server(self.id).unwrap().unwrap()
        }

        #[track_caller]
        fn assert_last_run(&self, kind: &str, error: &str) {
            let last = self.journal().runs(self.id, 10).unwrap().remove(0);
            assert_eq!((last.kind.as_str(), last.state.as_str()), (kind, "failed"));
            assert!(last.error.contains(error), "{}", last.error);
        }
    }

    fn stored() -> String {
        serde_json::to_string(&Settings::preset(directory::Vendor::OpenLdap)).unwrap()
    }

    #[test]
    fn a_run_that_cannot_begin_is_recorded() {
        let module = Module::new(&stored());
        let failure = synchronise(&module.plugin, &json!({"id": module.id})).unwrap_err();
        module.assert_last_run("manual", "none.db");
        assert_eq!(module.journal().runs(module.id, 10).unwrap()[0].error, failure.to_string());
        tick(&module.plugin).unwrap();
        assert_eq!(module.journal().runs(module.id, 10).unwrap().len(), 1, "not due again yet");
    }

    #[test]
    fn a_password_that_cannot_be_opened_is_recorded() {
        let module = Module::new(&stored());
        std::fs::write(module.journal().paths().key(), [7; 32]).unwrap();
        tick(&module.plugin).unwrap_err();
        module.assert_last_run("tick", "enter the password again");
    }

    #[test]
    fn damaged_settings_are_recorded_and_not_tried_at_every_tick() {
        let module = Module::new("{not JSON");
        tick(&module.plugin).unwrap_err();
        module.assert_last_run("tick", "save them again");
        tick(&module.plugin).unwrap();
        assert_eq!(module.journal().runs(module.id, 10).unwrap().len(), 1);
    }

    #[test]
    fn a_tick_closes_runs_of_a_process_that_died() {
        let module = Module::new(&stored());
        module.journal().set_autosync(module.id, false).unwrap();
        let run = module.journal().begin_run(module.id, "manual", 1).unwrap();
        tick(&module.plugin).unwrap();
        assert_eq!(module.journal().run(run).unwrap().unwrap().state, "failed");
    }

    #[test]
    fn a_shorter_interval_counts_at_once() {
        let module = Module::new(&stored());
        module.journal().note_run(module.id, 1_000_000, 1_000_000 + 86_400_000).unwrap();
        assert_eq!(next_run(&module.record()), 1_000_000 + 60_000);
        let due = |now: i64| is_due(&module.plugin, &module.record(), now);
        assert!(due(1_060_000) && !due(1_059_999));
        // A longer one does not put off what is due already.
        module.journal().note_run(module.id, 1_000_000, 1_030_000).unwrap();
        assert_eq!(next_run(&module.record()), 1_030_000);
        assert!(due(999_999), "the clock has gone back behind the last run");
    }
}
