//! What a cached block is worth, by what it lies on.

use llmd_core::Medium;
use llmd_core::index::WorkerOverlap;

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

    /// The weights of an overlap's leading blocks, and of `speculative` more, which count 1, summed and rounded down.
    ///
    /// A block counts for the best of the media whose own prefix reaches that far. Where no single medium does, the
    /// overlap does not say what the block lies on, and it counts for the least.
    pub(super) fn blocks(self, overlap: &WorkerOverlap, speculative: u32) -> u32 {
        let least = self.0.into_iter().fold(f64::INFINITY, f64::min);
        let mut ends = [0; Medium::ALL.len() + 1];
        ends[1..].copy_from_slice(&overlap.leading_by_medium);
        ends[0] = overlap.leading;
        ends.sort_unstable();
        let (mut start, mut sum) = (0, f64::from(speculative));
        for end in ends {
            let reaching = Medium::ALL.into_iter().filter(|&medium| overlap.on(medium) > start);
            let best = reaching.map(|medium| self.0[medium.index()]).reduce(f64::max);
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
            assert_eq!(TierWeights::default().blocks(&overlap, 0), blocks, "{overlap:?}");
        }
    }

    #[test]
    fn what_is_expected_counts_in_full() {
        assert_eq!(TierWeights::default().blocks(&overlap(10, 0, 10, 0), 3), 11);
    }
}
