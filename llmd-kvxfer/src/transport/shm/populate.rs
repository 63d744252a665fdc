//! A peer's pool is looked at once when it has been mapped, so that the first who fetches does not wait for each page.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::super::copiers::{Step, Work};
use crate::region::Mapping;

/// A mapping whose pages are to be entered where the processor finds them.
#[derive(Debug)]
pub(super) struct Populate {
    mapping: Arc<Mapping>,
    next: AtomicUsize,
}

/// How much is done in one step.
const PART: usize = 8 << 20;
/// How much of a pool is looked at: of a larger one, what is fetched is.
const MOST: usize = 64 << 30;

impl Populate {
    pub(super) fn new(mapping: &Arc<Mapping>) -> Arc<Self> {
        Arc::new(Self { mapping: Arc::clone(mapping), next: AtomicUsize::new(0) })
    }
}

impl Work for Populate {
    fn step(&self) -> Step {
        let start = self.next.fetch_add(PART, Ordering::Relaxed);
        if start >= self.mapping.len().min(MOST) {
            return Step::Taken;
        }
        // What cannot be entered now is when it is read.
        let _entered = self.mapping.enter(start, PART);
        Step::More
    }
}
