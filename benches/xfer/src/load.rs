//! How much others worked on this machine meanwhile: what was measured beside them says little.

use std::fs;

use rustix::param::clock_ticks_per_second;

use crate::stopwatch::Stopwatch;

/// The machine, from a moment on.
#[derive(Debug)]
pub(crate) struct Load {
    began: Stopwatch,
    before: f64,
}

impl Load {
    pub(crate) fn watch() -> Self {
        Self { began: Stopwatch::start(), before: others() }
    }

    /// Cores that neither this program nor its children kept busy but others did, on average. Children count when they
    /// have ended.
    pub(crate) fn cores(&self) -> f64 {
        (others() - self.before).max(0.0) / self.began.elapsed().as_secs_f64()
    }
}

/// Seconds that all of the machine has worked, but this program and its children.
fn others() -> f64 {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let ticks = all(&read("/proc/stat")).saturating_sub(own(&read("/proc/self/stat")));
    ticks as f64 / clock_ticks_per_second().max(1) as f64
}

/// Ticks of user, nice, system, irq and softirq: what is neither idle nor waiting nor stolen.
fn all(text: &str) -> u64 {
    let first = text.lines().next().unwrap_or_default();
    let ticks: Vec<u64> = first.split_whitespace().skip(1).map(|word| word.parse().unwrap_or(0)).collect();
    [0, 1, 2, 5, 6].into_iter().filter_map(|place| ticks.get(place)).sum()
}

/// Ticks of this process and its children. Its name, in parentheses, may hold blanks.
fn own(text: &str) -> u64 {
    let fields = text.rsplit(')').next().unwrap_or_default();
    fields.split_whitespace().skip(11).take(4).map(|word| word.parse().unwrap_or(0)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_idle_or_stolen_is_no_work() {
        assert_eq!(all("cpu  100 20 30 4000 500 6 7 80 0 0\ncpu0 1 1 1 1\n"), 163);
        assert_eq!(all(""), 0);
    }

    #[test]
    fn children_are_counted_and_a_name_with_blanks_is_none_of_the_fields() {
        let text = "7 (a) b (c) S 1 7 7 0 -1 4194304 100 0 0 0 10 20 300 4000 20 0 1 0 5";
        assert_eq!(own(text), 4330);
        assert!(own(&fs::read_to_string("/proc/self/stat").unwrap()) < all(&fs::read_to_string("/proc/stat").unwrap()));
    }
}
