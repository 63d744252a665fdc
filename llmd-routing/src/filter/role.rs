//! `decode-filter`, `prefill-filter`, `encode-filter`: endpoints by what their role label says.

use llmd_core::protocol::{ROLE_LABEL, Role};

use crate::Endpoint;
use crate::plugin::{Candidates, Context, Filter, Plugin};

/// Keeps the endpoints that do one thing, as their `llm-d.ai/role` label says.
///
/// Semantics: llm-d's role filters. Without the label an endpoint decodes, and does nothing else; a label that nobody knows
/// means that it does nothing.
#[derive(Clone, Copy, Debug)]
pub struct RoleFilter {
    does: fn(Role) -> bool,
    unlabelled: bool,
}

impl RoleFilter {
    /// `decode-filter`: roles `decode`, `prefill-decode`, `both`, `encode-prefill-decode`, or no label.
    pub const fn decode() -> Self {
        Self { does: Role::decodes, unlabelled: true }
    }

    /// `prefill-filter`: roles `prefill`, `encode-prefill`, `prefill-decode`, `both`, `encode-prefill-decode`.
    pub const fn prefill() -> Self {
        Self { does: Role::prefills, unlabelled: false }
    }

    /// `encode-filter`: roles `encode`, `encode-prefill`, `encode-prefill-decode`.
    pub const fn encode() -> Self {
        Self { does: Role::encodes, unlabelled: false }
    }

    fn keeps(self, endpoint: &Endpoint) -> bool {
        endpoint
            .labels()
            .get(ROLE_LABEL)
            .map_or(self.unlabelled, |label| Role::from_label(label).is_some_and(self.does))
    }
}

impl Plugin for RoleFilter {}

impl Filter for RoleFilter {
    fn filter(&self, _: &mut Context<'_>, candidates: &mut Candidates<'_>) {
        candidates.retain(|candidate| self.keeps(candidate.endpoint));
    }
}

#[cfg(test)]
mod tests {
    use llmd_core::WorkerId;

    use super::*;

    const KEPT: [(&str, [bool; 3]); 9] = [
        ("decode", [true, false, false]),
        ("prefill", [false, true, false]),
        ("encode", [false, false, true]),
        ("both", [true, true, false]),
        ("prefill-decode", [true, true, false]),
        ("encode-prefill", [false, true, true]),
        ("encode-prefill-decode", [true, true, true]),
        ("Decode", [false, false, false]),
        ("", [false, false, false]),
    ];

    #[test]
    fn a_role_label_says_what_an_endpoint_does() {
        for (label, kept) in KEPT {
            let endpoint = Endpoint::new("a", "a:1", WorkerId(0)).with_labels([(ROLE_LABEL, label)]);
            let filters = [RoleFilter::decode(), RoleFilter::prefill(), RoleFilter::encode()];
            assert_eq!(filters.map(|filter| filter.keeps(&endpoint)), kept, "{label}");
        }
    }

    #[test]
    fn without_a_role_label_an_endpoint_decodes_and_does_nothing_else() {
        let endpoint = Endpoint::new("a", "a:1", WorkerId(0)).with_labels([("app", "vllm")]);
        let filters = [RoleFilter::decode(), RoleFilter::prefill(), RoleFilter::encode()];
        assert_eq!(filters.map(|filter| filter.keeps(&endpoint)), [true, false, false]);
    }
}
