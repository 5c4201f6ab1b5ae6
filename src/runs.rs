//! The wiring of a synchronisation: settings, databases and directory brought together for `sync_core::run`.

use directory::LdapDirectory;
use log::debug;
use plugin_abi::status::ldap_sync_status::*;
use secrecy::SecretString;
use serde_json::{Value, json};
use sync_core::host::Host;
use sync_core::journal::{Journal, ServerRecord};
use sync_core::limits::{Hold, Limits};
use sync_core::pbx::Pbx;
use sync_core::plan::Plan;
use sync_core::report;
use sync_core::run::{self, Job, Report, RunError, Session};

use crate::actions::{form_or_stored, required_id, server, stored_settings, unknown_keys};
use crate::answer::{Answer, Failure};
use crate::plugin::Plugin;
use crate::settings::Settings;

/// Days for which runs and what they replaced are kept.
const DAYS_KEPT: u32 = 90;

/// `get-available-ldap-users`: the people a server's filter finds.
pub(crate) fn available(plugin: &Plugin, body: &Value) -> Result<Answer, Failure> {
    let mut journal = plugin.journal()?;
    let (form, password) = form_or_stored(&journal, body)?;
    let settings = &form.settings;
    let errors = directory::validate(&settings.directory(password.clone()));
    if !errors.is_empty() {
        let errors = errors.into_iter().map(|(field, text)| (field.to_owned(), text)).collect();
        return Err(Failure::fields(errors, unknown_keys(&form.unknown)));
    }
    let (plan, _) = plan_only(plugin, &mut journal, form.id.unwrap_or_default(), settings, password)?;
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
    Ok(Answer::new(report::preview(&plan, &holds, record.id)).with_info([report::summary(&plan, &[])]))
}

/// `sync-ldap-users`: a run made by hand.
pub(crate) fn synchronise(plugin: &Plugin, body: &Value) -> Result<Answer, Failure> {
    let mut journal = plugin.journal()?;
    let record = server(&journal, required_id(body, "id")?)?;
    let _lock = plugin.run_lock()?;
    let settings = stored_settings(&record)?;
    let report = run_server(plugin, &mut journal, &record, &settings, Limits::default())?;
    let rows = report::sync_rows(&report.plan, &report.outcomes, &settings.mapped());
    let held = report.holds.iter().map(|hold| format!("held: {}", hold.reason));
    let info: Vec<String> =
        [report.summary.clone()].into_iter().chain(held).chain(report.plan.warnings.iter().cloned()).collect();
    if report.plan.people.is_empty() && report.plan.linked > 0 {
        return Err(Failure::new(LDAP_SYNC_REFUSED, info.join("; ")).with_data(rows.into()));
    }
    Ok(Answer::new(rows).with_info(info))
}

/// The worker's tick: announces what is still to be announced and runs every server that is due.
pub(crate) fn tick(plugin: &Plugin) -> Result<Answer, Failure> {
    let mut journal = plugin.journal()?;
    let _lock = plugin.run_lock()?;
    let now = plugin.host.now();
    if journal.open_intents()?.is_empty() {
        run::deliver(&mut journal, &plugin.host)?;
    } else {
        recover(plugin, &mut journal)?;
    }
    let (mut ran, mut failures) = (Vec::new(), Vec::new());
    for record in journal.servers()?.into_iter().filter(|record| is_due(record, now)) {
        match tick_server(plugin, &mut journal, &record) {
            Ok(report) => {
                let holds: Vec<Value> = report.holds.iter().map(report::hold_row).collect();
                ran.push(
                    json!({"serverId": record.id, "runId": report.run_id, "summary": report.summary, "held": holds}),
                );
            }
            Err(failure) => {
                ran.push(json!({"serverId": record.id, "runId": null, "summary": failure.to_string(), "held": []}));
                failures.push(failure);
            }
        }
    }
    if !ran.is_empty() {
        journal.prune(now, DAYS_KEPT)?;
    }
    let next = journal.servers()?.iter().filter(|record| goes_by_itself(record)).map(|record| record.next_run).min();
    let data = json!({"ran": ran, "nextDue": next});
    match failures.into_iter().next() {
        None => Ok(Answer::new(data)),
        Some(failure) => Err(failure.with_data(data)),
    }
}

fn tick_server(plugin: &Plugin, journal: &mut Journal, record: &ServerRecord) -> Result<Report, Failure> {
    let settings = stored_settings(record)?;
    run_server(plugin, journal, record, &settings, Limits { tick: true, ..Limits::default() })
}

/// The first run of a server, or of a changed mapping, is never made by a tick.
fn goes_by_itself(record: &ServerRecord) -> bool {
    record.autosync && record.approved_first_run
}

/// A PBX starts in 1970 until its clock is set: a time in the future counts as due.
fn is_due(record: &ServerRecord, now: i64) -> bool {
    goes_by_itself(record) && (record.next_run <= now || record.last_attempt > now)
}

fn run_server(
    plugin: &Plugin,
    journal: &mut Journal,
    record: &ServerRecord,
    settings: &Settings,
    limits: Limits,
) -> Result<Report, Failure> {
    plugin.warn_unguarded();
    let started = plugin.host.now();
    let next = started.saturating_add_unsigned(settings.sync_interval.saturating_mul(1000));
    // Noted before the run, so that a server that kills the process is not tried again at once.
    journal.note_run(record.id, started, next)?;
    let password = journal.password(record.id)?.unwrap_or_default();
    let policy = settings.policy(record.id, &record.fingerprint);
    let job = Job { policy: &policy, limits };
    let ended = with_session(plugin, journal, settings, password, |session| run::synchronise(job, session))?;
    if !limits.tick {
        journal.approve_first_run(record.id, &policy.fingerprint)?;
    }
    debug!("server {}: next automatic run at {next}", record.id);
    Ok(ended)
}

fn plan_only(
    plugin: &Plugin,
    journal: &mut Journal,
    server_id: i64,
    settings: &Settings,
    password: SecretString,
) -> Result<(Plan, Vec<Hold>), Failure> {
    let policy = settings.policy(server_id, "");
    let job = Job { policy: &policy, limits: Limits::default() };
    with_session(plugin, journal, settings, password, |session| run::preview(job, session))
}

/// Opens both sides of a server and hands them to `body`.
fn with_session<T>(
    plugin: &Plugin,
    journal: &mut Journal,
    settings: &Settings,
    password: SecretString,
    body: impl FnOnce(&mut Session<'_>) -> Result<T, RunError>,
) -> Result<T, Failure> {
    let mut pbx = open_pbx(plugin, journal)?;
    let mut directory = LdapDirectory::new(settings.directory(password));
    let (host, random) = (&plugin.host, &mut random);
    Ok(body(&mut Session { journal, pbx: &mut pbx, directory: &mut directory, host, random })?)
}

/// Settles what an earlier process left open. To be called with the run lock held.
pub(crate) fn recover(plugin: &Plugin, journal: &mut Journal) -> Result<(), Failure> {
    let mut pbx = open_pbx(plugin, journal)?;
    Ok(run::recover(journal, &mut pbx, &plugin.host)?)
}

fn open_pbx(plugin: &Plugin, journal: &Journal) -> Result<Pbx, Failure> {
    let (places, paths) = (&plugin.places, journal.paths());
    Ok(Pbx::open(&places.pbx_database, &places.media_dir, &paths.spool(), &paths.replaced_photos())?)
}

/// Random bytes from the operating system.
fn random(buffer: &mut [u8]) {
    // Without randomness there are no secrets: better an internal error than a guessable one.
    getrandom::fill(buffer).expect("the operating system gives random bytes");
}
