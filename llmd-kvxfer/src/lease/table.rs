//! Which leases hold, told the time.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use llmd_core::{Error, ErrorKind, Result};
use smallvec::SmallVec;

use super::{Capability, Lease, LeaseId};

/// Where it is shown which leases hold, so that a reader who copies by itself can look after its copy.
pub(crate) trait Fence {
    /// From now on this lease holds; `tag` is its [capability's](Capability::tag) for its blocks.
    fn raise(&mut self, lease: LeaseId, tag: u64);

    /// From now on it does not. Whoever looks after this call has returned sees it.
    fn lower(&mut self, lease: LeaseId);
}

/// The leases that an agent granted.
///
/// A lease is fenced in the same step in which it ends, before anybody is told: blocks that the engine is told it may use again
/// are never taken for what they were.
#[derive(Debug)]
pub(crate) struct LeaseTable<F> {
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// When each lease's deadline is looked at next. Those that were prolonged since are put back.
    deadlines: BinaryHeap<Reverse<(Duration, LeaseId)>>,
    /// How many leases hold each block of each pool.
    holds: HashMap<(u32, u32), u32>,
    max_leases: usize,
    /// The generation of the lease that was granted last: no two have the same.
    last: u64,
    fence: F,
}

#[derive(Debug, Default)]
struct Slot {
    generation: u64,
    held: Option<Held>,
}

/// How many deadlines of leases that ended may be remembered.
const SPARE: usize = 1024;

/// A lease that holds.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pool: u32,
    blocks: Arc<[u32]>,
    capability: Capability,
    terms: Lease,
    expires: Duration,
    at_latest: Duration,
    finished: SmallVec<[u64; 4]>,
}

/// A lease that ended.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub(crate) struct Ended {
    /// Which.
    pub(crate) lease: LeaseId,
    /// How.
    pub(crate) end: LeaseEnd,
    /// Of which pool its blocks are.
    pub(crate) pool: u32,
    /// Its blocks.
    pub(crate) blocks: Arc<[u32]>,
    /// Which of its blocks no lease holds any more: the engine may use them again.
    pub(crate) free: Vec<u32>,
}

/// How a lease ended.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum LeaseEnd {
    /// All consumers said that they have what they need.
    Finished,
    /// Its time was over.
    Lapsed,
    /// The side that granted it took it back.
    Released,
}

impl LeaseEnd {
    /// Every one, for bindings that must cover them all.
    pub const ALL: [Self; 3] = [Self::Finished, Self::Lapsed, Self::Released];

    /// Its name, as metrics and bindings have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Lapsed => "lapsed",
            Self::Released => "released",
        }
    }
}

impl<F: Fence> LeaseTable<F> {
    /// None yet, and never more than `max_leases` at once.
    pub(crate) fn new(max_leases: usize, fence: F) -> Self {
        let (slots, free) = (Vec::new(), Vec::new());
        Self { slots, free, deadlines: BinaryHeap::new(), holds: HashMap::new(), max_leases, last: 0, fence }
    }

    /// Whether any lease holds this block.
    pub(crate) fn is_held(&self, pool: u32, block: u32) -> bool {
        self.holds.contains_key(&(pool, block))
    }

