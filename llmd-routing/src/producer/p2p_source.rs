//! `p2p-source-producer`: whom the endpoint that computes a prompt gets the cached part of it from.

use std::sync::Arc;

use llmd_core::Medium;
use serde::Deserialize;
use smallvec::SmallVec;

use crate::plugin::{Attributes, Data, HeaderChanges, Hooks, Plugin, PrefixMatch, Route};
use crate::{Endpoint, Request};

/// How the endpoint that computes a prompt is told.
const HEADER: &str = "x-kv-cache-source-host-port";

/// Names an endpoint that has more of the prompt in its cache than the one that computes it, to get that from.
///
/// It is one of those that hold the most, or one block less, each as likely as its `1 / (1 + waiting)` is high; which, follows
/// from the id of the request. Where a producer says what blocks lie on, those in host memory count, which others read. It is
/// named when it has enough tokens more than the endpoint that computes the prompt has, on whatever medium. What a client
/// says in that header goes no further.
///
/// Formula: llm-d's `p2p-source-producer`, which is experimental there: the place of the request is `fnv32a(id) / 2^32`.
#[derive(Clone, Debug)]
pub struct P2pSource {
    producer: String,
    min_delta: u64,
}

/// The parameters of `p2p-source-producer`.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Parameters {
    pub(crate) prefix_match_info_producer_name: Option<String>,
    pub(crate) min_cached_token_delta: u64,
    /// The profile handler says who prefills.
    #[serde(rename = "prefillProfileName")]
    _prefill_profile_name: Option<String>,
}

impl Default for Parameters {
    fn default() -> Self {
        Self { prefix_match_info_producer_name: None, min_cached_token_delta: 1, _prefill_profile_name: None }
    }
}

impl P2pSource {
    /// Goes by what `producer` finds, and names whoever has at least `min_delta` tokens more, and one in any case.
    pub fn new(producer: impl Into<String>, min_delta: u64) -> Self {
        Self { producer: producer.into(), min_delta: min_delta.max(1) }
    }

    /// The endpoint to get the prompt from.
    fn source<'a>(&self, id: &str, route: &Route<'a>) -> Option<&'a Arc<Endpoint>> {
        let matches = route.attributes.prefix_matches(&self.producer)?;
        let computes = route.computes()?;
        let (place, tokens) = choose(id, matches, route.pool)?;
        let (source, computing) = (&route.pool[place], route.pool.get(computes)?);
        let has = matches.get(computes).map_or(0, |found| tokens_of(found.cached, found));
        let worth = tokens >= has.saturating_add(self.min_delta) && source.address() != computing.address();
        worth.then_some(source)
    }
}

/// One of those that hold the most, or one block less, and how many tokens it holds.
fn choose(id: &str, matches: &[PrefixMatch], pool: &[Arc<Endpoint>]) -> Option<(usize, u64)> {
    let by_medium = matches.iter().any(|found| found.by_medium.iter().any(|&blocks| blocks > 0));
    let blocks = |found: &PrefixMatch| if by_medium { found.by_medium[Medium::Cpu.index()] } else { found.cached };
    let held = |found: &PrefixMatch| tokens_of(blocks(found), found);
    let most = matches.iter().map(held).max().filter(|&most| most > 0)?;
    let near = |found: &PrefixMatch| held(found) > 0 && held(found) + u64::from(found.block_size) >= most;
    let candidates = matches.iter().zip(pool).enumerate().filter(|(_, (found, _))| near(found));
    let candidates: SmallVec<[_; 16]> =
        candidates.map(|(place, (found, endpoint))| (place, held(found), weight(endpoint))).collect();
    let mut rest = fraction(id) * candidates.iter().map(|&(.., weight)| weight).sum::<f64>();
    let chosen = candidates.iter().find(|&&(.., weight)| {
        rest -= weight;
        rest < 0.0
    });
    // Rounding may leave a little at the end.
    chosen.or_else(|| candidates.last()).map(|&(place, tokens, _)| (place, tokens))
}

fn tokens_of(blocks: u32, found: &PrefixMatch) -> u64 {
    u64::from(blocks) * u64::from(found.block_size)
}

/// An endpoint that does not say how many wait is taken for one where nobody does.
fn weight(endpoint: &Endpoint) -> f64 {
    let waiting = endpoint.metrics().and_then(|metrics| metrics.waiting_requests).unwrap_or(0);
    1.0 / (1.0 + waiting as f64)
}

/// Where in [0, 1) the request of this id stands: FNV-1a of 32 bits.
fn fraction(id: &str) -> f64 {
    let hash = id.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    f64::from(hash) / 2_f64.powi(32)
}

impl Plugin for P2pSource {
    fn reads(&self) -> Vec<Data> {
        vec![Data::PrefixMatch(self.producer.clone()), Data::Metrics]
    }

    fn follow(&self, request: &Request, _: &Attributes) -> Option<Box<dyn Hooks>> {
        Some(Box::new(Name { plugin: self.clone(), id: request.id.clone() }))
    }

    fn settings(&self) -> String {
        format!("reads {}, from {} tokens more", self.producer, self.min_delta)
    }
}

/// Names the source to the endpoint that computes the prompt.
#[derive(Debug)]
struct Name {
    plugin: P2pSource,
    id: String,
}

impl Hooks for Name {
    fn request_headers(&self, route: &Route<'_>, changes: &mut HeaderChanges) {
        changes.remove.push(HEADER.into());
        if let Some(source) = self.plugin.source(&self.id, route) {
            changes.set.insert(HEADER, source.address());
        }
    }
}

