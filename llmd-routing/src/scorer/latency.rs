//! `latency-scorer`: how well an endpoint is predicted to keep what a request allows.

use serde::Deserialize;
use smallvec::SmallVec;

use crate::plugin::{Attributes, Candidate, Candidates, Context, Data, Latency, Plugin, Scorer, UNKNOWN};

/// Differences of headroom up to this are none.
const EPSILON: f64 = 1e-9;

/// Scores by headroom, which is what a request allows less what an endpoint is predicted to need.
///
/// Candidates that keep what is allowed, or whose latency is not predicted, are scored when there are any, and all others
/// score 0. When there are none, those with nothing in flight are; else those that are too slow only per token; else only to
/// the first token; else all. Among those that are scored, `n = (|h| − min) / (max − min)` for each of the two headrooms `h`, and
/// `c = α · n(ttft) + β · n(tpot)`; the score is `(⌊100 · (1 − c)⌋ + 1) / 100`, and with [`Headroom::Most`], where headrooms are not
/// negative, `(⌊100 · c⌋ + 1) / 100`. A headroom that is the same everywhere does not count, unless both are.
///
/// When nothing is predicted, the score is `round(100 · (k · (1 − usage) + q · (max − waiting) / max + p · prefix)) / 100`.
///
/// Formula: llm-d's `latency-scorer`. What an engine does not say of its queue and cache counts half; in llm-d it is 0.
#[derive(Clone, Debug)]
pub struct LatencyScorer {
    latency: String,
    prefix: String,
    weights: LatencyWeights,
    headroom: Headroom,
}

/// Which headroom is better.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, serde::Serialize))]
#[serde(rename_all = "lowercase")]
#[expect(clippy::exhaustive_enums, reason = "the one or the other")]
pub enum Headroom {
    /// The least: requests fill an endpoint before they go to another.
    #[default]
    Least,
    /// The most: a request is as safe as can be.
    Most,
}

/// What counts how much in a [`LatencyScorer`]. Weights are relative to each other.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct LatencyWeights {
    /// The time to the first token. Default: 0.8.
    pub ttft: f64,
    /// The time per token after it. Default: 0.2.
    pub tpot: f64,
    /// Room in the cache, when nothing is predicted. Default: 1.
    pub kv: f64,
    /// A short queue, when nothing is predicted. Default: 1.
    pub queue: f64,
    /// How much of the prompt is cached, when nothing is predicted. Default: 1.
    pub prefix: f64,
}

/// The parameters of `latency-scorer`.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Parameters {
    pub(crate) ttft_weight: f64,
    pub(crate) tpot_weight: f64,
    pub(crate) headroom_selection_strategy: Headroom,
    #[serde(rename = "compositeKVWeight")]
    pub(crate) composite_kv_weight: f64,
    pub(crate) composite_queue_weight: f64,
    pub(crate) composite_prefix_weight: f64,
    pub(crate) latency_prediction_info_producer_name: Option<String>,
    pub(crate) prefix_match_info_producer_name: Option<String>,
}

impl Default for Parameters {
    fn default() -> Self {
        let LatencyWeights { ttft, tpot, kv, queue, prefix } = LatencyWeights::default();
        Self {
            ttft_weight: ttft,
            tpot_weight: tpot,
            headroom_selection_strategy: Headroom::default(),
            composite_kv_weight: kv,
            composite_queue_weight: queue,
            composite_prefix_weight: prefix,
            latency_prediction_info_producer_name: None,
            prefix_match_info_producer_name: None,
        }
    }
}

impl From<&Parameters> for LatencyWeights {
    fn from(parameters: &Parameters) -> Self {
        Self {
            ttft: parameters.ttft_weight,
            tpot: parameters.tpot_weight,
            kv: parameters.composite_kv_weight,
            queue: parameters.composite_queue_weight,
            prefix: parameters.composite_prefix_weight,
        }
    }
}

impl Default for LatencyWeights {
    fn default() -> Self {
        Self { ttft: 0.8, tpot: 0.2, kv: 1.0, queue: 1.0, prefix: 1.0 }
    }
}

/// A candidate, by its place among them.
#[derive(Clone, Copy, Debug)]
struct Predicted {
    column: usize,
    /// `None` when nothing is predicted of it.
    latency: Option<Latency>,
    idle: bool,
}

type Bucket = SmallVec<[Predicted; 32]>;