    /// Lends these blocks of a pool.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Exhausted`] when as many leases hold as may.
    pub(crate) fn grant(
        &mut self,
        now: Duration,
        pool: u32,
        blocks: Arc<[u32]>,
        terms: Lease,
        capability: Capability,
    ) -> Result<LeaseId> {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None if self.slots.len() < self.max_leases => {
                self.slots.push(Slot::default());
                (self.slots.len() - 1) as u32
            }
            None => {
                let message = format!("{} leases hold, expected less than max_leases {}", self.len(), self.max_leases);
                return Err(Error::new(ErrorKind::Exhausted, message));
            }
        };
        for &block in &*blocks {
            *self.holds.entry((pool, block)).or_default() += 1;
        }
        let at_latest = now.saturating_add(terms.longest);
        let expires = now.saturating_add(terms.ttl).min(at_latest);
        let place = &mut self.slots[slot as usize];
        self.last += 1;
        place.generation = self.last;
        let lease = LeaseId { slot, generation: place.generation };
        let (finished, tag) = (SmallVec::new(), capability.tag(pool, &blocks));
        place.held = Some(Held { pool, blocks, capability, terms, expires, at_latest, finished });
        if self.deadlines.len() > 2 * self.len() + SPARE {
            // Most are of leases that ended long before.
            let slots = &self.slots;
            self.deadlines.retain(|Reverse((_, lease))| {
                let slot = &slots[lease.slot as usize];
                slot.generation == lease.generation && slot.held.is_some()
            });
        }
        self.deadlines.push(Reverse((expires, lease)));
        self.fence.raise(lease, tag);
        Ok(lease)
    }

    /// The lease, for one who has its capability.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Stale`] when it does not hold any more, and [`ErrorKind::Denied`] when there never was such a one, or the
    /// capability is another's.
    pub(crate) fn check(&self, now: Duration, lease: LeaseId, capability: &Capability) -> Result<&Held> {
        let slot = self.slots.get(lease.slot as usize).filter(|slot| (1..=slot.generation).contains(&lease.generation));
        let slot = slot.ok_or_else(|| Error::new(ErrorKind::Denied, format!("lease {lease} was never granted")))?;
        let held = slot.held.as_ref().filter(|held| slot.generation == lease.generation && now < held.expires);
        let held = held.ok_or_else(|| Error::new(ErrorKind::Stale, format!("lease {lease} has ended")))?;
        if held.capability != *capability {
            return Err(Error::new(ErrorKind::Denied, format!("lease {lease} was granted to another")));
        }
        Ok(held)
    }

    /// A consumer still wants it: its deadline is moved to its ttl from now, and never beyond what its terms allow.
    ///
    /// # Errors
    ///
    /// Those of [`check`](Self::check).
    pub(crate) fn prolong(&mut self, now: Duration, lease: LeaseId, capability: &Capability) -> Result<()> {
        self.check(now, lease, capability)?;
        if let Some(held) = &mut self.slots[lease.slot as usize].held {
            held.expires = now.saturating_add(held.terms.ttl).min(held.at_latest).max(held.expires);
        }
        Ok(())
    }

    /// A consumer has what it needs. Says how the lease ended when it was the last; the same consumer counts once.
    ///
    /// # Errors
    ///
    /// Those of [`check`](Self::check).
    pub(crate) fn finish(
        &mut self,
        now: Duration,
        lease: LeaseId,
        capability: &Capability,
        consumer: u64,
    ) -> Result<Option<Ended>> {
        self.check(now, lease, capability)?;
        let Some(held) = &mut self.slots[lease.slot as usize].held else { return Ok(None) };
        if !held.finished.contains(&consumer) {
            held.finished.push(consumer);
        }
        let is_last = held.finished.len() >= usize::from(held.terms.consumers);
        Ok(if is_last { self.end(lease, LeaseEnd::Finished) } else { None })
    }

    /// Takes it back, whoever reads. `None` when it has ended already.
    pub(crate) fn release(&mut self, lease: LeaseId) -> Option<Ended> {
        self.end(lease, LeaseEnd::Released)
    }

    /// Ends those whose time is over.
    pub(crate) fn expire(&mut self, now: Duration, ended: &mut Vec<Ended>) {
        while let Some(&Reverse((looked_at, lease))) = self.deadlines.peek() {
            if looked_at > now {
                return;
            }
            self.deadlines.pop();
            let slot = &self.slots[lease.slot as usize];
            let Some(held) = slot.held.as_ref().filter(|_| slot.generation == lease.generation) else { continue };
            if held.expires > now {
                self.deadlines.push(Reverse((held.expires, lease)));
            } else {
                ended.extend(self.end(lease, LeaseEnd::Lapsed));
            }
        }
    }

    /// Takes back all of a pool.
    pub(crate) fn release_pool(&mut self, pool: u32, ended: &mut Vec<Ended>) {
        let slots = (0..).zip(&self.slots).filter(|(_, slot)| slot.held.as_ref().is_some_and(|held| held.pool == pool));
        let leases: Vec<_> = slots.map(|(place, slot)| LeaseId { slot: place, generation: slot.generation }).collect();
        ended.extend(leases.into_iter().filter_map(|lease| self.end(lease, LeaseEnd::Released)));
    }

    /// Takes all back: nobody serves them any more.
    pub(crate) fn release_all(&mut self) {
        let slots = (0..).zip(&self.slots).filter(|(_, slot)| slot.held.is_some());
        let leases: Vec<_> = slots.map(|(place, slot)| LeaseId { slot: place, generation: slot.generation }).collect();
        for lease in leases {
            self.end(lease, LeaseEnd::Released);
        }
    }

    /// When [`expire`](Self::expire) has something to do at the earliest.
    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        self.deadlines.peek().map(|Reverse((deadline, _))| *deadline)
    }

    /// How many hold.
    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    fn end(&mut self, lease: LeaseId, end: LeaseEnd) -> Option<Ended> {
        let slot = self.slots.get_mut(lease.slot as usize).filter(|slot| slot.generation == lease.generation)?;
        let Held { pool, blocks, .. } = slot.held.take()?;
        self.fence.lower(lease);
        self.free.push(lease.slot);
        let mut free = Vec::new();
        for &block in &*blocks {
            let std::collections::hash_map::Entry::Occupied(mut holds) = self.holds.entry((pool, block)) else {
                continue;
            };
            *holds.get_mut() -= 1;
            if *holds.get() == 0 {
                holds.remove();
                free.push(block);
            }
        }
        Some(Ended { lease, end, pool, blocks, free })
    }
}

