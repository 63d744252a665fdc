//! The race: the same requests under one policy after the other, each over empty caches.

use std::sync::Arc;

use llmd_core::Result;

use crate::client::{Outcome, Sample};
use crate::console::Console;
use crate::moved::Moved;
use crate::policy::Policy;
use crate::stage::Stage;
use crate::stats::{Sorted, mean};
use crate::trace;
use crate::why::Explanation;
use crate::workload::Job;

/// What one unit that the client sees stands for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    /// Engine time per wall time.
    pub(crate) speed: f64,
    /// Tokens that are counted per token that is sent.
    pub(crate) tokens: usize,
}

impl Scale {
    /// Engines that run so many times faster than real time, on tokens of a trace.
    pub(crate) const fn simulated(speed: f64) -> Self {
        Self { speed, tokens: trace::SCALE }
    }

    /// Engines whose seconds are seconds and whose tokens are tokens.
    pub(crate) const REAL: Self = Self { speed: 1.0, tokens: 1 };
}

/// How one policy fared.
#[derive(Clone, Debug)]
pub(crate) struct RaceResult {
    pub(crate) policy: Policy,
    pub(crate) samples: Vec<Sample>,
    /// Milliseconds of engine time from sending to the first token.
    pub(crate) ttft_ms: Sorted,
    /// Prompt and output tokens of the trace per second of engine time, from the first arrival to the last end.
    pub(crate) throughput: f64,
    /// Cached tokens among all prompt tokens, as the engines report them.
    pub(crate) hit_rate: f64,
    /// Milliseconds of engine time by which requests left later than planned: this program's own share of the delay, and
    /// a sign of a machine that has other things to do.
    pub(crate) late_ms: Sorted,
    /// Microseconds that the gateway took to choose.
    pub(crate) decision_us: Sorted,
    /// Simulated tokens between prediction and report, mean over the requests.
    pub(crate) prediction_error: f64,
    /// What the engines fetched from each other, where they did.
    pub(crate) moved: Option<Moved>,
}

/// Runs every policy; the one that knows every cache also explains its slowest request.
pub(crate) async fn run(
    stage: &Stage,
    jobs: &[Arc<Job>],
    console: Console,
) -> Result<(Vec<RaceResult>, Option<Explanation>)> {
    let mut results = Vec::new();
    let mut explanation = None;
    for policy in Policy::ALL {
        let progress = console.progress(policy.label(), jobs.len());
        let scene = stage.up(policy, policy.name()).await?;
        let samples = scene.client.race(jobs, policy.name(), |_| progress.step()).await;
        let mut result = RaceResult::new(policy, samples, Scale::simulated(stage.speed()));
        if policy.second_half().is_some() {
            result.moved = Some(scene.fleet.moved(&stage.http).await?);
        }
        progress.end(&result.line());
        if policy == Policy::ExactPrefix {
            explanation = Explanation::of_slowest(&scene.client, &result.samples).await?;
        }
        results.push(result);
    }
    Ok((results, explanation))
}

impl RaceResult {
    /// Sums up `samples`.
    pub(crate) fn new(policy: Policy, samples: Vec<Sample>, scale: Scale) -> Self {
        let speed = scale.speed;
        let done: Vec<&Sample> = samples.iter().filter(|sample| sample.is_done()).collect();
        let begin = samples.iter().map(|sample| sample.sent).min().unwrap_or_default();
        let end = samples.iter().map(|sample| sample.ended).max().unwrap_or_default();
        let tokens: usize = done.iter().map(|sample| sample.prompt_tokens + sample.output_tokens).sum();
        let prompt: usize = done.iter().map(|sample| sample.prompt_tokens).sum();
        let cached: usize = done.iter().filter_map(|sample| sample.cached).sum();
        let errors: Vec<f64> =
            done.iter().filter_map(|sample| sample.prediction_error()).map(|tokens| tokens as f64).collect();
        Self {
            policy,
            ttft_ms: Sorted::new(done.iter().filter_map(|sample| sample.ttft_ms(speed)).collect()),
            throughput: (tokens * scale.tokens) as f64 / ((end - begin).as_secs_f64() * speed),
            late_ms: Sorted::new(samples.iter().map(|sample| sample.late.as_secs_f64() * 1000.0 * speed).collect()),
            hit_rate: cached as f64 / prompt as f64,
            decision_us: Sorted::new(done.iter().filter_map(|sample| sample.decision_us).collect()),
            prediction_error: mean(&errors),
            moved: None,
            samples,
        }
    }

    /// Requests that did not end as they should.
    pub(crate) fn failed(&self) -> usize {
        self.samples.iter().filter(|sample| !sample.is_done()).count()
    }

    /// Why the first of them did not.
    pub(crate) fn first_failure(&self) -> Option<String> {
        self.samples.iter().find_map(|sample| match &sample.outcome {
            Outcome::Done => None,
            Outcome::Failed(why) | Outcome::Cut(why) => Some(format!("{}: {why}", sample.id)),
        })
    }

    /// The result in a few words.
    pub(crate) fn line(&self) -> String {
        let (mean, hits) = (self.ttft_ms.mean() / 1000.0, self.hit_rate * 100.0);
        format!("{} requests, {} failed, TTFT mean {mean:.2} s, {hits:.0} % cached", self.samples.len(), self.failed())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::Duration;

    use super::*;

    /// A result whose requests left one wall second apart and waited `ttft_ms` wall milliseconds each.
    pub(crate) fn result(policy: Policy, speed: f64, ttft_ms: &[u64]) -> RaceResult {
        let sample = |(n, &ttft): (usize, &u64)| {
            let sent = Duration::from_secs(n as u64);
            let mut sample = Sample::new(format!("{}-{n}", policy.name()), 90, sent);
            sample.first_token = Some(sent + Duration::from_millis(ttft));
            sample.ended = sent + Duration::from_secs(1);
            (sample.output_tokens, sample.cached, sample.predicted) = (10, Some(45), 48);
            sample.decision_us = Some(20.0 + n as f64);
            sample.outcome = Outcome::Done;
            sample
        };
        RaceResult::new(policy, ttft_ms.iter().enumerate().map(sample).collect(), Scale::simulated(speed))
    }

    #[test]
    fn times_are_engine_time_and_tokens_are_the_traces() {
        let result = result(Policy::ExactPrefix, 10.0, &[10, 20, 30, 40]);

        assert_eq!((result.ttft_ms.percentile(50.0), result.ttft_ms.mean()), (200.0, 250.0));
        assert_eq!(result.throughput, 4.0 * 100.0 * 8.0 / 40.0);
        assert_eq!((result.hit_rate, result.prediction_error), (0.5, 3.0));
        assert_eq!(result.failed(), 0);
    }

    #[test]
    fn what_failed_is_counted_and_left_out_of_the_times() {
        let mut samples = result(Policy::LeastLoad, 10.0, &[10, 20]).samples;
        samples[1].outcome = Outcome::Cut("connection reset".to_owned());
        let result = RaceResult::new(Policy::LeastLoad, samples, Scale::simulated(10.0));

        assert_eq!((result.failed(), result.ttft_ms.percentile(100.0)), (1, 100.0));
        assert_eq!(result.first_failure().unwrap(), "least_load-1: connection reset");
    }
}
