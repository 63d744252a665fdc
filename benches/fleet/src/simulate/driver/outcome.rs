//! What became of a load.

use std::time::Duration;

/// What became of the requests of one phase.
#[derive(Clone, Debug, Default)]
pub struct PhaseOutcome {
    /// Requests per second, where arrivals have a rate; else 0.
    pub rate: f64,
    /// Whether it counts.
    pub counts: bool,
    /// From the first request to the last answer.
    pub took: Duration,
    /// Every request, in the order in which they ended.
    pub served: Vec<Served>,
}

/// One request that was answered.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Served {
    /// From when it was sent to its first token.
    pub first_token: Duration,
    /// From when it was sent to its last token.
    pub whole: Duration,
    /// Tokens of the prompt.
    pub prompt: u32,
    /// Tokens of the answer.
    pub output: u32,
    /// Tokens of the prompt that the engine found in its cache.
    pub cached: u32,
    /// Tokens of which the router expected that.
    pub expected: u32,
    /// Which engine answered.
    pub engine: u16,
    /// How often it was sent again, since its engine had ended.
    pub again: u16,
}

/// What became of a load.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Each phase.
    pub phases: Vec<PhaseOutcome>,
    /// Requests that no engine took, since they are longer than its cache.
    pub refused: usize,
    /// How often a request lost its blocks.
    pub preemptions: usize,
    /// How many steps the engines took.
    pub steps: u64,
    /// Why the request that waited longest for its first token went where it went, where that was asked for.
    pub worst: Option<Worst>,
}

/// The request that waited longest for its first token.
#[derive(Clone, Debug)]
pub struct Worst {
    /// How long.
    pub first_token: Duration,
    /// When it was sent, from the beginning of the run.
    pub sent: Duration,
    /// Tokens of its prompt.
    pub prompt: usize,
    /// Why it went where it went.
    pub why: String,
}

impl PhaseOutcome {
    /// Tokens that came out, per second from the first request to the last answer.
    pub fn output_per_s(&self) -> f64 {
        self.served.iter().map(|served| f64::from(served.output)).sum::<f64>() / self.seconds()
    }

    /// Tokens of prompts and outputs, per second from the first request to the last answer.
    pub fn tokens_per_s(&self) -> f64 {
        let tokens = self.served.iter().map(|served| f64::from(served.output) + f64::from(served.prompt));
        tokens.sum::<f64>() / self.seconds()
    }

    /// Requests per second from the first request to the last answer.
    pub fn requests_per_s(&self) -> f64 {
        self.served.len() as f64 / self.seconds()
    }

    fn seconds(&self) -> f64 {
        self.took.as_secs_f64().max(1e-9)
    }
}

impl Outcome {
    /// The phases that count.
    pub fn counted(&self) -> impl Iterator<Item = &PhaseOutcome> {
        self.phases.iter().filter(|phase| phase.counts)
    }

    /// Every request of the phases that count.
    pub fn served(&self) -> impl Iterator<Item = &Served> {
        self.counted().flat_map(|phase| &phase.served)
    }

    /// The mean of a figure over the phases that count.
    pub fn mean(&self, figure: impl Fn(&PhaseOutcome) -> f64) -> f64 {
        self.counted().map(figure).sum::<f64>() / self.counted().count() as f64
    }
}
