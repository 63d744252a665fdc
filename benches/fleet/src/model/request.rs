//! A request on its way through the engine.

use std::time::Duration;

use llmd_core::TokenId;
use llmd_core::hash::Sha256Cbor;
use llmd_core::hash::{HashScheme as _, Namespace};

use super::event::StoredBlocks;
use super::name::{Adapter, BlockId, Digest, RequestId};
use super::report::Timeline;

/// A request as it comes in.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct NewRequest {
    /// The tokens of the prompt.
    pub prompt: Vec<TokenId>,
    /// How many tokens come out: exactly so many, nothing ends a request before.
    pub max_tokens: usize,
    /// What the output is made from: the same seed, the same tokens.
    pub seed: u64,
    /// The adapter to compute with.
    pub adapter: Option<Adapter>,
    /// The tenant's salt.
    pub cache_salt: Option<String>,
    /// Whose request it is; events repeat it.
    pub session_id: Option<String>,
    /// Compute everything even where the cache has it, as vLLM does when log-probabilities of the prompt are asked for.
    pub skip_cache: bool,
    /// Keep its blocks when it ends, for another engine to read.
    pub hands_over: bool,
}

impl NewRequest {
    /// A request for `max_tokens` tokens after `prompt`.
    pub fn new(prompt: impl Into<Vec<TokenId>>, max_tokens: usize) -> Self {
        Self { prompt: prompt.into(), max_tokens, ..Self::default() }
    }
}

/// A request inside: its tokens so far, their names, and the blocks it uses.
#[derive(Debug)]
pub(super) struct Active {
    pub(super) id: RequestId,
    /// The prompt, and what came out so far.
    pub(super) tokens: Vec<TokenId>,
    pub(super) prompt_len: usize,
    pub(super) max_tokens: usize,
    pub(super) seed: u64,
    pub(super) skip_cache: bool,
    pub(super) hands_over: bool,
    /// The names of all full blocks of `tokens`.
    pub(super) chain: Vec<Digest>,
    /// The blocks in use, first block first.
    pub(super) blocks: Vec<BlockId>,
    /// How many of `blocks` have a name.
    pub(super) stored: usize,
    /// How many of `tokens` have their KV computed, once the step in flight ends.
    pub(super) computed: usize,
    /// How many of these the step in flight computes.
    pub(super) scheduled: usize,
    /// How many real decode steps have been done for the next simulated token: less than the scale.
    pub(super) decoded: usize,
    /// How many tokens of the prompt the cache had when the request was first scheduled.
    pub(super) hit_tokens: Option<usize>,
    pub(super) preemptions: usize,
    pub(super) times: Timeline,
    adapter: Option<Adapter>,
    session_id: Option<String>,
    namespace: Namespace,
}

impl Active {
    pub(super) fn new(now: Duration, id: RequestId, new: NewRequest) -> Self {
        let mut namespace = Namespace::default();
        namespace.lora = new.adapter.as_ref().map(|adapter| adapter.lora.clone());
        namespace.cache_salt = new.cache_salt;
        Self {
            id,
            prompt_len: new.prompt.len(),
            tokens: new.prompt,
            max_tokens: new.max_tokens,
            seed: new.seed,
            skip_cache: new.skip_cache,
            hands_over: new.hands_over,
            chain: Vec::new(),
            blocks: Vec::new(),
            stored: 0,
            computed: 0,
            scheduled: 0,
            decoded: 0,
            hit_tokens: None,
            preemptions: 0,
            times: Timeline { arrived: now, ..Timeline::default() },
            adapter: new.adapter,
            session_id: new.session_id,
            namespace,
        }
    }

    /// How many tokens came out.
    pub(super) fn produced(&self) -> usize {
        self.tokens.len() - self.prompt_len
    }

    /// Whether all that is left to compute, the step in flight included, is the token that came out last.
    pub(super) fn decodes(&self) -> bool {
        let before = self.computed - self.scheduled;
        before >= self.prompt_len && self.tokens.len() == before + 1
    }

    /// Names the blocks that are full by now.
    pub(super) fn extend_chain(&mut self, scheme: &Sha256Cbor, block_size: usize) {
        while let Some(tokens) = self.tokens.get(self.chain.len() * block_size..(self.chain.len() + 1) * block_size) {
            let position = self.chain.len();
            let parent = self.chain.last().copied().unwrap_or_else(|| scheme.root());
            let extra = self.namespace.extra_keys(position * block_size, block_size);
            self.chain.push(scheme.next(&parent, position, tokens, &extra));
        }
    }

    /// The announcement of the blocks from `stored` up to `full`.
    pub(super) fn announcement(&self, full: usize, block_size: usize) -> StoredBlocks {
        StoredBlocks {
            hashes: self.chain[self.stored..full].to_vec(),
            parent: self.stored.checked_sub(1).map(|before| self.chain[before]),
            tokens: self.tokens[self.stored * block_size..full * block_size].to_vec(),
            block_size,
            adapter: self.adapter.clone(),
            cache_salt: self.namespace.cache_salt.clone().filter(|_| self.stored == 0),
            session_id: self.session_id.clone(),
        }
    }
}