#[cfg(test)]
mod tests {
    use smallvec::smallvec;

    use super::*;
    use crate::Pool;
    use crate::plugin::Stage;
    use crate::testing::{attributes, metrics, pool, prefix, request};

    fn named(plugin: &P2pSource, id: &str, pool: &Pool, matches: &[PrefixMatch], stages: &[(Stage, usize)]) -> String {
        let mut request = request([]);
        request.id = id.to_owned();
        let attributes = attributes(1024, "p", matches);
        let hooks = plugin.follow(&request, &attributes).expect("it names somebody");
        let stages = stages.iter().map(|&(stage, place)| (stage, &pool[place], place)).collect();
        let mut changes = HeaderChanges::default();
        hooks.request_headers(&Route { stages, pool, attributes: &attributes }, &mut changes);
        assert_eq!(changes.remove, [HEADER], "a client cannot name one");
        changes.set.get(HEADER).unwrap_or_default().to_owned()
    }

    fn on_cpu(cached: u32, cpu: u32) -> PrefixMatch {
        let mut found = prefix(cached, 64, 16);
        found.by_medium[Medium::Cpu.index()] = cpu;
        found
    }

    #[test]
    fn whoever_has_enough_more_than_the_one_that_computes_is_named() {
        let (pool, decode) = (pool(3), |place| [(Stage::Decode, place)]);
        let cpu = |blocks: [u32; 3]| blocks.map(|blocks| on_cpu(blocks, blocks));
        let table = [
            (1, cpu([0, 9, 3]), decode(0).to_vec(), "10.0.0.1:8000"),
            (1, cpu([0, 9, 3]), decode(1).to_vec(), ""),
            (1, cpu([9, 9, 9]), decode(1).to_vec(), ""),
            (1, cpu([0, 0, 0]), decode(1).to_vec(), ""),
            // 6 blocks more are 96 tokens.
            (96, cpu([3, 9, 0]), decode(0).to_vec(), "10.0.0.1:8000"),
            (97, cpu([3, 9, 0]), decode(0).to_vec(), ""),
            // Who prefills computes.
            (1, cpu([9, 0, 9]), vec![(Stage::Prefill, 2), (Stage::Decode, 1)], ""),
            (1, cpu([0, 0, 9]), vec![(Stage::Prefill, 0), (Stage::Decode, 2)], "10.0.0.2:8000"),
            // In GPU memory, nobody else reads it; and who computes needs none that it has there.
            (1, [on_cpu(0, 0), on_cpu(9, 0), on_cpu(5, 5)], decode(0).to_vec(), "10.0.0.2:8000"),
            (1, [on_cpu(5, 0), on_cpu(0, 0), on_cpu(5, 5)], decode(0).to_vec(), ""),
        ];
        for (min_delta, matches, stages, expected) in table {
            let plugin = P2pSource::new("p", min_delta);
            assert_eq!(named(&plugin, "id", &pool, &matches, &stages), expected, "{min_delta} {matches:?} {stages:?}");
        }
    }

    #[test]
    fn a_producer_that_knows_no_media_is_trusted_as_it_is() {
        let of = |blocks| PrefixMatch { by_medium: [0; 3], ..prefix(blocks, 64, 16) };
        let matches = [of(0), of(9)];
        assert_eq!(named(&P2pSource::new("p", 1), "id", &pool(2), &matches, &[(Stage::Decode, 0)]), "10.0.0.1:8000");
        assert_eq!(named(&P2pSource::new("another", 1), "id", &pool(2), &matches, &[(Stage::Decode, 0)]), "");
    }

    #[test]
    fn pulls_spread_over_those_within_a_block_of_the_most_by_how_many_wait() {
        let pool = pool(4);
        for (endpoint, waiting) in pool.iter().zip([0, 0, 3, 0]) {
            endpoint.set_metrics(metrics(waiting, 0, 0.0));
        }
        // 9 blocks, 8 and 9 of which 3 wait; 7 are too few. The weights are 1, 1 and 1/4.
        let matches = [9, 8, 9, 7].map(|blocks| on_cpu(blocks, blocks));
        let mut counts = [0; 4];
        for id in 0..9000 {
            let (place, tokens) = choose(&format!("request-{id}"), &matches, &pool).expect("some hold it");
            assert_eq!(tokens, u64::from(matches[place].cached) * 16);
            counts[place] += 1;
        }
        let [first, second, third, fourth] = counts;
        assert!((3800..4200).contains(&first) && (3800..4200).contains(&second), "{counts:?}");
        assert!((850..1150).contains(&third) && fourth == 0, "{counts:?}");
    }

    #[test]
    fn a_request_stands_where_fnv_says() {
        // The published vectors of FNV-1a: "", "a" and "foobar".
        for (id, hash) in [("", 0x811c_9dc5_u32), ("a", 0xe40c_292c), ("foobar", 0xbf9c_f968)] {
            assert_eq!(fraction(id), f64::from(hash) / 4_294_967_296.0);
        }
    }

    #[test]
    fn without_anybody_who_computes_nobody_is_named() {
        let (pool, attributes) = (pool(1), attributes(1024, "p", &[on_cpu(9, 9)]));
        let route = Route { stages: smallvec![], pool: &pool, attributes: &attributes };
        assert!(P2pSource::new("p", 1).source("id", &route).is_none());
    }
}
