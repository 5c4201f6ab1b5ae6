//! Unique values and who may have them: all claims of a run are settled together, so that people can swap.

use std::collections::HashSet;

use crate::person::SmolStr;

/// Somebody who wants a value, perhaps giving one up for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The value given up when the claim is granted; `None` when there was none.
    pub from: Option<SmolStr>,
    /// The value wanted, different from `from`; `None` only gives one up.
    pub to: Option<SmolStr>,
}

/// What becomes of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The value is free, or its holder gives it up in the same run.
    Granted,
    /// Somebody who keeps it has it.
    Held,
    /// More than one claim wants it.
    Contested,
}

/// Settles claims, in their order. `held` says whether a value is in use now. A claim to a held value is granted when
/// the claim of its holder is granted, so swaps and longer rounds go through as a whole or not at all.
pub fn settle(claims: &[Claim], held: impl Fn(&str) -> bool) -> Vec<Verdict> {
    let indexed = claims.iter().enumerate();
    let mut by_target: Vec<(&str, usize)> =
        indexed.filter_map(|(index, claim)| Some((claim.to.as_deref()?, index))).collect();
    by_target.sort_unstable();
    let given_up: HashSet<&str> = claims.iter().filter_map(|claim| claim.from.as_deref()).collect();
    let mut verdicts = vec![Verdict::Granted; claims.len()];
    let mut refused = Vec::new();
    for wanting in by_target.chunk_by(|one, next| one.0 == next.0) {
        let verdict = match wanting {
            [(target, _)] if !held(target) || given_up.contains(target) => continue,
            [_] => Verdict::Held,
            _ => Verdict::Contested,
        };
        for &(_, index) in wanting {
            verdicts[index] = verdict;
            refused.push(index);
        }
    }
    // Whoever is refused keeps what they have; whoever wanted that is refused in turn.
    while let Some(index) = refused.pop() {
        let Some(kept) = &claims[index].from else { continue };
        let first = by_target.partition_point(|(target, _)| *target < kept.as_str());
        for &(_, waiting) in by_target[first..].iter().take_while(|(target, _)| *target == kept.as_str()) {
            if verdicts[waiting] == Verdict::Granted {
                verdicts[waiting] = Verdict::Held;
                refused.push(waiting);
            }
        }
    }
    verdicts
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// `201>202` moves, `>245` is a first value; `held` lists values of people without a claim.
    #[track_caller]
    fn check(held: &str, claims: &str, expected: &str) {
        let claims: Vec<Claim> = claims
            .split_whitespace()
            .map(|text| {
                let (from, to) = text.split_once('>').unwrap();
                let given = |text: &str| (!text.is_empty()).then(|| text.into());
                Claim { from: given(from), to: given(to) }
            })
            .collect();
        let mut now: BTreeSet<SmolStr> = held.split_whitespace().map(SmolStr::from).collect();
        now.extend(claims.iter().filter_map(|claim| claim.from.clone()));
        let verdicts: Vec<&str> = settle(&claims, |value| now.contains(value))
            .iter()
            .map(|verdict| match verdict {
                Verdict::Granted => "granted",
                Verdict::Held => "held",
                Verdict::Contested => "contested",
            })
            .collect();
        assert_eq!(verdicts.join(" "), expected);
    }

    #[test]
    fn claims_are_settled_together() {
        check("", ">245", "granted");
        check("245", ">245", "held");
        check("", ">245 >245", "contested contested");
        check("", "201>202 202>201", "granted granted");
        check("", "201>202 202>203 203>201", "granted granted granted");
        check("", "201>202 202>203", "granted granted");
        check("203", "201>202 202>203", "held held");
        check("", "201>204 202>204 203>201", "contested contested held");
        check("", "201> >201", "granted granted");
    }

    proptest! {
        /// Whatever is asked, in the end every value has at most one holder.
        #[test]
        fn nobody_ends_up_with_the_same_value(wants in proptest::collection::vec(0u8..12, 8), others in proptest::collection::btree_set(8u8..12, 0..3)) {
            let claims: Vec<Claim> = wants.iter().enumerate().filter(|(who, want)| **want as usize != *who)
                .map(|(who, want)| Claim { from: Some(who.to_string().into()), to: Some(want.to_string().into()) }).collect();
            let staying: Vec<SmolStr> = wants.iter().enumerate().filter(|(who, want)| **want as usize == *who).map(|(who, _)| who.to_string().into()).collect();
            let held = |value: &str| value.parse::<u8>().is_ok_and(|v| v < 8 || others.contains(&v));
            let verdicts = settle(&claims, held);
            let mut after: Vec<SmolStr> = staying;
            after.extend(others.iter().map(|other| SmolStr::from(other.to_string())));
            for (claim, verdict) in claims.iter().zip(&verdicts) {
                after.push(if *verdict == Verdict::Granted { claim.to.clone() } else { claim.from.clone() }.unwrap_or_default());
            }
            let unique: BTreeSet<&SmolStr> = after.iter().collect();
            prop_assert_eq!(unique.len(), after.len());
        }
    }
}
