//! `completion-time-scorer`, llmd's own: the sooner the request would be complete there, and the less it delays others, the
//! better.

mod measure;

use serde::Deserialize;

use self::measure::Measure;
use crate::plugin::{Attributes, Candidate, Candidates, Context, Data, Hooks, Plugin, PrefixMatch, Scorer, Stage};
use crate::request::expected_output;
use crate::{EngineMetrics, Request};

/// `least / t`, where `t` is what the request would cost at a candidate, in seconds, and `least` the smallest of these:
///
/// ```text
/// t = pace · (tokens in flight + uncached · burden) / prefill            the prompts before it, and its own
///   + pace · output · (step + context · read) · (1 + overflow)          its tokens, one by one, as all others are read
///   + pace · requests · output / 2 · own · read                         the others, who wait while it is read
///
/// burden = 1 + min(requests, 64) + evictionCost · fill + recomputeCost · evicted
/// ```
///
/// - `requests` are those in flight there, or those that the engine says run and wait, whichever are more: while a prompt is
///   computed, all of them wait. `own` are the tokens of this one, with its `output`.
/// - `context` is all that the requests in flight there have, or will have, in the cache, or what the engine says running ones
///   have, whichever is more, and `own`; `fill` is how much of the cache that is, at most 1.
/// - What is computed takes room from prompts that others will ask for: the more, the fuller the cache, and the more of what had
///   to be computed lately was `evicted` before ([`Attributes::evicted_share`]).
/// - `overflow` is by how much of the cache there is no room for it: `max(0, (pinned + uncached + output) / cache − 1)`, where
///   `pinned` is what the engine says running requests hold, and `own` for each request that it has not counted yet. It waits
///   for others to end.
/// - `pace` is 1, and for engines that turn out slower than the fastest candidate by more than 30 % as many times as long as
///   they take ([`Endpoint::pace`](crate::Endpoint::pace)). For this the scorer measures how long answers take that are streamed,
///   of which the engine must say how many tokens they had. Where an engine measures how long it computes a token of a
///   prompt, its pace does not count in the first line.
/// - `uncached` are the tokens of the prompt that the endpoint does not hold, less those that
///   [count as if it did](crate::plugin::PrefixMatch::remembered_tokens).
///
/// A profile that chooses where prompts are prefilled leaves out the second and the third line. One that chooses where they are
/// decoded has all three, since that endpoint computes what no other does.
///
/// What an engine does not say is taken for nothing: one that does not say how large its cache is has room for everything.
///
/// Among engines that are nearly empty a prompt is thus computed wherever that is soonest, and a burst spreads; among full ones it
/// stays where it is cached until that place is busier by much more than computing it again would take.
///
/// The times need not be right, only in proportion. The defaults are those of a 32B model on two H100 GPUs, and of the fleet in
/// virtual time; where an engine measures how long it computes a token of a prompt, that counts.
#[derive(Clone, Debug, Default)]
pub struct CompletionTimeScorer(Parameters);

/// How many of the requests in flight count as delayed by a prompt at most: of a long queue those behind it are, not those before.
const MAX_DELAYED: f64 = 64.0;
/// By how much engines that are alike seem to differ at most.
const ALIKE: f64 = 1.3;

/// The parameters of `completion-time-scorer`.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Parameters {
    pub(crate) prefill_tokens_per_second: f64,
    pub(crate) step_ms: f64,
    pub(crate) read_ms_per_kilo_token: f64,
    pub(crate) eviction_cost: f64,
    pub(crate) recompute_cost: f64,
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            prefill_tokens_per_second: 16_000.0,
            step_ms: 10.0,
            read_ms_per_kilo_token: 0.04,
            eviction_cost: 32.0,
            recompute_cost: 16.0,
        }
    }
}

