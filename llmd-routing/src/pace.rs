//! How fast an engine is, as its answers show.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

/// How many answers are remembered: each counts for this much less than the one after it.
const MEMORY: f64 = 32.0;

/// How long an engine takes to decode, by how long it was expected to: one number, over the last answers.
#[derive(Debug)]
pub(crate) struct Pace {
    sums: Mutex<Sums>,
    /// The bits of the ratio; not a number until something was measured.
    ratio: AtomicU64,
}

/// Of the answers that are remembered.
#[derive(Debug, Default)]
struct Sums {
    took: f64,
    expected: f64,
}

impl Default for Pace {
    fn default() -> Self {
        Self { sums: Mutex::default(), ratio: AtomicU64::new(f64::NAN.to_bits()) }
    }
}

impl Pace {
    /// An answer took this long, and was expected to take that many seconds, which says something when it is positive and
    /// finite.
    pub(crate) fn measured(&self, took: Duration, expected: f64) {
        if !(expected > 0.0 && expected.is_finite()) {
            return;
        }
        let mut sums = self.sums.lock();
        sums.took += took.as_secs_f64() - sums.took / MEMORY;
        sums.expected += expected - sums.expected / MEMORY;
        // Relaxed: one number, with which nothing else is published.
        self.ratio.store((sums.took / sums.expected).to_bits(), Ordering::Relaxed);
    }

    /// 1 for an engine that is as fast as expected, 2 for one that takes twice as long; `None` until something was measured.
    pub(crate) fn ratio(&self) -> Option<f64> {
        let ratio = f64::from_bits(self.ratio.load(Ordering::Relaxed));
        (ratio > 0.0).then_some(ratio)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_what_answers_took_by_what_was_expected() {
        let pace = Pace::default();
        assert_eq!(pace.ratio(), None);
        pace.measured(Duration::from_secs(6), 4.0);
        assert_eq!(pace.ratio(), Some(1.5));
        pace.measured(Duration::from_secs(1), 4.0);
        let by_hand = (6.0 * 31.0 / 32.0 + 1.0) / (4.0 * 31.0 / 32.0 + 4.0);
        assert!((pace.ratio().unwrap() - by_hand).abs() < 1e-12);
    }

    #[test]
    fn a_long_answer_counts_for_more_than_a_short_one_and_an_old_one_for_nothing() {
        let pace = Pace::default();
        pace.measured(Duration::from_secs(100), 100.0);
        pace.measured(Duration::from_secs(3), 1.0);
        assert!(pace.ratio().unwrap() < 1.03);
        (0..1000).for_each(|_| pace.measured(Duration::from_secs(2), 1.0));
        assert!((pace.ratio().unwrap() - 2.0).abs() < 1e-9);
    }

    #[test]
    fn what_was_not_expected_to_take_any_time_says_nothing() {
        let pace = Pace::default();
        for expected in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            pace.measured(Duration::from_secs(1), expected);
        }
        assert_eq!(pace.ratio(), None);
        pace.measured(Duration::ZERO, 1.0);
        assert_eq!(pace.ratio(), None, "nothing is infinitely fast");
    }
}
