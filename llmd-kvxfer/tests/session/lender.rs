//! The agent of one shard of a prefilling engine: leases, and the fence behind them.

use std::collections::{BTreeMap, BTreeSet};

use llmd_kvxfer::LeaseEnd;
use llmd_kvxfer::session::{GrantBytes, LeaseKey};

#[derive(Debug)]
pub(crate) struct Lender {
    pub(crate) boot: u64,
    next: u64,
    leases: BTreeMap<u64, Lease>,
}

#[derive(Debug)]
struct Lease {
    group: u32,
    blocks: Vec<u32>,
    until: u64,
    ttl: u64,
    missing: usize,
    finished: BTreeSet<u64>,
}

/// What a grant says, to agents.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key {
    pub(crate) prefill: usize,
    pub(crate) shard: u32,
    pub(crate) lease: LeaseKey,
}

impl Key {
    pub(crate) fn to_bytes(self) -> GrantBytes {
        let words = [self.prefill as u64, self.shard.into(), self.lease.boot, self.lease.number];
        words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<_>>().into()
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Self {
        let word = |at: usize| u64::from_le_bytes(bytes[at * 8..][..8].try_into().expect("a word has 8 bytes"));
        let lease = LeaseKey { boot: word(2), number: word(3) };
        Self { prefill: word(0) as usize, shard: word(1) as u32, lease }
    }
}

impl Lender {
    pub(crate) const fn new(boot: u64) -> Self {
        Self { boot, next: 0, leases: BTreeMap::new() }
    }

    pub(crate) fn grant(&mut self, now: u64, group: u32, blocks: &[u32], ttl: u64, consumers: u32) -> LeaseKey {
        let (number, missing) = (self.next, consumers as usize);
        self.next += 1;
        let finished = BTreeSet::new();
        self.leases.insert(number, Lease { group, blocks: blocks.to_vec(), until: now + ttl, ttl, missing, finished });
        LeaseKey { boot: self.boot, number }
    }

    /// The block that may be read: behind the fence there is none.
    pub(crate) fn read(&self, now: u64, lease: LeaseKey, index: usize) -> Option<(u32, u32)> {
        let lease = self.live(lease).filter(|lease| now < lease.until)?;
        Some((lease.group, *lease.blocks.get(index)?))
    }

    fn live(&self, lease: LeaseKey) -> Option<&Lease> {
        self.leases.get(&lease.number).filter(|_| lease.boot == self.boot)
    }

    /// Whether somebody could read this block.
    pub(crate) fn is_lent(&self, group: u32, block: u32) -> bool {
        self.leases.values().any(|lease| lease.group == group && lease.blocks.contains(&block))
    }

    pub(crate) fn until(&self, lease: LeaseKey) -> Option<u64> {
        self.live(lease).map(|lease| lease.until)
    }

    pub(crate) fn keep(&mut self, now: u64, lease: LeaseKey) {
        if self.live(lease).is_some_and(|lease| now < lease.until)
            && let Some(lease) = self.leases.get_mut(&lease.number)
        {
            lease.until = lease.until.max(now + lease.ttl);
        }
    }

    /// A consumer has finished; whether it was the last.
    pub(crate) fn finish(&mut self, lease: LeaseKey, consumer: u64) -> bool {
        if self.live(lease).is_none() {
            return false;
        }
        let Some(held) = self.leases.get_mut(&lease.number) else { return false };
        held.finished.insert(consumer);
        let is_last = held.finished.len() >= held.missing;
        if is_last {
            self.leases.remove(&lease.number);
        }
        is_last
    }

    pub(crate) fn release(&mut self, lease: LeaseKey) {
        if lease.boot == self.boot {
            self.leases.remove(&lease.number);
        }
    }

    /// Whether it lapsed just now.
    pub(crate) fn lapse(&mut self, now: u64, lease: LeaseKey) -> Option<LeaseEnd> {
        if self.live(lease)?.until > now {
            return None;
        }
        self.leases.remove(&lease.number);
        Some(LeaseEnd::Lapsed)
    }

    pub(crate) fn restart(&mut self, boot: u64) {
        *self = Self::new(boot);
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.leases.is_empty()
    }
}
