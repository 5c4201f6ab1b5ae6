//! The links after a run: pure functions of the plan and of what became of it.

use std::collections::BTreeSet;

use crate::link::{Link, LinkState, Unsettled};
use crate::normalise::same;
use crate::person::{AccountState, DirectoryKey, Field, Side, SmolStr};
use crate::phone::PhoneRules;
use crate::plan::{Action, PersonPlan, Plan};
use crate::policy::{Direction, Policy};
use crate::report::PersonOutcome;

/// What the new links depend on besides the plan and its outcomes.
#[derive(Clone, Copy)]
pub(super) struct Terms<'a> {
    pub(super) policy: &'a Policy,
    /// How telephone numbers were read.
    pub(super) phones: PhoneRules,
    /// Unix time in milliseconds.
    pub(super) now: i64,
}

/// The links of a plan's people that differ from those stored.
pub(super) fn links_after(plan: &Plan, outcomes: &[PersonOutcome], terms: Terms<'_>) -> Vec<Link> {
    let switched = switched(plan);
    plan.people
        .iter()
        .zip(outcomes)
        .filter(|(person, outcome)| {
            let written_back = outcome.changes.tried(Side::Directory);
            !outcome.settled && (!outcome.stored || written_back || switched.contains(&person.person.entry.key))
        })
        .filter_map(|(person, outcome)| changed_link(person, outcome, terms))
        .collect()
}

/// Whose accounts the plan switches: they have a link stored later that knows of nothing else.
pub(super) fn switched(plan: &Plan) -> BTreeSet<&DirectoryKey> {
    plan.accounts.iter().map(|account| &account.link.key).collect()
}

/// The link of one person, where it differs from the one stored.
pub(super) fn changed_link(person: &PersonPlan, outcome: &PersonOutcome, terms: Terms<'_>) -> Option<Link> {
    let link = link_after(person, outcome, terms).or_else(|| left_uncompared(person))?;
    (person.link.as_deref() != Some(&link)).then_some(link)
}

/// Links of people who have left, with what this run has learnt.
pub(super) fn departed_links(plan: &Plan, now: i64) -> Vec<Link> {
    let known = plan.departures.iter().filter(|departure| !departure.held);
    let after = known.map(|departure| (departure.link_after(now), &departure.link));
    after.filter(|(after, before)| after != *before).map(|(after, _)| after).collect()
}

/// The link of another entry whose place this person has taken.
pub(super) fn link_replaced((person, outcome): (&PersonPlan, &PersonOutcome)) -> Option<i64> {
    let replaced = person.instead_of.as_ref().map(|link| link.id);
    replaced.filter(|_| matches!(person.action, Action::Adopt(_)) && outcome.user_id.is_some())
}

/// The link of somebody in use for whom nothing was compared, because a human has to decide first or has left them out.
fn left_uncompared(person: &PersonPlan) -> Option<Link> {
    let link = person.link.as_deref().filter(|_| person.person.entry.account == AccountState::Active)?;
    Some(Link { not_compared: true, ..link.clone() })
}

/// The link of one person after what is known to have happened; `None` when there is none or it must not be touched.
pub(super) fn link_after(person: &PersonPlan, outcome: &PersonOutcome, terms: Terms<'_>) -> Option<Link> {
    let Terms { policy, now, .. } = terms;
    if !matches!(person.action, Action::Create | Action::Adopt(_) | Action::Keep) {
        return None;
    }
    let user_id = outcome.user_id?;
    let mut link = person.link.as_deref().cloned().unwrap_or_else(|| Link {
        server_id: policy.server_id,
        key: person.person.entry.key.clone(),
        since: now,
        created_by_sync: person.action == Action::Create
            || person.instead_of.as_ref().is_some_and(|link| link.created_by_sync),
        stopped: person.instead_of.as_ref().is_some_and(|link| link.stopped),
        ..Link::default()
    });
    link.user_id = user_id;
    if !outcome.sip_uniqid.is_empty() {
        link.sip_uniqid = outcome.sip_uniqid.to_string();
    } else if link.sip_uniqid.is_empty() {
        link.sip_uniqid = person.sip_uniqid.clone();
    }
    link.dn = person.person.entry.dn.clone();
    link.employee_number = person.person.entry.employee_number.clone();
    link.not_compared = false;
    if link.state != LinkState::Active {
        link.state = LinkState::Active;
        link.since = now;
        (link.days_gone, link.last_day) = (0, 0);
    }
    // Somebody switched the account on again: what we did is undone.
    link.stopped &= person.sip_disabled;
    if outcome.changes.any_done(Side::Pbx) {
        link.written = now;
    }
    for field in Field::ALL {
        settle_field(&mut link, person, outcome, field, policy);
    }
    note_unsettled(&mut link, person, terms);
    link.change_mark = change_mark(&link, person, outcome);
    // The three are mostly the same, and very many links wait to be stored.
    link.pbx.share(&link.directory);
    link.shown.share(&link.pbx);
    Some(link)
}

