//! vLLM's block pool: which block holds what, who uses it, and which goes next.

use std::collections::HashMap;

use smallvec::SmallVec;

use super::event::{CacheEvent, StoredBlocks};
use super::free_queue::FreeQueue;
use super::name::{BlockId, Digest};

#[cfg(test)]
pub(super) mod tests;

/// Physical blocks with their contents' names, reference counts, and the order of eviction.
///
/// A block that nobody uses keeps its name until it is taken for something else: it can still be found. Taking happens in
/// the order in which blocks were released, and [`release`](Self::release) releases the tail of a chain first. Several
/// blocks may hold the same content, since a request never swaps a block it has for an equal one; each is a *copy*.
#[derive(Debug)]
pub struct BlockPool {
    blocks: Vec<Block>,
    free: FreeQueue,
    copies: HashMap<Digest, SmallVec<[BlockId; 1]>>,
    events: Vec<CacheEvent>,
    /// What was filled with what, where somebody wants to know.
    filled: Option<Vec<(BlockId, Digest)>>,
}

#[derive(Clone, Debug, Default)]
struct Block {
    hash: Option<Digest>,
    users: u32,
}

impl BlockPool {
    /// A pool of `blocks` blocks, of which the null block is one.
    pub fn new(blocks: u32) -> Self {
        let mut free = FreeQueue::new(blocks);
        (1..blocks).for_each(|id| free.push_back(id));
        let (copies, events, filled) = (HashMap::new(), Vec::new(), None);
        Self { blocks: vec![Block::default(); blocks as usize], free, copies, events, filled }
    }

    /// How many blocks nobody uses, those with findable content included.
    pub const fn free(&self) -> usize {
        self.free.len()
    }

    /// How many blocks can be used at all.
    pub const fn capacity(&self) -> usize {
        self.blocks.len() - 1
    }

    /// How many blocks somebody uses.
    pub const fn used(&self) -> usize {
        self.capacity() - self.free()
    }

    /// The blocks that hold the longest leading run of `chain`: of equal copies, the one stored first.
    pub fn longest_run(&self, chain: &[Digest]) -> Vec<BlockId> {
        chain.iter().map_while(|hash| self.copies.get(hash)?.first().copied()).collect()
    }

    /// How many of `found` are free, and so would not be any more once they are used.
    pub fn unused_among(&self, found: &[BlockId]) -> usize {
        found.iter().filter(|&&id| self.blocks[id as usize].users == 0).count()
    }

    /// Uses blocks that were found.
    pub fn touch(&mut self, found: &[BlockId]) {
        for &id in found {
            let block = &mut self.blocks[id as usize];
            if block.users == 0 {
                self.free.remove(id);
            }
            block.users += 1;
        }
    }

    /// Takes `count` free blocks, next to be evicted first, and appends them to `taken`. What they held is gone.
    ///
    /// # Panics
    ///
    /// When fewer are [`free`](Self::free).
    pub fn take(&mut self, count: usize, taken: &mut Vec<BlockId>) {
        for _ in 0..count {
            let id = self.free.pop_front().expect("the caller asked how many blocks are free");
            self.blocks[id as usize].users = 1;
            self.forget(id);
            taken.push(id);
        }
    }

    /// Names the contents of `blocks`, one block per hash in `stored`, and announces them.
    pub fn store(&mut self, blocks: &[BlockId], stored: StoredBlocks) {
        if let Some(filled) = &mut self.filled {
            filled.extend(blocks.iter().copied().zip(stored.hashes.iter().copied()));
        }
        self.store_brought(blocks, stored);
    }

    /// The same, of contents that came from elsewhere.
    pub fn store_brought(&mut self, blocks: &[BlockId], stored: StoredBlocks) {
        for (&id, &hash) in blocks.iter().zip(&stored.hashes) {
            self.blocks[id as usize].hash = Some(hash);
            self.copies.entry(hash).or_default().push(id);
        }
        self.events.push(CacheEvent::Stored(stored));
    }

    /// Gives up a request's use of its blocks, last block first: the tail of a chain is evicted before its head. A block
    /// without a name is no loss to anybody and is taken before all others.
    pub fn release(&mut self, chain: &[BlockId]) {
        for &id in chain.iter().rev() {
            let block = &mut self.blocks[id as usize];
            block.users -= 1;
            match (block.users, block.hash) {
                (0, None) => self.free.push_front(id),
                (0, Some(_)) => self.free.push_back(id),
                _ => {}
            }
        }
    }

    /// Forgets all contents, if nobody uses any block. Says whether it did.
    pub fn clear(&mut self) -> bool {
        if self.used() > 0 {
            return false;
        }
        self.copies.clear();
        self.blocks.iter_mut().for_each(|block| block.hash = None);
        self.events.push(CacheEvent::Cleared);
        true
    }

    /// Everything that can be found, in no order: a name, and how many copies there are.
    pub fn cached(&self) -> impl Iterator<Item = (&Digest, usize)> {
        self.copies.iter().map(|(hash, copies)| (hash, copies.len()))
    }

    /// From now on it is remembered which blocks were filled with what.
    pub fn record_filled(&mut self) {
        self.filled.get_or_insert_default();
    }

    /// Which blocks were filled since the last call, in order.
    pub fn take_filled(&mut self) -> Vec<(BlockId, Digest)> {
        self.filled.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// What happened since the last call.
    pub fn take_events(&mut self) -> Vec<CacheEvent> {
        std::mem::take(&mut self.events)
    }

    /// How many events wait to be taken.
    pub const fn pending_events(&self) -> usize {
        self.events.len()
    }

    fn forget(&mut self, id: BlockId) {
        let Some(hash) = self.blocks[id as usize].hash.take() else { return };
        let copies = self.copies.get_mut(&hash).expect("a block with a name can be found by it");
        copies.retain(|copy| *copy != id);
        if copies.is_empty() {
            self.copies.remove(&hash);
        }
        self.events.push(CacheEvent::Removed(hash));
    }
}
