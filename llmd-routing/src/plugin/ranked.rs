//! Candidates in the order in which they shall be tried.

use std::cmp::Ordering;

use smallvec::SmallVec;

/// Candidates in the order in which they shall be tried, as places in the scores: first those that the picker picked, then
/// the others by score.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Ranked {
    order: SmallVec<[u32; 16]>,
    picked: usize,
}

impl Ranked {
    /// Picks the candidate at this place in the scores, after those picked before.
    pub fn push(&mut self, place: usize) {
        self.order.push(place as u32);
        self.picked = self.order.len();
    }

    /// How many were picked.
    pub const fn picked(&self) -> usize {
        self.picked
    }

    /// The best; `None` when none was picked.
    pub fn first(&self) -> Option<usize> {
        self.get(0)
    }

    /// The place at this rank, from 0.
    pub fn get(&self, rank: usize) -> Option<usize> {
        self.order.get(rank).map(|&place| place as usize)
    }

    /// Each place, best first.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = usize> + Clone {
        self.order.iter().map(|&place| place as usize)
    }

    /// Drops picks that are no candidates, and picks made twice.
    pub(crate) fn check(&mut self, candidates: usize) {
        if let [only] = self.order[..]
            && (only as usize) < candidates
        {
            return;
        }
        let mut seen = SmallVec::<[bool; 64]>::from_elem(false, candidates);
        self.order.retain(|&mut place| seen.get_mut(place as usize).is_some_and(|seen| !std::mem::replace(seen, true)));
        self.picked = self.order.len();
    }

    /// Drops picks whose score is not a number, while there are others; when no pick is left, the best score is picked.
    pub(crate) fn demote(&mut self, scores: &[f64]) {
        if scores.iter().all(|score| score.is_nan()) || !scores.iter().any(|score| score.is_nan()) {
            return;
        }
        self.order.retain(|&mut place| !scores[place as usize].is_nan());
        self.picked = self.order.len();
        if self.picked == 0 {
            let best = (0..scores.len()).min_by(|&a, &b| better(scores[a], scores[b]));
            best.into_iter().for_each(|place| self.push(place));
        }
    }

    /// The same, with everybody else after them by score, equal ones in the random order of this seed.
    pub(crate) fn completed(&self, scores: &[f64], seed: u64) -> Self {
        let mut seen = SmallVec::<[bool; 64]>::from_elem(false, scores.len());
        for &place in &self.order {
            seen[place as usize] = true;
        }
        let mut all = self.clone();
        all.order.extend((0..scores.len() as u32).filter(|&place| !seen[place as usize]));
        all.order[self.picked..].sort_unstable_by(|&a, &b| {
            let by_chance = || mixed(seed ^ u64::from(a)).cmp(&mixed(seed ^ u64::from(b)));
            better(scores[a as usize], scores[b as usize]).then_with(by_chance)
        });
        all
    }
}

/// The better score first; what is not a number comes last.
pub(crate) fn better(a: f64, b: f64) -> Ordering {
    let rank = |score: f64| if score.is_nan() { f64::NEG_INFINITY } else { score };
    rank(b).total_cmp(&rank(a))
}

/// A number that says nothing of `number`, and that no other number becomes: a step of SplitMix64 (Steele, Lea and Flood
/// 2014).
const fn mixed(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The order of candidates of which the one at `picked` was picked.
    fn order(picked: usize, scores: &[f64], seed: u64) -> Vec<usize> {
        let mut ranked = Ranked::default();
        ranked.push(picked);
        ranked.completed(scores, seed).iter().collect()
    }

    #[test]
    fn those_that_were_not_picked_follow_by_score_and_nonsense_comes_last() {
        for seed in 0..32 {
            assert_eq!(order(2, &[0.5, f64::NAN, 0.1, 0.9, -0.5], seed), [2, 3, 0, 4, 1]);
        }
    }

    #[test]
    fn equal_ones_follow_in_each_order_as_often() {
        let mut times = std::collections::BTreeMap::new();
        for seed in 0..6000 {
            *times.entry(order(3, &[0.5, 0.5, 0.5, 0.9], seed)).or_insert(0) += 1;
        }
        assert!(times.len() == 6 && times.values().all(|times| (850..1150).contains(times)), "{times:?}");
        assert_eq!(order(3, &[0.5, 0.5, 0.5, 0.9], 7), order(3, &[0.5, 0.5, 0.5, 0.9], 7), "a seed says one order");
    }
}
