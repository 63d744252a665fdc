//! What an agent serves others from: its pools, who may read what of them, and who was told.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use llmd_core::{Error, ErrorKind, Result};
use parking_lot::{Mutex, RwLock};

use super::copiers::{Step, Work};
use super::sealing::StagedSealing;
use super::{Bell, Copiers, Note, Transfer, Ways, Word};
use crate::copy::Packed;
use crate::device::{BUFFER_BYTES, CopyEngine, Device, MAX_BUFFER_BYTES};
use crate::grant::AgentId;
use crate::handshake::{Identity, Keys};
use crate::lease::{Capability, Ended, Lease, LeaseEnd, LeaseId, LeaseTable};
use crate::pool::{Board, Pool};

/// When what arrives is held against what was sealed.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Check {
    /// Whichever way it comes.
    #[default]
    Always,
    /// Nothing is sealed, and nothing checked.
    Off,
    /// When it comes from another machine, or may.
    Remote,
}

/// What a transport serves others from: an agent's pools and leases, and who may read what of them.
pub struct Home {
    pub(crate) me: Identity,
    pub(crate) keys: Keys,
    pub(crate) tenant: String,
    pub(crate) check: Check,
    pub(crate) spin: Duration,
    pub(crate) copiers: Copiers,
    /// Wakes the agent's own thread.
    pub(crate) bell: Bell,
    /// Wakes whoever polls the agent, once somebody asked for what wakes them.
    caller: Bell,
    is_caller_listening: AtomicBool,
    pub(crate) board: Board,
    clock: Clock,
    pools: RwLock<HashMap<u32, Pool>>,
    leases: Mutex<LeaseTable<Board>>,
    max_leases: usize,
    /// One for each device that was seen so far.
    engines: Mutex<Vec<Arc<CopyEngine>>>,
    /// By the agent and the pool that is read, and the pool that is written.
    packed: Mutex<HashMap<(AgentId, u32, u32), Arc<Packed>>>,
    ended: Mutex<VecDeque<LeaseEnded>>,
    notified: Mutex<VecDeque<Notified>>,
    pub(crate) counts: Counts,
}

/// Says how much time has passed since some moment.
pub(crate) type Clock = Arc<dyn Fn() -> Duration + Send + Sync>;

/// What a home is made of.
pub(crate) struct HomeSettings {
    pub(crate) me: Identity,
    pub(crate) keys: Keys,
    pub(crate) tenant: String,
    pub(crate) check: Check,
    pub(crate) spin: Duration,
    pub(crate) copy_threads: usize,
    pub(crate) max_leases: usize,
    pub(crate) clock: Clock,
}

/// What was counted while others were served.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) served_bytes: AtomicU64,
    pub(crate) denied: AtomicU64,
    pub(crate) stale: AtomicU64,
    pub(crate) refused_peers: AtomicU64,
    pub(crate) forgotten_peers: Arc<AtomicU64>,
    pub(crate) malformed: AtomicU64,
    pub(crate) lost_notes: AtomicU64,
    pub(crate) ways: Ways,
}

/// A lease that ended: from now on the engine may use its blocks again.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct LeaseEnded {
    /// Which.
    pub lease: LeaseId,
    /// How.
    pub end: LeaseEnd,
    /// Of which pool its blocks are.
    pub pool: u32,
    /// Which of its blocks no other lease held when it ended. One that was lent again since is still among them: whoever lends a
    /// block before it has polled knows that it did.
    pub free: Vec<u32>,
}

/// What a peer said to the agent that granted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Notified {
    /// Of which lease.
    pub lease: LeaseId,
    /// What.
    pub value: u128,
}

/// Blocks that somebody may read.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Reading {
    /// Of this pool.
    pub pool: Pool,
    /// All that the lease holds.
    pub blocks: Arc<[u32]>,
    /// Those of them that were asked for.
    pub places: Range<usize>,
}

