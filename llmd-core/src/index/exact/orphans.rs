//! Blocks that wait for their parent.

use std::collections::{BTreeMap, HashMap};

use crate::ExternalBlockHash;
use crate::event::BlockStored;

/// Blocks of one worker whose parent has no place yet, each as the event that would have stored it alone.
#[derive(Debug, Default)]
pub(super) struct Orphans {
    behind: HashMap<ExternalBlockHash, Vec<(u64, BlockStored)>>,
    by_age: BTreeMap<u64, ExternalBlockHash>,
    next: u64,
}

impl Orphans {
    pub(super) fn len(&self) -> usize {
        self.by_age.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_age.is_empty()
    }

    /// Bytes that they take, about, but for their tokens.
    pub(super) fn bytes(&self) -> usize {
        self.len() * (size_of::<(u64, BlockStored)>() + size_of::<(u64, ExternalBlockHash)>())
    }

    /// All of them, the one that has waited longest first.
    pub(super) fn by_age(&self) -> Vec<&BlockStored> {
        let mut all: Vec<_> = self.behind.values().flatten().map(|(age, block)| (*age, block)).collect();
        all.sort_unstable_by_key(|&(age, _)| age);
        all.into_iter().map(|(_, block)| block).collect()
    }

    /// Keeps `block` until `parent` has a place.
    pub(super) fn keep(&mut self, parent: ExternalBlockHash, block: BlockStored) {
        let age = self.next;
        self.next += 1;
        self.by_age.insert(age, parent.clone());
        self.behind.entry(parent).or_default().push((age, block));
    }

    /// Takes out what waits for `parent`.
    pub(super) fn take(&mut self, parent: &ExternalBlockHash) -> Vec<BlockStored> {
        let waiting = self.behind.remove(parent).unwrap_or_default();
        let free = |(age, block)| {
            self.by_age.remove(&age);
            block
        };
        waiting.into_iter().map(free).collect()
    }

    /// Takes out the one that has waited longest.
    pub(super) fn take_oldest(&mut self) -> Option<BlockStored> {
        let (age, parent) = self.by_age.pop_first()?;
        let waiting = self.behind.get_mut(&parent)?;
        let place = waiting.iter().position(|&(other, _)| other == age)?;
        let (_, block) = waiting.remove(place);
        if waiting.is_empty() {
            self.behind.remove(&parent);
        }
        Some(block)
    }

    pub(super) fn clear(&mut self) {
        self.behind.clear();
        self.by_age.clear();
    }
}
