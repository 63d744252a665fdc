//! One of a hundred batches is lost on its way: from each loss until the index has what was in it and is exact.

use llmd_core::Result;
use llmd_core::index::WorkerState;

use super::{Healed, follow};
use crate::relay::Relay;
use crate::stage::{Plan, Stage};

pub(super) async fn run(plan: &Plan) -> Result<Healed> {
    let stage = Stage::set(plan).await?;
    let mut relays = Vec::new();
    for n in 0..plan.engines {
        relays.push(Relay::start(&stage.ready(n).kv_events, plan.clock, plan.seed + n as u64).await?);
    }
    let subscriptions = follow(&stage, plan, |n| relays[n].endpoint.clone())?;
    stage.warm_up(100).await?;
    let start = plan.clock.now();
    tokio::time::sleep(plan.losing).await;
    for tap in &stage.taps {
        tap.fill().await?;
    }
    let stamps: Vec<Vec<_>> = relays
        .iter()
        .zip(&stage.taps)
        .map(|(relay, tap)| {
            let lost = relay.lost().into_iter().filter(|&(at, _)| at >= start);
            lost.filter_map(|(at, seq)| Some((at, f64::from_bits(tap.stamp_of(seq)?)))).collect()
        })
        .collect();
    let sampler = stage.sampler.clone();
    let verdict = stage.judge().await?;
    drop(subscriptions);
    let said = sampler.all();
    let took = stamps.iter().enumerate().flat_map(|(n, lost)| {
        let exact = said.iter().filter(move |said| said.worker == n && said.state == WorkerState::Exact);
        lost.iter().filter_map(move |&(at, stamp)| {
            let has_it = |said: &&crate::sample::Sample| {
                said.at >= at && said.stamp.is_some_and(|it| f64::from_bits(it) >= stamp)
            };
            exact.clone().find(has_it).map(|said| said.at - at)
        })
    });
    Ok(Healed { took: took.collect(), verdict })
}
