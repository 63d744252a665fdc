//! What one worker holds: in columns of the index where its place is known, by name alone where it is not.

mod clear;
mod covers;
mod kept;
mod loose;
mod place;
mod pool;
mod remember;
mod remove;
mod store;

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::Mutex;
use smallvec::SmallVec;

use self::covers::Covers;
use self::loose::Loose;
pub(super) use self::remove::at_once;
use super::super::groups::{Group, Kind, alike, has_window, hits_parts};
use super::super::roster::{Held as HeldColumn, Seat};
use super::super::span::{Column, Dropped, Namer, Place, Span};
use super::super::{Held, Resident};
use super::context::Context;
use super::interned::Interned;
use super::memory::Memory;
use super::orphans::Orphans;
use crate::state::WorkerState;
use crate::{ExternalBlockHash, GroupIdx, Medium, WorkerId};

/// How many cache groups a worker can have; blocks of further ones are not placed.
const MAX_GROUPS: usize = 64;

/// How many columns a worker can have, so that none takes those of all: some for each group.
const MAX_COLUMNS: usize = 4 * MAX_GROUPS;

/// What one worker holds.
///
/// Names are a worker's own: engines may seed their hashes by chance. A name that is gone stays for as long as it is
/// remembered, so that what is said of it later still finds its place.
#[derive(Debug)]
pub(super) struct Worker {
    id: WorkerId,
    pub(super) state: WorkerState,
    namer: Namer,
    columns: SmallVec<[Kept; 1]>,
    groups: SmallVec<[(GroupIdx, Group); 1]>,
    loose: Loose,
    orphans: Orphans,
    memory: Arc<Mutex<Memory>>,
    /// Names of blocks on the pool's storage whose place is not known.
    waiting: HashSet<ExternalBlockHash>,
    /// Columns of what was cleared, as long as they are not swept; and when that was.
    cleared: SmallVec<[(Column, u64); 1]>,
    residents: usize,
    unplaceable: u64,
    /// Tokens per block of the last event whose size has no place in the index.
    other_size: Option<u32>,
    incomplete: bool,
    /// Names that were dropped since there were too many blocks in all, and that the engine may still remove.
    dropped: usize,
    covers: Covers,
    /// Whether names were forgotten, of which one may be the parent that an orphan waits for.
    forgot: bool,
    spoke_of_other_media: bool,
    /// Whether a block came by two names.
    has_two_names: bool,
    /// As of the last [`recount`](Worker::recount).
    pub(super) counted: Counted,
    /// What readers were told of it last: state, blocks without a place, blocks of another size.
    pub(super) shown: Option<(WorkerState, usize, Option<u32>)>,
    /// Whether readers have to be told what its columns and groups are.
    pub(super) is_news: bool,
}

/// How much there is of a worker.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counted {
    pub(super) held: Held,
    /// Blocks that are remembered and gone.
    pub(super) remembered: usize,
    /// What it takes besides what is in the index, about.
    pub(super) bytes: usize,
}

/// A column of the worker.
#[derive(Clone, Copy, Debug)]
struct Kept {
    group: GroupIdx,
    medium: Medium,
    /// How many blocks each of its names covers; 1 of groups that are not full, where only the last one counts.
    span: u32,
    column: Column,
    /// Names, and copies under them.
    names: usize,
    copies: usize,
    /// The block that went last: engines evict a prompt from its end.
    went: Option<Place>,
}

impl Worker {
    pub(super) fn new(id: WorkerId) -> Self {
        Self {
            id,
            state: WorkerState::default(),
            namer: Namer::default(),
            columns: SmallVec::new(),
            groups: SmallVec::new(),
            loose: Loose::default(),
            orphans: Orphans::default(),
            memory: Arc::default(),
            waiting: HashSet::new(),
            cleared: SmallVec::new(),
            residents: 0,
            unplaceable: 0,
            other_size: None,
            incomplete: false,
            dropped: 0,
            covers: Covers::default(),
            forgot: false,
            spoke_of_other_media: false,
            has_two_names: false,
            counted: Counted::default(),
            shown: None,
            is_news: true,
        }
    }

    /// Counts what there is of it.
    pub(super) fn recount(&mut self) -> Counted {
        let held = Held { residents: self.residents, orphans: self.loose.orphans(), unplaced: self.unplaced() };
        let (remembered, bytes) = {
            let memory = self.memory.lock();
            (memory.len(), memory.bytes())
        };
        self.counted = Counted { held, remembered, bytes: bytes + self.bytes_beside_memory() };
        self.counted
    }

    fn bytes_beside_memory(&self) -> usize {
        let waiting = self.waiting.capacity() * (size_of::<ExternalBlockHash>() + 1);
        self.loose.bytes() + self.orphans.bytes() + self.covers.bytes() + waiting
    }

