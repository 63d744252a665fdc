//! Answers in vLLM's JSON: whole, and as a stream of server-sent events.

mod stream;
mod whole;

use bytes::Bytes;
use http::{Response, StatusCode, header};
use http_body_util::{Either, Full};
use llmd_core::TokenId;
use serde::Serialize;

pub(super) use stream::{EventStream, TokenStream};
pub(super) use whole::whole_answer;

/// The body of any answer.
pub(super) type AnswerBody = Either<Full<Bytes>, EventStream>;

/// Which of the two APIs a request came by.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Api {
    Chat,
    Completions,
}

/// What an answer repeats of its request.
#[derive(Debug)]
pub(super) struct Heading {
    pub(super) api: Api,
    pub(super) id: String,
    /// Seconds since 1970.
    pub(super) created: u64,
    pub(super) model: String,
    pub(super) include_usage: bool,
    pub(super) prompt_tokens: usize,
    /// The prompt, when the client wants token ids.
    pub(super) prompt_token_ids: Option<Vec<TokenId>>,
}

/// How many tokens a request took.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Usage {
    prompt_tokens: usize,
    total_tokens: usize,
    completion_tokens: usize,
    prompt_tokens_details: PromptDetails,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct PromptDetails {
    cached_tokens: usize,
}

impl Usage {
    const fn new(prompt_tokens: usize, completion_tokens: usize, cached_tokens: usize) -> Self {
        Self {
            prompt_tokens,
            total_tokens: prompt_tokens + completion_tokens,
            completion_tokens,
            prompt_tokens_details: PromptDetails { cached_tokens },
        }
    }
}

/// An answer with this JSON.
pub(super) fn json_answer(status: StatusCode, body: &impl Serialize) -> Response<AnswerBody> {
    let text = serde_json::to_vec(body).expect("answers are plain data");
    answer(status, "application/json", text)
}

/// An answer with this body.
pub(super) fn answer(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<AnswerBody> {
    let mut answer = Response::new(Either::Left(Full::new(body.into())));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, http::HeaderValue::from_static(content_type));
    answer
}
