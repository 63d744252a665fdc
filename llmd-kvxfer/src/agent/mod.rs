//! What an engine talks to: it lends blocks of its pools, fetches those of others, and goes on while the engine does not call.

mod builder;
mod choice;
mod fetch;
mod kept;
mod named;
mod ops;
mod plans;
mod thread;

use std::collections::HashMap;
use std::fmt;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use llmd_core::{Error, ErrorKind, Result};
use parking_lot::Mutex;

pub use self::builder::AgentBuilder;
pub use self::choice::Considered;
use self::choice::Pace;
pub use self::fetch::Fetch;
pub use self::kept::Kept;
use self::kept::Wanted;
use self::ops::Ops;
pub use self::ops::{Event, Fetched, OpId};
use self::plans::Plans;
use crate::grant::{Address, AgentId, Grant, MAX_BLOCKS, Parts};
use crate::layout::KvLayout;
use crate::lease::{Lease, LeaseId};
use crate::outcome::Outcome;
use crate::pool::Pool;
use crate::region::Region;
use crate::transport::{Home, Note, Transport, Trust, Word, process};

/// Lends blocks of its pools to other agents, and fetches theirs.
///
/// Everything is submitted, and what became of it is polled: no call waits for a peer, but for [`wait`](Self::wait). It has one
/// thread, which sleeps unless there is something to do, so that others are served while the engine computes, and a few that copy.
/// Clones are the same agent; it ends with the last.
///
/// ```
/// use std::time::Duration;
///
/// use llmd_kvxfer::{Agent, Event, KvLayout, Lease, Local, Outcome, Region};
///
/// let layout = KvLayout::opaque("bytes", 8, 4096)?;
/// let here = Local::default();
/// let prefill = Agent::builder("prefill-0").transport(here.clone()).build()?;
/// let decode = Agent::builder("decode-0").transport(here).build()?;
/// let computed = prefill.register(Region::memfd(8 * 4096)?, layout.clone())?;
/// let cache = decode.register(Region::memfd(8 * 4096)?, layout)?;
///
/// computed.write_block(3, &[7; 4096])?;
/// let grant = prefill.grant(&computed, &[3], Lease::for_secs(30))?;
/// // … the grant goes with the request …
/// let op = decode.fetch(&grant, &cache, &[5], Duration::from_secs(5))?;
/// assert_eq!(decode.wait(op, Duration::from_secs(5))?.outcome, Outcome::Done);
/// assert_eq!(cache.read_block(5)?, [7; 4096]);
/// # Ok::<(), llmd_core::Error>(())
/// ```
#[derive(Clone)]
pub struct Agent {
    inner: Arc<Inner>,
    /// Ends the thread when the last clone goes.
    _life: Arc<thread::Life>,
}

struct Inner {
    home: Arc<Home>,
    transports: Vec<Mutex<Carrier>>,
    names: Vec<&'static str>,
    /// By pool, which transports move it, as bits.
    moves: Mutex<HashMap<u32, u64>>,
    ops: Mutex<Ops>,
    plans: Mutex<Plans>,
    wanted: Mutex<Wanted>,
    /// Those of the transports, for as long as it lives.
    wake_fds: Vec<OwnedFd>,
    next_pool: AtomicU32,
    /// Which process it was built in.
    process: u32,
    /// Until when its thread sleeps, in nanoseconds of its clock.
    sleeps_until: AtomicU64,
    /// When somebody polled last, in nanoseconds of its clock.
    looked_at: AtomicU64,
    /// How often in a row somebody polled right after they had.
    looks: AtomicU32,
    is_over: AtomicBool,
    is_done: parking_lot::Condvar,
}

/// A transport, and how fast it was.
#[derive(Debug)]
struct Carrier {
    transport: Box<dyn Transport>,
    pace: Pace,
}