impl LatencyScorer {
    /// A scorer of what the producer `latency` predicts; where that predicts nothing, of what `prefix` finds.
    pub fn new(latency: impl Into<String>, prefix: impl Into<String>) -> Self {
        let (weights, headroom) = (LatencyWeights::default(), Headroom::default());
        Self { latency: latency.into(), prefix: prefix.into(), weights, headroom }
    }

    /// The same, with these weights.
    #[must_use]
    pub fn with_weights(self, weights: LatencyWeights) -> Self {
        Self { weights, ..self }
    }

    /// The same, for which this headroom is better.
    #[must_use]
    pub fn with_headroom(self, headroom: Headroom) -> Self {
        Self { headroom, ..self }
    }

    /// What is predicted of each candidate; what is not finite is no prediction.
    fn predicted(&self, cx: &Context<'_>, candidates: &Candidates<'_>) -> Bucket {
        let latencies = cx.attributes.latencies(&self.latency).unwrap_or_default();
        let finite = |it: &Latency| it.ttft_headroom_ms.is_finite() && it.tpot_headroom_ms.is_finite();
        let of = |candidate: &Candidate<'_>| latencies.get(candidate.place).copied().flatten().filter(finite);
        let idle = |candidate: &Candidate<'_>| candidate.load.requests == 0;
        let each = candidates.iter().enumerate();
        each.map(|(column, it)| Predicted { column, latency: of(&it), idle: idle(&it) }).collect()
    }

    /// Scores those of one bucket among each other.
    fn rank(&self, bucket: &Bucket, headroom: Headroom, out: &mut [f64]) {
        let ttft = Range::of(bucket, |it| it.ttft_headroom_ms);
        let tpot = Range::of(bucket, |it| it.tpot_headroom_ms);
        let (alpha, beta) = match (ttft.is_flat(), tpot.is_flat()) {
            (true, false) => (0.0, 1.0),
            (false, true) => (1.0, 0.0),
            _ => shares(self.weights.ttft, self.weights.tpot),
        };
        for it in bucket {
            let latency = it.latency.unwrap_or_default();
            let combined = alpha * ttft.share(latency.ttft_headroom_ms) + beta * tpot.share(latency.tpot_headroom_ms);
            let good = match headroom {
                Headroom::Least => 1.0 - combined,
                Headroom::Most => combined,
            };
            out[it.column] = (((good * 100.0).floor() + 1.0) / 100.0).min(1.0);
        }
    }

    /// Scores by queue, cache and prefix, when nothing is predicted.
    fn composite(&self, cx: &Context<'_>, candidates: &Candidates<'_>, out: &mut [f64]) {
        let matches = cx.prefix_matches(&self.prefix).unwrap_or_default();
        let LatencyWeights { kv, queue, prefix, .. } = self.weights;
        let sum = kv + queue + prefix;
        let (kv, queue, prefix) = if sum > 0.0 { (kv / sum, queue / sum, prefix / sum) } else { (1.0, 0.0, 0.0) };
        let waiting = |candidate: &Candidate<'_>| candidate.metrics.and_then(|metrics| metrics.waiting_requests);
        let longest = candidates.iter().filter_map(|candidate| waiting(&candidate)).max().unwrap_or(0);
        for (score, candidate) in out.iter_mut().zip(candidates.iter()) {
            let usage = candidate.metrics.and_then(|metrics| metrics.kv_cache_usage).filter(|usage| usage.is_finite());
            let room = usage.map_or(UNKNOWN, |usage| 1.0 - usage);
            let short = match waiting(&candidate) {
                None => UNKNOWN,
                Some(_) if longest == 0 => 1.0,
                Some(waiting) => (longest - waiting) as f64 / longest as f64,
            };
            let cached = match matches.get(candidate.place) {
                Some(found) if found.total > 0 => f64::from(found.blocks) / f64::from(found.total),
                _ => 0.0,
            };
            *score = (100.0 * (kv * room + queue * short + prefix * cached)).round() / 100.0;
        }
    }
}

/// Those that are scored when nobody keeps what is allowed: the idle ones, else those that break it least.
fn least_bad(negative: &Bucket) -> Bucket {
    let those =
        |wanted: &dyn Fn(&Predicted) -> bool| -> Bucket { negative.iter().copied().filter(|it| wanted(it)).collect() };
    let late = |it: &Predicted| it.latency.is_some_and(|latency| latency.ttft_headroom_ms < 0.0);
    let slow = |it: &Predicted| it.latency.is_some_and(|latency| latency.tpot_headroom_ms < 0.0);
    let buckets = [those(&|it| it.idle), those(&|it| slow(it) && !late(it)), those(&|it| late(it) && !slow(it))];
    buckets.into_iter().find(|bucket| !bucket.is_empty()).unwrap_or_else(|| negative.clone())
}

