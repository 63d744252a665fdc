//! A transfer that is one big copy: this process sees both memories.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use llmd_core::{Error, ErrorKind, Result};
use parking_lot::Mutex;

use super::copiers::{Step, Work};
use super::{Bell, Ending, Transfer, Way, dma, outcome_of};
use crate::copy::{Copying, Expected, Origin, Packed, Readable, Stores};
use crate::device::{CopyEngine, DeviceMemory};
use crate::lease::LeaseId;
use crate::outcome::{Blocks, Outcome};
use crate::plan::Plan;
use crate::pool::{Board, BoardView, Pool};
use crate::region::Process;
use crate::transport::Home;

/// Where it is seen whether a lease still holds.
pub(super) trait Standing: Send + Sync + fmt::Debug {
    fn holds(&self, lease: LeaseId) -> bool;
}

impl Standing for Board {
    fn holds(&self, lease: LeaseId) -> bool {
        Self::holds(self, lease)
    }
}

impl Standing for BoardView {
    fn holds(&self, lease: LeaseId) -> bool {
        Self::holds(self, lease)
    }
}

/// Where the ends of transfers wait until they are polled.
#[derive(Debug)]
pub(super) struct Inbox {
    endings: Mutex<Vec<Ending>>,
    has: AtomicBool,
}

impl Inbox {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { endings: Mutex::default(), has: AtomicBool::new(false) })
    }

    pub(super) fn push(&self, ending: Ending, bell: &Bell) {
        self.endings.lock().push(ending);
        self.has.store(true, Ordering::Release);
        bell.ring();
    }

    pub(super) fn take(&self, ended: &mut Vec<Ending>) -> bool {
        if !self.has.swap(false, Ordering::AcqRel) {
            return false;
        }
        ended.append(&mut self.endings.lock());
        true
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.has.load(Ordering::Acquire)
    }
}

/// The memory that a transfer reads from.
#[derive(Clone, Debug)]
pub(super) enum Memory {
    /// This process sees it.
    Mapped(Arc<dyn Readable>),
    /// It is another's, which may be read by its address.
    Process(Process, Arc<Packed>),
    /// A device has it.
    Device(Arc<CopyEngine>, DeviceMemory),
}

impl Memory {
    /// Of a pool of this process.
    pub(super) fn of(pool: &Pool) -> Self {
        match pool.engine().zip(pool.region().device()) {
            Some((engine, there)) => Self::Device(Arc::clone(engine), there.memory().clone()),
            None => Self::Mapped(Arc::new(pool.region().clone())),
        }
    }

    /// Where the processor reads it, if it does.
    pub(super) fn origin(&self) -> Option<Origin<'_>> {
        match self {
            Self::Mapped(memory) => Some(Origin::Memory(&**memory)),
            Self::Process(process, packed) => Some(Origin::Process(process, packed)),
            Self::Device(..) => None,
        }
    }

    pub(super) fn len(&self) -> u64 {
        match self {
            Self::Mapped(memory) => memory.span().1 as u64,
            Self::Process(process, _) => process.len() as u64,
            Self::Device(_, memory) => memory.len(),
        }
    }
}

/// A transfer that the threads that copy make.
pub(super) trait Job: Send + Sync + fmt::Debug {
    /// Ends it before it is over, once nothing is written any more.
    fn cancel(&self);

    /// Nobody seals any more what is not sealed yet; what is may still be copied.
    fn lose_peer(&self);
}

/// Where a transfer reads from.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) memory: Memory,
    /// How that is counted.
    pub(super) way: Option<Way>,
    /// Which blocks: those of the lease, not those that a grant says.
    pub(super) blocks: Arc<[u32]>,
    /// Which part of them.
    pub(super) places: Range<usize>,
    /// The order in which a block is summed, and what it should add up to.
    pub(super) check: Option<(Arc<Plan>, Arc<dyn Expected>)>,
    pub(super) standing: Arc<dyn Standing>,
}

impl Source {
    pub(super) fn count(&self, home: &Home, bytes: u64) {
        if let Some(way) = self.way {
            home.counts.ways.count(way, bytes);
        }
    }
}

/// Up to how many bytes are copied by the caller's own thread at once: less than it takes to wake another.
pub(super) const AT_ONCE: u64 = 64 << 10;
/// How much one thread copies before it looks up.
const PART: u64 = 256 << 10;

/// A transfer that was begun: how it ended already, or what goes on.
pub(super) type Begun = (Option<Ending>, Option<Arc<dyn Job>>);

