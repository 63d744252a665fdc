//! `label-selector-filter`: endpoints whose labels match a Kubernetes label selector.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::plugin::{Candidates, Context, Filter, Plugin};

type Labels = BTreeMap<String, String>;

/// What labels must be like: every pair of `match_labels` and every one of `match_expressions` holds. An empty selector
/// matches everything.
///
/// Semantics: the Kubernetes API's `LabelSelector`.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[expect(clippy::exhaustive_structs, reason = "Kubernetes' type, which has these two fields")]
pub struct LabelSelector {
    /// Labels and the values that they must have.
    pub match_labels: Labels,
    /// Further requirements.
    pub match_expressions: Vec<Requirement>,
}

/// What one label must be like.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(!try_from, with = "Expression"))]
#[serde(try_from = "Expression")]
#[non_exhaustive]
pub enum Requirement {
    /// It is there, with one of these values.
    In(String, Vec<String>),
    /// It is not there, or has another value than these.
    NotIn(String, Vec<String>),
    /// It is there.
    Exists(String),
    /// It is not there.
    DoesNotExist(String),
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
}

#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct Expression {
    key: String,
    operator: Operator,
    #[serde(default)]
    values: Vec<String>,
}

impl TryFrom<Expression> for Requirement {
    type Error = String;

    fn try_from(Expression { key, operator, values }: Expression) -> Result<Self, String> {
        match operator {
            Operator::In | Operator::NotIn if values.is_empty() => {
                Err(format!("operator {operator:?} of label {key} needs at least one of `values`"))
            }
            Operator::In => Ok(Self::In(key, values)),
            Operator::NotIn => Ok(Self::NotIn(key, values)),
            Operator::Exists | Operator::DoesNotExist if !values.is_empty() => {
                Err(format!("operator {operator:?} of label {key} takes no `values`"))
            }
            Operator::Exists => Ok(Self::Exists(key)),
            Operator::DoesNotExist => Ok(Self::DoesNotExist(key)),
        }
    }
}

impl Requirement {
    fn holds(&self, labels: &Labels) -> bool {
        match self {
            Self::In(key, values) => labels.get(key).is_some_and(|value| values.contains(value)),
            Self::NotIn(key, values) => labels.get(key).is_none_or(|value| !values.contains(value)),
            Self::Exists(key) => labels.contains_key(key),
            Self::DoesNotExist(key) => !labels.contains_key(key),
        }
    }
}

impl LabelSelector {
    /// Whether these labels are so.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value))
            && self.match_expressions.iter().all(|requirement| requirement.holds(labels))
    }
}

/// Keeps the endpoints whose labels match.
#[derive(Clone, Debug)]
pub struct LabelSelectorFilter(LabelSelector);

impl LabelSelectorFilter {
    /// A filter by this selector.
    pub const fn new(selector: LabelSelector) -> Self {
        Self(selector)
    }
}

impl Plugin for LabelSelectorFilter {}

impl Filter for LabelSelectorFilter {
    fn filter(&self, _: &mut Context<'_>, candidates: &mut Candidates<'_>) {
        candidates.retain(|candidate| self.0.matches(candidate.endpoint.labels()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn each_operator_is_kubernetes_own() {
        let gpu = || vec!["h100".to_owned(), "h200".to_owned()];
        let table = [
            (Requirement::In("gpu".into(), gpu()), [true, false, false]),
            (Requirement::NotIn("gpu".into(), gpu()), [false, true, true]),
            (Requirement::Exists("gpu".into()), [true, true, false]),
            (Requirement::DoesNotExist("gpu".into()), [false, false, true]),
        ];
        for (requirement, holds) in table {
            let labelled = [&[("gpu", "h100")][..], &[("gpu", "l4")], &[]].map(labels);
            assert_eq!(labelled.each_ref().map(|labels| requirement.holds(labels)), holds, "{requirement:?}");
        }
    }

    #[test]
    fn everything_asked_for_must_hold() {
        let selector = LabelSelector {
            match_labels: labels(&[("app", "vllm")]),
            match_expressions: vec![Requirement::Exists("gpu".into())],
        };

        assert!(selector.matches(&labels(&[("app", "vllm"), ("gpu", "h100")])));
        assert!(!selector.matches(&labels(&[("app", "vllm")])));
        assert!(!selector.matches(&labels(&[("app", "sglang"), ("gpu", "h100")])));
        assert!(LabelSelector::default().matches(&labels(&[])));
    }
}
