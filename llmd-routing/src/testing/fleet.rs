//! Endpoints and requests to test with.

use std::sync::Arc;

use llmd_core::WorkerId;
use llmd_core::index::WorkerState;
use llmd_core::protocol::ROLE_LABEL;

use crate::plugin::{Attributes, PrefixMatch};
use crate::{Endpoint, EngineMetrics, LoraMetrics, Pool, Request};

/// The attribute that some endpoints of a [`fleet`] have.
pub const ATTRIBUTE: &str = "GPUUtilization";

/// A pool of `endpoints` called `engine-0`, `engine-1` and so on, whose workers have the same numbers. They have no labels,
/// and have said nothing about themselves.
pub fn pool(endpoints: u32) -> Pool {
    (0..endpoints).map(endpoint).collect()
}

/// The endpoint of this number.
fn endpoint(number: u32) -> Endpoint {
    Endpoint::new(format!("engine-{number}"), format!("10.0.0.{number}:8000"), WorkerId(number))
}

/// A pool of every sort: each role and none, in several places, idle, busy, silent, with adapters and without, saying what
/// makes no sense, measured by others and not, and with requests in flight, which last as long as the guards that come
/// with it.
pub fn fleet() -> (Pool, Vec<crate::InFlightGuard>) {
    let labels = [Some("decode"), Some("prefill"), Some("encode-prefill-decode"), Some("nonsense"), None, Some("both")];
    let said = [
        Some(metrics(0, 0, 0.0)),
        Some(metrics(9, 4, 0.7)),
        None,
        Some(EngineMetrics::default()),
        Some(metrics(3, 8, f64::NAN)),
        Some(metrics(u64::MAX, u64::MAX, 7.0)),
    ];
    let endpoints = (0..).zip(labels).zip(said).map(|((number, role), said)| {
        let places = [("kubernetes.io/hostname", number / 2), ("topology.kubernetes.io/zone", number / 4)];
        let places = places.map(|(label, place)| (label, format!("place-{place}")));
        let role = role.map(|role| (ROLE_LABEL, role.to_owned()));
        let lengths =
            (number % 3 > 0).then(|| ("llm-d.ai/context-length-range", format!("{number}-{}", 4096 / number)));
        let endpoint = endpoint(number).with_labels(places.into_iter().chain(role).chain(lengths));
        said.into_iter().for_each(|said| endpoint.set_metrics(EngineMetrics { lora: lora(number), ..said }));
        let measured = [None, Some(0.25), Some(0.75), Some(-1.0), Some(f64::NAN), Some(f64::INFINITY)];
        measured[number as usize].into_iter().for_each(|value| endpoint.set_attribute(ATTRIBUTE, value));
        endpoint
    });
    let pool: Pool = endpoints.collect();
    let busy = [0, 3, 3, 5].map(|place: usize| pool[place].in_flight().admit(1000 * place as u64));
    (pool, busy.into())
}

/// What the engine of this number says about its adapters.
fn lora(number: u32) -> Option<LoraMetrics> {
    let adapters = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    match number % 4 {
        0 => Some(LoraMetrics { running: adapters(&["model-1"]), waiting: adapters(&["model-1"]), max: 1 }),
        1 => Some(LoraMetrics { running: adapters(&["another"]), waiting: adapters(&["model-1"]), max: 2 }),
        2 => None,
        _ => Some(LoraMetrics::default()),
    }
}

/// What an engine says that has so many requests waiting and running, and so much of its cache in use.
pub fn metrics(waiting: u64, running: u64, kv_cache_usage: f64) -> EngineMetrics {
    EngineMetrics {
        waiting_requests: Some(waiting),
        running_requests: Some(running),
        kv_cache_usage: Some(kv_cache_usage),
        ..EngineMetrics::default()
    }
}

/// A request whose prompt has these tokens.
pub fn request(tokens: impl IntoIterator<Item = u32>) -> Request {
    Request::new("request-1", "model-1").with_tokens(tokens.into_iter().collect::<Vec<_>>())
}

/// What a producer would find that holds `blocks` of a prompt's `total`, each of `block_size` tokens.
pub fn prefix(blocks: u32, total: u32, block_size: u32) -> PrefixMatch {
    PrefixMatch {
        blocks,
        cached: blocks,
        speculative: 0,
        total,
        block_size,
        hit_tokens: blocks * block_size,
        remembered_tokens: 0,
        by_medium: [blocks, 0, 0],
        state: WorkerState::Exact,
    }
}

/// What the producer of this name found for a prompt of so many tokens, an entry per endpoint.
pub fn attributes(prompt_tokens: usize, producer: &str, matches: &[PrefixMatch]) -> Attributes {
    let producer: Arc<str> = producer.into();
    let mut attributes = Attributes::new(prompt_tokens, Some(Arc::clone(&producer)));
    attributes.set_prefix_matches(&producer, matches.to_vec());
    attributes
}
