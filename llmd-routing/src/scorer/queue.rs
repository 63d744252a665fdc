//! `queue-scorer`: the fewer requests wait, the better.

use super::MissingMetrics;
use crate::plugin::{Attributes, Candidate, Candidates, Context, Data, Plugin, Scorer};

/// `(max − waiting) / (max − min)` over the candidates, 1 when all have as many. An endpoint that does not say how many
/// wait scores 0.5: neither idle nor full.
///
/// Formula: llm-d's `queue-scorer`, which takes a missing metric for 0: [`MissingMetrics::Zero`].
#[derive(Clone, Copy, Debug, Default)]
pub struct QueueScorer {
    missing: MissingMetrics,
}

impl QueueScorer {
    /// A scorer for which a missing metric counts for this.
    pub const fn new(missing: MissingMetrics) -> Self {
        Self { missing }
    }
}

impl Plugin for QueueScorer {
    fn reads(&self) -> Vec<Data> {
        vec![Data::Metrics]
    }
}

impl Scorer for QueueScorer {
    fn score(&self, _: &Context<'_>, candidates: &Candidates<'_>, out: &mut [f64]) {
        super::fewer_is_better(candidates, out, |candidate| {
            self.missing.or(candidate.metrics.and_then(|metrics| metrics.waiting_requests))
        });
    }

    fn input(&self, _: &Attributes, candidate: &Candidate<'_>) -> Option<String> {
        candidate.metrics?.waiting_requests.map(|waiting| format!("{waiting} waiting"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{metrics, pool, request, scores};

    #[test]
    fn the_shorter_the_queue_the_better_and_silence_is_neither() {
        let table: [(&[Option<u64>], &[f64]); 4] = [
            (&[Some(0), Some(5), Some(10)], &[1.0, 0.5, 0.0]),
            (&[Some(7), Some(7)], &[1.0, 1.0]),
            (&[Some(2), None, Some(6)], &[1.0, 0.5, 0.0]),
            (&[None, None], &[0.5, 0.5]),
        ];
        for (waiting, expected) in table {
            let pool = pool(waiting.len() as u32);
            for (endpoint, waiting) in pool.iter().zip(waiting) {
                waiting.iter().for_each(|&waiting| endpoint.set_metrics(metrics(waiting, 0, 0.0)));
            }
            assert_eq!(scores(&QueueScorer::default(), &request([]), &pool, &Attributes::default()), expected);
        }
    }

    #[test]
    fn silence_is_an_empty_queue_where_that_is_asked_for() {
        let pool = pool(3);
        pool[0].set_metrics(metrics(2, 0, 0.0));
        pool[1].set_metrics(metrics(4, 0, 0.0));
        let scorer = QueueScorer::new(MissingMetrics::Zero);
        assert_eq!(scores(&scorer, &request([]), &pool, &Attributes::default()), [0.5, 0.0, 1.0]);
    }
}
