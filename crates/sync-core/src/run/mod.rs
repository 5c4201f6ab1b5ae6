//! One synchronisation from start to finish.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use log::{debug, info, warn};

use crate::directory::{Coverage, Directory, DirectoryError, DirectoryErrorKind, Position};
use crate::host::Host;
use crate::journal::{Compared, Journal, JournalError, SettleBatch, Watch};
use crate::limits::{Hold, Limits};
use crate::link::Link;
use crate::pbx::{Pbx, PbxError, secret};
use crate::person::DirectoryKey;
use crate::plan::{PersonPlan, Plan};
use crate::policy::Policy;
use crate::previewed::Previewed;
use crate::report::{PersonOutcome, count, hold_row, summary};
use crate::vault::Vault;

mod about;
mod accounts;
mod apply;
mod bases;
mod decided;
mod intended;
#[cfg(test)]
mod model;
mod own_side;
mod progress;
mod read;
mod recorder;
mod recover;
mod reports;
mod scope;
mod tasks;
mod write_back;

pub use recover::{deliver, recover};

use progress::Progress;
use read::{Reading, read_both_sides};
use scope::{Beginning, Scope};
use secrecy::ExposeSecret;

/// Events handed to the PBX in one announcement, at most.
const ANNOUNCED_AT_ONCE: usize = 2_000;

/// Links stored in one transaction at the end of a run.
const STORED_AT_ONCE: usize = 2_000;

/// What to synchronise.
#[derive(Clone)]
pub struct Job<'a> {
    /// The server's settings.
    pub policy: &'a Policy,
    /// How much may change without approval; also tells a tick's run from one made by hand.
    pub limits: Limits,
    /// The run that somebody asked for before, which this is.
    pub queued: Option<i64>,
    /// Nothing is done when the limits hold anything beyond what was approved.
    pub all_or_nothing: bool,
    /// Nothing is done unless it is exactly what a preview has shown.
    pub exactly: Option<Previewed>,
    /// Everybody is compared, also where only a few may have changed.
    pub complete: bool,
}

impl<'a> Job<'a> {
    /// A run made by hand.
    pub fn by_hand(policy: &'a Policy) -> Job<'a> {
        Job { policy, limits: Limits::default(), queued: None, all_or_nothing: false, exactly: None, complete: true }
    }

    /// Whether nobody stands behind the run.
    fn is_unattended(&self) -> bool {
        self.limits.tick && !self.all_or_nothing
    }

    /// Whether it is enough to look at people who may have changed since the last run.
    fn keeps_up(&self) -> bool {
        self.is_unattended()
            && !self.complete
            && !self.limits.first_run
            && self.queued.is_none()
            && self.exactly.is_none()
    }
}

/// What a run works with.
pub struct Session<'a> {
    /// The module's own database.
    pub journal: &'a mut Journal,
    /// The PBX's database.
    pub pbx: &'a mut Pbx,
    /// The directory.
    pub directory: &'a mut dyn Directory,
    /// The program around it.
    pub host: &'a dyn Host,
    /// Directory for the photos of this session only; it is removed at the end.
    pub spool: &'a Path,
    /// The SIP secrets of this session, shared with `pbx`.
    pub vault: Arc<Vault>,
    /// Fills a buffer with cryptographically secure random bytes.
    pub random: &'a mut dyn FnMut(&mut [u8]),
}

/// What a run did.
#[derive(Clone, Debug)]
pub struct Report {
    /// The run's id.
    pub run_id: i64,
    /// What was to be done.
    pub plan: Plan,
    /// What became of it, one per person of the plan.
    pub outcomes: Vec<PersonOutcome>,
    /// What the limits held.
    pub holds: Vec<Hold>,
    /// The sentence for the administrator.
    pub summary: String,
}

impl Report {
    /// Whether it looked at a few people and found nothing to do for them. Those who were `waiting` may go on waiting.
    fn is_about_nothing(&self, waiting: &BTreeSet<DirectoryKey>) -> bool {
        let plan = &self.plan;
        let left = plan.departures.iter().any(|departure| departure.state != departure.link.state);
        let tells = |person: &PersonPlan| !person.conflicts.is_empty() && !waiting.contains(&person.person.entry.key);
        let does = plan.people.iter().any(|person| person.does_something() || tells(person));
        !plan.everybody && self.holds.is_empty() && plan.accounts.is_empty() && !left && !does
    }

