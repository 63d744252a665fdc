//! A part of a transfer, from when NIXL is asked for it until it is copied to where it goes.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use llmd_core::{ErrorKind, Result};

use super::super::lent::name_of;
use super::super::slot::Slot;
use super::Reads;
use super::underway::worse;
use crate::nixl::{self, MemoryKind, Remote};
use crate::outcome::Outcome;
use crate::plan::Copy;
use crate::pool::sealed_since;
use crate::transport::job::{self, Job};
use crate::transport::target::Target;
use crate::transport::{Ending, TransferId, outcome_of};

/// Some periods of a transfer, on their way.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) transfer: TransferId,
    pub(super) periods: Range<usize>,
    pub(super) slot: Slot,
    pub(super) stage: Stage,
    /// The seals of its blocks as they were read last.
    pub(super) seals: Vec<[u64; 2]>,
    pub(super) pause: Duration,
}

/// What is done for a chunk.
#[derive(Debug)]
pub(super) enum Stage {
    /// The lease and the seals are read, before.
    Before(nixl::TransferId),
    Data(nixl::TransferId),
    /// The lease and the seals are read, after.
    After(nixl::TransferId),
    /// A block is not sealed yet: they are read again at this time.
    Again(Duration),
    Copying(Arc<dyn Job>),
}

/// What NIXL reads: which pool of whose, since when, and what for.
#[derive(Debug)]
pub(super) struct InFlight {
    pub(super) of: (Target, u32),
    pub(super) since: Duration,
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    Chunk(u64),
    /// Nobody wants to know; the slot may still be written to.
    Nothing(Slot),
}

/// How long it is waited at first for a block to be sealed, and at most.
const SHORTEST: Duration = Duration::from_micros(50);
const LONGEST: Duration = Duration::from_millis(5);

impl Reads {
    /// Begins parts while there are slots.
    pub(super) fn start(&mut self, now: Duration) {
        let mut place = 0;
        while let Some(&id) = self.order.get(place) {
            let Some(there) = self.underway.get(&id).filter(|there| there.next < there.periods && !there.is_stopped)
            else {
                self.order.remove(place);
                continue;
            };
            if self.known.is_held(there.from.agent) {
                place += 1;
                continue;
            }
            let Some(slot) = self.slots.take() else { return };
            self.start_chunk(now, id, slot);
        }
    }

    fn start_chunk(&mut self, now: Duration, id: TransferId, slot: Slot) {
        let Some(there) = self.underway.get_mut(&id) else { return self.slots.give_back(slot) };
        let periods = there.next..(there.next + there.parts.periods).min(there.periods);
        there.next = periods.end;
        there.live += 1;
        let words = there.words(&periods);
        self.next_chunk += 1;
        let chunk = self.next_chunk;
        if let Some((read, slot)) = self.post(now, id, chunk, slot, &words) {
            let stage = Stage::Before(read);
            let chunk_there = Chunk { transfer: id, periods, slot, stage, seals: Vec::new(), pause: SHORTEST };
            self.chunks.insert(chunk, chunk_there);
        }
    }

    /// Has NIXL read into a slot. When it does not, the chunk is none any more, and its transfer was told why.
    fn post(
        &mut self,
        now: Duration,
        id: TransferId,
        chunk: u64,
        slot: Slot,
        copies: &[Copy],
    ) -> Option<(nixl::TransferId, Slot)> {
        let there = self.underway.get(&id)?;
        let of = there.of();
        let name = name_of(of.0.agent);
        // Places are absolute: the pool, its seals and the board are apart from each other.
        let theirs = Remote { peer: &name, address: 0, len: u64::MAX, kind: MemoryKind::Host, device: 0 };
        let read = self.slots.agent().and_then(|nixl| nixl.read(&theirs, slot.registration(), copies, None));
        self.pace.moved(now);
        match read {
            Ok(read) => {
                self.in_flight.insert(read, InFlight { of, since: now, what: What::Chunk(chunk) });
                self.pace.until(Duration::MAX);
                Some((read, slot))
            }
            Err(error) => {
                match error.kind() {
                    // Nothing was begun.
                    ErrorKind::Invalid | ErrorKind::Exhausted => self.slots.give_back(slot),
                    _ => self.slots.lose(slot),
                }
                self.chunk_failed(id, outcome_of(error.kind()), error.to_string());
                if error.kind() == ErrorKind::Unavailable {
                    self.failed.push((of.0, error));
                }
                None
            }
        }
    }

    /// Asks NIXL how far it is.
    pub(super) fn ask_nixl(&mut self, now: Duration) -> bool {
        if self.in_flight.is_empty() || !self.pace.is_due(now) {
            return false;
        }
        let mut events = std::mem::take(&mut self.events);
        if let Ok(nixl) = self.slots.agent() {
            // It says that it cannot take notifications, of which there are none.
            let _heard = nixl.poll(&mut events);
        }
        let mut is_any = false;
        for event in events.drain(..) {
            let nixl::Event::Ended { id, outcome } = event else { continue };
            let Some(read) = self.in_flight.remove(&id) else { continue };
            is_any = true;
            match read.what {
                What::Nothing(slot) if outcome.is_ok() => self.slots.give_back(slot),
                What::Nothing(slot) => self.slots.lose(slot),
                What::Chunk(chunk) => self.advance(now, chunk, read.of.0, outcome),
            }
        }
        self.events = events;
        if is_any {
            self.pace.moved(now);
        }
        is_any
    }

