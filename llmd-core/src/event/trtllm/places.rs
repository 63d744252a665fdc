//! Where blocks lie that do not lie in GPU memory: TensorRT-LLM does not say it when it removes one.

use std::collections::HashMap;

use crate::{ExternalBlockHash, GroupIdx, Medium};

/// Which block: blocks of two groups may have one name.
pub(super) type Key = (GroupIdx, ExternalBlockHash);

/// Where a block lies that does not lie in GPU memory.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Place {
    On(Medium),
    /// Nowhere in an index: it is not full, and nobody is told of it.
    Untold,
}

/// The places of the blocks of every rank that are not simply in GPU memory, up to a limit for all together.
#[derive(Debug)]
pub(super) struct Places {
    by_rank: HashMap<Option<u32>, HashMap<Key, Place>>,
    held: usize,
    limit: usize,
}

impl Places {
    pub(super) fn new(limit: usize) -> Self {
        Self { by_rank: HashMap::new(), held: 0, limit }
    }

    pub(super) const fn limit(&self) -> usize {
        self.limit
    }

    pub(super) const fn held(&self) -> usize {
        self.held
    }

    pub(super) fn get(&self, rank: Option<u32>, key: &Key) -> Option<Place> {
        self.by_rank.get(&rank)?.get(key).copied()
    }

    /// Remembers where a block lies; says whether there is room for it.
    #[must_use]
    pub(super) fn set(&mut self, rank: Option<u32>, key: Key, place: Place) -> bool {
        if place == Place::On(Medium::Gpu) {
            self.take(rank, &key);
            return true;
        }
        if let Some(known) = self.by_rank.get_mut(&rank).and_then(|places| places.get_mut(&key)) {
            *known = place;
            return true;
        }
        if self.held == self.limit {
            return false;
        }
        self.by_rank.entry(rank).or_default().insert(key, place);
        self.held += 1;
        true
    }

    /// Forgets a block, and says where it lay.
    pub(super) fn take(&mut self, rank: Option<u32>, key: &Key) -> Option<Place> {
        let places = self.by_rank.get_mut(&rank)?;
        let taken = places.remove(key)?;
        self.held -= 1;
        if places.is_empty() {
            self.by_rank.remove(&rank);
        }
        Some(taken)
    }

    /// Forgets the blocks of a rank.
    pub(super) fn clear(&mut self, rank: Option<u32>) {
        self.held -= self.by_rank.remove(&rank).map_or(0, |places| places.len());
    }
}
