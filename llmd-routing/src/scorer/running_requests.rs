//! `running-requests-size-scorer`: the fewer requests run, the better.

use super::MissingMetrics;
use crate::plugin::{Attributes, Candidate, Candidates, Context, Data, Plugin, Scorer};

/// `(max − running) / (max − min)` over the candidates, 1 when all have as many. An endpoint that does not say how many
/// run scores 0.5: neither idle nor full.
///
/// Formula: llm-d's `running-requests-size-scorer`, which takes a missing metric for 0: [`MissingMetrics::Zero`].
#[derive(Clone, Copy, Debug, Default)]
pub struct RunningRequestsScorer {
    missing: MissingMetrics,
}

impl RunningRequestsScorer {
    /// A scorer for which a missing metric counts for this.
    pub const fn new(missing: MissingMetrics) -> Self {
        Self { missing }
    }
}

impl Plugin for RunningRequestsScorer {
    fn reads(&self) -> Vec<Data> {
        vec![Data::Metrics]
    }
}

impl Scorer for RunningRequestsScorer {
    fn score(&self, _: &Context<'_>, candidates: &Candidates<'_>, out: &mut [f64]) {
        super::fewer_is_better(candidates, out, |candidate| {
            self.missing.or(candidate.metrics.and_then(|metrics| metrics.running_requests))
        });
    }

    fn input(&self, _: &Attributes, candidate: &Candidate<'_>) -> Option<String> {
        candidate.metrics?.running_requests.map(|running| format!("{running} running"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{metrics, pool, request, scores};

    #[test]
    fn the_fewer_requests_run_the_better_and_silence_is_neither() {
        let pool = pool(4);
        for (endpoint, running) in pool.iter().zip([8, 2, 4]) {
            endpoint.set_metrics(metrics(0, running, 0.0));
        }
        let said = scores(&RunningRequestsScorer::default(), &request([]), &pool, &Attributes::default());
        assert_eq!(said, [0.0, 1.0, 4.0 / 6.0, 0.5]);
        let zero = RunningRequestsScorer::new(MissingMetrics::Zero);
        assert_eq!(scores(&zero, &request([]), &pool, &Attributes::default()), [0.0, 0.75, 0.5, 1.0]);
    }
}
