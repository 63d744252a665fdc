//! How long one decision takes, and how often it takes memory.

use std::time::Duration;

use llmd_core::Result;
use llmd_routing::Request;
use rand::SeedableRng as _;
use rand::rngs::StdRng;

use crate::counting::taken;
use crate::scenario::{InFlight, Requests, Scenario};
use crate::stopwatch::{Stopwatch, worked};

/// One fleet, asked one request after the other.
#[derive(Debug)]
pub(crate) struct Latency {
    scenario: Scenario,
    requests: Requests,
    last: Request,
    in_flight: InFlight,
    rng: StdRng,
    now: Duration,
    p50: Duration,
    p99: Duration,
    interrupted: usize,
    /// Allocations, and of how many decisions.
    taken: (u64, u64),
}

impl Latency {
    pub(crate) fn of(scenario: Scenario) -> Self {
        Self {
            requests: scenario.requests(2),
            scenario,
            last: Request::default(),
            in_flight: InFlight::default(),
            rng: StdRng::seed_from_u64(3),
            now: Duration::ZERO,
            p50: Duration::MAX,
            p99: Duration::MAX,
            interrupted: 0,
            taken: (0, 0),
        }
    }

    /// Decides so many times. What was interrupted by others on the machine says nothing, and is left out.
    ///
    /// # Errors
    ///
    /// Those of a decision.
    pub(crate) fn window(&mut self, decisions: usize) -> Result<()> {
        let mut took = Vec::with_capacity(decisions);
        for _ in 0..decisions {
            took.extend(self.decide()?);
        }
        self.interrupted += decisions - took.len();
        took.sort_unstable();
        if took.len() >= decisions / 2 {
            self.p50 = self.p50.min(took[took.len() / 2]);
            self.p99 = self.p99.min(took[took.len() * 99 / 100]);
        }
        Ok(())
    }

    /// The middle one of a window, in the best of them. Microseconds.
    pub(crate) fn p50_us(&self) -> f64 {
        self.p50.as_secs_f64() * 1e6
    }

    /// The 99th percentile of a window, in the best of them. Microseconds.
    pub(crate) fn p99_us(&self) -> f64 {
        self.p99.as_secs_f64() * 1e6
    }

    /// How often a decision takes memory, on average.
    pub(crate) fn allocations(&self) -> f64 {
        self.taken.0 as f64 / self.taken.1.max(1) as f64
    }

    /// How many decisions were interrupted.
    pub(crate) const fn interrupted(&self) -> usize {
        self.interrupted
    }

    /// The fleet.
    pub(crate) const fn scenario(&self) -> &Scenario {
        &self.scenario
    }

    /// How long one decision took; `None` when it was interrupted.
    fn decide(&mut self) -> Result<Option<Duration>> {
        self.last = self.requests.next(std::mem::take(&mut self.last));
        self.scenario.scrape();
        self.now += Duration::from_millis(1);
        let Scenario { scheduler, pool, .. } = &self.scenario;
        let (before, begun, clock) = (taken(), worked(), Stopwatch::start());
        let decision = scheduler.decide(&self.last, pool, self.now, &mut self.rng)?;
        let took = clock.elapsed();
        let uninterrupted = took <= worked().saturating_sub(begun);
        self.taken = (self.taken.0 + taken() - before, self.taken.1 + 1);
        self.in_flight.add(decision, self.now);
        Ok(uninterrupted.then_some(took))
    }
}
