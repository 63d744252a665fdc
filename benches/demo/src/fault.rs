//! Breaking it: a crash, lost events and a hang under load; then the index is compared with the true caches.

use std::sync::Arc;
use std::time::Duration;

use llmd_core::Result;
use serde_json::json;

use crate::client::{Outcome, Sample};
use crate::console::Console;
use crate::fleet::Fleet;
use crate::gateway::Gateway;
use crate::index::{Blocks, Change, EXACT, IndexReport};
use crate::policy::Policy;
use crate::stage::{Scene, Stage};
use crate::wait;
use crate::workload::Job;

/// The engine that is killed and restarted.
const CRASHING: usize = 0;
/// The engine that loses event batches on their way.
const LOSING: usize = 1;
/// The engine that hangs for a while.
const HANGING: usize = 2;
/// The share of event batches that are lost.
const LOSS: f64 = 0.05;
/// Engines run so many times slower than in the race: finding out and recovering take wall time, and there should be
/// load meanwhile.
const SLOWDOWN: f64 = 4.0;
/// When the engine is killed, as a share of the time in which requests arrive.
const CRASH_AT: f64 = 0.15;
/// How long it stays away, in wall time.
const AWAY: Duration = Duration::from_millis(300);
/// When the other one hangs, at the earliest, as a share of the time in which requests arrive.
const HANG_AT: f64 = 0.4;
/// For how long, in wall time: a quiet stream is asked after 2 s, and 2 s of silence are an answer too.
const HANG: Duration = Duration::from_millis(4500);
/// How long the index may take to know everything again, in wall time.
const RECOVERY_DEADLINE: Duration = Duration::from_secs(20);

/// What came of it.
#[derive(Clone, Debug)]
pub(crate) struct FaultResult {
    pub(crate) samples: Vec<Sample>,
    /// Wall time from the restarted engine's ready line until the index knew it exactly again; none when it never did.
    pub(crate) recovery: Option<Duration>,
    pub(crate) workers: Vec<WorkerFate>,
}

/// What happened to one engine, and what the index made of it.
#[derive(Clone, Debug)]
pub(crate) struct WorkerFate {
    pub(crate) name: String,
    pub(crate) fault: &'static str,
    pub(crate) timeline: Vec<Change>,
    pub(crate) gaps: u64,
    pub(crate) replays: u64,
    /// Blocks in the engine's cache when everything was quiet.
    pub(crate) blocks: usize,
    /// Blocks about which the index was wrong then, or why it could not be asked.
    pub(crate) wrong_blocks: Result<usize, String>,
}

/// Runs `jobs` under exact prefix routing and breaks three engines meanwhile.
pub(crate) async fn run(stage: &Stage, jobs: &[Arc<Job>], console: Console) -> Result<FaultResult> {
    let progress = console.progress("faults", jobs.len());
    let stage = &stage.slowed(SLOWDOWN);
    let Scene { client, gateway, mut fleet } = stage.up(Policy::ExactPrefix, "fault").await?;
    let arrivals = jobs.last().map_or(Duration::ZERO, |job| job.at).div_f64(stage.speed());
    let load = async { Ok(client.race(jobs, "fault", |_| progress.step()).await) };
    let (samples, recovery) = tokio::try_join!(load, break_engines(stage, &gateway, &mut fleet, arrivals))?;
    let mut workers = Vec::new();
    for n in 0..stage.fleet.engines {
        workers.push(examine(stage, &gateway, &fleet, n).await?);
    }
    let result = FaultResult { samples, recovery, workers };
    let (failed, cut) = (result.failed_before_first_byte(), result.cut_streams());
    progress.end(&format!("{} requests, {failed} failed before the first byte, {cut} cut", jobs.len()));
    Ok(result)
}

impl FaultResult {
    /// Requests of which nothing came back.
    pub(crate) fn failed_before_first_byte(&self) -> usize {
        self.samples.iter().filter(|sample| matches!(sample.outcome, Outcome::Failed(_))).count()
    }

    /// Requests whose answer broke off.
    pub(crate) fn cut_streams(&self) -> usize {
        self.samples.iter().filter(|sample| matches!(sample.outcome, Outcome::Cut(_))).count()
    }

    /// Requests that the gateway sent to more than one engine.
    pub(crate) fn retried(&self) -> usize {
        self.samples.iter().filter(|sample| sample.attempts > 1).count()
    }

    /// Blocks about which the index was wrong; none when it could not be asked about every engine.
    pub(crate) fn wrong_blocks(&self) -> Option<usize> {
        self.workers.iter().map(|worker| worker.wrong_blocks.as_ref().ok()).sum()
    }
}

