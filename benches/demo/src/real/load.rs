//! Users who ask one question after the other: the load follows the speed of the engines, whatever machine it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::watch;

use crate::client::{Client, Sample};
use crate::workload::Job;

/// Users at one time.
pub(super) const USERS: usize = 4;
/// How long a user waits between questions when they are in no hurry.
const LEISURE: Duration = Duration::from_secs(2);

/// How users ask.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Pace {
    /// As soon as the answer is there.
    Brisk,
    /// Some time after the answer.
    Leisurely,
    /// No more.
    Over,
}

/// Questions and how many of them have been asked.
#[derive(Debug)]
pub(super) struct Load<'a> {
    client: &'a Client,
    jobs: &'a [Arc<Job>],
    prefix: &'a str,
    asked: AtomicUsize,
}

impl<'a> Load<'a> {
    /// Questions of which none has been asked. Request n has the id `{prefix}-{n}`.
    pub(super) const fn new(client: &'a Client, jobs: &'a [Arc<Job>], prefix: &'a str) -> Self {
        Self { client, jobs, prefix, asked: AtomicUsize::new(0) }
    }

    /// Every question once.
    pub(super) async fn once(&self, seen: impl Fn(&Sample)) -> Vec<Sample> {
        self.users(async || {
            let mut samples = Vec::new();
            while let Some((n, job)) = self.next().and_then(|n| Some((n, self.jobs.get(n)?))) {
                samples.push(self.ask(n, job).await);
                samples.last().into_iter().for_each(&seen);
            }
            samples
        })
        .await
    }

    /// The questions again and again, until the pace says that it is over.
    pub(super) async fn until_over(&self, pace: &watch::Receiver<Pace>) -> Vec<Sample> {
        self.users(async || {
            let (mut pace, mut samples) = (pace.clone(), Vec::new());
            loop {
                let now = *pace.borrow_and_update();
                if now == Pace::Over {
                    return samples;
                }
                let Some(n) = self.next() else { return samples };
                samples.push(self.ask(n, &self.jobs[n % self.jobs.len()]).await);
                if now == Pace::Leisurely {
                    // Whether the pace has changed or the time has passed, the user goes on.
                    drop(tokio::time::timeout(LEISURE, pace.changed()).await);
                }
            }
        })
        .await
    }

    /// How many questions have been asked.
    pub(super) fn asked(&self) -> usize {
        // A count that nothing else depends on.
        self.asked.load(Ordering::Relaxed)
    }

    async fn users(&self, user: impl AsyncFn() -> Vec<Sample>) -> Vec<Sample> {
        let mut samples: Vec<Sample> = join_all((0..USERS).map(|_| user())).await.into_iter().flatten().collect();
        samples.sort_by_key(Sample::number);
        samples
    }

    fn next(&self) -> Option<usize> {
        (!self.jobs.is_empty()).then(|| self.asked.fetch_add(1, Ordering::Relaxed))
    }

    async fn ask(&self, n: usize, job: &Job) -> Sample {
        // Times count from the clock's beginning.
        self.client.send(job, format!("{}-{n}", self.prefix), Duration::ZERO).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::http::Http;
    use crate::real::conversation::{jobs, tests::texts};

    /// A client of a gateway that is not there: every question fails at once.
    fn client() -> Client {
        Client { http: Http::new(), clock: Clock::start(), speed: 1.0, gateway: "http://127.0.0.1:1".to_owned() }
    }

    #[tokio::test]
    async fn every_question_is_asked_once() {
        let (client, jobs) = (client(), jobs(&texts(), 30, 7));
        let samples = Load::new(&client, &jobs, "once").once(|_| ()).await;

        let numbers: Vec<_> = samples.iter().map(Sample::number).collect();
        assert_eq!(numbers, (0..30).map(Some).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn questions_come_again_until_it_is_over() {
        let (client, jobs) = (client(), jobs(&texts(), 3, 7));
        let load = Load::new(&client, &jobs, "again");
        let (pace, paced) = watch::channel(Pace::Brisk);
        let end = async {
            crate::wait::until(Duration::from_secs(60), || async { Ok(load.asked() > 20) }).await.unwrap();
            pace.send_replace(Pace::Over);
        };
        let (samples, ()) = tokio::join!(load.until_over(&paced), end);

        assert_eq!(samples.len(), load.asked());
        assert!(samples.len() > 20);
    }
}
