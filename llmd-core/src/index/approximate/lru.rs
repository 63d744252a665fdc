//! The last blocks that were used: a set that forgets what was used longest ago.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use super::super::table::Uniform;
use crate::BlockHash;

/// Stands for "no slot" at the ends of the list.
const END: usize = usize::MAX;

/// A set of at most `capacity` blocks. Touching costs O(1): the slots are a list from the newest to the oldest, linked
/// by their numbers.
#[derive(Debug)]
pub(super) struct Lru {
    capacity: usize,
    by_block: HashMap<BlockHash, usize, BuildHasherDefault<Uniform>>,
    slots: Vec<Slot>,
    free: Vec<usize>,
    newest: usize,
    oldest: usize,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    block: BlockHash,
    newer: usize,
    older: usize,
}

impl Lru {
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity, by_block: HashMap::default(), slots: Vec::new(), free: Vec::new(), newest: END, oldest: END }
    }

    pub(super) fn len(&self) -> usize {
        self.by_block.len()
    }

    pub(super) const fn capacity(&self) -> usize {
        self.capacity
    }

    /// Sets the capacity; [`pop`](Self::pop) then gives back what is too much.
    pub(super) const fn set_capacity(&mut self, capacity: usize) {
        self.capacity = capacity;
    }

    /// Makes `block` the newest; says whether it is there for the first time.
    pub(super) fn touch(&mut self, block: BlockHash) -> bool {
        if let Some(&slot) = self.by_block.get(&block) {
            self.unlink(slot);
            self.link(slot);
            return false;
        }
        let new = Slot { block, newer: END, older: END };
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot] = new;
                slot
            }
            None => {
                self.slots.push(new);
                self.slots.len() - 1
            }
        };
        self.by_block.insert(block, slot);
        self.link(slot);
        true
    }

    /// Takes out the oldest block, when there are more than the capacity.
    pub(super) fn pop(&mut self) -> Option<BlockHash> {
        if self.len() <= self.capacity {
            return None;
        }
        let slot = self.oldest;
        let block = self.slots[slot].block;
        self.unlink(slot);
        self.by_block.remove(&block);
        self.free.push(slot);
        Some(block)
    }

    /// Puts a slot at the newest end.
    fn link(&mut self, slot: usize) {
        self.slots[slot].newer = END;
        self.slots[slot].older = self.newest;
        match self.newest {
            END => self.oldest = slot,
            newest => self.slots[newest].newer = slot,
        }
        self.newest = slot;
    }

    fn unlink(&mut self, slot: usize) {
        let Slot { newer, older, .. } = self.slots[slot];
        match newer {
            END => self.newest = older,
            newer => self.slots[newer].older = older,
        }
        match older {
            END => self.oldest = newer,
            older => self.slots[older].newer = newer,
        }
    }
}
