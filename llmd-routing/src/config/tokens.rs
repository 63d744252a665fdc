//! `token-producer`: how prompts become tokens, which is for those to do who feed the scheduler.

use std::time::Duration;

use serde::Deserialize;

use super::estimate::{ImageEstimate, MediaEstimate, VideoEstimate};
use super::fault::{Fault, Result};
use crate::duration::GoDuration;

/// `token-producer`: how prompts become tokens.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct TokenProducer {
    /// The model whose tokens they are; `None` where the shell knows it.
    pub model_name: Option<String>,
    /// Who does it.
    pub backend: TokenBackend,
    /// How many tokens images and videos are taken for, where tokens are estimated; `None` where it is not said.
    pub media: Option<MediaEstimate>,
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
    /// A tokenizer behind a Unix socket; deprecated in llm-d.
    Uds {
        /// The socket.
        socket_file: String,
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
    uds_tokenizer_config: Option<Uds>,
}

#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct Estimate {
    image: Option<ImageEstimate>,
    video: Option<VideoEstimate>,
}

#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Uds {
    socket_file: Option<String>,
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
        let TokenParameters { model_name, estimate, local, vllm, uds_tokenizer_config: uds } = parameters;
        let model_name = model_name.filter(|name| !name.is_empty());
        let socket_file = uds.and_then(|uds| uds.socket_file).filter(|socket| !socket.is_empty());
        let backend = match (&estimate, local, vllm, socket_file) {
            // A model has tokens, and llm-d asks an engine for them.
            (None, None, None, None) if model_name.is_some() => TokenBackend::from(Vllm::default()),
            (_, None, None, None) => TokenBackend::Estimate,
            (None, Some(Local { path, chat_template }), None, None) => TokenBackend::Local { path, chat_template },
            (None, None, Some(vllm), None) => TokenBackend::from(vllm),
            (None, None, None, Some(socket_file)) => TokenBackend::Uds { socket_file },
            _ => {
                let message = "more than one of `estimate`, `local`, `udsTokenizerConfig` and `vllm` is given";
                return Err(Fault::invalid(message));
            }
        };
        match (&backend, &model_name) {
            (TokenBackend::Estimate, Some(_)) => {
                let message = "a model where tokens are estimated; leave `modelName` or `estimate` out";
                Err(Fault::invalid(message).within("modelName"))
            }
            (TokenBackend::Uds { .. } | TokenBackend::Vllm { .. }, None) => Err(Fault::missing("modelName")),
            _ => {
                let media = estimate.filter(|estimate| estimate.image.is_some() || estimate.video.is_some());
                let media = media.map(|Estimate { image, video }| {
                    let (image, video) = (image.unwrap_or_default(), video.unwrap_or_default());
                    MediaEstimate { image, video }.settled()
                });
                Ok(Self { model_name, backend, media })
            }
        }
    }

    /// What of it llm-d deprecates.
    pub(super) fn deprecated(&self) -> Option<&'static str> {
        let uds = matches!(self.backend, TokenBackend::Uds { .. });
        uds.then_some("`udsTokenizerConfig` is deprecated in llm-d; use `local` or `vllm`")
    }
}

impl From<Vllm> for TokenBackend {
    fn from(Vllm { url, timeout, mm_timeout }: Vllm) -> Self {
        Self::Vllm { url, timeout: timeout.0, mm_timeout: mm_timeout.0 }
    }
}
