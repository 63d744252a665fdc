//! What others need to test plugins of their own: pools, requests, chance that can be repeated, and the suites that say
//! what a [`Filter`], a [`Scorer`], a [`Picker`] and a [`Connector`](crate::connector::Connector)
//! must do.

mod chance;
mod conformance;
mod connector;
mod fleet;

pub use chance::Chance;
pub use conformance::{filter, picker, scorer};
pub use connector::connector;
pub use fleet::{ATTRIBUTE, attributes, fleet, metrics, pool, prefix, request};

use std::sync::Arc;
use std::time::Duration;

use crate::plugin::{
    Attributes, Candidates, Context, Decider, Filter, Picker, ProfileHandler, Ran, Ranked, Refusal, Scorer, Snapshot,
};
use crate::{Endpoint, Pool, Request};

/// What `scorer` says about each endpoint of `pool`.
pub fn scores(scorer: &dyn Scorer, request: &Request, pool: &Pool, attributes: &Attributes) -> Vec<f64> {
    scores_beside(scorer, request, pool, attributes, None)
}

/// The same, where the profile before chose `peer`.
pub fn scores_beside(
    scorer: &dyn Scorer,
    request: &Request,
    pool: &Pool,
    attributes: &Attributes,
    peer: Option<&Arc<Endpoint>>,
) -> Vec<f64> {
    let snapshot = Snapshot::of(pool);
    let mut chance = Chance::new(0);
    let mut cx = Context::new(request, attributes, Duration::ZERO, &mut chance);
    peer.into_iter().for_each(|peer| cx.add_peer(peer));
    let mut out = vec![0.0; pool.len()];
    scorer.score(&cx, &Candidates::new(pool, &snapshot), &mut out);
    out
}

/// The names of the endpoints of `pool` that `filter` keeps.
pub fn kept(filter: &dyn Filter, request: &Request, pool: &Pool, attributes: &Attributes) -> Vec<String> {
    kept_beside(filter, request, pool, attributes, None)
}

/// The same, where the profile before chose `peer`.
pub fn kept_beside(
    filter: &dyn Filter,
    request: &Request,
    pool: &Pool,
    attributes: &Attributes,
    peer: Option<&Arc<Endpoint>>,
) -> Vec<String> {
    let snapshot = Snapshot::of(pool);
    let mut chance = Chance::new(0);
    let mut cx = Context::new(request, attributes, Duration::ZERO, &mut chance);
    peer.into_iter().for_each(|peer| cx.add_peer(peer));
    let mut candidates = Candidates::new(pool, &snapshot);
    filter.filter(&mut cx, &mut candidates);
    candidates.iter().map(|candidate| candidate.endpoint.name().to_owned()).collect()
}

/// The places that `picker` picks.
pub fn picks(picker: &dyn Picker, scores: &[f64], chance: &mut Chance) -> Vec<usize> {
    let (request, attributes) = (Request::default(), Attributes::default());
    let mut cx = Context::new(&request, &attributes, Duration::ZERO, chance);
    let mut out = Ranked::default();
    picker.pick(&mut cx, scores, &mut out);
    out.iter().collect()
}

/// What `decider` says of a request that is decoded at a place in the pool.
pub fn disaggregates(decider: &dyn Decider, request: &Request, attributes: &Attributes, decode: Option<usize>) -> bool {
    let mut chance = Chance::new(0);
    decider.disaggregates(&Context::new(request, attributes, Duration::ZERO, &mut chance), decode)
}

/// Which of `profiles` runs after those that `ran`, as `handler` says.
///
/// # Errors
///
/// Why it refuses the request.
pub fn next_profile(
    handler: &dyn ProfileHandler,
    request: &Request,
    profiles: &[String],
    ran: &[Ran],
) -> Result<Option<usize>, Refusal> {
    let (attributes, mut chance) = (Attributes::default(), Chance::new(0));
    handler.next(&Context::new(request, &attributes, Duration::ZERO, &mut chance), profiles, ran)
}
