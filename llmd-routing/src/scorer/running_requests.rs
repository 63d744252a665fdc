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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::Attributes;
    use crate::testing::{metrics, pool, request, scores};

    #[test]
    fn the_fewer_requests_run_the_better_and_silence_is_neither() {
        let pool = pool(4);
        for (endpoint, running) in pool.iter().zip([8, 2, 4]) {
            endpoint.set_metrics(metrics(0, running, 0.0));
        }
        let said = scores(&RunningRequestsScorer, &request([]), &pool, &Attributes::default());
        assert_eq!(said, [0.0, 1.0, 4.0 / 6.0, 0.5]);
    }
}
