//! `utilization-filter`: endpoints that are not too busy.

use serde::Deserialize;

use crate::plugin::{Candidate, Candidates, Context, Data, Filter, Plugin};

/// Keeps the candidates of which no metric exceeds its limit. What an endpoint does not say exceeds none.
///
/// Semantics: llm-d's `utilization-filter`, which is experimental there.
#[derive(Clone, Debug)]
pub struct UtilizationFilter {
    conditions: Vec<Condition>,
    fallback_on_empty: bool,
}

/// A limit of one metric.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[expect(clippy::exhaustive_structs, reason = "a metric and its limit")]
pub struct Condition {
    /// The metric.
    pub metric: Metric,
    /// At most this much.
    pub max_value: f64,
}

/// What a [`UtilizationFilter`] can look at.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Metric {
    /// Requests that were sent there and have not ended.
    ActiveRequests,
    /// How much of its KV cache running requests hold, from 0 to 1.
    KvCacheUtilization,
    /// Requests in the engine's batch.
    RunningRequests,
    /// Requests that wait for a place in it.
    WaitingQueue,
}

/// The parameters of `utilization-filter`.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Parameters {
    pub(crate) conditions: Vec<Condition>,
    #[serde(default)]
    pub(crate) fallback_on_empty: bool,
    /// There is one count of what is in flight, whatever its producer is called.
    #[serde(default, rename = "inFlightLoadProducerName")]
    _in_flight_load_producer_name: Option<String>,
}

impl UtilizationFilter {
    /// A filter by these limits.
    pub fn new(conditions: impl IntoIterator<Item = Condition>) -> Self {
        Self { conditions: conditions.into_iter().collect(), fallback_on_empty: false }
    }

    /// The same, which keeps all when it would keep nobody, or not.
    #[must_use]
    pub fn falling_back(self, fallback_on_empty: bool) -> Self {
        Self { fallback_on_empty, ..self }
    }
}

impl Metric {
    fn of(self, candidate: &Candidate<'_>) -> Option<f64> {
        let count = |count: Option<u64>| count.map(|count| count as f64);
        match self {
            Self::ActiveRequests => Some(candidate.load.requests as f64),
            Self::KvCacheUtilization => candidate.metrics?.kv_cache_usage,
            Self::RunningRequests => count(candidate.metrics?.running_requests),
            Self::WaitingQueue => count(candidate.metrics?.waiting_requests),
        }
    }
}

impl Plugin for UtilizationFilter {
    fn reads(&self) -> Vec<Data> {
        let active = |condition: &Condition| condition.metric == Metric::ActiveRequests;
        let in_flight = self.conditions.iter().any(active).then_some(Data::InFlightRequests);
        let metrics = self.conditions.iter().any(|condition| !active(condition)).then_some(Data::Metrics);
        in_flight.into_iter().chain(metrics).collect()
    }
}

impl Filter for UtilizationFilter {
    fn filter(&self, _: &mut Context<'_>, candidates: &mut Candidates<'_>) {
        super::retain_or_all(candidates, self.fallback_on_empty, |candidate| {
            let exceeds =
                |condition: &Condition| condition.metric.of(candidate).is_some_and(|value| value > condition.max_value);
            !self.conditions.iter().any(exceeds)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::Attributes;
    use crate::testing::{kept, metrics, pool, request};

    fn places(filter: &UtilizationFilter) -> Vec<usize> {
        let pool = pool(4);
        for (endpoint, said) in pool.iter().zip([metrics(0, 8, 0.9), metrics(3, 4, 0.5), metrics(9, 2, 0.1)]) {
            endpoint.set_metrics(said);
        }
        let _busy: Vec<_> = [1, 1, 3].map(|place: usize| pool[place].in_flight().admit(0)).into();
        let kept = kept(filter, &request([]), &pool, &Attributes::default());
        (0..4).filter(|&place| kept.iter().any(|name| name == pool[place].name())).collect()
    }

    #[test]
    fn no_metric_may_exceed_its_limit_and_silence_exceeds_none() {
        let limit = |metric, max_value| Condition { metric, max_value };
        let table: [(&[Condition], &[usize]); 6] = [
            (&[limit(Metric::WaitingQueue, 3.0)], &[0, 1, 3]),
            (&[limit(Metric::RunningRequests, 4.0)], &[1, 2, 3]),
            (&[limit(Metric::KvCacheUtilization, 0.5)], &[1, 2, 3]),
            (&[limit(Metric::ActiveRequests, 1.0)], &[0, 2, 3]),
            (&[limit(Metric::WaitingQueue, 3.0), limit(Metric::KvCacheUtilization, 0.5)], &[1, 3]),
            (&[limit(Metric::ActiveRequests, 0.0), limit(Metric::KvCacheUtilization, 0.0)], &[]),
        ];
        for (conditions, expected) in table {
            assert_eq!(places(&UtilizationFilter::new(conditions.iter().copied())), expected, "{conditions:?}");
        }
        let nobody = [limit(Metric::ActiveRequests, 0.0), limit(Metric::KvCacheUtilization, 0.0)];
        assert_eq!(places(&UtilizationFilter::new(nobody).falling_back(true)), [0, 1, 2, 3]);
    }

    #[test]
    fn it_reads_what_its_conditions_look_at() {
        let reads = |metric| UtilizationFilter::new([Condition { metric, max_value: 1.0 }]).reads();
        assert_eq!(reads(Metric::ActiveRequests), [Data::InFlightRequests]);
        assert_eq!(reads(Metric::WaitingQueue), [Data::Metrics]);
    }
}
