//! A transfer under way, cut into segments; and the peer that it is from, with all that is wanted of it.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use llmd_core::{Error, ErrorKind, Result};
use parking_lot::Mutex;

use super::super::job::{Inbox, worse};
use super::super::target::Target;
use super::super::{Bell, Ending, Note, Transfer};
use super::message::MAX_PERIODS;
use crate::outcome::{Blocks, Outcome};

/// A transfer under way.
#[derive(Debug)]
pub(super) struct Pull {
    transfer: Transfer,
    periods: usize,
    /// How many of them are a segment.
    each: usize,
    /// Nothing more of it is asked for, and nothing more is written.
    is_stopped: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    blocks: Blocks,
    outcome: Outcome,
    why: Option<String>,
    /// The next segment that nobody has asked for.
    next: usize,
    /// Segments that are not over.
    left: usize,
}

/// Some periods of a transfer, which are asked for together.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    pub(super) pull: Arc<Pull>,
    pub(super) periods: Range<usize>,
}

/// How much a segment has, unless one period is more: small transfers are cut so that every connection has some.
const SEGMENT: Range<u64> = 128 << 10..2 << 20;
/// How many times as much its blocks may have.
const MOST_READ: u64 = 16;

impl Pull {
    /// A transfer to be made by so many connections.
    pub(super) fn new(transfer: Transfer, streams: usize) -> Arc<Self> {
        let (read, written) = transfer.plan.period();
        let periods = transfer.grant.blocks().len().div_ceil(read).max(transfer.blocks.len().div_ceil(written));
        let share = transfer.bytes() / (2 * streams.max(1) as u64);
        // The other side may have to look at whole blocks of which little is wanted.
        let whole = transfer.grant.layout().block_bytes().saturating_mul(read as u64);
        let period = transfer.plan.period_bytes().max(whole / MOST_READ).max(1);
        let each = ((share.clamp(SEGMENT.start, SEGMENT.end) / period) as usize).clamp(1, MAX_PERIODS);
        let blocks = Blocks::none(transfer.blocks.len());
        let left = periods.div_ceil(each);
        let state = Mutex::new(State { blocks, outcome: Outcome::Done, why: None, next: 0, left });
        Arc::new(Self { transfer, periods, each, is_stopped: AtomicBool::new(false), state })
    }

    pub(super) fn transfer(&self) -> &Transfer {
        &self.transfer
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::Acquire)
    }

    /// Has nothing more asked for. What was asked for still has to be [over](Segment::end).
    pub(super) fn stop(&self, outcome: Outcome, why: Option<String>, ended: &Ended<'_>) {
        let mut state = self.state.lock();
        if state.left == 0 {
            return;
        }
        self.is_stopped.store(true, Ordering::Release);
        state.left -= self.segments() - state.next;
        state.next = self.segments();
        state.outcome = worse(state.outcome, outcome);
        state.why = state.why.take().or(why);
        self.end_if_over(&mut state, ended);
    }

    fn segments(&self) -> usize {
        self.periods.div_ceil(self.each)
    }

    fn next(self: &Arc<Self>) -> Option<Segment> {
        let mut state = self.state.lock();
        if state.next == self.segments() {
            return None;
        }
        let start = state.next * self.each;
        state.next += 1;
        Some(Segment { pull: Arc::clone(self), periods: start..(start + self.each).min(self.periods) })
    }

    fn end_if_over(&self, state: &mut State, ended: &Ended<'_>) {
        if state.left > 0 {
            return;
        }
        let blocks = std::mem::replace(&mut state.blocks, Blocks::none(0));
        let bytes = self.transfer.plan.period_bytes() * blocks.count() as u64 / self.transfer.plan.period().1 as u64;
        let (id, outcome, why) = (self.transfer.id, state.outcome, state.why.take());
        ended.inbox.push(Ending { id, outcome, blocks, bytes, why }, ended.bell);
    }
}

/// Where ends go.
#[derive(Debug)]
pub(super) struct Ended<'a> {
    pub(super) inbox: &'a Inbox,
    pub(super) bell: &'a Bell,
}

impl Segment {
    /// Its blocks that are read, by their places in the lease.
    pub(super) fn places(&self) -> Range<u32> {
        let transfer = &self.pull.transfer;
        let part = part(&self.periods, transfer.plan.period().0, transfer.grant.blocks().len());
        let first = transfer.grant.places().start;
        first + part.start as u32..first + part.end as u32
    }

