//! One decision by exact prefix and load.

use std::hint::black_box;
use std::time::Duration;

use llmd_core::WorkerId;
use llmd_core::hash::HashKey;
use llmd_core::index::{ExactIndex, IndexSettings, IndexWriter as _, WorkerState};
use llmd_routing::{Endpoint, Pool, Request, Scheduler};
use rand::SeedableRng as _;
use rand::rngs::StdRng;

use crate::prompt::{BLOCK_SIZE, stored, tokens};
use crate::{TIMES, counted};

const PROMPT: usize = 4096;
const ENDPOINTS: u32 = 64;

const POLICY: &str = include_str!("../../exact_prefix.yaml");

/// Among 64 endpoints, the n-th of which holds n parts of a prompt of 4,096 tokens.
pub(crate) fn among_64() {
    let prompt = tokens(4, PROMPT);
    let settings = IndexSettings::default().with_block_size(BLOCK_SIZE).with_key(HashKey::from_bytes([7; 32]));
    let (mut writer, reader) = ExactIndex::new(settings);
    for worker in 0..ENDPOINTS {
        let held = PROMPT / ENDPOINTS as usize * worker as usize;
        writer.apply(WorkerId(worker), 0.0, &[stored(4, &prompt[..held])]);
        writer.set_state(WorkerId(worker), WorkerState::Exact);
    }
    let endpoint = |n| Endpoint::new(format!("engine-{n}"), format!("10.0.0.{n}:8000"), WorkerId(n));
    let pool: Pool = (0..ENDPOINTS).map(endpoint).collect();
    let scheduler = Scheduler::from_yaml(POLICY).and_then(|builder| builder.with_index(reader).build());
    let scheduler = scheduler.expect("the policy is in order");
    let request = Request::new("request-1", "tiny").with_tokens(prompt);
    let mut rng = StdRng::seed_from_u64(5);
    let mut decide = || drop(black_box(scheduler.decide(black_box(&request), &pool, Duration::ZERO, &mut rng)));
    decide();
    for _ in 0..TIMES {
        counted(&mut decide);
    }
}
