//! `prefix-cache-affinity-filter`: a prompt stays where most of it is cached, unless the wait there is much longer.

use rand::RngExt;
use serde::Deserialize;

use crate::plugin::{Candidate, Candidates, Context, Data, Filter, Plugin};

/// Keeps the candidates that hold at least `affinity_threshold` of the prompt's blocks, where there are any.
///
/// Keeps all of them, though, with the probability `exploration_probability`, and when the best of those that hold it is more
/// than `max_ttft_penalty_ms` slower to the first token than the best of the others. How slow an endpoint is says a
/// [`TtftSource`].
///
/// Formula: llm-d's `prefix-cache-affinity-filter`.
#[derive(Clone, Debug)]
pub struct PrefixCacheAffinityFilter {
    producer: String,
    affinity_threshold: f64,
    exploration_probability: f64,
    max_ttft_penalty_ms: f64,
    ttft: TtftSource,
}

/// Where [`PrefixCacheAffinityFilter`] takes from how long an endpoint needs to the first token.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum TtftSource {
    /// The producer of this name predicts it. What it cannot predict takes forever, as in llm-d.
    LatencyPredictor(String),
    /// The tokens that it has to compute, at this many in a second.
    PrefillThroughput(f64),
}

/// The parameters of `prefix-cache-affinity-filter`.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Parameters {
    pub(crate) affinity_threshold: f64,
    pub(crate) exploration_probability: f64,
    #[serde(rename = "maxTTFTPenaltyMs")]
    pub(crate) max_ttft_penalty_ms: f64,
    pub(crate) ttft_source: TtftSourceName,
    /// Tokens per second; the default was measured by llm-d with Qwen 32B on two H100.
    pub(crate) peak_prefill_throughput: f64,
    pub(crate) prefix_match_info_producer_name: Option<String>,
    pub(crate) latency_prediction_info_producer_name: Option<String>,
    /// There is one count of what is in flight, whatever its producer is called.
    #[serde(rename = "inFlightLoadProducerName")]
    _in_flight_load_producer_name: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub(crate) enum TtftSourceName {
    LatencyPredictor,
    PrefillThroughput,
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            affinity_threshold: 0.8,
            exploration_probability: 0.0,
            max_ttft_penalty_ms: 18_000.0,
            ttft_source: TtftSourceName::PrefillThroughput,
            peak_prefill_throughput: 15_928.0,
            prefix_match_info_producer_name: None,
            latency_prediction_info_producer_name: None,
            _in_flight_load_producer_name: None,
        }
    }
}

impl PrefixCacheAffinityFilter {
    /// A filter by what `producer` finds, which keeps those that hold at least this share of the prompt, from 0 to 1,
    /// whatever the wait there. 0 keeps all.
    pub fn new(producer: impl Into<String>, affinity_threshold: f64) -> Self {
        let ttft = TtftSource::PrefillThroughput(1.0);
        let producer = producer.into();
        Self { producer, affinity_threshold, exploration_probability: 0.0, max_ttft_penalty_ms: 0.0, ttft }
    }

    /// The same, which keeps all with this probability.
    #[must_use]
    pub fn exploring(self, probability: f64) -> Self {
        Self { exploration_probability: probability, ..self }
    }

    /// The same, which keeps all when the first token would come so much later; 0 is never.
    #[must_use]
    pub fn with_max_ttft_penalty(self, milliseconds: f64, ttft: TtftSource) -> Self {
        Self { max_ttft_penalty_ms: milliseconds, ttft, ..self }
    }

    /// The candidates that hold enough of the prompt, by place in the pool.
    fn sticky(&self, cx: &Context<'_>, candidates: &Candidates<'_>) -> Vec<usize> {
        let matches = cx.prefix_matches(&self.producer).unwrap_or_default();
        let share = |place: usize| match matches.get(place) {
            Some(found) if found.total > 0 => f64::from(found.blocks) / f64::from(found.total),
            _ => 0.0,
        };
        let places = candidates.iter().map(|candidate| candidate.place);
        places.filter(|&place| share(place) >= self.affinity_threshold).collect()
    }

    /// Whether the first token would come much later from those that hold the prompt than from the others.
    fn too_slow(&self, cx: &Context<'_>, candidates: &Candidates<'_>, sticky: &[usize]) -> bool {
        if self.max_ttft_penalty_ms <= 0.0 || sticky.len() == candidates.len() {
            return false;
        }
        let best = |holds: bool| {
            let those = candidates.iter().filter(|candidate| sticky.binary_search(&candidate.place).is_ok() == holds);
            those.map(|candidate| self.ttft.of(cx, &candidate)).fold(f64::MAX, f64::min)
        };
        best(true) - best(false) > self.max_ttft_penalty_ms
    }
}

impl TtftSource {
    /// Milliseconds.
    fn of(&self, cx: &Context<'_>, candidate: &Candidate<'_>) -> f64 {
        match self {
            Self::LatencyPredictor(producer) => {
                let latency =
                    cx.attributes.latencies(producer).and_then(|latencies| *latencies.get(candidate.place)?);
                latency.map_or(f64::MAX, |latency| latency.ttft_ms)
            }
            Self::PrefillThroughput(tokens_per_s) => candidate.load.tokens as f64 / tokens_per_s * 1000.0,
        }
    }
}

impl Plugin for PrefixCacheAffinityFilter {
    fn reads(&self) -> Vec<Data> {
        let ttft = match &self.ttft {
            TtftSource::LatencyPredictor(producer) => Data::Latency(producer.clone()),
            TtftSource::PrefillThroughput(_) => Data::InFlightTokens,
        };
        let ttft = Some(ttft).filter(|_| self.max_ttft_penalty_ms > 0.0);
        [Data::PrefixMatch(self.producer.clone())].into_iter().chain(ttft).collect()
    }

