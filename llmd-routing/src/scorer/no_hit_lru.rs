//! `no-hit-lru-scorer`: a prompt that nobody has cached goes where none went for longest.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use serde::Deserialize;
use smallvec::SmallVec;

use crate::Request;
use crate::plugin::{
    Attributes, Candidate, Candidates, Context, Data, Hooks, Picked, Plugin, PrefixMatch, Scorer, Stage, UNKNOWN,
};

/// How many endpoints are remembered when the parameters do not say, as in llm-d.
const LRU_SIZE: usize = 1024;

/// 0.5 for all when a candidate has some of the prompt cached. Otherwise 1 where no uncached prompt was ever sent, and
/// elsewhere `1 − (never + rank) / (n − 1)`: of `n` candidates, `never` were never sent one, and `rank` counts, among the
/// others, those that were sent their last one earlier.
///
/// Formula: llm-d's `no-hit-lru-scorer`, which puts those that were never sent one in the order of the pool; here they are
/// equal, so that the order does not matter. What counts as sent is a prompt of which the endpoint that computes it, or
/// decodes it, holds nothing; in llm-d, one of which none of the candidates does.
#[derive(Debug)]
pub struct NoHitLruScorer {
    producer: String,
    recency: Arc<Mutex<Recency>>,
}

/// The parameters of `no-hit-lru-scorer`.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Parameters {
    lru_size: i64,
    pub(crate) prefix_match_info_producer_name: Option<String>,
    /// llm-d never used it either.
    #[serde(rename = "prefixPluginType")]
    _prefix_plugin_type: Option<String>,
    /// llm-d never used it either.
    #[serde(rename = "prefixPluginName")]
    _prefix_plugin_name: Option<String>,
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            lru_size: LRU_SIZE as i64,
            prefix_match_info_producer_name: None,
            _prefix_plugin_type: None,
            _prefix_plugin_name: None,
        }
    }
}

impl Parameters {
    /// How many endpoints are remembered; what is not positive means the default, as in llm-d.
    pub(crate) fn lru_size(&self) -> usize {
        usize::try_from(self.lru_size).ok().filter(|&size| size > 0).unwrap_or(LRU_SIZE)
    }
}

/// When each endpoint was last sent a prompt that it did not have: the larger, the later.
#[derive(Debug)]
struct Recency {
    used: HashMap<String, u64>,
    next: u64,
    max_endpoints: usize,
    dropped: u64,
}

impl NoHitLruScorer {
    /// A scorer of what `producer` finds, which remembers 1,024 endpoints.
    pub fn new(producer: impl Into<String>) -> Self {
        let recency = Recency { used: HashMap::new(), next: 0, max_endpoints: LRU_SIZE, dropped: 0 };
        Self { producer: producer.into(), recency: Arc::new(Mutex::new(recency)) }
    }

    /// The same, remembering this many endpoints; 0 is taken for 1.
    #[must_use]
    pub fn with_lru_size(self, endpoints: usize) -> Self {
        self.recency.lock().max_endpoints = endpoints.max(1);
        self
    }
}

impl Plugin for NoHitLruScorer {
    fn reads(&self) -> Vec<Data> {
        vec![Data::PrefixMatch(self.producer.clone())]
    }

    fn follow(&self, _: &Request, attributes: &Attributes) -> Option<Box<dyn Hooks>> {
        let matches = attributes.prefix_matches(&self.producer).unwrap_or_default();
        let holders = (0..matches.len()).filter(|&place| is_warm(&matches[place])).collect();
        Some(Box::new(Sent { holders, recency: Arc::clone(&self.recency) }))
    }

    /// Endpoints that were forgotten because there were too many.
    fn dropped(&self) -> u64 {
        self.recency.lock().dropped
    }

    fn settings(&self) -> String {
        format!("reads {}, remembers {} endpoints", self.producer, self.recency.lock().max_endpoints)
    }
}

impl Scorer for NoHitLruScorer {
    fn score(&self, cx: &Context<'_>, candidates: &Candidates<'_>, out: &mut [f64]) {
        let matches = cx.prefix_matches(&self.producer).unwrap_or_default();
        if candidates.iter().any(|candidate| matches.get(candidate.place).is_some_and(is_warm)) {
            return out.fill(UNKNOWN);
        }
        let used = self.recency.lock().of(candidates);
        let mut order: SmallVec<[u64; 32]> = used.iter().flatten().copied().collect();
        order.sort_unstable();
        let never = used.len() - order.len();
        let last = used.len().saturating_sub(1).max(1) as f64;
        for (score, used) in out.iter_mut().zip(used) {
            let rank = |used| never + order.partition_point(|&other| other < used);
            *score = used.map_or(1.0, |used| 1.0 - rank(used) as f64 / last);
        }
    }

    fn input(&self, attributes: &Attributes, candidate: &Candidate<'_>) -> Option<String> {
        let found = attributes.prefix_matches(&self.producer)?.get(candidate.place)?;
        Some(format!("{} of {} blocks", found.blocks, found.total))
    }
}

/// Whether an endpoint holds some of a prompt, or should be taken for one that does.
const fn is_warm(found: &PrefixMatch) -> bool {
    found.blocks > 0 || found.remembered_tokens > 0
}

