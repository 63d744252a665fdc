//! What two threads that ask one scheduler take from each other.

use std::thread;
use std::time::Duration;

use llmd_core::{Error, ErrorKind, Result};
use llmd_routing::Request;
use rand::SeedableRng as _;
use rand::rngs::StdRng;

use crate::scenario::{InFlight, Scenario};
use crate::stopwatch::{Stopwatch, queued};

/// Prompts that a thread asks about in turn: so few that they stay near the processor, as what was tokenized just now does.
const PROMPTS: usize = 4;

/// Decisions a second of one thread, of two that share a scheduler, and of two that have nothing in common but the
/// machine, in the best of their windows.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Contention {
    alone: f64,
    together: f64,
    apart: f64,
}

impl Contention {
    /// Lets one thread decide for so long, then two, then two of which one has `another` fleet.
    ///
    /// # Errors
    ///
    /// Those of a decision.
    pub(crate) fn window(&mut self, scenario: &Scenario, another: &Scenario, window: Duration) -> Result<()> {
        self.alone = self.alone.max(rate(&[scenario], window)?);
        self.together = self.together.max(rate(&[scenario, scenario], window)?);
        self.apart = self.apart.max(rate(&[scenario, another], window)?);
        Ok(())
    }

    /// How many times as many decisions two threads make as one.
    pub(crate) fn ratio(&self) -> f64 {
        self.together / self.alone
    }

    /// How many times as many the machine lets two threads make.
    pub(crate) fn limit(&self) -> f64 {
        self.apart / self.alone
    }

    /// Decisions a second of one thread.
    pub(crate) const fn alone(&self) -> f64 {
        self.alone
    }
}

/// Decisions a second of a thread for each fleet, together.
fn rate(scenarios: &[&Scenario], window: Duration) -> Result<f64> {
    let prompts = |(seed, scenario): (u64, &&Scenario)| {
        let mut requests = scenario.requests(seed);
        (0..PROMPTS).map(|_| requests.next(Request::default())).collect::<Vec<_>>()
    };
    let prompts: Vec<_> = (20..).zip(scenarios).map(prompts).collect();
    thread::scope(|scope| {
        let mut running = Vec::new();
        for ((seed, prompts), &scenario) in (10..).zip(&prompts).zip(scenarios) {
            running.push(scope.spawn(move || decided(scenario, prompts, seed, window)));
        }
        running.into_iter().try_fold(0.0, |sum, thread| {
            let rate = thread.join().map_err(|_| Error::new(ErrorKind::Internal, "a thread that decides panicked"))?;
            Ok(sum + rate?)
        })
    })
}

/// Decisions a second of one thread, in the time in which it worked or waited for the other; not in which it waited for a
/// processor.
fn decided(scenario: &Scenario, prompts: &[Request], seed: u64, window: Duration) -> Result<f64> {
    let Scenario { scheduler, pool, .. } = scenario;
    let (mut rng, mut in_flight, mut decisions) = (StdRng::seed_from_u64(seed), InFlight::default(), 0_u64);
    let (clock, before) = (Stopwatch::start(), queued());
    while clock.elapsed() < window {
        let now = clock.elapsed();
        for request in prompts {
            in_flight.add(scheduler.decide(request, pool, now, &mut rng)?, now);
        }
        decisions += prompts.len() as u64;
    }
    let took = clock.elapsed().saturating_sub(queued().saturating_sub(before));
    Ok(decisions as f64 / took.as_secs_f64())
}
