//! What an entry costs in memory, as the system counts it. One index to a process.

use clap::Args;
use llmd_core::Result;
use serde_json::json;

use crate::index::{Index, Who, With, feed, with};
use crate::say;
use crate::stream::{Stream, flat};
use crate::system::resident_bytes;

/// What an entry costs in memory.
#[derive(Debug, Args)]
pub(crate) struct Memory {
    #[arg(long)]
    who: Who,
    /// Workers that hold each chain
    #[arg(long, default_value_t = 1)]
    replicas: usize,
    /// Blocks that all workers hold together
    #[arg(long, default_value_t = 10_000_000)]
    entries: usize,
    /// Blocks in a chain
    #[arg(long, default_value_t = 512)]
    chain: usize,
    #[arg(long, default_value_t = 64)]
    workers: usize,
}

pub(crate) fn run(memory: &Memory) -> Result<()> {
    let stream = flat::stream(memory.entries, memory.chain, memory.replicas, memory.workers);
    let entries: usize = stream.batches.iter().map(|batch| stream.len(batch)).sum();
    let bytes = with(memory.who, Grown(&stream)) as f64 / entries as f64;
    say::row(&json!({
        "part": "memory", "who": memory.who.name(), "replicas": memory.replicas, "entries": entries,
        "bytes_per_entry": bytes,
    }));
    Ok(())
}

/// How much the process grows while an index takes a stream in.
#[derive(Debug)]
struct Grown<'a>(&'a Stream);

impl With for Grown<'_> {
    type Answer = usize;

    fn with<I: Index>(self) -> usize {
        let before = resident_bytes();
        let mut index = I::new(self.0.workers);
        feed(&mut index, self.0, &self.0.batches);
        let after = resident_bytes();
        drop(index);
        after.saturating_sub(before)
    }
}
