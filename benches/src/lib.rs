//! Micro-benchmarks, each with a physical limit or a peer beside it.
//!
//! A case is a criterion group named `<bench>/<case>`. Its rows are `llmd`, and beside it `limit_…` (what no code that
//! does this job could beat), `peer_…` (other code that does it) and `part_…` (what a part of llmd's own takes). `cargo
//! xtask bench` runs them and prints how they compare.

use std::time::Duration;

use criterion::Criterion;
use llmd_core::event::{BlockStored, KvEvent};
use llmd_core::{ExternalBlockHash, TokenId};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

/// Tokens per block in every bench.
pub const BLOCK_SIZE: usize = 16;

/// Criterion with a second of warm-up and three of measuring per row: enough for a few percent on an idle machine.
pub fn criterion() -> Criterion {
    let criterion = Criterion::default().sample_size(60);
    criterion.warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(3)).configure_from_args()
}

/// `len` tokens of a vocabulary of the size that large models have, the same for the same seed.
pub fn tokens(seed: u64, len: usize) -> Vec<TokenId> {
    let mut rng = StdRng::seed_from_u64(seed);
    (0..len).map(|_| rng.random_range(0..150_000)).collect()
}

/// What an engine says when it has computed `tokens` from an empty cache; it names its blocks from `first` on.
pub fn stored(tokens: &[TokenId], first: u64) -> KvEvent {
    let mut stored = BlockStored::default();
    stored.block_hashes = (first..).take(tokens.len() / BLOCK_SIZE).map(ExternalBlockHash::from_int).collect();
    stored.token_ids = tokens.to_vec();
    stored.block_size = BLOCK_SIZE as u32;
    KvEvent::BlockStored(stored)
}
