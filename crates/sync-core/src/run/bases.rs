//! The links after a run: pure functions of the plan and of what became of it.

use crate::link::{Link, LinkState};
use crate::person::Field;
use crate::plan::{Action, PersonPlan, Plan, Side};
use crate::report::{Outcome, PersonOutcome};

/// The links of a plan's people that differ from those stored.
pub(super) fn links_after(plan: &Plan, outcomes: &[PersonOutcome], server_id: i64, now: i64) -> Vec<Link> {
    plan.people
        .iter()
        .zip(outcomes)
        .filter_map(|(person, outcome)| {
            let link = link_after(person, outcome, server_id, now)?;
            (person.link.as_ref() != Some(&link)).then_some(link)
        })
        .collect()
}

/// Links of people who have left and were not known to have.
pub(super) fn departed_links(plan: &Plan, now: i64) -> Vec<Link> {
    plan.departures
        .iter()
        .filter(|departure| departure.link.state != departure.state && !departure.held)
        .map(|departure| Link { state: departure.state, since: now, ..departure.link.clone() })
        .collect()
}

/// The link of one person after what is known to have happened; `None` when there is none or it must not be touched.
pub(super) fn link_after(person: &PersonPlan, outcome: &PersonOutcome, server_id: i64, now: i64) -> Option<Link> {
    if !matches!(person.action, Action::Create | Action::Adopt(_) | Action::Keep) {
        return None;
    }
    let user_id = outcome.user_id?;
    let mut link = person.link.clone().unwrap_or_else(|| Link {
        server_id,
        key: person.person.key.clone(),
        since: now,
        created_by_sync: person.action == Action::Create,
        ..Link::default()
    });
    link.user_id = user_id;
    if !outcome.sip_uniqid.is_empty() {
        link.sip_uniqid = outcome.sip_uniqid.clone();
    } else if link.sip_uniqid.is_empty() {
        link.sip_uniqid = person.sip_uniqid.clone();
    }
    link.dn = person.person.dn.clone();
    if link.state != LinkState::Active {
        link.state = LinkState::Active;
        link.since = now;
    }
    for field in Field::ALL {
        settle_field(&mut link, person, outcome, field);
    }
    link.change_mark = change_mark(&link, person, outcome);
    Some(link)
}

/// Moves the base of one field to what both sides are known to hold. A field on which nothing was decided or done keeps
/// its base, so that the next run decides again.
fn settle_field(link: &mut Link, person: &PersonPlan, outcome: &PersonOutcome, field: Field) {
    let done = |side: Side| outcome.changes.get(&(side, field)) == Some(&Outcome::Done);
    let pbx_now = if done(Side::Pbx) { &person.after[field] } else { &person.before[field] };
    link.shown[field] = pbx_now.clone();
    if done(Side::Directory) {
        let written = &person.after[field];
        link.directory[field] = written.clone();
        link.pbx[field] = written.clone();
    } else if done(Side::Pbx) || person.link.is_none() || person.agreed.contains(&field) {
        link.directory[field] = person.person.values[field].clone();
        link.pbx[field] = pbx_now.clone();
    }
}

/// The entry's change mark, so that its photo is not asked for again; empty while a photo is still to be dealt with.
fn change_mark(link: &Link, person: &PersonPlan, outcome: &PersonOutcome) -> String {
    let (directory, pbx) = (&link.directory[Field::Photo], &link.pbx[Field::Photo]);
    let not_taken = !directory.is_empty() && directory != pbx;
    let not_decided = *directory != person.person.values[Field::Photo];
    let photo_pending = !person.person.unusable.contains(&Field::Photo) && (not_taken || not_decided);
    if photo_pending {
        String::new()
    } else if outcome.change_mark.is_empty() {
        person.person.change_mark.clone()
    } else {
        outcome.change_mark.clone()
    }
}