    /// A read of a chunk ended.
    fn advance(&mut self, now: Duration, number: u64, peer: Target, outcome: Result<()>) {
        let Some(chunk) = self.chunks.remove(&number) else { return };
        if let Err(error) = outcome {
            self.slots.lose(chunk.slot);
            self.chunk_failed(chunk.transfer, outcome_of(error.kind()), error.to_string());
            self.failed.push((peer, error));
            return;
        }
        let Some(there) = self.underway.get(&chunk.transfer) else { return self.slots.give_back(chunk.slot) };
        match chunk.stage {
            Stage::Before(_) => match there.standing(&chunk) {
                Ok(seals) => {
                    let copies = there.data(&chunk.periods);
                    self.go_on(now, number, Chunk { seals, ..chunk }, &copies, Stage::Data);
                }
                Err(outcome) => self.refuse(chunk, outcome),
            },
            Stage::Data(_) => {
                let words = there.words(&chunk.periods);
                self.go_on(now, number, chunk, &words, Stage::After);
            }
            Stage::After(_) => match there.standing(&chunk) {
                Ok(seals) => self.arrived(now, number, chunk, &seals),
                Err(outcome) => self.refuse(chunk, outcome),
            },
            Stage::Again(_) | Stage::Copying(_) => self.slots.give_back(chunk.slot),
        }
    }

    fn go_on(
        &mut self,
        now: Duration,
        number: u64,
        chunk: Chunk,
        copies: &[Copy],
        stage: impl Fn(nixl::TransferId) -> Stage,
    ) {
        let Chunk { transfer, periods, slot, seals, pause, .. } = chunk;
        if let Some((read, slot)) = self.post(now, transfer, number, slot, copies) {
            self.chunks.insert(number, Chunk { transfer, periods, slot, stage: stage(read), seals, pause });
        }
    }

    /// The lease does not hold.
    fn refuse(&mut self, chunk: Chunk, outcome: Outcome) {
        let (id, is_after) = (chunk.transfer, matches!(chunk.stage, Stage::After(_)));
        self.slots.give_back(chunk.slot);
        let lease = self.underway.get(&id).map(|there| there.transfer.grant.lease());
        let why = match lease {
            Some(lease) if is_after => format!("lease {lease} ended while its blocks were read"),
            Some(lease) => format!("lease {lease} does not hold"),
            None => return,
        };
        self.chunk_failed(id, outcome, why);
    }

    /// A chunk's bytes are in its slot, and were read while the lease held. It is copied when its blocks are sealed.
    fn arrived(&mut self, now: Duration, number: u64, chunk: Chunk, seals: &[[u64; 2]]) {
        let sums: Option<Vec<u64>> =
            chunk.seals.iter().zip(seals).map(|(&before, &after)| sealed_since(before, after)).collect();
        let Some(sums) = sums else {
            let (at, pause) = (now + chunk.pause, (chunk.pause * 2).min(LONGEST));
            let chunk = Chunk { seals: seals.to_vec(), stage: Stage::Again(at), pause, ..chunk };
            self.chunks.insert(number, chunk);
            return;
        };
        let Some(there) = self.underway.get(&chunk.transfer) else { return self.slots.give_back(chunk.slot) };
        let begun = there
            .part(number, &chunk, sums)
            .and_then(|(transfer, source)| job::begin(&self.home, &self.inbox, transfer, source));
        match begun {
            Ok((Some(ending), _)) => self.copied(chunk, ending),
            Ok((None, Some(job))) => {
                self.chunks.insert(number, Chunk { stage: Stage::Copying(job), ..chunk });
            }
            Ok((None, None)) => self.slots.give_back(chunk.slot),
            Err(error) => {
                self.slots.give_back(chunk.slot);
                self.chunk_failed(chunk.transfer, outcome_of(error.kind()), error.to_string());
            }
        }
    }

    /// Those whose blocks were not sealed when they were looked at.
    pub(super) fn look_again(&mut self, now: Duration) {
        let is_due = |chunk: &Chunk| matches!(chunk.stage, Stage::Again(at) if now >= at);
        let due: Vec<u64> = self.chunks.iter().filter(|(_, chunk)| is_due(chunk)).map(|(&number, _)| number).collect();
        for number in due {
            let Some(chunk) = self.chunks.remove(&number) else { continue };
            let Some(there) = self.underway.get(&chunk.transfer) else { continue };
            let words = there.words(&chunk.periods);
            self.go_on(now, number, chunk, &words, Stage::After);
        }
    }

    pub(super) fn take_copied(&mut self) -> bool {
        let mut copied = Vec::new();
        let is_any = self.inbox.take(&mut copied);
        for ending in copied {
            if let Some(chunk) = self.chunks.remove(&ending.id) {
                self.copied(chunk, ending);
            }
        }
        is_any
    }

    /// A chunk is where it was to go, or not.
    fn copied(&mut self, chunk: Chunk, ending: Ending) {
        self.slots.give_back(chunk.slot);
        if let Some(there) = self.underway.get_mut(&chunk.transfer) {
            let first = chunk.periods.start * there.parts.plan.period().1;
            (0..ending.blocks.len()).filter(|&place| ending.blocks.has(place)).for_each(|place| {
                there.blocks.set(first + place);
            });
            there.bytes += ending.bytes;
            there.outcome = worse(there.outcome, ending.outcome);
            there.why = there.why.take().or(ending.why);
        }
        self.chunk_is_over(chunk.transfer);
    }

    /// One chunk of a transfer is none any more, and did not arrive: neither does the rest.
    fn chunk_failed(&mut self, id: TransferId, outcome: Outcome, why: String) {
        self.stop(id, outcome, Some(why));
        self.chunk_is_over(id);
    }

    /// One chunk of a transfer is none any more.
    pub(super) fn chunk_is_over(&mut self, id: TransferId) {
        if let Some(there) = self.underway.get_mut(&id) {
            there.live -= 1;
        }
        self.end_if_over(id);
    }
}
