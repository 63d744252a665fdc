//! `running-requests-size-scorer`: the fewer requests run, the better.

use crate::plugin::{Candidates, Context, Data, Plugin, Scorer};

/// `(max − running) / (max − min)` over the candidates, 1 when all have as many. An endpoint that does not say how many
/// run scores 0.5: neither idle nor full.
///
/// Formula: llm-d's `running-requests-size-scorer`, which takes a missing metric for 0.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct RunningRequestsScorer;

impl Plugin for RunningRequestsScorer {
    fn reads(&self) -> Vec<Data> {
        vec![Data::Metrics]
    }
}

impl Scorer for RunningRequestsScorer {
    fn score(&self, _: &Context<'_>, candidates: &Candidates<'_>, out: &mut [f64]) {
        super::fewer_is_better(candidates, out, |candidate| candidate.metrics?.running_requests);
    }
}
