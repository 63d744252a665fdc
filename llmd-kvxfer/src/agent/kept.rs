//! Leases that are to be prolonged while they are wanted.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use llmd_core::{Error, ErrorKind, Result};

use super::Inner;
use crate::grant::{AgentId, Grant};
use crate::lease::LeaseId;
use crate::transport::Word;

/// Leases that are to be prolonged, each for as long as somebody wants it.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    leases: HashMap<(AgentId, LeaseId), Keeping>,
    /// When the first of them is to be prolonged next.
    next: Option<Duration>,
}

#[derive(Debug)]
struct Keeping {
    grant: Grant,
    every: Duration,
    next: Duration,
    count: usize,
}

/// How many may be kept at once.
const MOST: usize = 1 << 17;
/// How often one is prolonged at most.
const OFTEN: Duration = Duration::from_millis(1);

impl Wanted {
    pub(super) fn add(&mut self, grant: &Grant, first: Duration) -> Result<()> {
        if self.leases.len() >= MOST {
            return Err(Error::new(ErrorKind::Exhausted, format!("{MOST} grants are kept, expected less")));
        }
        let every = (grant.ttl() / 3).max(OFTEN);
        let keeping = self.leases.entry(key(grant));
        let keeping = keeping.or_insert_with(|| Keeping { grant: grant.clone(), every, next: first, count: 0 });
        keeping.count += 1;
        self.next = Some(self.next.map_or(keeping.next, |next| next.min(keeping.next)));
        Ok(())
    }

    pub(super) fn remove(&mut self, grant: &Grant) {
        let std::collections::hash_map::Entry::Occupied(mut keeping) = self.leases.entry(key(grant)) else { return };
        keeping.get_mut().count -= 1;
        if keeping.get().count == 0 {
            keeping.remove();
        }
    }

    pub(super) fn next(&self) -> Option<Duration> {
        self.next
    }

    /// Those whose time has come.
    fn due(&mut self, now: Duration) -> Vec<Grant> {
        if self.next.is_none_or(|next| now < next) {
            return Vec::new();
        }
        let mut due = Vec::new();
        for keeping in self.leases.values_mut().filter(|keeping| keeping.next <= now) {
            keeping.next = now + keeping.every;
            due.push(keeping.grant.clone());
        }
        self.next = self.leases.values().map(|keeping| keeping.next).min();
        due
    }
}

fn key(grant: &Grant) -> (AgentId, LeaseId) {
    (grant.agent(), grant.lease())
}

/// Has a lease prolonged until it is dropped.
#[must_use = "the lease is no longer prolonged when this is dropped"]
pub struct Kept {
    inner: Arc<Inner>,
    grant: Grant,
}

impl Kept {
    pub(super) fn new(inner: &Arc<Inner>, grant: &Grant) -> Result<Self> {
        inner.wanted.lock().add(grant, inner.home.now())?;
        inner.home.bell.ring();
        Ok(Self { inner: Arc::clone(inner), grant: grant.clone() })
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        // In a forked child nothing is prolonged, and who had the lock may not be there.
        if std::process::id() == self.inner.process {
            self.inner.wanted.lock().remove(&self.grant);
        }
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kept({})", self.grant)
    }
}

impl Inner {
    /// Says of each lease whose time has come that it is still wanted.
    pub(super) fn prolong(&self, now: Duration) {
        let due = self.wanted.lock().due(now);
        for grant in due {
            // One that cannot be told lapses.
            let _told = self.tell(&grant, Word::Wanted, None);
        }
    }
}