impl Parameters {
    /// How long an engine takes to compute a token of a prompt, in seconds, and whether it says so itself.
    fn per_prompt_token(&self, metrics: Option<&EngineMetrics>) -> (f64, bool) {
        let measured = metrics.and_then(|metrics| metrics.prefill_s_per_token);
        let measured = measured.filter(|&seconds| seconds > 0.0 && seconds.is_finite());
        (measured.unwrap_or(1.0 / self.prefill_tokens_per_second), measured.is_some())
    }

    /// How long it takes to read so many tokens, in seconds.
    fn read(&self, tokens: f64) -> f64 {
        tokens / 1000.0 * self.read_ms_per_kilo_token / 1000.0
    }

    /// How long it takes for one token of each request, which have so many in the cache, in seconds.
    fn step(&self, context: f64) -> f64 {
        self.step_ms / 1000.0 + self.read(context)
    }
}

impl From<Parameters> for CompletionTimeScorer {
    fn from(parameters: Parameters) -> Self {
        Self(parameters)
    }
}

/// A request, as every candidate would see it.
struct Asked {
    prompt: u64,
    output: u64,
    evicted: f64,
}

impl CompletionTimeScorer {
    /// What a request of which so many tokens are not cached would cost at a candidate of this pace, in seconds.
    fn seconds(&self, candidate: &Candidate<'_>, pace: f64, uncached: u64, asked: &Asked) -> f64 {
        let (load, engine) = (candidate.load, Engine::of(candidate.metrics));
        let (uncached, output) = (uncached as f64, asked.output as f64);
        let own = asked.prompt as f64 + output;
        let requests = engine.requests.max(load.requests as f64);
        let context = engine.held.max(load.context as f64) + own;
        let pinned = engine.held + (load.requests as f64 - engine.requests).max(0.0) * own;
        let part = |tokens: f64| engine.cache.map_or(0.0, |cache| tokens / cache);
        let overflow = (part(pinned + uncached + output) - 1.0).max(0.0);

        let burden = 1.0
            + requests.min(MAX_DELAYED)
            + self.0.eviction_cost * part(context).min(1.0)
            + self.0.recompute_cost * asked.evicted;
        let (per_prompt_token, is_measured) = self.0.per_prompt_token(candidate.metrics);
        let prefill = (load.tokens as f64 + uncached * burden) * per_prompt_token;
        let decode = output * self.0.step(context) * (1.0 + overflow);
        let delays = requests * output / 2.0 * self.0.read(own);
        prefill * if is_measured { 1.0 } else { pace } + (decode + delays) * pace
    }
}

/// How many tokens of the prompt the endpoint at this place would have to compute, but for those that count as if it held them.
fn uncached(attributes: &Attributes, place: usize) -> u64 {
    let held = |found: &PrefixMatch| u64::from(found.hit_tokens) + u64::from(found.remembered_tokens);
    attributes.prompt_tokens().saturating_sub(attributes.prefix_match(place).map_or(0, held))
}

/// What an engine says of itself, as far as that goes.
#[derive(Default)]
struct Engine {
    /// Requests that run or wait.
    requests: f64,
    /// How many tokens its cache has room for.
    cache: Option<f64>,
    /// How many of them running requests hold.
    held: f64,
}

impl Engine {
    fn of(metrics: Option<&EngineMetrics>) -> Self {
        let Some(metrics) = metrics else { return Self::default() };
        let requests = [metrics.running_requests, metrics.waiting_requests].into_iter().flatten();
        let requests = requests.map(|requests| requests as f64).sum();
        let cache = metrics.num_blocks.zip(metrics.block_size);
        let cache = cache.map(|(blocks, size)| blocks as f64 * f64::from(size)).filter(|&tokens| tokens > 0.0);
        let usage = metrics.kv_cache_usage.filter(|usage| !usage.is_nan()).map_or(0.0, |usage| usage.clamp(0.0, 1.0));
        Self { requests, cache, held: cache.unwrap_or(0.0) * usage }
    }
}

impl Plugin for CompletionTimeScorer {
    fn reads(&self) -> Vec<Data> {
        vec![Data::InFlightTokens, Data::Metrics, Data::Usage]
    }

