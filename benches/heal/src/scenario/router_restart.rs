//! A router writes a snapshot, ends, and begins again with it while the engines go on: from then until it is exact about all
//! of them.

use std::time::Duration;

use llmd_core::Result;
use llmd_core::feed::Feed;
use llmd_core::index::WorkerState;

use super::Healed;
use crate::follower::{Follower, enlist};
use crate::stage::{Plan, Stage, until};

/// How long the router is away.
const AWAY: Duration = Duration::from_millis(500);
/// How long everything runs between two faults.
const BETWEEN: Duration = Duration::from_millis(500);

pub(super) async fn run(plan: &Plan) -> Result<Healed> {
    let stage = Stage::set(plan).await?;
    let sources = stage.sources();
    let feed = Feed::new(plan.index())?;
    enlist(&feed, &sources)?;
    let mut router = (Follower::start(&feed, &sources, plan.clock, &stage.sampler), feed);
    stage.warm_up(100).await?;
    let mut took = Vec::new();
    for _ in 0..plan.rounds {
        let (follower, feed) = router;
        let snapshot = feed.snapshot();
        drop((follower, feed));
        tokio::time::sleep(AWAY).await;
        let begins = plan.clock.now();
        let feed = Feed::restore(plan.index(), &snapshot)?;
        enlist(&feed, &sources)?;
        let follower = Follower::start(&feed, &sources, plan.clock, &stage.sampler);
        let is_exact = |said: &crate::sample::Sample| said.state == WorkerState::Exact;
        let all = || (0..plan.engines).all(|n| stage.sampler.any_since(n, begins, is_exact));
        until("a router that is exact about every engine", async || Ok(all())).await?;
        let said = stage.sampler.all();
        let first = |n: usize| said.iter().find(|said| said.worker == n && said.at >= begins && is_exact(said));
        took.extend((0..plan.engines).filter_map(first).map(|said| said.at - begins).max());
        tokio::time::sleep(BETWEEN).await;
        router = (follower, feed);
    }
    let verdict = stage.judge().await?;
    drop(router);
    Ok(Healed { took, verdict })
}
