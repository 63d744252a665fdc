//! `endpoint-attribute-filter`: endpoints by a number that others measure of them.

use serde::Deserialize;

use crate::plugin::{Candidates, Context, Data, Filter, Plugin};

/// Keeps the candidates whose attribute compares true with a value.
///
/// Semantics: llm-d's `endpoint-attribute-filter`, which is experimental there.
#[derive(Clone, Debug)]
pub struct EndpointAttributeFilter {
    attribute: String,
    operator: Operator,
    value: f64,
    on_missing: OnMissing,
    fallback_on_empty: bool,
}

/// How an attribute is compared with the value.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[expect(clippy::exhaustive_enums, reason = "there are no other comparisons")]
pub enum Operator {
    /// It is the value.
    Equal,
    /// It is above the value.
    GreaterThan,
    /// It is not below the value.
    GreaterThanOrEqual,
    /// It is below the value.
    LessThan,
    /// It is not above the value.
    LessThanOrEqual,
    /// It is not the value.
    NotEqual,
}

/// What becomes of an endpoint that does not have the attribute.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, serde::Serialize))]
#[non_exhaustive]
pub enum OnMissing {
    /// It is taken out.
    Fail,
    /// It is kept.
    #[default]
    Pass,
}

/// The parameters of `endpoint-attribute-filter`.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Parameters {
    pub(crate) attribute: String,
    /// An endpoint has an attribute once, whoever measures it.
    #[serde(default)]
    pub(crate) producer: Option<String>,
    #[serde(default)]
    pub(crate) on_missing: OnMissing,
    #[serde(default)]
    pub(crate) fallback_on_empty: bool,
    pub(crate) algorithm: Algorithm,
}

#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Algorithm {
    #[serde(rename = "type")]
    _type: AlgorithmType,
    pub(crate) threshold: Threshold,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
enum AlgorithmType {
    Threshold,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Threshold {
    pub(crate) operator: Operator,
    #[serde(default)]
    pub(crate) value: f64,
}

impl EndpointAttributeFilter {
    /// A filter that keeps those whose `attribute` compares true with `value`, and those that do not have it.
    pub fn new(attribute: impl Into<String>, operator: Operator, value: f64) -> Self {
        let attribute = attribute.into();
        Self { attribute, operator, value, on_missing: OnMissing::default(), fallback_on_empty: false }
    }

    /// The same, which does this with those that do not have the attribute.
    #[must_use]
    pub fn on_missing(self, on_missing: OnMissing) -> Self {
        Self { on_missing, ..self }
    }

    /// The same, which keeps all when it would keep nobody, or not.
    #[must_use]
    pub fn falling_back(self, fallback_on_empty: bool) -> Self {
        Self { fallback_on_empty, ..self }
    }
}

impl Operator {
    fn holds(self, attribute: f64, value: f64) -> bool {
        match self {
            Self::Equal => attribute == value,
            Self::GreaterThan => attribute > value,
            Self::GreaterThanOrEqual => attribute >= value,
            Self::LessThan => attribute < value,
            Self::LessThanOrEqual => attribute <= value,
            Self::NotEqual => attribute != value,
        }
    }
}

impl Plugin for EndpointAttributeFilter {
    fn reads(&self) -> Vec<Data> {
        vec![Data::EndpointAttributes]
    }

    fn settings(&self) -> String {
        format!("{} {:?} {}", self.attribute, self.operator, self.value)
    }
}

impl Filter for EndpointAttributeFilter {
    fn filter(&self, _: &mut Context<'_>, candidates: &mut Candidates<'_>) {
        super::retain_or_all(candidates, self.fallback_on_empty, |candidate| {
            let attribute = candidate.endpoint.attribute(&self.attribute);
            let missing = self.on_missing == OnMissing::Pass;
            attribute.map_or(missing, |attribute| self.operator.holds(attribute, self.value))
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::Attributes;
    use crate::testing::{kept, pool, request};

    fn places(filter: &EndpointAttributeFilter) -> Vec<usize> {
        let pool = pool(4);
        for (endpoint, value) in pool.iter().zip([0.2, 0.5, 0.9]) {
            endpoint.set_attribute("GPUUtilization", value);
        }
        let kept = kept(filter, &request([]), &pool, &Attributes::default());
        (0..4).filter(|&place| kept.iter().any(|name| name == pool[place].name())).collect()
    }

    #[test]
    fn each_operator_compares_as_its_name_says() {
        let table: [(Operator, &[usize]); 6] = [
            (Operator::Equal, &[1]),
            (Operator::GreaterThan, &[2]),
            (Operator::GreaterThanOrEqual, &[1, 2]),
            (Operator::LessThan, &[0]),
            (Operator::LessThanOrEqual, &[0, 1]),
            (Operator::NotEqual, &[0, 2]),
        ];
        for (operator, expected) in table {
            let filter = EndpointAttributeFilter::new("GPUUtilization", operator, 0.5);
            assert_eq!(places(&filter.clone().on_missing(OnMissing::Fail)), expected, "{operator:?}");
            let with_missing: Vec<_> = expected.iter().copied().chain([3]).collect();
            assert_eq!(places(&filter), with_missing, "{operator:?}, and what is missing passes");
        }
    }

    #[test]
    fn when_nobody_is_left_all_are_kept_if_that_is_asked_for() {
        let filter = EndpointAttributeFilter::new("another", Operator::LessThan, 1.0).on_missing(OnMissing::Fail);
        assert_eq!(places(&filter), [0; 0]);
        assert_eq!(places(&filter.falling_back(true)), [0, 1, 2, 3]);
    }
}
