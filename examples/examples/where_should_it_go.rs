//! Where should this request go? llm-d's configuration, three endpoints, and a decision that says why.

#![expect(clippy::print_stdout, reason = "an example shows its answers")]

use std::time::Duration;

use llmd_core::event::{BlockStored, KvEvent};
use llmd_core::index::{ExactIndex, IndexSettings, IndexWriter as _, WorkerState};
use llmd_core::{ExternalBlockHash, Result, WorkerId};
use llmd_routing::{Endpoint, Pool, Request, Scheduler, Usage};
use rand::SeedableRng as _;
use rand::rngs::StdRng;

fn main() -> Result<()> {
    let prompt: Vec<u32> = (0..256).collect();
    let (mut writer, reader) = ExactIndex::new(IndexSettings::default().with_block_size(32));
    writer.apply(WorkerId(1), 0.0, &[stored(&prompt[..192])]);
    writer.set_state(WorkerId(1), WorkerState::Exact);

    let pool: Pool = (0..3)
        .map(|rank| Endpoint::new(format!("engine-{rank}"), format!("10.0.0.{rank}:8000"), WorkerId(rank)))
        .collect();
    let scheduler = Scheduler::from_yaml(include_str!("../data/epp.yaml"))?.with_index(reader).build()?;
    let request = Request::new("request-1", "tiny").with_tokens(prompt);
    let (now, mut rng) = (Duration::ZERO, StdRng::seed_from_u64(1));

    let mut decision = scheduler.decide(&request, &pool, now, &mut rng)?;
    println!("{} because\n{}", decision.endpoint(), decision.explain());
    println!("in flight there: {}", decision.endpoint().in_flight().requests());

    decision.first_token(now);
    decision.end(now, &Usage::default());
    drop(decision);
    println!("in flight after the end: {}", pool[1].in_flight().requests());
    Ok(())
}

/// What an engine says when it has computed `tokens`.
fn stored(tokens: &[u32]) -> KvEvent {
    let mut stored = BlockStored::default();
    stored.block_hashes = (1..=tokens.len() as u64 / 32).map(ExternalBlockHash::from_int).collect();
    stored.token_ids = tokens.to_vec();
    stored.block_size = 32;
    KvEvent::BlockStored(stored)
}
