//! Which of two edits is the later one, as far as that is known. What is not known is never guessed.
//!
//! Three sources tell when a value was edited: the directory (of the attribute itself, or of the entry as a whole), the
//! PBX's own report of the edit, and our own looks at both sides. Each gives an interval; one edit is later than the
//! other when its interval begins where the other's has ended.

use crate::person::Side;

/// By how much the clocks of directory and PBX may differ, in milliseconds.
pub const CLOCKS_DIFFER: i64 = 5_000;
/// How long before its report an edit of the PBX may have been made, in milliseconds.
pub const REPORT_DELAY: i64 = 10_000;
/// For so long after a value was written to the PBX a report may be the echo of that, in milliseconds.
pub const ECHO: i64 = 120_000;

/// When an edit was made: Unix time in milliseconds, both ends included. `i64::MIN` is an unknown beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Made {
    /// Not before.
    pub from: i64,
    /// Not after.
    pub until: i64,
}

/// What the directory tells about the time of an edit, Unix time in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DirectoryTime {
    /// The attribute was edited then (Active Directory's replication metadata).
    Attribute(i64),
    /// The entry was edited last then, whichever attribute it was: the attribute not later.
    Entry(i64),
}

/// What our own looks tell, Unix time in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Looks {
    /// When both sides were last seen to hold what they had agreed on; `i64::MIN` when that is not known.
    pub settled: i64,
    /// When the present value was first seen, if that was in an earlier run.
    pub first_seen: Option<i64>,
    /// The present look.
    pub now: i64,
}

impl Looks {
    fn made(self) -> Option<Made> {
        match self.first_seen {
            // It was there before the last look, so that look says nothing about when it came.
            Some(seen) if seen <= self.now => Some(Made { from: i64::MIN, until: seen }),
            None if self.settled <= self.now => Some(Made { from: self.settled, until: self.now }),
            // The clock has gone back: nothing is known.
            _ => None,
        }
    }
}

/// When the directory's edit was made.
pub fn in_directory(time: Option<DirectoryTime>, looks: Looks) -> Option<Made> {
    let made = looks.made()?;
    let believable = |time: i64| time <= looks.now.saturating_add(CLOCKS_DIFFER);
    match time {
        Some(DirectoryTime::Attribute(time)) if believable(time) => {
            Some(Made { from: time.saturating_sub(CLOCKS_DIFFER), until: time.saturating_add(CLOCKS_DIFFER) })
        }
        Some(DirectoryTime::Entry(time)) if believable(time) => {
            let until = made.until.min(time.saturating_add(CLOCKS_DIFFER));
            // An edit made elsewhere and replicated later can be older than our last look.
            Some(Made { from: if until < made.from { i64::MIN } else { made.from }, until })
        }
        _ => Some(made),
    }
}

/// When the PBX's edit was made. `reported` is the latest report of an edit of this value, `written` when we last wrote
/// to this employee.
pub fn on_pbx(reported: Option<i64>, written: i64, looks: Looks) -> Option<Made> {
    let made = looks.made()?;
    let echo = |time: i64| (written..=written.saturating_add(ECHO)).contains(&time);
    match reported {
        // A report older than our last look at the old value is about another edit; the one we see was not reported.
        Some(time) if time >= made.from && time <= looks.now && !echo(time) => {
            Some(Made { from: time.saturating_sub(REPORT_DELAY).max(made.from), until: time.min(made.until) })
        }
        _ => Some(made),
    }
}

/// The side whose edit is surely the later one.
pub fn newer(directory: Option<Made>, pbx: Option<Made>) -> Option<Side> {
    let (directory, pbx) = (directory?, pbx?);
    if directory.from >= pbx.until {
        Some(Side::Directory)
    } else if pbx.from >= directory.until {
        Some(Side::Pbx)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: i64 = 1_000;
    const LOOKS: Looks = Looks { settled: 100 * SECOND, first_seen: None, now: 900 * SECOND };

    fn at(second: i64) -> Option<DirectoryTime> {
        Some(DirectoryTime::Attribute(second * SECOND))
    }

    fn entry(second: i64) -> Option<DirectoryTime> {
        Some(DirectoryTime::Entry(second * SECOND))
    }

    #[track_caller]
    fn check(directory: Option<DirectoryTime>, reported: Option<i64>, expected: Option<Side>) {
        let reported = reported.map(|second| second * SECOND);
        assert_eq!(newer(in_directory(directory, LOOKS), on_pbx(reported, 0, LOOKS)), expected);
    }

    #[test]
    fn known_times_decide() {
        check(at(200), Some(300), Some(Side::Pbx));
        check(at(300), Some(200), Some(Side::Directory));
        check(at(300), Some(302), None);
        check(at(290), Some(300), None);
    }

    #[test]
    fn the_time_of_an_entry_decides_only_where_it_comes_first() {
        check(entry(200), Some(300), Some(Side::Pbx));
        // Something else of the entry may have been edited last.
        check(entry(300), Some(200), None);
    }

    #[test]
    fn without_a_time_nothing_is_guessed() {
        check(None, Some(300), None);
        check(at(300), None, None);
        check(None, None, None);
    }

    #[test]
    fn an_edit_seen_in_an_earlier_run_is_older_than_one_that_was_not_there_then() {
        let pending = Looks { first_seen: Some(500 * SECOND), ..LOOKS };
        let since = Looks { settled: 500 * SECOND, ..LOOKS };
        assert_eq!(newer(in_directory(None, since), on_pbx(None, 0, pending)), Some(Side::Directory));
        assert_eq!(newer(in_directory(None, pending), on_pbx(None, 0, since)), Some(Side::Pbx));
        assert_eq!(newer(in_directory(None, pending), on_pbx(None, 0, pending)), None);
    }

    #[test]
    fn a_clock_that_went_back_prefers_nobody() {
        let back = Looks { now: 50 * SECOND, ..LOOKS };
        assert_eq!(in_directory(at(40), back), None);
        assert_eq!(on_pbx(Some(45 * SECOND), 0, back), None);
        check(at(5_000), Some(300), None);
    }

    #[test]
    fn an_echo_and_an_old_report_tell_nothing() {
        let written = 250 * SECOND;
        assert_eq!(on_pbx(Some(260 * SECOND), written, LOOKS), LOOKS.made());
        assert_ne!(on_pbx(Some(400 * SECOND), written, LOOKS), LOOKS.made());
        assert_eq!(on_pbx(Some(50 * SECOND), 0, LOOKS), LOOKS.made());
    }

    proptest! {
        /// Whoever is preferred really made the later edit, whatever we happened to learn about either.
        #[test]
        fn the_newer_edit_is_newer(directory in 101i64..900, pbx in 101i64..900, skew in -2i64..=2,
                                   exact in any::<bool>(), told in any::<bool>(), delay in 0i64..5, later in 0i64..100) {
            let time = (directory + skew) * SECOND;
            let time = if exact { DirectoryTime::Attribute(time) } else { DirectoryTime::Entry((time + later * SECOND).min(900 * SECOND)) };
            let reported = told.then_some(((pbx + delay) * SECOND).min(900 * SECOND));
            match newer(in_directory(Some(time), LOOKS), on_pbx(reported, 0, LOOKS)) {
                Some(Side::Directory) => prop_assert!(directory > pbx),
                Some(Side::Pbx) => prop_assert!(pbx > directory),
                None => {}
            }
        }
    }
}
