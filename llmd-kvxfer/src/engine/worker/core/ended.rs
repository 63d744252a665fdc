//! The last few numbers of many.

use std::collections::{BTreeSet, VecDeque};

/// The last few numbers of many.
#[derive(Debug, Default)]
pub(super) struct Ended {
    pub(super) known: BTreeSet<u64>,
    pub(super) order: VecDeque<u64>,
}

/// How many loads that ended are remembered.
const MAX_ENDED: usize = 4096;

impl Ended {
    pub(super) fn add(&mut self, number: u64) {
        if self.order.len() >= MAX_ENDED
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        self.known.insert(number);
        self.order.push_back(number);
    }
}
