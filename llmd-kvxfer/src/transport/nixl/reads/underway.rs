//! A transfer under way: which bytes its parts are, and whether they may be relied on.

use std::ops::Range;
use std::sync::Arc;

use llmd_core::Result;

use super::super::peer::Theirs;
use super::super::slot::{Parts, Slot};
use super::chunk::Chunk;
use crate::copy::Expected;
use crate::lease::LeaseId;
use crate::outcome::{Blocks, Outcome};
use crate::plan::Copy;
use crate::pool::standing;
use crate::transport::Transfer;
use crate::transport::job::{Memory, Source, Standing};
use crate::transport::target::Target;

#[derive(Debug)]
pub(super) struct Underway {
    pub(super) from: Target,
    pub(super) transfer: Transfer,
    pub(super) theirs: Arc<Theirs>,
    pub(super) parts: Arc<Parts>,
    pub(super) is_checked: bool,
    /// How many periods it has, and the first that was not begun.
    pub(super) periods: usize,
    pub(super) next: usize,
    /// How many chunks of it there are.
    pub(super) live: usize,
    pub(super) is_stopped: bool,
    pub(super) blocks: Blocks,
    pub(super) bytes: u64,
    pub(super) outcome: Outcome,
    pub(super) why: Option<String>,
}

impl Underway {
    /// Which pool of whose it reads.
    pub(super) fn of(&self) -> (Target, u32) {
        (self.from, self.theirs.pool)
    }

    /// The blocks of these periods that are read.
    fn read(&self, periods: &Range<usize>) -> Range<usize> {
        let (read, there) = (self.parts.plan.period().0, self.transfer.grant.blocks().len());
        (periods.start * read).min(there)..(periods.end * read).min(there)
    }

    /// What says whether the blocks of these periods may be relied on: the lease's words, and each block's seal.
    pub(super) fn words(&self, periods: &Range<usize>) -> Vec<Copy> {
        let blocks = &self.transfer.grant.blocks()[self.read(periods)];
        let lease = self.theirs.on_board(self.transfer.grant.lease()).into_iter();
        let seals = blocks.iter().filter(|_| self.is_checked).map(|&block| self.theirs.seal(block));
        let places = lease.chain(seals).zip(0..);
        places.map(|(from, place)| Copy { from, to: place * Slot::WORDS, len: Slot::WORDS }).collect()
    }

    /// Where the lease stands by what was read, and the seals.
    pub(super) fn standing(&self, chunk: &Chunk) -> Result<Vec<[u64; 2]>, Outcome> {
        let grant = &self.transfer.grant;
        let count = if self.is_checked { self.read(&chunk.periods).len() } else { 0 };
        let mut words = chunk.slot.words(1 + count).map_err(|_| Outcome::Io)?;
        let seals = words.split_off(1);
        standing(words[0], grant.lease(), grant.tag())?;
        Ok(seals)
    }

    /// The bytes of the blocks of these periods, one block after the other.
    pub(super) fn data(&self, periods: &Range<usize>) -> Vec<Copy> {
        let blocks = &self.transfer.grant.blocks()[self.read(periods)];
        let mut copies: Vec<Copy> = Vec::with_capacity(blocks.len() * self.theirs.runs);
        let mut to = Slot::CONTENT;
        for &block in blocks {
            // The grant's blocks were held against its layout, which is that of the pool.
            for run in self.theirs.own.copies(&[block], &[block]).into_iter().flatten() {
                let from = self.theirs.address() + run.from;
                match copies.last_mut() {
                    Some(last) if last.from + last.len == from => last.len += run.len,
                    _ => copies.push(Copy { from, to, len: run.len }),
                }
                to += run.len;
            }
        }
        copies
    }

    /// What is left to do for a chunk whose bytes are in its slot: a copy from there.
    pub(super) fn part(&self, number: u64, chunk: &Chunk, sums: Vec<u64>) -> Result<(Transfer, Source)> {
        let read = self.read(&chunk.periods);
        let (written, there) = (self.parts.plan.period().1, self.transfer.blocks.len());
        let to = (chunk.periods.start * written).min(there)..(chunk.periods.end * written).min(there);
        let count = read.len();
        let transfer = Transfer {
            id: number,
            grant: self.transfer.grant.part(read)?,
            blocks: self.transfer.blocks[to].into(),
            plan: Arc::clone(&self.parts.plan),
            ..self.transfer.clone()
        };
        let check = self.is_checked.then(|| (Arc::clone(&self.parts.own), Arc::new(Sums(sums)) as _));
        let source = Source {
            memory: Memory::Mapped(Arc::new(chunk.slot.region().clone())),
            way: None,
            blocks: (0..count as u32).collect(),
            places: 0..count,
            check,
            standing: Arc::new(Read),
        };
        Ok((transfer, source))
    }
}

/// What the blocks of a slot add up to.
#[derive(Debug)]
struct Sums(Vec<u64>);

impl Expected for Sums {
    fn sum(&self, block: u32) -> Option<u64> {
        self.0.get(block as usize).copied()
    }
}

/// What was read while the lease held stays as it was.
#[derive(Debug)]
struct Read;

impl Standing for Read {
    fn holds(&self, _lease: LeaseId) -> bool {
        true
    }
}

/// What is worse stands.
pub(super) fn worse(one: Outcome, other: Outcome) -> Outcome {
    let rank = |outcome: Outcome| match outcome {
        Outcome::Done => 0,
        Outcome::Corrupt => 1,
        Outcome::Timeout => 2,
        Outcome::Cancelled => 3,
        Outcome::Stale => 4,
        Outcome::Io | Outcome::PeerLost | Outcome::Denied => 5,
    };
    if rank(other) > rank(one) { other } else { one }
}
