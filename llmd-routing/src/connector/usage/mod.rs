//! The cached tokens that a client is told of: the prefiller's.

mod stream;

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::Api;
use super::body::Body;
pub use stream::{CachedTokensStream, MAX_LINE};

const USAGE: &str = "usage";
const DETAILS: &str = "prompt_tokens_details";
const CACHED_TOKENS: &str = "cached_tokens";

/// Writes `usage.prompt_tokens_details.cached_tokens` of a decoder's response: the decoder would count what it was handed
/// over, and the prefiller knows what was cached.
///
/// Rules: llm-d's `nixlv2`. A response without `usage` stays as it is, and so does everything else in one that has it.
#[derive(Clone, Copy, Debug)]
pub struct CachedTokens(u64);

impl CachedTokens {
    /// Writes this number.
    pub const fn new(tokens: u64) -> Self {
        Self(tokens)
    }

    /// A whole response.
    pub fn rewrite<'b>(&self, response: &'b [u8]) -> Cow<'b, [u8]> {
        self.written(response).map_or(Cow::Borrowed(response), |json| Cow::Owned(json.into_bytes()))
    }

    /// One line of a stream of server-sent events, its end included.
    pub fn rewrite_line<'b>(&self, line: &'b [u8]) -> Cow<'b, [u8]> {
        let Some(data) = line.strip_prefix(b"data:") else { return Cow::Borrowed(line) };
        let json = data.trim_ascii();
        let Some(written) = self.written(json) else { return Cow::Borrowed(line) };
        let before = data.len() - data.trim_ascii_start().len();
        let after = data.trim_ascii_end().len();
        Cow::Owned([b"data:", &data[..before], written.as_bytes(), &data[after..]].concat())
    }

    /// The response with the number in it. `None` when it says so already, or has no usage.
    fn written(&self, json: &[u8]) -> Option<String> {
        // Most pieces of a stream have none: those are not taken apart.
        json.windows(USAGE.len()).any(|bytes| bytes == USAGE.as_bytes()).then_some(())?;
        let mut response = serde_json::from_slice::<Body<'_>>(json).ok()?;
        let raw = response.get(USAGE)?.to_owned();
        let mut usage = Body::of(&raw)?;
        let details = usage.get(DETAILS).unwrap_or(RawValue::NULL).to_owned();
        let mut details = Body::of(&details).unwrap_or_default();
        if details.number(CACHED_TOKENS) == Some(self.0) {
            return None;
        }
        details.put(CACHED_TOKENS, self.0);
        usage.set(DETAILS, Cow::Owned(details.to_raw()));
        let usage = usage.to_raw();
        response.set(USAGE, Cow::Owned(usage));
        Some(response.to_json())
    }
}

/// What a prefiller's response says of cached tokens: 0 when it says nothing, as vLLM does. `None` for an API that says it
/// otherwise.
pub(super) fn cached_tokens(api: Api, response: &Body<'_>) -> Option<u64> {
    let said = || response.object(USAGE)?.object(DETAILS)?.number(CACHED_TOKENS);
    api.has_prompt_tokens_details().then(|| said().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(response: &str) -> String {
        String::from_utf8(CachedTokens::new(7).rewrite(response.as_bytes()).into_owned()).unwrap()
    }

    #[test]
    fn a_response_says_what_the_prefiller_had_cached() {
        let table = [
            (
                r#"{"id":"a","usage":{"prompt_tokens": 9,"prompt_tokens_details":{"cached_tokens":2,"x":1e-7}},"n":18446744073709551617}"#,
                r#"{"id":"a","usage":{"prompt_tokens":9,"prompt_tokens_details":{"cached_tokens":7,"x":1e-7}},"n":18446744073709551617}"#,
            ),
            (r#"{"usage":{}}"#, r#"{"usage":{"prompt_tokens_details":{"cached_tokens":7}}}"#),
            (
                r#"{"usage":{"prompt_tokens_details":null,"y":1}}"#,
                r#"{"usage":{"prompt_tokens_details":{"cached_tokens":7},"y":1}}"#,
            ),
        ];
        for (response, expected) in table {
            assert_eq!(rewritten(response), expected);
        }
    }

    #[test]
    fn what_has_no_usage_or_says_so_already_stays_as_it_is() {
        for same in [
            r#"{"usage": null}"#,
            r#"{"usage": [1]}"#,
            r#"{"text": "usage"}"#,
            r#"{"usage":{"prompt_tokens_details": {"cached_tokens": 7}}}"#,
            r#"usage"#,
            "",
        ] {
            assert_eq!(rewritten(same), same);
        }
    }
}
