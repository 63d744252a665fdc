//! `/tokenize`: the tokens of a prompt or a conversation, for whoever routes by them.

use std::sync::Arc;

use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::json;

use super::answer::{AnswerBody, Api, json_answer};
use super::ask::{Ask, Prompt};
use super::generate::{adapter, prompt_tokens};
use super::refusal::Refusal;
use super::server::Server;

/// Answers as vLLM does (`TokenizeCompletionRequest`, `TokenizeChatRequest`), with its defaults: a prompt with the tokenizer's
/// special tokens, a conversation up to where the assistant is to speak. Whatever else a body has is not read, so the body
/// of the request itself will do.
pub(super) async fn tokenize(
    server: &Arc<Server>,
    body: Result<Bytes, Refusal>,
) -> Result<Response<AnswerBody>, Refusal> {
    let mut ask = Ask::read(&body?)?;
    adapter(server, ask.model.as_deref())?;
    let api = match (&ask.prompt, &ask.messages) {
        (None, Some(_)) => Api::Chat,
        (Some(Prompt::Text(_)), _) => Api::Completions,
        (Some(_), _) => return Err(Refusal::bad("prompt", "prompt is a list, expected text")),
        (None, None) => return Err(Refusal::bad("prompt", "there is neither a prompt nor messages")),
    };
    let tokens = prompt_tokens(server, api, &mut ask).await?;
    let found = json!({
        "count": tokens.len(), "max_model_len": server.settings.max_model_len, "tokens": tokens, "token_strs": null,
    });
    Ok(json_answer(StatusCode::OK, &found))
}