/// The smallest and the largest of a headroom's amounts.
#[derive(Clone, Copy, Debug)]
struct Range {
    min: f64,
    max: f64,
}

impl Range {
    fn of(bucket: &Bucket, headroom: impl Fn(&Latency) -> f64) -> Self {
        let amounts = bucket.iter().map(|it| headroom(&it.latency.unwrap_or_default()).abs());
        let empty = Self { min: f64::MAX, max: 0.0 };
        amounts.fold(empty, |Self { min, max }, amount| Self { min: min.min(amount), max: max.max(amount) })
    }

    fn is_flat(self) -> bool {
        self.max - self.min <= EPSILON
    }

    fn share(self, headroom: f64) -> f64 {
        if self.is_flat() { 0.5 } else { (headroom.abs() - self.min) / (self.max - self.min) }
    }
}

/// Two weights as shares of their sum.
fn shares(one: f64, other: f64) -> (f64, f64) {
    let sum = one + other;
    if sum > 0.0 { (one / sum, other / sum) } else { (1.0, 0.0) }
}

impl Plugin for LatencyScorer {
    fn reads(&self) -> Vec<Data> {
        vec![
            Data::Latency(self.latency.clone()),
            Data::InFlightRequests,
            Data::Metrics,
            Data::PrefixMatch(self.prefix.clone()),
        ]
    }

    fn settings(&self) -> String {
        format!("reads {}, or else {}", self.latency, self.prefix)
    }
}

impl Scorer for LatencyScorer {
    fn score(&self, cx: &Context<'_>, candidates: &Candidates<'_>, out: &mut [f64]) {
        let all = self.predicted(cx, candidates);
        if all.iter().all(|it| it.latency.is_none()) {
            return self.composite(cx, candidates, out);
        }
        let (positive, negative): (Bucket, Bucket) =
            all.into_iter().partition(|it| it.latency.is_none_or(|latency| latency.is_valid()));
        if positive.is_empty() {
            self.rank(&least_bad(&negative), Headroom::Least, out);
        } else {
            self.rank(&positive, self.headroom, out);
        }
    }

    fn input(&self, attributes: &Attributes, candidate: &Candidate<'_>) -> Option<String> {
        let latency = attributes.latencies(&self.latency)?.get(candidate.place).copied().flatten()?;
        Some(format!("headroom {:.0} ms, {:.1} ms per token", latency.ttft_headroom_ms, latency.tpot_headroom_ms))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::testing::{attributes, metrics, pool, prefix, request, scores};

    fn headroom(ttft_headroom_ms: f64, tpot_headroom_ms: f64) -> Option<Latency> {
        Some(Latency { ttft_headroom_ms, tpot_headroom_ms, ..Latency::default() })
    }

    /// What it scores where the endpoints at `busy` have a request in flight.
    fn said(scorer: &LatencyScorer, latencies: &[Option<Latency>], busy: &[usize]) -> Vec<f64> {
        let pool = pool(latencies.len() as u32);
        let _guards: Vec<_> = busy.iter().map(|&place| pool[place].in_flight().admit(0)).collect();
        let mut known = Attributes::default();
        known.set_latencies(&Arc::from("l"), latencies.to_vec());
        scores(scorer, &request([]), &pool, &known)
    }

    fn least() -> LatencyScorer {
        LatencyScorer::new("l", "p")
    }

    fn close(said: &[f64], expected: &[f64], what: &str) {
        let close = said.len() == expected.len() && said.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12);
        assert!(close, "{what}: {said:?}, not {expected:?}");
    }

    #[test]
    fn those_that_keep_what_is_allowed_are_ranked_by_headroom_and_others_score_nothing() {
        let mixed = [headroom(10.0, 1.0), headroom(110.0, 1.0), headroom(35.0, 1.0), headroom(-1.0, 5.0)];
        close(&said(&least(), &mixed, &[]), &[1.0, 0.01, 0.76, 0.0], "the least is best");
        let most = least().with_headroom(Headroom::Most);
        close(&said(&most, &mixed, &[]), &[0.01, 1.0, 0.26, 0.0], "the most is best");
    }

