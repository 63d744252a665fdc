//! The last blocks that were used: a set that forgets what was used longest ago.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::time::Duration;

use super::super::table::Uniform;
use crate::BlockHash;

/// Stands for "no slot" at the ends of the list.
const END: u32 = u32::MAX;

/// A set of at most `capacity` blocks. Touching costs O(1): the slots are a list from the newest to the oldest, linked
/// by their numbers.
#[derive(Debug)]
pub(super) struct Lru {
    capacity: usize,
    by_block: HashMap<BlockHash, u32, BuildHasherDefault<Uniform>>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    newest: u32,
    oldest: u32,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    block: BlockHash,
    newer: u32,
    older: u32,
    /// When it was used, in nanoseconds.
    used: u64,
}

impl Lru {
    /// An empty one. More than 2^32 - 2 blocks are never kept.
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            capacity: most(capacity),
            by_block: HashMap::default(),
            slots: Vec::new(),
            free: Vec::new(),
            newest: END,
            oldest: END,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.by_block.len()
    }

    pub(super) const fn capacity(&self) -> usize {
        self.capacity
    }

    /// Sets the capacity; [`pop`](Self::pop) then gives back what is too much.
    pub(super) fn set_capacity(&mut self, capacity: usize) {
        self.capacity = most(capacity);
    }

    /// Bytes that it takes, about.
    pub(super) fn bytes(&self) -> usize {
        // A slot of a hash map of the standard library has a byte beside it.
        let entry = size_of::<(BlockHash, u32)>() + 1;
        self.slots.capacity() * size_of::<Slot>()
            + self.free.capacity() * size_of::<u32>()
            + self.by_block.capacity() * entry
    }

    /// Makes `block` the newest, used at `now`; says whether it is there for the first time.
    pub(super) fn touch(&mut self, block: BlockHash, now: Duration) -> bool {
        let used = nanos(now);
        if let Some(&slot) = self.by_block.get(&block) {
            self.unlink(slot);
            self.slots[slot as usize].used = used;
            self.link(slot);
            return false;
        }
        let new = Slot { block, newer: END, older: END, used };
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot as usize] = new;
                slot
            }
            None => {
                self.slots.push(new);
                (self.slots.len() - 1) as u32
            }
        };
        self.by_block.insert(block, slot);
        self.link(slot);
        true
    }

    /// Takes out the oldest block, when there are more than the capacity.
    pub(super) fn pop(&mut self) -> Option<BlockHash> {
        if self.len() <= self.capacity { None } else { self.take_oldest() }
    }

    /// Takes out the oldest block, when it was last used at `then` or before.
    pub(super) fn pop_used_by(&mut self, then: Duration) -> Option<BlockHash> {
        let oldest = self.slots.get(self.oldest as usize)?;
        if oldest.used > nanos(then) { None } else { self.take_oldest() }
    }

    fn take_oldest(&mut self) -> Option<BlockHash> {
        let slot = self.oldest;
        let block = self.slots.get(slot as usize)?.block;
        self.unlink(slot);
        self.by_block.remove(&block);
        self.free.push(slot);
        Some(block)
    }

    /// Puts a slot at the newest end.
    fn link(&mut self, slot: u32) {
        self.slots[slot as usize].newer = END;
        self.slots[slot as usize].older = self.newest;
        match self.newest {
            END => self.oldest = slot,
            newest => self.slots[newest as usize].newer = slot,
        }
        self.newest = slot;
    }

    fn unlink(&mut self, slot: u32) {
        let Slot { newer, older, .. } = self.slots[slot as usize];
        match newer {
            END => self.newest = older,
            newer => self.slots[newer as usize].older = older,
        }
        match older {
            END => self.oldest = newer,
            older => self.slots[older as usize].newer = newer,
        }
    }
}

fn most(capacity: usize) -> usize {
    capacity.min(END as usize - 1)
}

/// As nanoseconds; whatever does not fit is for ever.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
