//! How fast an engine is, as its answers show.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::duration::micros;

/// How many answers are remembered: each counts for this much less than the one after it.
const MEMORY: f64 = 32.0;
/// How many there must be before they say something: the first of an engine that just started are slow.
const ENOUGH: u32 = 8;
/// How long they say something. An engine that seems slow is sent little, and must get the chance to seem otherwise.
const LASTS: Duration = Duration::from_mins(5);
/// How many times as long as expected an answer may count for: one may have waited for its reader.
const LONGEST: f64 = 10.0;

/// How long an engine takes to decode, by how long it was expected to: one number, over the last answers.
#[derive(Debug)]
pub(crate) struct Pace {
    sums: Mutex<Sums>,
    /// The bits of the ratio; not a number until enough was measured.
    ratio: AtomicU64,
    /// Until when it says something, in microseconds.
    until: AtomicU64,
}

/// Of the answers that are remembered.
#[derive(Debug, Default)]
struct Sums {
    answers: u32,
    took: f64,
    expected: f64,
}

impl Default for Pace {
    fn default() -> Self {
        Self { sums: Mutex::default(), ratio: AtomicU64::new(f64::NAN.to_bits()), until: AtomicU64::new(0) }
    }
}

impl Pace {
    /// An answer that ended `now` took this long, and was expected to take that many seconds, which says something when it is
    /// positive and finite.
    pub(crate) fn measured(&self, now: Duration, took: Duration, expected: f64) {
        if !(expected > 0.0 && expected.is_finite()) {
            return;
        }
        let mut sums = self.sums.lock();
        sums.answers = sums.answers.saturating_add(1);
        sums.took += took.as_secs_f64().min(expected * LONGEST) - sums.took / MEMORY;
        sums.expected += expected - sums.expected / MEMORY;
        if sums.answers >= ENOUGH {
            // Relaxed: two numbers, with which nothing else is published; a ratio of a moment ago does as well.
            self.ratio.store((sums.took / sums.expected).to_bits(), Ordering::Relaxed);
            self.until.store(micros(now.saturating_add(LASTS)), Ordering::Relaxed);
        }
    }

    /// The ratio, however long ago it was measured.
    pub(crate) fn last(&self) -> Option<f64> {
        self.ratio(Duration::ZERO)
    }

    /// 1 for an engine that is as fast as expected, 2 for one that takes twice as long; `None` until enough was measured, and when
    /// that was long ago.
    pub(crate) fn ratio(&self, now: Duration) -> Option<f64> {
        let ratio = f64::from_bits(self.ratio.load(Ordering::Relaxed));
        (ratio > 0.0 && micros(now) <= self.until.load(Ordering::Relaxed)).then_some(ratio)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1000);

    fn seconds(pace: &Pace, took: u64, expected: f64, times: usize) {
        (0..times).for_each(|_| pace.measured(NOW, Duration::from_secs(took), expected));
    }

    #[test]
    fn it_is_what_answers_took_by_what_was_expected() {
        let pace = Pace::default();
        seconds(&pace, 6, 4.0, 7);
        assert_eq!(pace.ratio(NOW), None, "seven answers say nothing");
        seconds(&pace, 1, 4.0, 1);
        let before: f64 = (0..7).map(|n| (31.0_f64 / 32.0).powi(7 - n)).sum();
        let by_hand = (6.0 * before + 1.0) / (4.0 * before + 4.0);
        assert!((pace.ratio(NOW).unwrap() - by_hand).abs() < 1e-12);
    }

    #[test]
    fn a_long_answer_counts_for_more_than_a_short_one_and_an_old_one_for_nothing() {
        let pace = Pace::default();
        seconds(&pace, 100, 100.0, 8);
        seconds(&pace, 3, 1.0, 1);
        assert!(pace.ratio(NOW).unwrap() < 1.01);
        seconds(&pace, 2, 1.0, 1000);
        assert!((pace.ratio(NOW).unwrap() - 2.0).abs() < 1e-9);
    }

    #[test]
    fn what_was_measured_long_ago_says_nothing() {
        let pace = Pace::default();
        seconds(&pace, 2, 1.0, 8);
        assert_eq!(pace.ratio(NOW + Duration::from_mins(5)), Some(2.0));
        assert_eq!(pace.ratio(NOW + Duration::from_secs(301)), None);
    }

    #[test]
    fn an_answer_that_waited_for_its_reader_counts_for_ten_times_what_was_expected() {
        let pace = Pace::default();
        seconds(&pace, 100_000, 1.0, 8);
        assert!((pace.ratio(NOW).unwrap() - 10.0).abs() < 1e-9);
    }

    #[test]
    fn what_was_not_expected_to_take_any_time_says_nothing() {
        let pace = Pace::default();
        for expected in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            seconds(&pace, 1, expected, 20);
        }
        assert_eq!(pace.ratio(NOW), None);
        seconds(&pace, 0, 1.0, 20);
        assert_eq!(pace.ratio(NOW), None, "nothing is infinitely fast");
    }
}
