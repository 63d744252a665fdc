//! The approximate index, for engines without events: it believes that a worker keeps what was last sent to it.

mod lru;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use parking_lot::Mutex;

use self::lru::Lru;
use super::table::{Media, Table};
use super::{
    BlockFate, Explanation, Held, IndexStats, Overlap, PrefixIndex, WorkerExplanation, WorkerOverlap, WorkerState,
};
use crate::WorkerId;
use crate::hash::{BlockHasher, Chain, HashKey};

/// What an approximate index is made with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ApproximateSettings {
    /// Tokens per block. Need not be the engines'. Default: 16.
    pub block_size: usize,
    /// The secret that the index names blocks with. Default: random, a new one for each call of `default`.
    pub key: HashKey,
    /// How many blocks each worker is believed to keep, until [`ApproximateIndex::set_capacity`] says better. Default:
    /// 31,250, llm-d's `lruCapacityPerServer`.
    pub capacity: usize,
}

impl Default for ApproximateSettings {
    fn default() -> Self {
        Self { block_size: 16, key: HashKey::random(), capacity: 31_250 }
    }
}

impl ApproximateSettings {
    /// The same, for blocks of this many tokens.
    #[must_use]
    pub fn with_block_size(self, block_size: usize) -> Self {
        Self { block_size, ..self }
    }

    /// The same, with this secret.
    #[must_use]
    pub fn with_key(self, key: HashKey) -> Self {
        Self { key, ..self }
    }

    /// The same, for workers that keep this many blocks.
    #[must_use]
    pub fn with_capacity(self, capacity: usize) -> Self {
        Self { capacity, ..self }
    }
}

/// The approximate index, for engines without events.
///
/// Fed with each prompt that is [`record`](Self::record)ed as sent to a worker, it believes that the worker keeps the
/// blocks that were used last, up to its capacity. As an engine does, it forgets a prompt from its end. Unlike llm-d's
/// `approx-prefix-cache-producer`, which counts every block that a server holds before the first that nobody holds, it
/// counts a worker's blocks from the start of the prompt up to the first that this worker does not hold: what lies
/// behind a missing block is of no use to an engine.
///
/// Queries never block. Recording takes a lock for the time it takes to touch the prompt's blocks. Workers stay until
/// [`remove_worker`](Self::remove_worker): how many there are is for the caller to bound.
///
/// ```
/// use llmd_core::WorkerId;
/// use llmd_core::hash::Namespace;
/// use llmd_core::index::{ApproximateIndex, ApproximateSettings, PrefixIndex as _};
///
/// let index = ApproximateIndex::new(ApproximateSettings::default().with_block_size(2));
/// let namespace = Namespace::default();
/// index.record(WorkerId(0), &index.hasher().chain(&[1, 2, 3, 4], &namespace));
///
/// assert_eq!(index.query(&index.hasher().chain(&[1, 2, 9, 9], &namespace)).leading(WorkerId(0)), 1);
/// ```
#[derive(Debug)]
pub struct ApproximateIndex {
    hasher: BlockHasher,
    capacity: usize,
    table: Table,
    workers: Mutex<BTreeMap<WorkerId, Lru>>,
}

impl ApproximateIndex {
    /// An empty index.
    ///
    /// # Panics
    ///
    /// When `settings.block_size` is 0.
    pub fn new(settings: ApproximateSettings) -> Self {
        Self {
            hasher: BlockHasher::new(settings.key, settings.block_size),
            capacity: settings.capacity,
            table: Table::new(),
            workers: Mutex::default(),
        }
    }

    /// Notes that a prompt was sent to a worker.
    pub fn record(&self, worker: WorkerId, chain: &Chain) {
        let mut workers = self.workers.lock();
        let used = workers.entry(worker).or_insert_with(|| Lru::new(self.capacity));
        let kept = chain.blocks().len().min(used.capacity());
        for &block in chain.blocks()[..kept].iter().rev() {
            if used.touch(block) {
                self.table.change(block, worker, Media::NONE, Media::GPU);
            }
        }
        self.shrink(worker, used);
    }

    /// Says how many blocks a worker keeps. What is too much is forgotten at once.
    pub fn set_capacity(&self, worker: WorkerId, blocks: usize) {
        let mut workers = self.workers.lock();
        let used = workers.entry(worker).or_insert_with(|| Lru::new(blocks));
        used.set_capacity(blocks);
        self.shrink(worker, used);
    }

    /// Forgets a worker.
    pub fn remove_worker(&self, worker: WorkerId) {
        let mut workers = self.workers.lock();
        if let Some(mut used) = workers.remove(&worker) {
            used.set_capacity(0);
            self.shrink(worker, &mut used);
        }
    }

    /// How much the workers are believed to hold.
    pub fn stats(&self) -> IndexStats {
        let workers = self.workers.lock();
        let held = Held { residents: workers.values().map(Lru::len).sum(), ..Held::default() };
        IndexStats { workers: workers.len(), blocks: self.table.len(), held, ..IndexStats::default() }
    }

    fn shrink(&self, worker: WorkerId, used: &mut Lru) {
        while let Some(block) = used.pop() {
            self.table.change(block, worker, Media::GPU, Media::NONE);
        }
    }
}

impl PrefixIndex for ApproximateIndex {
    fn hasher(&self) -> &BlockHasher {
        &self.hasher
    }

    fn query_into(&self, chain: &Chain, overlap: &mut Overlap) {
        self.table.walk(chain.blocks(), overlap);
    }

    /// Always [`WorkerState::Approximate`].
    fn state(&self, _: WorkerId) -> WorkerState {
        WorkerState::Approximate
    }

    /// What was forgotten is not told from what was never sent.
    fn explain(&self, chain: &Chain) -> Explanation {
        let overlap = self.query(chain);
        let workers: Vec<_> = self.workers.lock().keys().copied().collect();
        let explained = workers.into_iter().map(|worker| {
            let overlap = overlap.get(worker).unwrap_or_else(|| WorkerOverlap::none(worker));
            let missing = chain.blocks().get(overlap.leading as usize..).unwrap_or_default();
            WorkerExplanation {
                next: missing.first().map(|_| BlockFate::NeverStored),
                held_behind: self.table.count(missing, worker),
                ..WorkerExplanation::new(overlap, WorkerState::Approximate)
            }
        });
        Explanation::new(chain, explained)
    }
}
