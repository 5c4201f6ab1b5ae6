//! Internal numbers: which are free, which may be asked for, which comes next.

use std::collections::BTreeMap;

use regex::Regex;

/// Numbers never given to anybody: emergency services and MikoPBX's own examples.
const FORBIDDEN: [&str; 8] = ["000", "101", "102", "103", "104", "112", "911", "999"];

/// The smallest internal number of employees of each length in digits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SmallestNumbers(BTreeMap<usize, u64>);

impl SmallestNumbers {
    /// Takes a number in; what is no number is left out.
    pub fn add(&mut self, number: &str) {
        if let Some(value) = number.parse().ok().filter(|_| number.bytes().all(|byte| byte.is_ascii_digit())) {
            let smallest = self.0.entry(number.len()).or_insert(value);
            *smallest = value.min(*smallest);
        }
    }

    /// The length of the longest number, in digits; none when there is no number.
    pub fn longest(&self) -> Option<usize> {
        self.0.keys().next_back().copied()
    }

    fn of_length(&self, length: usize) -> Option<u64> {
        self.0.get(&length).copied()
    }
}

impl<'a> FromIterator<&'a str> for SmallestNumbers {
    fn from_iter<T: IntoIterator<Item = &'a str>>(numbers: T) -> SmallestNumbers {
        let mut smallest = SmallestNumbers::default();
        numbers.into_iter().for_each(|number| smallest.add(number));
        smallest
    }
}

/// What decides over numbers.
#[derive(Clone, Debug, Default)]
pub struct Numbering {
    /// First number of the pool; `None` takes the default.
    pub from: Option<u64>,
    /// Last number of the pool; `None` takes the default, see [`Numbering::pool`].
    pub to: Option<u64>,
    /// Digits of an internal number (`PBXInternalExtensionLength`).
    pub length: u32,
    /// Beginnings that outgoing routes claim.
    pub routes: Vec<RoutePattern>,
}

/// An outgoing route as far as it concerns internal numbers.
#[derive(Clone, Debug)]
pub struct RoutePattern {
    start: Option<Regex>,
    whole: Option<Regex>,
    name: String,
}

impl RoutePattern {
    /// `begins_with` is the route's regular expression for the beginning, `rest` how many digits follow (`None`: any
    /// number). An expression that does not compile is taken literally.
    pub fn new(begins_with: &str, rest: Option<u32>, name: &str) -> RoutePattern {
        let begin = if Regex::new(begins_with).is_ok() { begins_with.to_owned() } else { regex::escape(begins_with) };
        let tail = rest.map_or("[0-9]*".to_owned(), |rest| format!("[0-9]{{{}}}", rest.min(32)));
        let compiled = |text: String| Regex::new(&text).ok();
        RoutePattern {
            start: (!begin.is_empty()).then(|| compiled(format!("^(?:{begin})$"))).flatten(),
            // A route without a beginning and without a length would claim every number there is.
            whole: (!begin.is_empty() || rest.is_some()).then(|| compiled(format!("^(?:{begin}){tail}$"))).flatten(),
            name: name.to_owned(),
        }
    }

    fn claims(&self, number: &str) -> bool {
        [&self.start, &self.whole].into_iter().flatten().any(|pattern| pattern.is_match(number))
    }
}

impl Numbering {
    /// Why `number` may be given to nobody, if so.
    pub fn forbidden(&self, number: &str) -> Option<String> {
        if FORBIDDEN.contains(&number) {
            return Some(format!("{number} is reserved for emergency and service calls"));
        }
        let route = self.routes.iter().find(|route| route.claims(number))?;
        Some(format!("{number} belongs to the outgoing route {:?}", route.name))
    }

    /// The pool: first and last number. The default goes from the larger of 200 and the smallest employee number of
    /// full length up to the largest number of that length, or of the first number's length where that is longer.
    pub fn pool(&self, smallest: &SmallestNumbers) -> (u64, u64) {
        let length = self.length.clamp(1, 8) as usize;
        let from = self.from.unwrap_or_else(|| smallest.of_length(length).unwrap_or(0).max(200));
        let digits = self.from.map_or(length, |from| length.max(from.to_string().len()));
        let to = self.to.unwrap_or_else(|| 10_u64.saturating_pow(digits as u32) - 1);
        (from, to)
    }
}

/// Hands out free numbers in ascending order, those never used before first.
pub struct Allocator<'a> {
    numbering: &'a Numbering,
    used_before: &'a dyn Fn(&str) -> bool,
    taken: &'a dyn Fn(&str) -> bool,
    next: u64,
    last: u64,
    freed: Vec<String>,
}

impl std::fmt::Debug for Allocator<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Allocator").field("next", &self.next).field("last", &self.last).finish_non_exhaustive()
    }
}