impl Held {
    /// Of which pool its blocks are.
    #[cfg(test)]
    pub(crate) const fn expires(&self) -> Duration {
        self.expires
    }

    pub(crate) const fn pool(&self) -> u32 {
        self.pool
    }

    /// Its blocks, in the order in which they were named.
    pub(crate) const fn blocks(&self) -> &Arc<[u32]> {
        &self.blocks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default)]
    struct Board(HashMap<u32, (u64, u64)>);

    impl Fence for Board {
        fn raise(&mut self, lease: LeaseId, tag: u64) {
            self.0.insert(lease.slot, (lease.generation, tag));
        }

        fn lower(&mut self, lease: LeaseId) {
            assert_eq!(self.0.remove(&lease.slot).map(|(generation, _)| generation), Some(lease.generation));
        }
    }

    const SECOND: Duration = Duration::from_secs(1);

    fn capability(byte: u8) -> Capability {
        Capability::from_bytes([byte; 16])
    }

    fn table(max_leases: usize) -> LeaseTable<Board> {
        LeaseTable::new(max_leases, Board::default())
    }

    fn grant(table: &mut LeaseTable<Board>, now: Duration, blocks: &[u32], terms: Lease) -> LeaseId {
        table.grant(now, 0, blocks.into(), terms, capability(1)).unwrap()
    }

    fn expired(table: &mut LeaseTable<Board>, now: Duration) -> Vec<Ended> {
        let mut ended = Vec::new();
        table.expire(now, &mut ended);
        ended
    }

    #[test]
    fn a_lease_ends_by_itself() {
        let mut table = table(8);
        let lease = grant(&mut table, SECOND, &[3, 1], Lease::for_secs(30));
        assert_eq!(table.next_deadline(), Some(31 * SECOND));
        assert!(expired(&mut table, 30 * SECOND).is_empty());
        assert!(table.check(30 * SECOND, lease, &capability(1)).is_ok());
        assert_eq!(table.check(31 * SECOND, lease, &capability(1)).unwrap_err().kind(), ErrorKind::Stale);
        let [ended] = &expired(&mut table, 31 * SECOND)[..] else { panic!("one ended") };
        assert_eq!((ended.lease, ended.end, &ended.free[..]), (lease, LeaseEnd::Lapsed, &[3, 1][..]));
        assert!(table.len() == 0 && table.fence.0.is_empty() && table.next_deadline().is_none());
    }

    #[test]
    fn a_heartbeat_prolongs_it_but_not_for_ever() {
        let mut table = table(8);
        let lease = grant(&mut table, Duration::ZERO, &[1], Lease::for_secs(30).at_most(50 * SECOND));
        table.prolong(20 * SECOND, lease, &capability(1)).unwrap();
        assert!(expired(&mut table, 49 * SECOND).is_empty());
        table.prolong(49 * SECOND, lease, &capability(1)).unwrap();
        assert_eq!(expired(&mut table, 50 * SECOND).len(), 1);
    }

    #[test]
    fn it_ends_when_each_consumer_has_finished() {
        let mut table = table(8);
        let lease = grant(&mut table, Duration::ZERO, &[1], Lease::for_secs(30).consumers(2));
        let finish = |table: &mut LeaseTable<Board>, consumer| table.finish(SECOND, lease, &capability(1), consumer);
        assert_eq!(finish(&mut table, 7).unwrap(), None);
        assert_eq!(finish(&mut table, 7).unwrap(), None, "the same one counts once");
        assert_eq!(finish(&mut table, 8).unwrap().unwrap().end, LeaseEnd::Finished);
        assert_eq!(finish(&mut table, 9).unwrap_err().kind(), ErrorKind::Stale);
        assert!(expired(&mut table, 100 * SECOND).is_empty());
    }

    #[test]
    fn a_block_is_free_when_no_lease_holds_it() {
        let mut table = table(8);
        let first = grant(&mut table, Duration::ZERO, &[1, 2], Lease::for_secs(30));
        let second = grant(&mut table, Duration::ZERO, &[2, 3], Lease::for_secs(60));
        assert_eq!(table.release(first).unwrap().free, [1]);
        assert_eq!(table.release(second).unwrap().free, [2, 3]);
        assert_eq!(table.release(second), None);
    }

    #[test]
    fn what_was_not_granted_is_denied_and_what_ended_is_stale() {
        let mut table = table(8);
        let lease = grant(&mut table, Duration::ZERO, &[1], Lease::for_secs(30));
        let kind = |table: &LeaseTable<Board>, lease, by| {
            table.check(SECOND, lease, &capability(by)).map(|_| ()).unwrap_err().kind()
        };
        assert_eq!(kind(&table, lease, 2), ErrorKind::Denied);
        assert_eq!(kind(&table, LeaseId { generation: 2, ..lease }, 1), ErrorKind::Denied);
        assert_eq!(kind(&table, LeaseId { generation: 0, ..lease }, 1), ErrorKind::Denied);
        assert_eq!(kind(&table, LeaseId { slot: 9, ..lease }, 1), ErrorKind::Denied);
        table.release(lease);
        let again = grant(&mut table, SECOND, &[1], Lease::for_secs(30));
        assert_eq!((again.slot, again.generation), (lease.slot, lease.generation + 1));
        assert_eq!(kind(&table, lease, 1), ErrorKind::Stale);
    }

    #[test]
    fn there_are_never_more_than_may_be() {
        let mut table = table(2);
        let first = grant(&mut table, Duration::ZERO, &[1], Lease::for_secs(1));
        grant(&mut table, Duration::ZERO, &[1], Lease::for_secs(1));
        let refused = table.grant(Duration::ZERO, 0, [1].into(), Lease::for_secs(1), capability(1)).unwrap_err();
        assert_eq!(
            (refused.kind(), refused.to_string().as_str()),
            (ErrorKind::Exhausted, "2 leases hold, expected less than max_leases 2")
        );
        table.release(first);
        grant(&mut table, Duration::ZERO, &[1], Lease::for_secs(1));
        let mut ended = Vec::new();
        table.release_pool(1, &mut ended);
        assert!(ended.is_empty());
        table.release_pool(0, &mut ended);
        assert_eq!(ended.len(), 2);
    }
}
