//! Breaking it: an engine is killed and started again under load, and the other's events are lost on their way.

use std::sync::Arc;
use std::time::Duration;

use llmd_core::Result;
use tokio::sync::watch;

use super::blocks::held;
use super::drain::drain;
use super::fleet::Fleet;
use super::load::{Load, Pace};
use super::quiet::ask;
use super::relay::Relay;
use super::stage::{Scene, Stage};
use crate::console::Console;
use crate::fault::{FaultResult, WorkerFate, engine_name};
use crate::gateway::Gateway;
use crate::index::{Blocks, IndexReport};
use crate::policy::Policy;
use crate::quiet::QuietResult;
use crate::wait;
use crate::workload::Job;

/// The engine that is killed and started again.
pub(super) const CRASHING: usize = 0;
/// The engine whose event batches are lost now and then.
const LOSING: usize = 1;
/// How long the index may take to know everything again.
const RECOVERY_DEADLINE: Duration = Duration::from_secs(60);
/// Requests that each engine must have answered after the faults, one at a time.
pub(super) const AFTER: usize = 12;
/// Requests after the faults that are tried for that.
const MAX_AFTER: usize = 120;

/// What came of it.
#[derive(Clone, Debug)]
pub(super) struct Broken {
    pub(super) fault: FaultResult,
    /// Batches that the relay lost.
    pub(super) lost: usize,
    /// How long the killed engine was away.
    pub(super) away: Duration,
    /// Requests one at a time when all was over.
    pub(super) after: QuietResult,
}

/// How many questions are asked before the crash and after the recovery. Meanwhile users go on at leisure.
#[derive(Clone, Copy, Debug)]
pub(super) struct Questions {
    pub(super) before: usize,
    pub(super) since: usize,
}

/// Asks `jobs` under exact prefix routing and breaks both engines meanwhile.
pub(super) async fn run(
    stage: &Stage,
    fleet: &mut Fleet,
    jobs: &[Arc<Job>],
    questions: Questions,
    console: Console,
) -> Result<Broken> {
    let relay = Relay::start(&fleet.engines[LOSING].events, stage.seed).await?;
    let scene = stage.up(fleet, Policy::ExactPrefix, "fault", Some((LOSING, &relay))).await?;
    let load = Load::new(&scene.client, jobs, "fault");
    let (pace, paced) = watch::channel(Pace::Brisk);
    let breaking = async {
        let broken = break_engine(stage, fleet, &scene.gateway, &load, questions, &pace, console).await;
        // Whatever came of it, the users go home.
        pace.send_replace(Pace::Over);
        broken
    };
    let (samples, broken) = tokio::join!(load.until_over(&paced), breaking);
    let (away, recovery) = broken?;
    let mut workers = Vec::new();
    for n in 0..fleet.engines.len() {
        workers.push(examine(stage, &scene.gateway, fleet, n).await?);
    }
    let lost = relay.lost();
    let fault = FaultResult { samples, recovery, workers };
    let after = after(stage, fleet, &scene, jobs, console).await?;
    Ok(Broken { fault, lost, away, after })
}

/// Kills an engine under load, starts it again, and waits until the index knows it. Says how long it was away, and how long
/// the index took; none when it never knew it.
async fn break_engine(
    stage: &Stage,
    fleet: &mut Fleet,
    gateway: &Gateway,
    load: &Load<'_>,
    questions: Questions,
    pace: &watch::Sender<Pace>,
    console: Console,
) -> Result<(Duration, Option<Duration>)> {
    asked(load, questions.before).await?;
    let before = IndexReport::ask(&stage.http, &gateway.url).await?.changes(CRASHING);
    let killed = stage.clock.now();
    let engine = &mut fleet.engines[CRASHING];
    engine.kill();
    pace.send_replace(Pace::Leisurely);
    console.block(&format!("{} killed after {} requests, starting again", engine.name, load.asked()));
    engine.start_again()?;
    engine.serves(&stage.http).await?;
    let back = stage.clock.now();
    let recovered = wait::until(RECOVERY_DEADLINE, || async {
        Ok(IndexReport::ask(&stage.http, &gateway.url).await?.has_recovered(CRASHING, before))
    });
    let recovery = recovered.await.ok().map(|()| stage.clock.now() - back);
    console.block(&format!("{} serves again after {:.0} s", engine.name, (back - killed).as_secs_f64()));
    pace.send_replace(Pace::Brisk);
    asked(load, load.asked() + questions.since).await?;
    Ok((back - killed, recovery))
}

/// Waits until so many questions have been asked.
async fn asked(load: &Load<'_>, questions: usize) -> Result<()> {
    wait::until(Duration::from_secs(600), || async { Ok(load.asked() >= questions) }).await
}

/// Waits until the index knows everything that engine `n` has said, then compares block by block with what is left of all
/// that the engine has ever said.
async fn examine(stage: &Stage, gateway: &Gateway, fleet: &mut Fleet, n: usize) -> Result<WorkerFate> {
    let engine = &mut fleet.engines[n];
    let drained = drain(&stage.http, &gateway.url, engine).await;
    let truth = held(&engine.replay.all().await?)?;
    let index = Blocks::of_index(&stage.http, &gateway.url, &engine.name).await?;
    let report = IndexReport::ask(&stage.http, &gateway.url).await?;
    let worker = report.worker(&engine.name);
    Ok(WorkerFate {
        name: engine_name(n),
        fault: if n == CRASHING { "killed and started again" } else { "one of 20 event batches lost" },
        timeline: worker.map(|worker| worker.timeline.clone()).unwrap_or_default(),
        gaps: worker.map_or(0, |worker| worker.gaps),
        replays: worker.map_or(0, |worker| worker.replays),
        blocks: truth.len(),
        wrong_blocks: drained.map(|()| truth.differ_from(&index)).map_err(|error| error.to_string()),
    })
}

/// Asks one question at a time until each engine has answered enough: what the index knows now must be what engines report.
async fn after(
    stage: &Stage,
    fleet: &mut Fleet,
    scene: &Scene,
    jobs: &[Arc<Job>],
    console: Console,
) -> Result<QuietResult> {
    let progress = console.progress("after", AFTER * fleet.engines.len());
    let mut result = QuietResult { samples: Vec::new(), whole_blocks: 0, salted: 0, adapted: 0 };
    while result.samples.len() < MAX_AFTER && fewest(&result, fleet.engines.len()) < AFTER {
        let n = result.samples.len();
        let sample = ask(stage, scene, fleet, &jobs[n % jobs.len()], format!("after-{n}")).await?;
        result.samples.push(sample);
        progress.step();
    }
    let error = result.error().map_or_else(|| "unknown".to_owned(), |error| format!("{error} tokens"));
    let (asked, hits) = (result.samples.len(), result.hits());
    progress.end(&format!("{asked} requests one at a time, {hits} with a hit, predictions off by {error}"));
    Ok(result)
}

/// How many requests that engine answered which answered fewest.
pub(super) fn fewest(result: &QuietResult, engines: usize) -> usize {
    let answered = |n| result.samples.iter().filter(|sample| sample.endpoint == engine_name(n)).count();
    (0..engines).map(answered).min().unwrap_or(0)
}
