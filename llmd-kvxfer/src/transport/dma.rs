//! A transfer from or to memory of a device: the device copies, and sums are taken on the host's side of the copies.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use llmd_core::{Error, ErrorKind, Result};
use parking_lot::Mutex;
use smallvec::SmallVec;

use super::buffered::Buffered;
use super::copiers::{Step, Work};
use super::job::{Begun, Found, Inbox, Job, Memory, Source};
use super::{Home, Transfer, of_the_device, outcome_of};
use crate::copy::{Copying, Origin, Packed, Renamed, Span, Stores, copy_span, fill, places};
use crate::device::{Buffer, CopyEngine, DeviceCopy, DeviceMemory, Direction, Moving, Ticket};
use crate::outcome::Outcome;

/// How many parts are under way of one transfer: one is filled while another is emptied.
const DEPTH: usize = 2;

/// Which way bytes go.
enum Route {
    /// From the host to a device.
    In(Side),
    /// From a device to the host.
    Out(Side),
    /// From one memory of a device to another, by the device alone.
    Within { from: DeviceMemory, to: Side },
    /// From a device to one that does not reach its memory, or of blocks of which only a part is wanted: through the host.
    Through { from: Side, to: Side },
}

/// Memory of a device, and what copies it.
struct Side {
    engine: Arc<CopyEngine>,
    memory: DeviceMemory,
}

/// Parts of a transfer are periods of its plan that are packed in a buffer of the host.
pub(super) struct DmaJob {
    transfer: Transfer,
    source: Source,
    home: Arc<Home>,
    inbox: Arc<Inbox>,
    packed: Arc<Packed>,
    route: Route,
    periods: usize,
    is_cancelled: AtomicBool,
    is_peer_lost: AtomicBool,
    state: Mutex<State>,
}

struct State {
    /// The next part that nobody has begun.
    next: usize,
    /// Parts that could not be begun: a block was not sealed, or all buffers were in use.
    again: VecDeque<usize>,
    /// How many are under way, and those of them that no thread looks at just now.
    flying: usize,
    waiting: VecDeque<Flight>,
    /// Parts that are not over.
    left: usize,
    found: Found,
}

/// A part under way.
struct Flight {
    part: usize,
    failed: Failed,
    stage: Stage,
}

/// The places of blocks that are not right, and why.
type Failed = SmallVec<[(usize, Outcome); 8]>;

enum Stage {
    /// From the device to a buffer; and the buffer of the other device, if there is one.
    Filling(Moving, Option<Buffer>),
    /// From a buffer to the device.
    Draining(Moving),
    /// Within the device; and the buffer in which it is summed what arrived.
    Within(Ticket, Option<Buffer>),
    /// What arrived in the device, to be summed.
    Returning(Moving),
}

enum Went {
    /// It goes on.
    On(Flight),
    /// The device has not finished.
    Waits(Flight),
    Over,
    /// It cannot begin yet.
    Again,
}

/// Begins a transfer of which one side at least is a device's.
pub(super) fn begin(home: &Arc<Home>, inbox: &Arc<Inbox>, transfer: Transfer, source: Source) -> Result<Begun> {
    let job = DmaJob::new(home, inbox, transfer, source)?;
    if job.periods == 0 {
        let ending = job.state.lock().found.end(&job.transfer);
        return Ok((Some(ending), None));
    }
    let job = Arc::new(job);
    home.copiers.submit(Arc::clone(&job) as Arc<dyn Work>)?;
    Ok((None, Some(job)))
}

impl DmaJob {
    fn new(home: &Arc<Home>, inbox: &Arc<Inbox>, transfer: Transfer, source: Source) -> Result<Self> {
        let packed = home.packed(&transfer)?;
        let blocks = &source.blocks[source.places.clone()];
        fits(&transfer, &source, blocks)?;
        let route = route(&transfer, &source, &packed)?;
        let (read, written) = transfer.plan.period();
        let periods = blocks.len().div_ceil(read).max(transfer.blocks.len().div_ceil(written));
        let left = periods.div_ceil(packed.periods());
        let found = Found::new(transfer.blocks.len());
        let state = State { next: 0, again: VecDeque::new(), flying: 0, waiting: VecDeque::new(), left, found };
        Ok(Self {
            transfer,
            source,
            home: Arc::clone(home),
            inbox: Arc::clone(inbox),
            packed,
            route,
            periods,
            is_cancelled: AtomicBool::new(false),
            is_peer_lost: AtomicBool::new(false),
            state: Mutex::new(state),
        })
    }

