//! `trusted-prefix-cache-producer`, llmd's own: how much of a prompt each endpoint will hold when it comes to it, by what its
//! engine says and by what was sent there.

use std::sync::Arc;
use std::time::Duration;

use llmd_core::Medium;
use llmd_core::index::WorkerState;
use parking_lot::Mutex;
use serde::Deserialize;

use crate::plugin::{Attributes, Data, Hooks, Plugin, PrefixMatch, Producer};
use crate::{Endpoint, Request};

/// Puts together what a producer knows exactly, from the events of engines, and what another remembers of what was sent:
///
/// - **An engine whose events are late, lost, or not there at all** holds what was sent there.
/// - **An engine with a queue** will, when it comes to this prompt, no longer hold what it holds now, but what the prompts before
///   it leave there. When requests wait, and three of four that run or wait there were sent from here, it holds what was sent
///   there as well, and what it has in host memory or storage, which outlasts the queue.
/// - **Any other engine** holds what it says. Where it has evicted some of what was sent there, `rememberedWeight` of that is
///   [remembered](PrefixMatch::remembered_tokens).
///
/// Besides, it says which share of what the last prompts had to have computed had been sent somewhere before, and was evicted
/// ([`Attributes::evicted_share`]): by that a scorer knows that caches are too small for what is asked for.
#[derive(Debug)]
pub struct TrustedPrefixCache {
    name: Arc<str>,
    exact: String,
    otherwise: String,
    remembered_weight: f64,
    missed: Mutex<Missed>,
}

/// By how much of an engine's requests must have been sent from here, for what was sent from here to say what it will hold.
const MOST: f64 = 0.75;

/// The parameters of `trusted-prefix-cache-producer`.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Parameters {
    pub(crate) exact_producer_name: String,
    pub(crate) other_producer_name: String,
    pub(crate) remembered_weight: f64,
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            exact_producer_name: "precise-prefix-cache-producer".to_owned(),
            other_producer_name: "approx-prefix-cache-producer".to_owned(),
            remembered_weight: 0.5,
        }
    }
}

impl TrustedPrefixCache {
    /// A producer of this name that puts together what `exact` and `otherwise` find, as the configuration has it by default.
    pub fn new(name: impl Into<Arc<str>>, exact: impl Into<String>, otherwise: impl Into<String>) -> Self {
        let names = (exact.into(), otherwise.into());
        let parameters =
            Parameters { exact_producer_name: names.0, other_producer_name: names.1, ..Parameters::default() };
        Self::with(name.into(), parameters)
    }

    pub(crate) fn with(name: Arc<str>, parameters: Parameters) -> Self {
        let Parameters { exact_producer_name: exact, other_producer_name: otherwise, remembered_weight } = parameters;
        Self { name, exact, otherwise, remembered_weight, missed: Mutex::default() }
    }

    /// What an endpoint will hold that says this, and was sent that.
    fn settle(&self, endpoint: &Endpoint, said: &PrefixMatch, sent: &PrefixMatch) -> PrefixMatch {
        if said.state != WorkerState::Exact {
            return *sent;
        }
        let (holds, should) = (said.hit_tokens, sent.hit_tokens);
        if holds == should {
            return *said;
        }
        if has_queue_of_ours(endpoint) {
            return with_hit(said, should.max(outlasts(said)));
        }
        let gone = f64::from(should.saturating_sub(holds));
        PrefixMatch { remembered_tokens: (gone * self.remembered_weight) as u32, ..*said }
    }
}

/// Whether requests wait there, most of which were sent from here.
fn has_queue_of_ours(endpoint: &Endpoint) -> bool {
    endpoint.metrics().is_some_and(|metrics| {
        let waiting = metrics.waiting_requests.unwrap_or(0);
        let all = waiting.saturating_add(metrics.running_requests.unwrap_or(0));
        waiting > 0 && endpoint.in_flight().requests() as f64 >= MOST * all as f64
    })
}

