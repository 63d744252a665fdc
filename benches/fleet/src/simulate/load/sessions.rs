//! Conversations: each request begins with everything that was said before.

use std::sync::Arc;
use std::time::Duration;

use llmd_core::TokenId;

use super::{Client, Turn};
use crate::simulate::engine::{Prompt, Stream};
use crate::splitmix::SplitMix64;

/// How conversations are drawn.
#[derive(Clone, Debug)]
pub struct Sessions {
    /// Tokens with which every conversation begins.
    pub shared: usize,
    /// Tokens with which one begins on its own account: mean, standard deviation, and limits.
    pub own: Spread,
    /// How many requests it has.
    pub turns: Spread,
    /// Tokens that each request adds.
    pub input: Spread,
    /// Tokens of each answer.
    pub output: Spread,
    /// Seconds between an answer and the next request: mean of an exponential distribution.
    pub think_s: f64,
    /// Tokens at which a conversation ends.
    pub limit: usize,
}

/// Numbers with a long tail: log-normal, of this mean and standard deviation, within limits.
pub type Spread = (f64, f64, usize, usize);

/// One conversation: everything that is said, and where requests and answers end.
#[derive(Clone, Debug)]
pub struct Conversation {
    turns: Vec<Turn>,
}

impl Sessions {
    /// A conversation of this number; the same for the same seed.
    pub fn draw(&self, seed: u64, number: u64, block_size: usize) -> Conversation {
        let mut draw = SplitMix64::new(seed ^ (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut shared = SplitMix64::new(0x5e55);
        let mut tokens: Vec<TokenId> = (0..self.shared).map(|_| (shared.next() >> 47) as TokenId).collect();
        extend(&mut tokens, spread(&mut draw, self.own), &mut draw);
        let mut ends = Vec::new();
        for _ in 0..spread(&mut draw, self.turns).max(1) {
            let (input, output) = (spread(&mut draw, self.input), spread(&mut draw, self.output).max(1));
            if !ends.is_empty() && tokens.len() + input + output > self.limit {
                break;
            }
            extend(&mut tokens, input.max(1), &mut draw);
            ends.push((tokens.len(), output, draw.exponential() * self.think_s));
            extend(&mut tokens, output, &mut draw);
        }
        let stream = Arc::new(Stream::new(tokens, block_size));
        let turns = ends.into_iter().enumerate().map(|(n, (end, output, think))| Turn {
            after: if n == 0 { Duration::ZERO } else { Duration::from_secs_f64(think) },
            prompt: Prompt::new(Arc::clone(&stream), end),
            output,
            follows: true,
            seed: 0,
        });
        Conversation { turns: turns.collect() }
    }
}

impl Conversation {
    /// The client that leads it, beginning at `at`.
    pub fn client(self, at: Duration) -> Client {
        Client { at, turns: self.turns }
    }
}

fn extend(tokens: &mut Vec<TokenId>, len: usize, draw: &mut SplitMix64) {
    tokens.extend((0..len).map(|_| (draw.next() >> 47) as TokenId));
}

fn spread(draw: &mut SplitMix64, (mean, deviation, least, most): Spread) -> usize {
    let variance = (1.0 + (deviation / mean.max(1e-9)).powi(2)).ln();
    let number = (mean.max(1e-9).ln() - variance / 2.0 + variance.sqrt() * draw.normal()).exp();
    (number.round() as usize).clamp(least, most)
}
