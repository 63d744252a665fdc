//! `prefix-based-pd-decider`: requests that are long, and of which little is cached.

use serde::Deserialize;

use crate::plugin::{Context, Data, Decider, Plugin};

/// Says yes to a prompt of `n` tokens when `n ≥ prompt_tokens`, `n ≥ non_cached_tokens` and `n − cached ≥
/// non_cached_tokens`, where `cached` are the tokens of whole blocks that the endpoint which decodes holds, on whatever they
/// lie. With `non_cached_tokens` of 0 it says no to every request; so it does to one whose tokens nobody knows.
///
/// Formula: llm-d's `prefix-based-pd-decider`.
#[derive(Clone, Debug)]
pub struct PrefixBasedDecider {
    non_cached_tokens: u64,
    prompt_tokens: u64,
    producer: Option<String>,
}

/// The parameters of `prefix-based-pd-decider`.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Parameters {
    non_cached_tokens: u64,
    prompt_tokens: u64,
    prefix_match_info_producer_name: Option<String>,
}

impl PrefixBasedDecider {
    /// A decider with these bounds, in tokens, that goes by whichever producer of prefix matches there is.
    pub const fn new(non_cached_tokens: u64, prompt_tokens: u64) -> Self {
        Self { non_cached_tokens, prompt_tokens, producer: None }
    }

    /// The same, going by the producer of this name.
    #[must_use]
    pub fn by(self, producer: impl Into<String>) -> Self {
        Self { producer: Some(producer.into()), ..self }
    }
}

impl From<Parameters> for PrefixBasedDecider {
    fn from(parameters: Parameters) -> Self {
        Self {
            producer: parameters.prefix_match_info_producer_name,
            ..Self::new(parameters.non_cached_tokens, parameters.prompt_tokens)
        }
    }
}

impl Plugin for PrefixBasedDecider {
    fn reads(&self) -> Vec<Data> {
        if self.non_cached_tokens == 0 {
            return Vec::new();
        }
        vec![Data::Tokens, self.producer.clone().map_or(Data::AnyPrefixMatch, Data::PrefixMatch)]
    }

    fn settings(&self) -> String {
        match self.non_cached_tokens {
            0 => "never".to_owned(),
            tokens => format!("from {} tokens, of which {tokens} are not cached", self.prompt_tokens.max(tokens)),
        }
    }
}

impl Decider for PrefixBasedDecider {
    fn disaggregates(&self, cx: &Context<'_>, decode: Option<usize>) -> bool {
        let prompt = cx.attributes.prompt_tokens();
        let found = decode.and_then(|place| match &self.producer {
            Some(producer) => cx.prefix_matches(producer)?.get(place),
            None => cx.attributes.prefix_match(place),
        });
        let cached = found.map_or(0, |found| u64::from(found.cached) * u64::from(found.block_size));
        self.non_cached_tokens > 0
            && prompt >= self.prompt_tokens.max(self.non_cached_tokens)
            && prompt.saturating_sub(cached) >= self.non_cached_tokens
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::Attributes;
    use crate::testing::{attributes, disaggregates, prefix, request};

    #[test]
    fn long_prompts_of_which_little_is_cached_are_prefilled_elsewhere() {
        // tokens, cached blocks of 16, nonCachedTokens, promptTokens
        let table = [
            (1000, 0, 0, 0, false),
            (1000, 0, 256, 0, true),
            (255, 0, 256, 0, false),
            (256, 0, 256, 0, true),
            (1000, 46, 256, 0, true),  // 264 are not cached
            (1000, 47, 256, 0, false), // 248
            (1000, 0, 256, 1001, false),
            (1000, 0, 256, 1000, true),
            (0, 0, 1, 0, false),
        ];
        for (tokens, blocks, non_cached, least, expected) in table {
            let decider = PrefixBasedDecider::new(non_cached, least);
            let known = attributes(tokens, "p", &[prefix(0, 62, 16), prefix(blocks, 62, 16)]);
            let says = disaggregates(&decider, &request(0..tokens as u32), &known, Some(1));
            assert_eq!(says, expected, "{tokens} {blocks} {non_cached} {least}");
        }
    }

    #[test]
    fn what_nobody_knows_of_a_cache_is_not_cached() {
        let decider = PrefixBasedDecider::new(10, 0);
        assert!(disaggregates(&decider, &request(0..10), &Attributes::new(10, None), None));
        assert!(disaggregates(&decider.clone().by("p"), &request(0..10), &Attributes::new(10, None), Some(0)));
        assert!(!disaggregates(&decider, &request([]), &Attributes::default(), None));
    }
}
