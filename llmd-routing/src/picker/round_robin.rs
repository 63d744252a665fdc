//! `round-robin-picker`, llmd's own: one after the other.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::plugin::{Context, Picker, Plugin, Ranked};

/// Picks candidates in turn, whatever their scores. llm-d has none; it is there to compare others with.
#[derive(Debug)]
pub struct RoundRobinPicker {
    picks: usize,
    next: AtomicUsize,
}

impl RoundRobinPicker {
    /// A picker of this many endpoints, which begins with the first.
    pub const fn new(picks: usize) -> Self {
        Self { picks, next: AtomicUsize::new(0) }
    }
}

impl Plugin for RoundRobinPicker {}

impl Picker for RoundRobinPicker {
    fn pick(&self, _: &mut Context<'_>, scores: &[f64], out: &mut Ranked) {
        // Relaxed: a ticket; nothing else is published with it.
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        (0..self.picks.min(scores.len())).for_each(|pick| out.push(first.wrapping_add(pick) % scores.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Chance, picks};

    #[test]
    fn each_has_its_turn() {
        let picker = RoundRobinPicker::new(2);
        let turns: Vec<_> = (0..4).map(|_| picks(&picker, &[0.0, 9.0, 1.0], &mut Chance::new(0))).collect();
        assert_eq!(turns, [[0, 1], [1, 2], [2, 0], [0, 1]]);
    }
}
