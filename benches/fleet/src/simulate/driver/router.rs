//! Routers over simulated engines: llmd's own scheduler, with metrics as they are scraped and an index that is fed with
//! events as they come.

use std::collections::VecDeque;
use std::time::Duration;

use llmd_core::event::{KvEvent, KvEventBatch, Numbered};
use llmd_core::feed::Feed;
use llmd_core::hash::HashKey;
use llmd_core::index::IndexSettings;
use llmd_core::{Medium, Result, TokenId};
use llmd_routing::{Decision, Endpoint, EngineMetrics, Headers, Needs, Pool, Request, Scheduler};

use super::fleet::Fleet;
use crate::splitmix::SplitMix64;

/// Batches that an engine keeps for a replay: vLLM's default.
const REPLAYABLE: usize = 10_000;

/// The routers of a fleet, and what they know.
#[derive(Debug)]
pub(super) struct Routers {
    routers: Vec<Router>,
    needs: Needs,
    feed: Feed,
    streams: Vec<EventStream>,
    /// Whether batches may have to be replayed, and are kept for that.
    keeps: bool,
    /// One request after the other in one place, so that a prompt is copied but no room is made for it.
    request: Request,
    draw: SplitMix64,
}

/// One router: its scheduler, and the engines as it sees them.
#[derive(Debug)]
struct Router {
    scheduler: Scheduler,
    pool: Pool,
}

/// The KV events of one engine on their way.
#[derive(Debug, Default)]
struct EventStream {
    name: String,
    next: u64,
    kept: VecDeque<(u64, KvEventBatch)>,
}

/// What an engine says about itself.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Load {
    pub(super) waiting: usize,
    pub(super) running: usize,
    pub(super) cache_usage: f64,
    pub(super) block_size: usize,
    pub(super) blocks: usize,
}

impl Routers {
    /// Routers of this configuration, which is llm-d's YAML.
    ///
    /// # Errors
    ///
    /// As [`Scheduler::from_yaml`] and its builder.
    pub(super) fn new(fleet: &Fleet, yaml: &str, seed: u64) -> Result<Self> {
        let block_size = fleet.machines.first().map_or(16, |machine| machine.block_size);
        let settings = IndexSettings::default().with_block_size(block_size).with_key(HashKey::from_bytes([7; 32]));
        let feed = Feed::new(settings)?;
        let names: Vec<_> = (0..fleet.machines.len()).map(|n| format!("engine-{n}")).collect();
        let workers = names.iter().map(|name| feed.worker(name)).collect::<Result<Vec<_>>>()?;
        let routers = (0..fleet.routers.max(1)).map(|_| {
            let builder = Scheduler::from_yaml(yaml)?.with_index(feed.reader().clone()).allow_experimental(true);
            let endpoints = names.iter().zip(&workers).enumerate();
            let endpoints =
                endpoints.map(|(n, (name, &worker))| Endpoint::new(name, format!("10.0.0.{n}:8000"), worker));
            Ok(Router { scheduler: builder.build()?, pool: endpoints.collect() })
        });
        let routers = routers.collect::<Result<Vec<_>>>()?;
        Ok(Self {
            needs: routers[0].scheduler.needs(),
            routers,
            feed,
            keeps: fleet.lost_events > 0.0 && fleet.replays,
            streams: names.into_iter().map(|name| EventStream { name, ..EventStream::default() }).collect(),
            request: Request::new("simulated", "simulated"),
            draw: SplitMix64::new(seed ^ 0x0_5eed),
        })
    }

    /// What the configuration reads.
    pub(super) const fn needs(&self) -> Needs {
        self.needs
    }