impl Agent {
    /// An agent by this name, which is said to peers and means nothing else.
    pub fn builder(name: impl Into<String>) -> AgentBuilder {
        AgentBuilder::new(name.into())
    }

    /// Which agent this is: another after each start.
    pub fn id(&self) -> AgentId {
        self.inner.home.agent()
    }

    /// Takes a region in, laid out like this, for the agent's own tenant: from now on its blocks can be lent, and blocks fetched
    /// into it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when the region is shorter than its layout; [`ErrorKind::Unsupported`] when no transport of the agent
    /// can move such memory.
    pub fn register(&self, region: Region, layout: KvLayout) -> Result<Pool> {
        self.register_for(&self.inner.home.tenant, region, layout)
    }

    /// The same, for peers of this tenant alone.
    ///
    /// # Errors
    ///
    /// Those of [`register`](Self::register); [`ErrorKind::Denied`] when the region is another tenant's already and a transport
    /// would let each read what is the other's.
    pub fn register_for(&self, tenant: &str, region: Region, layout: KvLayout) -> Result<Pool> {
        self.is_ours()?;
        let inner = &*self.inner;
        inner.is_of_one_domain(tenant, &region)?;
        let id = inner.next_pool.fetch_add(1, Ordering::Relaxed);
        let pool = match region.device().map(|there| inner.home.engine(there.device())).transpose()? {
            Some(engine) => Pool::moved_by(engine, id, tenant, region, layout)?,
            None => Pool::new(id, tenant, region, layout)?,
        };
        let (mut refused, mut moves) = (Vec::new(), 0);
        for (place, carrier) in inner.transports.iter().enumerate() {
            let mut carrier = carrier.lock();
            match carrier.transport.register(&pool) {
                Ok(()) => moves |= 1 << place,
                Err(error) => refused.push(format!("{}: {error}", carrier.transport.name())),
            }
        }
        if refused.len() == inner.transports.len() {
            return Err(Error::new(ErrorKind::Unsupported, format!("no transport moves it ({})", refused.join("; "))));
        }
        inner.moves.lock().insert(id, moves);
        inner.home.insert(pool.clone());
        Ok(pool)
    }

    /// Forgets a pool: leases of its blocks are released, and no grant names it again. Its memory stays as long as somebody has it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] in a forked child.
    pub fn unregister(&self, pool: &Pool) -> Result<()> {
        self.is_ours()?;
        self.inner.home.remove(pool.id());
        self.inner.moves.lock().remove(&pool.id());
        self.inner.transports.iter().for_each(|carrier| carrier.lock().transport.unregister(pool));
        Ok(())
    }

