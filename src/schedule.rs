//! When automatic runs are made: pure functions of the settings and of the local time.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Minutes of a day.
const DAY: i64 = 24 * 60;
const MINUTE_MS: i64 = 60 * 1000;

/// Minutes since midnight of `HH:MM`; none when it is something else.
pub(crate) fn minutes(text: &str) -> Option<i64> {
    let (hours, minutes) = text.split_once(':')?;
    let number = |text: &str, below: i64| {
        let digits = (1..=2).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<i64>().ok().filter(|value| digits && *value < below)
    };
    Some(number(hours, 24)? * 60 + number(minutes, 60).filter(|_| minutes.len() == 2)?)
}

/// Minutes since midnight at `now`, Unix time in milliseconds, in a time zone.
pub(crate) fn local_minutes(now: i64, zone: &TimeZone) -> i64 {
    let offset = Timestamp::from_millisecond(now).map_or(0, |time| i64::from(zone.to_offset(time).seconds()) / 60);
    (now.div_euclid(MINUTE_MS) + offset).rem_euclid(DAY)
}

/// Whether `minute` lies in the hours from `from` up to `to`, which may go over midnight. Equal times are no hours.
pub(crate) fn is_between(minute: i64, from: i64, to: i64) -> bool {
    if from <= to { (from..to).contains(&minute) } else { minute >= from || minute < to }
}

/// Whether a complete run is due that is made once a day at `at`, minutes since local midnight, when the last one began
/// at `last`. All times are Unix time in milliseconds. A last one in the future does not count.
pub(crate) fn is_complete_due(last: i64, now: i64, at: i64, zone: &TimeZone) -> bool {
    let since = (local_minutes(now, zone) - at).rem_euclid(DAY);
    let latest = now.div_euclid(MINUTE_MS) - since;
    last > now || last.div_euclid(MINUTE_MS) < latest
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: i64 = 60 * MINUTE_MS;

    #[test]
    fn times_of_day() {
        #[track_caller]
        fn check(text: &str, expected: Option<i64>) {
            assert_eq!(minutes(text), expected, "{text}");
        }
        check("00:00", Some(0));
        check("3:05", Some(185));
        check("23:59", Some(1439));
        for wrong in ["24:00", "12:60", "12", "12:5", "+1:00", "", ":", "a:bc", "123:00"] {
            check(wrong, None);
        }
    }

    #[test]
    fn hours_go_over_midnight() {
        #[track_caller]
        fn check(at: &str, from: &str, to: &str, expected: bool) {
            let [at, from, to] = [at, from, to].map(|text| minutes(text).unwrap());
            assert_eq!(is_between(at, from, to), expected);
        }
        check("12:00", "09:00", "18:00", true);
        check("18:00", "09:00", "18:00", false);
        check("23:00", "22:00", "06:00", true);
        check("05:59", "22:00", "06:00", true);
        check("06:00", "22:00", "06:00", false);
        check("06:00", "06:00", "06:00", false);
    }

    #[test]
    fn a_complete_run_is_due_once_a_day_at_local_time() {
        let moscow = TimeZone::fixed(jiff::tz::offset(3));
        // 21 November 2026, 00:00 UTC, which is 03:00 in Moscow.
        let midnight = 1_795_219_200_000;
        assert_eq!(local_minutes(midnight, &moscow), 180);
        let due = |last: i64, now: i64| is_complete_due(midnight + last, midnight + now, 180, &moscow);
        assert!(due(-HOUR_MS, 0) && due(-HOUR_MS, 5 * HOUR_MS));
        assert!(!due(0, HOUR_MS) && !due(HOUR_MS, 23 * HOUR_MS));
        assert!(due(HOUR_MS, 24 * HOUR_MS));
        assert!(!due(-HOUR_MS, -MINUTE_MS), "a minute too early");
        assert!(due(HOUR_MS, 0), "the last one lies in the future");
    }
}
