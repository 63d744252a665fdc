//! What is broken, one kind in each file: what it takes until the index is exact again, and what it said meanwhile.

mod engine_restart;
mod lost;
mod router_restart;

use std::time::Duration;

use llmd_core::Result;
use llmd_core::WorkerId;
use llmd_core::index::ExactIndex;
use llmd_gateway::Clock;
use llmd_gateway::events::{EventSettings, KvEventSource, Subscriptions};

use crate::checked::Checked;
use crate::stage::{Plan, Stage};
use crate::truth::Verdict;

/// What came of one kind of fault.
#[derive(Debug)]
pub(crate) struct Healed {
    /// How long it took each time until the index was exact again.
    pub(crate) took: Vec<Duration>,
    pub(crate) verdict: Verdict,
}

/// A kind of fault.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Scenario {
    EngineRestart,
    Lost,
    RouterRestart,
}

impl Scenario {
    pub(crate) const ALL: [Self; 3] = [Self::EngineRestart, Self::RouterRestart, Self::Lost];

    /// As figures name it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::EngineRestart => "engine_restart",
            Self::Lost => "lost_1pct",
            Self::RouterRestart => "router_restart",
        }
    }

    /// Breaks things, and says what came of it.
    ///
    /// # Errors
    ///
    /// When something does not come up, or the index does not heal in time.
    pub(crate) async fn run(self, plan: &Plan) -> Result<Healed> {
        match self {
            Self::EngineRestart => engine_restart::run(plan).await,
            Self::Lost => lost::run(plan).await,
            Self::RouterRestart => router_restart::run(plan).await,
        }
    }
}

/// The gateway's own follower, which writes an index that notes what it says; engine `n` publishes at `events(n)`.
fn follow(stage: &Stage, plan: &Plan, events: impl Fn(usize) -> String) -> Result<Subscriptions> {
    let writer = Checked::new(ExactIndex::new(plan.index()), stage.sampler.clone());
    let subscriptions = Subscriptions::start(EventSettings::default(), writer, Clock::start());
    for n in 0..plan.engines {
        let ready = stage.ready(n);
        let source =
            KvEventSource { endpoint: events(n), replay_endpoint: Some(ready.replay.clone()), topic: String::new() };
        subscriptions.watch(WorkerId(n as u32), ready.name.clone(), source)?;
    }
    Ok(subscriptions)
}
