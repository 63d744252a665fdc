//! How the load of a scenario is drawn.

use std::sync::Arc;
use std::time::Duration;

use crate::simulate::engine::{Prompt, Stream};
use crate::simulate::load::{Arrivals, Client, Load, Phase, Sessions, SharedPrefix, Stage, Turn, staged};
use crate::splitmix::SplitMix64;

/// How the load of a scenario is drawn: the same for the same seed.
#[derive(Clone, Debug)]
pub(super) enum Recipe {
    /// Many requests for one prompt at once, then for the next.
    Bursts {
        /// How many bursts, and how many seconds lie between them.
        bursts: (usize, f64),
        /// How many requests each has.
        requests: usize,
        /// Tokens of a prompt, and of an answer.
        tokens: (usize, usize),
        block_size: usize,
    },
    /// The same whatever the seed: a recorded trace.
    Recorded(Load),
    /// Conversations, so many at once.
    Sessions { sessions: Sessions, number: usize, at_once: usize, block_size: usize },
    /// inference-perf's stages of shared prefixes.
    Staged { prompts: Arc<SharedPrefix>, stages: Vec<Stage>, arrivals: Arrivals, pause: Duration },
}

impl Recipe {
    pub(super) fn load(&self, seed: u64) -> Load {
        match self {
            Self::Bursts { bursts, requests, tokens, block_size } => {
                let clients = (0..bursts.0).flat_map(|burst| {
                    let at = Duration::from_secs_f64(burst as f64 * bursts.1);
                    one_burst(seed ^ (burst as u64) << 32, at, *requests, *tokens, *block_size)
                });
                let phase = Phase { rate: 0.0, counts: true, clients: clients.collect(), at_once: None };
                Load { phases: vec![phase], pause: Duration::ZERO }
            }
            Self::Recorded(load) => load.clone(),
            Self::Sessions { sessions, number, at_once, block_size } => {
                let mut draw = SplitMix64::new(seed ^ 0xbe61);
                let client = |n: usize| {
                    // They do not begin in step.
                    let at = if n < *at_once { draw.unit() * 30.0 } else { 0.0 };
                    sessions.draw(seed, n as u64, *block_size).client(Duration::from_secs_f64(at))
                };
                let clients = (0..*number).map(client).collect();
                let phase = Phase { rate: 0.0, counts: true, clients, at_once: Some(*at_once) };
                Load { phases: vec![phase], pause: Duration::ZERO }
            }
            Self::Staged { prompts, stages, arrivals, pause } => {
                staged(stages, *arrivals, *pause, prompts.shuffled(seed), seed)
            }
        }
    }
}

/// Requests within a tenth of a second, for one prompt that nobody has seen.
fn one_burst(
    seed: u64,
    at: Duration,
    requests: usize,
    (prompt, output): (usize, usize),
    block_size: usize,
) -> impl Iterator<Item = Client> {
    let mut draw = SplitMix64::new(seed);
    let tokens: Vec<_> = (0..prompt).map(|_| (draw.next() >> 47) as llmd_core::TokenId).collect();
    let prompt = Prompt::new(Arc::new(Stream::new(tokens, block_size)), usize::MAX);
    (0..requests).map(move |n| {
        let turn =
            Turn { after: Duration::ZERO, prompt: prompt.clone(), output, follows: false, seed: seed ^ n as u64 };
        Client { at: at + Duration::from_secs_f64(draw.unit() * 0.1), turns: vec![turn] }
    })
}
