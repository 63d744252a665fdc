//! The sums of blocks that are in a device: it copies them to the host, where they are summed.

use std::fmt;
use std::sync::Arc;

use llmd_core::Result;
use parking_lot::Mutex;

use super::copiers::{Step, Work};
use crate::copy::{Span, places, sum_of};
use crate::device::{DeviceCopy, Direction, Moving};
use crate::pool::{Moved, Pool, Ticket};

/// Blocks of which the sums are to be taken, as many at a time as a buffer holds.
pub(super) struct StagedSealing {
    pool: Pool,
    blocks: Arc<[u32]>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The next block that was not begun.
    next: usize,
    flying: Option<Flight>,
    is_over: bool,
}

struct Flight {
    moving: Moving,
    blocks: Vec<(u32, Ticket)>,
}

impl StagedSealing {
    pub(super) fn new(pool: &Pool, blocks: Arc<[u32]>) -> Self {
        Self { pool: pool.clone(), blocks, state: Mutex::default() }
    }

    /// Begins with as many as have room; `None` while all buffers are in use.
    fn begin(&self, moved: &Moved, state: &mut State) -> Option<()> {
        let buffer = match moved.engine.buffer(moved.packed.bytes()) {
            Ok(buffer) => buffer?,
            Err(_) => {
                // The device is lost: whoever reads waits for these sums in vain, as for the blocks.
                state.next = self.blocks.len();
                return Some(());
            }
        };
        let mut begun = Vec::new();
        while begun.len() < moved.packed.periods()
            && let Some(&block) = self.blocks.get(state.next)
        {
            state.next += 1;
            begun.extend(self.pool.seals().begin(block).map(|ticket| (block, ticket)));
        }
        if begun.is_empty() {
            return Some(());
        }
        let blocks: Vec<u32> = begun.iter().map(|&(block, _)| block).collect();
        let moving = moved.packed.gather.copies(&blocks, &places(blocks.len())).and_then(|copies| {
            let copies = copies.map(|copy| DeviceCopy { device: copy.from, host: copy.to, len: copy.len });
            let memory = self.pool.region().device().map(|there| there.memory());
            memory.map(|memory| moved.engine.begin(Direction::ToHost, memory, buffer, copies)).transpose()
        });
        match moving {
            Ok(Some(moving)) => state.flying = Some(Flight { moving, blocks: begun }),
            Ok(None) | Err(_) => self.give_up(&begun),
        }
        Some(())
    }

    /// Takes the sums of what has come. `false` while it has not.
    fn land(&self, moved: &Moved, state: &mut State) -> bool {
        let Some(Flight { mut moving, blocks }) = state.flying.take() else { return true };
        let sums: Result<Vec<u64>> = match moving.landed() {
            Ok(None) => {
                state.flying = Some(Flight { moving, blocks });
                return false;
            }
            Ok(Some(buffer)) => {
                let (address, len) = buffer.span();
                (0..blocks.len()).map(|place| sum_of(&moved.packed.own, &Span(address, len), place as u32)).collect()
            }
            Err(error) => Err(error),
        };
        match sums {
            Ok(sums) => blocks.iter().zip(sums).for_each(|(&(_, ticket), sum)| self.pool.seals().seal(ticket, sum)),
            Err(_) => self.give_up(&blocks),
        }
        true
    }

    /// Blocks that cannot be summed are not sealed; when they are lent again it is tried again.
    fn give_up(&self, blocks: &[(u32, Ticket)]) {
        blocks.iter().for_each(|&(_, ticket)| self.pool.seals().give_up(ticket));
    }
}

impl Work for StagedSealing {
    fn step(&self) -> Step {
        // Another thread is at it.
        let Some(mut state) = self.state.try_lock() else { return Step::Taken };
        let Some(moved) = self.pool.moved().filter(|_| !state.is_over) else { return Step::Taken };
        if !self.land(moved, &mut state) {
            return Step::Later;
        }
        if state.next >= self.blocks.len() {
            state.is_over = true;
            return Step::Taken;
        }
        if self.begin(moved, &mut state).is_some() { Step::More } else { Step::Later }
    }
}

impl fmt::Debug for StagedSealing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StagedSealing").field("blocks", &self.blocks.len()).finish_non_exhaustive()
    }
}
