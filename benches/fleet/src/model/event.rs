//! What happens to the cache, in the order in which vLLM publishes it.

use llmd_core::TokenId;

use super::name::{Adapter, Digest};

/// One change of the cache.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "an engine's events are these three, and an encoder must cover them all")]
pub enum CacheEvent {
    /// Every block is forgotten.
    Cleared,
    /// One copy of this block is gone.
    Removed(Digest),
    /// One copy of each of these blocks is there.
    Stored(StoredBlocks),
}

/// Blocks that became full in one step of one request: consecutive, first block first.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct StoredBlocks {
    /// Their names.
    pub hashes: Vec<Digest>,
    /// The block before the first; `None` at the start of a prompt.
    pub parent: Option<Digest>,
    /// Their tokens.
    pub tokens: Vec<TokenId>,
    /// Tokens per block.
    pub block_size: usize,
    /// The adapter that computed them.
    pub adapter: Option<Adapter>,
    /// The tenant's salt, when the first of these blocks is the first of its prompt.
    pub cache_salt: Option<String>,
    /// The session of the request.
    pub session_id: Option<String>,
}
