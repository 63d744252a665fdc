//! `weighted-random-picker`: the better, the likelier.

use rand::RngExt;
use rand::seq::SliceRandom;
use smallvec::SmallVec;

use crate::plugin::{Context, Picker, Plugin, Ranked, better};

/// Picks candidates at random, each as likely as its score is high.
///
/// Weighted sampling without replacement by Efraimidis and Spirakis (A-Res, 2006): the keys `U^(1/score)` are compared by
/// their logarithm, `ln U / score`. A score that is not positive has the key 0, and when none is, chance alone decides.
#[derive(Clone, Debug)]
pub struct WeightedRandomPicker {
    picks: usize,
}

impl WeightedRandomPicker {
    /// A picker of this many endpoints.
    pub const fn new(picks: usize) -> Self {
        Self { picks }
    }
}

impl Plugin for WeightedRandomPicker {}

impl Picker for WeightedRandomPicker {
    fn pick(&self, cx: &mut Context<'_>, scores: &[f64], out: &mut Ranked) {
        let keyed = scores.iter().enumerate().map(|(place, &score)| {
            let chance: f64 = 1.0 - cx.rng.random::<f64>();
            (place, if score > 0.0 { chance.ln() / score } else { f64::NEG_INFINITY })
        });
        let mut keyed: SmallVec<[(usize, f64); 32]> = keyed.collect();
        keyed.shuffle(cx.rng);
        keyed.sort_by(|&(_, a), &(_, b)| better(a, b));
        keyed.into_iter().take(self.picks).for_each(|(place, _)| out.push(place));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Chance, picks};

    fn times(scores: &[f64; 3]) -> [u32; 3] {
        let mut picked = [0; 3];
        let mut chance = Chance::new(7);
        for _ in 0..6000 {
            picked[picks(&WeightedRandomPicker::new(1), scores, &mut chance)[0]] += 1;
        }
        picked
    }

    #[test]
    fn the_chance_is_in_proportion_to_the_score() {
        let [one, two, three] = times(&[1.0, 2.0, 3.0]);
        assert!((850..1150).contains(&one) && (1850..2150).contains(&two) && (2850..3150).contains(&three));
    }

    #[test]
    fn what_scores_nothing_is_picked_only_when_nothing_scores() {
        let [never, always, _] = times(&[0.0, 1.0, f64::NAN]);
        assert_eq!((never, always), (0, 6000));
        assert!(times(&[0.0; 3]).iter().all(|times| (1850..2150).contains(times)));
    }
}
