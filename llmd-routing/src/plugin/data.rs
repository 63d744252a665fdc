//! What plugins read, and what producers made for one request.

use std::borrow::Cow;
use std::fmt::{self, Debug};
use std::sync::Arc;

use llmd_core::Medium;
use llmd_core::index::WorkerState;
use smallvec::SmallVec;

use crate::{Endpoint, Needs};

/// Something that plugins read and somebody else must provide.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Data {
    /// How much of the prompt each endpoint holds, as any producer of prefix matches says.
    AnyPrefixMatch,
    /// Which of the request's multimodal items each endpoint has encoded, as the producer of this name says.
    EncoderMatch(String),
    /// The request's `cookie` header.
    Cookies,
    /// What others measure of endpoints: [`Endpoint::attribute`](crate::Endpoint::attribute).
    EndpointAttributes,
    /// What engines publish about their caches.
    Events,
    /// How many requests each endpoint works on.
    InFlightRequests,
    /// How many tokens each endpoint has to compute, those of this request included.
    InFlightTokens,
    /// How long each endpoint would take, as the producer of this name predicts.
    Latency(String),
    /// What engines say about themselves.
    Metrics,
    /// How much of the prompt each endpoint holds, as the producer of this name says.
    PrefixMatch(String),
    /// What a header processor or a producer says of the request under this name.
    RequestAttribute(String),
    /// The prompt as tokens, and which multimodal items stand in it.
    Tokens,
    /// What the engine says the request took.
    Usage,
}

impl Data {
    /// What must be there for somebody who reads this.
    pub(crate) fn add_to(&self, needs: &mut Needs) {
        match self {
            Self::Cookies => needs.cookies = true,
            Self::EndpointAttributes => needs.attributes = true,
            Self::Events => needs.events = true,
            Self::InFlightRequests | Self::Latency(_) | Self::RequestAttribute(_) => {}
            Self::InFlightTokens => (needs.body, needs.tokens, needs.response) = (true, true, true),
            Self::Metrics => needs.metrics = true,
            Self::AnyPrefixMatch | Self::EncoderMatch(_) | Self::PrefixMatch(_) | Self::Tokens => {
                (needs.body, needs.tokens) = (true, true);
            }
            Self::Usage => needs.usage = true,
        }
    }
}

/// As llm-d names it.
impl fmt::Display for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AnyPrefixMatch | Self::PrefixMatch(_) => "PrefixCacheMatchInfo",
            Self::Cookies => "Cookies",
            Self::EncoderMatch(_) => "EncoderCacheMatchInfo",
            Self::EndpointAttributes => "EndpointAttributes",
            Self::Events => "KVEvents",
            Self::InFlightRequests | Self::InFlightTokens => "InFlightLoad",
            Self::Latency(_) => "LatencyPredictionInfo",
            Self::Metrics => "Metrics",
            Self::RequestAttribute(name) => name,
            Self::Tokens => "TokenizedPrompt",
            Self::Usage => "Usage",
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
    /// Of what follows these, tokens that had been there and are gone, as far as a scorer should take them for there: prompts that
    /// come back to engines which cannot hold them all do best to come back to the same one.
    pub remembered_tokens: u32,
    /// Leading blocks that lie on each medium, by [`Medium::index`]; all 0 when the producer does not know.
    pub by_medium: [u32; Medium::ALL.len()],
    /// How far this can be trusted.
    pub state: WorkerState,
}

/// How long an endpoint would take for one request, as a producer predicts. Milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Latency {
    /// To the first token.
    pub ttft_ms: f64,
    /// Per token after it.
    pub tpot_ms: f64,
    /// What the request allows for the first token, less [`ttft_ms`](Self::ttft_ms); negative when it is too long.
    pub ttft_headroom_ms: f64,
    /// What the request allows per token, less [`tpot_ms`](Self::tpot_ms).
    pub tpot_headroom_ms: f64,
}

impl Latency {
    /// Whether both are within what the request allows.
    pub fn is_valid(&self) -> bool {
        self.ttft_headroom_ms >= 0.0 && self.tpot_headroom_ms >= 0.0
    }
}

