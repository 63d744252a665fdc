//! Transfers under way. Each goes in parts, each of which is read into a slot of our own and copied from there.
//!
//! NIXL does not say when the last byte of a read that failed was written, and does not take back one that was begun. So it never
//! reads into the pool of an engine: what comes late comes into a slot, which is not used again before NIXL has said that the read
//! ended well. Slots that are lost this way are had again by a new NIXL agent.

mod chunk;
mod late;
mod underway;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use llmd_core::{Error, ErrorKind, Result};

use self::chunk::{Chunk, InFlight, Stage, What};
use self::underway::{Underway, worse};
use super::known::Known;
use super::lent::name_of;
use super::pace::Pace;
use super::peer::Theirs;
use super::slot::{Parts, Slots};
use crate::grant::AgentId;
use crate::nixl::{self, Metadata};
use crate::outcome::{Blocks, Outcome};
use crate::transport::job::Inbox;
use crate::transport::target::Target;
use crate::transport::{Check, Ending, Home, Transfer, TransferId, outcome_of};

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

/// How many transfers may be under way.
const MAX_UNDERWAY: usize = 1 << 16;
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
        let is_checked = theirs.is_sealed && (transfer.is_checked || self.home.check == Check::Remote);
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
}