    /// Begins a part.
    fn take_off(&self, part: usize) -> Result<Went> {
        if self.is_cancelled.load(Ordering::Relaxed) {
            self.fail(Outcome::Cancelled, None);
            return Ok(Went::Over);
        }
        let (from, to) = self.blocks(part);
        if !self.source.standing.holds(self.transfer.grant.lease()) {
            self.fail(Outcome::Stale, Some("the lease ended before its blocks were read".into()));
            return Ok(Went::Over);
        }
        if !self.are_sealed(from) {
            if self.is_peer_lost.load(Ordering::Relaxed) {
                self.fail(Outcome::PeerLost, Some("the peer is gone, and had not sealed its blocks".into()));
            } else if self.home.now() < self.transfer.deadline {
                return Ok(Went::Again);
            } else {
                self.fail(Outcome::Timeout, Some("blocks were not sealed in time".into()));
            }
            return Ok(Went::Over);
        }
        let buffer = |engine: &Arc<CopyEngine>| engine.buffer(self.packed.bytes());
        let stage = match &self.route {
            Route::In(side) => {
                let Some(buffer) = buffer(&side.engine)? else { return Ok(Went::Again) };
                let Some(memory) = self.source.memory.origin() else { return Err(lost_its_memory()) };
                fill(memory, &self.packed.gather, from, buffer.span())?;
                return self.verify_and_drain(part, side, buffer);
            }
            Route::Out(side) => {
                let Some(buffer) = buffer(&side.engine)? else { return Ok(Went::Again) };
                Stage::Filling(self.gather(side, from, buffer)?, None)
            }
            Route::Through { from: side, to } => {
                let Some(first) = buffer(&side.engine)? else { return Ok(Went::Again) };
                let second = if is_same(&side.engine, &to.engine) {
                    None
                } else {
                    // Both or none, or two transfers would wait for what the other has.
                    let Some(second) = buffer(&to.engine)? else { return Ok(Went::Again) };
                    Some(second)
                };
                Stage::Filling(self.gather(side, from, first)?, second)
            }
            Route::Within { from: memory, to: side } => {
                let buffer = match &self.source.check {
                    None => None,
                    Some(_) => {
                        let Some(buffer) = buffer(&side.engine)? else { return Ok(Went::Again) };
                        Some(buffer)
                    }
                };
                let copies: Vec<_> = self.transfer.plan.copies(from, to)?.collect();
                match side.engine.within(memory, &side.memory, &copies) {
                    Ok(Some(ticket)) => Stage::Within(ticket, buffer),
                    Ok(None) => return Ok(Went::Again),
                    // There is room when others' copies are done.
                    Err(error)
                        if error.kind() == ErrorKind::Exhausted && side.engine.device().counts().under_way > 0 =>
                    {
                        return Ok(Went::Again);
                    }
                    Err(error) => return Err(error),
                }
            }
        };
        Ok(Went::On(Flight { part, failed: Failed::new(), stage }))
    }

    /// Goes on with a part, as far as the device has come.
    fn go_on(&self, flight: Flight) -> Result<Went> {
        let Flight { part, mut failed, stage } = flight;
        let stage = match (stage, &self.route) {
            (Stage::Filling(mut moving, other), route) => match moving.landed()? {
                None => return Ok(Went::Waits(Flight { part, failed, stage: Stage::Filling(moving, other) })),
                Some(buffer) => {
                    if self.is_cancelled.load(Ordering::Relaxed) {
                        self.fail(Outcome::Cancelled, None);
                        return Ok(Went::Over);
                    }
                    match (route, other) {
                        (Route::Through { to, .. }, None) => return self.verify_and_drain(part, to, buffer),
                        (Route::Through { to, .. }, Some(other)) => {
                            copy_span(buffer.span(), other.span(), self.packed.bytes())?;
                            return self.verify_and_drain(part, to, other);
                        }
                        _ => {
                            self.scatter(part, &buffer, &mut failed)?;
                            return Ok(self.arrived(part, failed));
                        }
                    }
                }
            },
            (Stage::Draining(mut moving), _) => match moving.landed()? {
                None => Stage::Draining(moving),
                Some(_) => return Ok(self.arrived(part, failed)),
            },
            (Stage::Within(mut ticket, buffer), Route::Within { to, .. }) => {
                if !ticket.is_done()? {
                    let stage = Stage::Within(ticket, buffer);
                    return Ok(Went::Waits(Flight { part, failed, stage }));
                }
                let Some(buffer) = buffer else { return Ok(self.arrived(part, failed)) };
                let copies = self.buffered(part).copies(|_| true)?;
                let stage = Stage::Returning(to.engine.begin(Direction::ToHost, &to.memory, buffer, copies)?);
                return Ok(Went::On(Flight { part, failed, stage }));
            }
            (Stage::Within(..), _) => return Err(lost_its_memory()),
            (Stage::Returning(mut moving), _) => match moving.landed()? {
                None => Stage::Returning(moving),
                Some(buffer) => {
                    self.verify(part, &buffer, &mut failed)?;
                    return Ok(self.arrived(part, failed));
                }
            },
        };
        Ok(Went::Waits(Flight { part, failed, stage }))
    }

