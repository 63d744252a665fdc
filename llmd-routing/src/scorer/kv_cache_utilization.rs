//! `kv-cache-utilization-scorer`: the emptier the KV cache, the better.

use super::MissingMetrics;
use crate::plugin::{Attributes, Candidate, Candidates, Context, Data, Plugin, Scorer, UNKNOWN};

/// `1 − usage`, where `usage` is the part of its KV cache that running requests hold. An endpoint that does not say scores
/// 0.5: neither empty nor full.
///
/// Formula: llm-d's `kv-cache-utilization-scorer`, which takes a missing metric for 0:
/// [`MissingMetrics::Zero`].
#[derive(Clone, Copy, Debug, Default)]
pub struct KvCacheUtilizationScorer {
    missing: MissingMetrics,
}

impl KvCacheUtilizationScorer {
    /// A scorer for which a missing metric counts for this.
    pub const fn new(missing: MissingMetrics) -> Self {
        Self { missing }
    }
}

impl Plugin for KvCacheUtilizationScorer {
    fn reads(&self) -> Vec<Data> {
        vec![Data::Metrics]
    }
}

impl Scorer for KvCacheUtilizationScorer {
    fn score(&self, _: &Context<'_>, candidates: &Candidates<'_>, out: &mut [f64]) {
        for (score, candidate) in out.iter_mut().zip(candidates.iter()) {
            let usage = self.missing.or(candidate.metrics.and_then(|metrics| metrics.kv_cache_usage));
            *score = usage.map_or(UNKNOWN, |usage| 1.0 - usage);
        }
    }

    fn input(&self, _: &Attributes, candidate: &Candidate<'_>) -> Option<String> {
        candidate.metrics?.kv_cache_usage.map(|usage| format!("{:.0} % used", 100.0 * usage))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{metrics, pool, request, scores};

    #[test]
    fn the_emptier_the_cache_the_better_and_silence_is_neither() {
        let pool = pool(4);
        for (endpoint, usage) in pool.iter().zip([0.0, 0.75, 1.0]) {
            endpoint.set_metrics(metrics(0, 0, usage));
        }
        let said = scores(&KvCacheUtilizationScorer::default(), &request([]), &pool, &Attributes::default());
        assert_eq!(said, [1.0, 0.25, 0.0, 0.5]);
        let zero = KvCacheUtilizationScorer::new(MissingMetrics::Zero);
        assert_eq!(scores(&zero, &request([]), &pool, &Attributes::default()), [1.0, 0.25, 0.0, 1.0]);
    }
}
