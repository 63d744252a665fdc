//! What a plugin sees of one decision.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rand::Rng;
use smallvec::SmallVec;

use super::{Attributes, Candidate, PrefixMatch, Stage};
use crate::{Endpoint, Request};

/// What a plugin sees of one decision besides its candidates.
#[non_exhaustive]
pub struct Context<'a> {
    /// The request.
    pub request: &'a Request,
    /// What the producers made for it.
    pub attributes: &'a Attributes,
    /// The time.
    pub now: Duration,
    /// Where chance comes from.
    pub rng: &'a mut dyn Rng,
    peers: SmallVec<[&'a Arc<Endpoint>; 2]>,
    stage: Stage,
}

impl<'a> Context<'a> {
    /// The view of one decision.
    pub fn new(request: &'a Request, attributes: &'a Attributes, now: Duration, rng: &'a mut dyn Rng) -> Self {
        Self { request, attributes, now, rng, peers: SmallVec::new(), stage: Stage::Decode }
    }

    /// What the producer of this name found for each endpoint, by place in the pool; `None` when it did not run, as when the
    /// request has no tokens.
    pub fn prefix_matches(&self, producer: &str) -> Option<&'a [PrefixMatch]> {
        self.attributes.prefix_matches(producer)
    }

    /// How many tokens of the prompt `candidate` would have to compute, as far as is known.
    pub fn uncached_tokens(&self, candidate: &Candidate<'_>) -> u64 {
        self.attributes.uncached_tokens(candidate.place)
    }

    /// The stage that the profile chooses for. An endpoint that decodes computes the prompt as well, unless another does.
    pub const fn stage(&self) -> Stage {
        self.stage
    }

    /// Says which stage the next profile chooses for.
    pub const fn set_stage(&mut self, stage: Stage) {
        self.stage = stage;
    }

    /// The endpoint that the profile before chose, with which the next must work together; `None` in the first.
    pub fn peer(&self) -> Option<&'a Arc<Endpoint>> {
        self.peers.last().copied()
    }

    /// The endpoints that the profiles before chose, in order.
    pub fn peers(&self) -> &[&'a Arc<Endpoint>] {
        &self.peers
    }

    /// Says that a profile chose this endpoint.
    pub fn add_peer(&mut self, peer: &'a Arc<Endpoint>) {
        self.peers.push(peer);
    }
}

impl fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("request", &self.request.id).field("now", &self.now).finish_non_exhaustive()
    }
}
