//! `token-producer`: how prompts become tokens, which is for those to do who feed the scheduler.

use std::time::Duration;

use serde::Deserialize;

use super::duration;
use super::fault::{Fault, Result};
use super::node::Node;

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

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct TokenParameters {
    model_name: Option<String>,
    estimate: Option<Estimate>,
    local: Option<Local>,
    vllm: Option<Vllm>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Estimate {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Local {
    path: String,
    chat_template: Option<String>,
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
struct Vllm {
    url: String,
    #[serde(deserialize_with = "duration::deserialize")]
    timeout: Duration,
    #[serde(deserialize_with = "duration::deserialize")]
    mm_timeout: Duration,
}

impl Default for Vllm {
    fn default() -> Self {
        let url = "http://localhost:8000".to_owned();
        Self { url, timeout: Duration::from_secs(5), mm_timeout: Duration::from_secs(30) }
    }
}

impl TokenProducer {
    pub(super) fn read(node: &Node) -> Result<Self> {
        node.refuse(&["uds"], "a tokenizer behind a socket is deprecated in llm-d; use `local` or `vllm`")?;
        node.refuse(&["estimate", "image"], "tokens of images are not estimated yet; leave it out")?;
        node.refuse(&["estimate", "video"], "tokens of videos are not estimated yet; leave it out")?;
        let TokenParameters { model_name, estimate, local, vllm } = node.parameters()?;
        let backend = match (estimate, local, vllm) {
            (_, None, None) => TokenBackend::Estimate,
            (None, Some(Local { path, chat_template }), None) => TokenBackend::Local { path, chat_template },
            (None, None, Some(Vllm { url, timeout, mm_timeout })) => TokenBackend::Vllm { url, timeout, mm_timeout },
            _ => return Err(Fault::invalid("more than one of `estimate`, `local` and `vllm` is given").at(node.mark)),
        };
        Ok(Self { model_name, backend })
    }
}
