//! The longest that one step keeps a writer busy while its index grows from nothing. One load to a process: memory that
//! was used before would be there already.

use std::time::Duration;

use clap::Args;
use llmd_core::Result;
use serde_json::json;

use crate::index::{Index, Who, With, with};
use crate::say;
use crate::stream::{Stream, flat};

/// The longest that one step takes while an index grows from nothing.
#[derive(Debug, Args)]
pub(crate) struct Growth {
    #[arg(long)]
    who: Who,
    /// Blocks that are loaded
    #[arg(long, default_value_t = 4_000_000)]
    entries: usize,
    #[arg(long, default_value_t = 64)]
    workers: usize,
}

/// Blocks in a chain, and in a step.
const CHAIN: usize = 512;

pub(crate) fn run(growth: &Growth) -> Result<()> {
    let stream = flat::stream(growth.entries, CHAIN, 1, growth.workers);
    let (longest, all) = with(growth.who, Load(&stream));
    let us = |time: Duration| time.as_secs_f64() * 1e6;
    say::row(&json!({
        "part": "growth", "who": growth.who.name(), "stall_us": us(longest),
        "mean_us": us(all) / stream.batches.len() as f64,
    }));
    Ok(())
}

/// Loads an index step by step: the longest step, and all together.
#[derive(Debug)]
struct Load<'a>(&'a Stream);

impl With for Load<'_> {
    type Answer = (Duration, Duration);

    fn with<I: Index>(self) -> Self::Answer {
        let mut index = I::new(self.0.workers);
        let (mut longest, mut all) = (Duration::ZERO, Duration::ZERO);
        for batch in &self.0.batches {
            let step = index.step(self.0, batch);
            let took = index.apply(vec![step]);
            longest = longest.max(took);
            all += took;
        }
        (longest, all)
    }
}
