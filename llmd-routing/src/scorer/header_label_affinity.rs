//! `header-label-affinity-scorer`: endpoints whose label says what a header of the request says.

use serde::Deserialize;

use crate::plugin::{Attributes, Candidate, Candidates, Context, Plugin, Scorer};

/// 1 for endpoints whose label has the value of the request's header, 0 for others; 0 for all without the header.
///
/// Formula: llm-d's `header-label-affinity-scorer`, which is experimental there.
#[derive(Clone, Debug)]
pub struct HeaderLabelAffinityScorer {
    header: String,
    label: String,
}

/// The parameters of `header-label-affinity-scorer`.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Parameters {
    pub(crate) header_name: String,
    pub(crate) label_key: String,
}

impl HeaderLabelAffinityScorer {
    /// A scorer that compares this header with this label.
    pub fn new(header: &str, label: impl Into<String>) -> Self {
        Self { header: header.to_ascii_lowercase(), label: label.into() }
    }
}

impl Plugin for HeaderLabelAffinityScorer {
    fn settings(&self) -> String {
        format!("header {} is label {}", self.header, self.label)
    }
}

impl Scorer for HeaderLabelAffinityScorer {
    fn score(&self, cx: &Context<'_>, candidates: &Candidates<'_>, out: &mut [f64]) {
        let wanted = cx.request.headers.get(&self.header).filter(|value| !value.is_empty());
        let Some(wanted) = wanted else { return };
        for (score, candidate) in out.iter_mut().zip(candidates.iter()) {
            let label = candidate.endpoint.labels().get(&self.label);
            *score = if label.is_some_and(|label| label == wanted) { 1.0 } else { 0.0 };
        }
    }

    fn input(&self, _: &Attributes, candidate: &Candidate<'_>) -> Option<String> {
        candidate.endpoint.labels().get(&self.label).map(|label| format!("{} {label}", self.label))
    }
}

#[cfg(test)]
mod tests {
    use llmd_core::WorkerId;

    use super::*;
    use crate::testing::{request, scores};
    use crate::{Endpoint, Headers, Pool};

    #[test]
    fn a_label_that_says_what_the_header_says_is_best() {
        let labels = [Some("eu"), Some("us"), Some(""), None];
        let endpoint = |(number, label): (u32, Option<&str>)| {
            Endpoint::new(number.to_string(), "a:1", WorkerId(number)).with_labels(label.map(|label| ("where", label)))
        };
        let pool: Pool = (0..).zip(labels).map(endpoint).collect();
        let scorer = HeaderLabelAffinityScorer::new("X-Where", "where");
        for (header, expected) in [("eu", [1.0, 0.0, 0.0, 0.0]), ("asia", [0.0; 4]), ("", [0.0; 4])] {
            let request = request([]).with_headers(Headers::from_iter([("x-where", header)]));
            assert_eq!(scores(&scorer, &request, &pool, &Attributes::default()), expected, "{header}");
        }
        assert_eq!(scores(&scorer, &request([]), &pool, &Attributes::default()), [0.0; 4]);
    }
}