    /// How many people it concerned, and what the limits held, as JSON.
    fn counts_json(&self) -> String {
        let mut counts = serde_json::to_value(count(&self.plan, &self.outcomes)).unwrap_or_default();
        counts["held"] = self.holds.iter().map(hold_row).collect();
        counts.to_string()
    }
}

/// Why a run ended early. What it had done until then is settled and stays.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The directory could not be used.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The PBX's database could not be used.
    #[error(transparent)]
    Pbx(#[from] PbxError),
    /// The module's database could not be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// What was approved is less than what would be done now.
    #[error("nothing was done: more is held now than was approved; look at it again and approve that ({})", told(.0))]
    Grown(Vec<Hold>),
    /// What was to be applied is not what would be done now; the differences.
    #[error("nothing was done: this is no longer what the preview has shown ({}); look at a new preview", .0.join("; "))]
    PlanChanged(Vec<String>),
    /// Somebody asked for it.
    #[error("the run was cancelled; what was done before stays, the rest is done by the next run")]
    Cancelled,
}

fn told(holds: &[Hold]) -> String {
    holds.iter().map(|hold| format!("{} {}", hold.count, hold.what)).collect::<Vec<_>>().join(", ")
}

/// Makes the plan and applies nothing.
pub fn preview(job: Job<'_>, session: &mut Session<'_>) -> Result<(Plan, Vec<Hold>), RunError> {
    let everybody = Scope::Everybody;
    let reading = read_both_sides(job.policy, &everybody, session, &mut |_, _| ControlFlow::Continue(()), &mut |_| {});
    clear_spool(session.spool);
    let mut plan = reading?.plan;
    // The secret itself is made when the employee is.
    plan.give_secrets(job.policy, &mut || "secret".to_owned());
    let (approved, holds) = plan.approve(&job.limits);
    Ok((approved.into_plan(), holds))
}

/// Synchronises a server: directory → snapshot → match → merge → number → plan → approve → intend → apply → announce →
/// write back → settle.
/// `None` when nothing has changed since the last run, on either side; then the run leaves no trace.
pub fn synchronise(job: Job<'_>, session: &mut Session<'_>) -> Result<Option<Report>, RunError> {
    let asked_before = session.pbx.statements();
    recover(session.journal, session.pbx, session.host)?;
    // A run that somebody waits for is to be seen, and can be cancelled, before the directory has answered anything.
    let beginning = if job.keeps_up() { Some(scope::begin(&job, session)?) } else { None };
    if beginning.as_ref().is_some_and(|beginning| beginning.scope == Scope::Nobody) {
        return Ok(None);
    }
    let kind = if job.is_unattended() { "tick" } else { "manual" };
    let now = session.host.now();
    let run_id = match job.queued {
        Some(run_id) if session.journal.begin_queued(run_id, now)? => run_id,
        Some(_) => return Err(RunError::Cancelled),
        None => session.journal.begin_run(job.policy.server_id, kind, now)?,
    };
    let waiting = beginning.as_ref().map(|beginning| beginning.waiting.clone()).unwrap_or_default();
    let mut run = Run { job, run_id, session, progress: Progress::new(run_id), beginning, asked_before };
    let carried_out = run.carry_out();
    let delivered = deliver(run.session.journal, run.session.host);
    let ended = carried_out.and_then(|report| delivered.map(|()| report).map_err(RunError::from));
    let report = run.close(ended)?;
    if report.is_about_nothing(&waiting) {
        session.journal.forget_run(report.run_id)?;
        return Ok(None);
    }
    Ok(Some(report))
}

struct Run<'a, 'b> {
    job: Job<'a>,
    run_id: i64,
    session: &'a mut Session<'b>,
    progress: Progress,
    beginning: Option<Beginning>,
    /// SQL statements of the PBX's connection before the run, since it may be kept.
    asked_before: u64,
}