    #[test]
    fn both_headrooms_count_by_their_weights() {
        let both = [headroom(0.0, 0.0), headroom(100.0, 10.0), headroom(50.0, 10.0)];
        // 0.8 · 0.5 + 0.2 · 1 of the most
        close(&said(&least(), &both, &[]), &[1.0, 0.01, 0.4], "0.8 and 0.2");
        let of = |ttft, tpot| least().with_weights(LatencyWeights { ttft, tpot, ..LatencyWeights::default() });
        close(&said(&of(3.0, 1.0), &both, &[]), &[1.0, 0.01, 0.38], "3 and 1");
        close(&said(&of(0.0, 0.0), &both, &[]), &[1.0, 0.01, 0.51], "none of them: the first token alone");
    }

    #[test]
    fn a_headroom_that_is_the_same_everywhere_does_not_count() {
        let tpot_only = [headroom(5.0, 0.0), headroom(5.0, 10.0)];
        close(&said(&least(), &tpot_only, &[]), &[1.0, 0.01], "the time per token decides");
        let same = [headroom(5.0, 5.0), headroom(5.0, 5.0)];
        close(&said(&least(), &same, &[]), &[0.51, 0.51], "both are the same");
    }

    #[test]
    fn what_is_not_predicted_is_taken_for_what_just_keeps_it() {
        let some = [headroom(100.0, 10.0), None, headroom(-1.0, -1.0)];
        close(&said(&least(), &some, &[]), &[0.01, 1.0, 0.0], "headroom 0");
        let nonsense = [headroom(100.0, 10.0), headroom(f64::NAN, 1.0), headroom(f64::INFINITY, 1.0)];
        close(&said(&least(), &nonsense, &[]), &[0.01, 1.0, 1.0], "no prediction");
    }

    #[test]
    fn when_nobody_keeps_it_the_idle_are_scored_alone() {
        let late = [headroom(-10.0, -1.0), headroom(-30.0, -1.0), headroom(-5.0, 1.0)];
        close(&said(&least(), &late, &[2]), &[1.0, 0.01, 0.0], "two are idle");
        let most = least().with_headroom(Headroom::Most);
        close(&said(&most, &late, &[2]), &[1.0, 0.01, 0.0], "of what is missing, the least is best");
    }

    #[test]
    fn when_nobody_is_idle_those_that_break_least_are_scored_alone() {
        let (slow, late, both) = (headroom(5.0, -1.0), headroom(-5.0, 1.0), headroom(-5.0, -1.0));
        let table: [([Option<Latency>; 3], [f64; 3]); 4] = [
            ([both, late, slow], [0.0, 0.0, 0.51]),
            ([both, late, late], [0.0, 0.51, 0.51]),
            ([both, both, headroom(-15.0, -1.0)], [1.0, 1.0, 0.01]),
            ([slow, headroom(5.0, -2.0), late], [1.0, 0.01, 0.0]),
        ];
        for (latencies, expected) in table {
            close(&said(&least(), &latencies, &[0, 1, 2]), &expected, &format!("{latencies:?}"));
        }
    }

    #[test]
    fn when_nothing_is_predicted_queue_cache_and_prefix_decide() {
        let pool = pool(4);
        for (endpoint, said) in pool.iter().zip([metrics(0, 0, 0.5), metrics(4, 0, 0.25), metrics(3, 0, 1.0)]) {
            endpoint.set_metrics(said);
        }
        let known = attributes(128, "p", &[prefix(0, 8, 16), prefix(8, 8, 16), prefix(2, 8, 16), prefix(0, 8, 16)]);
        let said = |scorer: &LatencyScorer| scores(scorer, &request(0..128), &pool, &known);
        // (0.5 + 1 + 0)/3, (0.75 + 0 + 1)/3, (0 + 0.25 + 0.25)/3, (0.5 + 0.5 + 0)/3
        close(&said(&least()), &[0.5, 0.58, 0.17, 0.33], "as much of each");
        let of =
            |kv, queue, prefix| least().with_weights(LatencyWeights { kv, queue, prefix, ..LatencyWeights::default() });
        close(&said(&of(0.0, 4.0, 0.0)), &[1.0, 0.0, 0.25, 0.5], "the queue alone");
        close(&said(&of(0.0, 0.0, 0.0)), &[0.5, 0.75, 0.0, 0.5], "no weights: the cache alone");
    }

    #[test]
    fn without_a_queue_anywhere_all_queues_are_short() {
        let pool = pool(1);
        pool[0].set_metrics(metrics(0, 0, 0.0));
        close(&scores(&least(), &request([]), &pool, &Attributes::default()), &[0.67], "(1 + 1 + 0) / 3");
    }
}
