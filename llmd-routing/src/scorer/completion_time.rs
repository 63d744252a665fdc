//! `completion-time-scorer`, llmd's own: the sooner the request would be complete there, the better.

use serde::Deserialize;

use crate::plugin::{Attributes, Candidate, Candidates, Context, Data, Plugin, Scorer};
use crate::request::expected_output;

/// `least / t`, where `t` is how long the request would take at a candidate and `least` the shortest of these:
///
/// ```text
/// t = (tokens in flight + uncached · (1 + eviction · fill^1.5)) / prefill     the prompts before it, and its own
///   + output · (step + context · read)                                    its tokens, one by one, as all others are read
///   + output · (step + context · read) · overflow                         waiting for those to end that leave no room for it
/// ```
///
/// `context` is all that the requests in flight there have, or will have, in the cache, and this one with them; `capacity` is
/// the cache's, as the engine says; `fill = min(1, context / capacity)` and `overflow = max(0, context / capacity − 1)`. What is
/// computed again takes room from prompts that others will ask for, the more the fuller the cache: `eviction` is what that costs,
/// as a multiple of computing it. A router that does not see what others send goes by what the engine says of its cache, where
/// that is more. Of an engine that does not say how large its cache is, nothing is full.
///
/// Among engines that are nearly empty a prompt is thus computed wherever that is soonest, and a burst spreads; among full ones it
/// stays where it is cached until that place is busier by much more than computing it again would take.
///
/// The times need not be right, only in proportion. The defaults are those of a 32B model on two H100 GPUs; where an engine
/// measures how long it computes a token of a prompt, that counts.
#[derive(Clone, Debug, Default)]
pub struct CompletionTimeScorer(Parameters);

/// How the cost of eviction grows as a cache fills: found with the fleet in virtual time, as were the defaults.
const FILL_EXPONENT: f64 = 1.5;

/// The parameters of `completion-time-scorer`.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Parameters {
    pub(crate) prefill_tokens_per_second: f64,
    pub(crate) step_ms: f64,
    pub(crate) read_ms_per_kilo_token: f64,
    pub(crate) eviction_cost: f64,
}

impl Default for Parameters {
    fn default() -> Self {
        Self { prefill_tokens_per_second: 16_000.0, step_ms: 10.0, read_ms_per_kilo_token: 0.04, eviction_cost: 128.0 }
    }
}

impl From<Parameters> for CompletionTimeScorer {
    fn from(parameters: Parameters) -> Self {
        Self(parameters)
    }
}

impl CompletionTimeScorer {
    /// How long a request of so many uncached tokens, tokens in all, and tokens of output would take, in seconds.
    fn seconds(&self, candidate: &Candidate<'_>, uncached: u64, prompt: u64, output: u64) -> f64 {
        let Parameters { prefill_tokens_per_second, step_ms, read_ms_per_kilo_token, eviction_cost } = self.0;
        let metrics = candidate.metrics;
        let capacity = capacity(candidate);
        let said = metrics.and_then(|metrics| metrics.kv_cache_usage).zip(capacity);
        let said = said.map_or(0.0, |(usage, capacity)| usage.clamp(0.0, 1.0) * capacity);
        let context = (candidate.load.context as f64).max(said) + (prompt + output) as f64;
        let full = capacity.map_or(0.0, |capacity| context / capacity);
        let measured = metrics.and_then(|metrics| metrics.prefill_s_per_token);
        let per_token = measured.filter(|&seconds| seconds > 0.0 && seconds.is_finite());
        let per_token = per_token.unwrap_or(1.0 / prefill_tokens_per_second);
        let evicts = 1.0 + eviction_cost * full.min(1.0).powf(FILL_EXPONENT);
        let prefill = (candidate.load.tokens as f64 + uncached as f64 * evicts) * per_token;
        let decode = output as f64 * (step_ms + context / 1000.0 * read_ms_per_kilo_token) / 1000.0;
        prefill + decode * (1.0 + (full - 1.0).max(0.0))
    }
}

/// How many tokens an engine's cache holds.
fn capacity(candidate: &Candidate<'_>) -> Option<f64> {
    let metrics = candidate.metrics?;
    let tokens = metrics.num_blocks? as f64 * f64::from(metrics.block_size?);
    Some(tokens).filter(|&tokens| tokens > 0.0)
}

impl Plugin for CompletionTimeScorer {
    fn reads(&self) -> Vec<Data> {
        vec![Data::InFlightTokens, Data::Metrics]
    }

    fn settings(&self) -> String {
        let Parameters { prefill_tokens_per_second, step_ms, read_ms_per_kilo_token, eviction_cost } = self.0;
        format!(
            "{prefill_tokens_per_second} tokens/s, {step_ms} ms per step and {read_ms_per_kilo_token} per 1000 tokens read, \
             eviction costs {eviction_cost}"
        )
    }
}

