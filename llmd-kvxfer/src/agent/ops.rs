//! Operations under way, and those that ended.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use llmd_core::{Error, ErrorKind, Result};

use super::{Fetch, Inner};
use crate::grant::Grant;
use crate::outcome::{Blocks, Outcome};
use crate::plan::Plan;
use crate::pool::Pool;
use crate::transport::{Check, Ending, LeaseEnded, Notified, Transfer, Trust};

/// Which operation of an agent.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct OpId(pub(super) u64);

impl OpId {
    /// Its number, for those who keep it elsewhere.
    pub const fn number(self) -> u64 {
        self.0
    }

    /// The operation of this number.
    pub const fn from_number(number: u64) -> Self {
        Self(number)
    }
}

impl fmt::Display for OpId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What happened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// An operation ended.
    Fetched(Fetched),
    /// A lease ended: its blocks may be used again.
    LeaseEnded(LeaseEnded),
    /// A peer said something of a grant of ours.
    Notified(Notified),
}

/// How an operation ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Fetched {
    /// Which.
    pub op: OpId,
    /// How.
    pub outcome: Outcome,
    /// Which of the blocks that were to be fetched into hold what they should. The others hold nothing that can be relied on.
    pub blocks: Blocks,
    /// How many bytes were brought.
    pub bytes: u64,
    /// By which transport.
    pub transport: &'static str,
    /// How long it took.
    pub took: Duration,
    /// What happened, where the outcome alone does not say it.
    pub why: Option<String>,
}

#[derive(Debug)]
pub(super) struct Ops {
    pub(super) live: HashMap<u64, Live>,
    pub(super) done: VecDeque<Fetched>,
    deadlines: BinaryHeap<Reverse<(Duration, u64)>>,
    next: u64,
    most: usize,
    pub(super) ended: [u64; Outcome::ALL.len()],
    pub(super) bytes: u64,
    pub(super) fallbacks: u64,
}

/// An operation under way.
#[derive(Debug)]
pub(super) struct Live {
    grant: Grant,
    pool: Pool,
    blocks: Arc<[u32]>,
    plan: Arc<Plan>,
    /// Which transport has it, and which had it before.
    by: usize,
    tried: u64,
    allowed: u64,
    is_held: bool,
    /// Whether its lease is prolonged until it ends.
    is_kept: bool,
    priority: u8,
    began: Duration,
    deadline: Duration,
    /// Why it was ended, when we did.
    reason: Option<Outcome>,
}

