//! The endpoints that may still be chosen.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::{Endpoint, EngineMetrics};

/// The endpoints that may still be chosen, in the order of the pool.
#[derive(Debug)]
pub struct Candidates<'a> {
    pool: &'a [Arc<Endpoint>],
    metrics: &'a [Option<Arc<EngineMetrics>>],
    places: SmallVec<[u32; 16]>,
    dropped: Vec<Dropped>,
    filter: u16,
}

/// An endpoint that a filter took out: its place in the pool, and the filter's place in the profile.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dropped {
    pub(crate) place: u32,
    pub(crate) filter: u16,
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
}

impl<'a> Candidates<'a> {
    /// All endpoints of `pool`. `metrics` is in the same order, or empty when no plugin reads them.
    pub fn new(pool: &'a [Arc<Endpoint>], metrics: &'a [Option<Arc<EngineMetrics>>]) -> Self {
        Self { pool, metrics, places: (0..pool.len() as u32).collect(), dropped: Vec::new(), filter: 0 }
    }

    /// Keeps those for which `keep` answers true.
    pub fn retain(&mut self, mut keep: impl FnMut(Candidate<'a>) -> bool) {
        let (pool, metrics, filter, dropped) = (self.pool, self.metrics, self.filter, &mut self.dropped);
        self.places.retain(|&mut place| {
            let kept = keep(candidate(pool, metrics, place));
            if !kept {
                dropped.push(Dropped { place, filter });
            }
            kept
        });
    }

    /// Each of them.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Candidate<'a>> + Clone {
        let (pool, metrics) = (self.pool, self.metrics);
        self.places.iter().map(move |&place| candidate(pool, metrics, place))
    }

    /// How many they are.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether none is left.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Says that the profile's filter at this place goes next.
    pub(crate) fn enter(&mut self, filter: usize) {
        self.filter = filter as u16;
    }

    /// Who is left, by place in the pool, and who was taken out.
    pub(crate) fn into_parts(self) -> (SmallVec<[u32; 16]>, Vec<Dropped>) {
        (self.places, self.dropped)
    }
}

fn candidate<'a>(pool: &'a [Arc<Endpoint>], metrics: &'a [Option<Arc<EngineMetrics>>], place: u32) -> Candidate<'a> {
    let place = place as usize;
    Candidate { place, endpoint: &pool[place], metrics: metrics.get(place).and_then(Option::as_deref) }
}
