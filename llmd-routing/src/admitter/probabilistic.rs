//! `probabilistic-admitter`: the fuller the endpoints, the likelier a request of little importance is refused.

use rand::RngExt as _;
use serde::Deserialize;

use super::{TOO_MANY, refusal};
use crate::EngineMetrics;
use crate::plugin::{Admitter, Candidates, Context, Data, Plugin, Refusal};

/// Refuses a request of less importance than 0 with chance `min(s^power · k, 1)`, where `s` is the mean over endpoints of
/// `max(waiting / Q, usage / K)`.
///
/// Formula: llm-d's `probabilistic-admitter`, which takes an endpoint that says nothing for one that has nothing to do; here it
/// is left out of the mean, and where no endpoint says anything, nothing is refused. llm-d's denials reach the client as 500,
/// and here as 429 unless it is told otherwise.
#[derive(Clone, Debug)]
pub struct ProbabilisticAdmitter(ProbabilisticSettings);

/// How a [`ProbabilisticAdmitter`] works. The defaults are llm-d's.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct ProbabilisticSettings {
    /// `Q`: this many waiting requests are a full endpoint. Default: 5.
    pub queue_depth_threshold: f64,
    /// `K`: this much of the cache in use is a full endpoint. Default: 0.8.
    pub kv_cache_threshold: f64,
    /// How steeply the chance rises. Default: 5.
    pub power: f64,
    /// How high. Default: 300.
    pub k: f64,
    /// The status of a refusal. Default: 429.
    pub status: u16,
}

impl Default for ProbabilisticSettings {
    fn default() -> Self {
        Self { queue_depth_threshold: 5.0, kv_cache_threshold: 0.8, power: 5.0, k: 300.0, status: TOO_MANY }
    }
}

/// The parameters of `probabilistic-admitter`.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Parameters {
    pub(crate) queue_depth_threshold: u64,
    pub(crate) kv_cache_util_threshold: f64,
    pub(crate) power: f64,
    pub(crate) k: f64,
    /// llmd's own.
    pub(crate) denial_status: u16,
}

impl Default for Parameters {
    fn default() -> Self {
        let ProbabilisticSettings { queue_depth_threshold, kv_cache_threshold, power, k, status } =
            ProbabilisticSettings::default();
        Self {
            queue_depth_threshold: queue_depth_threshold as u64,
            kv_cache_util_threshold: kv_cache_threshold,
            power,
            k,
            denial_status: status,
        }
    }
}

impl From<Parameters> for ProbabilisticSettings {
    fn from(parameters: Parameters) -> Self {
        Self {
            queue_depth_threshold: parameters.queue_depth_threshold as f64,
            kv_cache_threshold: parameters.kv_cache_util_threshold,
            power: parameters.power,
            k: parameters.k,
            status: parameters.denial_status,
        }
    }
}

impl ProbabilisticAdmitter {
    /// An admitter with these settings.
    pub const fn new(settings: ProbabilisticSettings) -> Self {
        Self(settings)
    }

    /// How full the endpoints are that say anything; `None` when none does.
    fn saturation(&self, candidates: &Candidates<'_>) -> Option<f64> {
        let full = candidates.iter().filter_map(|candidate| candidate.metrics).filter_map(|said| self.full(said));
        let (sum, count) = full.fold((0.0, 0_u32), |(sum, count), full| (sum + full, count + 1));
        (count > 0).then(|| sum / f64::from(count))
    }

    fn full(&self, metrics: &EngineMetrics) -> Option<f64> {
        let waiting = metrics.waiting_requests.map(|waiting| waiting as f64 / self.0.queue_depth_threshold);
        let usage = metrics.kv_cache_usage.filter(|usage| !usage.is_nan());
        let usage = usage.map(|usage| usage / self.0.kv_cache_threshold);
        waiting.into_iter().chain(usage).reduce(f64::max)
    }
}

impl Plugin for ProbabilisticAdmitter {
    fn reads(&self) -> Vec<Data> {
        vec![Data::Metrics]
    }

    fn settings(&self) -> String {
        let ProbabilisticSettings { queue_depth_threshold, kv_cache_threshold, power, k, status } = self.0;
        format!(
            "full at {queue_depth_threshold} waiting or {kv_cache_threshold} of the cache, chance s^{power} · {k}, refuses with \
             {status}"
        )
    }
}

impl Admitter for ProbabilisticAdmitter {
    fn admit(&self, cx: &mut Context<'_>, candidates: &Candidates<'_>) -> Result<(), Refusal> {
        if cx.request.priority >= 0 {
            return Ok(());
        }
        let Some(saturation) = self.saturation(candidates) else { return Ok(()) };
        let chance = (saturation.powf(self.0.power) * self.0.k).min(1.0);
        if cx.rng.random::<f64>() >= chance {
            return Ok(());
        }
        let message =
            format!("endpoints are full to {saturation:.3}, where requests are refused with chance {chance:.2}");
        Err(refusal(self.0.status, message))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::plugin::{Attributes, Snapshot};
    use crate::testing::{Chance, metrics, pool, request};

    /// How many of 4,000 requests of this priority are refused, at endpoints that say this.
    fn refused(priority: i32, said: &[Option<EngineMetrics>]) -> usize {
        let pool = pool(said.len() as u32);
        for (endpoint, said) in pool.iter().zip(said) {
            said.iter().for_each(|said| endpoint.set_metrics(said.clone()));
        }
        let (snapshot, mut chance) = (Snapshot::of(&pool), Chance::new(1));
        let (request, attributes) = (request([]).with_priority(priority), Attributes::default());
        let candidates = Candidates::new(&pool, &snapshot);
        let admitter = ProbabilisticAdmitter::new(ProbabilisticSettings::default());
        let mut admit = || {
            let mut cx = Context::new(&request, &attributes, Duration::ZERO, &mut chance);
            admitter.admit(&mut cx, &candidates)
        };
        (0..4000).filter(|_| admit().is_err()).count()
    }

    #[test]
    fn the_fuller_the_endpoints_the_likelier_a_request_of_little_importance_is_refused() {
        let nan = EngineMetrics { kv_cache_usage: Some(f64::NAN), ..EngineMetrics::default() };
        let usage_alone = EngineMetrics { kv_cache_usage: Some(0.16), ..EngineMetrics::default() };
        // s^5 · 300: 0.2 gives 0.096, 0.25 gives 0.293, 0.4 more than 1.
        let table: [(i32, &[Option<EngineMetrics>], _); 9] = [
            (0, &[Some(metrics(50, 0, 1.0))], 0..=0),
            (-1, &[Some(metrics(0, 0, 0.0))], 0..=0),
            (-1, &[Some(metrics(1, 0, 0.0))], 320..=450),
            (-1, &[Some(metrics(0, 0, 0.16))], 320..=450),
            (-1, &[Some(metrics(0, 0, 0.2)), Some(metrics(0, 0, 0.2))], 1050..=1290),
            // The mean of 0.1 and 0.3.
            (-1, &[Some(metrics(0, 0, 0.08)), Some(metrics(0, 0, 0.24))], 320..=450),
            (-1, &[Some(metrics(2, 0, 0.0))], 4000..=4000),
            // Who says nothing is left out, and what is said counts alone.
            (-1, &[None, Some(usage_alone)], 320..=450),
            (-1, &[None, Some(nan), Some(EngineMetrics::default())], 0..=0),
        ];
        for (priority, said, expected) in table {
            let refused = refused(priority, said);
            assert!(expected.contains(&refused), "{said:?}: {refused} of {expected:?}");
        }
    }
}
