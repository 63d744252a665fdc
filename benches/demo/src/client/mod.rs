//! The load generator: requests leave on schedule, whatever became of those before them.

mod sample;
mod stream;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::clock::Clock;
use crate::http::Http;
use crate::workload::Job;

pub(crate) use sample::{Outcome, Sample};

/// Requests under way at once. A request that finds them all taken waits and is counted as late, never dropped.
const MAX_UNDER_WAY: usize = 4096;

/// Sends requests to a gateway and sees how they fare.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) http: Http,
    pub(crate) clock: Clock,
    /// Engine time per wall time.
    pub(crate) speed: f64,
    /// The gateway, as in `http://127.0.0.1:8080`.
    pub(crate) gateway: String,
}

impl Client {
    /// Sends every job at its time and waits for all of them. Request n has the id `{prefix}-{n}`. The samples come in
    /// the order of the jobs.
    pub(crate) async fn race(&self, jobs: &[Arc<Job>], prefix: &str, seen: impl Fn(&Sample)) -> Vec<Sample> {
        let permits = Arc::new(Semaphore::new(MAX_UNDER_WAY));
        let start = self.clock.now();
        let mut under_way = JoinSet::new();
        let mut samples = Vec::with_capacity(jobs.len());
        for (n, job) in jobs.iter().enumerate() {
            let due = start + job.at.div_f64(self.speed);
            self.clock.sleep_until(due).await;
            let permit = Arc::clone(&permits).acquire_owned().await.expect("the semaphore is never closed");
            let (client, job, id) = (self.clone(), Arc::clone(job), format!("{prefix}-{n}"));
            under_way.spawn(async move {
                let late = client.clock.now().saturating_sub(due);
                let sample = Sample { late, ..client.send(&job, id, start).await };
                drop(permit);
                sample
            });
            while let Some(sample) = under_way.try_join_next() {
                collect(sample, &seen, &mut samples);
            }
        }
        while let Some(sample) = under_way.join_next().await {
            collect(sample, &seen, &mut samples);
        }
        samples.sort_by_key(|sample| sample.number());
        samples
    }

    /// Sends one job now and reads its answer to the end. Times count from `start`.
    pub(crate) async fn send(&self, job: &Job, id: String, start: Duration) -> Sample {
        let mut sample = Sample::new(id, job.prompt_tokens, self.clock.now().saturating_sub(start));
        sample.outcome = stream::exchange(self, job, &mut sample, start).await;
        sample.ended = self.clock.now().saturating_sub(start);
        sample
    }
}

fn collect(sample: Result<Sample, tokio::task::JoinError>, seen: &impl Fn(&Sample), samples: &mut Vec<Sample>) {
    let sample = sample.expect("a request neither panics nor is aborted while its race is on");
    seen(&sample);
    samples.push(sample);
}
