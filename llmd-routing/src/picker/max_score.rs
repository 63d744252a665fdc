//! `max-score-picker`: the best, and among equals chance decides.

use rand::RngExt;
use rand::seq::SliceRandom;
use smallvec::SmallVec;

use crate::plugin::{Context, Picker, Plugin, Ranked, better};

/// Picks the candidates with the highest scores; equal ones in random order.
#[derive(Clone, Debug)]
pub struct MaxScorePicker {
    picks: usize,
}

impl MaxScorePicker {
    /// A picker of this many endpoints.
    pub const fn new(picks: usize) -> Self {
        Self { picks }
    }
}

impl Plugin for MaxScorePicker {}

impl Picker for MaxScorePicker {
    fn pick(&self, cx: &mut Context<'_>, scores: &[f64], out: &mut Ranked) {
        if self.picks == 1 {
            return out.push(best(cx, scores));
        }
        let mut places: SmallVec<[usize; 32]> = (0..scores.len()).collect();
        places.shuffle(cx.rng);
        places.sort_by(|&a, &b| better(scores[a], scores[b]));
        places.into_iter().take(self.picks).for_each(|place| out.push(place));
    }
}

/// The place of the highest score, each of equal ones with the same chance.
fn best(cx: &mut Context<'_>, scores: &[f64]) -> usize {
    let (mut best, mut equals) = (0, 1_u32);
    for place in 1..scores.len() {
        match better(scores[place], scores[best]) {
            std::cmp::Ordering::Less => (best, equals) = (place, 1),
            std::cmp::Ordering::Equal => {
                equals += 1;
                if cx.rng.random_range(0..equals) == 0 {
                    best = place;
                }
            }
            std::cmp::Ordering::Greater => {}
        }
    }
    best
}
