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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Chance, picks};

    #[test]
    fn the_best_is_picked_and_then_the_next() {
        let scores = [0.2, 0.9, f64::NAN, 0.5];
        for seed in 0..32 {
            assert_eq!(picks(&MaxScorePicker::new(1), &scores, &mut Chance::new(seed)), [1]);
            assert_eq!(picks(&MaxScorePicker::new(3), &scores, &mut Chance::new(seed)), [1, 3, 0]);
            assert_eq!(picks(&MaxScorePicker::new(9), &scores, &mut Chance::new(seed)), [1, 3, 0, 2]);
        }
    }

    #[test]
    fn each_of_equals_has_the_same_chance() {
        for count in [1, 2] {
            let mut picked = [0; 4];
            let mut chance = Chance::new(7);
            for _ in 0..3000 {
                picked[picks(&MaxScorePicker::new(count), &[0.5, 0.5, 0.1, 0.5], &mut chance)[0]] += 1;
            }
            assert_eq!(picked[2], 0);
            assert!([0, 1, 3].iter().all(|&place| (850..1150).contains(&picked[place])), "{picked:?}");
        }
    }
}
