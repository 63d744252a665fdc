//! Who holds a prompt of 512 blocks among 64 workers, beside the same walk over a plain map from block to a mask of
//! workers.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use llmd_benches::{BLOCK_SIZE, criterion, stored, tokens};
use llmd_core::hash::{Chain, HashKey, Namespace};
use llmd_core::index::{ExactIndex, ExactReader, IndexSettings, IndexWriter as _, Overlap, PrefixIndex as _};
use llmd_core::{BlockHash, WorkerId};

const WORKERS: u32 = 64;
const BLOCKS: usize = 512;
/// Blocks that each worker holds for others, so that the tables are as large as real ones.
const OTHER_BLOCKS: usize = 4096;

type Masks = HashMap<BlockHash, u64, BuildHasherDefault<Itself>>;

/// A block hash is a hash already.
#[derive(Default)]
struct Itself(u64);

impl Hasher for Itself {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |hash, byte| hash << 8 | u64::from(*byte));
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// How many leading blocks of the prompt `worker` holds: from 8 to all.
fn leading(worker: u32) -> usize {
    (worker as usize + 1) * BLOCKS / WORKERS as usize
}

fn fleet(prompt: &[u32]) -> (ExactReader, Chain, Masks) {
    let (mut writer, reader) =
        ExactIndex::new(IndexSettings::default().with_block_size(BLOCK_SIZE).with_key(HashKey::from_bytes([7; 32])));
    let mut masks = Masks::default();
    let mut hold = |worker: u32, tokens: &[u32], first| {
        writer.apply(WorkerId(worker), 0.0, &[stored(tokens, first)]);
        for block in reader.hasher().chain(tokens, &Namespace::default()).blocks() {
            *masks.entry(*block).or_default() |= 1 << worker;
        }
    };
    for worker in 0..WORKERS {
        hold(worker, &prompt[..leading(worker) * BLOCK_SIZE], 1);
        hold(worker, &tokens(100 + u64::from(worker), OTHER_BLOCKS * BLOCK_SIZE), 1_000_000);
    }
    let chain = reader.hasher().chain(prompt, &Namespace::default());
    (reader, chain, masks)
}

/// How many leading blocks each worker holds, from masks: the walk ends when nobody is left.
fn walk(masks: &Masks, blocks: &[BlockHash], leading: &mut [u32; WORKERS as usize]) {
    let mut left = u64::MAX;
    for (depth, block) in (0_u32..).zip(blocks) {
        let mut ended = left & !masks.get(block).copied().unwrap_or(0);
        left &= !ended;
        while ended != 0 {
            leading[ended.trailing_zeros() as usize] = depth;
            ended &= ended - 1;
        }
        if left == 0 {
            return;
        }
    }
    for (worker, depth) in leading.iter_mut().enumerate() {
        if left >> worker & 1 == 1 {
            *depth = blocks.len() as u32;
        }
    }
}

fn query(criterion: &mut Criterion) {
    let prompt = tokens(3, BLOCKS * BLOCK_SIZE);
    let (reader, chain, masks) = fleet(&prompt);
    let (mut overlap, mut counts) = (Overlap::default(), [0; WORKERS as usize]);
    reader.query_into(&chain, &mut overlap);
    walk(&masks, chain.blocks(), &mut counts);
    for (worker, count) in (0..WORKERS).zip(counts) {
        assert_eq!((overlap.leading(WorkerId(worker)), count as usize), (count, leading(worker)), "worker {worker}");
    }

    let mut group = criterion.benchmark_group("index/query_64x512");
    group.throughput(Throughput::Elements(BLOCKS as u64));
    group.bench_function("llmd", |bench| bench.iter(|| reader.query_into(black_box(&chain), &mut overlap)));
    group.bench_function("limit_hash_map", |bench| {
        bench.iter(|| {
            walk(&masks, black_box(chain.blocks()), &mut counts);
            counts[0]
        });
    });
    group.finish();
}

criterion_group! { name = benches; config = criterion(); targets = query }
criterion_main!(benches);
