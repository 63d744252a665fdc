//! Endpoints that are remembered, until they are gone.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use llmd_core::WorkerId;

use crate::plugin::Picked;

/// How often endpoints that are gone are forgotten, as in llm-d.
const INTERVAL: Duration = Duration::from_secs(120);

/// Who is remembered, and when it is next asked whether they are still there.
#[derive(Debug, Default)]
pub(super) struct Sweep {
    /// When a request last went to each.
    workers: BTreeMap<WorkerId, Duration>,
    next: Duration,
}

impl Sweep {
    /// Something was remembered of where a request goes. When it is time, tells `forget` of those that are gone.
    pub(super) fn heard(&mut self, picked: &Picked<'_>, forget: impl FnMut(WorkerId)) {
        self.workers.insert(picked.endpoint.worker(), picked.now);
        if self.next <= picked.now {
            self.next = picked.now.saturating_add(INTERVAL);
            let there: BTreeSet<_> = picked.pool.iter().map(|endpoint| endpoint.worker()).collect();
            // One producer sees the pools of several models: who is not in this one, but had a request lately, is in another.
            let gone = |worker: &WorkerId, last: &mut Duration| {
                !there.contains(worker) && last.saturating_add(INTERVAL) <= picked.now
            };
            self.workers.extract_if(.., gone).map(|(worker, _)| worker).for_each(forget);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::pool;

    #[test]
    fn those_that_are_gone_are_told_of_once_in_a_while() {
        let (all, mut sweep) = (pool(3), Sweep::default());
        let mut heard = |place: usize, left: usize, seconds| {
            let mut gone = Vec::new();
            let picked = Picked::new(&all[place], &all[left..], Duration::from_secs(seconds));
            sweep.heard(&picked, |worker| gone.push(worker.0));
            gone
        };
        assert_eq!(heard(0, 0, 0), [0; 0]);
        assert_eq!(heard(1, 0, 1), [0; 0]);
        assert_eq!(heard(2, 2, 119), [0; 0], "it is not time");
        assert_eq!(heard(2, 2, 120), [0], "the other had a request within the interval");
        assert_eq!(heard(2, 2, 240), [1]);
        assert_eq!(heard(2, 2, 360), [0; 0]);
    }
}
