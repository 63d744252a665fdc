//! A fleet whose caches hold prompts that are alike, and prompts that begin as those do.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use llmd_core::event::{BlockStored, KvEvent};
use llmd_core::hash::HashKey;
use llmd_core::index::{ExactIndex, ExactWriter, IndexSettings, IndexWriter as _, WorkerState};
use llmd_core::{ExternalBlockHash, Result, TokenId, WorkerId};
use llmd_routing::{Decision, Endpoint, EngineMetrics, Pool, Request, Scheduler, Usage};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

const POLICY: &str = include_str!("../default_profile.yaml");

const BLOCK_SIZE: usize = 16;
/// So many long prompts are asked about again and again.
const FAMILIES: usize = 16;
/// One of so many endpoints holds some of a family.
const SPREAD: u32 = 8;
/// The part of each prompt that is the same for all, as a system prompt is; every endpoint holds it.
const COMMON: usize = 8;
/// So many decisions are made until an endpoint's metrics are read again.
const DECISIONS_PER_SCRAPE: usize = 50;
/// So many decisions are in flight.
const IN_FLIGHT: usize = 256;

/// A fleet and its scheduler.
#[derive(Debug)]
pub(crate) struct Scenario {
    pub(crate) scheduler: Scheduler,
    pub(crate) pool: Pool,
    families: Arc<[Vec<TokenId>]>,
    rng: StdRng,
    _writer: ExactWriter,
}

/// Requests, each with a prompt that nobody sent before and that begins as others did.
#[derive(Debug)]
pub(crate) struct Requests {
    families: Arc<[Vec<TokenId>]>,
    rng: StdRng,
}

/// Decisions that have not ended: a new one ends the oldest.
#[derive(Debug, Default)]
pub(crate) struct InFlight(VecDeque<Decision>);

impl Scenario {
    /// So many endpoints, and prompts of so many tokens.
    ///
    /// # Errors
    ///
    /// Those of a scheduler whose configuration is not in order.
    pub(crate) fn new(endpoints: u32, tokens: usize) -> Result<Self> {
        let mut rng = StdRng::seed_from_u64(1);
        let settings = IndexSettings::default().with_block_size(BLOCK_SIZE).with_key(HashKey::from_bytes([7; 32]));
        let (mut writer, reader) = ExactIndex::new(settings);
        let families = families(tokens, &mut rng);
        for worker in 0..endpoints {
            writer.apply(WorkerId(worker), 0.0, &[stored(0, &families[0][..tokens / COMMON], tokens)]);
            for (family, prompt) in families.iter().enumerate() {
                if rng.random_range(0..SPREAD) == 0 {
                    let held = rng.random_range(tokens / COMMON..=tokens);
                    writer.apply(WorkerId(worker), 0.0, &[stored(family, &prompt[..held], tokens)]);
                }
            }
            writer.set_state(WorkerId(worker), WorkerState::Exact);
        }
        let pool: Pool = (0..endpoints).map(|number| endpoint(number, &mut rng)).collect();
        let scheduler = Scheduler::from_yaml(POLICY)?.with_index(reader).build()?;
        Ok(Self { scheduler, pool, families, rng, _writer: writer })
    }

    /// Lets some endpoints say something new about themselves, as they do between two decisions: each says something once
    /// in fifty, as when a thousand requests a second come and metrics are read every 50 ms.
    pub(crate) fn scrape(&mut self) {
        let endpoints = self.pool.len();
        let whole = endpoints / DECISIONS_PER_SCRAPE;
        let one_more = self.rng.random_range(0..DECISIONS_PER_SCRAPE) < endpoints % DECISIONS_PER_SCRAPE;
        for _ in 0..whole + usize::from(one_more) {
            self.pool[self.rng.random_range(0..endpoints)].set_metrics(metrics(&mut self.rng));
        }
    }

    /// Requests from a seed.
    pub(crate) fn requests(&self, seed: u64) -> Requests {
        Requests { families: Arc::clone(&self.families), rng: StdRng::seed_from_u64(seed) }
    }
}

impl Requests {
    /// The next request, in the memory of one that is over: an eighth to all of its prompt begins a family.
    pub(crate) fn next(&mut self, last: Request) -> Request {
        let family = &self.families[self.rng.random_range(0..FAMILIES)];
        let shared = self.rng.random_range(family.len() / COMMON..family.len());
        let mut prompt = last.tokens.unwrap_or_default();
        prompt.clear();
        prompt.extend_from_slice(&family[..shared]);
        prompt.extend((shared..family.len()).map(|_| token(&mut self.rng)));
        Request::new("request-1", "tiny").with_tokens(prompt)
    }
}

impl InFlight {
    /// One more.
    pub(crate) fn add(&mut self, decision: Decision, now: Duration) {
        if self.0.len() == IN_FLIGHT
            && let Some(mut oldest) = self.0.pop_front()
        {
            oldest.end(now, &Usage::default());
        }
        self.0.push_back(decision);
    }
}

/// Prompts of which the first part is the same.
fn families(tokens: usize, rng: &mut StdRng) -> Arc<[Vec<TokenId>]> {
    let common: Vec<_> = (0..tokens / COMMON).map(|_| token(rng)).collect();
    let family = |_| {
        let mut prompt = common.clone();
        prompt.extend((common.len()..tokens).map(|_| token(rng)));
        prompt
    };
    (0..FAMILIES).map(family).collect()
}

/// A token of a vocabulary of the size that large models have.
fn token(rng: &mut StdRng) -> TokenId {
    rng.random_range(0..150_000)
}

/// What an engine says that has computed the beginning of a family's prompt: all engines have the same names for it.
fn stored(family: usize, tokens: &[TokenId], whole: usize) -> KvEvent {
    let common = whole / COMMON / BLOCK_SIZE;
    let name = |block: usize| if block < common { block as u64 } else { (family as u64 + 1) << 32 | block as u64 };
    let mut stored = BlockStored::default();
    stored.block_hashes = (0..tokens.len() / BLOCK_SIZE).map(name).map(ExternalBlockHash::from_int).collect();
    stored.token_ids = tokens[..tokens.len() / BLOCK_SIZE * BLOCK_SIZE].to_vec();
    stored.block_size = BLOCK_SIZE as u32;
    KvEvent::BlockStored(stored)
}

/// An engine that has something to do.
fn endpoint(number: u32, rng: &mut StdRng) -> Endpoint {
    let endpoint = Endpoint::new(format!("engine-{number}"), format!("10.0.0.{number}:8000"), WorkerId(number));
    endpoint.set_metrics(metrics(rng));
    endpoint
}

fn metrics(rng: &mut StdRng) -> EngineMetrics {
    let mut metrics = EngineMetrics::default();
    metrics.waiting_requests = Some(rng.random_range(0..8));
    metrics.running_requests = Some(rng.random_range(0..64));
    metrics.kv_cache_usage = Some(rng.random());
    metrics
}
