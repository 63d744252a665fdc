//! An answer in one piece.

use http::{Response, StatusCode};
use llmd_core::TokenId;
use serde::Serialize;
use serde_json::Value;

use super::{AnswerBody, Api, Heading, Usage, json_answer};

/// The fields of vLLM's `CompletionResponse` and `ChatCompletionResponse`, in their order.
#[derive(Serialize)]
struct Whole<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: [Choice<'a>; 1],
    service_tier: (),
    system_fingerprint: (),
    usage: Usage,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_token_ids: Option<&'a [TokenId]>,
    kv_transfer_params: Option<Value>,
}

#[derive(Serialize)]
struct Choice<'a> {
    index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<Message<'a>>,
    logprobs: (),
    finish_reason: &'static str,
    stop_reason: (),
    token_ids: Option<&'a [TokenId]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_token_ids: Option<&'a [TokenId]>,
}

#[derive(Serialize)]
struct Message<'a> {
    role: &'static str,
    content: &'a str,
    refusal: (),
}

/// An answer whose text is complete.
pub(in super::super) fn whole_answer(
    heading: &Heading,
    text: &str,
    tokens: &[TokenId],
    cached_tokens: usize,
    kv_transfer_params: Option<Value>,
) -> Response<AnswerBody> {
    let token_ids = heading.prompt_token_ids.is_some().then_some(tokens);
    let prompt = heading.prompt_token_ids.as_deref();
    let chat = heading.api == Api::Chat;
    let whole = Whole {
        id: &heading.id,
        object: if chat { "chat.completion" } else { "text_completion" },
        created: heading.created,
        model: &heading.model,
        choices: [Choice {
            index: 0,
            text: (!chat).then_some(text),
            message: chat.then_some(Message { role: "assistant", content: text, refusal: () }),
            logprobs: (),
            finish_reason: "length",
            stop_reason: (),
            token_ids,
            prompt_token_ids: prompt.filter(|_| !chat),
        }],
        service_tier: (),
        system_fingerprint: (),
        usage: Usage::new(heading.prompt_tokens, tokens.len(), cached_tokens),
        prompt_token_ids: prompt.filter(|_| chat),
        kv_transfer_params,
    };
    json_answer(StatusCode::OK, &whole)
}
