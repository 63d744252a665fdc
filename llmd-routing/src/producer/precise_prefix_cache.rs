//! `precise-prefix-cache-producer`: how much of a prompt each endpoint holds, as its engine's events say.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use llmd_core::hash::Chain;
use llmd_core::index::{Overlap, PrefixIndex, WorkerOverlap, WorkerState};

use super::explained::Explained;
use super::prefix_match;
use super::speculative::Speculative;
use super::tier_weights::TierWeights;
use crate::plugin::{Attributes, Data, Hooks, Plugin, PrefixMatch, Producer};
use crate::{Endpoint, Request};

/// Looks prompts up in an index that is fed with KV events.
///
/// Formula: llm-d's `precise-prefix-cache-producer`: the weights of the leading blocks, by what they lie on, summed and
/// rounded down. Where blocks are expected, an endpoint's prefix goes on from what it says that it holds through those.
///
/// Weights can be [measured](Self::with_measured_weights), which llm-d's cannot.
#[derive(Debug)]
pub struct PrecisePrefixCache {
    name: Arc<str>,
    index: Arc<dyn PrefixIndex>,
    weights: TierWeights,
    measured: bool,
    speculative: Option<Speculative>,
}

/// What a lookup needs. The next one of this thread uses its memory again.
#[derive(Default)]
struct Lookup {
    overlap: Overlap,
    states: Vec<WorkerState>,
}

thread_local! {
    static LOOKUP: RefCell<Lookup> = RefCell::default();
}

impl PrecisePrefixCache {
    /// A producer of this name that asks `index`.
    pub fn new(name: impl Into<Arc<str>>, index: Arc<dyn PrefixIndex>) -> Self {
        Self { name: name.into(), index, weights: TierWeights::default(), measured: false, speculative: None }
    }

    /// The same, with these weights.
    #[must_use]
    pub fn with_weights(self, weights: TierWeights) -> Self {
        Self { weights, ..self }
    }

    /// The same, where a block that an engine loads from elsewhere than GPU memory counts for the time that this saves it, as it
    /// measures: `1 − load / prefill`, per token, from 0 to 1. What it does not measure counts as configured. What lies on the
    /// storage that the pool shares counts for all, whatever they hold themselves.
    #[must_use]
    pub fn with_measured_weights(self) -> Self {
        Self { measured: true, ..self }
    }

    /// The same, expecting for so long that an endpoint holds what was sent there, before its events say so.
    #[must_use]
    pub fn with_speculation(self, ttl: Duration) -> Self {
        Self { speculative: Some(Speculative::new(ttl)), ..self }
    }

    /// What an endpoint holds of a chain, of which `whole` would be a match from end to end.
    #[inline]
    fn found(
        &self,
        chain: &Chain,
        whole: &PrefixMatch,
        endpoint: &Endpoint,
        overlap: &Overlap,
        state: WorkerState,
        now: Duration,
    ) -> PrefixMatch {
        let (worker, shared) = (endpoint.worker(), overlap.shared());
        let mut held = overlap.get(worker).unwrap_or_else(|| WorkerOverlap::none(worker));
        let mut weights = self.weights;
        if self.measured {
            weights = weights.measured(endpoint.metrics().as_deref());
            held.leading = held.leading.max(shared);
        }
        let leading = match &self.speculative {
            Some(speculative) => speculative.leading(held.worker, chain, held.leading, now),
            None => held.leading,
        };
        let speculative = leading - held.leading;
        PrefixMatch {
            blocks: weights.blocks(&held, shared, speculative),
            cached: leading,
            speculative,
            hit_tokens: (leading * whole.block_size).min(whole.hit_tokens),
            by_medium: held.leading_by_medium,
            state,
            ..*whole
        }
    }
}

impl Plugin for PrecisePrefixCache {
    fn reads(&self) -> Vec<Data> {
        let metrics = self.measured.then_some(Data::Metrics);
        [Data::Events, Data::Tokens].into_iter().chain(metrics).collect()
    }

    fn dropped(&self) -> u64 {
        self.speculative.as_ref().map_or(0, Speculative::dropped)
    }

    fn settings(&self) -> String {
        let expected = if self.speculative.is_some() { "speculative" } else { "not speculative" };
        let weights = if self.measured { "measured" } else { "configured" };
        format!("blocks of {} tokens, {expected}, weights of media as {weights}", self.index.hasher().block_size())
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
        let chain = Arc::new(self.index.hasher().chain(tokens, &request.namespace));
        out.add_why(Arc::new(Explained::new(Arc::clone(&self.index), Arc::clone(&chain))));
        LOOKUP.with_borrow_mut(|Lookup { overlap, states }| {
            self.index.query_into(&chain, overlap);
            overlap.spread();
            self.index.states_into(&mut pool.iter().map(|endpoint| endpoint.worker()), states);
            let blocks = chain.blocks().len() as u32;
            let whole = prefix_match(&chain, blocks, blocks, WorkerState::default());
            let each = pool.iter().zip(&*states);
            let matches = each.map(|(endpoint, &state)| self.found(&chain, &whole, endpoint, overlap, state, now));
            out.set_prefix_matches(&self.name, matches.collect());
            let speculative = self.speculative.as_ref()?;
            Some(speculative.expect(chain, std::mem::take(overlap)))
        })
    }
}