    /// Its blocks that are read, as the grant names them.
    pub(super) fn read_blocks(&self) -> &[u32] {
        let transfer = &self.pull.transfer;
        let blocks = transfer.grant.blocks();
        &blocks[part(&self.periods, transfer.plan.period().0, blocks.len())]
    }

    /// Its blocks that are written.
    pub(super) fn written_blocks(&self) -> &[u32] {
        &self.pull.transfer.blocks[self.written()]
    }

    /// Everything of it arrived, but for the blocks of these periods of it.
    pub(super) fn arrived(self, wrong: &[usize], ended: &Ended<'_>) {
        let written = self.pull.transfer.plan.period().1;
        let mut state = self.pull.state.lock();
        self.written().for_each(|place| state.blocks.set(place));
        for period in wrong {
            let first = (self.periods.start + period) * written;
            (first..first + written).for_each(|place| state.blocks.clear(place));
            state.outcome = worse(state.outcome, Outcome::Corrupt);
        }
        state.left -= 1;
        self.pull.end_if_over(&mut state, ended);
    }

    /// It is over, and none of it arrived; nor is anything written any more.
    pub(super) fn end(self, ended: &Ended<'_>) {
        let mut state = self.pull.state.lock();
        state.left -= 1;
        self.pull.end_if_over(&mut state, ended);
    }

    /// It cannot be had, and neither can the rest.
    pub(super) fn fail(self, outcome: Outcome, why: String, ended: &Ended<'_>) {
        self.pull.stop(outcome, Some(why), ended);
        self.end(ended);
    }

    fn written(&self) -> Range<usize> {
        let transfer = &self.pull.transfer;
        part(&self.periods, transfer.plan.period().1, transfer.blocks.len())
    }
}

/// The blocks of these periods among so many.
fn part(periods: &Range<usize>, period: usize, blocks: usize) -> Range<usize> {
    (periods.start * period).min(blocks)..(periods.end * period).min(blocks)
}

/// One that is read from, and all that is wanted of it.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) target: Target,
    wanted: Mutex<Wanted>,
}

#[derive(Debug, Default)]
struct Wanted {
    pulls: Vec<Arc<Pull>>,
    notes: VecDeque<Note>,
}

/// How many transfers, and notes, may wait for one peer.
const MAX_WAITING: usize = 4096;

impl Peer {
    pub(super) fn new(target: Target) -> Arc<Self> {
        Arc::new(Self { target, wanted: Mutex::default() })
    }

    pub(super) fn add(&self, pull: Arc<Pull>) -> Result<()> {
        let mut wanted = self.wanted.lock();
        if wanted.pulls.len() >= MAX_WAITING {
            return Err(self.too_many("transfers"));
        }
        wanted.pulls.push(pull);
        Ok(())
    }

    pub(super) fn tell(&self, note: Note) -> Result<()> {
        let mut wanted = self.wanted.lock();
        if wanted.notes.len() >= MAX_WAITING {
            return Err(self.too_many("notes"));
        }
        wanted.notes.push_back(note);
        Ok(())
    }

    /// What is to be asked for next: of those with the highest priority the first.
    pub(super) fn next(&self) -> Option<Segment> {
        let mut wanted = self.wanted.lock();
        loop {
            let highest = wanted.pulls.iter().map(|pull| pull.transfer.priority).max()?;
            let place = wanted.pulls.iter().position(|pull| pull.transfer.priority == highest)?;
            if let Some(segment) = wanted.pulls[place].next() {
                return Some(segment);
            }
            wanted.pulls.remove(place);
        }
    }

    pub(super) fn next_note(&self) -> Option<Note> {
        self.wanted.lock().notes.pop_front()
    }

    /// Everything that was not asked for yet, now that it is lost.
    pub(super) fn take(&self) -> Vec<Arc<Pull>> {
        std::mem::take(&mut self.wanted.lock().pulls)
    }

    fn too_many(&self, what: &str) -> Error {
        let message = format!("{MAX_WAITING} {what} wait for agent {}, expected less", self.target);
        Error::new(ErrorKind::Exhausted, message)
    }
}
