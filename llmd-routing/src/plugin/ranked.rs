//! Candidates in the order in which they shall be tried.

use std::cmp::Ordering;

use rand::Rng;
use rand::seq::SliceRandom;
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

    /// Lets everybody else follow by score, equal ones in random order.
    pub(crate) fn complete(&mut self, scores: &[f64], rng: &mut dyn Rng) {
        let mut seen = SmallVec::<[bool; 64]>::from_elem(false, scores.len());
        for &place in &self.order {
            seen[place as usize] = true;
        }
        self.order.extend((0..scores.len() as u32).filter(|&place| !seen[place as usize]));
        let rest = &mut self.order[self.picked..];
        rest.shuffle(rng);
        rest.sort_by(|&a, &b| better(scores[a as usize], scores[b as usize]));
    }
}

/// The better score first; what is not a number comes last.
pub(crate) fn better(a: f64, b: f64) -> Ordering {
    let rank = |score: f64| if score.is_nan() { f64::NEG_INFINITY } else { score };
    rank(b).total_cmp(&rank(a))
}
