//! What a metric counts for that an engine does not report.

use serde::Deserialize;

/// What a metric counts for that an engine does not report.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, serde::Serialize))]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum MissingMetrics {
    /// It is unknown, and scores 0.5: neither idle nor full.
    #[default]
    Unknown,
    /// It is 0, as in llm-d: an engine that says nothing is idle.
    Zero,
}

/// The parameters of a scorer of metrics.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Parameters {
    /// llmd's own.
    pub(crate) missing_metrics: MissingMetrics,
}

impl MissingMetrics {
    /// What an engine says, or what it counts for that it does not.
    pub(super) fn or<N: Default>(self, said: Option<N>) -> Option<N> {
        match self {
            Self::Unknown => said,
            Self::Zero => said.or_else(|| Some(N::default())),
        }
    }
}
