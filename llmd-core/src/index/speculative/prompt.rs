//! One prompt that is expected.

use std::time::Duration;

use crate::{BlockHash, WorkerId};

/// Every so many blocks a prompt is found by the name of its block.
pub(super) const STRIDE: usize = 16;

/// The blocks of a prompt that a worker is expected to hold, from one place on up to its end.
#[derive(Debug)]
pub(super) struct Prompt {
    pub(super) worker: WorkerId,
    pub(super) deadline: Duration,
    from: usize,
    /// From the last multiple of [`STRIDE`] at or before `from` on.
    blocks: Box<[BlockHash]>,
}

impl Prompt {
    /// What is expected of `chain` from block `from` on; `None` when that is nothing.
    pub(super) fn new(worker: WorkerId, chain: &[BlockHash], from: usize, deadline: Duration) -> Option<Self> {
        (from < chain.len()).then(|| Self { worker, deadline, from, blocks: chain[mark(from)..].into() })
    }

    /// How many names it keeps.
    pub(super) const fn size(&self) -> usize {
        self.blocks.len()
    }

    /// The names by which it is found: one of them is at or before each block that is expected, less than [`STRIDE`] away.
    pub(super) fn marks(&self) -> impl Iterator<Item = BlockHash> + '_ {
        self.blocks.iter().copied().step_by(STRIDE)
    }

    /// How far the first `reached` blocks of `chain` go on in it.
    ///
    /// A block's name covers everything before it, so two chains agree up to one place and nowhere behind it.
    pub(super) fn go_on(&self, chain: &[BlockHash], reached: usize) -> usize {
        let start = mark(self.from);
        let end = chain.len().min(start + self.blocks.len());
        if reached < self.from || reached >= end {
            return reached;
        }
        let same = |place: usize| chain[place] == self.blocks[place - start];
        if same(end - 1) {
            return end;
        }
        let (mut low, mut high) = (reached, end - 1);
        while low < high {
            let middle = low.midpoint(high);
            if same(middle) { low = middle + 1 } else { high = middle }
        }
        low
    }
}

/// The last multiple of [`STRIDE`] at or before `place`.
pub(super) const fn mark(place: usize) -> usize {
    place - place % STRIDE
}