    fn follow(&self, request: &Request, attributes: &Attributes) -> Option<Box<dyn Hooks>> {
        let tokens = attributes.prompt_tokens().saturating_add(expected_output(request.max_output_tokens));
        Some(Box::new(Measure::new(self.0, tokens)))
    }

    fn settings(&self) -> String {
        let Parameters { prefill_tokens_per_second, step_ms, read_ms_per_kilo_token, eviction_cost, recompute_cost } =
            self.0;
        format!(
            "{prefill_tokens_per_second} tokens/s, {step_ms} ms per step and {read_ms_per_kilo_token} per 1000 tokens read, \
             eviction costs {eviction_cost} and what was evicted {recompute_cost}"
        )
    }
}

impl Scorer for CompletionTimeScorer {
    fn score(&self, cx: &Context<'_>, candidates: &Candidates<'_>, out: &mut [f64]) {
        let asked = Asked {
            prompt: cx.attributes.prompt_tokens(),
            output: if cx.stage() == Stage::Prefill { 0 } else { expected_output(cx.request.max_output_tokens) },
            evicted: cx.attributes.evicted_share(),
        };
        let pace = |candidate: &Candidate<'_>| candidate.endpoint.pace(cx.now);
        let fastest = candidates.iter().filter_map(|candidate| pace(&candidate)).fold(f64::INFINITY, f64::min);
        for (score, candidate) in out.iter_mut().zip(candidates.iter()) {
            let slower = pace(&candidate).map(|pace| pace / fastest).filter(|&slower| slower > ALIKE);
            *score = self.seconds(&candidate, slower.unwrap_or(1.0), uncached(cx.attributes, candidate.place), &asked);
        }
        let least = out.iter().copied().fold(f64::INFINITY, f64::min);
        out.iter_mut().for_each(|score| *score = least / *score);
    }