/// Says why an endpoint's prefix of a prompt ends where it does: found out only when somebody asks.
pub trait Why: Debug + Send + Sync {
    /// In a few words; `None` when there is nothing to say.
    fn why(&self, endpoint: &Endpoint) -> Option<String>;
}

/// What producers made for one request.
#[derive(Clone, Debug, Default)]
pub struct Attributes {
    prompt_tokens: u64,
    prefix: SmallVec<[(Arc<str>, Vec<PrefixMatch>); 1]>,
    uncached_by: Option<Arc<str>>,
    whys: SmallVec<[Arc<dyn Why>; 1]>,
    texts: Vec<(Cow<'static, str>, String)>,
    latencies: Vec<(Arc<str>, Vec<Option<Latency>>)>,
    encoder: Vec<(Arc<str>, Vec<f64>)>,
    evicted_share: f64,
}

impl Attributes {
    /// Nothing yet, for a prompt of this many tokens, of which those are cached that the producer `uncached_by` finds.
    pub fn new(prompt_tokens: usize, uncached_by: Option<Arc<str>>) -> Self {
        Self { prompt_tokens: prompt_tokens as u64, uncached_by, ..Self::default() }
    }

    /// Takes what `producer` found for each endpoint, by place in the pool.
    pub fn set_prefix_matches(&mut self, producer: &Arc<str>, matches: Vec<PrefixMatch>) {
        self.prefix.push((Arc::clone(producer), matches));
    }

    /// Takes somebody who can say why prefixes end where they do.
    pub fn add_why(&mut self, why: Arc<dyn Why>) {
        self.whys.push(why);
    }

    /// Says something about the request under a name; what was said before under it is replaced.
    pub fn set_text(&mut self, name: impl Into<Cow<'static, str>>, text: impl Into<String>) {
        let name = name.into();
        self.texts.retain(|(known, _)| *known != name);
        self.texts.push((name, text.into()));
    }

    /// Takes what `producer` predicts for each endpoint, by place in the pool; `None` where it cannot.
    pub fn set_latencies(&mut self, producer: &Arc<str>, latencies: Vec<Option<Latency>>) {
        self.latencies.push((Arc::clone(producer), latencies));
    }

    /// Takes which share of the request's multimodal items each endpoint has encoded, from 0 to 1, by place in the pool.
    pub fn set_encoder_matches(&mut self, producer: &Arc<str>, shares: Vec<f64>) {
        self.encoder.push((Arc::clone(producer), shares));
    }

    /// Takes which share of what prompts had to have computed lately had been somewhere before, and was evicted: from 0 to 1.
    pub const fn set_evicted_share(&mut self, share: f64) {
        self.evicted_share = share;
    }

    /// What `producer` found for each endpoint, by place in the pool; `None` when it found nothing out.
    pub fn prefix_matches(&self, producer: &str) -> Option<&[PrefixMatch]> {
        self.prefix.iter().find(|(name, _)| **name == *producer).map(|(_, matches)| matches.as_slice())
    }

    /// What was said about the request under this name.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.texts.iter().find(|(known, _)| known == name).map(|(_, text)| text.as_str())
    }

    /// What `producer` predicts for each endpoint, by place in the pool; `None` when it predicts nothing.
    pub fn latencies(&self, producer: &str) -> Option<&[Option<Latency>]> {
        self.latencies.iter().find(|(name, _)| **name == *producer).map(|(_, latencies)| latencies.as_slice())
    }

    /// Which share of the request's multimodal items each endpoint has encoded, by place in the pool.
    pub fn encoder_matches(&self, producer: &str) -> Option<&[f64]> {
        self.encoder.iter().find(|(name, _)| **name == *producer).map(|(_, shares)| shares.as_slice())
    }

    /// Which share of what prompts had to have computed lately had been somewhere before, and was evicted: from 0 to 1; 0 when
    /// nobody knows.
    pub const fn evicted_share(&self) -> f64 {
        self.evicted_share
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

    /// Why the prefix of an endpoint ends where it does, as far as a producer knows.
    pub(crate) fn why(&self, endpoint: &Endpoint) -> Option<String> {
        self.whys.iter().find_map(|why| why.why(endpoint))
    }
}
