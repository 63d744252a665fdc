//! Tokens to the names of their blocks: llmd's beside the peers', beside unkeyed XXH3 of each block, beside reading alone.

use std::hint::black_box;

use clap::Args;
use dynamo_kv_router::protocols::{BlockHashOptions, compute_block_hash_for_seq, compute_seq_hash_for_block};
use kv_index::compute_request_content_hashes;
use llmd_core::Result;
use llmd_core::hash::{BlockHasher, HashKey, Namespace};
use serde_json::json;
use xxhash_rust::xxh3::xxh3_64;

use crate::chance::Chance;
use crate::say;
use crate::stream::BLOCK_SIZE;
use crate::system::worked;

/// Tokens to the names of their blocks.
#[derive(Debug, Args)]
pub(crate) struct Hash {
    /// Tokens in the prompt
    #[arg(long, default_value_t = 131_072)]
    tokens: usize,
    /// How often each is timed, in turns; the best time counts
    #[arg(long, default_value_t = 40)]
    turns: usize,
}

/// Prompts that are hashed at once.
const CALLS: usize = 16;

/// Hashes the prompt once.
type Way<'a> = Box<dyn FnMut() + 'a>;

pub(crate) fn run(hash: &Hash) -> Result<()> {
    let mut chance = Chance::new(7);
    let tokens: Vec<u32> = (0..hash.tokens).map(|_| chance.below(151_936) as u32).collect();
    let bytes: Vec<u8> = tokens.iter().flat_map(|token| token.to_le_bytes()).collect();
    let hasher = BlockHasher::new(HashKey::from_bytes([7; 32]), BLOCK_SIZE);
    let namespace = Namespace::default();
    let mut names = vec![0_u64; hash.tokens / BLOCK_SIZE];
    let options = BlockHashOptions::default;

    let mut ways: [(&str, Way<'_>); 6] = [
        ("llmd", Box::new(|| drop(black_box(hasher.chain(&tokens, &namespace))))),
        ("read", Box::new(|| _ = black_box(tokens.iter().fold(0, |sum, token| sum ^ token)))),
        (
            "xxh3",
            Box::new(|| {
                let blocks = bytes.chunks_exact(BLOCK_SIZE * size_of::<u32>());
                names.iter_mut().zip(blocks).for_each(|(name, block)| *name = xxh3_64(block));
                black_box(&names);
            }),
        ),
        ("dynamo", Box::new(|| drop(black_box(compute_block_hash_for_seq(&tokens, BLOCK_SIZE as u32, options()))))),
        (
            "dynamo_chain",
            Box::new(|| {
                let blocks = compute_block_hash_for_seq(&tokens, BLOCK_SIZE as u32, options());
                drop(black_box(compute_seq_hash_for_block(&blocks)));
            }),
        ),
        ("smg", Box::new(|| drop(black_box(compute_request_content_hashes(&tokens, BLOCK_SIZE))))),
    ];
    let mut best = [f64::MAX; 6];
    for _ in 0..hash.turns {
        for ((_, way), best) in ways.iter_mut().zip(&mut best) {
            let ((), took) = worked(|| (0..CALLS).for_each(|_| way()));
            *best = best.min(took.as_secs_f64() * 1e6 / CALLS as f64);
        }
    }
    for ((who, _), us) in ways.iter().zip(best) {
        say::row(&json!({ "part": "hash", "who": who, "tokens": hash.tokens, "us": us }));
    }
    Ok(())
}
