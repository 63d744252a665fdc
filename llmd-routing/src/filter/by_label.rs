//! `by-label`, which llm-d deprecates: endpoints by the value of one label.

use serde::Deserialize;

use crate::Endpoint;
use crate::plugin::{Candidates, Context, Filter, Plugin};

/// Keeps the endpoints whose label has one of some values, and, if they are allowed, those without the label.
///
/// Semantics: llm-d's `by-label`, which is deprecated there: [`LabelSelectorFilter`](super::LabelSelectorFilter) says the
/// same and more.
#[derive(Clone, Debug)]
pub struct ByLabelFilter {
    label: String,
    valid_values: Vec<String>,
    allows_no_label: bool,
}

/// The parameters of `by-label`.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Parameters {
    pub(crate) label: String,
    #[serde(default)]
    pub(crate) valid_values: Vec<String>,
    #[serde(default)]
    pub(crate) allows_no_label: bool,
}

impl ByLabelFilter {
    /// A filter that keeps those whose `label` has one of these values.
    pub fn new<V: Into<String>>(label: impl Into<String>, valid_values: impl IntoIterator<Item = V>) -> Self {
        let valid_values = valid_values.into_iter().map(Into::into).collect();
        Self { label: label.into(), valid_values, allows_no_label: false }
    }

    /// The same, which keeps those without the label too, or not.
    #[must_use]
    pub fn allowing_no_label(self, allowed: bool) -> Self {
        Self { allows_no_label: allowed, ..self }
    }

    fn keeps(&self, endpoint: &Endpoint) -> bool {
        match endpoint.labels().get(&self.label) {
            Some(value) => self.valid_values.contains(value),
            // A label that is not there is empty, too.
            None => self.allows_no_label || self.valid_values.iter().any(String::is_empty),
        }
    }
}

impl Plugin for ByLabelFilter {}

impl Filter for ByLabelFilter {
    fn filter(&self, _: &mut Context<'_>, candidates: &mut Candidates<'_>) {
        candidates.retain(|candidate| self.keeps(candidate.endpoint));
    }
}

#[cfg(test)]
mod tests {
    use llmd_core::WorkerId;

    use super::*;

    #[test]
    fn a_label_must_have_one_of_the_values_or_be_allowed_to_be_absent() {
        let labelled = [&[("gpu", "h100")][..], &[("gpu", "l4")], &[]]
            .map(|labels| Endpoint::new("a", "a:1", WorkerId(0)).with_labels(labels.iter().copied()));
        let table: [(&[&str], bool, [bool; 3]); 5] = [
            (&["h100", "h200"], false, [true, false, false]),
            (&["h100", "h200"], true, [true, false, true]),
            (&["h100", "l4"], false, [true, true, false]),
            (&[], true, [false, false, true]),
            (&[""], false, [false, false, true]),
        ];
        for (values, allowed, kept) in table {
            let filter = ByLabelFilter::new("gpu", values.iter().copied()).allowing_no_label(allowed);
            assert_eq!(labelled.each_ref().map(|endpoint| filter.keeps(endpoint)), kept, "{values:?} {allowed}");
        }
    }
}