impl Ops {
    pub(super) fn new(most: usize) -> Self {
        Self {
            live: HashMap::new(),
            done: VecDeque::new(),
            deadlines: BinaryHeap::new(),
            next: 0,
            most,
            ended: [0; Outcome::ALL.len()],
            bytes: 0,
            fallbacks: 0,
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Duration> {
        self.deadlines.peek().map(|Reverse((deadline, _))| *deadline)
    }

    /// How this one ended, if it has.
    fn take(&mut self, op: OpId) -> Option<Fetched> {
        let place = self.done.iter().rposition(|fetched| fetched.op == op)?;
        self.done.remove(place)
    }

    fn insert(&mut self, live: Live) -> Result<u64> {
        if self.live.len() + self.done.len() >= self.most {
            let message = format!(
                "{} operations under way and {} that ended and were not polled, expected less than max_operations {}",
                self.live.len(),
                self.done.len(),
                self.most
            );
            return Err(Error::new(ErrorKind::Exhausted, message));
        }
        self.next += 1;
        self.live.insert(self.next, live);
        Ok(self.next)
    }

    /// Ends this one at its deadline.
    fn end_at(&mut self, deadline: Duration, id: u64) {
        if self.deadlines.len() > 2 * self.live.len() + SPARE {
            // Most are of operations that ended long before.
            let live = &self.live;
            self.deadlines.retain(|Reverse((_, id))| live.contains_key(id));
        }
        self.deadlines.push(Reverse((deadline, id)));
    }
}

impl Inner {
    pub(super) fn submit(&self, fetch: &Fetch<'_>) -> Result<OpId> {
        let now = self.home.now();
        let Fetch { grant, pool, blocks, within, only, is_held, priority } = *fetch;
        let plan = self.plans.lock().plan(grant, pool)?;
        plan.copies(grant.blocks(), blocks)?;
        let allowed = self.allowed(only)?;
        let by = self.choose(grant, pool, allowed, &plan, blocks.len())?;
        let deadline = now.saturating_add(within);
        let live = Live {
            grant: grant.clone(),
            pool: pool.clone(),
            blocks: blocks.into(),
            plan,
            by,
            tried: 1 << by,
            allowed,
            is_held,
            is_kept: false,
            priority,
            began: now,
            deadline,
            reason: None,
        };
        let transfer = live.transfer(0, self.is_checked(by));
        let id = self.ops.lock().insert(live)?;
        if let Err(error) = self.post(now, by, Transfer { id, ..transfer }) {
            self.ops.lock().live.remove(&id);
            return Err(error);
        }
        Ok(OpId(id))
    }

    /// Gives a transfer to a transport.
    fn post(&self, now: Duration, by: usize, transfer: Transfer) -> Result<()> {
        let (id, deadline) = (transfer.id, transfer.deadline);
        let ending = self.transports[by].lock().transport.post(now, transfer)?;
        match ending {
            Some(ending) => self.ended(by, ending),
            None => {
                let mut ops = self.ops.lock();
                if let Some(live) = ops.live.get_mut(&id).filter(|live| !live.is_kept) {
                    // Until it ends its lease is wanted; when too many are, it has what it was granted.
                    let first = now.saturating_add(live.grant.ttl() / 3);
                    live.is_kept = self.wanted.lock().add(&live.grant, first).is_ok();
                }
                ops.end_at(deadline, id);
                drop(ops);
                if deadline.as_nanos() < self.sleeps_until.load(std::sync::atomic::Ordering::SeqCst).into() {
                    self.home.bell.ring();
                }
            }
        }
        Ok(())
    }

    pub(super) fn is_checked(&self, by: usize) -> bool {
        match self.home.check {
            Check::Always => true,
            Check::Off => false,
            Check::Remote => self.transports[by].lock().transport.trust() == Trust::Enforcing,
        }
    }

    /// A transfer ended: the operation did too, unless another transport can go on.
    pub(super) fn ended(&self, by: usize, ending: Ending) {
        let now = self.home.now();
        let mut ops = self.ops.lock();
        let is_transports_fault = matches!(ending.outcome, Outcome::PeerLost | Outcome::Io);
        if is_transports_fault && ops.live.get(&ending.id).is_some_and(|live| live.may_go_on(now)) {
            drop(ops);
            if self.goes_on(now, ending.id) {
                return;
            }
            ops = self.ops.lock();
        }
        let Some(live) = ops.live.remove(&ending.id) else { return };
        if live.is_kept {
            self.wanted.lock().remove(&live.grant);
        }
        let took = now.saturating_sub(live.began);
        let outcome = match live.reason {
            Some(reason) if ending.outcome != Outcome::Done => reason,
            _ => ending.outcome,
        };
        let place = Outcome::ALL.iter().position(|&there| there == outcome).unwrap_or_default();
        ops.ended[place] += 1;
        ops.bytes += ending.bytes;
        let Ending { id, blocks, bytes, why, .. } = ending;
        ops.done.push_back(Fetched { op: OpId(id), outcome, blocks, bytes, transport: self.names[by], took, why });
        drop(ops);
        self.is_done.notify_all();
        self.home.ring_caller();
        if outcome == Outcome::Done {
            let mut carrier = self.transports[by].lock();
            // Which way it went is what it would be now.
            let way = carrier.transport.reach(&live.grant, &live.pool).map_or("", |cost| cost.way);
            carrier.pace.record(way, bytes, took);
        }
        let is_reachable = !matches!(outcome, Outcome::PeerLost | Outcome::Denied | Outcome::Stale);
        if !live.is_held && is_reachable {
            // It cannot be told, and the lease ends by itself.
            let _told = self.tell(&live.grant, self.finished(), Some(by));
        }
    }

    /// Begins an operation again on another transport. Says no when there is none that can.
    fn goes_on(&self, now: Duration, id: u64) -> bool {
        loop {
            let ops = self.ops.lock();
            let Some(live) = ops.live.get(&id).filter(|live| live.may_go_on(now)) else { return false };
            let (untried, transfer) = (live.allowed & !live.tried, live.transfer(id, false));
            drop(ops);
            let Transfer { grant, pool, plan, blocks, .. } = &transfer;
            let Ok(by) = self.choose(grant, pool, untried, plan, blocks.len()) else { return false };
            let mut ops = self.ops.lock();
            let Some(live) = ops.live.get_mut(&id) else { return false };
            live.by = by;
            live.tried |= 1 << by;
            ops.fallbacks += 1;
            drop(ops);
            if self.post(now, by, Transfer { is_checked: self.is_checked(by), ..transfer }).is_ok() {
                return true;
            }
        }
    }

    /// Has its transport end an operation.
    pub(super) fn cancel(&self, op: OpId, reason: Outcome) {
        let mut ops = self.ops.lock();
        let Some(live) = ops.live.get_mut(&op.0) else { return };
        live.reason = live.reason.or(Some(reason));
        let by = live.by;
        drop(ops);
        self.transports[by].lock().transport.cancel(op.0);
        self.home.bell.ring();
    }

    /// Ends those whose time is over.
    pub(super) fn expire(&self, now: Duration) {
        loop {
            let mut ops = self.ops.lock();
            let late = ops.deadlines.peek().filter(|Reverse((deadline, _))| *deadline <= now).map(|late| late.0.1);
            let Some(id) = late else { return };
            ops.deadlines.pop();
            drop(ops);
            self.cancel(OpId(id), Outcome::Timeout);
        }
    }

    pub(super) fn wait(&self, op: OpId, timeout: Duration) -> Result<Fetched> {
        if let Some(fetched) = self.ops.lock().take(op) {
            return Ok(fetched);
        }
        let until = self.home.now().saturating_add(timeout);
        loop {
            self.poll_transports(self.home.now());
            let mut ops = self.ops.lock();
            if let Some(fetched) = ops.take(op) {
                return Ok(fetched);
            }
            if !ops.live.contains_key(&op.0) {
                let message = format!("operation {op}, expected one that is under way or ended and was not polled");
                return Err(Error::new(ErrorKind::Invalid, message));
            }
            let now = self.home.now();
            if now >= until {
                let message = format!("operation {op} did not end in {timeout:?}");
                return Err(Error::new(ErrorKind::Unavailable, message));
            }
            drop(ops);
            if self.home.copiers.help() {
                continue;
            }
            let mut ops = self.ops.lock();
            let is_over = ops.done.iter().any(|fetched| fetched.op == op);
            if !is_over && ops.live.contains_key(&op.0) {
                self.is_done.wait_for(&mut ops, (until - now).min(LOOK_UP));
            }
        }
    }
}

/// How many deadlines of operations that ended may be remembered.
const SPARE: usize = 1024;
/// How long one who waits sleeps before it looks by itself.
const LOOK_UP: Duration = Duration::from_millis(1);

impl Live {
    /// Whether another transport may be tried: nobody ended it, and there is time.
    fn may_go_on(&self, now: Duration) -> bool {
        self.reason.is_none() && now < self.deadline
    }

    fn transfer(&self, id: u64, is_checked: bool) -> Transfer {
        Transfer {
            id,
            grant: self.grant.clone(),
            pool: self.pool.clone(),
            blocks: Arc::clone(&self.blocks),
            plan: Arc::clone(&self.plan),
            is_checked,
            priority: self.priority,
            deadline: self.deadline,
        }
    }
}
