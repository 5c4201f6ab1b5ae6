//! Unique values and who may have them: all claims of a run are settled together, so that people can swap.

use std::collections::BTreeMap;

/// Somebody who wants a value, perhaps giving one up for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The value given up when the claim is granted; `None` when there was none.
    pub from: Option<String>,
    /// The value wanted, different from `from`; `None` only gives one up.
    pub to: Option<String>,
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
    let mut by_target: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    let mut by_source: BTreeMap<&str, usize> = BTreeMap::new();
    for (index, claim) in claims.iter().enumerate() {
        if let Some(to) = &claim.to {
            by_target.entry(to).or_default().push(index);
        }
        if let Some(from) = &claim.from {
            by_source.insert(from, index);
        }
    }
    let mut verdicts = vec![Verdict::Granted; claims.len()];
    let mut refused = Vec::new();
    for (target, indices) in &by_target {
        if indices.len() > 1 {
            indices.iter().for_each(|&index| verdicts[index] = Verdict::Contested);
            refused.extend(indices);
        } else if held(target) && !by_source.contains_key(target) {
            verdicts[indices[0]] = Verdict::Held;
            refused.push(indices[0]);
        }
    }
    // Whoever is refused keeps what they have; whoever wanted that is refused in turn.
    while let Some(index) = refused.pop() {
        let Some(kept) = &claims[index].from else { continue };
        for &waiting in by_target.get(kept.as_str()).into_iter().flatten() {
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
                let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
                Claim { from: given(from), to: given(to) }
            })
            .collect();
        let mut now: BTreeSet<String> = held.split_whitespace().map(str::to_owned).collect();
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
                .map(|(who, want)| Claim { from: Some(who.to_string()), to: Some(want.to_string()) }).collect();
            let staying: Vec<String> = wants.iter().enumerate().filter(|(who, want)| **want as usize == *who).map(|(who, _)| who.to_string()).collect();
            let held = |value: &str| value.parse::<u8>().is_ok_and(|v| v < 8 || others.contains(&v));
            let verdicts = settle(&claims, held);
            let mut after: Vec<String> = staying;
            after.extend(others.iter().map(u8::to_string));
            for (claim, verdict) in claims.iter().zip(&verdicts) {
                after.push(if *verdict == Verdict::Granted { claim.to.clone() } else { claim.from.clone() }.unwrap_or_default());
            }
            let unique: BTreeSet<&String> = after.iter().collect();
            prop_assert_eq!(unique.len(), after.len());
        }
    }
}
