//! What a cached block is worth, by what it lies on.

use llmd_core::Medium;
use llmd_core::index::WorkerOverlap;

use crate::EngineMetrics;

/// What a block counts by what it lies on; the best medium of a block counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TierWeights([f64; Medium::ALL.len()]);

impl Default for TierWeights {
    /// llm-d's: 1 for GPU memory, 0.8 for host memory, 1 for what it does not know.
    fn default() -> Self {
        Self([1.0, 0.8, 1.0])
    }
}

impl TierWeights {
    /// The same, with blocks on `medium` counting `weight`.
    #[must_use]
    pub const fn with(mut self, medium: Medium, weight: f64) -> Self {
        self.0[medium.index()] = weight;
        self
    }

    /// The same, as far as an engine says what its cache saves: a block that is loaded counts `1 − load / prefill`, the share
    /// of the time to compute it that loading it saves, from 0, where loading is no faster, to 1. A block in GPU memory counts 1.
    pub(super) fn measured(mut self, metrics: Option<&EngineMetrics>) -> Self {
        self = self.with(Medium::Gpu, 1.0);
        let Some(metrics) = metrics else { return self };
        let Some(prefill) = metrics.prefill_s_per_token.filter(|&seconds| seconds.is_finite() && seconds > 0.0) else {
            return self;
        };
        for medium in [Medium::Cpu, Medium::Storage] {
            let load = metrics.load_s_per_token[medium.index()];
            if let Some(load) = load.filter(|&seconds| seconds >= 0.0) {
                self = self.with(medium, (1.0 - load / prefill).max(0.0));
            }
        }
        self
    }

    /// The weights of the leading blocks that a worker can use, and of `speculative` more, which count 1, summed and rounded
    /// down. `shared` of them lie on the pool's storage, which counts as storage.
    ///
    /// A block counts for the best of the media whose own prefix reaches that far. Where no single medium does, the
    /// overlap does not say what the block lies on, and it counts for the least.
    #[inline]
    pub(super) fn blocks(&self, overlap: &WorkerOverlap, shared: u32, speculative: u32) -> u32 {
        match overlap.leading_by_medium {
            // Nothing to weigh: so it is with most endpoints, and there are many.
            [leading, 0, 0] if leading == overlap.leading && self.0[Medium::Gpu.index()] == 1.0 => {
                leading + speculative
            }
            _ => self.weigh(overlap, shared, speculative),
        }
    }

    fn weigh(&self, overlap: &WorkerOverlap, shared: u32, speculative: u32) -> u32 {
        let least = self.0.into_iter().fold(f64::INFINITY, f64::min);
        let mut reach = overlap.leading_by_medium;
        reach[Medium::Storage.index()] = reach[Medium::Storage.index()].max(shared);
        let mut ends = [0; Medium::ALL.len() + 1];
        ends[1..].copy_from_slice(&reach);
        ends[0] = overlap.leading;
        ends.sort_unstable();
        let (mut start, mut sum) = (0, f64::from(speculative));
        for end in ends.map(|end| end.min(overlap.leading)) {
            let reaching = (0..reach.len()).filter(|&medium| reach[medium] > start);
            let best = reaching.map(|medium| self.0[medium]).reduce(f64::max);
            sum += f64::from(end - start) * best.unwrap_or(least);
            start = end;
        }
        // Sums of tenths fall short of the whole number that they stand for.
        (sum + 1e-9) as u32
    }
}

#[cfg(test)]
mod tests {
    use llmd_core::WorkerId;

    use super::*;

    fn overlap(leading: u32, gpu: u32, cpu: u32, storage: u32) -> WorkerOverlap {
        let mut overlap = WorkerOverlap::none(WorkerId(0));
        overlap.leading = leading;
        overlap.leading_by_medium = [gpu, cpu, storage];
        overlap
    }

    #[test]
    fn each_block_counts_for_its_best_medium_and_the_sum_is_rounded_down() {
        let table = [
            (overlap(0, 0, 0, 0), 0),
            (overlap(10, 10, 0, 0), 10),
            (overlap(10, 10, 10, 10), 10),
            // 4 + 6 · 0.8 = 8.8
            (overlap(10, 4, 10, 0), 8),
            // 10 · 0.8 = 8
            (overlap(10, 0, 10, 0), 8),
            // 4 · 1 + 6 · 1, storage counting 1
            (overlap(10, 4, 0, 10), 10),
            // 4 on GPU; what the other 6 lie on is not said: 4 + 6 · 0.8
            (overlap(10, 4, 0, 0), 8),
        ];
        for (overlap, blocks) in table {
            assert_eq!(TierWeights::default().blocks(&overlap, 0, 0), blocks, "{overlap:?}");
        }
    }

    #[test]
    fn what_is_expected_counts_in_full() {
        assert_eq!(TierWeights::default().blocks(&overlap(10, 0, 10, 0), 0, 3), 11);
    }

    #[test]
    fn what_lies_on_the_pool_s_storage_counts_as_storage() {
        let weights = TierWeights::default().with(Medium::Storage, 0.5);
        // 4 on GPU and 6 on the pool's storage; the same where the worker holds nothing; and no more than can be used.
        assert_eq!(weights.blocks(&overlap(10, 4, 0, 0), 10, 0), 7);
        assert_eq!(weights.blocks(&overlap(10, 0, 0, 0), 10, 0), 5);
        assert_eq!(weights.blocks(&overlap(6, 4, 0, 0), 10, 0), 5);
    }

    #[test]
    fn a_loaded_block_counts_for_the_time_that_it_saves() {
        let said = |prefill, cpu, storage| {
            let load_s_per_token = [Some(9.0), cpu, storage];
            EngineMetrics { prefill_s_per_token: prefill, load_s_per_token, ..EngineMetrics::default() }
        };
        let configured = [1.0, 0.8, 1.0];
        let table = [
            (Some(said(Some(100e-6), Some(25e-6), Some(60e-6))), [1.0, 0.75, 0.4]),
            // Loading is as slow as computing, and slower.
            (Some(said(Some(100e-6), Some(100e-6), Some(1.0))), [1.0, 0.0, 0.0]),
            (Some(said(Some(100e-6), Some(0.0), None)), [1.0, 1.0, 1.0]),
            // What is not measured, or makes no sense, is as configured.
            (Some(said(Some(100e-6), None, Some(f64::NAN))), configured),
            (Some(said(None, Some(25e-6), Some(60e-6))), configured),
            (Some(said(Some(0.0), Some(25e-6), Some(60e-6))), configured),
            (Some(said(Some(100e-6), Some(-1.0), Some(f64::NEG_INFINITY))), configured),
            (None, configured),
        ];
        for (metrics, expected) in table {
            let TierWeights(weights) = TierWeights::default().measured(metrics.as_ref());
            let near = weights.iter().zip(expected).all(|(weight, expected)| (weight - expected).abs() < 1e-12);
            assert!(near, "{weights:?} {expected:?}");
        }
        let TierWeights(weights) = TierWeights::default().with(Medium::Gpu, 0.3).measured(None);
        assert_eq!(weights, [1.0, 0.8, 1.0], "what is in GPU memory costs nothing");
    }
}
