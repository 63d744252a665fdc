//! `active-request-scorer`: the fewer requests we sent there, the better.

use serde::Deserialize;

use crate::plugin::{Attributes, Candidate, Candidates, Context, Data, Plugin, Scorer};

/// 1 when `n ≤ idle_threshold`, else `(max − n) / max · max_busy_score`, where `n` is the number of requests in flight and
/// `max` the largest over the candidates.
///
/// Formula: llm-d's `active-request-scorer`.
#[derive(Clone, Debug)]
pub struct ActiveRequestScorer {
    idle_threshold: u64,
    max_busy_score: f64,
}

/// The parameters of `active-request-scorer`.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Parameters {
    pub(crate) idle_threshold: u64,
    pub(crate) max_busy_score: f64,
    /// A time-out of its own, which llm-d no longer heeds either: a request ends when its guard drops.
    #[serde(rename = "requestTimeout")]
    _request_timeout: Option<String>,
}

impl Default for Parameters {
    fn default() -> Self {
        Self { idle_threshold: 0, max_busy_score: 1.0, _request_timeout: None }
    }
}

impl ActiveRequestScorer {
    /// A scorer for which up to `idle_threshold` requests are none, and others score at most `max_busy_score`.
    pub const fn new(idle_threshold: u64, max_busy_score: f64) -> Self {
        Self { idle_threshold, max_busy_score }
    }
}

impl Default for ActiveRequestScorer {
    fn default() -> Self {
        Self::new(0, 1.0)
    }
}

impl Plugin for ActiveRequestScorer {
    fn reads(&self) -> Vec<Data> {
        vec![Data::InFlightRequests]
    }
}

impl Scorer for ActiveRequestScorer {
    fn score(&self, _: &Context<'_>, candidates: &Candidates<'_>, out: &mut [f64]) {
        for (score, candidate) in out.iter_mut().zip(candidates.iter()) {
            *score = candidate.load.requests as f64;
        }
        let max = out.iter().copied().fold(0.0, f64::max);
        for score in out {
            let requests = *score;
            let idle = requests <= self.idle_threshold as f64;
            *score = if idle { 1.0 } else { (max - requests) / max * self.max_busy_score };
        }
    }

    fn input(&self, _: &Attributes, candidate: &Candidate<'_>) -> Option<String> {
        Some(format!("{} in flight", candidate.load.requests))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{pool, request, scores};

    fn said(scorer: &ActiveRequestScorer, in_flight: &[usize]) -> Vec<f64> {
        let pool = pool(in_flight.len() as u32);
        let admit = |(place, &requests): (usize, &usize)| {
            (0..requests).map(|_| pool[place].in_flight().admit(0)).collect::<Vec<_>>()
        };
        let _guards: Vec<_> = in_flight.iter().enumerate().flat_map(admit).collect();
        scores(scorer, &request([]), &pool, &Attributes::default())
    }

    #[test]
    fn the_fewer_requests_in_flight_the_better() {
        let table: [(u64, f64, &[usize], &[f64]); 5] = [
            (0, 1.0, &[0, 0], &[1.0, 1.0]),
            (0, 1.0, &[0, 1, 4], &[1.0, 0.75, 0.0]),
            (1, 1.0, &[0, 1, 4], &[1.0, 1.0, 0.0]),
            (0, 0.5, &[0, 2, 4], &[1.0, 0.25, 0.0]),
            (0, 1.0, &[3, 3], &[0.0, 0.0]),
        ];
        for (idle, busy, in_flight, expected) in table {
            assert_eq!(said(&ActiveRequestScorer::new(idle, busy), in_flight), expected, "{idle} {busy} {in_flight:?}");
        }
    }
}
