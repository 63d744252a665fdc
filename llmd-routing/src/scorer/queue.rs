//! `queue-scorer`: the fewer requests wait, the better.

use crate::plugin::{Candidates, Context, Data, Plugin, Scorer};

/// `(max − waiting) / (max − min)` over the candidates, 1 when all have as many. An endpoint that does not say how many
/// wait scores 0.5: neither idle nor full.
///
/// Formula: llm-d's `queue-scorer`, which takes a missing metric for 0.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct QueueScorer;

impl Plugin for QueueScorer {
    fn reads(&self) -> Vec<Data> {
        vec![Data::Metrics]
    }
}

impl Scorer for QueueScorer {
    fn score(&self, _: &Context<'_>, candidates: &Candidates<'_>, out: &mut [f64]) {
        super::fewer_is_better(candidates, out, |candidate| candidate.metrics?.waiting_requests);
    }
}
