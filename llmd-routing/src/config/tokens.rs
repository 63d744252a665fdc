//! `token-producer`: how prompts become tokens, which is for those to do who feed the scheduler.

use std::time::Duration;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::fault::{Fault, Result};
use crate::duration::GoDuration;

/// `token-producer`: how prompts become tokens.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct TokenProducer {
    /// The model whose tokens they are; `None` where the shell knows it.
    pub model_name: Option<String>,
    /// Who does it.
    pub backend: TokenBackend,
}

/// Who turns prompts into tokens.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum TokenBackend {
    /// Nobody: four bytes of text are taken for a token. Good enough to compare prompts with each other; of no use against
    /// what an engine says of its cache.
    #[default]
    Estimate,
    /// A `tokenizer.json` on this machine; llmd's own.
    Local {
        /// The file, or the folder that it is in.
        path: String,
        /// The file of the chat template; without one, that which lies beside the tokenizer.
        chat_template: Option<String>,
    },
    /// An engine that renders prompts.
    Vllm {
        /// Where it is.
        url: String,
        /// How long it may take.
        timeout: Duration,
        /// How long it may take when there are images.
        mm_timeout: Duration,
    },
}

/// The parameters of `token-producer`.
#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct TokenParameters {
    model_name: Option<String>,
    estimate: Option<Estimate>,
    local: Option<Local>,
    vllm: Option<Vllm>,
    #[cfg_attr(feature = "schema", schemars(skip))]
    uds: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct Estimate {
    #[cfg_attr(feature = "schema", schemars(skip))]
    image: Option<IgnoredAny>,
    #[cfg_attr(feature = "schema", schemars(skip))]
    video: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Local {
    path: String,
    chat_template: Option<String>,
}

#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
struct Vllm {
    url: String,
    timeout: GoDuration,
    mm_timeout: GoDuration,
}

impl Default for Vllm {
    fn default() -> Self {
        let url = "http://localhost:8000".to_owned();
        Self { url, timeout: GoDuration(Duration::from_secs(5)), mm_timeout: GoDuration(Duration::from_secs(30)) }
    }
}

impl TokenProducer {
    pub(super) fn new(parameters: TokenParameters) -> Result<Self> {
        let TokenParameters { model_name, estimate, local, vllm, uds } = parameters;
        if uds.is_some() {
            let instead = "a tokenizer behind a socket is deprecated in llm-d; use `local` or `vllm`";
            return Err(Fault::not_supported(instead).within("uds"));
        }
        if let Some(Estimate { image: Some(_), .. }) = estimate {
            let instead = "tokens of images are not estimated yet; leave it out";
            return Err(Fault::not_supported(instead).along(&["estimate", "image"]));
        }
        if let Some(Estimate { video: Some(_), .. }) = estimate {
            let instead = "tokens of videos are not estimated yet; leave it out";
            return Err(Fault::not_supported(instead).along(&["estimate", "video"]));
        }
        let backend = match (estimate, local, vllm) {
            (_, None, None) => TokenBackend::Estimate,
            (None, Some(Local { path, chat_template }), None) => TokenBackend::Local { path, chat_template },
            (None, None, Some(Vllm { url, timeout, mm_timeout })) => {
                TokenBackend::Vllm { url, timeout: timeout.0, mm_timeout: mm_timeout.0 }
            }
            _ => return Err(Fault::invalid("more than one of `estimate`, `local` and `vllm` is given")),
        };
        Ok(Self { model_name, backend })
    }
}