/// Moves the base of one field to what both sides are known to hold. A field on which nothing was decided or done keeps
/// its base, so that the next run decides again.
fn settle_field(link: &mut Link, person: &PersonPlan, outcome: &PersonOutcome, field: Field, policy: &Policy) {
    let pbx_now = if outcome.changes.is_done(Side::Pbx, field) { &person.after[field] } else { &person.before[field] };
    link.shown.set(field, pbx_now);
    let directory_now = &person.person.values[field];
    let mut settled = |directory: &SmolStr, pbx: &SmolStr| {
        link.directory.set(field, directory);
        link.pbx.set(field, pbx);
        link.based.insert(field);
    };
    if outcome.changes.is_done(Side::Directory, field) {
        let written = &person.after[field];
        let photo = outcome.in_directory.as_ref().map(|now| &now.photo).filter(|photo| !photo.is_empty());
        settled(photo.filter(|_| field == Field::Photo).unwrap_or(written), written);
    } else if outcome.changes.is_done(Side::Pbx, field) || person.agreed.contains(field) {
        settled(directory_now, pbx_now);
    } else if person.link.is_none() && policy.attributes.contains_key(&field) {
        // Nothing is based on yet. What was decided and could not be done is decided the same way again: the side it
        // comes from counts as changed.
        let planned = |side: Side| person.changes.iter().any(|change| (change.side, change.field) == (side, field));
        let refused = person.conflicts.iter().any(|conflict| conflict.field == Some(field));
        match (planned(Side::Pbx) || refused, planned(Side::Directory)) {
            (true, _) => settled(&SmolStr::default(), pbx_now),
            (false, true) => settled(directory_now, &SmolStr::default()),
            _ if policy.rule(field).direction == Direction::Off => {}
            _ => settled(directory_now, pbx_now),
        }
    }
}

/// Notes which values differ from the base after this run, and since when. A field whose base has moved is settled.
fn note_unsettled(link: &mut Link, person: &PersonPlan, terms: Terms<'_>) {
    let earlier = std::mem::take(&mut link.unsettled);
    let before = person.link.as_ref().map(|link| (&link.directory, &link.pbx));
    for &field in terms.policy.attributes.keys() {
        if person.person.unusable.contains(field) || terms.policy.rule(field).direction == Direction::Off {
            link.unsettled.extend(earlier.iter().filter(|one| one.field == field).cloned());
            continue;
        }
        let moved = before.is_none_or(|(directory, pbx)| {
            (&directory[field], &pbx[field]) != (&link.directory[field], &link.pbx[field])
        });
        if moved || !link.based.contains(field) {
            continue;
        }
        let sides = [
            (Side::Directory, &person.person.values[field], &link.directory[field]),
            (Side::Pbx, &person.before[field], &link.pbx[field]),
        ];
        let differ = sides.into_iter().filter(|(_, value, base)| !same(field, value, base, &terms.phones));
        for (side, value, _) in differ {
            let known = earlier.iter().find(|one| (one.field, one.side) == (field, side) && one.value == *value);
            let since = known.map_or(terms.now, |one| one.since);
            link.unsettled.push(Unsettled { field, side, value: value.to_string(), since });
        }
    }
}

/// The entry's change mark, so that its photo is not asked for again; empty while a photo is still to be dealt with.
fn change_mark(link: &Link, person: &PersonPlan, outcome: &PersonOutcome) -> String {
    let written = outcome.changes.is_done(Side::Directory, Field::Photo);
    let not_decided = link.directory[Field::Photo] != person.person.values[Field::Photo] && !written;
    if not_decided && !person.person.unusable.contains(Field::Photo) {
        String::new()
    } else {
        let told = outcome.in_directory.as_ref().map(|now| &now.change_mark).filter(|mark| !mark.is_empty());
        told.unwrap_or(&person.person.entry.change_mark).clone()
    }
}