impl Run<'_, '_> {
    fn carry_out(&mut self) -> Result<Report, RunError> {
        self.progress.enter("reading", 0, self.session.host);
        let Beginning { scope, next, .. } = match self.beginning.take() {
            Some(beginning) => beginning,
            None => scope::begin(&self.job, self.session)?,
        };
        let Reading { mut plan, region, decisions, began, asked, newest } = self.read_and_plan(&scope)?;
        let next = self.next_watch(next, newest, &asked);
        self.give_secrets(&mut plan);
        let (approved, holds) = plan.approve(&self.job.limits);
        let mut plan = approved.into_plan();
        self.compare_with_preview(&plan)?;
        plan.let_go_of_attributes();
        let now = self.session.host.now();
        self.session.journal.note_holds(self.job.policy.server_id, self.run_id, &holds, now)?;
        if self.job.all_or_nothing && !holds.is_empty() {
            return Err(RunError::Grown(holds));
        }
        self.session.journal.note_region(self.job.policy.server_id, &region)?;
        let mut outcomes: Vec<PersonOutcome> = plan
            .people
            .iter()
            .map(|person| PersonOutcome { user_id: person.user_id, ..PersonOutcome::default() })
            .collect();
        self.apply(&plan, &mut outcomes)?;
        let accounts = self.apply_accounts(&plan)?;
        deliver(self.session.journal, self.session.host)?;
        let written = self.write_back(&plan, &mut outcomes);
        let compared = match (&asked, &plan.coverage) {
            (Some(keys), Coverage::Full) => Compared::Only(keys),
            (None, Coverage::Full) if !plan.people.is_empty() => Compared::Everybody,
            _ => Compared::Part,
        };
        let compared = if written.is_ok() { compared } else { Compared::Part };
        self.settle(&plan, &outcomes, &accounts, &decisions, compared, began)?;
        if !matches!(compared, Compared::Part) {
            self.note_watch(next)?;
        }
        written?;
        let summary = summary(&plan, &outcomes, &holds);
        Ok(Report { run_id: self.run_id, plan, outcomes, holds, summary })
    }

    fn compare_with_preview(&self, plan: &Plan) -> Result<(), RunError> {
        let Some(shown) = &self.job.exactly else { return Ok(()) };
        let differences = shown.differences(&Previewed::of(plan));
        if differences.is_empty() { Ok(()) } else { Err(RunError::PlanChanged(differences)) }
    }

