//! What the writer of an exact index leaves for its readers.

use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::super::roster::Roster;
use super::super::span::View;
use super::super::{IndexSettings, IndexStats, WorkerState};
use super::memory::Memory;
use crate::WorkerId;
use crate::hash::BlockHasher;

/// What the writer changes and readers read, without waiting for each other but for the moment in which
/// [`IndexStats`] are copied, or what is remembered of a worker is looked at.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) hasher: BlockHasher,
    pub(super) view: Arc<View>,
    pub(super) roster: ArcSwap<Roster>,
    /// Under which marks prompts were stored lately; see [`Namespaces`](super::namespaces::Namespaces).
    pub(super) namespaces: ArcSwap<Vec<u64>>,
    pub(super) workers: papaya::HashMap<WorkerId, WorkerView, BuildHasherDefault<Dense>>,
    pub(super) stats: Mutex<IndexStats>,
}

impl Shared {
    pub(super) fn new(settings: &IndexSettings, view: Arc<View>) -> Self {
        Self {
            hasher: BlockHasher::new(settings.key, settings.block_size),
            view,
            roster: ArcSwap::default(),
            namespaces: ArcSwap::default(),
            workers: papaya::HashMap::default(),
            stats: Mutex::default(),
        }
    }

    /// Lets readers see a worker.
    pub(super) fn show(&self, worker: WorkerId, view: WorkerView) {
        self.workers.pin().insert(worker, view);
    }
}

/// Hashes small numbers that are given out densely, by nobody who wishes ill.
#[derive(Default)]
pub(super) struct Dense(u64);

impl Hasher for Dense {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.write_u32(byte.into()));
    }

    fn write_u32(&mut self, number: u32) {
        // Neighbours end up far from each other: Fibonacci hashing (Knuth, volume 3).
        self.0 = (self.0.rotate_left(8) ^ u64::from(number)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

/// What readers are told about a worker.
#[derive(Clone, Debug, Default)]
pub(super) struct WorkerView {
    pub(super) state: WorkerState,
    pub(super) unplaced: usize,
    /// Tokens per block of events that could not be placed because of that.
    pub(super) other_size: Option<u32>,
    pub(super) memory: Arc<Mutex<Memory>>,
}
