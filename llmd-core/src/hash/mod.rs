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

mod additive;
mod chain;
mod engine;
mod event_keys;
mod hasher;
mod key;
mod memo;
mod namespace;
mod sglang;
mod simd;
#[cfg(test)]
mod tests;
mod vllm;

use std::fmt::Debug;

pub use additive::AdditiveDigest;
pub use chain::Chain;
pub use engine::EngineHasher;
pub use event_keys::event_extra_keys;
pub use hasher::BlockHasher;
pub use key::HashKey;
pub use memo::{PromptHasher, SessionMemo};
pub use namespace::{ExtraKey, Lora, MultimodalItem, Namespace};
pub use sglang::Sglang;
pub use simd::Form;
pub use vllm::{ExtraKeyForm, Sha256Cbor, VllmAlgorithm, VllmDigest, VllmHash};

use crate::TokenId;

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
