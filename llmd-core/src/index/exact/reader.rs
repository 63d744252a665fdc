//! The reading end of an exact index.

use std::sync::Arc;

use super::super::{Explanation, IndexStats, Overlap, PrefixIndex, WorkerState};
use super::closely::look_closely;
use super::explained::explain;
use super::shared::Shared;
use crate::WorkerId;
use crate::hash::{BlockHasher, Chain};

/// Answers who holds a prompt, from an [`ExactIndex`](super::ExactIndex).
///
/// A query that runs while a batch is taken in sees some of its events and not others. It never waits for the writer,
/// but for the moment in which a run changes that it is looking at.
#[derive(Clone, Debug)]
pub struct ExactReader(Arc<Shared>);

impl ExactReader {
    pub(super) const fn new(shared: Arc<Shared>) -> Self {
        Self(shared)
    }

    /// The writer will never end what it is at, as in a forked child that has its memory and not its thread.
    pub(crate) fn lose_writer(&self) {
        self.0.view.lose_writer();
    }

    /// How much is held, and what was dropped.
    pub fn stats(&self) -> IndexStats {
        *self.0.stats.lock()
    }
}

impl PrefixIndex for ExactReader {
    fn hasher(&self) -> &BlockHasher {
        &self.0.hasher
    }

    fn query_into(&self, chain: &Chain, overlap: &mut Overlap) {
        let roster = self.0.roster.load();
        if overlap.roster.as_ref().is_none_or(|known| !Arc::ptr_eq(known, &roster)) {
            overlap.roster = Some(Arc::clone(&roster));
        }
        overlap.listed.clear();
        overlap.by_column.clear();
        overlap.shared = 0;
        let closely = roster.closely.as_deref();
        self.0.view.walk(chain.blocks(), &roster.live, closely, &mut overlap.levels, &mut overlap.scratch.walk);
        if closely.is_some() {
            look_closely(&self.0.view, &roster, chain, overlap);
        }
    }

    fn state(&self, worker: WorkerId) -> WorkerState {
        self.0.workers.pin().get(&worker).map(|view| view.state).unwrap_or_default()
    }

    fn states_into(&self, workers: &mut dyn Iterator<Item = WorkerId>, states: &mut Vec<WorkerState>) {
        let views = self.0.workers.pin();
        states.clear();
        states.extend(workers.map(|worker| views.get(&worker).map(|view| view.state).unwrap_or_default()));
    }

    /// Looks at everything that every worker holds of the prompt: for people, not for every request.
    fn explain(&self, chain: &Chain) -> Explanation {
        explain(self, &self.0, chain)
    }
}