/// Begins a copy; it is over at once when it is small.
pub(super) fn begin(home: &Arc<Home>, inbox: &Arc<Inbox>, transfer: Transfer, source: Source) -> Result<Begun> {
    let Some(origin) = source.memory.origin().filter(|_| !transfer.pool.region().is_on_device()) else {
        return dma::begin(home, inbox, transfer, source);
    };
    copying(&transfer, &source, origin).fits()?;
    if transfer.bytes() <= AT_ONCE
        && let Some(ending) = at_once(&transfer, &source, origin)
    {
        source.count(home, ending.bytes);
        return Ok((Some(ending), None));
    }
    let job = CopyJob::new(home, inbox, transfer, source);
    let job = Arc::new(job);
    home.copiers.submit(Arc::clone(&job) as Arc<dyn Work>)?;
    Ok((None, Some(job)))
}

fn copying<'a>(transfer: &'a Transfer, source: &'a Source, from: Origin<'a>) -> Copying<'a> {
    Copying {
        plan: &transfer.plan,
        from,
        from_blocks: &source.blocks[source.places.clone()],
        to: transfer.pool.region(),
        to_blocks: &transfer.blocks,
        check: source.check.as_ref().map(|(own, expected)| (&**own, &**expected)),
        stores: if transfer.bytes() > AT_ONCE { Stores::Around } else { Stores::Cached },
    }
}

/// `None` when a block is not sealed yet.
fn at_once(transfer: &Transfer, source: &Source, origin: Origin<'_>) -> Option<Ending> {
    let copying = copying(transfer, source, origin);
    let mut blocks = Blocks::all(transfer.blocks.len());
    let (mut outcome, mut is_sealed) = (Outcome::Done, true);
    let mut failed = |place, why| {
        blocks.clear(place);
        is_sealed &= why != Outcome::Timeout;
        outcome = why;
    };
    let ran = copying.run(0..copying.periods(), &mut failed);
    if !is_sealed {
        return None;
    }
    if !source.standing.holds(transfer.grant.lease()) {
        let why = "the lease ended while its blocks were read";
        return Some(Ending::failed(transfer.id, transfer.blocks.len(), Outcome::Stale, why));
    }
    if let Err(error) = ran {
        return Some(Ending::failed(transfer.id, transfer.blocks.len(), outcome_of(error.kind()), error.to_string()));
    }
    let bytes = transfer.plan.period_bytes() * blocks.count() as u64 / transfer.plan.period().1 as u64;
    Some(Ending { id: transfer.id, outcome, blocks, bytes, why: None })
}

/// A copy of which several threads do parts.
struct CopyJob {
    transfer: Transfer,
    source: Source,
    home: Arc<Home>,
    inbox: Arc<Inbox>,
    /// Periods, and how many of them are a part.
    periods: usize,
    each: usize,
    /// The next part that nobody has taken.
    next: AtomicUsize,
    /// Parts that are not over.
    left: AtomicUsize,
    is_cancelled: AtomicBool,
    /// Whether the side that seals is gone.
    is_peer_lost: AtomicBool,
    found: Mutex<Found>,
}

/// What became of a transfer so far.
pub(super) struct Found {
    pub(super) blocks: Blocks,
    pub(super) outcome: Outcome,
    pub(super) why: Option<String>,
    /// Parts with blocks that were not sealed yet.
    unsealed: Vec<usize>,
}

impl CopyJob {
    fn new(home: &Arc<Home>, inbox: &Arc<Inbox>, transfer: Transfer, source: Source) -> Self {
        let (read, written) = transfer.plan.period();
        let periods = source.places.len().div_ceil(read).max(transfer.blocks.len().div_ceil(written));
        let each = (PART / transfer.plan.period_bytes().max(1)).max(1) as usize;
        let found = Mutex::new(Found::new(transfer.blocks.len()));
        let left = AtomicUsize::new(periods.div_ceil(each));
        let (home, inbox) = (Arc::clone(home), Arc::clone(inbox));
        let (next, is_cancelled, is_peer_lost) = (AtomicUsize::new(0), AtomicBool::new(false), AtomicBool::new(false));
        Self { transfer, source, home, inbox, periods, each, next, left, is_cancelled, is_peer_lost, found }
    }