impl Recency {
    /// When each of the candidates was last sent such a prompt, in their order; `None` when it never was.
    fn of(&self, candidates: &Candidates<'_>) -> SmallVec<[Option<u64>; 32]> {
        candidates.iter().map(|candidate| self.used.get(candidate.endpoint.name()).copied()).collect()
    }

    fn touch(&mut self, endpoint: &str) {
        let now = self.next;
        self.next += 1;
        if let Some(used) = self.used.get_mut(endpoint) {
            *used = now;
            return;
        }
        while self.used.len() >= self.max_endpoints {
            self.forget_oldest();
        }
        self.used.insert(endpoint.to_owned(), now);
    }

    fn forget_oldest(&mut self) {
        let oldest = self.used.iter().min_by_key(|&(_, used)| *used).map(|(name, _)| name.clone());
        oldest.into_iter().for_each(|name| {
            self.used.remove(&name);
            self.dropped += 1;
        });
    }
}

/// Remembers where a prompt goes that is not cached there.
#[derive(Debug)]
struct Sent {
    /// The places in the pool of endpoints that have some of it cached.
    holders: SmallVec<[usize; 8]>,
    recency: Arc<Mutex<Recency>>,
}

impl Hooks for Sent {
    fn picked(&mut self, picked: &Picked<'_>) {
        let holds = self.holders.iter().any(|&place| Arc::ptr_eq(&picked.pool[place], picked.endpoint));
        if !holds && picked.stage != Stage::Encode {
            self.recency.lock().touch(picked.endpoint.name());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::Pool;
    use crate::testing::{attributes, pool, prefix, request, scores};

    fn said(scorer: &NoHitLruScorer, pool: &Pool) -> Vec<f64> {
        scores(scorer, &request([]), pool, &Attributes::default())
    }

    /// Sends a request of which `held` blocks are cached at each endpoint to the one at `place`.
    fn send(scorer: &NoHitLruScorer, pool: &Pool, held: &[u32], place: usize, stage: Stage) {
        let matches: Vec<_> = held.iter().map(|&blocks| prefix(blocks, 8, 16)).collect();
        let known = attributes(128, "p", &matches);
        let mut hooks = scorer.follow(&request(0..128), &known).expect("it follows");
        hooks.picked(&Picked::new(&pool[place], pool, Duration::ZERO).of(stage));
    }

    #[test]
    fn an_uncached_prompt_goes_where_none_went_for_longest() {
        let (scorer, pool) = (NoHitLruScorer::new("p"), pool(5));
        assert_eq!(said(&scorer, &pool), [1.0; 5]);
        let table = [
            (1, [1.0, 0.0, 1.0, 1.0, 1.0]),
            (3, [1.0, 0.25, 1.0, 0.0, 1.0]),
            (1, [1.0, 0.0, 1.0, 0.25, 1.0]),
            (0, [0.0, 0.25, 1.0, 0.5, 1.0]),
            (4, [0.25, 0.5, 1.0, 0.75, 0.0]),
        ];
        for (place, expected) in table {
            send(&scorer, &pool, &[0; 5], place, Stage::Decode);
            assert_eq!(said(&scorer, &pool), expected, "after {place}");
        }
        send(&scorer, &pool, &[0; 5], 2, Stage::Prefill);
        assert_eq!(said(&scorer, &pool), [0.5, 0.75, 0.0, 1.0, 0.25], "all have had their turn");
    }

    #[test]
    fn a_prompt_that_somebody_has_is_left_to_others() {
        let (scorer, pool) = (NoHitLruScorer::new("p"), pool(3));
        send(&scorer, &pool, &[0; 3], 0, Stage::Decode);
        let warm = attributes(128, "p", &[prefix(0, 8, 16), prefix(1, 8, 16), prefix(0, 8, 16)]);
        assert_eq!(scores(&scorer, &request(0..128), &pool, &warm), [0.5; 3]);
    }

    #[test]
    fn only_prompts_that_are_computed_from_nothing_count() {
        let (scorer, pool) = (NoHitLruScorer::new("p"), pool(2));
        send(&scorer, &pool, &[3, 0], 0, Stage::Decode);
        send(&scorer, &pool, &[0, 0], 0, Stage::Encode);
        assert_eq!(said(&scorer, &pool), [1.0, 1.0]);
        send(&scorer, &pool, &[3, 0], 1, Stage::Decode);
        assert_eq!(said(&scorer, &pool), [1.0, 0.0]);
    }

    #[test]
    fn no_more_endpoints_are_remembered_than_its_size() {
        let (scorer, pool) = (NoHitLruScorer::new("p").with_lru_size(2), pool(3));
        (0..3).for_each(|place| send(&scorer, &pool, &[0; 3], place, Stage::Decode));
        assert_eq!(said(&scorer, &pool), [1.0, 0.5, 0.0]);
        assert_eq!(scorer.dropped(), 1);
    }

    #[test]
    fn a_single_candidate_is_the_best() {
        let (scorer, pool) = (NoHitLruScorer::new("p"), pool(1));
        send(&scorer, &pool, &[0], 0, Stage::Decode);
        assert_eq!(said(&scorer, &pool), [1.0]);
    }
}
