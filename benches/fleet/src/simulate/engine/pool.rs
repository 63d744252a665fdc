//! The block pool of [`model`](crate::model::BlockPool), with numbers for names and without allocations.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::name::Name;
use crate::model::{BlockId, FreeQueue};

/// Physical blocks in the same order of eviction as in the model; names by number.
#[derive(Debug)]
pub(super) struct Pool {
    blocks: Vec<Block>,
    free: FreeQueue,
    /// The copy that was stored first.
    first: NameMap<BlockId>,
    /// The name whose arrival somebody waits for, and whether it came.
    awaited: Option<Name>,
    /// Whether a block became free, or the awaited name came, since it was last asked.
    eased: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Block {
    /// 0 when the block holds nothing that can be found.
    name: Name,
    users: u32,
    /// The copy that was stored next; 0, the null block, when there is none.
    next: BlockId,
}

impl Pool {
    /// A pool of `blocks` blocks, of which the null block is one.
    pub(super) fn new(blocks: u32) -> Self {
        let mut free = FreeQueue::new(blocks);
        (1..blocks).for_each(|id| free.push_back(id));
        let first = NameMap::with_capacity_and_hasher(blocks as usize, BuildHasherDefault::default());
        Self { blocks: vec![Block::default(); blocks as usize], free, first, awaited: None, eased: false }
    }

    pub(super) const fn free(&self) -> usize {
        self.free.len()
    }

    pub(super) const fn capacity(&self) -> usize {
        self.blocks.len() - 1
    }

    pub(super) const fn used(&self) -> usize {
        self.capacity() - self.free()
    }

    /// The longest leading run of `names` that is held, appended to `found`.
    pub(super) fn longest_run(&self, names: impl Iterator<Item = Name>, found: &mut Vec<BlockId>) {
        found.extend(names.map_while(|name| self.first.get(&name).copied()));
    }

    /// Whether a block with this name is held.
    pub(super) fn holds(&self, name: Name) -> bool {
        self.first.contains_key(&name)
    }

    /// How many of `found` nobody uses.
    pub(super) fn unused_among(&self, found: &[BlockId]) -> usize {
        found.iter().filter(|&&id| self.blocks[id as usize].users == 0).count()
    }

    pub(super) fn touch(&mut self, found: &[BlockId]) {
        for &id in found {
            let block = &mut self.blocks[id as usize];
            if block.users == 0 {
                self.free.remove(id);
            }
            block.users += 1;
        }
    }

    /// Takes a free block, the next to be evicted, and says what is lost by that.
    pub(super) fn take(&mut self) -> (BlockId, Option<Name>) {
        let id = self.free.pop_front().expect("the caller asked how many blocks are free");
        self.blocks[id as usize].users = 1;
        (id, self.forget(id))
    }

    /// Names the content of a block in use.
    pub(super) fn store(&mut self, id: BlockId, name: Name) {
        self.blocks[id as usize].name = name;
        if self.awaited == Some(name) {
            self.eased = true;
        }
        let mut last = *self.first.entry(name).or_insert(id);
        if last == id {
            return;
        }
        while self.blocks[last as usize].next != 0 {
            last = self.blocks[last as usize].next;
        }
        self.blocks[last as usize].next = id;
    }

    /// Gives up a use of these blocks, last block first.
    pub(super) fn release(&mut self, blocks: &[BlockId]) {
        for &id in blocks.iter().rev() {
            let block = &mut self.blocks[id as usize];
            block.users -= 1;
            if block.users == 0 {
                self.eased = true;
                if block.name == 0 { self.free.push_front(id) } else { self.free.push_back(id) }
            }
        }
    }

    /// Who waits for blocks says which name would spare it one, and is told by [`eased`](Self::eased).
    pub(super) const fn await_ease(&mut self, name: Option<Name>) {
        self.awaited = name;
        self.eased = false;
    }

    /// Whether a prompt that did not fit could fit by now: a block became free, or the awaited name came.
    pub(super) const fn eased(&self) -> bool {
        self.eased
    }

    fn forget(&mut self, id: BlockId) -> Option<Name> {
        let Block { name, next, .. } = self.blocks[id as usize];
        if name == 0 {
            return None;
        }
        (self.blocks[id as usize].name, self.blocks[id as usize].next) = (0, 0);
        let first = self.first[&name];
        if first != id {
            let mut before = first;
            while self.blocks[before as usize].next != id {
                before = self.blocks[before as usize].next;
            }
            self.blocks[before as usize].next = next;
        } else if next != 0 {
            self.first.insert(name, next);
        } else {
            self.first.remove(&name);
        }
        Some(name)
    }
}

pub(super) type NameMap<V> = HashMap<Name, V, BuildHasherDefault<AsIs>>;

/// Names are random already.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct AsIs(u64);

impl Hasher for AsIs {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.0 = self.0.rotate_left(8) ^ u64::from(byte));
    }

    fn write_u64(&mut self, name: u64) {
        self.0 = name;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