impl Scorer for CompletionTimeScorer {
    fn score(&self, cx: &Context<'_>, candidates: &Candidates<'_>, out: &mut [f64]) {
        let (prompt, output) = (cx.attributes.prompt_tokens(), expected_output(cx.request.max_output_tokens));
        for (score, candidate) in out.iter_mut().zip(candidates.iter()) {
            *score = self.seconds(&candidate, cx.uncached_tokens(&candidate), prompt, output);
        }
        let least = out.iter().copied().fold(f64::INFINITY, f64::min);
        out.iter_mut().for_each(|score| *score = least / *score);
    }

    fn input(&self, attributes: &Attributes, candidate: &Candidate<'_>) -> Option<String> {
        let (uncached, load) = (attributes.uncached_tokens(candidate.place), candidate.load);
        Some(format!("{} + {uncached} tokens to compute, {} in flight", load.tokens, load.context))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{attributes, pool, prefix, request, scores};
    use crate::{EngineMetrics, Pool};

    /// Of each endpoint: tokens to compute, context, tokens that its cache holds.
    fn fleet(loads: &[(u64, u64, u64)]) -> (Pool, Vec<crate::InFlightGuard>) {
        let pool = pool(loads.len() as u32);
        let guards = pool.iter().zip(loads).map(|(endpoint, &(tokens, context, capacity))| {
            let mut metrics = EngineMetrics::default();
            (metrics.block_size, metrics.num_blocks) = (Some(16), Some(capacity / 16));
            endpoint.set_metrics(metrics);
            endpoint.in_flight().admit_with_context(tokens, context)
        });
        let guards = guards.collect();
        (pool, guards)
    }

    fn scorer() -> CompletionTimeScorer {
        let parameters = Parameters {
            prefill_tokens_per_second: 10_000.0,
            step_ms: 10.0,
            read_ms_per_kilo_token: 0.1,
            eviction_cost: 3.0,
        };
        CompletionTimeScorer::from(parameters)
    }

    #[test]
    fn the_sooner_a_request_would_be_complete_the_better() {
        let mut asks = request(0..1000);
        asks.max_output_tokens = Some(100);
        let known = attributes(1000, "p", &[prefix(0, 10, 100), prefix(10, 10, 100), prefix(0, 10, 100)]);
        let (pool, _guards) = fleet(&[(0, 0, 160_000), (0, 0, 160_000), (5000, 40_000, 160_000)]);
        // 1000 tokens at 10,000/s, and a little for what they displace; 100 steps of 10.11 ms.
        let decode = |context: f64| 100.0 * (10.0 + context / 1000.0 * 0.1) / 1000.0;
        let evicts = |context: f64| 1.0 + 3.0 * (context / 160_000.0).powf(1.5);
        let idle = 0.1 * evicts(1100.0) + decode(1100.0);
        let cached = decode(1100.0);
        let busy = 0.5 + 0.1 * evicts(41_100.0) + decode(41_100.0);
        let said = scores(&scorer(), &asks, &pool, &known);
        for (said, seconds) in said.iter().zip([idle, cached, busy]) {
            assert!((said - cached / seconds).abs() < 1e-12, "{said} {}", cached / seconds);
        }
    }

    #[test]
    fn whoever_has_no_room_lets_a_request_wait() {
        let mut asks = request(0..1000);
        asks.max_output_tokens = Some(1000);
        let known = attributes(1000, "p", &[prefix(10, 10, 100), prefix(10, 10, 100)]);
        let (pool, _guards) = fleet(&[(0, 78_000, 80_000), (0, 158_000, 80_000)]);
        // Both read their context; the second is full twice over, and so lets it wait for as long again.
        let decode = |context: f64| 1000.0 * (10.0 + context / 1000.0 * 0.1) / 1000.0;
        assert_eq!(scores(&scorer(), &asks, &pool, &known), [1.0, decode(80_000.0) / (decode(160_000.0) * 2.0)]);
    }

    #[test]
    fn an_engine_that_says_that_it_is_busier_than_we_know_is_believed() {
        let (pool, _guards) = fleet(&[(0, 0, 160_000), (0, 0, 160_000)]);
        let mut said = EngineMetrics::clone(&pool[1].metrics().unwrap());
        said.kv_cache_usage = Some(0.5);
        pool[1].set_metrics(said);
        let scores = scores(&scorer(), &request(0..100), &pool, &Attributes::new(100, None));
        assert!(scores[0] == 1.0 && scores[1] < 1.0, "{scores:?}");
    }
}
