//! One synchronisation from start to finish.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::Path;

use log::{debug, info, warn};

use crate::directory::{Coverage, Directory, DirectoryError, DirectoryErrorKind, DirectorySnapshot, ReadRequest};
use crate::host::Host;
use crate::journal::{Journal, JournalError, NewConflict, SettleBatch};
use crate::limits::{Hold, Limits};
use crate::link::Link;
use crate::pbx::{Pbx, PbxError};
use crate::person::Field;
use crate::plan::{Conflict, Inputs, Plan, Policy, make};
use crate::report::{PersonOutcome, count, hold_row, shown, summary};

mod apply;
mod bases;
mod progress;
mod recover;
mod tasks;
mod write_back;

pub use recover::{deliver, recover};

use progress::Progress;

/// Events handed to the PBX in one announcement, at most.
const ANNOUNCED_AT_ONCE: u32 = 500;

/// What to synchronise.
#[derive(Clone, Copy)]
pub struct Job<'a> {
    /// The server's settings.
    pub policy: &'a Policy,
    /// How much may change without approval; also tells a tick's run from one made by hand.
    pub limits: Limits,
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
    /// Somebody asked for it.
    #[error("the run was cancelled; what was done before stays, the rest is done by the next run")]
    Cancelled,
}

/// Makes the plan and applies nothing.
pub fn preview(job: Job<'_>, session: &mut Session<'_>) -> Result<(Plan, Vec<Hold>), RunError> {
    let links = session.journal.links(job.policy.server_id)?;
    let directory = read_directory(&links, session, &mut |_, _| ControlFlow::Continue(()));
    clear_spool(session.spool);
    let (plan, _) = make_plan(job.policy, links, &directory?, session)?;
    let (approved, holds) = plan.approve(&job.limits);
    Ok((approved.into_plan(), holds))
}

/// Synchronises a server: directory → snapshot → match → merge → number → plan → approve → intend → apply → announce →
/// write back → settle.
pub fn synchronise(job: Job<'_>, session: &mut Session<'_>) -> Result<Report, RunError> {
    recover(session.journal, session.pbx, session.host)?;
    let kind = if job.limits.tick { "tick" } else { "manual" };
    let run_id = session.journal.begin_run(job.policy.server_id, kind, session.host.now())?;
    let mut run = Run { job, run_id, session, progress: Progress::new(run_id) };
    let carried_out = run.carry_out();
    let delivered = deliver(run.session.journal, run.session.host);
    let ended = carried_out.and_then(|report| delivered.map(|()| report).map_err(RunError::from));
    run.close(ended)
}

struct Run<'a, 'b> {
    job: Job<'a>,
    run_id: i64,
    session: &'a mut Session<'b>,
    progress: Progress,
}

impl Run<'_, '_> {
    fn carry_out(&mut self) -> Result<Report, RunError> {
        let plan = self.read_and_plan()?;
        let (approved, holds) = plan.approve(&self.job.limits);
        let plan = approved.into_plan();
        let mut outcomes: Vec<PersonOutcome> = plan
            .people
            .iter()
            .map(|person| PersonOutcome { user_id: person.user_id, ..PersonOutcome::default() })
            .collect();
        self.apply(&plan, &mut outcomes)?;
        deliver(self.session.journal, self.session.host)?;
        let written = self.write_back(&plan, &mut outcomes);
        self.settle(&plan, &outcomes, written.is_ok())?;
        written?;
        let summary = summary(&plan, &outcomes, &holds);
        Ok(Report { run_id: self.run_id, plan, outcomes, holds, summary })
    }