    /// From the device to a buffer, one block behind the other.
    fn gather(&self, side: &Side, from: &[u32], buffer: Buffer) -> Result<Moving> {
        let places = places(from.len());
        let copies = self.packed.gather.copies(from, &places)?;
        let copies: Vec<_> =
            copies.map(|copy| DeviceCopy { device: copy.from, host: copy.to, len: copy.len }).collect();
        side.engine.begin(Direction::ToHost, &side.memory, buffer, copies)
    }

    /// From a buffer to the host's memory, summed as it passes.
    fn scatter(&self, part: usize, buffer: &Buffer, failed: &mut Failed) -> Result<()> {
        let (from, to) = self.blocks(part);
        let first = self.places(part).start;
        let renamed = self.source.check.as_ref().map(|(_, expected)| Renamed { blocks: from, expected: &**expected });
        let (address, len) = buffer.span();
        let copying = Copying {
            plan: &self.packed.scatter,
            from: Origin::Memory(&Span(address, len)),
            from_blocks: &places(from.len()),
            to: self.transfer.pool.region(),
            to_blocks: to,
            check: renamed.as_ref().map(|renamed| (&self.packed.own, renamed as _)),
            stores: Stores::Around,
        };
        copying.run(0..copying.periods(), &mut |place, why| failed.push((first + place, why)))
    }

    /// From a buffer to the device, what is right of it.
    fn verify_and_drain(&self, part: usize, side: &Side, buffer: Buffer) -> Result<Went> {
        let mut failed = Failed::new();
        self.verify(part, &buffer, &mut failed)?;
        let copies = self.buffered(part).copies(|place| !failed.iter().any(|&(wrong, _)| wrong == place))?;
        let stage = Stage::Draining(side.engine.begin(Direction::ToDevice, &side.memory, buffer, copies)?);
        Ok(Went::On(Flight { part, failed, stage }))
    }

    /// Says which of the blocks that are written are not what was sealed, by what is in a buffer.
    fn verify(&self, part: usize, buffer: &Buffer, failed: &mut Failed) -> Result<()> {
        let Some((_, expected)) = &self.source.check else { return Ok(()) };
        self.buffered(part).verify(buffer, &**expected, failed)
    }

    fn buffered(&self, part: usize) -> Buffered<'_> {
        let ((from, to), first) = (self.blocks(part), self.places(part).start);
        Buffered { packed: &self.packed, period: self.transfer.plan.period(), from, to, first }
    }

    /// A part is where it was to go, if the lease still holds.
    fn arrived(&self, part: usize, failed: Failed) -> Went {
        if self.source.standing.holds(self.transfer.grant.lease()) {
            self.state.lock().found.wrote(self.places(part), failed);
        } else {
            self.fail(Outcome::Stale, Some("the lease ended while its blocks were read".into()));
        }
        Went::Over
    }

    fn are_sealed(&self, blocks: &[u32]) -> bool {
        let check = self.source.check.as_ref();
        check.is_none_or(|(_, expected)| blocks.iter().all(|&block| expected.sum(block).is_some()))
    }

    fn periods(&self, part: usize) -> Range<usize> {
        let each = self.packed.periods();
        part * each..((part + 1) * each).min(self.periods)
    }

    /// The places of a part among the blocks that are written.
    fn places(&self, part: usize) -> Range<usize> {
        let (periods, written, all) = (self.periods(part), self.transfer.plan.period().1, self.transfer.blocks.len());
        (periods.start * written).min(all)..(periods.end * written).min(all)
    }

    /// The blocks of a part that are read, and those that are written.
    fn blocks(&self, part: usize) -> (&[u32], &[u32]) {
        let (periods, read) = (self.periods(part), self.transfer.plan.period().0);
        let from = &self.source.blocks[self.source.places.clone()];
        let range = (periods.start * read).min(from.len())..(periods.end * read).min(from.len());
        (&from[range], &self.transfer.blocks[self.places(part)])
    }

    fn fail(&self, outcome: Outcome, why: Option<String>) {
        // What is left is not worth copying.
        if outcome != Outcome::Timeout {
            self.cancel();
        }
        self.state.lock().found.fail(outcome, why);
    }

    /// What became of a part that was looked at. Says whether it got any further.
    fn settle(&self, part: usize, went: Result<Went>) -> bool {
        let went = went.unwrap_or_else(|error| {
            let error = of_the_device(error);
            self.fail(outcome_of(error.kind()), Some(error.to_string()));
            Went::Over
        });
        let mut state = self.state.lock();
        match went {
            Went::On(flight) => state.waiting.push_back(flight),
            Went::Waits(flight) => {
                state.waiting.push_back(flight);
                return false;
            }
            Went::Again => {
                state.flying -= 1;
                state.again.push_back(part);
                return false;
            }
            Went::Over => {
                state.flying -= 1;
                state.left -= 1;
                if state.left == 0 {
                    let ending = state.found.end(&self.transfer);
                    drop(state);
                    self.source.count(&self.home, ending.bytes);
                    self.inbox.push(ending, &self.home.bell);
                }
            }
        }
        true
    }

    fn next_part(&self) -> Option<usize> {
        let parts = self.periods.div_ceil(self.packed.periods());
        let mut state = self.state.lock();
        if state.flying >= DEPTH {
            return None;
        }
        let part = if state.next < parts {
            state.next += 1;
            state.next - 1
        } else {
            state.again.pop_front()?
        };
        state.flying += 1;
        Some(part)
    }
}