    fn input(&self, attributes: &Attributes, candidate: &Candidate<'_>) -> Option<String> {
        let (uncached, load) = (uncached(attributes, candidate.place), candidate.load);
        let pace = candidate.endpoint.in_flight().pace().last();
        let pace = pace.map(|pace| format!(", pace {pace:.2} when last measured")).unwrap_or_default();
        Some(format!(
            "{} + {uncached} tokens to compute, {} requests of {} in flight{pace}",
            load.tokens, load.requests, load.context
        ))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rand::SeedableRng as _;

    use super::*;
    use crate::plugin::Snapshot;
    use crate::testing::{attributes, pool, prefix, request, scores};
    use crate::{InFlightGuard, Pool};

    /// When the scores are asked for.
    const NOW: Duration = Duration::ZERO;

    const PARAMETERS: Parameters = Parameters {
        prefill_tokens_per_second: 10_000.0,
        step_ms: 10.0,
        read_ms_per_kilo_token: 0.1,
        eviction_cost: 3.0,
        recompute_cost: 5.0,
    };

    /// Of each endpoint: tokens to compute and context of one request, and tokens that its cache holds.
    fn fleet(loads: &[(u64, u64, u64)]) -> (Pool, Vec<InFlightGuard>) {
        let pool = pool(loads.len() as u32);
        let guards = pool.iter().zip(loads).map(|(endpoint, &(tokens, context, capacity))| {
            says(&pool, endpoint.worker().0 as usize, |metrics| {
                (metrics.block_size, metrics.num_blocks) = (Some(16), Some(capacity / 16));
            });
            endpoint.in_flight().admit_with_context(tokens, context)
        });
        let guards = guards.collect();
        (pool, guards)
    }

    /// Has an engine say something more of itself.
    fn says(pool: &Pool, place: usize, what: impl FnOnce(&mut EngineMetrics)) {
        let mut metrics = pool[place].metrics().map(|known| EngineMetrics::clone(&known)).unwrap_or_default();
        what(&mut metrics);
        pool[place].set_metrics(metrics);
    }

    fn scorer() -> CompletionTimeScorer {
        CompletionTimeScorer::from(PARAMETERS)
    }

    fn asks(prompt: u32, output: u32) -> Request {
        Request { max_output_tokens: Some(output), ..request(0..prompt) }
    }

    fn check(said: &[f64], seconds: &[f64]) {
        let least = seconds.iter().copied().fold(f64::INFINITY, f64::min);
        for (said, seconds) in said.iter().zip(seconds) {
            assert!((said - least / seconds).abs() < 1e-12, "{said} is not {}", least / seconds);
        }
        assert_eq!(said.len(), seconds.len());
    }

    /// So many tokens of output, at 10 ms each and 0.1 ms more for each 1000 tokens that are read.
    fn decode(output: f64, context: f64) -> f64 {
        output * (10.0 + context / 1000.0 * 0.1) / 1000.0
    }

    /// What one other request waits while half of 100 tokens are made, of each of which the 1100 are read.
    const DELAYS: f64 = 100.0 / 2.0 * 1.1 * 0.1 / 1000.0;

    #[test]
    fn the_sooner_a_request_would_be_complete_the_better() {
        let known = attributes(1000, "p", &[prefix(0, 10, 100), prefix(10, 10, 100), prefix(0, 10, 100)]);
        let (pool, _guards) = fleet(&[(0, 0, 160_000), (0, 0, 160_000), (5000, 40_000, 160_000)]);
        // 1000 tokens at 10,000/s: once for itself, once for the other that waits, and thrice for the part that is full.
        let compute = |context: f64| 0.1 * (1.0 + 1.0 + 3.0 * context / 160_000.0);
        let idle = compute(1100.0) + decode(100.0, 1100.0) + DELAYS;
        let cached = decode(100.0, 1100.0) + DELAYS;
        let busy = 0.5 + compute(41_100.0) + decode(100.0, 41_100.0) + DELAYS;
        check(&scores(&scorer(), &asks(1000, 100), &pool, &known), &[idle, cached, busy]);
    }

    #[test]
    fn what_was_evicted_before_is_not_lightly_computed_elsewhere() {
        let mut known = attributes(1000, "p", &[prefix(0, 10, 100), prefix(10, 10, 100)]);
        known.set_evicted_share(0.5);
        let (pool, _guards) = fleet(&[(0, 0, 160_000), (5000, 0, 160_000)]);
        let rest = decode(100.0, 1100.0) + DELAYS;
        let compute = 0.1 * (1.0 + 1.0 + 3.0 * 1100.0 / 160_000.0 + 5.0 * 0.5);
        check(&scores(&scorer(), &asks(1000, 100), &pool, &known), &[compute + rest, 0.5 + rest]);
    }

    #[test]
    fn a_prompt_delays_everybody_who_waits_for_it_up_to_64() {
        let (pool, _guards) = fleet(&[(0, 0, 1_600_000), (0, 0, 1_600_000), (0, 0, 1_600_000)]);
        says(&pool, 1, |metrics| (metrics.running_requests, metrics.waiting_requests) = (Some(30), Some(10)));
        says(&pool, 2, |metrics| metrics.waiting_requests = Some(100));
        let seconds = |requests: f64| {
            let compute = 0.1 * (1.0 + requests.min(64.0) + 3.0 * 1100.0 / 1_600_000.0);
            compute + decode(100.0, 1100.0) + DELAYS * requests
        };
        let said = scores(&scorer(), &asks(1000, 100), &pool, &Attributes::new(1000, None));
        check(&said, &[seconds(1.0), seconds(40.0), seconds(100.0)]);
    }

    #[test]
    fn whoever_has_no_room_lets_a_request_wait() {
        let known = attributes(1000, "p", &[prefix(10, 10, 100), prefix(10, 10, 100)]);
        let (pool, _guards) = fleet(&[(0, 0, 80_000), (0, 0, 80_000)]);
        says(&pool, 0, |metrics| (metrics.running_requests, metrics.kv_cache_usage) = (Some(1), Some(0.5)));
        says(&pool, 1, |metrics| (metrics.running_requests, metrics.kv_cache_usage) = (Some(1), Some(1.0)));
        // 1000 more tokens are a little more than there is room for, by an eightieth.
        let delays = 1000.0 / 2.0 * 2.0 * 0.1 / 1000.0;
        let seconds = [decode(1000.0, 42_000.0) + delays, decode(1000.0, 82_000.0) * (1.0 + 1.0 / 80.0) + delays];
        check(&scores(&scorer(), &asks(1000, 1000), &pool, &known), &seconds);
    }

    #[test]
    fn an_engine_that_takes_longer_than_the_fastest_is_slower_in_all() {
        let (pool, _guards) = fleet(&[(0, 0, 160_000), (0, 0, 160_000), (0, 0, 160_000), (0, 0, 160_000)]);
        for (place, took) in [(0, 10), (1, 12), (2, 20)] {
            let measured = || pool[place].in_flight().pace().measured(NOW, Duration::from_secs(took), 10.0);
            (0..8).for_each(|_| measured());
        }
        let said = || scores(&scorer(), &asks(1000, 100), &pool, &Attributes::new(1000, None));
        assert_eq!(said(), [1.0, 1.0, 0.5, 1.0], "a fifth is no difference, and of the last nothing is known");

        // The slow one says how long it computes a token: that is no longer than for the others.
        says(&pool, 2, |metrics| metrics.prefill_s_per_token = Some(1.0 / 10_000.0));
        let (compute, rest) = (0.1 * (1.0 + 1.0 + 3.0 * 1100.0 / 160_000.0), decode(100.0, 1100.0) + DELAYS);
        check(&said(), &[compute + rest, compute + rest, compute + 2.0 * rest, compute + rest]);
    }

    #[test]
    fn where_prompts_are_prefilled_nothing_is_decoded() {
        let (pool, _guards) = fleet(&[(0, 0, 160_000), (5000, 90_000, 160_000)]);
        let (asks, known) = (asks(1000, 100), Attributes::new(1000, None));
        let mut rng = rand::rngs::StdRng::seed_from_u64(1);
        let mut cx = Context::new(&asks, &known, NOW, &mut rng);
        cx.set_stage(Stage::Prefill);
        let snapshot = Snapshot::of(&pool);
        let mut said = [0.0; 2];
        scorer().score(&cx, &Candidates::new(&pool, &snapshot), &mut said);
        let compute = |context: f64| 0.1 * (1.0 + 1.0 + 3.0 * context / 160_000.0);
        check(&said, &[compute(1000.0), 0.5 + compute(91_000.0)]);
    }

    #[test]
    fn what_was_there_and_is_gone_counts_as_far_as_a_producer_says() {
        let gone = PrefixMatch { remembered_tokens: 400, ..prefix(1, 10, 100) };
        let known = attributes(1000, "p", &[gone, prefix(5, 10, 100)]);
        let (pool, _guards) = fleet(&[(0, 0, 160_000), (0, 0, 160_000)]);
        assert_eq!(scores(&scorer(), &asks(1000, 100), &pool, &known), [1.0, 1.0]);
    }

    #[test]
    fn an_engine_that_says_that_it_is_busier_than_we_know_is_believed() {
        let (pool, _guards) = fleet(&[(0, 0, 160_000), (0, 0, 160_000)]);
        says(&pool, 1, |metrics| metrics.kv_cache_usage = Some(0.5));
        let scores = scores(&scorer(), &request(0..100), &pool, &Attributes::new(100, None));
        assert!(scores[0] == 1.0 && scores[1] < 1.0, "{scores:?}");
    }

    #[test]
    fn what_is_not_a_number_is_taken_for_unknown() {
        let (pool, _guards) = fleet(&[(0, 0, 160_000), (0, 0, 160_000)]);
        says(&pool, 1, |metrics| {
            (metrics.kv_cache_usage, metrics.prefill_s_per_token) = (Some(f64::NAN), Some(f64::NAN));
        });
        assert_eq!(scores(&scorer(), &request(0..100), &pool, &Attributes::new(100, None)), [1.0, 1.0]);
    }
}
