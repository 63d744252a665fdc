//! `utilization-detector`: endpoints whose queue and cache are not full.

use std::time::Duration;

use serde::Deserialize;

use super::saturation::{limit, mean, used};
use crate::EngineMetrics;
use crate::duration::GoDuration;
use crate::plugin::{Candidates, Context, Data, Detector, Filter, Plugin};

/// Keeps the candidates whose queue and whose cache are below `threshold · (1 + headroom)`; all when none is. An endpoint
/// that said nothing, or not of late, is unknown, and kept.
///
/// Formula: llm-d's `utilization-detector`, which takes an endpoint that said nothing of late for full:
/// [`Silent::Saturated`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct UtilizationDetector {
    /// How many requests that wait fill an endpoint. Default: 5.
    pub queue_depth_threshold: u64,
    /// How much of its cache fills it, from 0 to 1. Default: 0.8.
    pub kv_cache_util_threshold: f64,
    /// How old metrics may be. Default: 200 milliseconds.
    pub staleness_threshold: Duration,
    /// How much more than that the filter lets through, as a share. Default: 0.
    pub headroom: f64,
    /// What the filter takes an endpoint for that said nothing of late. Default: unknown.
    pub silent: Silent,
}

/// What an endpoint is taken for that said nothing of late.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, serde::Serialize))]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Silent {
    /// Full, as in llm-d.
    Saturated,
    /// Neither idle nor full.
    #[default]
    Unknown,
}

/// The parameters of `utilization-detector`.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Parameters {
    pub(crate) queue_depth_threshold: u64,
    pub(crate) kv_cache_util_threshold: f64,
    pub(crate) metrics_staleness_threshold: GoDuration,
    pub(crate) headroom: f64,
    /// llmd's own.
    pub(crate) missing_metrics: Silent,
}

impl Default for Parameters {
    fn default() -> Self {
        let UtilizationDetector {
            queue_depth_threshold,
            kv_cache_util_threshold,
            staleness_threshold,
            headroom,
            silent,
        } = UtilizationDetector::default();
        Self {
            queue_depth_threshold,
            kv_cache_util_threshold,
            metrics_staleness_threshold: GoDuration(staleness_threshold),
            headroom,
            missing_metrics: silent,
        }
    }
}

impl Default for UtilizationDetector {
    fn default() -> Self {
        Self {
            queue_depth_threshold: 5,
            kv_cache_util_threshold: 0.8,
            staleness_threshold: Duration::from_millis(200),
            headroom: 0.0,
            silent: Silent::default(),
        }
    }
}

impl From<Parameters> for UtilizationDetector {
    fn from(parameters: Parameters) -> Self {
        Self {
            queue_depth_threshold: parameters.queue_depth_threshold,
            kv_cache_util_threshold: parameters.kv_cache_util_threshold,
            staleness_threshold: parameters.metrics_staleness_threshold.0,
            headroom: parameters.headroom,
            silent: parameters.missing_metrics,
        }
    }
}

impl UtilizationDetector {
    /// What an endpoint said of late.
    fn fresh<'a>(&self, metrics: Option<&'a EngineMetrics>, now: Duration) -> Option<&'a EngineMetrics> {
        metrics.filter(|metrics| now.saturating_sub(metrics.updated) <= self.staleness_threshold)
    }

    fn admits(&self, metrics: &EngineMetrics) -> bool {
        let (waiting, usage) = said(metrics);
        waiting < limit(self.queue_depth_threshold as f64, self.headroom)
            && usage < limit(self.kv_cache_util_threshold, self.headroom)
    }
}

/// Requests that wait and usage of the cache, 0 where it does not say.
fn said(metrics: &EngineMetrics) -> (f64, f64) {
    let usage = metrics.kv_cache_usage.filter(|usage| !usage.is_nan());
    (metrics.waiting_requests.unwrap_or_default() as f64, usage.unwrap_or_default())
}

impl Plugin for UtilizationDetector {
    fn reads(&self) -> Vec<Data> {
        vec![Data::Metrics]
    }

    fn settings(&self) -> String {
        let Self { queue_depth_threshold: waiting, kv_cache_util_threshold: usage, headroom, .. } = self;
        format!("full with {waiting} waiting or {usage} of the cache, headroom {headroom}")
    }
}

