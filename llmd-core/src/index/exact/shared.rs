//! What the writer of an exact index leaves for its readers.

use parking_lot::Mutex;

use super::super::table::Table;
use super::super::{BlockFate, IndexSettings, IndexStats, WorkerState};
use crate::hash::BlockHasher;
use crate::{BlockHash, WorkerId};

/// What the writer changes and readers read, without waiting for each other but for the moment in which
/// [`IndexStats`] are copied.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) hasher: BlockHasher,
    pub(super) table: Table,
    pub(super) workers: papaya::HashMap<WorkerId, WorkerView>,
    /// What became of blocks that a worker held, with the number of the removal, which its memory knows.
    pub(super) fates: papaya::HashMap<(WorkerId, BlockHash), (BlockFate, u64)>,
    pub(super) stats: Mutex<IndexStats>,
}

impl Shared {
    pub(super) fn new(settings: &IndexSettings) -> Self {
        Self {
            hasher: BlockHasher::new(settings.key, settings.block_size),
            table: Table::new(),
            workers: papaya::HashMap::default(),
            fates: papaya::HashMap::default(),
            stats: Mutex::default(),
        }
    }

    /// Lets readers see a worker, unless they see it so already.
    pub(super) fn show(&self, worker: WorkerId, view: WorkerView) {
        let workers = self.workers.pin();
        if workers.get(&worker) != Some(&view) {
            workers.insert(worker, view);
        }
    }
}

/// What readers are told about a worker.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct WorkerView {
    pub(super) state: WorkerState,
    pub(super) unplaced: usize,
}

/// What a call of the writer works with besides the worker's own tables.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context<'a> {
    pub(super) shared: &'a Shared,
    pub(super) settings: &'a IndexSettings,
    /// The timestamp of the batch.
    pub(super) at: f64,
}

impl<'a> Context<'a> {
    pub(super) const fn hasher(self) -> &'a BlockHasher {
        &self.shared.hasher
    }
}
