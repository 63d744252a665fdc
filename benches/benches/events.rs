//! Decoding a batch of vLLM 0.32, beside rmp-serde into a struct made for it and beside reading the bytes once.
//!
//! The batch is what a prefill step of 8,192 tokens publishes when it evicts as much as it stores.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use llmd_benches::{BLOCK_SIZE, criterion, tokens};
use llmd_core::event::decode_batch;
use serde::{Deserialize, Serialize};

const BLOCKS: usize = 512;

/// An event as vLLM 0.32 writes it, every kind in one: a struct per kind would make serde buffer each event to look for
/// its kind, and the peer slower.
#[derive(Default, Deserialize, Serialize)]
struct Event<'a> {
    r#type: &'a str,
    #[serde(default)]
    block_hashes: Vec<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    parent_block_hash: Option<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    token_ids: Vec<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    block_size: Option<u32>,
    #[serde(default)]
    medium: Option<&'a str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lora_name: Option<&'a str>,
    #[serde(default)]
    group_idx: Option<u32>,
}

type Batch<'a> = (f64, Vec<Event<'a>>, Option<u32>);

fn payload() -> Vec<u8> {
    // Names as large as hashes are, so that each takes nine bytes.
    let names = |first: u64| (first..).take(BLOCKS).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1 << 63).collect();
    let removed = Event { r#type: "BlockRemoved", block_hashes: names(1), medium: Some("GPU"), ..Event::default() };
    let stored = Event {
        r#type: "BlockStored",
        block_hashes: names(10_000),
        parent_block_hash: Some(1 << 63),
        token_ids: tokens(2, BLOCKS * BLOCK_SIZE),
        block_size: Some(BLOCK_SIZE as u32),
        medium: Some("GPU"),
        group_idx: Some(0),
        ..Event::default()
    };
    let batch: Batch<'_> = (1_764_000_000.5, vec![removed, stored], Some(0));
    rmp_serde::to_vec_named(&batch).expect("the batch can be written")
}

fn decode(criterion: &mut Criterion) {
    let payload = payload();
    let decoded = decode_batch(&payload).expect("the payload is a batch");
    assert!(decoded.errors.is_empty() && decoded.events.len() == 2, "{:?}", decoded.errors);

    let mut group = criterion.benchmark_group("events/batch_of_512");
    group.throughput(Throughput::Elements(2 * BLOCKS as u64));
    group.bench_function("llmd", |bench| bench.iter(|| decode_batch(black_box(&payload))));
    group.bench_function("peer_rmp_serde", |bench| {
        bench.iter(|| rmp_serde::from_slice::<Batch<'_>>(black_box(&payload)).map(|batch| batch.1.len()));
    });
    group.bench_function("limit_read", |bench| {
        bench.iter(|| black_box(&payload).iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)));
    });
    group.finish();
}

criterion_group! { name = benches; config = criterion(); targets = decode }
criterion_main!(benches);