    /// How many blocks came in events that cannot be placed.
    pub(super) const fn unplaceable(&self) -> u64 {
        self.unplaceable
    }

    pub(super) const fn other_size(&self) -> Option<u32> {
        self.other_size
    }

    pub(super) fn memory(&self) -> Arc<Mutex<Memory>> {
        Arc::clone(&self.memory)
    }

    pub(super) const fn namer(&self) -> &Namer {
        &self.namer
    }

    /// How many blocks stand nobody knows where, each once per group and medium. Those of groups that are not full are not
    /// counted: what the full groups do not name, no hit can reach.
    pub(super) fn unplaced(&self) -> usize {
        self.loose.unplaced(|group| self.is_sparse(group)) + self.waiting.len()
    }

    /// Whether every answer is right, once everything was heard.
    pub(super) fn is_complete(&self) -> bool {
        let is_understood = match alike(&self.groups) {
            Some(_) => !(self.has_two_names && self.groups.len() > 1),
            None if self.spoke_of_other_media => false,
            // Parts of blocks can be hit, and their parents are parts that may have no name of their own.
            None if hits_parts(&self.groups) => !has_window(&self.groups) && self.loose.orphans() == 0,
            None => true,
        };
        let lost = self.forgot && self.loose.orphans() > 0;
        is_understood && !self.incomplete && !lost && self.unplaced() == 0
    }

    fn is_full(&self, group: GroupIdx) -> bool {
        self.groups.iter().any(|(idx, known)| *idx == group && known.kind == Kind::Full)
    }

    fn is_sparse(&self, group: GroupIdx) -> bool {
        self.groups.iter().any(|(idx, known)| *idx == group && known.kind != Kind::Full)
    }

    /// What readers need to know.
    pub(super) fn seat(&mut self) -> Seat {
        let parts = hits_parts(&self.groups).then(|| self.loose.shown());
        let columns = self.columns.iter().map(|&Kept { group, medium, span, column, .. }| HeldColumn {
            group,
            medium,
            span,
            column,
        });
        Seat {
            groups: self.groups.clone(),
            columns: columns.collect(),
            cleared: self.cleared.clone(),
            parts,
            ..Seat::empty(self.id)
        }
        .settle()
    }

    pub(super) const fn id(&self) -> WorkerId {
        self.id
    }

    pub(super) const fn is_incomplete(&self) -> bool {
        self.incomplete
    }

    /// How many blocks a name covers in one of its columns; `None` when it does not have it.
    pub(super) fn span_of_column(&self, column: Column) -> Option<u32> {
        self.columns.iter().find(|kept| kept.column == column).map(|kept| kept.span)
    }

    /// The index dropped something that the worker holds.
    pub(super) fn lose(&mut self, column: Column, dropped: Dropped) {
        if let Some(kept) = self.columns.iter_mut().find(|kept| kept.column == column) {
            kept.names -= dropped.names;
            kept.copies -= dropped.copies;
            self.residents -= dropped.names;
        }
        self.dropped += dropped.names;
        self.incomplete = true;
    }

    /// Something is missing of what it holds, or of what it shares.
    pub(super) const fn is_missing_something(&mut self) {
        self.incomplete = true;
    }

    /// Every block with its copies, in no order.
    pub(super) fn residents(&self, span: &Span, interned: &Interned) -> Vec<Resident> {
        let mut residents = self.loose.residents();
        for kept in &self.columns {
            for place in span.residents(kept.column) {
                let names = span.names_of(&self.namer, kept.column, place).into_iter().filter(|&(name, _)| name != 0);
                residents.extend(names.map(|(name, copies)| Resident {
                    group: kept.group,
                    medium: kept.medium,
                    block: interned.name(name),
                    copies,
                }));
            }
        }
        // A name that came with blocks of different sizes is in several columns; and beside them, without a place.
        residents.sort_unstable();
        residents.dedup_by(|other, one| {
            let is_same = (one.group, one.medium, &one.block) == (other.group, other.medium, &other.block);
            one.copies += if is_same { other.copies } else { 0 };
            is_same
        });
        residents
    }

    /// The column of a group on a medium whose names cover so many blocks; a new one, when there is none yet. `None` when
    /// there can be no more.
    fn column(&mut self, group: GroupIdx, medium: Medium, span: u32, cx: &mut Context<'_>) -> Option<usize> {
        let is_it = |kept: &Kept| kept.group == group && kept.medium == medium && kept.span == span;
        if let Some(place) = self.columns.iter().position(is_it) {
            return Some(place);
        }
        if self.columns.len() == MAX_COLUMNS {
            return None;
        }
        let column = cx.span.column(self.id.0, span > 1)?;
        self.columns.push(Kept { group, medium, span, column, names: 0, copies: 0, went: None });
        self.namer.columns.push(column);
        self.is_news = true;
        Some(self.columns.len() - 1)
    }
}