/// How many of the tokens that an endpoint holds it will hold whatever is computed there: what is not on the GPU, or reaches
/// farther than what is.
fn outlasts(said: &PrefixMatch) -> u32 {
    let (gpu, others) = (said.by_medium[Medium::Gpu.index()], &said.by_medium[1 + Medium::Gpu.index()..]);
    let reaches = others.iter().copied().max().unwrap_or(0);
    let is_known = gpu > 0 || reaches > 0;
    if is_known && gpu < said.cached {
        said.hit_tokens
    } else {
        said.hit_tokens.min(reaches.saturating_mul(said.block_size))
    }
}

/// The same, with so many tokens that need not be computed.
fn with_hit(found: &PrefixMatch, hit_tokens: u32) -> PrefixMatch {
    let blocks = (hit_tokens / found.block_size.max(1)).min(found.total);
    PrefixMatch { blocks, cached: blocks, speculative: 0, hit_tokens, ..*found }
}

/// How many prompts are remembered: each counts for this much less than the one after it.
const MEMORY: f64 = 64.0;

/// Of the last prompts, the tokens that no endpoint held, and those of them that had been sent to one.
#[derive(Debug, Default)]
struct Missed {
    tokens: f64,
    evicted: f64,
}

impl Missed {
    /// The share of those that were evicted, as of before this prompt, of which so many tokens are held and were sent.
    fn share_and_add(&mut self, prompt: u64, held: u32, sent: u32) -> f64 {
        let share = if self.tokens > 0.0 { self.evicted / self.tokens } else { 0.0 };
        let missed = prompt.saturating_sub(held.into()) as f64;
        let evicted = f64::from(sent.saturating_sub(held)).min(missed);
        self.tokens += missed - self.tokens / MEMORY;
        self.evicted += evicted - self.evicted / MEMORY;
        share
    }
}

impl Plugin for TrustedPrefixCache {
    fn reads(&self) -> Vec<Data> {
        vec![Data::PrefixMatch(self.exact.clone()), Data::PrefixMatch(self.otherwise.clone()), Data::Metrics]
    }

    fn settings(&self) -> String {
        let Self { exact, otherwise, remembered_weight, .. } = self;
        format!(
            "{exact} where it is exact, else {otherwise}, which counts by {remembered_weight} where it knows of more, and alone \
             where requests wait"
        )
    }
}

impl Producer for TrustedPrefixCache {
    fn makes(&self) -> Data {
        Data::PrefixMatch(self.name.to_string())
    }

