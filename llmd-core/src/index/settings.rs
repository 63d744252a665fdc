//! What an index is made with.

use crate::hash::HashKey;

/// What an exact index is made with. Limits are per worker, so that no engine can push out what others said, but for
/// `max_blocks_in_all`.
///
/// ```
/// use llmd_core::index::IndexSettings;
///
/// let settings = IndexSettings::default().with_block_size(32);
/// assert_eq!((settings.block_size, settings.max_blocks), (32, 4_194_304));
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct IndexSettings {
    /// Tokens per block of the index: the unit of every answer. Engines' own blocks, and those of each of their cache
    /// groups, may have this many tokens or any multiple; events about blocks of another size are counted and not
    /// placed. Default: 16, as in vLLM.
    pub block_size: usize,
    /// The secret that the index names blocks with. Default: random, a new one for each call of `default`.
    pub key: HashKey,
    /// How many blocks a worker can hold, a block once for each of its groups and media. Later ones are dropped.
    /// Default: 4,194,304.
    pub max_blocks: usize,
    /// How many different blocks the index can hold, whoever holds them. What goes first when there are more are the ends of
    /// prompts that nothing was stored in for long. Their workers are [`Approximate`](super::WorkerState::Approximate) from then
    /// on, until they are cleared, and they may remove as many names that the index does not know.
    /// Storage that all share is not kept any longer then, and where there is some, no worker is exact again. Default: 67,108,864.
    pub max_blocks_in_all: usize,
    /// How many blocks can wait for their parent. The oldest are dropped. Default: 16,384.
    pub max_orphans: usize,
    /// How many blocks that are gone are remembered, with when they went. The oldest are forgotten. Default: 4,096.
    pub max_remembered: usize,
}

impl Default for IndexSettings {
    fn default() -> Self {
        Self {
            block_size: 16,
            key: HashKey::random(),
            max_blocks: 1 << 22,
            max_blocks_in_all: 1 << 26,
            max_orphans: 1 << 14,
            max_remembered: 1 << 12,
        }
    }
}

impl IndexSettings {
    /// The same, for blocks of this many tokens.
    #[must_use]
    pub fn with_block_size(self, block_size: usize) -> Self {
        Self { block_size, ..self }
    }

    /// The same, with this secret.
    #[must_use]
    pub fn with_key(self, key: HashKey) -> Self {
        Self { key, ..self }
    }

    /// The same, with this limit to what a worker holds.
    #[must_use]
    pub fn with_max_blocks(self, max_blocks: usize) -> Self {
        Self { max_blocks, ..self }
    }

    /// The same, with this limit to what all workers hold together.
    #[must_use]
    pub fn with_max_blocks_in_all(self, max_blocks_in_all: usize) -> Self {
        Self { max_blocks_in_all, ..self }
    }

    /// The same, with this limit to what waits for a parent.
    #[must_use]
    pub fn with_max_orphans(self, max_orphans: usize) -> Self {
        Self { max_orphans, ..self }
    }

    /// The same, with this limit to what is remembered of blocks that are gone.
    #[must_use]
    pub fn with_max_remembered(self, max_remembered: usize) -> Self {
        Self { max_remembered, ..self }
    }
}