impl Job for DmaJob {
    fn cancel(&self) {
        self.is_cancelled.store(true, Ordering::Relaxed);
    }

    fn lose_peer(&self) {
        self.is_peer_lost.store(true, Ordering::Relaxed);
    }
}

impl Work for DmaJob {
    fn step(&self) -> Step {
        let mut is_further = false;
        for _ in 0..DEPTH {
            let Some(flight) = self.state.lock().waiting.pop_front() else { break };
            is_further |= self.settle(flight.part, self.go_on(flight));
        }
        if let Some(part) = self.next_part() {
            is_further |= self.settle(part, self.take_off(part));
        }
        match (self.state.lock().left, is_further) {
            (0, _) => Step::Taken,
            (_, true) => Step::More,
            // The device has not finished, or another thread looks at what is left.
            (_, false) => Step::Later,
        }
    }
}

impl fmt::Debug for DmaJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DmaJob").field("transfer", &self.transfer.id).finish_non_exhaustive()
    }
}

fn lost_its_memory() -> Error {
    Error::new(ErrorKind::Internal, "a transfer that goes another way than it was begun")
}

fn is_same(one: &Arc<CopyEngine>, other: &Arc<CopyEngine>) -> bool {
    Arc::ptr_eq(one.device(), other.device())
}

/// Whether both memories are as long as the plan needs, and the second may be written.
fn fits(transfer: &Transfer, source: &Source, blocks: &[u32]) -> Result<()> {
    let (read, written) = transfer.plan.ends();
    let region = transfer.pool.region();
    for (needed, there, what) in [(read, source.memory.len(), "read"), (written, region.len() as u64, "written")] {
        if needed > there {
            let message = format!("a region of {there} bytes to be {what}, expected the {needed} that its layout has");
            return Err(Error::new(ErrorKind::Invalid, message));
        }
    }
    if !region.is_writable() {
        return Err(Error::new(ErrorKind::Invalid, "a region that is only for reading, expected one to fetch into"));
    }
    transfer.plan.copies(blocks, &transfer.blocks).map(|_| ())
}

fn route(transfer: &Transfer, source: &Source, packed: &Packed) -> Result<Route> {
    let to = transfer.pool.engine().zip(transfer.pool.region().device());
    let to = to.map(|(engine, there)| Side { engine: Arc::clone(engine), memory: there.memory().clone() });
    let from = match &source.memory {
        Memory::Device(engine, memory) => Some(Side { engine: Arc::clone(engine), memory: memory.clone() }),
        Memory::Mapped(_) | Memory::Process(..) => None,
    };
    Ok(match (from, to) {
        (None, Some(to)) => Route::In(to),
        (Some(from), None) => Route::Out(from),
        (Some(from), Some(to)) => {
            let is_reached = is_same(&from.engine, &to.engine) && to.engine.device().abilities().within;
            // What is copied is summed in the order in which it lay: that takes all of it.
            if is_reached && (source.check.is_none() || packed.is_whole()) {
                Route::Within { from: from.memory, to }
            } else {
                Route::Through { from, to }
            }
        }
        (None, None) => return Err(lost_its_memory()),
    })
}
