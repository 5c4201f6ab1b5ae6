//! The three-way merge of one value: what each side holds now against what they last held.

use crate::normalise::same;
use crate::person::Field;
use crate::phone::PhoneRules;

/// What the merge of one field says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merged {
    /// Neither side has changed, and nothing is to be done.
    Unchanged,
    /// Both sides hold the same value, which differs from the base.
    Agreed,
    /// The PBX takes the directory's value.
    FromDirectory,
    /// The directory takes the PBX's value.
    FromPbx,
    /// Both sides changed, differently.
    BothChanged,
    /// The sides differ, and nothing tells which of them changed: there is no base.
    Differ,
}

/// One field on both sides, in the PBX's form; an empty text is "no value".
#[derive(Clone, Copy, Debug)]
pub struct Sides<'a> {
    /// The directory's value now.
    pub directory: &'a str,
    /// The PBX's value now.
    pub pbx: &'a str,
}

/// Merges a linked person's field against its base.
///
/// Sides that differ although neither changed since the base are a decision not carried out yet (a number not written
/// back): it is made again, see [`first`]. Photos are the exception: one that went to the directory in another form
/// differs from the PBX's for good.
pub fn merge(field: Field, now: Sides<'_>, base: Option<Sides<'_>>, phones: &PhoneRules) -> Merged {
    let equal = |left: &str, right: &str| same(field, left, right, phones);
    let Some(base) = base else { return anew(field, now, phones) };
    let directory_changed = !equal(now.directory, base.directory);
    let pbx_changed = !equal(now.pbx, base.pbx);
    let two_forms = field == Field::Photo && !now.directory.is_empty() && !now.pbx.is_empty();
    match (equal(now.directory, now.pbx), directory_changed, pbx_changed) {
        (true, false, false) => Merged::Unchanged,
        (true, _, _) => Merged::Agreed,
        (false, true, false) => Merged::FromDirectory,
        (false, false, true) => Merged::FromPbx,
        (false, true, true) => Merged::BothChanged,
        (false, false, false) if two_forms => Merged::Unchanged,
        (false, false, false) => first(field, now, phones),
    }
}

/// Compares a linked person's field that has no base: an empty side is filled, a difference is left for a human.
fn anew(field: Field, now: Sides<'_>, phones: &PhoneRules) -> Merged {
    if same(field, now.directory, now.pbx, phones) {
        Merged::Agreed
    } else if now.directory.is_empty() {
        Merged::FromPbx
    } else if now.pbx.is_empty() {
        Merged::FromDirectory
    } else {
        Merged::Differ
    }
}

/// Decides a field at adoption: an empty side is filled from the other; where both have a value the PBX takes the
/// directory's, except the internal number, where the PBX's stays and is written back.
pub fn first(field: Field, now: Sides<'_>, phones: &PhoneRules) -> Merged {
    match anew(field, now, phones) {
        Merged::Differ if field == Field::Number => Merged::FromPbx,
        Merged::Differ => Merged::FromDirectory,
        decided => decided,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(field: Field, now: (&str, &str), base: (&str, &str), expected: Merged) {
        let sides = |(directory, pbx)| Sides { directory, pbx };
        assert_eq!(merge(field, sides(now), Some(sides(base)), &PhoneRules::new("RU")), expected, "{now:?} {base:?}");
    }

    #[test]
    fn one_side_changed() {
        check(Field::Email, ("a@x.test", "a@x.test"), ("a@x.test", "a@x.test"), Merged::Unchanged);
        check(Field::Email, ("b@x.test", "a@x.test"), ("a@x.test", "a@x.test"), Merged::FromDirectory);
        check(Field::Email, ("a@x.test", "b@x.test"), ("a@x.test", "a@x.test"), Merged::FromPbx);
        check(Field::Email, ("", "a@x.test"), ("a@x.test", "a@x.test"), Merged::FromDirectory);
    }

    #[test]
    fn both_sides_changed() {
        check(Field::Email, ("b@x.test", "c@x.test"), ("a@x.test", "a@x.test"), Merged::BothChanged);
        check(Field::Email, ("b@x.test", "B@X.test"), ("a@x.test", "a@x.test"), Merged::Agreed);
    }

    #[test]
    fn spelling_alone_is_no_change() {
        check(Field::Mobile, ("79031234567", "89031234567"), ("79031234567", "89031234567"), Merged::Unchanged);
        check(Field::Email, ("A@x.test", "a@x.test"), ("a@x.test", "a@x.test"), Merged::Unchanged);
    }

    #[test]
    fn a_decision_not_carried_out_is_made_again() {
        check(Field::Number, ("", "204"), ("", "204"), Merged::FromPbx);
        check(Field::Number, ("150", "204"), ("150", "204"), Merged::FromPbx);
        check(Field::Mobile, ("79031234567", ""), ("79031234567", ""), Merged::FromDirectory);
    }

    #[test]
    fn without_a_base_a_difference_is_nobodys_change() {
        let check = |now: (&str, &str), expected| {
            let now = Sides { directory: now.0, pbx: now.1 };
            assert_eq!(merge(Field::Email, now, None, &PhoneRules::default()), expected, "{now:?}");
        };
        check(("a@x.test", "b@x.test"), Merged::Differ);
        check(("", "b@x.test"), Merged::FromPbx);
        check(("a@x.test", ""), Merged::FromDirectory);
        check(("a@x.test", "A@x.test"), Merged::Agreed);
        check(("", ""), Merged::Agreed);
    }

    #[test]
    fn a_photo_written_in_another_form_is_settled() {
        check(Field::Photo, ("small", "large"), ("small", "large"), Merged::Unchanged);
        check(Field::Photo, ("other", "large"), ("small", "large"), Merged::FromDirectory);
        check(Field::Photo, ("small", "other"), ("small", "large"), Merged::FromPbx);
        check(Field::Photo, ("", "large"), ("", "large"), Merged::FromPbx);
    }

    proptest! {
        /// Once the losing side has taken the value, there is nothing left to do.
        #[test]
        fn carried_out_means_settled(now in ("[ab]?", "[ab]?"), base in ("[ab]?", "[ab]?")) {
            let sides = Sides { directory: &now.0, pbx: &now.1 };
            let base = Sides { directory: &base.0, pbx: &base.1 };
            let winner = match merge(Field::Name, sides, Some(base), &PhoneRules::default()) {
                Merged::FromDirectory => &now.0,
                Merged::FromPbx => &now.1,
                _ => return Ok(()),
            };
            let after = Sides { directory: winner, pbx: winner };
            prop_assert_eq!(merge(Field::Name, after, Some(after), &PhoneRules::default()), Merged::Unchanged);
        }
    }
}