    /// Copies one part. `false` when a block of it is not sealed yet, and may still be.
    fn copy(&self, part: usize) -> bool {
        let lease = self.transfer.grant.lease();
        let written = self.transfer.plan.period().1;
        let periods = part * self.each..((part + 1) * self.each).min(self.periods);
        let places = periods.start * written..(periods.end * written).min(self.transfer.blocks.len());
        let mut failed = smallvec::SmallVec::<[(usize, Outcome); 8]>::new();
        let ran = if self.is_cancelled.load(Ordering::Relaxed) {
            self.fail(Outcome::Cancelled, None);
            return true;
        } else {
            let origin = self.source.memory.origin();
            let origin =
                origin.ok_or_else(|| Error::new(ErrorKind::Internal, "memory that the processor does not read"));
            origin.and_then(|origin| {
                let copying = copying(&self.transfer, &self.source, origin);
                copying.run(periods, &mut |place, why| failed.push((place, why)))
            })
        };
        if !self.source.standing.holds(lease) {
            self.fail(Outcome::Stale, Some("the lease ended while its blocks were read".into()));
            return true;
        }
        if let Err(error) = ran {
            self.fail(outcome_of(error.kind()), Some(error.to_string()));
            return true;
        }
        if failed.iter().any(|&(_, why)| why == Outcome::Timeout) {
            if self.is_peer_lost.load(Ordering::Relaxed) {
                self.fail(Outcome::PeerLost, Some("the peer is gone, and had not sealed its blocks".into()));
            } else if self.home.now() < self.transfer.deadline {
                return false;
            }
            self.fail(Outcome::Timeout, Some("blocks were not sealed in time".into()));
        }
        self.found.lock().wrote(places, failed);
        true
    }

    fn fail(&self, outcome: Outcome, why: Option<String>) {
        // What is left is not worth copying.
        if !matches!(outcome, Outcome::Corrupt | Outcome::Timeout) {
            self.cancel();
        }
        self.found.lock().fail(outcome, why);
    }

    fn end(&self) {
        let ending = self.found.lock().end(&self.transfer);
        self.source.count(&self.home, ending.bytes);
        self.inbox.push(ending, &self.home.bell);
    }
}

impl Found {
    pub(super) fn new(blocks: usize) -> Self {
        Self { blocks: Blocks::none(blocks), outcome: Outcome::Done, why: None, unsealed: Vec::new() }
    }

    /// These places were written, and are right but for those that failed.
    pub(super) fn wrote(&mut self, places: Range<usize>, failed: impl IntoIterator<Item = (usize, Outcome)>) {
        places.for_each(|place| self.blocks.set(place));
        for (place, why) in failed {
            self.blocks.clear(place);
            self.worst(why);
        }
    }

    pub(super) fn fail(&mut self, outcome: Outcome, why: Option<String>) {
        self.worst(outcome);
        self.why = self.why.take().or(why);
    }

    /// How the transfer ended.
    pub(super) fn end(&mut self, transfer: &Transfer) -> Ending {
        let blocks = std::mem::replace(&mut self.blocks, Blocks::none(0));
        let bytes = transfer.plan.period_bytes() * blocks.count() as u64 / transfer.plan.period().1 as u64;
        Ending { id: transfer.id, outcome: self.outcome, blocks, bytes, why: self.why.take() }
    }

    /// What is worse stands: whoever is told that a lease ended need not be told that its bytes were not right.
    fn worst(&mut self, outcome: Outcome) {
        self.outcome = worse(self.outcome, outcome);
    }
}

/// What is worse stands: whoever is told that a lease ended need not be told that its bytes were not right.
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

impl Job for CopyJob {
    fn cancel(&self) {
        self.is_cancelled.store(true, Ordering::Relaxed);
    }

    fn lose_peer(&self) {
        self.is_peer_lost.store(true, Ordering::Relaxed);
    }
}

impl Work for CopyJob {
    fn step(&self) -> Step {
        let parts = self.periods.div_ceil(self.each);
        let part = self.next.fetch_add(1, Ordering::Relaxed);
        let part = if part < parts {
            part
        } else {
            self.next.store(parts, Ordering::Relaxed);
            let Some(part) = self.found.lock().unsealed.pop() else { return Step::Taken };
            part
        };
        if !self.copy(part) {
            self.found.lock().unsealed.push(part);
            return if self.next.load(Ordering::Relaxed) < parts { Step::More } else { Step::Later };
        }
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.end();
            return Step::Taken;
        }
        Step::More
    }
}

impl fmt::Debug for CopyJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CopyJob").field("transfer", &self.transfer.id).finish_non_exhaustive()
    }
}
