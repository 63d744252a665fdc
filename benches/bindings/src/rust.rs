//! The work in Rust: what the others are measured against.

use std::hint::black_box;
use std::time::Duration;

use llmd_core::feed::Feed;
use llmd_core::hash::{Chain, Namespace};
use llmd_core::index::{IndexSettings, Overlap, PrefixIndex as _};
use llmd_core::{Error, ErrorKind, Result, WorkerId};
use llmd_routing::{Endpoint, Pool, Request, Scheduler};
use rand::SeedableRng as _;
use rand::rngs::StdRng;

use crate::job::Job;
use crate::scenario::{BLOCK_SIZE, ENDPOINTS, Scenario, WORKERS};
use crate::stopwatch::Stopwatch;

/// An index, a scheduler and a request.
#[derive(Debug)]
pub(crate) struct Rust {
    feed: Feed,
    overlap: Overlap,
    chain: Chain,
    workers: Vec<WorkerId>,
    leading: Vec<u32>,
    scheduler: Scheduler,
    pool: Pool,
    request: Request,
    batches: [Vec<u8>; 2],
    seq: u64,
    rng: StdRng,
    clock: Stopwatch,
}

impl Rust {
    /// # Errors
    ///
    /// [`ErrorKind::Internal`] when the index does not answer as the scenario has it.
    pub(crate) fn new(scenario: &Scenario) -> Result<Self> {
        let feed = Feed::new(IndexSettings::default().with_block_size(BLOCK_SIZE))?;
        let names: Vec<_> = (0..WORKERS).map(|worker| format!("worker-{worker:02}")).collect();
        for (name, payload) in names.iter().zip(&scenario.workers) {
            feed.apply(Duration::ZERO, name, Some(0), payload)?;
        }
        let scheduler = Scheduler::from_yaml(Scenario::config())?.with_index(feed.reader().clone()).build()?;
        let endpoints: Result<Vec<_>> = names[WORKERS - ENDPOINTS..]
            .iter()
            .map(|name| Ok(Endpoint::new(name.as_str(), "10.0.0.1:8000", feed.worker(name)?)))
            .collect();
        let workers = names.iter().map(|name| feed.worker(name)).collect::<Result<_>>()?;
        let mut rust = Self {
            feed,
            overlap: Overlap::default(),
            chain: Chain::default(),
            workers,
            leading: vec![0; WORKERS],
            scheduler,
            pool: endpoints?.into_iter().collect(),
            request: Request::new("request", "model").with_tokens(scenario.prompt.as_slice()),
            batches: [scenario.store.clone(), scenario.remove.clone()],
            seq: 0,
            rng: StdRng::seed_from_u64(1),
            clock: Stopwatch::start(),
        };
        match rust.query() {
            WORKERS => Ok(rust),
            found => {
                let message = format!("{found} workers hold the prompt: expected {WORKERS}");
                Err(Error::new(ErrorKind::Internal, message))
            }
        }
    }

    /// The nanoseconds that one of `calls` calls took, mean.
    ///
    /// # Errors
    ///
    /// What the calls fail with.
    pub(crate) fn time(&mut self, job: Job, calls: usize) -> Result<f64> {
        let stopwatch = Stopwatch::start();
        for _ in 0..calls {
            match job {
                Job::Apply => self.apply()?,
                Job::Decide => self.decide()?,
                Job::Dense => self.dense(),
                Job::Query => _ = black_box(self.query()),
            }
        }
        Ok(stopwatch.elapsed().as_nanos() as f64 / calls as f64)
    }

    fn apply(&mut self) -> Result<()> {
        let payload = &self.batches[self.seq as usize % 2];
        black_box(self.feed.apply(self.clock.elapsed(), "applied", Some(self.seq), payload)?);
        self.seq += 1;
        Ok(())
    }

    fn decide(&mut self) -> Result<()> {
        let decision = self.scheduler.decide(&self.request, &self.pool, self.clock.elapsed(), &mut self.rng)?;
        black_box(decision.predicted_hit_tokens());
        Ok(())
    }

    fn query(&mut self) -> usize {
        let tokens = self.request.tokens.as_deref().unwrap_or_default();
        let chain = self.feed.reader().hasher().chain(black_box(tokens), &Namespace::default());
        self.feed.reader().query_into(&chain, &mut self.overlap);
        self.overlap.len()
    }

    fn dense(&mut self) {
        let tokens = self.request.tokens.as_deref().unwrap_or_default();
        self.feed.reader().hasher().chain_into(black_box(tokens), &Namespace::default(), &mut self.chain);
        self.feed.reader().query_into(&self.chain, &mut self.overlap);
        for (&worker, leading) in self.workers.iter().zip(&mut self.leading) {
            *leading = self.overlap.leading(worker);
        }
        black_box(&self.leading);
    }
}
