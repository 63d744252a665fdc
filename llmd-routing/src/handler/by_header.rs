//! `header-profile-handler`: the client says which profile runs.

use serde::Deserialize;

use crate::plugin::{Context, Plugin, ProfileHandler, Ran, Refusal, Stage};

/// Runs the profile that a header names; without the header, or where there is one profile only, that of `decode`.
///
/// Semantics: llm-d's `header-profile-handler`, which is experimental there; its coordinator asks for each stage so. A profile
/// that is not there is refused with 400.
#[derive(Clone, Debug)]
pub struct HeaderProfileHandler {
    header: String,
}

/// The parameters of `header-profile-handler`.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Parameters {
    header_name: Option<String>,
}

const HEADER: &str = "EPP-Profile";
const DEFAULT_PROFILE: &str = "decode";

impl HeaderProfileHandler {
    /// A handler by this header.
    pub fn new(header: &str) -> Self {
        Self { header: header.to_ascii_lowercase() }
    }
}

impl Default for HeaderProfileHandler {
    /// By `EPP-Profile`.
    fn default() -> Self {
        Self::new(HEADER)
    }
}

impl From<Parameters> for HeaderProfileHandler {
    fn from(parameters: Parameters) -> Self {
        Self::new(parameters.header_name.as_deref().unwrap_or(HEADER))
    }
}

impl Plugin for HeaderProfileHandler {
    fn settings(&self) -> String {
        format!("by header {}", self.header)
    }
}

impl ProfileHandler for HeaderProfileHandler {
    fn next(&self, cx: &Context<'_>, profiles: &[String], ran: &[Ran]) -> Result<Option<usize>, Refusal> {
        if !ran.is_empty() {
            return Ok(None);
        }
        if profiles.len() == 1 {
            return Ok(Some(0));
        }
        let wanted = cx.request.headers.get(&self.header).unwrap_or(DEFAULT_PROFILE);
        let found = profiles.iter().position(|profile| profile == wanted);
        found.map(Some).ok_or_else(|| {
            let known = profiles.join(", ");
            Refusal::new(400, format!("header {} asks for profile {wanted:?}; profiles: {known}", self.header))
        })
    }

    fn primary(&self, _: &[Ran]) -> usize {
        0
    }

    /// Each profile decides by itself, and so decodes as far as a decision goes.
    fn stage(&self, _: &str) -> Stage {
        Stage::Decode
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Headers;
    use crate::testing::{next_profile, request};

    #[test]
    fn a_header_says_which_profile_runs() {
        let three = ["encode", "prefill", "decode"].map(str::to_owned);
        let asks = |profile: &str| request([]).with_headers(Headers::from_iter([("epp-profile", profile)]));
        let handler = HeaderProfileHandler::default();

        assert_eq!(next_profile(&handler, &asks("prefill"), &three, &[]), Ok(Some(1)));
        assert_eq!(next_profile(&handler, &request([]), &three, &[]), Ok(Some(2)));
        assert_eq!(next_profile(&handler, &asks("prefill"), &three, &[Ran::new(1, None)]), Ok(None));
        assert_eq!(next_profile(&handler, &asks("prefill"), &three[..1], &[]), Ok(Some(0)));
        let refused = next_profile(&handler, &asks("train"), &three, &[]).unwrap_err();
        assert_eq!(
            (refused.status, &*refused.message),
            (400, "header epp-profile asks for profile \"train\"; profiles: encode, prefill, decode")
        );
    }
}
