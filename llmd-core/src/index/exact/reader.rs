//! The reading end of an exact index.

use std::sync::Arc;

use super::super::{
    BlockFate, Explanation, IndexStats, Overlap, PrefixIndex, WorkerExplanation, WorkerOverlap, WorkerState,
};
use super::shared::{Shared, WorkerView};
use crate::WorkerId;
use crate::hash::{BlockHasher, Chain};

/// Answers who holds a prompt, from an [`ExactIndex`](super::ExactIndex).
///
/// A query that runs while a batch is taken in sees some of its events and not others.
#[derive(Clone, Debug)]
pub struct ExactReader(Arc<Shared>);

impl ExactReader {
    pub(super) const fn new(shared: Arc<Shared>) -> Self {
        Self(shared)
    }

    /// How much is held, and what was dropped.
    pub fn stats(&self) -> IndexStats {
        *self.0.stats.lock()
    }

    fn explain_worker(
        &self,
        worker: WorkerId,
        view: WorkerView,
        chain: &Chain,
        overlap: &Overlap,
    ) -> WorkerExplanation {
        let overlap = overlap.get(worker).copied().unwrap_or_else(|| WorkerOverlap::none(worker));
        let missing = chain.blocks().get(overlap.leading as usize..).unwrap_or_default();
        let fate = |block| self.0.fates.pin().get(&(worker, block)).map_or(BlockFate::NeverStored, |&(fate, _)| fate);
        WorkerExplanation {
            next: missing.first().copied().map(fate),
            held_behind: self.0.table.count(missing, worker),
            unplaced: view.unplaced,
            ..WorkerExplanation::new(overlap, view.state)
        }
    }
}

impl PrefixIndex for ExactReader {
    fn hasher(&self) -> &BlockHasher {
        &self.0.hasher
    }

    fn query_into(&self, chain: &Chain, overlap: &mut Overlap) {
        self.0.table.walk(chain.blocks(), overlap);
    }

    fn state(&self, worker: WorkerId) -> WorkerState {
        self.0.workers.pin().get(&worker).copied().unwrap_or_default().state
    }

    fn explain(&self, chain: &Chain) -> Explanation {
        let overlap = self.query(chain);
        let workers = self.0.workers.pin();
        let workers = workers.iter().map(|(&worker, &view)| self.explain_worker(worker, view, chain, &overlap));
        Explanation::new(chain, workers)
    }
}
