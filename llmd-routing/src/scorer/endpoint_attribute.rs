//! `endpoint-attribute-scorer`: by a number that others measure of an endpoint.

use serde::Deserialize;

use crate::plugin::{Attributes, Candidate, Candidates, Context, Data, Plugin, Scorer, UNKNOWN};

/// `(value − min) / (max − min)`, from 0 to 1, or 1 less that when [`Better::Lower`]. In an adaptive range, `min` and `max` are
/// those of the candidates, and all score 1 when they are the same. An endpoint without the attribute scores 0.5.
///
/// Formula: llm-d's `endpoint-attribute-scorer`, which is experimental there; an endpoint without the attribute scores 0
/// there: [`MissingAttribute::Zero`].
#[derive(Clone, Debug)]
pub struct EndpointAttributeScorer {
    attribute: String,
    better: Better,
    range: Option<(f64, f64)>,
    missing: MissingAttribute,
}

/// Which values are better.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[expect(clippy::exhaustive_enums, reason = "the one or the other")]
pub enum Better {
    /// High ones.
    #[serde(rename = "linear_higher_is_better")]
    Higher,
    /// Low ones.
    #[serde(rename = "linear_lower_is_better")]
    Lower,
}

/// What an endpoint scores that does not have the attribute.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, serde::Serialize))]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum MissingAttribute {
    /// 0.5: neither good nor bad.
    #[default]
    Unknown,
    /// 0, as in llm-d.
    Zero,
}

/// The parameters of `endpoint-attribute-scorer`.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Parameters {
    pub(crate) attribute_key: String,
    /// An endpoint has an attribute once, whoever measures it.
    #[serde(default)]
    pub(crate) producer: Option<String>,
    pub(crate) algorithm: Algorithm,
    /// llmd's own.
    #[serde(default)]
    pub(crate) missing_attribute: MissingAttribute,
}

#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Algorithm {
    #[serde(rename = "type")]
    pub(crate) better: Better,
    #[serde(default)]
    pub(crate) normalization: Normalization,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Normalization {
    pub(crate) fixed_range: Option<FixedRange>,
    pub(crate) adaptive_range: Option<AdaptiveRange>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub(crate) struct FixedRange {
    pub(crate) min: f64,
    pub(crate) max: f64,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct AdaptiveRange {}

impl EndpointAttributeScorer {
    /// A scorer by `attribute`, in the range of the candidates.
    pub fn new(attribute: impl Into<String>, better: Better) -> Self {
        Self { attribute: attribute.into(), better, range: None, missing: MissingAttribute::default() }
    }

    /// The same, in this range, whose end is above its beginning.
    #[must_use]
    pub fn within(self, min: f64, max: f64) -> Self {
        Self { range: Some((min, max)), ..self }
    }

    /// The same, where those without the attribute score this.
    #[must_use]
    pub fn with_missing(self, missing: MissingAttribute) -> Self {
        Self { missing, ..self }
    }

    /// What is known of a candidate; what is not finite is not.
    fn value(&self, candidate: &Candidate<'_>) -> Option<f64> {
        candidate.endpoint.attribute(&self.attribute).filter(|value| value.is_finite())
    }

    /// From the least to the most of the candidates; `None` when nothing is known of any.
    fn adaptive(&self, candidates: &Candidates<'_>) -> Option<(f64, f64)> {
        let values = candidates.iter().filter_map(|candidate| self.value(&candidate));
        values.map(|value| (value, value)).reduce(|(min, max), (value, _)| (min.min(value), max.max(value)))
    }

    fn of(&self, value: f64, (min, max): (f64, f64)) -> f64 {
        if min == max {
            return 1.0;
        }
        let share = ((value - min) / (max - min)).clamp(0.0, 1.0);
        match self.better {
            Better::Higher => share,
            Better::Lower => 1.0 - share,
        }
    }
}

impl Plugin for EndpointAttributeScorer {
    fn reads(&self) -> Vec<Data> {
        vec![Data::EndpointAttributes]
    }

    fn settings(&self) -> String {
        format!("by {}", self.attribute)
    }
}

impl Scorer for EndpointAttributeScorer {
    fn score(&self, _: &Context<'_>, candidates: &Candidates<'_>, out: &mut [f64]) {
        let range = self.range.or_else(|| self.adaptive(candidates)).unwrap_or_default();
        let missing = match self.missing {
            MissingAttribute::Unknown => UNKNOWN,
            MissingAttribute::Zero => 0.0,
        };
        for (score, candidate) in out.iter_mut().zip(candidates.iter()) {
            *score = self.value(&candidate).map_or(missing, |value| self.of(value, range));
        }
    }

    fn input(&self, _: &Attributes, candidate: &Candidate<'_>) -> Option<String> {
        self.value(candidate).map(|value| format!("{} {value}", self.attribute))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{pool, request, scores};

    fn said(scorer: &EndpointAttributeScorer, values: &[f64]) -> Vec<f64> {
        let pool = pool(values.len() as u32 + 1);
        for (endpoint, &value) in pool.iter().zip(values) {
            endpoint.set_attribute("power", value);
        }
        scores(scorer, &request([]), &pool, &Attributes::default())
    }

    #[test]
    fn a_value_is_placed_in_its_range() {
        let by = |better| EndpointAttributeScorer::new("power", better);
        let table: [(EndpointAttributeScorer, &[f64], &[f64]); 7] = [
            (by(Better::Higher), &[200.0, 300.0, 700.0], &[0.0, 0.2, 1.0, 0.5]),
            (by(Better::Lower), &[200.0, 300.0, 700.0], &[1.0, 0.8, 0.0, 0.5]),
            (by(Better::Lower), &[200.0, 200.0], &[1.0, 1.0, 0.5]),
            (by(Better::Higher).within(0.0, 400.0), &[100.0, 500.0, -5.0], &[0.25, 1.0, 0.0, 0.5]),
            (by(Better::Lower).within(0.0, 400.0), &[100.0, 500.0, -5.0], &[0.75, 0.0, 1.0, 0.5]),
            (by(Better::Lower).with_missing(MissingAttribute::Zero), &[1.0, 2.0], &[1.0, 0.0, 0.0]),
            (by(Better::Lower), &[f64::NAN, 1.0, 2.0], &[0.5, 1.0, 0.0, 0.5]),
        ];
        for (scorer, values, expected) in table {
            assert_eq!(said(&scorer, values), expected, "{scorer:?} {values:?}");
        }
    }
}
