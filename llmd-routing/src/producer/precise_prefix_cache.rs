//! `precise-prefix-cache-producer`: how much of a prompt each endpoint holds, as its engine's events say.

use std::sync::Arc;
use std::time::Duration;

use llmd_core::Medium;
use llmd_core::index::{PrefixIndex, WorkerOverlap};

use crate::plugin::{Attributes, Data, Hooks, Plugin, PrefixMatch, Producer};
use crate::{Endpoint, Request};

/// Looks prompts up in an index that is fed with KV events.
#[derive(Debug)]
pub struct PrecisePrefixCache {
    name: Arc<str>,
    index: Arc<dyn PrefixIndex>,
    weights: TierWeights,
}

/// What a block counts by what it lies on; the best medium of a block counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TierWeights([f64; Medium::ALL.len()]);

impl Default for TierWeights {
    /// llm-d's: 1 for GPU memory, 0.8 for host memory, 1 for what it does not know.
    fn default() -> Self {
        Self([1.0, 0.8, 1.0])
    }
}

impl TierWeights {
    /// The same, with blocks on `medium` counting `weight`.
    #[must_use]
    pub const fn with(mut self, medium: Medium, weight: f64) -> Self {
        self.0[medium.index()] = weight;
        self
    }

    /// The weights of an overlap's leading blocks, summed and rounded down.
    ///
    /// A block counts for the best of the media whose own prefix reaches that far. Where no single medium does, the
    /// overlap does not say what the block lies on, and it counts for the least.
    fn blocks(self, overlap: &WorkerOverlap) -> u32 {
        let least = self.0.into_iter().fold(f64::INFINITY, f64::min);
        let mut ends: Vec<u32> = overlap.leading_by_medium.to_vec();
        ends.push(overlap.leading);
        ends.sort_unstable();
        let mut start = 0;
        let mut sum = 0.0;
        for end in ends {
            let reaching = Medium::ALL.into_iter().filter(|&medium| overlap.on(medium) > start);
            let weight = reaching.map(|medium| self.0[medium.index()]).fold(f64::NEG_INFINITY, f64::max);
            sum += f64::from(end - start) * if weight.is_finite() { weight } else { least };
            start = end;
        }
        sum as u32
    }
}

impl PrecisePrefixCache {
    /// A producer of this name that asks `index`.
    pub fn new(name: impl Into<Arc<str>>, index: Arc<dyn PrefixIndex>, weights: TierWeights) -> Self {
        Self { name: name.into(), index, weights }
    }
}

impl Plugin for PrecisePrefixCache {
    fn reads(&self) -> Vec<Data> {
        vec![Data::Events, Data::Tokens]
    }
}

impl Producer for PrecisePrefixCache {
    fn makes(&self) -> Data {
        Data::PrefixMatch(self.name.to_string())
    }

    fn produce(
        &self,
        request: &Request,
        pool: &[Arc<Endpoint>],
        _: Duration,
        out: &mut Attributes,
    ) -> Option<Box<dyn Hooks>> {
        let tokens = request.tokens.as_ref()?;
        let chain = self.index.hasher().chain(tokens, &request.namespace);
        let overlap = self.index.query(&chain);
        let matches = pool.iter().map(|endpoint| {
            let found = overlap.get(endpoint.worker()).copied().unwrap_or(WorkerOverlap::none(endpoint.worker()));
            PrefixMatch {
                blocks: self.weights.blocks(&found),
                cached: found.leading,
                speculative: 0,
                total: chain.blocks().len() as u32,
                block_size: chain.block_size() as u32,
                hit_tokens: chain.hit_tokens(found.leading as usize) as u32,
                state: self.index.state(endpoint.worker()),
            }
        });
        out.set_prefix_matches(&self.name, matches.collect());
        None
    }
}
