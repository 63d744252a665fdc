//! What a plugin is: one question per trait, asked of the whole candidate set at once.
//!
//! A [`Filter`] says who may be chosen, a [`Scorer`] how good each of those is, a [`Picker`] which of them it shall be, and
//! a [`ProfileHandler`] which profiles run, for which it may ask a [`Decider`]. Before the scheduler takes its lock, a
//! [`HeaderProcessor`] looks at headers, a [`Producer`] makes what the others read, a [`Screener`] takes out who must not be
//! chosen by any profile, and an [`Admitter`] says whether the request goes anywhere. All of them are told the time, and draw
//! from the caller's random numbers.

mod candidates;
mod context;
mod data;
mod detector;
mod handler;
pub(crate) mod hooks;
mod ranked;
mod refusal;
mod snapshot;
mod stage;

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use candidates::{By, Dropped, candidate};
pub use candidates::{Candidate, Candidates};
pub use context::Context;
pub use data::{Attributes, Data, Latency, PrefixMatch, Why};
pub use detector::Detector;
pub use handler::{Decider, HeaderProcessor, ProfileHandler, Ran};
pub use hooks::{HeaderChanges, Hooks, Picked, Reported, Route};
pub use ranked::Ranked;
pub(crate) use ranked::better;
pub use refusal::Refusal;
pub use snapshot::Snapshot;
pub use stage::{Fallback, Stage, StagePolicy};

use crate::{Endpoint, Request};

/// What all plugins have in common.
pub trait Plugin: Debug + Send + Sync {
    /// What it reads besides the request's id, model and headers and the endpoints' labels. Nothing else is made for it.
    fn reads(&self) -> Vec<Data> {
        Vec::new()
    }

    /// What it wants to be told as the request goes on, of which `attributes` is known; `None` when nothing.
    fn follow(&self, request: &Request, attributes: &Attributes) -> Option<Box<dyn Hooks>> {
        let _ = (request, attributes);
        None
    }

    /// How many things it has dropped so far because a limit of its own was reached.
    fn dropped(&self) -> u64 {
        0
    }

    /// How it is set, for [`Scheduler::describe`](crate::Scheduler::describe); empty when there is nothing to say.
    fn settings(&self) -> String {
        String::new()
    }
}

/// Says who may be chosen.
///
/// An implementation is correct when `testing::filter` says so.
pub trait Filter: Plugin {
    /// Takes candidates out.
    fn filter(&self, cx: &mut Context<'_>, candidates: &mut Candidates<'_>);
}

/// Says how good each candidate is.
///
/// An implementation is correct when `testing::scorer` says so.
pub trait Scorer: Plugin {
    /// Writes a score for each candidate, in their order, into `out`, which is as long as they are many and holds zeros.
    ///
    /// A score is between 0 and 1, and what is outside is clamped; a candidate whose score is not a number is not picked
    /// while there is another. Where nothing is known, the neutral answer is [`UNKNOWN`].
    fn score(&self, cx: &Context<'_>, candidates: &Candidates<'_>, out: &mut [f64]);

    /// What it looked at to score this candidate, in a few words for an explanation; `None` when there is nothing to say.
    fn input(&self, attributes: &Attributes, candidate: &Candidate<'_>) -> Option<String> {
        let _ = (attributes, candidate);
        None
    }
}

/// The score of a candidate about which a scorer knows nothing: neither the best nor the worst.
pub const UNKNOWN: f64 = 0.5;

/// Says which candidates it shall be.
///
/// An implementation is correct when `testing::picker` says so.
pub trait Picker: Plugin {
    /// Pushes one or more places in `scores`, best first, into `out`. `scores` holds the weighted sum for each candidate
    /// and is not empty. The candidates that it leaves out follow by score.
    fn pick(&self, cx: &mut Context<'_>, scores: &[f64], out: &mut Ranked);
}

/// Says who may be chosen by any profile.
pub trait Screener: Plugin {
    /// Takes candidates out. Each screener is given all endpoints, and those remain that every one of them leaves.
    fn screen(&self, cx: &mut Context<'_>, candidates: &mut Candidates<'_>);
}

/// Says whether a request is sent anywhere.
pub trait Admitter: Plugin {
    /// Looks at the endpoints that the screeners left.
    ///
    /// # Errors
    ///
    /// Why the request is refused; the first refusal counts.
    fn admit(&self, cx: &mut Context<'_>, candidates: &Candidates<'_>) -> Result<(), Refusal>;
}

/// Makes what other plugins read.
pub trait Producer: Plugin {
    /// What it makes.
    fn makes(&self) -> Data;

    /// Writes what it knows about this request and each endpoint of `pool` into `out`, outside of the scheduler's lock, and
    /// says what it wants to be told as the request goes on. What it reads of other producers is in `out` by then.
    fn produce(
        &self,
        request: &Request,
        pool: &[Arc<Endpoint>],
        now: Duration,
        out: &mut Attributes,
    ) -> Option<Box<dyn Hooks>>;
}
