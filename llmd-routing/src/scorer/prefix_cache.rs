//! `prefix-cache-scorer`: the more of the prompt is in its cache, the better.

use serde::Deserialize;

use crate::plugin::{Attributes, Candidate, Candidates, Context, Data, Plugin, PrefixMatch, Scorer};

/// `w · L² + (1 − w) · m / t`, where `m` of the prompt's `t` full blocks are cached, `L = min(1, m · block / scale)` and `w`
/// weighs the length of the match against its share of the prompt. An endpoint of which nothing is known scores 0.
///
/// Formula: llm-d's `prefix-cache-scorer`.
#[derive(Clone, Debug)]
pub struct PrefixCacheScorer {
    producer: String,
    length_weight: f64,
    length_scale_tokens: f64,
}

/// The parameters of `prefix-cache-scorer`.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Parameters {
    pub(crate) match_length_weight: f64,
    pub(crate) match_length_scale_tokens: u32,
    pub(crate) prefix_match_info_producer_name: Option<String>,
}

impl Default for Parameters {
    fn default() -> Self {
        Self { match_length_weight: 0.0, match_length_scale_tokens: 8192, prefix_match_info_producer_name: None }
    }
}

impl PrefixCacheScorer {
    /// A scorer of what `producer` finds.
    pub fn new(producer: impl Into<String>) -> Self {
        Self { producer: producer.into(), length_weight: 0.0, length_scale_tokens: 8192.0 }
    }

    /// The same, where the length of the match counts `weight`, from 0 to 1, and `scale` tokens are long.
    #[must_use]
    pub fn with_length(self, weight: f64, scale: u32) -> Self {
        Self { length_weight: weight.clamp(0.0, 1.0), length_scale_tokens: f64::from(scale.max(1)), ..self }
    }

    fn of(&self, found: &PrefixMatch) -> f64 {
        if found.total == 0 {
            return 0.0;
        }
        let blocks = f64::from(found.blocks);
        let length = (blocks * f64::from(found.block_size) / self.length_scale_tokens).min(1.0);
        self.length_weight * length * length + (1.0 - self.length_weight) * blocks / f64::from(found.total)
    }
}

impl Plugin for PrefixCacheScorer {
    fn reads(&self) -> Vec<Data> {
        vec![Data::PrefixMatch(self.producer.clone())]
    }

    fn settings(&self) -> String {
        format!("reads {}", self.producer)
    }
}

impl Scorer for PrefixCacheScorer {
    fn score(&self, cx: &Context<'_>, candidates: &Candidates<'_>, out: &mut [f64]) {
        let Some(matches) = cx.prefix_matches(&self.producer) else { return };
        for (score, candidate) in out.iter_mut().zip(candidates.iter()) {
            *score = matches.get(candidate.place).map_or(0.0, |found| self.of(found));
        }
    }

    fn input(&self, attributes: &Attributes, candidate: &Candidate<'_>) -> Option<String> {
        let found = attributes.prefix_matches(&self.producer)?.get(candidate.place)?;
        Some(format!("{} of {} blocks", found.blocks, found.total))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{attributes, pool, prefix, request, scores};

    #[test]
    fn a_match_counts_by_its_share_and_by_its_length() {
        let matches = [prefix(0, 8, 16), prefix(2, 8, 16), prefix(8, 8, 16), prefix(0, 0, 16)];
        let known = attributes(128, "p", &matches);
        let table = [
            (0.0, 8192, [0.0, 0.25, 1.0, 0.0]),
            // L = 32/64 and 1: 0.25 and 1
            (1.0, 64, [0.0, 0.25, 1.0, 0.0]),
            // 0.5 · (32/128)² + 0.5 · 0.25
            (0.5, 128, [0.0, 0.15625, 1.0, 0.0]),
        ];
        for (weight, scale, expected) in table {
            let scorer = PrefixCacheScorer::new("p").with_length(weight, scale);
            assert_eq!(scores(&scorer, &request(0..128), &pool(4), &known), expected, "{weight} {scale}");
        }
    }

    #[test]
    fn what_its_producer_does_not_say_scores_nothing() {
        let known = attributes(128, "another", &[prefix(8, 8, 16)]);
        assert_eq!(scores(&PrefixCacheScorer::new("p"), &request(0..128), &pool(1), &known), [0.0]);
        assert_eq!(scores(&PrefixCacheScorer::new("p"), &request([]), &pool(1), &Attributes::default()), [0.0]);
    }
}
