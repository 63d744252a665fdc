//! `mm-embeddings-cache-scorer`: the more of a request's images and other items it has encoded, the better.

use serde::Deserialize;

use crate::plugin::{Attributes, Candidate, Candidates, Context, Data, Plugin, Scorer};

/// The share of the request's multimodal items that an endpoint has encoded, 0 where that is not known.
///
/// Formula: llm-d's `mm-embeddings-cache-scorer`.
#[derive(Clone, Debug)]
pub struct MmEmbeddingsCacheScorer {
    producer: String,
}

/// The parameters of `mm-embeddings-cache-scorer`.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Parameters {
    pub(crate) producer_name: Option<String>,
}

impl MmEmbeddingsCacheScorer {
    /// A scorer of what `producer` finds.
    pub fn new(producer: impl Into<String>) -> Self {
        Self { producer: producer.into() }
    }
}

impl Plugin for MmEmbeddingsCacheScorer {
    fn reads(&self) -> Vec<Data> {
        vec![Data::EncoderMatch(self.producer.clone())]
    }

    fn settings(&self) -> String {
        format!("reads {}", self.producer)
    }
}

impl Scorer for MmEmbeddingsCacheScorer {
    fn score(&self, cx: &Context<'_>, candidates: &Candidates<'_>, out: &mut [f64]) {
        let shares = cx.attributes.encoder_matches(&self.producer).unwrap_or_default();
        for (score, candidate) in out.iter_mut().zip(candidates.iter()) {
            *score = shares.get(candidate.place).copied().unwrap_or(0.0);
        }
    }

    fn input(&self, attributes: &Attributes, candidate: &Candidate<'_>) -> Option<String> {
        let share = attributes.encoder_matches(&self.producer)?.get(candidate.place)?;
        Some(format!("{:.0} % of its items", 100.0 * share))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::testing::{pool, request, scores};

    #[test]
    fn the_share_of_encoded_items_is_the_score() {
        let mut known = Attributes::default();
        known.set_encoder_matches(&Arc::from("m"), vec![0.0, 0.5, 1.0]);
        let said = |producer: &str| scores(&MmEmbeddingsCacheScorer::new(producer), &request([]), &pool(4), &known);
        assert_eq!(said("m"), [0.0, 0.5, 1.0, 0.0]);
        assert_eq!(said("another"), [0.0; 4]);
    }
}