impl Filter for UtilizationDetector {
    fn filter(&self, cx: &mut Context<'_>, candidates: &mut Candidates<'_>) {
        let now = cx.now;
        super::retain_or_all(candidates, true, |candidate| {
            let metrics = self.fresh(candidate.metrics, now);
            metrics.map_or(self.silent == Silent::Unknown, |metrics| self.admits(metrics))
        });
    }
}

impl Detector for UtilizationDetector {
    /// The mean of `max(waiting / threshold, usage / threshold)`, where one that said nothing of late counts as full, whatever
    /// [`silent`](Self::silent) says. Without candidates it is 1.
    fn saturation(&self, candidates: &Candidates<'_>, now: Duration) -> f64 {
        mean(candidates.iter().map(|candidate| {
            let metrics = self.fresh(candidate.metrics, now);
            metrics.map_or(1.0, |metrics| {
                let (waiting, usage) = said(metrics);
                used(waiting, self.queue_depth_threshold as f64).max(used(usage, self.kv_cache_util_threshold))
            })
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Pool;
    use crate::plugin::Snapshot;
    use crate::testing::{Chance, metrics, pool, request};

    const NOW: Duration = Duration::from_secs(10);

    /// Requests that wait, usage of the cache, and how many milliseconds ago an endpoint said so.
    type Said = Option<(u64, f64, u64)>;

    fn said(all: &[Said]) -> Pool {
        let pool = pool(all.len() as u32);
        for (endpoint, said) in pool.iter().zip(all) {
            let Some((waiting, usage, ago)) = *said else { continue };
            let updated = NOW - Duration::from_millis(ago);
            endpoint.set_metrics(EngineMetrics { updated, ..metrics(waiting, 0, usage) });
        }
        pool
    }

    fn kept(detector: &UtilizationDetector, pool: &Pool) -> Vec<usize> {
        let (snapshot, request, attributes) = (Snapshot::of(pool), request([]), Default::default());
        let mut chance = Chance::new(0);
        let mut cx = Context::new(&request, &attributes, NOW, &mut chance);
        let mut candidates = Candidates::new(pool, &snapshot);
        detector.filter(&mut cx, &mut candidates);
        candidates.iter().map(|candidate| candidate.place).collect()
    }

    #[test]
    fn those_below_both_thresholds_are_kept_and_all_when_none_is() {
        let of = |headroom, silent| UtilizationDetector { headroom, silent, ..UtilizationDetector::default() };
        let all = said(&[
            Some((4, 0.7, 0)),
            Some((5, 0.1, 0)),
            Some((0, 0.8, 0)),
            Some((9, 0.9, 201)),
            None,
            Some((0, 0.0, 200)),
        ]);
        assert_eq!(kept(&of(0.0, Silent::Unknown), &all), [0, 3, 4, 5]);
        assert_eq!(kept(&of(0.0, Silent::Saturated), &all), [0, 5]);
        assert_eq!(kept(&of(0.2, Silent::Saturated), &all), [0, 1, 2, 5]);
        let full = said(&[Some((5, 0.1, 0)), Some((0, 0.8, 0)), None]);
        assert_eq!(kept(&of(0.0, Silent::Saturated), &full), [0, 1, 2]);
        assert_eq!(kept(&of(0.0, Silent::Unknown), &full), [2]);
    }

    #[test]
    fn saturation_is_the_mean_of_what_is_fullest_at_each() {
        let table: [(&[Said], f64); 6] = [
            (&[Some((0, 0.0, 0))], 0.0),
            (&[Some((5, 0.4, 0)), Some((1, 0.4, 0))], (1.0 + 0.5) / 2.0),
            (&[Some((10, 0.4, 0)), Some((0, 0.8, 0))], (2.0 + 1.0) / 2.0),
            (&[Some((0, 0.0, 201)), Some((0, 0.0, 200))], 0.5),
            (&[None, Some((0, 0.4, 0))], (1.0 + 0.5) / 2.0),
            (&[], 1.0),
        ];
        for (all, expected) in table {
            let pool = said(all);
            let snapshot = Snapshot::of(&pool);
            let saturation = UtilizationDetector::default().saturation(&Candidates::new(&pool, &snapshot), NOW);
            assert!((saturation - expected).abs() < 1e-12, "{all:?}: {saturation}");
        }
    }
}
