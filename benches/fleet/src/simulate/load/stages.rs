//! inference-perf's stages: so many requests at a rate, then the drain, then the next rate.

use std::time::Duration;

use super::{Client, Load, Phase, Turn};
use crate::splitmix::SplitMix64;

/// Requests at a rate, for a while.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stage {
    /// Requests per second.
    pub rate: f64,
    /// Seconds in which they come.
    pub seconds: f64,
    /// Whether it counts.
    pub counts: bool,
}

/// How requests of one rate are spread.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Arrivals {
    /// At equal distances.
    Constant,
    /// By a Poisson process.
    Poisson,
}

impl Stage {
    /// A stage that counts.
    pub const fn new(rate: f64, seconds: f64) -> Self {
        Self { rate, seconds, counts: true }
    }

    /// A stage before those that count.
    pub const fn warm_up(rate: f64, seconds: f64) -> Self {
        Self { rate, seconds, counts: false }
    }
}

/// The load of these stages: as inference-perf sends them, `rate × seconds` requests each.
pub fn staged(
    stages: &[Stage],
    arrivals: Arrivals,
    pause: Duration,
    turns: impl IntoIterator<Item = Turn>,
    seed: u64,
) -> Load {
    let (mut turns, mut draw) = (turns.into_iter(), SplitMix64::new(seed ^ 0x57a6));
    let phases = stages.iter().map(|&Stage { rate, seconds, counts }| {
        let mut at = 0.0;
        let number = (rate * seconds) as usize;
        let clients = turns.by_ref().take(number).map(|turn| {
            at += match arrivals {
                Arrivals::Constant => 1.0,
                Arrivals::Poisson => draw.exponential(),
            } / rate;
            Client { at: Duration::from_secs_f64(at), turns: vec![turn] }
        });
        Phase { rate, counts, clients: clients.collect(), at_once: None }
    });
    Load { phases: phases.collect(), pause }
}
