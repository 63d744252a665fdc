//! The race: the same questions under one policy after the other, each over empty caches.

use std::sync::Arc;

use llmd_core::Result;

use super::fleet::Fleet;
use super::load::Load;
use super::stage::{Scene, Stage};
use crate::console::Console;
use crate::policy::Policy;
use crate::race::{RaceResult, Scale};
use crate::why::Explanation;
use crate::workload::Job;

/// The policies that race; the last one knows most.
pub(super) const POLICIES: [Policy; 2] = [Policy::RoundRobin, Policy::ExactPrefix];

/// Runs every policy; the last one also explains its slowest request.
pub(super) async fn run(
    stage: &Stage,
    fleet: &mut Fleet,
    jobs: &[Arc<Job>],
    console: Console,
) -> Result<(Vec<RaceResult>, Option<Explanation>)> {
    let mut results = Vec::new();
    let mut explanation = None;
    for policy in POLICIES {
        let progress = console.progress(policy.label(), jobs.len());
        fleet.forget(&stage.http).await?;
        let Scene { client, gateway: _gateway } = stage.up(fleet, policy, policy.name(), None).await?;
        let samples = Load::new(&client, jobs, policy.name()).once(|_| progress.step()).await;
        let result = RaceResult::new(policy, samples, Scale::REAL);
        progress.end(&result.line());
        if policy == Policy::ExactPrefix {
            explanation = Explanation::of_slowest(&client, &result.samples).await?;
        }
        results.push(result);
    }
    Ok((results, explanation))
}
