//! `slo-headroom-tier-filter`: those that keep what a request allows, and now and then the others.

use rand::RngExt;
use serde::Deserialize;

use crate::plugin::{Candidates, Context, Data, Filter, Latency, Plugin};

/// Keeps the candidates that are predicted to stay within what the request allows for the first token and for those after
/// it, where there are both such and others; with the probability `explore_negative`, it keeps the others instead, so that
/// they are heard of again. Whose latency is not predicted is one of the others; when nobody's is, all are kept.
///
/// Formula: llm-d's `slo-headroom-tier-filter`.
#[derive(Clone, Debug)]
pub struct SloHeadroomTierFilter {
    producer: String,
    explore_negative: f64,
}

/// The parameters of `slo-headroom-tier-filter`.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Parameters {
    pub(crate) epsilon_explore_neg: f64,
    pub(crate) latency_prediction_info_producer_name: Option<String>,
}

impl Default for Parameters {
    fn default() -> Self {
        Self { epsilon_explore_neg: 0.01, latency_prediction_info_producer_name: None }
    }
}

impl SloHeadroomTierFilter {
    /// A filter by what `producer` predicts, which keeps those that are too slow with this probability.
    pub fn new(producer: impl Into<String>, explore_negative: f64) -> Self {
        Self { producer: producer.into(), explore_negative }
    }
}

impl Plugin for SloHeadroomTierFilter {
    fn reads(&self) -> Vec<Data> {
        vec![Data::Latency(self.producer.clone())]
    }

    fn settings(&self) -> String {
        format!("reads {}", self.producer)
    }
}

impl Filter for SloHeadroomTierFilter {
    fn filter(&self, cx: &mut Context<'_>, candidates: &mut Candidates<'_>) {
        let predicted = cx.attributes.latencies(&self.producer).unwrap_or_default();
        let of = |place: usize| predicted.get(place).copied().flatten();
        let fits = |place: usize| of(place).as_ref().is_some_and(Latency::is_valid);
        if candidates.iter().all(|candidate| of(candidate.place).is_none()) {
            return;
        }
        let positive = candidates.iter().filter(|candidate| fits(candidate.place)).count();
        if positive == 0 || positive == candidates.len() {
            return;
        }
        let explores = self.explore_negative > 0.0 && cx.rng.random::<f64>() < self.explore_negative;
        candidates.retain(|candidate| fits(candidate.place) != explores);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::plugin::Attributes;
    use crate::testing::{kept, pool, request};

    fn predicted(ttft_headroom_ms: f64, tpot_headroom_ms: f64) -> Option<Latency> {
        Some(Latency { ttft_headroom_ms, tpot_headroom_ms, ..Latency::default() })
    }

    /// How likely the others are, what is predicted, and who is kept.
    type Case = (f64, [Option<Latency>; 3], &'static [&'static str]);

    #[test]
    fn those_within_what_is_allowed_are_kept_or_the_others() {
        let good = predicted(0.0, 3.0);
        let table: [Case; 7] = [
            (0.0, [good, predicted(-1.0, 3.0), predicted(1.0, -3.0)], &["engine-0"]),
            (1.0, [good, predicted(-1.0, 3.0), predicted(1.0, -3.0)], &["engine-1", "engine-2"]),
            (0.0, [None, good, good], &["engine-1", "engine-2"]),
            (1.0, [None, good, good], &["engine-0"]),
            (1.0, [good; 3], &["engine-0", "engine-1", "engine-2"]),
            (0.0, [predicted(-1.0, 3.0), None, None], &["engine-0", "engine-1", "engine-2"]),
            (1.0, [None; 3], &["engine-0", "engine-1", "engine-2"]),
        ];
        for (explore, latencies, expected) in table {
            let mut known = Attributes::default();
            known.set_latencies(&Arc::from("l"), latencies.to_vec());
            let filter = SloHeadroomTierFilter::new("l", explore);
            assert_eq!(kept(&filter, &request([]), &pool(3), &known), expected, "{explore} {latencies:?}");
        }
        let filter = SloHeadroomTierFilter::new("another", 0.0);
        assert_eq!(kept(&filter, &request([]), &pool(3), &Attributes::default()).len(), 3);
    }
}