    /// Lends these blocks of a pool of ours, and gives what names them to others. Nobody may write them until
    /// [`Event::LeaseEnded`] says that they are free.
    ///
    /// Unless the agent checks nothing, the threads that copy take the blocks' sums meanwhile, if they have none yet.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] for a pool that is not the agent's, and for blocks that it does not have, or more than 2²⁰; [`ErrorKind::Exhausted`] when as many leases
    /// hold as may, or as many have ended of which nobody has heard by polling.
    pub fn grant(&self, pool: &Pool, blocks: &[u32], terms: Lease) -> Result<Grant> {
        self.is_ours()?;
        let known = self.inner.home.pool(pool.tenant(), pool.id());
        if !known.is_ok_and(|known| known.region().is_same(pool.region())) {
            let message = format!("pool {} to be lent of, expected one that is registered with the agent", pool.id());
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        let there = pool.layout().shape().blocks;
        if let Some(block) = blocks.iter().find(|&&block| block >= there) {
            return Err(Error::new(
                ErrorKind::Invalid,
                format!("block {block} to be lent, expected one below {there}"),
            ));
        }
        if blocks.len() > MAX_BLOCKS {
            let message = format!("{} blocks to be lent at once, expected at most {MAX_BLOCKS}", blocks.len());
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        let inner = &*self.inner;
        let blocks: Arc<[u32]> = blocks.into();
        let (lease, capability) = inner.home.grant(pool, &blocks, terms)?;
        let (agent, layout, ttl) = (inner.home.agent(), pool.layout().clone(), terms.ttl());
        let addresses = inner.addresses(pool);
        Ok(Grant::new(Parts { agent, addresses, pool: pool.id(), layout, lease, capability, ttl, blocks }))
    }

    /// Takes a lease back, whoever reads: they are told that it is stale. Says whether it still held.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] in a forked child.
    pub fn release(&self, lease: LeaseId) -> Result<bool> {
        self.is_ours()?;
        Ok(self.inner.home.release(lease))
    }

    /// Brings all blocks of a grant into these blocks of a pool of ours, within this time: [`submit`](Self::submit) with its
    /// defaults.
    ///
    /// # Errors
    ///
    /// Those of [`submit`](Self::submit).
    pub fn fetch(&self, grant: &Grant, pool: &Pool, blocks: &[u32], within: Duration) -> Result<OpId> {
        self.submit(&Fetch::new(grant, pool, blocks).within(within))
    }

    /// Begins to bring blocks here. Its end comes once, from [`poll`](Self::poll) or [`wait`](Self::wait); until then nobody may
    /// read or write the blocks that are fetched into.
    ///
    /// # Errors
    ///
    /// Then nothing was begun: [`ErrorKind::Invalid`] and [`ErrorKind::Unsupported`] for blocks and layouts that do not fit, those
    /// of [`Plan`](crate::Plan); [`ErrorKind::Unavailable`] when no transport that is allowed reaches the agent, with why for each;
    /// [`ErrorKind::Exhausted`] when as many operations are under way as may.
    pub fn submit(&self, fetch: &Fetch<'_>) -> Result<OpId> {
        self.is_ours()?;
        self.inner.submit(fetch)
    }

    /// Ends an operation, as [`Outcome::Cancelled`] unless it was faster. That end still comes, and not before nothing is written
    /// to its blocks any more.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] in a forked child.
    pub fn cancel(&self, op: OpId) -> Result<()> {
        self.is_ours()?;
        self.inner.cancel(op, Outcome::Cancelled);
        Ok(())
    }

    /// What happened since: operations that ended, leases that did, and what peers said; at most 1,024 of each kind at a time. Does
    /// not wait.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] in a forked child.
    pub fn poll(&self, events: &mut Vec<Event>) -> Result<()> {
        self.is_ours()?;
        let inner = &*self.inner;
        inner.home.quiet_caller();
        let now = inner.home.now();
        inner.look(now);
        inner.poll_transports(now);
        let mut ops = inner.ops.lock();
        let count = ops.done.len().min(AT_ONCE);
        events.extend(ops.done.drain(..count).map(Event::Fetched));
        let are_more = !ops.done.is_empty();
        drop(ops);
        let mut ended = Vec::new();
        inner.home.take_ended(AT_ONCE, &mut ended);
        events.extend(ended.into_iter().map(Event::LeaseEnded));
        let mut notified = Vec::new();
        inner.home.take_notified(AT_ONCE, &mut notified);
        events.extend(notified.into_iter().map(Event::Notified));
        if are_more || inner.home.has_news() {
            inner.home.ring_caller();
        }
        Ok(())
    }

    /// Waits for one operation to end, and copies meanwhile if it can. What it gives does not come from [`poll`](Self::poll) again.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] when it takes longer than `timeout`, and in a forked child; [`ErrorKind::Invalid`] when there is no
    /// such operation, or its end was polled already.
    pub fn wait(&self, op: OpId, timeout: Duration) -> Result<Fetched> {
        self.is_ours()?;
        self.inner.wait(op, timeout)
    }

    /// Has a grant's lease prolonged until what this gives is dropped: for one that waits to be fetched.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Exhausted`] when as many are kept as may, and [`ErrorKind::Unavailable`] in a forked child.
    pub fn keep(&self, grant: &Grant) -> Result<Kept> {
        self.is_ours()?;
        Kept::new(&self.inner, grant)
    }

    /// Says that this agent needs nothing more of a grant: of one that was never fetched, or fetched and
    /// [held](Fetch::and_hold).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] when the agent that granted cannot be reached: then the lease ends by itself.
    pub fn finish(&self, grant: &Grant) -> Result<()> {
        self.is_ours()?;
        self.inner.tell(grant, self.inner.finished(), None)
    }

    /// Says something of a grant to the agent that granted, which gets it as [`Event::Notified`]. It is lost when the lease ends
    /// before, or that agent does not poll.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] when the agent that granted cannot be reached, and [`ErrorKind::Exhausted`] when it does not take
    /// what it is told.
    pub fn notify(&self, grant: &Grant, value: u128) -> Result<()> {
        self.is_ours()?;
        self.inner.tell(grant, Word::Notify { value }, None)
    }

    /// What each transport would cost for this grant, or why it would not do; the first that can is the one that would be taken.
    pub fn consider(&self, grant: &Grant, pool: &Pool) -> Vec<Considered> {
        self.inner.consider(grant, pool, None)
    }

    /// Readable when [`poll`](Self::poll) has something to say, for those with a loop of their own.
    pub fn wake_fd(&self) -> BorrowedFd<'_> {
        self.inner.home.caller_fd()
    }

    /// When something will happen by itself at the latest, on the agent's clock: a lease that lapses, an operation whose time is
    /// over. The agent's thread sees to it by itself.
    pub fn next_deadline(&self) -> Option<Duration> {
        let leases = self.inner.home.next_deadline();
        leases.into_iter().chain(self.inner.ops.lock().next_deadline()).min()
    }

    /// The time on the agent's clock.
    pub fn now(&self) -> Duration {
        self.inner.home.now()
    }

    /// What was counted since it was built.
    pub fn stats(&self) -> AgentStats {
        let home = &self.inner.home;
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let ops = self.inner.ops.lock();
        AgentStats {
            leases: home.leases(),
            operations: ops.live.len(),
            peers: self.inner.transports.iter().map(|carrier| carrier.lock().transport.peers()).sum(),
            ended: ops.ended,
            fetched_bytes: ops.bytes,
            fallbacks: ops.fallbacks,
            served_bytes: read(&home.counts.served_bytes),
            denied_reads: read(&home.counts.denied),
            stale_reads: read(&home.counts.stale),
            refused_peers: read(&home.counts.refused_peers),
            forgotten_peers: read(&home.counts.forgotten_peers),
            malformed_messages: read(&home.counts.malformed),
            lost_notes: read(&home.counts.lost_notes),
            mapped_bytes: read(&home.counts.ways.mapped),
            cma_bytes: read(&home.counts.ways.cma),
            staged_bytes: read(&home.counts.ways.staged),
            ipc_bytes: read(&home.counts.ways.ipc),
        }
    }

    fn is_ours(&self) -> Result<()> {
        let process = process();
        if process == self.inner.process {
            return Ok(());
        }
        let message =
            format!("an agent of process {}, in its forked child {process}: build one there", self.inner.process);
        Err(Error::new(ErrorKind::Unavailable, message))
    }
}

/// The most that a word holds, for what is longer.
fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// How many events one poll gives.
const AT_ONCE: usize = 1024;

/// What an agent counted since it was built, and what it has now.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct AgentStats {
    /// Leases that hold.
    pub leases: usize,
    /// Operations under way.
    pub operations: usize,
    /// Peers that it is connected with.
    pub peers: usize,
    /// Operations that ended, by [`Outcome::ALL`].
    pub ended: [u64; Outcome::ALL.len()],
    /// Bytes that were fetched.
    pub fetched_bytes: u64,
    /// Operations that were begun again on another transport.
    pub fallbacks: u64,
    /// Bytes that were sent to others; not those that others copied by themselves.
    pub served_bytes: u64,
    /// Reads that were denied.
    pub denied_reads: u64,
    /// Reads with a lease that had ended.
    pub stale_reads: u64,
    /// Peers that were not let in.
    pub refused_peers: u64,
    /// Peers that could not be reached, and may be tried again sooner than they would be if there were fewer of them.
    pub forgotten_peers: u64,
    /// Messages that were none.
    pub malformed_messages: u64,
    /// Notes of leases that had ended, or of none.
    pub lost_notes: u64,
    /// Bytes that were fetched by shared memory out of memory of a peer that this process mapped.
    pub mapped_bytes: u64,
    /// Bytes that were fetched by shared memory out of a peer's memory by its address.
    pub cma_bytes: u64,
    /// Bytes that were fetched by shared memory and copied there by the peer.
    pub staged_bytes: u64,
    /// Those of them that a device copied out of memory that another process exported.
    pub ipc_bytes: u64,
}

