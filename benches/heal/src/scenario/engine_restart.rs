//! An engine is killed under load and started again: from when it serves until the index knows its new cache exactly.

use std::time::Duration;

use llmd_core::Result;
use llmd_core::index::WorkerState;

use super::{Healed, follow};
use crate::stage::{Plan, Stage, until};

/// How long the engine is away.
const AWAY: Duration = Duration::from_millis(300);
/// How long everything runs between two faults.
const BETWEEN: Duration = Duration::from_millis(500);

pub(super) async fn run(plan: &Plan) -> Result<Healed> {
    let mut stage = Stage::set(plan).await?;
    let events: Vec<_> = (0..plan.engines).map(|n| stage.ready(n).kv_events.clone()).collect();
    let subscriptions = follow(&stage, plan, |n| events[n].clone())?;
    stage.warm_up(100).await?;
    let mut took = Vec::new();
    for round in 0..plan.rounds {
        let n = round % plan.engines;
        let killed = plan.clock.now();
        stage.restart(n, AWAY).await?;
        let serves = plan.clock.now();
        // The first batch of the new engine, or one after it: numbers and time go on from there.
        until("the first batch of the new engine", async || {
            stage.taps[n].fill().await?;
            Ok(stage.taps[n].stamp_of(0).is_some())
        })
        .await?;
        let first = stage.taps[n].stamp_of(0).map(f64::from_bits);
        let is_healed = |stamp: Option<u64>| stamp.map(f64::from_bits) >= first && stamp.is_some();
        until("an index that is exact about the new engine", async || {
            let is_so = |said: &crate::sample::Sample| said.state == WorkerState::Exact && is_healed(said.stamp);
            Ok(stage.sampler.any_since(n, killed, is_so))
        })
        .await?;
        let healed = stage.sampler.all().into_iter().find(|said| {
            said.worker == n && said.at >= killed && said.state == WorkerState::Exact && is_healed(said.stamp)
        });
        took.extend(healed.map(|said| said.at.saturating_sub(serves)));
        tokio::time::sleep(BETWEEN).await;
    }
    let verdict = stage.judge().await?;
    drop(subscriptions);
    Ok(Healed { took, verdict })
}
