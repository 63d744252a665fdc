//! One decision by exact prefix and load, beside its own hashing and index lookup, and beside the choice alone.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use llmd_benches::{BLOCK_SIZE, criterion, stored, tokens};
use llmd_core::WorkerId;
use llmd_core::hash::Namespace;
use llmd_core::index::{ExactIndex, IndexSettings, IndexWriter as _, Overlap, PrefixIndex as _, WorkerState};
use llmd_routing::{Endpoint, Pool, Request, Scheduler};
use rand::SeedableRng as _;
use rand::rngs::StdRng;

const PROMPT: usize = 4096;

const POLICY: &str = include_str!("../exact_prefix.yaml");

fn decide(criterion: &mut Criterion) {
    for endpoints in [8, 64] {
        among(criterion, endpoints);
    }
}

/// Decides among `endpoints`, the n-th of which holds n parts of the prompt.
fn among(criterion: &mut Criterion, endpoints: u32) {
    let prompt = tokens(4, PROMPT);
    let (mut writer, reader) = ExactIndex::new(IndexSettings::default().with_block_size(BLOCK_SIZE));
    for worker in 0..endpoints {
        let held = PROMPT / endpoints as usize * worker as usize;
        writer.apply(WorkerId(worker), 0.0, &[stored(&prompt[..held], 1)]);
        writer.set_state(WorkerId(worker), WorkerState::Exact);
    }
    let pool: Pool =
        (0..endpoints).map(|n| Endpoint::new(format!("engine-{n}"), format!("10.0.0.{n}:8000"), WorkerId(n))).collect();
    let scheduler = Scheduler::from_yaml(POLICY).and_then(|builder| builder.with_index(reader.clone()).build());
    let scheduler = scheduler.expect("the policy is in order");
    let request = Request::new("request-1", "tiny").with_tokens(prompt.clone());
    let mut rng = StdRng::seed_from_u64(5);
    let best = scheduler.decide(&request, &pool, Duration::ZERO, &mut rng).expect("there are endpoints");
    assert_eq!(best.endpoint().worker(), WorkerId(endpoints - 1), "the longest prefix wins when nothing runs");
    drop(best);

    let mut group = criterion.benchmark_group(format!("decide/endpoints_{endpoints}"));
    group.bench_function("llmd", |bench| {
        bench.iter(|| scheduler.decide(black_box(&request), &pool, Duration::ZERO, &mut rng));
    });
    let mut overlap = Overlap::default();
    group.bench_function("part_prefix", |bench| {
        bench.iter(|| {
            let chain = reader.hasher().chain(black_box(&prompt), &Namespace::default());
            reader.query_into(&chain, &mut overlap);
        });
    });
    let prefix: Vec<f32> = (0..endpoints).map(|n| n as f32 / endpoints as f32).collect();
    let load = vec![1.0_f32; endpoints as usize];
    group.bench_function("limit_scan", |bench| {
        bench.iter(|| {
            let scores =
                black_box(&prefix).iter().zip(black_box(&load)).map(|(prefix, load)| 3.0 * prefix + 2.0 * load);
            scores.enumerate().max_by(|(_, a), (_, b)| a.total_cmp(b))
        });
    });
    group.finish();
}

criterion_group! { name = benches; config = criterion(); targets = decide }
criterion_main!(benches);
