//! Transfers under way. Each goes in parts, each of which is read into a slot of our own and copied from there.
//!
//! NIXL does not say when the last byte of a read that failed was written, and does not take back one that was begun. So it never
//! reads into the pool of an engine: what comes late comes into a slot, which is not used again before NIXL has said that the read
//! ended well. Slots that are lost this way are had again by a new NIXL agent.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use llmd_core::{Error, ErrorKind, Result};

use super::super::job::{self, Inbox, Job, Memory, Source, Standing};
use super::super::target::Target;
use super::super::{Ending, Home, Transfer, TransferId, outcome_of};
use super::known::Known;
use super::lent::name_of;
use super::pace::Pace;
use super::peer::Theirs;
use super::slot::{Parts, Slot, Slots};
use crate::copy::Expected;
use crate::grant::AgentId;
use crate::lease::LeaseId;
use crate::nixl::{self, MemoryKind, Metadata, Remote};
use crate::outcome::{Blocks, Outcome};
use crate::plan::Copy;
use crate::pool::{sealed_since, standing};

/// Transfers under way.
#[derive(Debug)]
pub(super) struct Reads {
    home: Arc<Home>,
    slots: Slots,
    /// What NIXL does.
    in_flight: HashMap<nixl::TransferId, InFlight>,
    chunks: HashMap<u64, Chunk>,
    next_chunk: u64,
    underway: HashMap<TransferId, Underway>,
    /// Those of which parts are to be begun, the one that goes first first.
    order: Vec<TransferId>,
    known: Known,
    parts: HashMap<(Target, u32, u32), Arc<Parts>>,
    /// Where copies say that they ended, by the number of the chunk.
    inbox: Arc<Inbox>,
    pace: Pace,
    events: Vec<nixl::Event>,
    endings: Vec<Ending>,
    failed: Vec<(Target, Error)>,
}

#[derive(Debug)]
struct Underway {
    from: Target,
    transfer: Transfer,
    theirs: Arc<Theirs>,
    parts: Arc<Parts>,
    is_checked: bool,
    /// How many periods it has, and the first that was not begun.
    periods: usize,
    next: usize,
    /// How many chunks of it there are.
    live: usize,
    is_stopped: bool,
    blocks: Blocks,
    bytes: u64,
    outcome: Outcome,
    why: Option<String>,
}

/// What NIXL reads: which pool of whose, since when, and what for.
#[derive(Debug)]
struct InFlight {
    of: (Target, u32),
    since: Duration,
    what: What,
}

#[derive(Debug)]
enum What {
    Chunk(u64),
    /// Nobody wants to know; the slot may still be written to.
    Nothing(Slot),
}

/// Some periods of a transfer, on their way.
#[derive(Debug)]
struct Chunk {
    transfer: TransferId,
    periods: Range<usize>,
    slot: Slot,
    stage: Stage,
    /// The seals of its blocks as they were read last.
    seals: Vec<[u64; 2]>,
    pause: Duration,
}

/// What is done for a chunk.
#[derive(Debug)]
enum Stage {
    /// The lease and the seals are read, before.
    Before(nixl::TransferId),
    Data(nixl::TransferId),
    /// The lease and the seals are read, after.
    After(nixl::TransferId),
    /// A block is not sealed yet: they are read again at this time.
    Again(Duration),
    Copying(Arc<dyn Job>),
}

/// How many transfers may be under way.
const MAX_UNDERWAY: usize = 1 << 16;
/// How long one read may take: its peer is lost then.
const READ_LIMIT: Duration = Duration::from_secs(10);
/// How long one that nobody wants may keep its slot when no other is free: a new NIXL agent is made then.
const ABANDONED_LIMIT: Duration = Duration::from_secs(1);
/// How long it is waited at first for a block to be sealed, and at most.
const SHORTEST: Duration = Duration::from_micros(50);
const LONGEST: Duration = Duration::from_millis(5);
/// How many ways from pool to pool are remembered.
const MAX_PARTS: usize = 1024;

impl Reads {
    pub(super) fn new(home: &Arc<Home>, slots: Slots) -> Self {
        Self {
            home: Arc::clone(home),
            slots,
            in_flight: HashMap::new(),
            chunks: HashMap::new(),
            next_chunk: 0,
            underway: HashMap::new(),
            order: Vec::new(),
            known: Known::default(),
            parts: HashMap::new(),
            inbox: Inbox::new(),
            pace: Pace::default(),
            events: Vec::new(),
            endings: Vec::new(),
            failed: Vec::new(),
        }
    }

