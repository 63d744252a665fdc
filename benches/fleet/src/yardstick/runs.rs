//! Many runs, on all processors.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use llmd_core::Result;
use parking_lot::Mutex;
use rustix::time::{ClockId, clock_gettime};

use super::console::Progress;
use crate::simulate::scenario::{Policy, Scenario};
use crate::simulate::{Fleet, Outcome, Run};

/// One run: a policy on a fleet, under the load that a scenario has for a seed.
#[derive(Clone, Debug)]
pub(super) struct Unit<'a> {
    pub(super) scenario: &'a Scenario,
    pub(super) fleet: &'a Fleet,
    pub(super) policy: &'a Policy,
    pub(super) seed: u64,
    /// Whether it says afterwards why the slowest request went where it went.
    pub(super) explains: bool,
}

/// What became of a run, and what it cost.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cost {
    /// Requests that were answered, those of warm-ups included.
    pub(super) requests: usize,
    /// Processor time.
    pub(super) took: Duration,
}

impl Cost {
    /// The sum of these.
    pub(super) fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.took += other.took;
    }

    /// Requests in a minute of one processor.
    pub(super) fn requests_per_minute(self) -> f64 {
        self.requests as f64 / self.took.as_secs_f64().max(1e-9) * 60.0
    }
}

impl Unit<'_> {
    fn run(&self) -> Result<(Outcome, Cost)> {
        let begun = processor_time();
        let load = self.scenario.load(self.seed);
        let run = Run::new(self.fleet, &load, &self.policy.yaml, self.seed)?;
        let outcome = if self.explains { run.explaining().run() } else { run.run() }?;
        let requests = outcome.phases.iter().map(|phase| phase.served.len()).sum();
        Ok((outcome, Cost { requests, took: processor_time().saturating_sub(begun) }))
    }
}

/// Runs every unit and makes of each what `judge` makes of it, in the order of the units.
pub(super) fn all<T: Send>(
    units: &[Unit<'_>],
    progress: &Progress,
    judge: impl Fn(&Unit<'_>, Outcome) -> T + Sync,
) -> Result<(Vec<T>, Cost)> {
    let (next, cost) = (AtomicUsize::new(0), Mutex::new(Cost::default()));
    let done: Vec<Mutex<Option<Result<T>>>> = units.iter().map(|_| Mutex::new(None)).collect();
    let work = || {
        // Relaxed: each place is drawn once, and what is found there does not change.
        while let Some(unit) = units.get(next.fetch_add(1, Ordering::Relaxed)) {
            let place = units.iter().position(|other| std::ptr::eq(other, unit)).unwrap_or_default();
            let judged = unit.run().map(|(outcome, took)| {
                cost.lock().add(took);
                judge(unit, outcome)
            });
            *done[place].lock() = Some(judged);
            progress.step();
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from).min(units.len().max(1));
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let done = done.into_iter().map(|done| done.into_inner().expect("every unit was run"));
    Ok((done.collect::<Result<_>>()?, cost.into_inner()))
}

/// Processor time of this thread, so that others who use the machine do not count.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