impl Home {
    pub(crate) fn new(settings: HomeSettings) -> Result<Self> {
        let HomeSettings { me, keys, tenant, check, spin, copy_threads, max_leases, clock } = settings;
        let board = Board::new(crate::pool::slots(max_leases)?)?;
        let leases = Mutex::new(LeaseTable::new(max_leases, board.clone()));
        let (bell, caller) = (Bell::new()?, Bell::new()?);
        let is_caller_listening = AtomicBool::new(false);
        let copiers = Copiers::new(copy_threads);
        let (pools, ended, notified) = (RwLock::default(), Mutex::default(), Mutex::default());
        let counts = Counts::default();
        Ok(Self {
            me,
            keys,
            tenant,
            check,
            spin,
            copiers,
            bell,
            caller,
            is_caller_listening,
            board,
            clock,
            pools,
            leases,
            max_leases,
            engines: Mutex::default(),
            packed: Mutex::default(),
            ended,
            notified,
            counts,
        })
    }

    /// Which agent this is.
    pub fn agent(&self) -> AgentId {
        self.me.agent
    }

    /// The agent's time.
    pub fn now(&self) -> Duration {
        (self.clock)()
    }

    /// A pool that it has, for peers of this tenant.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Denied`] when it has none of that number for that tenant.
    pub fn pool(&self, tenant: &str, pool: u32) -> Result<Pool> {
        let pools = self.pools.read();
        let there = pools.get(&pool).filter(|there| there.tenant() == tenant);
        there.cloned().ok_or_else(|| {
            self.counts.denied.fetch_add(1, Ordering::Relaxed);
            Error::new(ErrorKind::Denied, format!("there is no pool {pool} of tenant `{tenant}` here"))
        })
    }

    /// What a peer of this tenant may read with this lease: these of its blocks, by their places.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Denied`] and [`ErrorKind::Stale`] when it may not.
    pub fn admit(&self, tenant: &str, lease: LeaseId, capability: &Capability, places: Range<u32>) -> Result<Reading> {
        let admitted = || {
            let leases = self.leases.lock();
            let held = leases.check(self.now(), lease, capability)?;
            let (pool, blocks) = (held.pool(), Arc::clone(held.blocks()));
            drop(leases);
            let places = places.start as usize..places.end as usize;
            if places.start > places.end || places.end > blocks.len() {
                let message = format!("blocks {} to {} of lease {lease} of {}", places.start, places.end, blocks.len());
                return Err(Error::new(ErrorKind::Denied, message));
            }
            let pool = self.pool(tenant, pool)?;
            Ok(Reading { pool, blocks, places })
        };
        admitted().inspect_err(|error| {
            let count = if error.kind() == ErrorKind::Stale { &self.counts.stale } else { &self.counts.denied };
            count.fetch_add(1, Ordering::Relaxed);
        })
    }

    /// Whether a lease still holds, after what was read before this.
    pub fn holds(&self, lease: LeaseId) -> bool {
        self.board.holds(lease)
    }

    /// What a peer said.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Denied`] and [`ErrorKind::Stale`] when it had no right to.
    pub fn note(&self, note: Note) -> Result<()> {
        let now = self.now();
        let Note { lease, capability, word } = note;
        let mut leases = self.leases.lock();
        let said = match word {
            Word::Finished { consumer } => leases.finish(now, lease, &capability, consumer),
            Word::Notify { value } => leases
                .check(now, lease, &capability)
                .map(|_| ())
                .and_then(|()| self.notify(Notified { lease, value }))
                .map(|()| None),
            Word::Wanted => leases.prolong(now, lease, &capability).map(|()| None),
        };
        match said {
            Ok(ended) => {
                self.settle(&mut leases, ended);
                Ok(())
            }
            Err(error) => {
                self.counts.lost_notes.fetch_add(1, Ordering::Relaxed);
                Err(error)
            }
        }
    }

    /// There is something to be polled.
    pub(crate) fn ring_caller(&self) {
        if self.is_caller_listening.load(Ordering::Acquire) {
            self.caller.ring();
        }
    }

    /// What was there to be polled was, or is about to be.
    pub(crate) fn quiet_caller(&self) {
        self.caller.quiet();
    }

