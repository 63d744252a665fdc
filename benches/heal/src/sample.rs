//! What the index says at a moment at which it claims to be exact, kept for comparison with the truth.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use llmd_core::hash::Namespace;
use llmd_core::index::{ExactReader, PrefixIndex as _, Resident, WorkerState};
use llmd_core::{TokenId, WorkerId};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::cache::{digest_of, listed};
use crate::clock::Clock;

/// Prompts that are kept to be asked about.
const MAX_PROMPTS: usize = 512;
/// How many of them are asked about at each moment.
const ASKED: usize = 3;

/// A prompt, shared by whoever looks at it.
pub(crate) type Prompt = Arc<[TokenId]>;

/// Prompts that were sent to engines lately.
#[derive(Debug, Default)]
pub(crate) struct Prompts(Mutex<VecDeque<Prompt>>);

impl Prompts {
    pub(crate) fn sent(&self, prompt: Prompt) {
        let mut prompts = self.0.lock();
        if prompts.len() == MAX_PROMPTS {
            prompts.pop_front();
        }
        prompts.push_back(prompt);
    }

    fn any(&self, rng: &mut StdRng) -> Option<Prompt> {
        let prompts = self.0.lock();
        (!prompts.is_empty()).then(|| Arc::clone(&prompts[rng.random_range(0..prompts.len())]))
    }
}

/// What the index said about a worker at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) at: Duration,
    pub(crate) worker: usize,
    pub(crate) state: WorkerState,
    /// The timestamp of the last batch that was applied, bit by bit; `None` when none was since all was forgotten.
    pub(crate) stamp: Option<u64>,
    /// When it claims to be exact: what it says.
    pub(crate) said: Option<Said>,
}

/// What the index said about what a worker holds.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) residents: u64,
    pub(crate) leading: Vec<(Prompt, u32)>,
}

/// Takes samples of one index, whoever writes it.
#[derive(Clone, Debug)]
pub(crate) struct Sampler {
    clock: Clock,
    prompts: Arc<Prompts>,
    samples: Arc<Mutex<Vec<Sample>>>,
    rng: Arc<Mutex<StdRng>>,
}

impl Sampler {
    pub(crate) fn new(clock: Clock, prompts: Arc<Prompts>, seed: u64) -> Self {
        let rng = Arc::new(Mutex::new(StdRng::seed_from_u64(seed)));
        Self { clock, prompts, samples: Arc::default(), rng }
    }

    /// Notes what is said of a worker now. Nobody must write of it meanwhile.
    pub(crate) fn take(
        &self,
        worker: WorkerId,
        state: WorkerState,
        stamp: Option<u64>,
        index: &ExactReader,
        residents: impl FnOnce() -> Vec<Resident>,
    ) {
        let said = (state == WorkerState::Exact).then(|| Said {
            residents: digest_of(residents().iter().map(listed)),
            leading: (0..ASKED).filter_map(|_| self.ask(worker, index)).collect(),
        });
        let sample = Sample { at: self.clock.now(), worker: worker.0 as usize, state, stamp, said };
        self.samples.lock().push(sample);
    }

    fn ask(&self, worker: WorkerId, index: &ExactReader) -> Option<(Prompt, u32)> {
        let prompt = self.prompts.any(&mut self.rng.lock())?;
        let chain = index.hasher().chain(&prompt, &Namespace::default());
        let leading = index.query(&chain).leading(worker);
        Some((prompt, leading))
    }

    /// The last that was said of a worker.
    pub(crate) fn last(&self, worker: usize) -> Option<Sample> {
        self.samples.lock().iter().rev().find(|sample| sample.worker == worker).cloned()
    }

    /// Whether anything that was said since `at` about a worker is so.
    pub(crate) fn any_since(&self, worker: usize, at: Duration, is_so: impl Fn(&Sample) -> bool) -> bool {
        let samples = self.samples.lock();
        let since = samples.iter().rev().take_while(|sample| sample.at >= at);
        since.filter(|sample| sample.worker == worker).any(is_so)
    }

    /// Everything that was said, in order.
    pub(crate) fn all(&self) -> Vec<Sample> {
        self.samples.lock().clone()
    }
}
