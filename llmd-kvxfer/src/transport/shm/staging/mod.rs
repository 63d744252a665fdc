//! Transfers through memory into which the side that serves copies, and out of which the side that reads does.
//!
//! The side that reads makes the memory and says which of its slots are free by asking for blocks to be copied into them: some
//! slots are filled while others are emptied. One that empties none harms nobody else.

mod draining;

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use llmd_core::{Error, ErrorKind, Result};
use parking_lot::Mutex;
use smallvec::SmallVec;

use self::draining::Draining;
use crate::copy::{Copying, Expected, Origin, Packed, Renamed, Span, Stores, places, takes};
use crate::outcome::Outcome;
use crate::region::Mapping;
use crate::transport::copiers::{Step, Work};
use crate::transport::job::{AT_ONCE, Found, Inbox, Standing};
use crate::transport::shm::line::Line;
use crate::transport::shm::message::{Answer, Request};
use crate::transport::shm::serving::slot;
use crate::transport::{Home, Transfer, Way, outcome_of};

/// How many bytes a slot has unless blocks are larger, and at most.
pub(super) const SLOT: u64 = 1 << 20;
pub(super) const MAX_SLOT: u64 = 64 << 20;
/// How many bytes the slots of one size have together, unless that were too few slots.
const AREA: u64 = 16 << 20;
const FEWEST: u64 = 4;
/// How many sizes there are: the powers of two between.
pub(super) const MAX_AREAS: usize = (MAX_SLOT / SLOT).ilog2() as usize + 1;

/// How many transfers may wait for slots of one size.
const MAX_WAITING: usize = 4096;
/// How long one waits when the other side takes no requests.
const RETRY: Duration = Duration::from_millis(1);

/// What we have staged with one peer.
pub(super) struct Staging {
    line: Arc<Line>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    areas: Vec<Area>,
    /// What was asked for and not answered, by its number: at most as many as there are slots.
    asked: HashMap<u64, Asked>,
    next: u64,
    /// When to try again to say what found no room.
    retry: Option<Duration>,
    is_lost: bool,
}

/// Slots of one size.
struct Area {
    memory: Arc<Mapping>,
    slot_bytes: u64,
    /// Whether the other side has mapped it.
    is_there: bool,
    free: Vec<u32>,
    /// Those of which not all is asked for, the first first.
    queue: VecDeque<Arc<StagedJob>>,
}

/// A part of a transfer that is to be copied into a slot.
struct Asked {
    job: Arc<StagedJob>,
    place: Place,
}

/// Which part of a transfer, and the slot that is its own until it is given back.
#[derive(Clone, Copy)]
struct Place {
    part: usize,
    area: usize,
    slot: u32,
}

/// What the other side has to map.
pub(super) struct NewArea {
    pub(super) area: u32,
    pub(super) slots: u32,
    pub(super) slot_bytes: u64,
    pub(super) fd: OwnedFd,
}

impl Staging {
    pub(super) fn new(line: Arc<Line>) -> Arc<Self> {
        Arc::new(Self { line, state: Mutex::default() })
    }

