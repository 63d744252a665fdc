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
