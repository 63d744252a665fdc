//! `load-aware-scorer`: the fewer requests wait, the better, as far as a threshold.

use serde::Deserialize;

use crate::plugin::{Attributes, Candidate, Candidates, Context, Data, Plugin, Scorer, UNKNOWN};

/// How many requests that wait score 0 when the parameters do not say, as in llm-d.
const THRESHOLD: u64 = 128;

/// `0.5 · (1 − min(waiting, threshold) / threshold)`: an endpoint where nobody waits scores 0.5, and so does one that does
/// not say.
///
/// Formula: llm-d's `load-aware-scorer`.
#[derive(Clone, Debug)]
pub struct LoadAwareScorer {
    threshold: u64,
}

/// The parameters of `load-aware-scorer`.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Parameters {
    threshold: i64,
}

impl Default for Parameters {
    fn default() -> Self {
        Self { threshold: THRESHOLD as i64 }
    }
}

impl Parameters {
    /// How many requests that wait score 0; what is not positive means the default, as in llm-d.
    pub(crate) fn threshold(&self) -> u64 {
        u64::try_from(self.threshold).ok().filter(|&threshold| threshold > 0).unwrap_or(THRESHOLD)
    }
}

impl LoadAwareScorer {
    /// A scorer for which so many requests that wait are a full load; 0 is taken for 1.
    pub fn new(threshold: u64) -> Self {
        Self { threshold: threshold.max(1) }
    }
}

impl Default for LoadAwareScorer {
    fn default() -> Self {
        Self::new(THRESHOLD)
    }
}

impl Plugin for LoadAwareScorer {
    fn reads(&self) -> Vec<Data> {
        vec![Data::Metrics]
    }
}

impl Scorer for LoadAwareScorer {
    fn score(&self, _: &Context<'_>, candidates: &Candidates<'_>, out: &mut [f64]) {
        for (score, candidate) in out.iter_mut().zip(candidates.iter()) {
            let waiting = candidate.metrics.and_then(|metrics| metrics.waiting_requests);
            let full = |waiting: u64| waiting.min(self.threshold) as f64 / self.threshold as f64;
            *score = waiting.map_or(UNKNOWN, |waiting| 0.5 * (1.0 - full(waiting)));
        }
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
    fn a_queue_counts_as_far_as_the_threshold() {
        let pool = pool(5);
        for (endpoint, waiting) in pool.iter().zip([0, 32, 128, 1000]) {
            endpoint.set_metrics(metrics(waiting, 0, 0.0));
        }
        let said = |scorer: &LoadAwareScorer| scores(scorer, &request([]), &pool, &Attributes::default());
        assert_eq!(said(&LoadAwareScorer::default()), [0.5, 0.375, 0.0, 0.0, 0.5]);
        assert_eq!(said(&LoadAwareScorer::new(64)), [0.5, 0.25, 0.0, 0.0, 0.5]);
        assert_eq!(said(&LoadAwareScorer::new(0)), [0.5, 0.0, 0.0, 0.0, 0.5]);
    }
}
