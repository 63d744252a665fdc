//! What is asked of a fleet, when: drawn before the run, so that every policy is given the same.

mod sessions;
mod shared_prefix;
mod stages;

use std::time::Duration;

use super::engine::Prompt;

pub use sessions::{Conversation, Sessions, Spread};
pub use shared_prefix::SharedPrefix;
pub use stages::{Arrivals, Stage, staged};

/// What is asked of a fleet.
#[derive(Clone, Debug, Default)]
pub struct Load {
    /// One after the other: a phase begins when all requests of the one before have ended, and some time has passed.
    pub phases: Vec<Phase>,
    /// How much time passes between phases.
    pub pause: Duration,
}

/// A part of a load that is measured by itself.
#[derive(Clone, Debug, Default)]
pub struct Phase {
    /// Requests per second, where arrivals have a rate; else 0.
    pub rate: f64,
    /// Whether it counts; a warm-up does not.
    pub counts: bool,
    /// Who asks, by when they begin.
    pub clients: Vec<Client>,
    /// How many of them ask at once, where that has a limit: the others begin when one has ended.
    pub at_once: Option<usize>,
}

/// Who asks one request after the other.
#[derive(Clone, Debug)]
pub struct Client {
    /// When it begins, from the beginning of the phase; or, where only so many ask at once, from its turn.
    pub at: Duration,
    /// Its requests. Each is sent when the answer to the one before has come and `after` has passed.
    pub turns: Vec<Turn>,
}

/// One request.
#[derive(Clone, Debug)]
pub struct Turn {
    /// How long the client thinks before.
    pub after: Duration,
    /// The prompt.
    pub prompt: Prompt,
    /// How many tokens come out.
    pub output: usize,
    /// Whether the output is what the prompt's stream goes on with.
    pub follows: bool,
    /// What the output is made from otherwise.
    pub seed: u64,
}

impl Load {
    /// How many requests there are.
    pub fn requests(&self) -> usize {
        self.phases.iter().flat_map(|phase| &phase.clients).map(|client| client.turns.len()).sum()
    }
}