    /// The slots that have room for so many bytes, which are to be said to the other side when they are new.
    pub(super) fn area(&self, bytes: u64) -> Result<(usize, Option<NewArea>)> {
        let slot_bytes = bytes.next_power_of_two().max(SLOT);
        let mut state = self.state.lock();
        if let Some(there) = state.areas.iter().position(|area| area.slot_bytes == slot_bytes) {
            return Ok((there, None));
        }
        if slot_bytes > MAX_SLOT {
            let message = format!("{bytes} bytes to be staged at once, expected at most {MAX_SLOT}");
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        let slots = (AREA / slot_bytes).max(FEWEST) as u32;
        let (memory, fd) = Mapping::shared("llmd-staging", slots as usize * slot_bytes as usize)?;
        let area = state.areas.len();
        let (memory, free, queue) = (Arc::new(memory), (0..slots).collect(), VecDeque::new());
        state.areas.push(Area { memory, slot_bytes, is_there: false, free, queue });
        Ok((area, Some(NewArea { area: area as u32, slots, slot_bytes, fd })))
    }

    /// The other side has mapped it.
    pub(super) fn is_there(&self, area: u32) -> Result<()> {
        let mut state = self.state.lock();
        let there = state.areas.get_mut(area as usize);
        there.ok_or_else(|| Error::new(ErrorKind::Corrupt, format!("area {area}, which nobody gave")))?.is_there = true;
        state.ask(&self.line, area as usize);
        Ok(())
    }

    /// Begins a transfer.
    pub(super) fn begin(
        self: &Arc<Self>,
        home: &Arc<Home>,
        inbox: &Arc<Inbox>,
        transfer: Transfer,
        source: StagedSource,
    ) -> Result<Arc<StagedJob>> {
        let job = Arc::new(StagedJob::new(home, inbox, transfer, source));
        takes(&job.source.packed.scatter, job.transfer.pool.region())?;
        if job.parts == 0 {
            job.end_if_over(&mut job.progress.lock());
            return Ok(job);
        }
        let area = job.source.area;
        let mut state = self.state.lock();
        if state.is_lost {
            return Err(Error::new(ErrorKind::Unavailable, "the peer is gone"));
        }
        let Some(there) = state.areas.get_mut(area) else {
            return Err(Error::new(ErrorKind::Internal, "no slots for a transfer that is staged"));
        };
        if there.queue.len() >= MAX_WAITING {
            let message = format!("{MAX_WAITING} transfers wait to be staged, expected less");
            return Err(Error::new(ErrorKind::Exhausted, message));
        }
        there.queue.push_back(Arc::clone(&job));
        state.ask(&self.line, area);
        drop(state);
        Ok(job)
    }

    /// What the other side answered. An error says that nobody answers this who means well.
    pub(super) fn landed(self: &Arc<Self>, home: &Home, answer: Answer) -> Result<()> {
        let Answer { number, outcome } = answer;
        let asked = self.state.lock().asked.remove(&number);
        let asked = asked
            .ok_or_else(|| Error::new(ErrorKind::Corrupt, format!("an answer to {number}, which nobody asked for")))?;
        if outcome != Outcome::Done {
            let why = format!("agent {} said so", asked.job.transfer.grant.agent());
            asked.job.stop(outcome, Some(why));
        }
        let Asked { job, place } = asked;
        if job.is_stopped() {
            self.give_back(place);
            return Ok(());
        }
        if let Some(draining) = &job.draining {
            return draining.take(place, &job);
        }
        let landed = Landed { job, place, is_taken: AtomicBool::new(false) };
        if landed.job.part_bytes() <= AT_ONCE && landed.step() == Step::Taken {
            return Ok(());
        }
        home.copiers.submit(Arc::new(landed))
    }

    /// When what found no room is to be said again.
    pub(super) fn deadline(&self) -> Option<Duration> {
        self.state.lock().retry
    }

    /// Says again what found no room.
    pub(super) fn retry(&self, now: Duration) {
        let mut state = self.state.lock();
        if state.retry.is_some_and(|retry| now >= retry) {
            state.retry = None;
            (0..state.areas.len()).for_each(|area| state.ask(&self.line, area));
        }
    }

    /// Ends all that is under way.
    pub(super) fn lose(&self, outcome: Outcome, why: &str) {
        let mut state = self.state.lock();
        state.is_lost = true;
        let asked = std::mem::take(&mut state.asked);
        let mut jobs: Vec<_> = asked.into_values().map(|asked| asked.job).collect();
        state.areas.iter_mut().for_each(|area| jobs.extend(area.queue.drain(..)));
        drop(state);
        jobs.iter().for_each(|job| job.stop(outcome, Some(why.to_owned())));
    }

    /// The memory of a slot, and what keeps it there.
    fn memory(&self, place: Place) -> Result<(Arc<Mapping>, Span)> {
        let state = self.state.lock();
        let area = state.areas.get(place.area);
        let area = area.ok_or_else(|| Error::new(ErrorKind::Internal, "a slot of memory that nobody made"))?;
        let len = area.slot_bytes as usize;
        let span = slot(&area.memory, place.slot as usize * len, len)?;
        Ok((Arc::clone(&area.memory), span))
    }

    /// Nobody reads what is in a slot any more.
    fn give_back(&self, place: Place) {
        let mut state = self.state.lock();
        if let Some(there) = state.areas.get_mut(place.area) {
            there.free.push(place.slot);
        }
        state.ask(&self.line, place.area);
    }
}

impl State {
    /// Asks for parts to be copied into the slots of this size that are free.
    fn ask(&mut self, line: &Line, area: usize) {
        let Self { areas, asked, next, retry, is_lost } = self;
        let Some(there) = areas.get_mut(area).filter(|there| there.is_there && !*is_lost) else { return };
        while let (Some(&slot), Some(job)) = (there.free.last(), there.queue.front()) {
            let Some(part) = job.next_part() else {
                there.queue.pop_front();
                continue;
            };
            let request = job.request(*next, part, area as u32, slot);
            if !line.push(&request.to_slot()) {
                job.was_not_asked(part);
                *retry = Some(job.home.now() + RETRY);
                // Whoever sleeps has to know when.
                job.home.bell.ring();
                return;
            }
            there.free.pop();
            asked.insert(*next, Asked { job: Arc::clone(job), place: Place { part, area, slot } });
            *next += 1;
        }
    }
}

impl fmt::Debug for Staging {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Staging").field("asked", &self.state.lock().asked.len()).finish_non_exhaustive()
    }
}

