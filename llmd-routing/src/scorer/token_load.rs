//! `token-load-scorer`: the fewer tokens it has to compute, the better.

use serde::Deserialize;

use crate::plugin::{Attributes, Candidate, Candidates, Context, Data, Plugin, Scorer};

/// `1 − min(n, threshold) / threshold`, where `n` counts the uncached tokens of prompts in flight there and of this one.
///
/// Formula: llm-d's `token-load-scorer`.
#[derive(Clone, Debug)]
pub struct TokenLoadScorer {
    threshold: u64,
}

/// The parameters of `token-load-scorer`.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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
            let tokens = candidate.load.tokens.saturating_add(cx.uncached_tokens(&candidate));
            *score = 1.0 - tokens.min(self.threshold) as f64 / self.threshold as f64;
        }
    }

    fn input(&self, attributes: &Attributes, candidate: &Candidate<'_>) -> Option<String> {
        let uncached = attributes.uncached_tokens(candidate.place);
        Some(format!("{} + {uncached} tokens", candidate.load.tokens))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{attributes, pool, prefix, request, scores};

    #[test]
    fn the_fewer_tokens_to_compute_the_better() {
        let pool = pool(3);
        let _guards = [(1, 200), (2, 5000)].map(|(place, tokens): (usize, _)| pool[place].in_flight().admit(tokens));
        let scorer = TokenLoadScorer::new(1000);

        let uncached = Attributes::new(100, None);
        assert_eq!(scores(&scorer, &request(0..100), &pool, &uncached), [0.9, 0.7, 0.0]);

        // 64 of the 100 tokens are cached at the second.
        let cached = attributes(100, "p", &[prefix(0, 6, 16), prefix(4, 6, 16), prefix(0, 6, 16)]);
        assert_eq!(scores(&scorer, &request(0..100), &pool, &cached), [0.9, 1.0 - 0.236, 0.0]);
        assert_eq!(scores(&scorer, &request([]), &pool, &Attributes::default()), [1.0, 0.8, 0.0]);
    }

    #[test]
    fn a_threshold_of_no_tokens_is_taken_for_one() {
        assert_eq!(scores(&TokenLoadScorer::new(0), &request([]), &pool(1), &Attributes::default()), [1.0]);
    }
}