    fn read_and_plan(&mut self) -> Result<Plan, RunError> {
        let (host, run_id) = (self.session.host, self.run_id);
        let progress = &mut self.progress;
        progress.enter("reading", 0, host);
        let links = self.session.journal.links(self.job.policy.server_id)?;
        let directory = read_directory(&links, self.session, &mut |read, journal| {
            progress.step(read, host);
            // Whether the question can be answered or not, the run asks again before it writes.
            let cancelled = journal.cancel_requested(run_id).unwrap_or(false);
            if cancelled { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        self.stop_if_cancelled()?;
        self.progress.enter("planning", directory.entries.len() as u64, host);
        let (plan, region) = make_plan(self.job.policy, links, &directory, self.session)?;
        self.session.journal.note_region(self.job.policy.server_id, &region)?;
        Ok(plan)
    }

    fn stop_if_cancelled(&self) -> Result<(), RunError> {
        if self.session.journal.cancel_requested(self.run_id)? { Err(RunError::Cancelled) } else { Ok(()) }
    }

    /// Stores the links that follow from what happened and what is left for a human.
    fn settle(&mut self, plan: &Plan, outcomes: &[PersonOutcome], complete: bool) -> Result<(), RunError> {
        let now = self.session.host.now();
        let mut links = bases::links_after(plan, outcomes, self.job.policy.server_id, now);
        links.extend(bases::departed_links(plan, now));
        if !links.is_empty() {
            let fingerprint = Some(self.job.policy.fingerprint.clone());
            self.session.journal.settle(&SettleBatch { links, fingerprint, ..SettleBatch::default() })?;
        }
        let planned = plan.people.iter().flat_map(|person| &person.conflicts);
        let found = outcomes.iter().flat_map(|outcome| &outcome.conflicts);
        let seen: Vec<NewConflict> = planned.chain(found).map(new_conflict).collect();
        let complete = complete && plan.coverage == Coverage::Full && !plan.people.is_empty();
        self.session.journal.replace_conflicts(self.job.policy.server_id, &seen, now, complete)?;
        Ok(())
    }

    /// Writes the end of the run into the journal, however it ended.
    fn close(self, ended: Result<Report, RunError>) -> Result<Report, RunError> {
        let Run { run_id, session, mut progress, .. } = self;
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
        let (pbx, journal) = (session.pbx.statements(), session.journal.statements());
        debug!("run {run_id}: {pbx} SQL statements in the PBX's database, {journal} in the module's");
        let noted = session.journal.end_run(run_id, now, state, &summary, &counts, &error);
        progress.enter("done", 0, session.host);
        let report = ended?;
        noted?;
        Ok(report)
    }
}

/// Reads the directory, with the photos of entries that have changed.
fn read_directory(
    links: &[Link],
    session: &mut Session<'_>,
    progress: &mut dyn FnMut(u64, &Journal) -> ControlFlow<()>,
) -> Result<DirectorySnapshot, RunError> {
    let known_marks = links.iter().map(|link| (link.key.clone(), link.change_mark.clone())).collect();
    let with_photo = links.iter().filter(|link| !link.directory[Field::Photo].is_empty());
    let had_photo = with_photo.map(|link| link.key.clone()).collect();
    let (spool, now) = (session.spool, session.host.now());
    let request = ReadRequest { known_marks: &known_marks, had_photo: &had_photo, spool, now };
    let journal = &*session.journal;
    let directory = session.directory.read(&request, &mut |read| progress(read, journal)).map_err(cancelled)?;
    debug!("directory: {} entries", directory.entries.len());
    Ok(directory)
}

/// Reads the PBX and makes the plan; answers it with the region that telephone numbers were read by.
fn make_plan(
    policy: &Policy,
    mut links: Vec<Link>,
    directory: &DirectorySnapshot,
    session: &mut Session<'_>,
) -> Result<(Plan, String), RunError> {
    let pbx = session.pbx.read()?;
    debug!("PBX: {} employees, {} numbers in use", pbx.employees.len(), pbx.numbers.len());
    let region = policy.region_on(&pbx.language);
    if session.journal.region(policy.server_id)? != region {
        // Mobiles are compared anew: what they meant depends on the region.
        links.iter_mut().for_each(|link| link.forget_base(Field::Mobile));
    }
    let everyone = session.journal.all_linked_users()?;
    let linked_elsewhere: BTreeSet<i64> =
        everyone.into_iter().filter(|(_, server)| *server != policy.server_id).map(|(user, _)| user).collect();
    let numbers_used = session.journal.numbers_used()?;
    let inputs = Inputs {
        policy,
        directory,
        pbx: &pbx,
        links: &links,
        linked_elsewhere: &linked_elsewhere,
        numbers_used: &numbers_used,
        phones: policy.phones(&pbx.language),
    };
    Ok((make(inputs), region.to_owned()))
}

fn cancelled(error: DirectoryError) -> RunError {
    if error.kind == DirectoryErrorKind::Cancelled { RunError::Cancelled } else { RunError::Directory(error) }
}

fn new_conflict(conflict: &Conflict) -> NewConflict {
    let value = |text: &str| conflict.field.map_or(text, |field| shown(field, text)).to_owned();
    NewConflict {
        key: conflict.key.clone(),
        user_id: conflict.user_id,
        person: conflict.person.clone(),
        field: conflict.field.map(Field::name).unwrap_or_default().to_owned(),
        side: conflict.side.name().to_owned(),
        cause: conflict.cause.to_owned(),
        reason: conflict.reason.clone(),
        directory_value: value(&conflict.directory_value),
        pbx_value: value(&conflict.pbx_value),
    }
}

/// Photos of a session are of no use to the next one, which asks again where it needs to.
fn clear_spool(spool: &Path) {
    if let Err(error) = std::fs::remove_dir_all(spool)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        warn!("{} could not be removed: {error}", spool.display());
    }
}