/// What a staged transfer reads.
#[derive(Clone, Debug)]
pub(super) struct StagedSource {
    pub(super) staging: Arc<Staging>,
    pub(super) area: usize,
    pub(super) packed: Arc<Packed>,
    /// The blocks of the lease, as the grant names them.
    pub(super) blocks: Arc<[u32]>,
    /// What they should add up to.
    pub(super) check: Option<Arc<dyn Expected>>,
    pub(super) standing: Arc<dyn Standing>,
}

/// A transfer that comes in parts through slots.
pub(super) struct StagedJob {
    transfer: Transfer,
    source: StagedSource,
    home: Arc<Home>,
    inbox: Arc<Inbox>,
    /// How many parts there are: each as many periods as a slot has room for.
    parts: usize,
    /// How they go on from their slots, where they are for a device.
    draining: Option<Draining>,
    progress: Mutex<Progress>,
}

struct Progress {
    /// The next part that nobody asked for.
    next: usize,
    /// Parts that are not over.
    left: usize,
    /// Parts of which blocks are written right now.
    writing: usize,
    is_stopped: bool,
    is_over: bool,
    found: Found,
}

impl StagedJob {
    fn new(home: &Arc<Home>, inbox: &Arc<Inbox>, transfer: Transfer, source: StagedSource) -> Self {
        let (read, written) = transfer.plan.period();
        let periods = transfer.grant.blocks().len().div_ceil(read).max(transfer.blocks.len().div_ceil(written));
        let parts = periods.div_ceil(source.packed.periods());
        let found = Found::new(transfer.blocks.len());
        let progress = Progress { next: 0, left: parts, writing: 0, is_stopped: false, is_over: false, found };
        let (home, inbox) = (Arc::clone(home), Arc::clone(inbox));
        let draining = Draining::into(&transfer.pool);
        Self { transfer, source, home, inbox, parts, draining, progress: Mutex::new(progress) }
    }

    /// Ends it as cancelled, once nothing is written to its blocks any more.
    pub(super) fn cancel(&self) {
        self.stop(Outcome::Cancelled, None);
    }

    fn stop(&self, outcome: Outcome, why: Option<String>) {
        let mut progress = self.progress.lock();
        if progress.is_over {
            return;
        }
        progress.is_stopped = true;
        progress.found.fail(outcome, why);
        self.end_if_over(&mut progress);
    }

    fn is_stopped(&self) -> bool {
        self.progress.lock().is_stopped
    }

    fn next_part(&self) -> Option<usize> {
        let mut progress = self.progress.lock();
        if progress.is_stopped || progress.next == self.parts {
            return None;
        }
        progress.next += 1;
        Some(progress.next - 1)
    }

    /// The part that was given last found no room in the ring.
    fn was_not_asked(&self, part: usize) {
        self.progress.lock().next = part;
    }

    fn request(&self, number: u64, part: usize, area: u32, slot: u32) -> Request {
        let grant = &self.transfer.grant;
        let places = self.read(part);
        let first = grant.places().start;
        let places = first + places.start as u32..first + places.end as u32;
        Request { number, lease: grant.lease(), capability: *grant.capability(), places, area, slot }
    }

    /// Which of the blocks that are read a part is.
    fn read(&self, part: usize) -> Range<usize> {
        let each = self.source.packed.periods() * self.transfer.plan.period().0;
        let all = self.transfer.grant.blocks().len();
        (part * each).min(all)..((part + 1) * each).min(all)
    }

    /// And which of those that are written.
    fn written(&self, part: usize) -> Range<usize> {
        let each = self.source.packed.periods() * self.transfer.plan.period().1;
        let all = self.transfer.blocks.len();
        (part * each).min(all)..((part + 1) * each).min(all)
    }

