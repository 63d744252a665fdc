//! A writer that notes what the index says after everything that is written.

use std::collections::HashMap;

use llmd_core::WorkerId;
use llmd_core::event::KvEvent;
use llmd_core::index::{Applied, ExactReader, ExactWriter, IndexWriter, Resident, WorkerState};

use crate::sample::Sampler;

/// A writer that notes what the index says after everything that is written. It is the only one, so what it reads is as of
/// what it wrote.
#[derive(Debug)]
pub(crate) struct Checked {
    index: ExactWriter,
    reader: ExactReader,
    sampler: Sampler,
    workers: HashMap<WorkerId, (WorkerState, Option<u64>)>,
}

impl Checked {
    pub(crate) fn new((index, reader): (ExactWriter, ExactReader), sampler: Sampler) -> Self {
        Self { index, reader, sampler, workers: HashMap::new() }
    }

    fn sample(&self, worker: WorkerId) {
        if let Some(&(state, stamp)) = self.workers.get(&worker) {
            self.sampler.take(worker, state, stamp, &self.reader, || self.index.residents(worker));
        }
    }
}

impl IndexWriter for Checked {
    fn apply(&mut self, worker: WorkerId, timestamp: f64, events: &[KvEvent]) -> Applied {
        let applied = self.index.apply(worker, timestamp, events);
        self.workers.entry(worker).or_default().1 = Some(timestamp.to_bits());
        self.sample(worker);
        applied
    }

    fn set_state(&mut self, worker: WorkerId, state: WorkerState) {
        self.index.set_state(worker, state);
        self.workers.entry(worker).or_default().0 = state;
        self.sample(worker);
    }

    fn clear(&mut self, worker: WorkerId) {
        self.index.clear(worker);
        self.workers.entry(worker).or_default().1 = None;
        // What was forgotten is not said to be exact before a state is.
    }

    fn remove_worker(&mut self, worker: WorkerId) {
        self.index.remove_worker(worker);
        self.workers.remove(&worker);
    }

    fn residents(&self, worker: WorkerId) -> Vec<Resident> {
        self.index.residents(worker)
    }
}
