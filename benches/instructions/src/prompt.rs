//! Prompts, and what engines say of them.

use llmd_core::event::{BlockStored, KvEvent};
use llmd_core::{ExternalBlockHash, TokenId};

/// Tokens per block.
pub(crate) const BLOCK_SIZE: usize = 16;

/// `len` tokens of a vocabulary of the size that large models have, the same for the same seed.
pub(crate) fn tokens(seed: u64, len: usize) -> Vec<TokenId> {
    let numbers = (seed << 32..).map(mixed);
    numbers.map(|number| (number % 150_000) as TokenId).take(len).collect()
}

/// The engine's names of the blocks of prompt `seed`.
pub(crate) fn names(seed: u64, blocks: usize) -> impl Iterator<Item = u64> {
    (seed << 20..).map(|number| mixed(number) | 1 << 63).take(blocks)
}

/// What an engine says when it has computed `tokens` of prompt `seed` from an empty cache.
pub(crate) fn stored(seed: u64, tokens: &[TokenId]) -> KvEvent {
    let mut stored = BlockStored::default();
    stored.block_hashes = names(seed, tokens.len() / BLOCK_SIZE).map(ExternalBlockHash::from_int).collect();
    stored.token_ids = tokens.to_vec();
    stored.block_size = BLOCK_SIZE as u32;
    KvEvent::BlockStored(stored)
}

/// A number that says nothing of `number`: its step of SplitMix64.
const fn mixed(number: u64) -> u64 {
    let number = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}
