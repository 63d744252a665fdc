//! `approx-prefix-cache-producer`: how much of a prompt each endpoint should hold, going by what was sent there.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use llmd_core::TokenId;
use llmd_core::hash::{BlockHasher, Chain};
use llmd_core::index::{ApproximateIndex, ApproximateSettings, Counting, PrefixIndex};
use parking_lot::Mutex;
use serde::Deserialize;

use super::prefix_match;
use super::sweep::Sweep;
use crate::plugin::{Attributes, Data, Hooks, Picked, Plugin, Producer, Stage};
use crate::{Endpoint, EngineMetrics, Request, tenancy};

/// The smallest block that llm-d's producer works with, whatever its parameters say.
const MIN_BLOCK_SIZE: usize = 64;

/// The most blocks that an endpoint is believed to keep, whatever it says: a terabyte of them.
const MAX_CAPACITY: usize = 1 << 24;

/// What a rest is filled up with that fills no block: no model has a token of this number.
const FILLER: TokenId = TokenId::MAX;

/// How an [`ApproxPrefixCache`] works. The defaults are llm-d's, but for what counts.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ApproxSettings {
    /// Whether block size and capacity are taken from what engines say, once they say it. Default: yes.
    pub auto_tune: bool,
    /// Tokens per block; less than 64 is taken for 64. Default: 16, and so 64.
    pub block_size: usize,
    /// How many tokens of a prompt are looked at; 0 leaves it to `max_blocks`. Default: 131,072.
    pub max_tokens: usize,
    /// How many blocks of a prompt are looked at when `max_tokens` is 0; 0 is no limit. Default: 2,048.
    pub max_blocks: usize,
    /// How many blocks each endpoint is believed to keep. Default: 31,250.
    pub capacity: usize,
    /// Which blocks count. Default: those before the first that the endpoint itself does not hold.
    pub counting: Counting,
}

impl Default for ApproxSettings {
    fn default() -> Self {
        let counting = Counting::Leading;
        Self { auto_tune: true, block_size: 16, max_tokens: 131_072, max_blocks: 2048, capacity: 31_250, counting }
    }
}

/// The parameters of `approx-prefix-cache-producer`.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Parameters {
    auto_tune: bool,
    block_size_tokens: usize,
    max_prefix_tokens_to_match: usize,
    max_prefix_blocks_to_match: usize,
    lru_capacity_per_server: usize,
    /// llmd's own.
    counting: CountingName,
}

/// Which blocks count: those before the first that the endpoint does not hold, or, as in llm-d, every one that it holds before
/// the first that no endpoint holds.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
enum CountingName {
    #[default]
    #[serde(rename = "contiguous")]
    Contiguous,
    #[serde(rename = "llm-d")]
    AsLlmd,
}

impl Default for Parameters {
    fn default() -> Self {
        let ApproxSettings { auto_tune, block_size, max_tokens, max_blocks, capacity, .. } = ApproxSettings::default();
        Self {
            auto_tune,
            block_size_tokens: block_size,
            max_prefix_tokens_to_match: max_tokens,
            max_prefix_blocks_to_match: max_blocks,
            lru_capacity_per_server: capacity,
            counting: CountingName::default(),
        }
    }
}

impl From<Parameters> for ApproxSettings {
    fn from(parameters: Parameters) -> Self {
        Self {
            auto_tune: parameters.auto_tune,
            block_size: parameters.block_size_tokens,
            max_tokens: parameters.max_prefix_tokens_to_match,
            max_blocks: parameters.max_prefix_blocks_to_match,
            capacity: parameters.lru_capacity_per_server,
            counting: match parameters.counting {
                CountingName::AsLlmd => Counting::AsLlmd,
                CountingName::Contiguous => Counting::Leading,
            },
        }
    }
}

/// Remembers which prompts were sent where, and believes that an endpoint keeps what was used there last.
///
/// Formula: llm-d's `approx-prefix-cache-producer`, but for what counts: a prefix ends at the first block that the endpoint
/// itself does not hold, since an engine can use nothing behind it. llm-d counts every block that an endpoint holds before
/// the first that no endpoint holds; [`ApproxSettings::counting`] is the switch. The rest of a prompt, which fills no block,
/// is a block of its own; a prompt of less than one block has none. Unlike llm-d's, a prompt that is longer than an
/// endpoint's cache leaves its beginning there, and is counted no further.
///
/// A prompt is remembered where it is prefilled and where it is decoded, and for the tenant alone that sent it.
#[derive(Debug)]
pub struct ApproxPrefixCache(Arc<Memory>);

#[derive(Debug)]
struct Memory {
    name: Arc<str>,
    settings: ApproxSettings,
    index: ArcSwap<ApproximateIndex>,
    tuned: OnceLock<()>,
    sweep: Mutex<Sweep>,
}

impl ApproxPrefixCache {
    /// A producer of this name.
    pub fn new(name: impl Into<Arc<str>>, settings: ApproxSettings) -> Self {
        let index = ArcSwap::from_pointee(settings.index(settings.block_size));
        Self(Arc::new(Memory { name: name.into(), settings, index, tuned: OnceLock::new(), sweep: Mutex::default() }))
    }
}

