//! The approximate index, for engines without events: it believes that a worker keeps what was last sent to it.

mod lru;
mod memory;
mod settings;
#[cfg(test)]
mod tests;

use std::time::Duration;

use parking_lot::Mutex;

use self::memory::Memory;
pub use self::settings::{ApproximateSettings, Counting};
use super::table::Table;
use super::{BlockFate, Explanation, IndexStats, Overlap, PrefixIndex, WorkerExplanation, WorkerOverlap, WorkerState};
use crate::WorkerId;
use crate::hash::{BlockHasher, Chain};

/// The approximate index, for engines without events.
///
/// Fed with each prompt that is [`record`](Self::record)ed as sent to a worker, it believes that the worker keeps the
/// blocks that were used last, up to its capacity, and no longer than [`ApproximateSettings::ttl`]. Which of them count for
/// a prompt is said by [`Counting`]. Of a prompt that is longer than the capacity, only the beginning is believed.
///
/// Queries never block. Recording takes a lock for the time it takes to touch the prompt's blocks.
///
/// ```
/// use std::time::Duration;
/// use llmd_core::WorkerId;
/// use llmd_core::hash::Namespace;
/// use llmd_core::index::{ApproximateIndex, ApproximateSettings, PrefixIndex as _};
///
/// let index = ApproximateIndex::new(ApproximateSettings::default().with_block_size(2));
/// let namespace = Namespace::default();
/// index.record(WorkerId(0), &index.hasher().chain(&[1, 2, 3, 4], &namespace), Duration::ZERO);
///
/// assert_eq!(index.query(&index.hasher().chain(&[1, 2, 9, 9], &namespace)).leading(WorkerId(0)), 1);
/// ```
#[derive(Debug)]
pub struct ApproximateIndex {
    hasher: BlockHasher,
    counting: Counting,
    table: Table,
    memory: Mutex<Memory>,
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
            counting: settings.counting,
            table: Table::new(),
            memory: Mutex::new(Memory::new(&settings)),
        }
    }

    /// Notes that a prompt was sent to a worker. What nobody used for too long is forgotten on the way.
    pub fn record(&self, worker: WorkerId, chain: &Chain, now: Duration) {
        self.memory.lock().record(worker, chain.blocks(), now, &self.table);
    }

    /// Says how many blocks a worker keeps. What is too much is forgotten at once.
    pub fn set_capacity(&self, worker: WorkerId, blocks: usize) {
        self.memory.lock().set_capacity(worker, blocks, &self.table);
    }

    /// Forgets what was not used for longer than [`ApproximateSettings::ttl`]. Recording does so now and then; an index
    /// to which nothing is recorded for a while needs to be told.
    pub fn expire(&self, now: Duration) {
        self.memory.lock().expire(now, &self.table);
    }

    /// Forgets a worker.
    pub fn remove_worker(&self, worker: WorkerId) {
        self.memory.lock().remove(worker, &self.table);
    }

    /// How much the workers are believed to hold, and how many blocks were forgotten because there were too many workers.
    pub fn stats(&self) -> IndexStats {
        let mut stats = self.memory.lock().stats();
        stats.blocks = self.table.len();
        stats.bytes += self.table.bytes();
        stats
    }

    fn explain_worker(&self, worker: WorkerId, chain: &Chain, overlap: &Overlap) -> WorkerExplanation {
        let overlap = overlap.get(worker).unwrap_or_else(|| WorkerOverlap::none(worker));
        let ends = match self.counting {
            Counting::AsLlmd => self.table.leading(chain.blocks(), worker),
            Counting::Leading => overlap.leading as usize,
        };
        let missing = &chain.blocks()[ends..];
        WorkerExplanation {
            next: missing.first().map(|_| BlockFate::NeverStored),
            ends: ends as u32,
            held_behind: self.table.count(missing, worker),
            ..WorkerExplanation::new(overlap, WorkerState::Approximate)
        }
    }
}

impl PrefixIndex for ApproximateIndex {
    fn hasher(&self) -> &BlockHasher {
        &self.hasher
    }

    fn query_into(&self, chain: &Chain, overlap: &mut Overlap) {
        match self.counting {
            Counting::AsLlmd => self.table.count_all(chain.blocks(), overlap),
            Counting::Leading => self.table.walk(chain.blocks(), overlap),
        }
    }

    /// Always [`WorkerState::Approximate`].
    fn state(&self, _: WorkerId) -> WorkerState {
        WorkerState::Approximate
    }

    /// What was forgotten is not told from what was never sent.
    fn explain(&self, chain: &Chain) -> Explanation {
        let overlap = self.query(chain);
        let workers = self.memory.lock().workers();
        Explanation::new(chain, workers.into_iter().map(|worker| self.explain_worker(worker, chain, &overlap)))
    }
}