    fn settings(&self) -> String {
        let Self { producer, affinity_threshold, max_ttft_penalty_ms, .. } = self;
        let unless = match max_ttft_penalty_ms {
            0.0 => String::new(),
            penalty => format!(", unless it takes {penalty} ms longer"),
        };
        format!("reads {producer}, keeps who holds {affinity_threshold} of the prompt{unless}")
    }
}

impl Filter for PrefixCacheAffinityFilter {
    fn filter(&self, cx: &mut Context<'_>, candidates: &mut Candidates<'_>) {
        if candidates.len() <= 1 || self.affinity_threshold <= 0.0 {
            return;
        }
        if self.exploration_probability > 0.0 && cx.rng.random::<f64>() < self.exploration_probability {
            return;
        }
        let sticky = self.sticky(cx, candidates);
        if !sticky.is_empty() && !self.too_slow(cx, candidates, &sticky) {
            candidates.retain(|candidate| sticky.binary_search(&candidate.place).is_ok());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::plugin::{Attributes, Latency};
    use crate::testing::{attributes, kept, pool, prefix, request};

    const BLOCKS: [u32; 4] = [9, 8, 7, 0];

    fn cached() -> Attributes {
        attributes(160, "p", &BLOCKS.map(|blocks| prefix(blocks, 10, 16)))
    }

    fn places(filter: &PrefixCacheAffinityFilter, attributes: &Attributes, in_flight: [u64; 4]) -> Vec<usize> {
        let pool = pool(4);
        let _busy: Vec<_> = (0..4).map(|place| pool[place].in_flight().admit(in_flight[place])).collect();
        let kept = kept(filter, &request(0..160), &pool, attributes);
        (0..4).filter(|&place| kept.iter().any(|name| name == pool[place].name())).collect()
    }

    fn ttft_ms(ttft_ms: f64) -> Option<Latency> {
        Some(Latency { ttft_ms, ..Latency::default() })
    }

    #[test]
    fn those_that_hold_enough_are_kept_when_there_are_any() {
        let table: [(f64, &[usize]); 5] =
            [(0.8, &[0, 1]), (0.85, &[0]), (0.95, &[0, 1, 2, 3]), (0.0, &[0, 1, 2, 3]), (0.7, &[0, 1, 2])];
        for (threshold, expected) in table {
            let filter = PrefixCacheAffinityFilter::new("p", threshold);
            assert_eq!(places(&filter, &cached(), [0; 4]), expected, "{threshold}");
            assert_eq!(places(&filter, &Attributes::default(), [0; 4]), [0, 1, 2, 3], "nothing is known");
        }
    }

    #[test]
    fn a_queue_of_tokens_that_is_much_longer_lets_the_others_in() {
        // 1000 tokens a second, and 500 ms: 500 tokens more are still worth it.
        let source = TtftSource::PrefillThroughput(1000.0);
        let filter = PrefixCacheAffinityFilter::new("p", 0.8).with_max_ttft_penalty(500.0, source);
        let table: [([u64; 4], &[usize]); 4] = [
            ([600, 700, 100, 100], &[0, 1]),
            ([601, 700, 100, 100], &[0, 1, 2, 3]),
            ([9000, 600, 9000, 100], &[0, 1]),
            ([9000, 9000, 9000, 9000], &[0, 1]),
        ];
        for (in_flight, expected) in table {
            assert_eq!(places(&filter, &cached(), in_flight), expected, "{in_flight:?}");
        }
        let whatever = PrefixCacheAffinityFilter::new("p", 0.8);
        assert_eq!(places(&whatever, &cached(), [9000, 9000, 0, 0]), [0, 1]);
    }

    #[test]
    fn a_first_token_that_is_predicted_much_later_lets_the_others_in() {
        let source = TtftSource::LatencyPredictor("l".to_owned());
        let filter = PrefixCacheAffinityFilter::new("p", 0.8).with_max_ttft_penalty(500.0, source);
        let table: [([Option<Latency>; 4], &[usize]); 4] = [
            ([ttft_ms(700.0), ttft_ms(900.0), ttft_ms(200.0), ttft_ms(300.0)], &[0, 1]),
            ([ttft_ms(701.0), ttft_ms(900.0), ttft_ms(200.0), ttft_ms(300.0)], &[0, 1, 2, 3]),
            ([None, None, ttft_ms(200.0), None], &[0, 1, 2, 3]),
            ([None, None, None, None], &[0, 1]),
        ];
        for (latencies, expected) in table {
            let mut known = cached();
            known.set_latencies(&Arc::from("l"), latencies.to_vec());
            assert_eq!(places(&filter, &known, [0; 4]), expected, "{latencies:?}");
        }
    }

    #[test]
    fn exploring_always_keeps_all() {
        let filter = PrefixCacheAffinityFilter::new("p", 0.8).exploring(1.0);
        assert_eq!(places(&filter, &cached(), [0; 4]), [0, 1, 2, 3]);
    }

    #[test]
    fn it_reads_what_it_compares() {
        let filter = || PrefixCacheAffinityFilter::new("p", 0.8);
        let prefix = Data::PrefixMatch("p".to_owned());
        assert_eq!(filter().reads(), std::slice::from_ref(&prefix));
        let throughput = filter().with_max_ttft_penalty(1.0, TtftSource::PrefillThroughput(1.0));
        assert_eq!(throughput.reads(), [prefix.clone(), Data::InFlightTokens]);
        let predicted = filter().with_max_ttft_penalty(1.0, TtftSource::LatencyPredictor("l".to_owned()));
        assert_eq!(predicted.reads(), [prefix, Data::Latency("l".to_owned())]);
    }
}