    fn part_bytes(&self) -> u64 {
        self.source.packed.bytes().min(self.transfer.bytes())
    }

    /// The blocks of a part that are read, as the lease has them.
    fn blocks(&self, part: usize) -> &[u32] {
        let (read, first) = (self.read(part), self.transfer.grant.places().start as usize);
        &self.source.blocks[first + read.start..first + read.end]
    }

    /// Copies a part out of its slot. `false` when a block of it is not sealed yet, and may still be.
    fn scatter(&self, place: Place) -> bool {
        if !self.begin_part() {
            return true;
        }
        let mut failed = Failed::new();
        let ran = self.copy(place, &mut failed);
        self.end_part(place.part, ran, failed)
    }

    /// Blocks of a part are written from now on; `false` when none are any more.
    fn begin_part(&self) -> bool {
        let mut progress = self.progress.lock();
        progress.writing += usize::from(!progress.is_stopped);
        !progress.is_stopped
    }

    /// What became of a part that was begun. `false` when a block of it is not sealed yet and may still be: it is to be begun again.
    fn end_part(&self, part: usize, ran: Result<()>, failed: Failed) -> bool {
        let holds = self.source.standing.holds(self.transfer.grant.lease());
        let is_unsealed = failed.iter().any(|&(_, why)| why == Outcome::Timeout);
        let may_be_sealed = holds && is_unsealed && self.home.now() < self.transfer.deadline;

        let mut progress = self.progress.lock();
        progress.writing -= 1;
        match ran {
            _ if !holds => {
                progress.is_stopped = true;
                progress.found.fail(Outcome::Stale, Some("the lease ended while its blocks were read".into()));
            }
            Err(error) => {
                progress.is_stopped = true;
                progress.found.fail(here(outcome_of(error.kind())), Some(error.to_string()));
            }
            Ok(()) if may_be_sealed && !progress.is_stopped => return false,
            Ok(()) => {
                if is_unsealed {
                    progress.found.fail(Outcome::Timeout, Some("blocks were not sealed in time".into()));
                }
                progress.found.wrote(self.written(part), failed);
                progress.left -= 1;
            }
        }
        self.end_if_over(&mut progress);
        true
    }

    fn copy(&self, place: Place, failed: &mut Failed) -> Result<()> {
        let packed = &self.source.packed;
        let (_memory, span) = self.source.staging.memory(place)?;
        let (blocks, written) = (self.blocks(place.part), self.written(place.part));
        let renamed = self.source.check.as_ref().map(|expected| Renamed { blocks, expected: &**expected });
        let copying = Copying {
            plan: &packed.scatter,
            from: Origin::Memory(&span),
            from_blocks: &places(blocks.len()),
            to: self.transfer.pool.region(),
            to_blocks: &self.transfer.blocks[written.clone()],
            check: renamed.as_ref().map(|renamed| (&packed.own, renamed as _)),
            stores: Stores::Around,
        };
        copying.run(0..copying.periods(), &mut |place, why| failed.push((written.start + place, why)))
    }

    /// Says how it ended, once nobody writes any more.
    fn end_if_over(&self, progress: &mut Progress) {
        if progress.is_over || progress.writing > 0 || !(progress.is_stopped || progress.left == 0) {
            return;
        }
        (progress.is_over, progress.is_stopped) = (true, true);
        let ending = progress.found.end(&self.transfer);
        self.home.counts.ways.count(Way::Staged(""), ending.bytes);
        self.inbox.push(ending, &self.home.bell);
    }
}

impl fmt::Debug for StagedJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StagedJob").field("transfer", &self.transfer.id).finish_non_exhaustive()
    }
}

/// The places of blocks that are not right, and why.
type Failed = SmallVec<[(usize, Outcome); 8]>;

/// The peer has done its part: what fails now is of this machine.
fn here(outcome: Outcome) -> Outcome {
    if outcome == Outcome::PeerLost { Outcome::Io } else { outcome }
}

/// A part that is in its slot.
struct Landed {
    job: Arc<StagedJob>,
    place: Place,
    is_taken: AtomicBool,
}

impl Work for Landed {
    fn step(&self) -> Step {
        if self.is_taken.swap(true, Ordering::AcqRel) {
            return Step::Taken;
        }
        if !self.job.scatter(self.place) {
            self.is_taken.store(false, Ordering::Release);
            return Step::Later;
        }
        self.job.source.staging.give_back(self.place);
        Step::Taken
    }
}