    /// What wakes whoever polls: rung at once, for what came before anybody listened.
    pub(crate) fn caller_fd(&self) -> BorrowedFd<'_> {
        if !self.is_caller_listening.swap(true, Ordering::AcqRel) {
            self.caller.ring();
        }
        self.caller.as_fd()
    }

    /// What copies for a device, which is measured when it is first seen.
    pub(crate) fn engine(&self, device: &Arc<dyn Device>) -> Result<Arc<CopyEngine>> {
        let mut engines = self.engines.lock();
        if let Some(engine) = engines.iter().find(|engine| Arc::ptr_eq(engine.device(), device)) {
            return Ok(Arc::clone(engine));
        }
        let engine = Arc::new(CopyEngine::new(Arc::clone(device), &mut || self.now())?);
        engines.push(Arc::clone(&engine));
        Ok(engine)
    }

    /// How a transfer's blocks are packed in a buffer of the host.
    pub(crate) fn packed(&self, transfer: &Transfer) -> Result<Arc<Packed>> {
        let Transfer { grant, pool, .. } = transfer;
        let of = (grant.agent(), grant.pool(), pool.id());
        if let Some(packed) = self.packed.lock().get(&of) {
            return Ok(Arc::clone(packed));
        }
        let packed = Arc::new(Packed::new(grant.layout(), pool.layout(), BUFFER_BYTES, MAX_BUFFER_BYTES)?);
        let mut all = self.packed.lock();
        if all.len() >= MAX_PACKED {
            all.clear();
        }
        all.insert(of, Arc::clone(&packed));
        Ok(packed)
    }

    pub(crate) fn insert(&self, pool: Pool) {
        self.pools.write().insert(pool.id(), pool);
    }

    pub(crate) fn remove(&self, pool: u32) {
        let mut leases = self.leases.lock();
        let mut ended = Vec::new();
        leases.release_pool(pool, &mut ended);
        self.settle(&mut leases, ended);
        self.pools.write().remove(&pool);
    }

    /// The agent ends: whoever still reads by itself is told that no lease holds.
    pub(crate) fn end(&self) {
        self.leases.lock().release_all();
    }

    pub(crate) fn has_region(&self, region: &crate::region::Region) -> Option<Pool> {
        self.pools.read().values().find(|pool| pool.region().is_same(region)).cloned()
    }

    pub(crate) fn grant(
        self: &Arc<Self>,
        pool: &Pool,
        blocks: &Arc<[u32]>,
        terms: Lease,
    ) -> Result<(LeaseId, Capability)> {
        let (unheard, most) = (self.ended.lock().len(), self.max_leases);
        if unheard >= most {
            let message = format!(
                "{unheard} leases ended that nobody heard of, expected less than max_leases {most}: poll the agent"
            );
            return Err(Error::new(ErrorKind::Exhausted, message));
        }
        let capability = Capability::random()?;
        let lease = self.lend(pool, blocks, terms, capability)?;
        if self.check != Check::Off {
            let sealing = self.seal(pool, Arc::clone(blocks));
            sealing.inspect_err(|_| {
                self.release(lease);
            })?;
        }
        self.bell.ring();
        Ok((lease, capability))
    }

    fn lend(&self, pool: &Pool, blocks: &Arc<[u32]>, terms: Lease, capability: Capability) -> Result<LeaseId> {
        let mut leases = self.leases.lock();
        let is_new = |&&block: &&u32| !leases.is_held(pool.id(), block);
        let new: smallvec::SmallVec<[u32; 64]> = blocks.iter().filter(is_new).copied().collect();
        let lease = leases.grant(self.now(), pool.id(), Arc::clone(blocks), terms, capability)?;
        // Whoever was to seal them for a lease that has ended may have come to it while they were written.
        new.iter().for_each(|&block| pool.seals().open(block));
        Ok(lease)
    }

    pub(crate) fn release(&self, lease: LeaseId) -> bool {
        let mut leases = self.leases.lock();
        let ended = leases.release(lease);
        let is_ended = ended.is_some();
        self.settle(&mut leases, ended);
        is_ended
    }

    pub(crate) fn expire(&self, now: Duration) {
        let mut leases = self.leases.lock();
        let mut ended = Vec::new();
        leases.expire(now, &mut ended);
        self.settle(&mut leases, ended);
    }

    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        self.leases.lock().next_deadline()
    }

    /// Until when a lease holds, if it does.
    #[cfg(test)]
    pub(crate) fn holds_until(&self, grant: &crate::grant::Grant) -> Option<Duration> {
        let leases = self.leases.lock();
        leases.check(self.now(), grant.lease(), grant.capability()).ok().map(|held| held.expires())
    }

    pub(crate) fn leases(&self) -> usize {
        self.leases.lock().len()
    }

    /// Those that ended and nobody was told of yet, at most so many.
    pub(crate) fn take_ended(&self, most: usize, out: &mut impl Extend<LeaseEnded>) {
        let mut ended = self.ended.lock();
        let count = ended.len().min(most);
        out.extend(ended.drain(..count));
    }

    /// What peers said that nobody heard yet, at most so many.
    pub(crate) fn take_notified(&self, most: usize, out: &mut impl Extend<Notified>) {
        let mut notified = self.notified.lock();
        let count = notified.len().min(most);
        out.extend(notified.drain(..count));
    }

    /// Whether there is something that nobody was told yet.
    pub(crate) fn has_news(&self) -> bool {
        !self.ended.lock().is_empty() || !self.notified.lock().is_empty()
    }

    fn notify(&self, notified: Notified) -> Result<()> {
        let mut all = self.notified.lock();
        if all.len() >= MAX_NOTIFIED {
            let message = format!("{MAX_NOTIFIED} notifications that nobody heard of, expected less: poll the agent");
            return Err(Error::new(ErrorKind::Exhausted, message));
        }
        all.push_back(notified);
        drop(all);
        self.ring_caller();
        Ok(())
    }

    /// Has the sums of blocks taken that have none yet, by the threads that copy.
    pub(crate) fn seal(&self, pool: &Pool, blocks: Arc<[u32]>) -> Result<()> {
        if pool.moved().is_some() {
            return self.copiers.submit(Arc::new(StagedSealing::new(pool, blocks)));
        }
        let bytes = pool.layout().block_bytes().max(1);
        let each = (SEALED_AT_ONCE / bytes).max(1) as usize;
        self.copiers.submit(Arc::new(Sealing { pool: pool.clone(), blocks, each, next: AtomicU64::new(0) }))
    }

    /// What has to happen while nobody can lend the blocks of leases that ended: their seals are opened. Then whoever polls is told.
    fn settle(&self, _leases: &mut LeaseTable<Board>, ended: impl IntoIterator<Item = Ended>) {
        for Ended { lease, end, pool, free, .. } in ended {
            if let Some(pool) = self.pools.read().get(&pool) {
                free.iter().for_each(|&block| pool.seals().open(block));
            }
            self.ended.lock().push_back(LeaseEnded { lease, end, pool, free });
            self.ring_caller();
        }
    }
}

/// How many ways to pack are remembered.
const MAX_PACKED: usize = 256;
/// How many notifications wait to be polled.
const MAX_NOTIFIED: usize = 1 << 16;
/// How much is sealed in one step.
const SEALED_AT_ONCE: u64 = 256 << 10;

/// Blocks of which the sums are to be taken.
struct Sealing {
    pool: Pool,
    blocks: Arc<[u32]>,
    each: usize,
    next: AtomicU64,
}

impl Work for Sealing {
    fn step(&self) -> Step {
        let start = self.next.fetch_add(self.each as u64, Ordering::Relaxed) as usize;
        if start >= self.blocks.len() {
            return Step::Taken;
        }
        for &block in &self.blocks[start..(start + self.each).min(self.blocks.len())] {
            if let Some(ticket) = self.pool.seals().begin(block) {
                // Blocks were checked when they were granted, so that their bytes are there.
                let _sealed = self.pool.seal(block, ticket);
            }
        }
        Step::More
    }
}

impl fmt::Debug for Home {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Home").field("me", &self.me).field("leases", &self.leases()).finish_non_exhaustive()
    }
}
