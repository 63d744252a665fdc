//! Which profiles a request runs through, and which stage each of them chooses for.

use std::sync::Arc;
use std::time::Duration;

use super::{Attributes, Context, Plugin, Refusal, Stage, StagePolicy};
use crate::{Endpoint, Request};

/// Says which profiles a request runs through, and which of them decides where it goes.
pub trait ProfileHandler: Plugin {
    /// The profile that runs next, by its place in `profiles`, which are names; `None` when enough have run. None runs
    /// twice.
    ///
    /// # Errors
    ///
    /// Why the request is refused.
    fn next(&self, cx: &Context<'_>, profiles: &[String], ran: &[Ran]) -> Result<Option<usize>, Refusal>;

    /// Which of those that ran decides, by its place in `ran`, which is not empty.
    fn primary(&self, ran: &[Ran]) -> usize;

    /// The stage that the profile of this name chooses for.
    fn stage(&self, profile: &str) -> Stage {
        let _ = profile;
        Stage::Decode
    }

    /// What becomes of a request when nobody is left for a stage, and how long a stage may take.
    fn policy(&self, stage: Stage) -> StagePolicy {
        let _ = stage;
        StagePolicy::default()
    }

    /// Whether, after those that `ran`, one endpoint does everything: the profile that runs next, or ran last, decides, and what
    /// others chose does not count.
    fn alone(&self, profiles: &[String], ran: &[Ran]) -> bool {
        let _ = (profiles, ran);
        false
    }

    /// Whether these two may work together on one request: what does not fit `peer` is taken out before filters run.
    fn pairs(&self, peer: &Endpoint, candidate: &Endpoint) -> bool {
        let _ = (peer, candidate);
        true
    }
}

/// A profile that ran.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Ran {
    /// Its place among the profiles.
    pub profile: usize,
    /// The endpoint that it would choose; `None` when its filters left nobody.
    pub picked: Option<Arc<Endpoint>>,
    /// That endpoint's place in the pool.
    pub place: Option<usize>,
}

impl Ran {
    /// The profile at this place ran, and chose the endpoint at that place of the pool.
    pub fn new(profile: usize, picked: Option<(usize, &Arc<Endpoint>)>) -> Self {
        Self {
            profile,
            picked: picked.map(|(_, endpoint)| Arc::clone(endpoint)),
            place: picked.map(|(place, _)| place),
        }
    }
}

/// Says whether a request goes through a stage of its own.
pub trait Decider: Plugin {
    /// Whether the stage before the decode is done elsewhere than at the endpoint at `decode`, a place in the pool; it is
    /// `None` when none was chosen yet.
    fn disaggregates(&self, cx: &Context<'_>, decode: Option<usize>) -> bool;
}

/// Finds something out about a request from its headers alone, before anything else is read.
pub trait HeaderProcessor: Plugin {
    /// Writes what it finds into `out`.
    fn process(&self, request: &Request, now: Duration, out: &mut Attributes);
}