    /// Chooses an engine for a prompt of a session.
    pub(super) fn decide(
        &mut self,
        now: Duration,
        session: usize,
        prompt: &[TokenId],
        output: usize,
    ) -> Result<Decision> {
        if self.needs.tokens {
            let tokens = self.request.tokens.get_or_insert_default();
            tokens.clear();
            tokens.extend_from_slice(prompt);
        }
        self.request.headers = Headers::from_iter([("x-session-id", session.to_string())]);
        self.request.max_output_tokens = Some(output as u32);
        let router = if self.routers.len() > 1 { self.draw.below(self.routers.len()) } else { 0 };
        let Router { scheduler, pool } = &self.routers[router];
        scheduler.decide(&self.request, pool, now, &mut self.draw)
    }

    /// The place of the engine that a decision goes to.
    pub(super) fn engine(&self, decision: &Decision) -> usize {
        let name = decision.endpoint().name();
        self.routers[0].pool.iter().position(|endpoint| endpoint.name() == name).unwrap_or(0)
    }

    /// Reads what every engine says about itself.
    pub(super) fn scrape(&self, now: Duration, loads: impl Iterator<Item = Load>) {
        for (place, load) in loads.enumerate() {
            let mut metrics = EngineMetrics::default();
            metrics.updated = now;
            metrics.waiting_requests = Some(load.waiting as u64);
            metrics.running_requests = Some(load.running as u64);
            metrics.kv_cache_usage = Some(load.cache_usage);
            metrics.block_size = Some(load.block_size as u32);
            metrics.num_blocks = Some(load.blocks as u64);
            for router in &self.routers {
                router.pool[place].set_metrics(metrics.clone());
            }
        }
    }

    /// An engine publishes a batch of events, which may be lost. Says whether the index misses something since.
    ///
    /// # Errors
    ///
    /// As [`Feed::apply_numbered`].
    pub(super) fn hear(&mut self, now: Duration, engine: usize, events: Vec<KvEvent>, is_lost: bool) -> Result<bool> {
        let stream = &mut self.streams[engine];
        let mut batch = KvEventBatch::default();
        (batch.timestamp, batch.events) = (now.as_secs_f64(), events);
        let seq = stream.next;
        stream.next += 1;
        if self.keeps {
            stream.kept.push_back((seq, batch.clone()));
            if stream.kept.len() > REPLAYABLE {
                stream.kept.pop_front();
            }
        }
        if is_lost {
            return Ok(false);
        }
        let fed = self.feed.apply_numbered(now, &stream.name, numbered(seq, batch))?;
        Ok(self.keeps && fed.missing_from.is_some())
    }

    /// An engine replays what the index misses of it.
    ///
    /// # Errors
    ///
    /// As [`Feed::apply_numbered`].
    pub(super) fn replay(&self, now: Duration, engine: usize) -> Result<()> {
        let stream = &self.streams[engine];
        let Some(from) = self.feed.missing_from(&stream.name)? else { return Ok(()) };
        let begin = stream.kept.partition_point(|(seq, _)| *seq < from);
        for (seq, batch) in stream.kept.range(begin..) {
            self.feed.apply_numbered(now, &stream.name, numbered(*seq, batch.clone()))?;
        }
        if self.feed.missing_from(&stream.name)?.is_some() {
            self.feed.give_up(now, &stream.name)?;
        }
        Ok(())
    }

    /// An engine was started anew: its stream begins again, which the index sees by the numbers of its batches.
    pub(super) fn restarted(&mut self, engine: usize) {
        let stream = &mut self.streams[engine];
        (stream.next, stream.kept) = (0, VecDeque::new());
    }
}

fn numbered(seq: u64, batch: KvEventBatch) -> Numbered<KvEventBatch> {
    let beyond_gpu = batch.events.iter().any(|event| match event {
        KvEvent::BlockRemoved(removed) => removed.medium != Medium::Gpu,
        KvEvent::BlockStored(stored) => stored.medium != Medium::Gpu,
        _ => false,
    });
    // The time stands for the bytes: an engine that was started anew says other things.
    let fingerprint = seq ^ batch.timestamp.to_bits().rotate_left(17);
    Numbered::new(seq, fingerprint, batch).beyond_gpu(beyond_gpu)
}