    fn read_and_plan(&mut self, scope: &Scope) -> Result<Reading, RunError> {
        let (host, run_id) = (self.session.host, self.run_id);
        let progress = std::cell::RefCell::new(&mut self.progress);
        let reading = read_both_sides(
            self.job.policy,
            scope,
            self.session,
            &mut |read, journal| {
                progress.borrow_mut().step(read, host);
                // Whether the question can be answered or not, the run asks again before it writes.
                let cancelled = journal.cancel_requested(run_id).unwrap_or(false);
                if cancelled { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            },
            &mut |entries| progress.borrow_mut().enter("planning", entries, host),
        )?;
        self.stop_if_cancelled()?;
        Ok(reading)
    }

    /// Makes the SIP secrets of new employees, where the directory is to hold them too.
    fn give_secrets(&mut self, plan: &mut Plan) {
        let (vault, random) = (Arc::clone(&self.session.vault), &mut *self.session.random);
        plan.give_secrets(self.job.policy, &mut || vault.keep(secret::generate(random).expose_secret()));
    }

    fn stop_if_cancelled(&self) -> Result<(), RunError> {
        if self.session.journal.cancel_requested(self.run_id)? { Err(RunError::Cancelled) } else { Ok(()) }
    }

    /// Stores links, some at a time: whoever else writes to the module's database gets their turn in between.
    fn store_links(&mut self, mut unlinked: Vec<i64>, links: Vec<Link>) -> Result<(), RunError> {
        let fingerprint = Some(self.job.policy.fingerprint.clone());
        let mut links = links.into_iter();
        loop {
            let links: Vec<Link> = links.by_ref().take(STORED_AT_ONCE).collect();
            if links.is_empty() {
                return Ok(());
            }
            let (unlinked, fingerprint) = (std::mem::take(&mut unlinked), fingerprint.clone());
            self.session.journal.settle(&SettleBatch { unlinked, links, fingerprint, ..SettleBatch::default() })?;
        }
    }

    /// Where the next run begins, with what only the reading could tell.
    fn next_watch(&self, next: Watch, newest: Option<String>, asked: &Option<BTreeSet<DirectoryKey>>) -> Watch {
        if asked.is_some() {
            return next;
        }
        let Position { mark, cookie } = next.directory;
        let mark = if mark.is_empty() { newest.unwrap_or_default() } else { mark };
        Watch { directory: Position { mark, cookie }, complete: self.session.host.now(), ..next }
    }

    /// Notes where the next run begins, now that everything is written.
    fn note_watch(&mut self, next: Watch) -> Result<(), RunError> {
        let pbx = self.session.pbx.mark_of_ours(&next.pbx, self.session.host)?;
        self.session.journal.note_watch(self.job.policy.server_id, &Watch { pbx, ..next })?;
        Ok(())
    }

    /// Stores the links that follow from what happened and what is left for a human. The run began to read at `began`.
    fn settle(
        &mut self,
        plan: &Plan,
        outcomes: &[PersonOutcome],
        accounts: &accounts::Settled,
        decisions: &crate::decision::Decisions,
        compared: Compared<'_>,
        began: i64,
    ) -> Result<(), RunError> {
        let (server_id, now) = (self.job.policy.server_id, self.session.host.now());
        let terms = self.terms(plan, now);
        let mut links = bases::links_after(plan, outcomes, terms);
        links.extend(bases::departed_links(plan, now));
        accounts.complete(&mut links);
        let unlinked: Vec<i64> = plan.people.iter().zip(outcomes).filter_map(bases::link_replaced).collect();
        self.store_links(unlinked, links)?;
        let seen = decided::conflicts_to_show(plan, outcomes, accounts, decisions);
        self.session.journal.replace_conflicts(server_id, &seen, now, compared)?;
        self.session.journal.delete_decisions(&decided::done(plan, outcomes, decisions))?;
        if !matches!(compared, Compared::Part) {
            let ids_given = self.session.pbx.ids_given()?;
            self.session.journal.note_compared(server_id, began, ids_given)?;
        }
        Ok(())
    }

    /// Writes the end of the run into the journal, however it ended.
    fn close(self, ended: Result<Report, RunError>) -> Result<Report, RunError> {
        let Run { run_id, session, mut progress, asked_before, .. } = self;
        let now = session.host.now();
        let (state, summary, counts, error) = match &ended {
            Ok(report) => {
                let counts = report.counts_json();
                info!("run {run_id}: {}", report.summary);
                ("done", report.summary.clone(), counts, String::new())
            }
            Err(RunError::Cancelled) => ("cancelled", RunError::Cancelled.to_string(), "{}".into(), String::new()),
            Err(error) => ("failed", String::new(), "{}".into(), error.to_string()),
        };
        if let Err(error) = &ended {
            warn!("run {run_id} ended early: {error}");
        }
        clear_spool(session.spool);
        let (pbx, journal) = (session.pbx.statements() - asked_before, session.journal.statements());
        debug!("run {run_id}: {pbx} SQL statements in the PBX's database, {journal} in the module's");
        let noted = session.journal.end_run(run_id, now, state, &summary, &counts, &error);
        progress.enter("done", 0, session.host);
        let report = ended?;
        noted?;
        Ok(report)
    }
}

fn cancelled(error: DirectoryError) -> RunError {
    if error.kind == DirectoryErrorKind::Cancelled { RunError::Cancelled } else { RunError::Directory(error) }
}

/// Photos of a session are of no use to the next one, which asks again where it needs to.
fn clear_spool(spool: &Path) {
    if let Err(error) = std::fs::remove_dir_all(spool)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        warn!("{} could not be removed: {error}", spool.display());
    }
}
