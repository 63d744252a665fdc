//! `random-picker`: whoever.

use rand::seq::SliceRandom;
use smallvec::SmallVec;

use crate::plugin::{Context, Picker, Plugin, Ranked};

/// Picks candidates at random, whatever their scores.
#[derive(Clone, Debug)]
pub struct RandomPicker {
    picks: usize,
}

impl RandomPicker {
    /// A picker of this many endpoints.
    pub const fn new(picks: usize) -> Self {
        Self { picks }
    }
}

impl Plugin for RandomPicker {}

impl Picker for RandomPicker {
    fn pick(&self, cx: &mut Context<'_>, scores: &[f64], out: &mut Ranked) {
        let mut places: SmallVec<[usize; 32]> = (0..scores.len()).collect();
        let (picked, _) = places.partial_shuffle(cx.rng, self.picks);
        picked.iter().for_each(|&place| out.push(place));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Chance, picks};

    #[test]
    fn each_has_the_same_chance_whatever_its_score() {
        let mut picked = [0; 4];
        let mut chance = Chance::new(7);
        for _ in 0..4000 {
            let places = picks(&RandomPicker::new(1), &[0.0, 9.0, 1.0, 0.5], &mut chance);
            assert_eq!(places.len(), 1);
            picked[places[0]] += 1;
        }
        assert!(picked.iter().all(|times| (850..1150).contains(times)), "{picked:?}");
    }
}