async fn break_engines(
    stage: &Stage,
    gateway: &Gateway,
    fleet: &mut Fleet,
    arrivals: Duration,
) -> Result<Option<Duration>> {
    let start = stage.clock.now();
    let faults = json!({"drop_events": LOSS, "seed": stage.fleet.seed});
    stage.http.post(&format!("{}/debug/faults", fleet.url(LOSING)), &faults).await?;

    stage.clock.sleep_until(start + arrivals.mul_f64(CRASH_AT)).await;
    let before = IndexReport::ask(&stage.http, &gateway.url).await?.changes(CRASHING);
    fleet.kill(CRASHING);
    stage.clock.sleep_until(stage.clock.now() + AWAY).await;
    fleet.restart(CRASHING).await?;
    let back = stage.clock.now();
    let recovered = wait::until(RECOVERY_DEADLINE, || async {
        let report = IndexReport::ask(&stage.http, &gateway.url).await?;
        Ok(report.has_recovered(CRASHING, before))
    });
    let recovery = recovered.await.ok().map(|()| stage.clock.now() - back);

    stage.clock.sleep_until(start + arrivals.mul_f64(HANG_AT)).await;
    fleet.pause(HANGING)?;
    stage.clock.sleep_until(stage.clock.now() + HANG).await;
    fleet.resume(HANGING)?;
    Ok(recovery)
}

/// Waits until the index knows everything that engine `n` has said, then compares block by block.
async fn examine(stage: &Stage, gateway: &Gateway, fleet: &Fleet, n: usize) -> Result<WorkerFate> {
    let (name, url) = (engine_name(n), fleet.url(n));
    let known = || async {
        let report = IndexReport::ask(&stage.http, &gateway.url).await?;
        let Some(worker) = report.worker(&name) else { return Ok(false) };
        Ok(worker.state == EXACT && Blocks::of_engine(&stage.http, url).await?.is_known_up_to(worker.last_seq))
    };
    let quiet = wait::until(RECOVERY_DEADLINE, known).await;
    let truth = Blocks::of_engine(&stage.http, url).await?;
    let index = Blocks::of_index(&stage.http, &gateway.url, &name).await?;
    let report = IndexReport::ask(&stage.http, &gateway.url).await?;
    let (timeline, gaps, replays) = report
        .worker(&name)
        .map_or_else(Default::default, |worker| (worker.timeline.clone(), worker.gaps, worker.replays));
    Ok(WorkerFate {
        fault: fault_of(n),
        timeline,
        gaps,
        replays,
        blocks: truth.len(),
        wrong_blocks: quiet.map(|()| truth.differ_from(&index)).map_err(|error| error.to_string()),
        name,
    })
}

/// What engine `n` is called.
pub(crate) fn engine_name(n: usize) -> String {
    format!("e{n}")
}

const fn fault_of(n: usize) -> &'static str {
    match n {
        CRASHING => "killed and restarted",
        LOSING => "5 % of its event batches dropped",
        HANGING => "paused for a while",
        _ => "left alone",
    }
}

impl IndexReport {
    /// How often the state of engine `n` has changed.
    pub(crate) fn changes(&self, n: usize) -> usize {
        self.worker(&engine_name(n)).map_or(0, |worker| worker.timeline.len())
    }

    /// Whether engine `n` was not known exactly at some time since its first `before` changes, and is now.
    pub(crate) fn has_recovered(&self, n: usize, before: usize) -> bool {
        self.worker(&engine_name(n)).is_some_and(|worker| {
            let since = worker.timeline.get(before..).unwrap_or_default();
            worker.state == EXACT && since.iter().any(|change| change.state != EXACT)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(states: &[&str]) -> IndexReport {
        let timeline: Vec<_> = states.iter().map(|state| json!({"at": 1.0, "state": state})).collect();
        let worker = json!({"name": "e0", "state": states.last(), "last_seq": 3, "gaps": 0, "replays": 1,
                            "timeline": timeline});
        serde_json::from_value(json!({"workers": [worker]})).unwrap()
    }

    #[test]
    fn an_engine_has_recovered_when_it_was_in_doubt_since_the_crash_and_is_exact_now() {
        let before = report(&["recovering", "exact"]).changes(CRASHING);

        assert!(!report(&["recovering", "exact"]).has_recovered(CRASHING, before), "the crash was not noticed yet");
        assert!(!report(&["recovering", "exact", "recovering"]).has_recovered(CRASHING, before));
        assert!(report(&["recovering", "exact", "recovering", "exact"]).has_recovered(CRASHING, before));
    }

    #[test]
    fn failures_are_told_apart_by_whether_an_answer_had_begun() {
        let mut samples = crate::race::tests::result(Policy::ExactPrefix, 10.0, &[1, 2, 3]).samples;
        samples[0].outcome = Outcome::Failed("502".to_owned());
        samples[1].outcome = Outcome::Cut("reset".to_owned());
        samples[2].attempts = 2;
        let worker = |wrong_blocks: Result<usize, String>| WorkerFate {
            name: "e0".to_owned(),
            fault: fault_of(0),
            timeline: Vec::new(),
            gaps: 0,
            replays: 0,
            blocks: 9,
            wrong_blocks,
        };
        let mut result = FaultResult { samples, recovery: None, workers: vec![worker(Ok(2)), worker(Ok(1))] };

        assert_eq!((result.failed_before_first_byte(), result.cut_streams(), result.retried()), (1, 1, 1));
        assert_eq!(result.wrong_blocks(), Some(3));
        result.workers.push(worker(Err("never quiet".to_owned())));
        assert_eq!(result.wrong_blocks(), None);
    }
}
