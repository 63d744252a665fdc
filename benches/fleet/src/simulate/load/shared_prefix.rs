//! inference-perf's `shared_prefix`: groups of prompts that begin alike, in shuffled order, over and over again.

use std::sync::Arc;
use std::time::Duration;

use llmd_core::TokenId;

use super::{Client, Turn};
use crate::simulate::engine::{Prompt, Stream};
use crate::splitmix::SplitMix64;

/// The prompts of inference-perf's `shared_prefix`.
#[derive(Clone, Debug)]
pub struct SharedPrefix {
    prompts: Vec<Prompt>,
    output: usize,
}

impl SharedPrefix {
    /// `groups` beginnings of `system` tokens, each of which goes on with `questions` different questions of `question`
    /// tokens; answers have `output` tokens.
    pub fn new(groups: usize, questions: usize, [system, question, output]: [usize; 3], block_size: usize) -> Self {
        let prompts = (0..groups * questions).map(|n| {
            let (mut beginning, mut rest) = (SplitMix64::new((n / questions) as u64), SplitMix64::new(!(n as u64)));
            let tokens = |draw: &mut SplitMix64, len: usize| -> Vec<TokenId> {
                (0..len).map(|_| (draw.next() >> 47) as TokenId).collect()
            };
            let tokens = [tokens(&mut beginning, system), tokens(&mut rest, question)].concat();
            Prompt::new(Arc::new(Stream::new(tokens, block_size)), usize::MAX)
        });
        Self { prompts: prompts.collect(), output }
    }

    /// The requests without end: all prompts in shuffled order, then the same again. The outputs are always new.
    pub fn shuffled(&self, seed: u64) -> impl Iterator<Item = Turn> {
        let mut draw = SplitMix64::new(seed);
        let mut order: Vec<_> = (0..self.prompts.len()).collect();
        for last in (1..order.len()).rev() {
            order.swap(last, draw.below(last + 1));
        }
        let turns = order.into_iter().cycle().zip(0_u64..);
        turns.map(move |(prompt, n)| Turn {
            after: Duration::ZERO,
            prompt: self.prompts[prompt].clone(),
            output: self.output,
            follows: false,
            seed: seed.rotate_left(32) ^ n,
        })
    }

    /// The requests without end, each drawn by chance from the first `hot` prompts.
    pub fn drawn(&self, seed: u64, hot: usize) -> impl Iterator<Item = Turn> {
        let mut draw = SplitMix64::new(seed);
        let hot = hot.clamp(1, self.prompts.len());
        (0_u64..).map(move |n| Turn {
            after: Duration::ZERO,
            prompt: self.prompts[draw.below(hot)].clone(),
            output: self.output,
            follows: false,
            seed: seed.rotate_left(32) ^ n,
        })
    }
}

impl From<Turn> for Client {
    fn from(turn: Turn) -> Self {
        Self { at: Duration::ZERO, turns: vec![turn] }
    }
}