    /// Takes a peer's metadata: it has registered more, or is new.
    pub(super) fn know(&mut self, peer: Target, metadata: Metadata) -> Result<()> {
        let is_read = self.is_reading(peer.agent);
        self.known.take(self.slots.agent()?, peer, metadata, is_read)
    }

    /// Begins a transfer from a pool that is there; its end when it ended at once.
    pub(super) fn begin(
        &mut self,
        now: Duration,
        from: Target,
        transfer: Transfer,
        theirs: Arc<Theirs>,
    ) -> Result<Option<Ending>> {
        if self.underway.len() >= MAX_UNDERWAY {
            let message = format!("{MAX_UNDERWAY} transfers are under way by NIXL, expected less");
            return Err(Error::new(ErrorKind::Exhausted, message));
        }
        let failed = |outcome, why| Ok(Some(Ending::failed(transfer.id, transfer.blocks.len(), outcome, why)));
        let grant = &transfer.grant;
        if theirs.layout != *grant.layout() {
            return failed(Outcome::Denied, format!("the grant lays pool {} out as it is not", grant.pool()));
        }
        if theirs.on_board(grant.lease()).is_none() {
            return failed(Outcome::Denied, format!("lease {} was never granted", grant.lease()));
        }
        self.slots.agent()?;
        let parts = self.parts(from, &transfer, &theirs)?;
        let (read, written) = parts.plan.period();
        let periods = grant.blocks().len().div_ceil(read).max(transfer.blocks.len().div_ceil(written));
        let is_checked = theirs.is_sealed && (transfer.is_checked || self.home.check == super::super::Check::Remote);
        let blocks = Blocks::none(transfer.blocks.len());
        if periods == 0 || parts.plan.is_empty() {
            let (id, blocks) = (transfer.id, Blocks::all(transfer.blocks.len()));
            return Ok(Some(Ending { id, outcome: Outcome::Done, blocks, bytes: 0, why: None }));
        }
        let (id, priority) = (transfer.id, transfer.priority);
        let underway = Underway {
            from,
            transfer,
            theirs,
            parts,
            is_checked,
            periods,
            next: 0,
            live: 0,
            is_stopped: false,
            blocks,
            bytes: 0,
            outcome: Outcome::Done,
            why: None,
        };
        let place = self
            .order
            .partition_point(|there| self.underway.get(there).is_some_and(|there| there.transfer.priority >= priority));
        self.underway.insert(id, underway);
        self.order.insert(place, id);
        self.start(now);
        Ok(None)
    }

    /// Ends a transfer, if it is here.
    pub(super) fn cancel(&mut self, transfer: TransferId) {
        self.stop(transfer, Outcome::Cancelled, None);
    }

    /// Ends all into a pool of ours.
    pub(super) fn unregister(&mut self, pool: u32) {
        self.parts.retain(|key, _| key.2 != pool);
        self.stop_all(Outcome::Cancelled, "its pool was unregistered", |there| there.transfer.pool.id() == pool);
    }

    /// Ends all from a pool of a peer's, which is not to be read any more.
    pub(super) fn leave(&mut self, peer: Target, pool: u32) {
        self.parts.retain(|key, _| (key.0, key.1) != (peer, pool));
        self.stop_all(Outcome::Stale, "the peer has unregistered the pool", |there| there.of() == (peer, pool));
    }

    /// Ends all from a peer that is lost.
    pub(super) fn lose(&mut self, peer: Target, error: &Error) {
        self.parts.retain(|key, _| key.0 != peer);
        let outcome = outcome_of(error.kind());
        self.stop_all(outcome, &error.to_string(), |there| there.from == peer);
        if self.known.forget(peer)
            && let Ok(nixl) = self.slots.agent()
        {
            // While something of it is in flight NIXL keeps it, and forgets it when that has failed.
            let _forgotten = nixl.remove_peer(&name_of(peer.agent));
        }
    }

    /// Whether NIXL may still read this pool of a peer's.
    pub(super) fn is_read(&self, peer: Target, pool: u32) -> bool {
        self.in_flight.values().any(|read| read.of == (peer, pool))
    }

    /// The peers that are read from now.
    pub(super) fn read_from(&self) -> HashSet<Target> {
        self.in_flight.values().map(|read| read.of.0).collect()
    }