impl<'a> Allocator<'a> {
    /// `taken` are numbers nobody can get: every dialable number of the PBX and every number asked for in this run.
    pub fn new(
        numbering: &'a Numbering,
        (first, last): (u64, u64),
        taken: &'a dyn Fn(&str) -> bool,
        used_before: &'a dyn Fn(&str) -> bool,
    ) -> Allocator<'a> {
        Allocator { numbering, used_before, taken, next: first, last, freed: Vec::new() }
    }

    /// The next free number; `None` when the pool is used up.
    pub fn next_number(&mut self) -> Option<String> {
        while self.next <= self.last {
            let number = self.next.to_string();
            self.next += 1;
            if number.len() < 2 || (self.taken)(&number) || self.numbering.forbidden(&number).is_some() {
                continue;
            }
            if (self.used_before)(&number) {
                self.freed.push(number);
                continue;
            }
            return Some(number);
        }
        if self.freed.is_empty() { None } else { Some(self.freed.remove(0)) }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use proptest::prelude::*;

    fn set(text: &str) -> BTreeSet<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[track_caller]
    fn check(length: u32, employees: &str, taken: &str, used: &str, expected: &str) {
        let numbering =
            Numbering { length, routes: vec![RoutePattern::new("(7|8)", Some(10), "demo")], ..Numbering::default() };
        let pool = numbering.pool(&employees.split_whitespace().collect());
        let used = set(used);
        let mut all = set(taken);
        all.extend(set(employees));
        let (taken, used) = (|number: &str| all.contains(number), |number: &str| used.contains(number));
        let mut allocator = Allocator::new(&numbering, pool, &taken, &used);
        let given: Vec<String> =
            (0..expected.split_whitespace().count()).filter_map(|_| allocator.next_number()).collect();
        assert_eq!(given.join(" "), expected);
    }

    #[test]
    fn the_next_free_number() {
        check(3, "", "", "", "200 201");
        check(3, "201 202 203", "", "", "204 205");
        check(3, "201 203", "", "", "202 204");
        check(3, "201", "202 204", "", "203 205");
        check(3, "1000 201", "", "", "202");
        check(3, "20 201", "", "", "202");
        check(4, "201 202", "", "", "200 203");
        check(4, "1000 201", "", "", "1001");
        check(3, "201", "", "202 203", "204 205");
    }

    #[test]
    fn the_pool_has_an_end_behind_its_beginning() {
        let pool =
            |from, to| Numbering { from, to, length: 3, ..Numbering::default() }.pool(&["201"].into_iter().collect());
        assert_eq!(pool(None, None), (201, 999));
        assert_eq!(pool(Some(50), None), (50, 999));
        assert_eq!(pool(Some(1000), None), (1000, 9999));
        assert_eq!(pool(Some(20_000), None), (20_000, 99_999));
        assert_eq!(pool(Some(1000), Some(1010)), (1000, 1010));
    }

    #[test]
    fn a_freed_number_is_given_when_no_other_is_left() {
        let numbering = Numbering { from: Some(201), to: Some(203), length: 3, ..Numbering::default() };
        let used = set("201 202");
        let (taken, used) = (|number: &str| number == "202", |number: &str| used.contains(number));
        let mut allocator = Allocator::new(&numbering, (201, 203), &taken, &used);
        assert_eq!(allocator.next_number().as_deref(), Some("203"));
        assert_eq!(allocator.next_number().as_deref(), Some("201"));
        assert_eq!(allocator.next_number(), None);
    }

    #[track_caller]
    fn check_forbidden(begins: &str, rest: Option<u32>, number: &str, forbidden: bool) {
        let numbering =
            Numbering { length: 3, routes: vec![RoutePattern::new(begins, rest, "r")], ..Numbering::default() };
        assert_eq!(numbering.forbidden(number).is_some(), forbidden, "{begins:?} {rest:?} {number}");
    }

    #[test]
    fn emergency_numbers_and_routes() {
        check_forbidden("(7|8)", Some(10), "112", true);
        check_forbidden("(7|8)", Some(10), "712", false);
        check_forbidden("(7|8)", Some(10), "8", true);
        check_forbidden("9", None, "912", true);
        check_forbidden("(9", None, "912", false);
        check_forbidden("", None, "912", false);
        check_forbidden("", Some(3), "912", true);
    }

    proptest! {
        #[test]
        fn never_the_same_twice_nor_a_taken_one(taken in proptest::collection::btree_set(200u64..260, 0..40),
                                                used in proptest::collection::btree_set(200u64..260, 0..40)) {
            let taken: BTreeSet<String> = taken.iter().map(u64::to_string).collect();
            let used: BTreeSet<String> = used.iter().map(u64::to_string).collect();
            let numbering = Numbering { length: 3, ..Numbering::default() };
            let (is_taken, was_used) = (|number: &str| taken.contains(number), |number: &str| used.contains(number));
            let mut allocator = Allocator::new(&numbering, (200, 259), &is_taken, &was_used);
            let mut given = BTreeSet::new();
            while let Some(number) = allocator.next_number() {
                prop_assert!(!taken.contains(&number));
                prop_assert!(given.insert(number));
            }
            prop_assert_eq!(given.len() + taken.len(), 60);
        }
    }
}
