//! What plugins read, and what producers made for one request.

use std::fmt;
use std::sync::Arc;

use llmd_core::index::WorkerState;
use smallvec::SmallVec;

use crate::Needs;

/// Something that plugins read and somebody else must provide.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Data {
    /// What engines publish about their caches.
    Events,
    /// How many requests each endpoint works on.
    InFlightRequests,
    /// How many tokens each endpoint has to compute, those of this request included.
    InFlightTokens,
    /// What engines say about themselves.
    Metrics,
    /// How much of the prompt each endpoint holds, as the producer of this name says.
    PrefixMatch(String),
    /// The prompt as tokens.
    Tokens,
}

impl Data {
    /// What must be there for somebody who reads this.
    pub(crate) fn add_to(&self, needs: &mut Needs) {
        match self {
            Self::Events => needs.events = true,
            Self::InFlightRequests => {}
            Self::InFlightTokens => (needs.tokens, needs.response) = (true, true),
            Self::Metrics => needs.metrics = true,
            Self::PrefixMatch(_) | Self::Tokens => needs.tokens = true,
        }
    }
}

/// As llm-d names it.
impl fmt::Display for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Events => "KVEvents",
            Self::InFlightRequests | Self::InFlightTokens => "InFlightLoad",
            Self::Metrics => "Metrics",
            Self::PrefixMatch(_) => "PrefixCacheMatchInfo",
            Self::Tokens => "TokenizedPrompt",
        })
    }
}

/// How much of a prompt one endpoint holds.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct PrefixMatch {
    /// Leading blocks, weighted by what they lie on and rounded down: what scorers read.
    pub blocks: u32,
    /// Leading blocks, whatever they lie on.
    pub cached: u32,
    /// Those of them that are only expected, because a request that brings them was sent there a moment ago.
    pub speculative: u32,
    /// Full blocks of the prompt.
    pub total: u32,
    /// Tokens per block.
    pub block_size: u32,
    /// Tokens of the prompt that the endpoint need not compute.
    pub hit_tokens: u32,
    /// How far this can be trusted.
    pub state: WorkerState,
}

/// What producers made for one request.
#[derive(Clone, Debug, Default)]
pub struct Attributes {
    prompt_tokens: u64,
    prefix: SmallVec<[(Arc<str>, Vec<PrefixMatch>); 1]>,
    uncached_by: Option<Arc<str>>,
}

impl Attributes {
    /// Nothing yet, for a prompt of this many tokens, of which those are cached that the producer `uncached_by` finds.
    pub fn new(prompt_tokens: usize, uncached_by: Option<Arc<str>>) -> Self {
        Self { prompt_tokens: prompt_tokens as u64, prefix: SmallVec::new(), uncached_by }
    }

    /// Takes what `producer` found for each endpoint, by place in the pool.
    pub fn set_prefix_matches(&mut self, producer: &Arc<str>, matches: Vec<PrefixMatch>) {
        self.prefix.push((Arc::clone(producer), matches));
    }

    /// What `producer` found for each endpoint, by place in the pool; `None` when it found nothing out.
    pub fn prefix_matches(&self, producer: &str) -> Option<&[PrefixMatch]> {
        self.prefix.iter().find(|(name, _)| **name == *producer).map(|(_, matches)| matches.as_slice())
    }

    /// How many tokens the prompt has.
    pub const fn prompt_tokens(&self) -> u64 {
        self.prompt_tokens
    }

    /// How many tokens of the prompt the endpoint at this place in the pool would have to compute.
    pub fn uncached_tokens(&self, place: usize) -> u64 {
        self.prompt_tokens.saturating_sub(self.hit_tokens(place))
    }

    /// How many it would take from its cache.
    pub fn hit_tokens(&self, place: usize) -> u64 {
        self.prefix_match(place).map_or(0, |found| u64::from(found.hit_tokens))
    }

    /// What is known about the cache of the endpoint at this place in the pool.
    pub fn prefix_match(&self, place: usize) -> Option<&PrefixMatch> {
        let producer = self.uncached_by.as_deref()?;
        self.prefix_matches(producer)?.get(place)
    }
}