    /// Goes on with everything. Says which transfers ended and which peers have to be given up, and whether anything was done.
    pub(super) fn poll(&mut self, now: Duration, ended: &mut Vec<Ending>, failed: &mut Vec<(Target, Error)>) -> bool {
        let mut is_any = self.ask_nixl(now);
        is_any |= self.take_copied();
        self.look_again(now);
        self.give_up(now);
        self.renew(now);
        self.start(now);
        if self.in_flight.is_empty() {
            self.pace.stop();
        } else {
            self.pace.until(Duration::MAX);
        }
        is_any |= !self.endings.is_empty() || !self.failed.is_empty();
        ended.append(&mut self.endings);
        failed.append(&mut self.failed);
        is_any
    }

    /// Whether there is nothing that was found and not yet told.
    pub(super) fn is_quiet(&self) -> bool {
        self.inbox.is_empty() && self.endings.is_empty() && self.failed.is_empty()
    }

    pub(super) fn next_deadline(&self) -> Option<Duration> {
        let again = self.chunks.values().filter_map(|chunk| match chunk.stage {
            Stage::Again(at) => Some(at),
            _ => None,
        });
        again.chain(self.pace.next()).min()
    }

    fn is_reading(&self, agent: AgentId) -> bool {
        self.in_flight.values().any(|read| read.of.0.agent == agent)
    }

    fn parts(&mut self, from: Target, transfer: &Transfer, theirs: &Arc<Theirs>) -> Result<Arc<Parts>> {
        let key = (from, theirs.pool, transfer.pool.id());
        if let Some(parts) = self.parts.get(&key).filter(|parts| parts.is_of(&theirs.layout)) {
            return Ok(Arc::clone(parts));
        }
        let parts = Arc::new(Parts::new(&theirs.layout, theirs.runs, transfer.pool.layout(), self.slots.room())?);
        if self.parts.len() >= MAX_PARTS {
            self.parts.clear();
        }
        self.parts.insert(key, Arc::clone(&parts));
        Ok(parts)
    }

