//! The keyed chain of a long prompt, in the form that this machine takes and in each that it has, beside reading its tokens
//! once and beside XXH3 of each block by itself; and the engines' own names for it, beside SHA-256 of as many bytes.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use llmd_benches::{BLOCK_SIZE, criterion, tokens};
use llmd_core::hash::{BlockHasher, Chain, EngineHasher, Form, HashKey, Namespace};
use sha2::{Digest as _, Sha256};
use xxhash_rust::xxh3::xxh3_64;

const TOKENS: usize = 131_072;

fn chain(criterion: &mut Criterion) {
    let prompt = tokens(1, TOKENS);
    let bytes: Vec<u8> = prompt.iter().flat_map(|token| token.to_le_bytes()).collect();
    let key = HashKey::from_bytes([7; 32]);
    let namespace = Namespace::default();

    let mut group = criterion.benchmark_group("hash/chain_131072");
    group.throughput(Throughput::Elements(TOKENS as u64));
    let hasher = BlockHasher::new(key, BLOCK_SIZE);
    let mut chain = Chain::default();
    group.bench_function("llmd", |bench| {
        bench.iter(|| {
            hasher.chain_into(black_box(&prompt), &namespace, &mut chain);
            black_box(chain.blocks().last().copied())
        });
    });
    for form in Form::ALL {
        let Ok(hasher) = BlockHasher::with_form(key, BLOCK_SIZE, form) else { continue };
        let mut names = Vec::new();
        group.bench_function(format!("part_{form}"), |bench| {
            bench.iter(|| {
                names.clear();
                hasher.extend(hasher.root(), 0, black_box(&prompt), &mut names);
                black_box(names.last().copied())
            });
        });
    }
    group.bench_function("limit_read", |bench| {
        bench.iter(|| black_box(&prompt).iter().fold(0_u32, |sum, token| sum.wrapping_add(*token)));
    });
    let mut hashes = Vec::new();
    group.bench_function("peer_xxh3", |bench| {
        bench.iter(|| {
            hashes.clear();
            hashes.extend(black_box(&bytes).chunks_exact(4 * BLOCK_SIZE).map(xxh3_64));
            black_box(hashes.last().copied())
        });
    });
    group.finish();
}

/// Bytes of a block that `vllm-sha256` hashes, when most tokens take five.
const PICKLED: usize = 64 + 5 * BLOCK_SIZE;

fn engines(criterion: &mut Criterion) {
    let prompt = tokens(1, TOKENS);
    let namespace = Namespace::default();
    let blocks = vec![7_u8; PICKLED * (TOKENS / BLOCK_SIZE)];

    let mut group = criterion.benchmark_group("hash/engines_131072");
    group.throughput(Throughput::Elements(TOKENS as u64));
    for scheme in EngineHasher::SCHEMES {
        let hasher = EngineHasher::new(scheme, BLOCK_SIZE).expect("a known scheme");
        let hasher = hasher.clone().with_seed("0").unwrap_or(hasher);
        let mut names = Vec::new();
        group.bench_function(scheme, |bench| {
            bench.iter(|| {
                names.clear();
                hasher.hash_into(black_box(&prompt), &namespace, &mut names).expect("nothing is missing")
            });
        });
    }
    group.bench_function("limit_sha256", |bench| {
        bench.iter(|| black_box(&blocks).chunks_exact(PICKLED).map(Sha256::digest).collect::<Vec<_>>());
    });
    group.finish();
}

criterion_group! { name = benches; config = criterion(); targets = chain, engines }
criterion_main!(benches);
