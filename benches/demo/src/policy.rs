//! The seven routing policies that race, each a configuration file of the gateway.

use std::fmt;
use std::path::PathBuf;

/// Prompts of which fewer tokens have to be computed are computed where they are decoded: handing them over takes longer.
const NON_CACHED_TOKENS: usize = 64;

/// What a configuration says about the engines.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    /// Their tokenizer.
    pub(crate) tokenizer: PathBuf,
    /// Tokens of a block of KV cache.
    pub(crate) block_size: usize,
    /// Tokens under way at which an engine counts as busy as can be.
    pub(crate) queue_tokens: usize,
}

/// One way to choose an endpoint, from the least to the most that it knows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Policy {
    RoundRobin,
    SessionHash,
    LeastLoad,
    ApproxPrefix,
    ExactPrefix,
    /// One half of the engines computes prompts, and the other decodes, and computes what does not pay to be handed over.
    ExactPrefixPd,
    /// One half of the engines computes every prompt, and the other decodes and does nothing else.
    ExactPrefixPdAlways,
}

impl Policy {
    /// Every policy, in the order in which they race.
    pub(crate) const ALL: [Self; 7] = [
        Self::RoundRobin,
        Self::SessionHash,
        Self::LeastLoad,
        Self::ApproxPrefix,
        Self::ExactPrefix,
        Self::ExactPrefixPd,
        Self::ExactPrefixPdAlways,
    ];

    /// The name in figures and file names.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::RoundRobin => "round_robin",
            Self::SessionHash => "session_hash",
            Self::LeastLoad => "least_load",
            Self::ApproxPrefix => "approx_prefix",
            Self::ExactPrefix => "exact_prefix",
            Self::ExactPrefixPd => "exact_prefix_pd",
            Self::ExactPrefixPdAlways => "exact_prefix_pd_always",
        }
    }

    /// The name in tables and pictures.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::RoundRobin => "round robin",
            Self::SessionHash => "session hash",
            Self::LeastLoad => "least load",
            Self::ApproxPrefix => "approx prefix",
            Self::ExactPrefix => "exact prefix",
            Self::ExactPrefixPd => "exact P/D",
            Self::ExactPrefixPdAlways => "always P/D",
        }
    }

    /// Whether the policy predicts how much of a prompt an engine has cached; the others predict nothing.
    pub(crate) const fn predicts(self) -> bool {
        matches!(self, Self::ApproxPrefix | Self::ExactPrefix | Self::ExactPrefixPd | Self::ExactPrefixPdAlways)
    }

    /// What the second half of the engines does while the first only computes prompts, as `llm-d.ai/role` says it; `None` when
    /// every engine does all for its own requests.
    pub(crate) const fn second_half(self) -> Option<&'static str> {
        match self {
            Self::RoundRobin | Self::SessionHash | Self::LeastLoad | Self::ApproxPrefix | Self::ExactPrefix => None,
            Self::ExactPrefixPd => Some("prefill-decode"),
            Self::ExactPrefixPdAlways => Some("decode"),
        }
    }

    /// The gateway's configuration for this policy, for engines that serve `model`.
    pub(crate) fn config(self, model: &Model) -> String {
        let template = match self {
            Self::RoundRobin => include_str!("../policies/round_robin.yaml"),
            Self::SessionHash => include_str!("../policies/session_hash.yaml"),
            Self::LeastLoad => include_str!("../policies/least_load.yaml"),
            Self::ApproxPrefix => include_str!("../policies/approx_prefix.yaml"),
            Self::ExactPrefix => include_str!("../policies/exact_prefix.yaml"),
            Self::ExactPrefixPd | Self::ExactPrefixPdAlways => include_str!("../policies/exact_prefix_pd.yaml"),
        };
        let decider = match self {
            Self::ExactPrefixPdAlways => "{type: always-disagg-pd-decider, name: decider}".to_owned(),
            _ => format!(
                "{{type: prefix-based-pd-decider, name: decider, parameters: {{nonCachedTokens: {NON_CACHED_TOKENS}}}}}"
            ),
        };
        // A JSON string is a YAML string, whatever stands in the path.
        let tokenizer = serde_json::Value::from(model.tokenizer.to_string_lossy()).to_string();
        template
            .replace("${TOKENIZER}", &tokenizer)
            .replace("${BLOCK_SIZE}", &model.block_size.to_string())
            .replace("${DECIDER}", &decider)
            .replace("${QUEUE_TOKENS}", &model.queue_tokens.to_string())
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.label())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(tokenizer: &str) -> Model {
        Model { tokenizer: tokenizer.into(), block_size: 16, queue_tokens: 65_536 }
    }

    #[test]
    fn every_configuration_is_filled_in() {
        for policy in Policy::ALL {
            let text = policy.config(&model("some \"odd\" place/tokenizer.json"));
            assert!(text.contains("kind: EndpointPickerConfig"), "{policy}");
            assert!(!text.contains("${"), "{policy} is not filled in:\n{text}");
            assert_eq!(text.contains(r#"path: "some \"odd\" place/tokenizer.json""#), policy.predicts());
        }
    }

    #[test]
    fn both_prefix_policies_weigh_alike() {
        let profile = |policy: Policy| {
            let text = policy.config(&model("t"));
            text.split_once("schedulingProfiles:").unwrap().1.to_owned()
        };
        assert_eq!(profile(Policy::ApproxPrefix), profile(Policy::ExactPrefix));
    }
}
