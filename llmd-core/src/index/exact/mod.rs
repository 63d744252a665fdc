//! The exact index, first form: what engines say, counted copy by copy, under names of its own.
//!
//! The writer knows each worker's blocks by the engine's names; it hashes the tokens that came with them and keeps, per
//! block, a small list of holders, which readers look up block after block. `docs/adr/0003` says why it is built this
//! way first, and what comes after it.

mod content;
mod holdings;
mod memory;
mod named;
mod orphans;
mod persist;
mod reader;
mod shared;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

pub use reader::ExactReader;

use self::holdings::Holdings;
use self::shared::{Context, Shared, WorkerView};
use super::{Applied, IndexSettings, IndexStats, IndexWriter, Resident, WorkerState};
use crate::WorkerId;
use crate::event::KvEvent;

/// The exact index, for engines that send KV events.
///
/// On dense models what it answers is what the engine will take from its cache, as far as the events have come. At this
/// width, [`WorkerState::Exact`] is never said of a worker of which blocks cannot be placed: those with another block
/// size, of cache groups that are not full attention (a hit of a hybrid model depends on every group), those with
/// fewer names than blocks, and those that only an offload tier has named so far. They are counted as residents, and
/// until [`clear`](IndexWriter::clear) or until they find their place, the worker is [`WorkerState::Approximate`].
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ExactIndex;

impl ExactIndex {
    /// An empty index: its one writer, and a reader to be cloned.
    ///
    /// # Panics
    ///
    /// When `settings.block_size` is 0.
    #[expect(clippy::new_ret_no_self, reason = "an index is its two ends")]
    pub fn new(settings: IndexSettings) -> (ExactWriter, ExactReader) {
        let shared = Arc::new(Shared::new(&settings));
        let reader = ExactReader::new(Arc::clone(&shared));
        (ExactWriter { shared, settings, workers: HashMap::new(), stats: IndexStats::default() }, reader)
    }
}

/// Takes what engines say into an [`ExactIndex`].
///
/// Workers are made by the first call that names one and stay until [`remove_worker`](IndexWriter::remove_worker): how
/// many there are is for the caller to bound.
#[derive(Debug)]
pub struct ExactWriter {
    shared: Arc<Shared>,
    settings: IndexSettings,
    workers: HashMap<WorkerId, Worker>,
    stats: IndexStats,
}

#[derive(Debug)]
struct Worker {
    state: WorkerState,
    holdings: Holdings,
}

impl Worker {
    fn view(&self) -> WorkerView {
        let state = match self.state {
            WorkerState::Exact if !self.holdings.is_complete() => WorkerState::Approximate,
            state => state,
        };
        WorkerView { state, unplaced: self.holdings.held().unplaced }
    }
}

impl ExactWriter {
    /// What the index was made with.
    pub const fn settings(&self) -> &IndexSettings {
        &self.settings
    }

    /// How much is held, and what was dropped.
    pub const fn stats(&self) -> IndexStats {
        self.stats
    }

    /// Works on one worker, counts what changed, and lets readers see its state.
    fn work<T>(&mut self, worker: WorkerId, at: f64, how: impl FnOnce(&mut Worker, Context<'_>) -> T) -> T {
        let known = match self.workers.entry(worker) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(Worker { state: WorkerState::default(), holdings: Holdings::new(worker) }),
        };
        let before = (known.holdings.held(), known.holdings.remembered(), known.holdings.unplaceable());
        let answer = how(known, Context { shared: &self.shared, settings: &self.settings, at });
        let holdings = &known.holdings;
        self.stats.held -= before.0;
        self.stats.held += holdings.held();
        self.stats.remembered = self.stats.remembered - before.1 + holdings.remembered();
        self.stats.unplaceable += holdings.unplaceable() - before.2;
        self.shared.show(worker, known.view());
        answer
    }

    /// Lets readers see the numbers.
    fn publish(&mut self) {
        self.stats.workers = self.workers.len();
        self.stats.blocks = self.shared.table.len();
        *self.shared.stats.lock() = self.stats;
    }
}

impl IndexWriter for ExactWriter {
    fn apply(&mut self, worker: WorkerId, timestamp: f64, events: &[KvEvent]) -> Applied {
        let mut applied = Applied::default();
        self.work(worker, timestamp, |known, cx| {
            for event in events {
                known.holdings.apply(event, cx, &mut applied);
            }
        });
        self.stats.dropped += applied.dropped as u64;
        self.stats.unknown_removals += applied.unknown_removals as u64;
        self.publish();
        applied
    }

    fn set_state(&mut self, worker: WorkerId, state: WorkerState) {
        self.work(worker, 0.0, |known, _| known.state = state);
        self.publish();
    }

    fn clear(&mut self, worker: WorkerId) {
        if self.workers.contains_key(&worker) {
            self.work(worker, 0.0, |known, cx| known.holdings.clear(cx));
            self.publish();
        }
    }

    fn remove_worker(&mut self, worker: WorkerId) {
        if self.workers.contains_key(&worker) {
            self.work(worker, 0.0, |known, cx| known.holdings.forget(cx));
            self.workers.remove(&worker);
            self.shared.workers.pin().remove(&worker);
            self.publish();
        }
    }

    fn residents(&self, worker: WorkerId) -> Vec<Resident> {
        self.workers.get(&worker).map(|known| known.holdings.residents()).unwrap_or_default()
    }
}
