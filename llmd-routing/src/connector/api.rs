//! The APIs that a body may be of.

use std::fmt;

/// An API of an engine, as its path says. Each limits its output by fields of its own.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Api {
    /// OpenAI's chat.
    ChatCompletions,
    /// OpenAI's completions.
    Completions,
    /// vLLM's tokens in, tokens out.
    Generate,
    /// Anthropic's messages.
    Messages,
    /// OpenAI's responses.
    Responses,
}

impl Api {
    /// Every one that has a prefill and a decode stage.
    pub const ALL: [Self; 5] =
        [Self::ChatCompletions, Self::Completions, Self::Generate, Self::Messages, Self::Responses];

    /// The API at this path. `None` for those that go to the decoder as they are.
    pub fn from_path(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|api| api.path() == path)
    }

    /// Where engines serve it.
    pub const fn path(self) -> &'static str {
        match self {
            Self::ChatCompletions => "/v1/chat/completions",
            Self::Completions => "/v1/completions",
            Self::Generate => "/inference/v1/generate",
            Self::Messages => "/v1/messages",
            Self::Responses => "/v1/responses",
        }
    }

    /// The fields that limit the output, the one that always does first. Those of [`Api::Generate`] stand in
    /// `sampling_params`.
    pub(super) const fn limits(self) -> &'static [&'static str] {
        match self {
            Self::ChatCompletions | Self::Completions | Self::Messages => {
                &["max_tokens", "max_completion_tokens", "min_tokens"]
            }
            Self::Generate => &["max_tokens", "min_tokens"],
            Self::Responses => &["max_output_tokens"],
        }
    }

    /// Whether its responses count the prompt's cached tokens as OpenAI's chat does, in
    /// `usage.prompt_tokens_details.cached_tokens`.
    pub(super) const fn has_prompt_tokens_details(self) -> bool {
        matches!(self, Self::ChatCompletions | Self::Completions | Self::Generate)
    }
}

/// Its path.
impl fmt::Display for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.path())
    }
}
