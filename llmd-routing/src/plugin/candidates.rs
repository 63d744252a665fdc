//! The endpoints that may still be chosen.

use std::sync::Arc;

use smallvec::SmallVec;

use super::Snapshot;
use crate::{Endpoint, EngineMetrics, Load};

/// The endpoints that may still be chosen, in the order of the pool.
#[derive(Debug)]
pub struct Candidates<'a> {
    pool: &'a [Arc<Endpoint>],
    snapshot: &'a Snapshot,
    places: SmallVec<[u32; 16]>,
    dropped: Vec<Dropped>,
    by: By,
}

/// An endpoint that was taken out: its place in the pool, and by whom.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dropped {
    pub(crate) place: u32,
    pub(crate) by: By,
}

/// Who takes endpoints out, by place among those of its sort.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum By {
    /// A filter of the profile.
    Filter(u16),
    /// The profile handler, which keeps apart what must not work together.
    Handler,
    /// A screener of the scheduler.
    Screener(u16),
}

/// One endpoint that may be chosen.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Candidate<'a> {
    /// Its place in the pool.
    pub place: usize,
    /// Itself.
    pub endpoint: &'a Arc<Endpoint>,
    /// What it last said about itself, the same for all plugins of a decision; `None` when it never did, or when no plugin
    /// reads it.
    pub metrics: Option<&'a EngineMetrics>,
    /// What was sent there and has not ended, the same for all plugins of a decision; nothing when no plugin reads it.
    pub load: Load,
}

impl<'a> Candidates<'a> {
    /// All endpoints of `pool`, of which `snapshot` was read.
    pub fn new(pool: &'a [Arc<Endpoint>], snapshot: &'a Snapshot) -> Self {
        let places = (0..pool.len() as u32).collect();
        Self { pool, snapshot, places, dropped: Vec::new(), by: By::Filter(0) }
    }

    /// Those of `pool` at these places, which ascend.
    pub(crate) fn among(pool: &'a [Arc<Endpoint>], snapshot: &'a Snapshot, places: &[u32]) -> Self {
        Self { pool, snapshot, places: places.into(), dropped: Vec::new(), by: By::Filter(0) }
    }

    /// Keeps those for which `keep` answers true.
    pub fn retain(&mut self, mut keep: impl FnMut(Candidate<'a>) -> bool) {
        let (pool, snapshot, by, dropped) = (self.pool, self.snapshot, self.by, &mut self.dropped);
        self.places.retain(|&mut place| {
            let kept = keep(candidate(pool, snapshot, place));
            if !kept {
                dropped.push(Dropped { place, by });
            }
            kept
        });
    }

    /// Each of them.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Candidate<'a>> + Clone {
        let (pool, snapshot) = (self.pool, self.snapshot);
        self.places.iter().map(move |&place| candidate(pool, snapshot, place))
    }

    /// How many they are.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether none is left.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// All endpoints that there are, those taken out included.
    pub const fn pool(&self) -> &'a [Arc<Endpoint>] {
        self.pool
    }

    /// Says who takes out next.
    pub(crate) const fn enter(&mut self, by: By) {
        self.by = by;
    }

    /// Who is left, by place in the pool, and who was taken out.
    pub(crate) fn into_parts(self) -> (SmallVec<[u32; 16]>, Vec<Dropped>) {
        (self.places, self.dropped)
    }
}

/// The endpoint at a place of the pool, with what was read of it.
pub(crate) fn candidate<'a>(pool: &'a [Arc<Endpoint>], snapshot: &'a Snapshot, place: u32) -> Candidate<'a> {
    let place = place as usize;
    let metrics = snapshot.said.as_deref().and_then(|said| said.get(place));
    Candidate { place, endpoint: &pool[place], metrics, load: snapshot.loads.get(place).copied().unwrap_or_default() }
}
