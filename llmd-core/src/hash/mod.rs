//! From token ids to block hashes: one trait, several schemes.
//!
//! A prompt is cut into blocks of `block_size` tokens; only full blocks have names, and a block's name covers all
//! tokens before it. What else decides whether two blocks hold the same KV (adapter, images, a tenant's salt) enters
//! through a [`Namespace`].
//!
//! ```
//! use llmd_core::hash::{BlockHasher, HashKey, Lora, Namespace};
//!
//! let hasher = BlockHasher::new(HashKey::random(), 16);
//! let prompt: Vec<u32> = (0..40).collect();
//! let plain = hasher.chain(&prompt, &Namespace::default());
//! let adapted = hasher.chain(&prompt, &Namespace::default().with_lora(Lora::new("poet")));
//!
//! assert_eq!(plain.blocks().len(), 2);
//! assert_eq!(plain.blocks(), hasher.chain(&prompt[..32], &Namespace::default()).blocks());
//! assert_ne!(plain.blocks()[0], adapted.blocks()[0]);
//! ```

mod engine;
mod event_keys;
mod keyed;
mod namespace;
mod sglang;
#[cfg(test)]
mod tests;
mod vllm;

use std::fmt::Debug;

pub use engine::EngineHasher;
pub use event_keys::event_extra_keys;
pub use keyed::{HashKey, KeyedXxh3};
pub use namespace::{ExtraKey, Lora, MultimodalItem, Namespace};
pub use sglang::Sglang;
pub use vllm::{ExtraKeyForm, Sha256Cbor, VllmAlgorithm, VllmDigest, VllmHash};

use crate::{BlockHash, ExternalBlockHash, TokenId};

/// How a block's name follows from the name before it and the block's own content.
pub trait HashScheme: Debug + Send + Sync {
    /// A name.
    type Digest: Clone + Debug + Eq;

    /// The name before the first block.
    fn root(&self) -> Self::Digest;

    /// The name of the block at `position` (counted in blocks from 0), which follows `parent`.
    fn next(&self, parent: &Self::Digest, position: usize, tokens: &[TokenId], extra: &[ExtraKey<'_>]) -> Self::Digest;
}

/// The names of all full blocks of `tokens`, first block first. A rest that fills no block has none.
///
/// # Panics
///
/// When `block_size` is 0.
pub fn chain<S: HashScheme>(
    scheme: &S,
    block_size: usize,
    tokens: &[TokenId],
    namespace: &Namespace,
) -> Vec<S::Digest> {
    let mut parent = scheme.root();
    let blocks = tokens.chunks_exact(block_size).enumerate();
    blocks
        .map(|(position, block)| {
            let extra = namespace.extra_keys(position * block_size, block_size);
            parent = scheme.next(&parent, position, block, &extra);
            parent.clone()
        })
        .collect()
}

/// Hashes prompts the way one index does: same key, same block size.
#[derive(Clone, Debug)]
pub struct BlockHasher {
    scheme: KeyedXxh3,
    block_size: usize,
}

impl BlockHasher {
    /// A hasher for blocks of `block_size` tokens.
    ///
    /// # Panics
    ///
    /// When `block_size` is 0.
    pub fn new(key: HashKey, block_size: usize) -> Self {
        assert!(block_size > 0, "a block holds at least one token");
        Self { scheme: KeyedXxh3::new(key), block_size }
    }

    /// The scheme, for those who hash block by block.
    pub const fn scheme(&self) -> &KeyedXxh3 {
        &self.scheme
    }

    /// Tokens per block.
    pub const fn block_size(&self) -> usize {
        self.block_size
    }

    /// The chain of a prompt.
    pub fn chain(&self, tokens: &[TokenId], namespace: &Namespace) -> Chain {
        let blocks = chain(&self.scheme, self.block_size, tokens, namespace);
        Chain { blocks, block_size: self.block_size, tokens: tokens.len(), names: Vec::new() }
    }
}

/// A prompt as an index sees it: the names of its full blocks, first block first.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Chain {
    blocks: Vec<BlockHash>,
    block_size: usize,
    tokens: usize,
    names: Vec<ExternalBlockHash>,
}

impl Chain {
    /// The same, with the engines' own names for the blocks, first block first, where whoever asks can compute them.
    ///
    /// Engines that name parts of blocks name some behind parts that have no name. Events do not say where those stand,
    /// so that they are found under these names only. See [`EngineHasher`].
    #[must_use]
    pub fn with_names(self, names: impl IntoIterator<Item = ExternalBlockHash>) -> Self {
        Self { names: names.into_iter().collect(), ..self }
    }

    /// The engines' own names for the blocks; none, unless [`with_names`](Self::with_names) gave them.
    pub fn names(&self) -> &[ExternalBlockHash] {
        &self.names
    }

    /// The names of the full blocks.
    pub fn blocks(&self) -> &[BlockHash] {
        &self.blocks
    }

    /// Tokens per block.
    pub const fn block_size(&self) -> usize {
        self.block_size
    }

    /// Tokens of the prompt, those that fill no block included.
    pub const fn tokens(&self) -> usize {
        self.tokens
    }

    /// How many tokens an engine takes from its cache when it holds the first `leading` blocks: it always computes the
    /// last token, and takes only whole blocks.
    pub fn hit_tokens(&self, leading: usize) -> usize {
        let usable = self.tokens.saturating_sub(1).checked_div(self.block_size).unwrap_or(0);
        leading.min(usable) * self.block_size
    }
}
