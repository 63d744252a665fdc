//! `precise-prefix-cache-producer`: how much of a prompt each endpoint holds, as its engine's events say.

use std::sync::Arc;
use std::time::Duration;

use llmd_core::hash::Chain;
use llmd_core::index::{PrefixIndex, WorkerOverlap};

use super::prefix_match;
use super::speculative::Speculative;
use super::tier_weights::TierWeights;
use crate::plugin::{Attributes, Data, Hooks, Plugin, PrefixMatch, Producer};
use crate::{Endpoint, Request};

/// Looks prompts up in an index that is fed with KV events.
///
/// Formula: llm-d's `precise-prefix-cache-producer`: the weights of the leading blocks, by what they lie on, summed and
/// rounded down. Where blocks are expected, an endpoint's prefix goes on from what it says that it holds through those.
#[derive(Debug)]
pub struct PrecisePrefixCache {
    name: Arc<str>,
    index: Arc<dyn PrefixIndex>,
    weights: TierWeights,
    speculative: Option<Speculative>,
}

impl PrecisePrefixCache {
    /// A producer of this name that asks `index`.
    pub fn new(name: impl Into<Arc<str>>, index: Arc<dyn PrefixIndex>) -> Self {
        Self { name: name.into(), index, weights: TierWeights::default(), speculative: None }
    }

    /// The same, with these weights.
    #[must_use]
    pub fn with_weights(self, weights: TierWeights) -> Self {
        Self { weights, ..self }
    }

    /// The same, expecting for so long that an endpoint holds what was sent there, before its events say so.
    #[must_use]
    pub fn with_speculation(self, ttl: Duration) -> Self {
        Self { speculative: Some(Speculative::new(ttl)), ..self }
    }

    fn found(&self, chain: &Chain, endpoint: &Endpoint, held: WorkerOverlap, now: Duration) -> PrefixMatch {
        let worker = endpoint.worker();
        let leading = match &self.speculative {
            Some(speculative) => speculative.leading(worker, chain, held.leading, now),
            None => held.leading,
        };
        let speculative = leading - held.leading;
        let blocks = self.weights.blocks(&held, speculative);
        let by_medium = held.leading_by_medium;
        PrefixMatch { speculative, by_medium, ..prefix_match(chain, leading, blocks, self.index.state(worker)) }
    }
}

impl Plugin for PrecisePrefixCache {
    fn reads(&self) -> Vec<Data> {
        vec![Data::Events, Data::Tokens]
    }

    fn dropped(&self) -> u64 {
        self.speculative.as_ref().map_or(0, Speculative::dropped)
    }

    fn settings(&self) -> String {
        let expected = if self.speculative.is_some() { "speculative" } else { "not speculative" };
        format!("blocks of {} tokens, {expected}", self.index.hasher().block_size())
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
        now: Duration,
        out: &mut Attributes,
    ) -> Option<Box<dyn Hooks>> {
        let tokens = request.tokens.as_ref()?;
        let chain = self.index.hasher().chain(tokens, &request.namespace);
        let overlap = self.index.query(&chain);
        let matches = pool.iter().map(|endpoint| {
            let worker = endpoint.worker();
            let held = overlap.get(worker).unwrap_or_else(|| WorkerOverlap::none(worker));
            self.found(&chain, endpoint, held, now)
        });
        out.set_prefix_matches(&self.name, matches.collect());
        self.speculative.as_ref().map(|speculative| speculative.expect(chain, overlap))
    }
}
