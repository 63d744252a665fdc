//! `token-load-scorer`: the fewer tokens it has to compute, the better.

use serde::Deserialize;

use crate::plugin::{Candidates, Context, Data, Plugin, Scorer};

/// `1 − min(n, threshold) / threshold`, where `n` counts the uncached tokens of prompts in flight there and of this one.
///
/// Formula: llm-d's `token-load-scorer`.
#[derive(Clone, Debug)]
pub struct TokenLoadScorer {
    threshold: u64,
}

/// The parameters of `token-load-scorer`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Parameters {
    pub(crate) queue_threshold_tokens: u64,
}

impl Default for Parameters {
    fn default() -> Self {
        Self { queue_threshold_tokens: 4_194_304 }
    }
}

impl TokenLoadScorer {
    /// A scorer for which `threshold` tokens are a full load; 0 is taken for 1.
    pub fn new(threshold: u64) -> Self {
        Self { threshold: threshold.max(1) }
    }
}

impl Plugin for TokenLoadScorer {
    fn reads(&self) -> Vec<Data> {
        vec![Data::InFlightTokens]
    }
}

impl Scorer for TokenLoadScorer {
    fn score(&self, cx: &Context<'_>, candidates: &Candidates<'_>, out: &mut [f64]) {
        for (score, candidate) in out.iter_mut().zip(candidates.iter()) {
            let tokens = candidate.endpoint.in_flight().tokens().saturating_add(cx.uncached_tokens(&candidate));
            *score = 1.0 - tokens.min(self.threshold) as f64 / self.threshold as f64;
        }
    }
}
