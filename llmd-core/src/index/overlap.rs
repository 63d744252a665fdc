//! How many leading blocks of a prompt each worker holds.

use crate::{Medium, WorkerId};

/// How many leading blocks of a prompt each worker holds. Workers that hold none do not appear.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Overlap {
    pub(super) workers: Vec<WorkerOverlap>,
    shared: u32,
}

/// How many leading blocks of a prompt one worker holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct WorkerOverlap {
    /// Who.
    pub worker: WorkerId,
    /// Leading blocks that lie on any of its media or on the pool's storage. Of a hybrid model, what its engine takes from
    /// its GPU.
    pub leading: u32,
    /// Leading blocks that lie on each of its own media, by [`Medium::index`].
    pub leading_by_medium: [u32; Medium::ALL.len()],
    /// Leading blocks that lie on the pool's storage alone: the same for all workers.
    pub shared: u32,
}

impl WorkerOverlap {
    /// An overlap of no block.
    pub const fn none(worker: WorkerId) -> Self {
        Self { worker, leading: 0, leading_by_medium: [0; Medium::ALL.len()], shared: 0 }
    }

    /// Leading blocks that lie on `medium`.
    pub const fn on(&self, medium: Medium) -> u32 {
        self.leading_by_medium[medium.index()]
    }
}

impl Overlap {
    /// The overlap of one worker; `None` when it holds not even the first block.
    pub fn get(&self, worker: WorkerId) -> Option<&WorkerOverlap> {
        let place = self.workers.binary_search_by_key(&worker, |overlap| overlap.worker).ok()?;
        Some(&self.workers[place])
    }

    /// Leading blocks of a worker, on any medium.
    pub fn leading(&self, worker: WorkerId) -> u32 {
        self.get(worker).map_or(0, |overlap| overlap.leading)
    }

    /// Every worker that holds the first block, by id.
    pub fn iter(&self) -> std::slice::Iter<'_, WorkerOverlap> {
        self.workers.iter()
    }

    /// How many workers hold the first block.
    pub const fn len(&self) -> usize {
        self.workers.len()
    }

    /// Whether nobody holds the first block.
    pub const fn is_empty(&self) -> bool {
        self.workers.is_empty()
    }

    /// Leading blocks that lie on the storage which the pool shares, whoever holds what besides.
    pub const fn shared(&self) -> u32 {
        self.shared
    }

    /// Says how many leading blocks lie on the storage which the pool shares.
    pub const fn set_shared(&mut self, shared: u32) {
        self.shared = shared;
    }

    /// Replaces the whole answer, with nothing shared; the buffer is kept.
    pub fn fill(&mut self, workers: impl IntoIterator<Item = WorkerOverlap>) {
        self.shared = 0;
        self.workers.clear();
        self.workers.extend(workers);
        self.workers.sort_unstable_by_key(|overlap| overlap.worker);
    }
}

impl<'a> IntoIterator for &'a Overlap {
    type Item = &'a WorkerOverlap;
    type IntoIter = std::slice::Iter<'a, WorkerOverlap>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