    /// Begins parts while there are slots.
    fn start(&mut self, now: Duration) {
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
    fn ask_nixl(&mut self, now: Duration) -> bool {
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
    fn look_again(&mut self, now: Duration) {
        let is_due = |chunk: &Chunk| matches!(chunk.stage, Stage::Again(at) if now >= at);
        let due: Vec<u64> = self.chunks.iter().filter(|(_, chunk)| is_due(chunk)).map(|(&number, _)| number).collect();
        for number in due {
            let Some(chunk) = self.chunks.remove(&number) else { continue };
            let Some(there) = self.underway.get(&chunk.transfer) else { continue };
            let words = there.words(&chunk.periods);
            self.go_on(now, number, chunk, &words, Stage::After);
        }
    }

    fn take_copied(&mut self) -> bool {
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
    fn chunk_is_over(&mut self, id: TransferId) {
        if let Some(there) = self.underway.get_mut(&id) {
            there.live -= 1;
        }
        self.end_if_over(id);
    }

    fn end_if_over(&mut self, id: TransferId) {
        let is_over = |there: &Underway| there.live == 0 && (there.is_stopped || there.next == there.periods);
        if !self.underway.get(&id).is_some_and(is_over) {
            return;
        }
        if let Some(there) = self.underway.remove(&id) {
            let Underway { blocks, bytes, outcome, why, next, periods, .. } = there;
            if next < periods {
                self.order.retain(|&there| there != id);
            }
            self.endings.push(Ending { id, outcome, blocks, bytes, why });
        }
    }

    /// Ends a transfer: nothing of it is begun any more, and what NIXL reads of it goes on without it.
    fn stop(&mut self, id: TransferId, outcome: Outcome, why: Option<String>) {
        let Some(there) = self.underway.get_mut(&id) else { return };
        there.is_stopped = true;
        there.outcome = worse(there.outcome, outcome);
        there.why = there.why.take().or(why);
        let of_it: Vec<u64> =
            self.chunks.iter().filter(|(_, chunk)| chunk.transfer == id).map(|(&number, _)| number).collect();
        for number in of_it {
            let Some(chunk) = self.chunks.remove(&number) else { continue };
            match chunk.stage {
                Stage::Copying(ref job) => {
                    if outcome == Outcome::Cancelled {
                        job.cancel();
                    }
                    self.chunks.insert(number, chunk);
                    continue;
                }
                Stage::Again(_) => self.slots.give_back(chunk.slot),
                Stage::Before(read) | Stage::Data(read) | Stage::After(read) => {
                    if let Some(there) = self.in_flight.get_mut(&read) {
                        there.what = What::Nothing(chunk.slot);
                    }
                }
            }
            self.chunk_is_over(id);
        }
        self.end_if_over(id);
    }

    fn stop_all(&mut self, outcome: Outcome, why: &str, is_one: impl Fn(&Underway) -> bool) {
        let all = self.underway.iter().filter(|(_, there)| is_one(there));
        let all: Vec<TransferId> = all.map(|(&id, _)| id).collect();
        all.into_iter().for_each(|id| self.stop(id, outcome, Some(why.to_owned())));
    }

    /// Gives up peers that do not answer a read.
    fn give_up(&mut self, now: Duration) {
        let late = self
            .in_flight
            .values()
            .filter(|read| matches!(read.what, What::Chunk(_)) && now.saturating_sub(read.since) >= READ_LIMIT);
        let late: HashSet<Target> = late.map(|read| read.of.0).collect();
        for peer in late {
            let message = format!("agent {peer} did not answer a read in {READ_LIMIT:?}");
            self.failed.push((peer, Error::new(ErrorKind::Unavailable, message)));
        }
    }

    /// Takes newer metadata of peers of which nothing is in flight any more; and makes a new NIXL agent when too many slots are lost
    /// to the one that is there.
    fn renew(&mut self, now: Duration) {
        let idle: Vec<AgentId> = self.known.held().filter(|&agent| !self.is_reading(agent)).collect();
        for agent in idle {
            if let Err(error) = self.slots.agent().and_then(|nixl| self.known.take_held(nixl, agent)) {
                self.fail(agent, &error);
            }
        }
        let is_wanted = |read: &InFlight| matches!(read.what, What::Chunk(_));
        let limit = if self.slots.is_none_free() { ABANDONED_LIMIT } else { READ_LIMIT };
        let is_stuck = |read: &InFlight| !is_wanted(read) && now.saturating_sub(read.since) >= limit;
        let is_time = self.slots.is_short() || self.in_flight.values().any(is_stuck);
        self.slots.drain(is_time);
        let is_again = |chunk: &Chunk| matches!(chunk.stage, Stage::Again(_));
        if !is_time || self.in_flight.values().any(is_wanted) || self.chunks.values().any(is_again) {
            return;
        }
        // What is in flight ends with its agent, and writes to slots that are none any more.
        self.slots.renew();
        self.in_flight.clear();
        match self.slots.agent() {
            Ok(nixl) => self.known.tell(nixl).iter().for_each(|(agent, error)| self.fail(*agent, error)),
            Err(error) => {
                let agents: Vec<AgentId> = self.known.agents().collect();
                agents.into_iter().for_each(|agent| self.fail(agent, &error));
            }
        }
    }

    /// NIXL cannot reach an agent, wherever that was found.
    fn fail(&mut self, agent: AgentId, error: &Error) {
        let said = |place| (place, Error::new(error.kind(), error.to_string()));
        self.failed.extend(self.known.places(agent).map(said));
    }
}

impl Underway {
    /// Which pool of whose it reads.
    fn of(&self) -> (Target, u32) {
        (self.from, self.theirs.pool)
    }

    /// The blocks of these periods that are read.
    fn read(&self, periods: &Range<usize>) -> Range<usize> {
        let (read, there) = (self.parts.plan.period().0, self.transfer.grant.blocks().len());
        (periods.start * read).min(there)..(periods.end * read).min(there)
    }

    /// What says whether the blocks of these periods may be relied on: the lease's words, and each block's seal.
    fn words(&self, periods: &Range<usize>) -> Vec<Copy> {
        let blocks = &self.transfer.grant.blocks()[self.read(periods)];
        let lease = self.theirs.on_board(self.transfer.grant.lease()).into_iter();
        let seals = blocks.iter().filter(|_| self.is_checked).map(|&block| self.theirs.seal(block));
        let places = lease.chain(seals).zip(0..);
        places.map(|(from, place)| Copy { from, to: place * Slot::WORDS, len: Slot::WORDS }).collect()
    }

    /// Where the lease stands by what was read, and the seals.
    fn standing(&self, chunk: &Chunk) -> Result<Vec<[u64; 2]>, Outcome> {
        let grant = &self.transfer.grant;
        let count = if self.is_checked { self.read(&chunk.periods).len() } else { 0 };
        let mut words = chunk.slot.words(1 + count).map_err(|_| Outcome::Io)?;
        let seals = words.split_off(1);
        standing(words[0], grant.lease(), grant.tag())?;
        Ok(seals)
    }

    /// The bytes of the blocks of these periods, one block after the other.
    fn data(&self, periods: &Range<usize>) -> Vec<Copy> {
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
    fn part(&self, number: u64, chunk: &Chunk, sums: Vec<u64>) -> Result<(Transfer, Source)> {
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
fn worse(one: Outcome, other: Outcome) -> Outcome {
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
