//! Who holds which block, as readers see it: a lock-free map from a block to its holders.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};

use papaya::{HashMap, HashMapRef, LocalGuard};
use smallvec::SmallVec;

use super::{Overlap, WorkerOverlap};
use crate::{BlockHash, Medium, WorkerId};

/// A set of media, one bit each, by [`Medium::index`].
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Media(u8);

impl Media {
    pub(super) const GPU: Self = Self(1 << Medium::Gpu.index());
    pub(super) const NONE: Self = Self(0);

    pub(super) const fn contains(self, medium: Medium) -> bool {
        self.0 & (1 << medium.index()) != 0
    }
}

/// One worker that holds a block.
#[derive(Clone, Copy)]
struct Holder {
    worker: WorkerId,
    /// Under how many of the engine's names the block lies on each medium. More than one is rare: an adapter that was
    /// loaded from two places has two names for what its name and the tokens make one block.
    names: [u16; Medium::ALL.len()],
}

impl Holder {
    const fn none(worker: WorkerId) -> Self {
        Self { worker, names: [0; Medium::ALL.len()] }
    }

    fn change(&mut self, from: Media, to: Media) {
        for medium in Medium::ALL {
            let names = &mut self.names[medium.index()];
            match (from.contains(medium), to.contains(medium)) {
                (false, true) => *names = names.saturating_add(1),
                (true, false) => *names = names.saturating_sub(1),
                _ => {}
            }
        }
    }

    fn holds_nothing(&self) -> bool {
        self.names.iter().all(|&names| names == 0)
    }

    /// Adds the block at `position` to a prefix that reached that far.
    fn extend(&self, overlap: &mut WorkerOverlap, position: u32) {
        overlap.leading = position + 1;
        for (leading, &names) in overlap.leading_by_medium.iter_mut().zip(&self.names) {
            *leading += u32::from(names > 0 && *leading == position);
        }
    }
}

/// By worker.
type Holders = SmallVec<[Holder; 2]>;

/// Who holds which block. One thread at a time changes it; any number read it, and never wait.
///
/// A block's holders are a value that is replaced whole, so a reader sees each block as it was at one moment, though
/// not all blocks of a chain at the same one.
pub(super) struct Table {
    blocks: HashMap<BlockHash, Holders, BuildHasherDefault<Uniform>>,
}

/// The table, not to be changed, for as long as one answer takes.
struct Pinned<'a>(HashMapRef<'a, BlockHash, Holders, BuildHasherDefault<Uniform>, LocalGuard<'a>>);

impl Table {
    pub(super) fn new() -> Self {
        Self { blocks: HashMap::default() }
    }

    /// How many different blocks are held by anybody.
    pub(super) fn len(&self) -> usize {
        self.blocks.len()
    }

    /// Bytes that it takes, about: an entry is allocated by itself, and has a pointer and a byte in the table.
    pub(super) fn bytes(&self) -> usize {
        self.len() * (size_of::<(BlockHash, Holders)>() + size_of::<usize>() + 1)
    }

    /// One of the names of `block` at `worker` lies on the media `to` and no longer on those of `from`.
    pub(super) fn change(&self, block: BlockHash, worker: WorkerId, from: Media, to: Media) {
        if from == to {
            return;
        }
        let blocks = self.blocks.pin();
        let mut holders = blocks.get(&block).cloned().unwrap_or_default();
        let place = holders.binary_search_by_key(&worker, |holder| holder.worker).unwrap_or_else(|place| {
            holders.insert(place, Holder::none(worker));
            place
        });
        holders[place].change(from, to);
        if holders[place].holds_nothing() {
            holders.remove(place);
        }
        if holders.is_empty() {
            blocks.remove(&block);
        } else {
            blocks.insert(block, holders);
        }
    }

    /// Writes how many of the leading blocks of `chain` each worker holds.
    pub(super) fn walk(&self, chain: &[BlockHash], overlap: &mut Overlap) {
        let table = Pinned(self.blocks.pin());
        overlap.fill(table.holders(chain.first()).iter().map(|holder| WorkerOverlap::none(holder.worker)));
        let mut alive: SmallVec<[usize; 64]> = (0..overlap.listed.len()).collect();
        for (position, block) in (0..).zip(chain) {
            let mut holders = table.holders(Some(block)).iter().peekable();
            alive.retain(|&mut place| {
                let reached = &mut overlap.listed[place];
                while holders.next_if(|holder| holder.worker < reached.worker).is_some() {}
                let holder = holders.next_if(|holder| holder.worker == reached.worker);
                holder.inspect(|holder| holder.extend(reached, position)).is_some()
            });
            if alive.is_empty() {
                break;
            }
        }
    }

    /// Writes how many blocks of `chain` each worker holds before the first that nobody holds.
    pub(super) fn count_all(&self, chain: &[BlockHash], overlap: &mut Overlap) {
        let table = Pinned(self.blocks.pin());
        let mut counts: BTreeMap<WorkerId, WorkerOverlap> = BTreeMap::new();
        for holders in chain.iter().map(|block| table.holders(Some(block))).take_while(|holders| !holders.is_empty()) {
            for holder in holders {
                let count = counts.entry(holder.worker).or_insert_with(|| WorkerOverlap::none(holder.worker));
                count.leading += 1;
                for (on, &names) in count.leading_by_medium.iter_mut().zip(&holder.names) {
                    *on += u32::from(names > 0);
                }
            }
        }
        overlap.fill(counts.into_values());
    }

    /// How many leading blocks of `chain` a worker holds.
    pub(super) fn leading(&self, chain: &[BlockHash], worker: WorkerId) -> usize {
        let table = Pinned(self.blocks.pin());
        chain.iter().take_while(|block| table.holds(worker, block)).count()
    }

    /// How many of `chain` a worker holds, wherever in it.
    pub(super) fn count(&self, chain: &[BlockHash], worker: WorkerId) -> usize {
        let table = Pinned(self.blocks.pin());
        chain.iter().filter(|block| table.holds(worker, block)).count()
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("blocks", &self.blocks.len()).finish()
    }
}

impl Pinned<'_> {
    fn holders(&self, block: Option<&BlockHash>) -> &[Holder] {
        block.and_then(|block| self.0.get(block)).map_or(&[], |holders| holders)
    }

    fn holds(&self, worker: WorkerId, block: &BlockHash) -> bool {
        self.holders(Some(block)).binary_search_by_key(&worker, |holder| holder.worker).is_ok()
    }
}

/// Takes a block's name for its hash: names are the output of a keyed hash already, and nobody can aim at them.
#[derive(Default)]
pub(super) struct Uniform(u64);

impl Hasher for Uniform {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }

    fn write_u64(&mut self, name: u64) {
        self.0 = name;
    }
}