impl ApproxSettings {
    /// An empty index of blocks of this many tokens, or of the fewest allowed.
    fn index(&self, block_size: usize) -> ApproximateIndex {
        let settings = ApproximateSettings::default();
        let block_size = block_size.max(MIN_BLOCK_SIZE);
        let settings = settings.with_block_size(block_size).with_capacity(self.capacity);
        ApproximateIndex::new(settings.with_counting(self.counting))
    }

    /// How many tokens of a prompt are looked at.
    fn limit(&self, block_size: usize) -> usize {
        match (self.max_tokens, self.max_blocks) {
            (0, 0) => usize::MAX,
            (0, blocks) => blocks.saturating_mul(block_size),
            (tokens, _) => tokens - tokens % block_size,
        }
    }

    /// The blocks of a prompt that are looked at, a rest that fills none included.
    fn chain(&self, hasher: &BlockHasher, request: &Request, tokens: &[TokenId]) -> Chain {
        let (block_size, namespace) = (hasher.block_size(), tenancy::namespace(request));
        let seen = &tokens[..tokens.len().min(self.limit(block_size))];
        let filled = seen.len().next_multiple_of(block_size);
        if seen.len() < block_size || seen.len() == filled {
            return hasher.chain(seen, &namespace);
        }
        let mut seen = seen.to_vec();
        seen.resize(filled, FILLER);
        hasher.chain(&seen, &namespace)
    }
}

impl Memory {
    /// Takes the first block size that an engine says, once. What was remembered before in other blocks is forgotten.
    fn tune(&self, pool: &[Arc<Endpoint>]) {
        if !self.settings.auto_tune || self.tuned.get().is_some() {
            return;
        }
        let said = pool.iter().find_map(|endpoint| endpoint.metrics()?.block_size).filter(|&size| size > 0);
        let Some(said) = said else { return };
        self.tuned.get_or_init(|| {
            let index = self.settings.index(said as usize);
            if index.hasher().block_size() != self.index.load().hasher().block_size() {
                self.index.store(Arc::new(index));
            }
        });
    }

    /// How many of our blocks fit into an engine's cache; `None` when it does not say.
    fn capacity(&self, index: &ApproximateIndex, metrics: Option<&EngineMetrics>) -> Option<usize> {
        let metrics = metrics.filter(|_| self.settings.auto_tune)?;
        let tokens = usize::try_from(metrics.num_blocks?).ok()?.checked_mul(metrics.block_size? as usize)?;
        let blocks = (tokens / index.hasher().block_size()).min(MAX_CAPACITY);
        Some(blocks).filter(|&blocks| blocks > 0)
    }

    fn remember(&self, index: &ApproximateIndex, chain: &Chain, picked: &Picked<'_>) {
        let worker = picked.endpoint.worker();
        if let Some(blocks) = self.capacity(index, picked.endpoint.metrics().as_deref()) {
            index.set_capacity(worker, blocks);
        }
        index.record(worker, chain, picked.now);
        self.sweep.lock().heard(picked, |gone| index.remove_worker(gone));
    }
}

impl Plugin for ApproxPrefixCache {
    fn reads(&self) -> Vec<Data> {
        let metrics = self.0.settings.auto_tune.then_some(Data::Metrics);
        metrics.into_iter().chain([Data::Tokens]).collect()
    }

    /// Blocks that were forgotten because there were too many endpoints.
    fn dropped(&self) -> u64 {
        self.0.index.load().stats().dropped
    }

    /// The block size that is in effect, which may not be the one that was asked for.
    fn settings(&self) -> String {
        let ApproxSettings { auto_tune, capacity, counting, .. } = self.0.settings;
        let block_size = self.0.index.load().hasher().block_size();
        let until = if auto_tune { ", until engines say better" } else { "" };
        let counting = if counting == Counting::AsLlmd { ", counted as in llm-d" } else { "" };
        format!("blocks of {block_size} tokens, {capacity} per endpoint{until}{counting}")
    }
}

impl Producer for ApproxPrefixCache {
    fn makes(&self) -> Data {
        Data::PrefixMatch(self.0.name.to_string())
    }

    fn produce(
        &self,
        request: &Request,
        pool: &[Arc<Endpoint>],
        _: Duration,
        out: &mut Attributes,
    ) -> Option<Box<dyn Hooks>> {
        let tokens = request.tokens.as_ref()?;
        self.0.tune(pool);
        let index = self.0.index.load_full();
        let chain = self.0.settings.chain(index.hasher(), request, tokens);
        let overlap = index.query(&chain);
        let matches = pool.iter().map(|endpoint| {
            let leading = overlap.leading(endpoint.worker());
            prefix_match(&chain, leading, leading, index.state(endpoint.worker()))
        });
        out.set_prefix_matches(&self.0.name, matches.collect());
        Some(Box::new(Remember { memory: Arc::clone(&self.0), index, chain }))
    }
}

/// Remembers where a prompt goes.
#[derive(Debug)]
struct Remember {
    memory: Arc<Memory>,
    index: Arc<ApproximateIndex>,
    chain: Chain,
}

impl Hooks for Remember {
    fn picked(&mut self, picked: &Picked<'_>) {
        if picked.stage != Stage::Encode {
            self.memory.remember(&self.index, &self.chain, picked);
        }
    }
}
