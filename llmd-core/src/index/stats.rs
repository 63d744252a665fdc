//! How much an index holds, and what it could not take, in numbers for metrics.

use std::ops::{AddAssign, SubAssign};

/// How much an index holds now, and what it could not take since it was made.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct IndexStats {
    /// Workers that are known.
    pub workers: usize,
    /// Different blocks that somebody holds and whose place is known.
    pub blocks: usize,
    /// What all workers hold now.
    pub held: Held,
    /// Blocks of removed copies that are remembered.
    pub remembered: usize,
    /// Blocks dropped since the beginning, because a limit was reached.
    pub dropped: u64,
    /// Blocks since the beginning that came in events which cannot be placed: another block size, a cache group that is
    /// not full attention, or not one name per block.
    pub unplaceable: u64,
    /// Removals since the beginning of blocks that were not held.
    pub unknown_removals: u64,
    /// Bytes that the tables take, about, free places and what is remembered included; 0 where an index does not count
    /// them.
    pub bytes: usize,
    /// Stretches of blocks that follow each other, in which the blocks are kept; 0 where an index has no such.
    pub runs: usize,
    /// Names by which engines can speak of blocks whose place is known; 0 where an index does not count them.
    pub names: usize,
}

/// What is held, a block once for each worker, cache group and medium.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Held {
    /// All of them.
    pub residents: usize,
    /// Those that wait for their parent.
    pub orphans: usize,
    /// Those of which no event has said the tokens in a way that places them.
    pub unplaced: usize,
}

impl AddAssign for Held {
    fn add_assign(&mut self, other: Self) {
        self.residents += other.residents;
        self.orphans += other.orphans;
        self.unplaced += other.unplaced;
    }
}

impl SubAssign for Held {
    fn sub_assign(&mut self, other: Self) {
        self.residents -= other.residents;
        self.orphans -= other.orphans;
        self.unplaced -= other.unplaced;
    }
}
