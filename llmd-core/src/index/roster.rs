//! Who the columns are: what a reader needs to know of the workers, replaced whole when one comes, goes or changes its ways.

use std::sync::Arc;

use smallvec::SmallVec;

use super::groups::{Group, Kind};
use super::span::Column;
use crate::{ExternalBlockHash, GroupIdx, Medium, WorkerId};

/// All workers, by id.
#[derive(Debug, Default)]
pub(super) struct Roster {
    pub(super) seats: Vec<Seat>,
    /// The columns that are asked for, as bits.
    pub(super) live: Vec<u64>,
    /// Those of them whose workers' answers are more than the length of one prefix; `None` when there are none.
    pub(super) closely: Option<Vec<u64>>,
    /// The pool's own storage.
    pub(super) pool: Option<Column>,
}

/// Names whose place is not known, with the groups that have them on the GPU. One thread at a time changes it; any number
/// read it.
pub(super) type Parts = papaya::HashMap<ExternalBlockHash, SmallVec<[GroupIdx; 1]>>;

/// What readers know of one worker.
#[derive(Clone, Debug)]
pub(super) struct Seat {
    pub(super) worker: WorkerId,
    /// Its one column, when that says everything about it.
    pub(super) plain: Option<(Column, Medium)>,
    pub(super) groups: SmallVec<[(GroupIdx, Group); 1]>,
    pub(super) columns: SmallVec<[Held; 1]>,
    /// Columns that were given up, whose blocks are told to have been cleared; and when that was.
    pub(super) cleared: SmallVec<[(Column, u64); 1]>,
    /// What can be found by the engine's own names alone, of an engine that names parts of blocks.
    pub(super) parts: Option<Arc<Parts>>,
}

/// What a column is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    pub(super) group: GroupIdx,
    pub(super) medium: Medium,
    pub(super) span: u32,
    pub(super) column: Column,
}

impl Roster {
    /// The roster of these workers; there are `columns` columns in all.
    pub(super) fn new(mut seats: Vec<Seat>, pool: Option<Column>, columns: usize) -> Self {
        seats.sort_unstable_by_key(|seat| seat.worker);
        let mut live = vec![0; columns.div_ceil(64)];
        let mut closely = live.clone();
        let set = |bits: &mut Vec<u64>, column: Column| bits[usize::from(column >> 6)] |= 1 << (column & 63);
        for seat in &mut seats {
            if pool.is_some() {
                seat.plain = None;
            }
            for held in &seat.columns {
                set(&mut live, held.column);
                if seat.plain.is_none() {
                    set(&mut closely, held.column);
                }
            }
        }
        if let Some(pool) = pool {
            set(&mut live, pool);
            set(&mut closely, pool);
        }
        let has_parts = seats.iter().any(|seat| seat.parts.is_some());
        let closely = (has_parts || closely.iter().any(|&bits| bits != 0)).then_some(closely);
        Self { seats, live, closely, pool }
    }

    pub(super) fn seat(&self, worker: WorkerId) -> Option<&Seat> {
        // Ids are dense, so most stand where they would if all were there.
        let guess = self.seats.get(worker.0 as usize).filter(|seat| seat.worker == worker);
        guess.or_else(|| {
            let place = self.seats.binary_search_by_key(&worker, |seat| seat.worker).ok()?;
            Some(&self.seats[place])
        })
    }

    /// The one column of a worker that has no more.
    #[inline]
    pub(super) fn plain(&self, worker: WorkerId) -> Option<(Column, Medium)> {
        self.seat(worker)?.plain
    }

    /// The worker in a seat.
    pub(super) fn worker(&self, seat: usize) -> Option<WorkerId> {
        self.seats.get(seat).map(|seat| seat.worker)
    }
}

impl Seat {
    /// A worker of whom nothing is held.
    pub(super) fn empty(worker: WorkerId) -> Self {
        Self {
            worker,
            plain: None,
            groups: SmallVec::new(),
            columns: SmallVec::new(),
            cleared: SmallVec::new(),
            parts: None,
        }
    }

    /// The groups that all must hold a block.
    pub(super) fn full_groups(&self) -> impl Iterator<Item = GroupIdx> + Clone {
        self.groups.iter().filter(|(_, group)| group.kind == Kind::Full).map(|&(idx, _)| idx)
    }

    /// Finds out whether one column says everything: one full group whose names all cover one block, on one medium.
    pub(super) fn settle(mut self) -> Self {
        self.plain = match (&self.groups[..], &self.columns[..]) {
            ([(idx, group)], [held]) if group.is_plain() && held.group == *idx && held.span == 1 => {
                Some((held.column, held.medium))
            }
            _ => None,
        };
        self
    }
}
