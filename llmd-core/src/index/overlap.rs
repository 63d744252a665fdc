//! How many leading blocks of a prompt each worker holds.

use std::fmt;
use std::sync::Arc;

use super::roster::Roster;
use super::span::{Levels, Stretches, Walk};
use crate::{Medium, WorkerId};

/// How many leading blocks of a prompt each worker holds. Workers that hold none do not appear.
///
/// To be kept and filled again and again: its buffers are reused. What it holds is a bitmap of workers for each length of
/// prefix that anybody holds, so one worker's answer is a look at a few bits.
#[derive(Clone, Default)]
pub struct Overlap {
    /// Who the columns of the levels are; `None` when `listed` says everything.
    pub(super) roster: Option<Arc<Roster>>,
    pub(super) levels: Levels,
    /// Workers whose answer is more than the level that they stand in, or all of them; by id.
    pub(super) listed: Vec<WorkerOverlap>,
    pub(super) shared: u32,
    /// What the levels say, by column; empty until [`spread`](Overlap::spread).
    pub(super) by_column: Vec<u32>,
    pub(super) scratch: Scratch,
}

/// What a query needs while it runs.
#[derive(Clone, Debug, Default)]
pub(super) struct Scratch {
    pub(super) walk: Walk,
    pub(super) stretches: Stretches,
    pub(super) wanted: Vec<u64>,
}

/// How many leading blocks of a prompt one worker holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct WorkerOverlap {
    /// Who.
    pub worker: WorkerId,
    /// Leading blocks that lie on any of its media or on the pool's storage. Of a hybrid model, what its engine takes from
    /// its GPU.
    pub leading: u32,
    /// Leading blocks that lie on each of its own media, by [`Medium::index`].
    pub leading_by_medium: [u32; Medium::ALL.len()],
    /// Leading blocks that lie on the pool's storage alone: the same for all workers.
    pub shared: u32,
}

impl WorkerOverlap {
    /// An overlap of no block.
    pub const fn none(worker: WorkerId) -> Self {
        Self { worker, leading: 0, leading_by_medium: [0; Medium::ALL.len()], shared: 0 }
    }

    /// Leading blocks that lie on `medium`.
    pub const fn on(&self, medium: Medium) -> u32 {
        self.leading_by_medium[medium.index()]
    }

    /// An overlap of blocks that all lie on one medium, and are the worker's own.
    #[inline]
    pub(super) fn plain(worker: WorkerId, medium: Medium, leading: u32) -> Self {
        // Compared, not indexed: what is written to a place that is found out late is waited for when it is copied.
        let leading_by_medium = Medium::ALL.map(|each| if each == medium { leading } else { 0 });
        Self { worker, leading, leading_by_medium, shared: 0 }
    }
}

impl Overlap {
    /// The overlap of one worker; `None` when it holds nothing of use.
    #[inline]
    pub fn get(&self, worker: WorkerId) -> Option<WorkerOverlap> {
        if let Some(roster) = &self.roster
            && let Some((column, medium)) = roster.plain(worker)
        {
            let leading = self.by_column.get(usize::from(column)).copied();
            let leading = leading.unwrap_or_else(|| self.levels.of(column));
            return (leading > 0).then(|| WorkerOverlap::plain(worker, medium, leading));
        }
        let place = self.listed.binary_search_by_key(&worker, |overlap| overlap.worker).ok()?;
        Some(self.listed[place])
    }

    /// Makes each [`get`](Self::get) one look into a table, for whoever asks about many workers.
    pub fn spread(&mut self) {
        self.levels.spread(&mut self.by_column);
    }

    /// Leading blocks of a worker, on any medium.
    pub fn leading(&self, worker: WorkerId) -> u32 {
        self.get(worker).map_or(0, |overlap| overlap.leading)
    }

    /// Every worker that holds something of use, by id.
    pub fn iter(&self) -> Iter<'_> {
        match &self.roster {
            Some(_) => Iter { overlap: self, next: 0, seats: true },
            None => Iter { overlap: self, next: 0, seats: false },
        }
    }

    /// How many workers hold something of use.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether nobody holds anything of use.
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// Leading blocks that lie on the storage which the pool shares, whoever holds what besides.
    pub const fn shared(&self) -> u32 {
        self.shared
    }

    /// Says how many leading blocks lie on the storage which the pool shares.
    pub const fn set_shared(&mut self, shared: u32) {
        self.shared = shared;
    }

    /// Replaces the whole answer, with nothing shared; the buffer is kept.
    pub fn fill(&mut self, workers: impl IntoIterator<Item = WorkerOverlap>) {
        self.roster = None;
        self.levels.clear();
        self.by_column.clear();
        self.shared = 0;
        self.listed.clear();
        self.listed.extend(workers);
        self.listed.sort_unstable_by_key(|overlap| overlap.worker);
    }
}

/// The workers of an [`Overlap`], by id.
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    overlap: &'a Overlap,
    next: usize,
    /// Whether it goes by the roster's seats, or by the list.
    seats: bool,
}

impl Iterator for Iter<'_> {
    type Item = WorkerOverlap;

    fn next(&mut self) -> Option<WorkerOverlap> {
        if !self.seats {
            let overlap = self.overlap.listed.get(self.next).copied();
            self.next += 1;
            return overlap;
        }
        let roster = self.overlap.roster.as_ref()?;
        loop {
            let worker = roster.worker(self.next)?;
            self.next += 1;
            if let Some(overlap) = self.overlap.get(worker) {
                return Some(overlap);
            }
        }
    }
}

impl<'a> IntoIterator for &'a Overlap {
    type Item = WorkerOverlap;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// The same workers with the same answers, however they are kept.
impl PartialEq for Overlap {
    fn eq(&self, other: &Self) -> bool {
        self.shared == other.shared && self.iter().eq(other.iter())
    }
}

impl Eq for Overlap {}

impl fmt::Debug for Overlap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let workers: Vec<_> = self.iter().collect();
        f.debug_struct("Overlap").field("workers", &workers).field("shared", &self.shared).finish()
    }
}
