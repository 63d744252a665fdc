//! What an approximate index is made with.

use std::time::Duration;

use crate::hash::HashKey;

/// What an approximate index is made with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ApproximateSettings {
    /// Tokens per block. Need not be the engines'. Default: 16.
    pub block_size: usize,
    /// The secret that the index names blocks with. Default: random, a new one for each call of `default`.
    pub key: HashKey,
    /// How many blocks each worker is believed to keep, until
    /// [`ApproximateIndex::set_capacity`](super::ApproximateIndex::set_capacity) says better. Default: 31,250, llm-d's
    /// `lruCapacityPerServer`.
    pub capacity: usize,
    /// How many workers there can be. When another comes, the one that nothing was sent to for longest is forgotten, and
    /// its blocks are counted as dropped. Default: 4,096.
    pub max_workers: usize,
    /// For how long a worker is believed to keep a block that is not used; `None` is for ever. Default: `None`, as in llm-d.
    pub ttl: Option<Duration>,
    /// Which of a worker's blocks count. Default: [`Counting::Leading`].
    pub counting: Counting,
}

/// Which of the blocks that a worker holds count for a prompt, and in which order it uses them.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Counting {
    /// As llm-d's `approx-prefix-cache-producer`: every block that a worker holds before the first that no worker holds.
    /// Blocks are used from the start of a prompt to its end, and so forgotten from its start. Where a worker has
    /// forgotten a block that another still holds, the count is more than an engine can use.
    AsLlmd,
    /// As an engine: the blocks from the start of the prompt up to the first that this worker does not hold. A prompt is
    /// forgotten from its end.
    #[default]
    Leading,
}

impl Default for ApproximateSettings {
    fn default() -> Self {
        Self {
            block_size: 16,
            key: HashKey::random(),
            capacity: 31_250,
            max_workers: 4096,
            ttl: None,
            counting: Counting::default(),
        }
    }
}

impl ApproximateSettings {
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

    /// The same, for workers that keep this many blocks.
    #[must_use]
    pub fn with_capacity(self, capacity: usize) -> Self {
        Self { capacity, ..self }
    }

    /// The same, with this limit to how many workers there are.
    #[must_use]
    pub fn with_max_workers(self, max_workers: usize) -> Self {
        Self { max_workers, ..self }
    }

    /// The same, with blocks that are believed to be kept for so long.
    #[must_use]
    pub fn with_ttl(self, ttl: Option<Duration>) -> Self {
        Self { ttl, ..self }
    }

    /// The same, counting these of a worker's blocks.
    #[must_use]
    pub fn with_counting(self, counting: Counting) -> Self {
        Self { counting, ..self }
    }
}