impl Inner {
    /// Once a peer has mapped a region it can read all of it: then it is one tenant's.
    fn is_of_one_domain(&self, tenant: &str, region: &Region) -> Result<()> {
        let Some(there) = self.home.has_region(region).filter(|there| there.tenant() != tenant) else { return Ok(()) };
        let trusting =
            self.transports.iter().map(Mutex::lock).find(|carrier| carrier.transport.trust() == Trust::Trusting);
        let Some(carrier) = trusting else { return Ok(()) };
        let message = format!(
            "a region of tenant `{}` for tenant `{tenant}` too, which would let each read what is the other's by {}",
            there.tenant(),
            carrier.transport.name()
        );
        Err(Error::new(ErrorKind::Denied, message))
    }

    /// Of the transports that move this pool.
    fn addresses(&self, pool: &Pool) -> Vec<Address> {
        let moves = self.moves.lock().get(&pool.id()).copied().unwrap_or(0);
        let address = |(place, carrier): (usize, &Mutex<Carrier>)| {
            if moves >> place & 1 == 0 {
                return None;
            }
            let carrier = carrier.lock();
            let place = carrier.transport.address()?;
            Some(Address { transport: carrier.transport.name().to_owned(), place })
        };
        self.transports.iter().enumerate().filter_map(address).collect()
    }

