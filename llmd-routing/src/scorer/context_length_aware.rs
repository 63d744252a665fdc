//! `context-length-aware`: prompts go to endpoints that are meant for prompts of their length.

use serde::Deserialize;

use crate::Endpoint;
use crate::plugin::{Attributes, Candidate, Candidates, Context, Data, Filter, Plugin, Scorer, UNKNOWN};

/// The label that llm-d looks at.
const LABEL: &str = "llm-d.ai/context-length-range";

/// What a prompt out of range scores less than, and one in range more.
const FALLBACK: f64 = 0.3;

/// An endpoint's label says which prompts it is meant for: `0-2048` are those of up to 2,048 tokens.
///
/// In range, the score is `0.3 + 0.7 · (0.7 / (1 + width / 10000) + 0.3 · (max − length) / width)`, and 1 when `width`, which
/// is `max − min`, is 0. Out of range it is `0.3 / (1 + distance / 1000)`. Without the label it is 0.5, and 0 when the label
/// is no range. As a filter, it keeps those in range and those without the label, if it is told to filter.
///
/// Formula: llm-d's `context-length-aware`, which takes a prompt whose length is not known for an empty one; here all score
/// 0.5 then, and all are kept.
#[derive(Clone, Debug)]
pub struct ContextLengthAware {
    label: String,
    filters: bool,
}

/// The parameters of `context-length-aware`.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Parameters {
    pub(crate) label: String,
    pub(crate) enable_filtering: bool,
}

impl Default for Parameters {
    fn default() -> Self {
        Self { label: LABEL.to_owned(), enable_filtering: false }
    }
}

/// Which lengths an endpoint is meant for.
#[derive(Clone, Copy, Debug)]
enum Range {
    /// Any.
    Any,
    /// These, both included.
    Between(u64, u64),
    /// What the label says is no range.
    Nonsense,
}

impl ContextLengthAware {
    /// A scorer by this label, which filters too, or not.
    pub fn new(label: impl Into<String>, filters: bool) -> Self {
        Self { label: label.into(), filters }
    }

    fn range(&self, endpoint: &Endpoint) -> Range {
        endpoint.labels().get(&self.label).map_or(Range::Any, |label| Range::of(label))
    }
}

impl Default for ContextLengthAware {
    fn default() -> Self {
        Self::new(LABEL, false)
    }
}

impl Range {
    fn of(label: &str) -> Self {
        let number = |text: &str| text.trim().parse().ok();
        let bounds = label.split_once('-').and_then(|(min, max)| number(min).zip(number(max)));
        match bounds {
            Some((min, max)) if min <= max => Self::Between(min, max),
            _ => Self::Nonsense,
        }
    }

    fn score(self, length: u64) -> f64 {
        let (min, max) = match self {
            Self::Any => return UNKNOWN,
            Self::Between(min, max) => (min, max),
            Self::Nonsense => return 0.0,
        };
        if !(min..=max).contains(&length) {
            let distance = if length > max { length - max } else { min - length };
            return FALLBACK / (1.0 + distance as f64 / 1000.0);
        }
        if min == max {
            return 1.0;
        }
        let width = (max - min) as f64;
        let raw = 0.7 / (1.0 + width / 10_000.0) + 0.3 * (max - length) as f64 / width;
        FALLBACK + (1.0 - FALLBACK) * raw
    }

    fn keeps(self, length: u64) -> bool {
        match self {
            Self::Any => true,
            Self::Between(min, max) => (min..=max).contains(&length),
            Self::Nonsense => false,
        }
    }
}

/// How many tokens the prompt has; `None` when nobody made them.
fn length(cx: &Context<'_>) -> Option<u64> {
    cx.request.tokens.as_ref().map(|tokens| tokens.len() as u64)
}

impl Plugin for ContextLengthAware {
    fn reads(&self) -> Vec<Data> {
        vec![Data::Tokens]
    }

    fn settings(&self) -> String {
        let filters = if self.filters { ", filters" } else { "" };
        format!("by label {}{filters}", self.label)
    }
}

impl Filter for ContextLengthAware {
    fn filter(&self, cx: &mut Context<'_>, candidates: &mut Candidates<'_>) {
        if let Some(length) = length(cx).filter(|_| self.filters) {
            candidates.retain(|candidate| self.range(candidate.endpoint).keeps(length));
        }
    }
}

impl Scorer for ContextLengthAware {
    fn score(&self, cx: &Context<'_>, candidates: &Candidates<'_>, out: &mut [f64]) {
        let Some(length) = length(cx) else { return out.fill(UNKNOWN) };
        for (score, candidate) in out.iter_mut().zip(candidates.iter()) {
            *score = self.range(candidate.endpoint).score(length);
        }
    }

    fn input(&self, _: &Attributes, candidate: &Candidate<'_>) -> Option<String> {
        candidate.endpoint.labels().get(&self.label).map(|range| format!("for {range} tokens"))
    }
}

#[cfg(test)]
mod tests {
    use llmd_core::WorkerId;

    use super::*;
    use crate::testing::{kept, request, scores};
    use crate::{Pool, Request};

    fn pool(ranges: &[Option<&str>]) -> Pool {
        let endpoint = |(number, range): (u32, &Option<&str>)| {
            Endpoint::new(number.to_string(), "a:1", WorkerId(number)).with_labels(range.map(|range| (LABEL, range)))
        };
        (0..).zip(ranges).map(endpoint).collect()
    }

    #[test]
    fn the_narrower_a_range_that_fits_and_the_nearer_one_that_does_not_the_better() {
        let table: [(Option<&str>, u32, f64); 11] = [
            (Some("0-10000"), 5000, 0.3 + 0.7 * (0.7 / 2.0 + 0.3 * 0.5)),
            (Some("0-10000"), 0, 0.3 + 0.7 * (0.7 / 2.0 + 0.3)),
            (Some("0-10000"), 10_000, 0.3 + 0.7 * 0.35),
            (Some(" 500 - 500 "), 500, 1.0),
            (Some("0-2000"), 3000, 0.15),
            (Some("2000-9000"), 1000, 0.15),
            (None, 1000, 0.5),
            (Some(""), 1000, 0.0),
            (Some("9-2"), 5, 0.0),
            (Some("1-2-3"), 2, 0.0),
            (Some("a-b"), 2, 0.0),
        ];
        for (range, tokens, expected) in table {
            let request = request(0..tokens);
            let said = scores(&ContextLengthAware::default(), &request, &pool(&[range]), &Attributes::default());
            assert!((said[0] - expected).abs() < 1e-12, "{range:?} {tokens}: {said:?}, not {expected}");
        }
    }

    #[test]
    fn only_those_whose_range_fits_are_kept_when_it_filters() {
        let pool = pool(&[Some("0-100"), Some("100-200"), Some("101-200"), None, Some("nonsense")]);
        let kept = |filters, request: &Request| {
            kept(&ContextLengthAware::new(LABEL, filters), request, &pool, &Attributes::default())
        };
        assert_eq!(kept(true, &request(0..100)), ["0", "1", "3"]);
        assert_eq!(kept(false, &request(0..100)).len(), 5);
    }

    #[test]
    fn a_prompt_of_unknown_length_goes_anywhere() {
        let (pool, bare) = (pool(&[Some("0-100"), Some("nonsense")]), Request::new("r", "m"));
        let plugin = ContextLengthAware::new(LABEL, true);
        assert_eq!(scores(&plugin, &bare, &pool, &Attributes::default()), [0.5; 2]);
        assert_eq!(kept(&plugin, &bare, &pool, &Attributes::default()).len(), 2);
    }
}