    fn produce(
        &self,
        _: &Request,
        pool: &[Arc<Endpoint>],
        _: Duration,
        out: &mut Attributes,
    ) -> Option<Box<dyn Hooks>> {
        let said = out.prefix_matches(&self.exact)?;
        let sent = out.prefix_matches(&self.otherwise).unwrap_or_default();
        let settled = said.iter().enumerate().map(|(place, said)| match (pool.get(place), sent.get(place)) {
            (Some(endpoint), Some(sent)) => self.settle(endpoint, said, sent),
            _ => *said,
        });
        let settled = settled.collect();
        let most = |found: &[PrefixMatch]| found.iter().map(|found| found.hit_tokens).max().unwrap_or(0);
        let share = self.missed.lock().share_and_add(out.prompt_tokens(), most(said), most(sent));
        out.set_evicted_share(share);
        out.set_prefix_matches(&self.name, settled);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{pool, prefix, request};
    use crate::{EngineMetrics, Pool};

    fn producer() -> TrustedPrefixCache {
        TrustedPrefixCache::new("trusted", "exact", "guess")
    }

    /// What the producer makes of what engines say they hold and of what was sent there.
    fn settled(producer: &TrustedPrefixCache, pool: &Pool, said: &[PrefixMatch], sent: &[PrefixMatch]) -> Attributes {
        let mut known = Attributes::new(128, None);
        known.set_prefix_matches(&"exact".into(), said.to_vec());
        known.set_prefix_matches(&"guess".into(), sent.to_vec());
        assert!(producer.produce(&request(0..128), pool, Duration::ZERO, &mut known).is_none());
        known
    }

    fn blocks_and_hits(known: &Attributes) -> Vec<(u32, u32)> {
        known.prefix_matches("trusted").unwrap().iter().map(|found| (found.blocks, found.hit_tokens)).collect()
    }

    #[test]
    fn an_engine_is_believed_where_nothing_of_what_it_said_is_missing() {
        let doubtful = |state, blocks| PrefixMatch { state, ..prefix(blocks, 8, 16) };
        let said = [
            prefix(5, 8, 16),
            doubtful(WorkerState::Recovering, 5),
            doubtful(WorkerState::Approximate, 0),
            prefix(0, 8, 16),
        ];
        let sent = [1, 1, 1, 0].map(|blocks| prefix(blocks, 2, 64));
        let known = settled(&producer(), &pool(4), &said, &sent);
        assert_eq!(blocks_and_hits(&known), [(5, 80), (1, 64), (1, 64), (0, 0)]);
    }

    #[test]
    fn of_what_was_sent_and_is_gone_half_is_remembered() {
        let (said, sent) = ([prefix(1, 8, 16), prefix(0, 8, 16)], [prefix(7, 8, 16), prefix(1, 8, 16)]);
        let known = settled(&producer(), &pool(2), &said, &sent);
        assert_eq!(blocks_and_hits(&known), [(1, 16), (0, 0)], "what is said of the cache is true");
        let remembered: Vec<_> =
            known.prefix_matches("trusted").unwrap().iter().map(|found| found.remembered_tokens).collect();
        assert_eq!(remembered, [48, 8]);
    }

    #[test]
    fn a_queue_leaves_what_was_sent_there() {
        let pool = pool(7);
        let mut said = [7, 7, 7, 0, 7, 7, 7].map(|blocks| prefix(blocks, 8, 16));
        said[4].by_medium = [7, 7, 0];
        said[5].by_medium = [7, 2, 0];
        said[6].by_medium = [3, 0, 0];
        let sent = [1, 1, 1, 6, 1, 1, 1].map(|blocks| prefix(blocks, 8, 16));
        let mut guards = Vec::new();
        // How many wait, and how many of these and one that runs were sent from here.
        for (endpoint, (waiting, ours)) in pool.iter().zip([(3, 3), (0, 1), (3, 2), (3, 3), (3, 3), (3, 3), (3, 3)]) {
            let mut metrics = EngineMetrics::default();
            (metrics.waiting_requests, metrics.running_requests) = (Some(waiting), Some(1));
            endpoint.set_metrics(metrics);
            guards.extend((0..ours).map(|_| endpoint.in_flight().admit(0)));
        }
        let known = settled(&producer(), &pool, &said, &sent);
        assert_eq!(
            blocks_and_hits(&known),
            [(1, 16), (7, 112), (7, 112), (6, 96), (7, 112), (2, 32), (7, 112)],
            "a queue, none, one of others, one that brings more; all in host memory, some of it, and the rest in a pool"
        );
    }

    #[test]
    fn it_says_how_much_of_what_is_computed_was_evicted() {
        let (producer, pool) = (producer(), pool(2));
        let share = |said, sent| {
            settled(&producer, &pool, &[prefix(0, 8, 16), said], &[sent, prefix(0, 8, 16)]).evicted_share()
        };
        assert_eq!(share(prefix(0, 8, 16), prefix(0, 8, 16)), 0.0);
        assert_eq!(share(prefix(2, 8, 16), prefix(4, 8, 16)), 0.0, "nothing of the first prompt had been anywhere");
        // 128 tokens of the first, less a 64th, and 96 of the second, of which 32 had been sent.
        let expected = 32.0 / (128.0 * 63.0 / 64.0 + 96.0);
        assert!((share(prefix(0, 8, 16), prefix(0, 8, 16)) - expected).abs() < 1e-12);
    }

    #[test]
    fn without_tokens_nothing_is_known() {
        let mut known = Attributes::default();
        assert!(producer().produce(&request([]), &pool(4), Duration::ZERO, &mut known).is_none());
        assert_eq!(known.prefix_matches("trusted"), None);
    }
}
