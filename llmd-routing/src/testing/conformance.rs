//! What a filter, a scorer and a picker must do. Each suite panics with a sentence that says what does not hold.

use std::sync::Arc;

use super::{Chance, fleet, kept_beside, metrics, picks, pool, prefix, request, scores_beside};
use crate::plugin::{Attributes, Data, Filter, Latency, Picker, Plugin, Scorer};
use crate::{Endpoint, Headers, InFlightGuard, Pool, Request};

/// Checks that a filter keeps a part of its candidates, in their order, and the same ones whenever it is asked the same,
/// whatever is known about them.
///
/// # Panics
///
/// When the filter does not.
pub fn filter<F: Filter>(make: impl Fn() -> F) {
    let (situations, _busy) = situations();
    for (pool, request) in &situations {
        for (attributes, peer) in known(&make(), pool) {
            let kept = || kept_beside(&make(), request, pool, &attributes, peer);
            let (first, again) = (kept(), kept());
            assert_eq!(first, again, "a filter that is asked the same twice answers the same");
            let all = pool.iter().map(|endpoint| endpoint.name());
            let order: Vec<_> = all.filter(|&name| first.iter().any(|kept| kept == name)).collect();
            assert_eq!(first, order, "a filter keeps the order of the candidates");
        }
    }
}

/// Checks that a scorer says something about every candidate, that it is the same whatever the order of the candidates, and
/// the same whenever it is asked the same, whatever is known about them.
///
/// # Panics
///
/// When the scorer does not.
pub fn scorer<S: Scorer>(make: impl Fn() -> S) {
    let (situations, _busy) = situations();
    for (pool, request) in &situations {
        let reversed = Pool::new(pool.iter().rev().cloned());
        for ((attributes, peer), (backward, _)) in known(&make(), pool).iter().zip(&known(&make(), &reversed)) {
            let scores = |pool, attributes| scores_beside(&make(), request, pool, attributes, *peer);
            let (said, again) = (scores(pool, attributes), scores(pool, attributes));
            assert!(same(&said, &again), "a scorer that is asked the same twice answers the same: {said:?}, {again:?}");
            assert!(said.iter().all(|score| !score.is_infinite()), "a score is finite: {said:?}");
            let mut backwards = scores(&reversed, backward);
            backwards.reverse();
            assert!(same(&said, &backwards), "a score does not depend on the order: {said:?}, {backwards:?}");
        }
    }
}

/// Checks that a picker picks at least one of its candidates, none twice, and the same ones by the same chance.
///
/// # Panics
///
/// When the picker does not.
pub fn picker<P: Picker>(make: impl Fn() -> P) {
    let tables: [&[f64]; 8] = [
        &[1.0],
        &[0.0; 5],
        &[-1.0, -2.0],
        &[f64::NAN],
        &[f64::NAN, 0.5],
        &[0.1, 0.9, 0.9],
        &[3.0; 100],
        &[0.0, 1e-300],
    ];
    for scores in tables {
        for seed in 0..64 {
            let picked = picks(&make(), scores, &mut Chance::new(seed));
            assert!(!picked.is_empty(), "a picker picks somebody of {scores:?}");
            assert!(picked.iter().all(|&place| place < scores.len()), "a picker picks candidates: {picked:?}");
            let twice = (1..picked.len()).find(|&place| picked[..place].contains(&picked[place]));
            assert_eq!(twice, None, "a picker picks nobody twice: {picked:?}");
            let again = picks(&make(), scores, &mut Chance::new(seed));
            assert_eq!(picked, again, "by the same chance a picker picks the same");
        }
    }
}

/// Pools of several sorts, some of them busy as long as the guards last, and requests with and without tokens and headers.
fn situations() -> (Vec<(Pool, Request)>, Vec<InFlightGuard>) {
    let (every_sort, busy) = fleet();
    let equal = pool(4);
    equal.iter().for_each(|endpoint| endpoint.set_metrics(metrics(1, 1, 0.5)));
    let mut headers = Headers::default();
    for header in ["x-session-id", "x-session-token"] {
        headers.insert(header, "session");
    }
    headers.insert("test-epp-endpoint-selection", "10.0.0.0, 10.0.0.3:8000");
    let requests = [Request::new("bare", "model-1"), request(0..4096), request([]).with_headers(headers)];
    let pools = [pool(1), pool(5), equal, every_sort];
    let each = |pool: &Pool| requests.clone().map(|request| (pool.clone(), request));
    (pools.iter().flat_map(each).collect(), busy)
}

/// Nothing known, and everything that the plugin reads, with the endpoint of the lowest number chosen before. What is known
/// of an endpoint is the same wherever it stands.
fn known<'a>(plugin: &dyn Plugin, pool: &'a Pool) -> [(Attributes, Option<&'a Arc<Endpoint>>); 2] {
    let numbers = || pool.iter().map(|endpoint| endpoint.worker().0);
    let mut full = Attributes::new(4096, None);
    for data in plugin.reads() {
        match data {
            Data::EncoderMatch(producer) => {
                full.set_encoder_matches(
                    &producer.into(),
                    numbers().map(|number| f64::from(number % 5) / 4.0).collect(),
                );
            }
            Data::Latency(producer) => full.set_latencies(&producer.into(), numbers().map(latency).collect()),
            Data::PrefixMatch(producer) => {
                full.set_prefix_matches(
                    &producer.into(),
                    numbers().map(|number| prefix(number.min(8), 8, 16)).collect(),
                );
            }
            Data::RequestAttribute(name) => full.set_text(name, "said"),
            _ => {}
        }
    }
    let first = pool.iter().min_by_key(|endpoint| endpoint.worker().0);
    [(Attributes::default(), None), (full, first)]
}

/// What is predicted of the endpoint of this number: nothing, what is within limits, what is not, and what is no number.
fn latency(number: u32) -> Option<Latency> {
    let headroom = |ttft_headroom_ms, tpot_headroom_ms| {
        Some(Latency { ttft_ms: 100.0, tpot_ms: 10.0, ttft_headroom_ms, tpot_headroom_ms })
    };
    match number % 6 {
        0 => headroom(-20.0, -1.0),
        1 => headroom(30.0, -2.0),
        2 => headroom(-10.0, 3.0),
        3 => None,
        4 => headroom(50.0, 5.0),
        _ => headroom(f64::NAN, f64::INFINITY),
    }
}

/// Whether two lists of scores are the same, what is not a number being equal to itself.
fn same(a: &[f64], b: &[f64]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a == b || a.is_nan() && b.is_nan())
}
