//! Prompts that share nothing, each with the same number of holders: what an entry costs.

use super::{Stream, chain};
use crate::chance::Chance;

/// Chains of `len` blocks, each held whole by `replicas` workers, `entries` blocks in all.
pub(crate) fn stream(entries: usize, len: usize, replicas: usize, workers: usize) -> Stream {
    let mut chance = Chance::new(11);
    let mut stream = Stream::new(workers);
    for _ in 0..entries / (len * replicas) {
        let (chain, first) = (chain(&chance.fresh(len)), chance.below(workers));
        for replica in 0..replicas {
            stream.prefill(((first + replica) % workers) as u32, None, &chain);
        }
    }
    stream
}
