//! `power-of-two-picker`, llmd's own: the better of two.

use rand::{Rng, RngExt};
use smallvec::SmallVec;

use crate::plugin::{Context, Picker, Plugin, Ranked, better};

/// Picks the better of two candidates that chance draws, and either when they are equal.
///
/// Balanced allocation by two choices (Azar, Broder, Karlin and Upfal 1994): routers that score alike and do not see each
/// other do not all pick the same endpoint, and the worst candidate is picked only when it is alone. llm-d has none. One
/// pick takes the same time whatever the number of candidates.
#[derive(Clone, Debug)]
pub struct PowerOfTwoPicker {
    picks: usize,
}

impl PowerOfTwoPicker {
    /// A picker of this many endpoints.
    pub const fn new(picks: usize) -> Self {
        Self { picks }
    }
}

impl Plugin for PowerOfTwoPicker {}

impl Picker for PowerOfTwoPicker {
    fn pick(&self, cx: &mut Context<'_>, scores: &[f64], out: &mut Ranked) {
        if self.picks == 1 {
            return out.push(better_of_two(cx.rng, scores.len(), |place| scores[place]));
        }
        let mut places: SmallVec<[usize; 32]> = (0..scores.len()).collect();
        for _ in 0..self.picks.min(scores.len()) {
            let drawn = better_of_two(cx.rng, places.len(), |place| scores[places[place]]);
            out.push(places.swap_remove(drawn));
        }
    }
}

/// The better of two of so many places, of which there is at least one.
fn better_of_two(rng: &mut dyn Rng, places: usize, score: impl Fn(usize) -> f64) -> usize {
    let one = rng.random_range(0..places);
    if places == 1 {
        return one;
    }
    // The second is drawn among the others, and so no tie needs a third draw: which of two is the first is chance already.
    let other = (one + rng.random_range(1..places)) % places;
    if better(score(other), score(one)).is_lt() { other } else { one }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Chance, picks};

    fn times(scores: &[f64; 4]) -> [u32; 4] {
        let mut picked = [0; 4];
        let mut chance = Chance::new(7);
        for _ in 0..6000 {
            picked[picks(&PowerOfTwoPicker::new(1), scores, &mut chance)[0]] += 1;
        }
        picked
    }

    #[test]
    fn the_better_of_any_two_is_picked() {
        // Of the six pairs, the best wins three, the next two, and the next one.
        let [best, third, worst, second] = times(&[0.9, 0.2, f64::NAN, 0.5]);
        assert!((2850..3150).contains(&best) && (1850..2150).contains(&second) && (850..1150).contains(&third));
        assert_eq!(worst, 0);
    }

    #[test]
    fn each_of_equals_has_the_same_chance() {
        assert!(times(&[0.5; 4]).iter().all(|times| (1350..1650).contains(times)));
    }

    #[test]
    fn several_picks_are_of_those_that_are_left() {
        for seed in 0..64 {
            let picked = picks(&PowerOfTwoPicker::new(4), &[0.1, 0.2, 0.3, 0.4], &mut Chance::new(seed));
            assert_eq!(picked.len(), 4);
            assert_eq!(picked[3], 0, "the worst is left: {picked:?}");
        }
    }
}