    fn finished(&self) -> Word {
        let bytes = self.home.agent().to_bytes();
        Word::Finished { consumer: u64::from_le_bytes(std::array::from_fn(|place| bytes[place])) }
    }

    /// Says something of a lease to who granted it, by the transport that was used or the first that can.
    fn tell(&self, grant: &Grant, word: Word, by: Option<usize>) -> Result<()> {
        let note = Note { lease: grant.lease(), capability: *grant.capability(), word };
        let now = self.home.now();
        let mut last = Error::new(ErrorKind::Unavailable, format!("no transport reaches agent {}", grant.agent()));
        let all = 0..self.transports.len();
        for carrier in by.into_iter().chain(all.filter(|&place| Some(place) != by)) {
            match self.transports[carrier].lock().transport.tell(now, grant, note) {
                Ok(()) => return Ok(()),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Has all transports do what there is to do. Says whether there was anything.
    fn poll_transports(&self, now: Duration) -> bool {
        let mut ended = Vec::new();
        let mut is_any = false;
        for (place, carrier) in self.transports.iter().enumerate() {
            // Somebody else is at it already.
            let Some(mut carrier) = carrier.try_lock() else { continue };
            is_any |= carrier.transport.poll(now, &mut ended);
            drop(carrier);
            ended.drain(..).for_each(|ending| self.ended(place, ending));
        }
        is_any
    }
}

impl fmt::Debug for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Agent").field("home", &self.inner.home).field("transports", &self.inner.names).finish()
    }
}

#[cfg(test)]
mod tests;
