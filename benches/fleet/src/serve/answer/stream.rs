//! An answer as it is made: one server-sent event per token, written around a text that is made once per request.

use std::fmt::Write as _;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::StatusCode;
use http_body::{Body, Frame};
use llmd_core::TokenId;
use tokio::sync::mpsc::Receiver;

use super::super::driver::{Command, Produced};
use super::super::refusal::Refusal;
use super::super::tokens::Tokens;
use super::{Api, Heading, Usage};

const DONE: &str = "data: [DONE]\n\n";

/// Tokens of one request, in order. Dropped before the last one came, it aborts the request.
#[derive(Debug)]
pub(in super::super) struct TokenStream {
    pub(in super::super) key: u64,
    pub(in super::super) receiver: Receiver<Produced>,
    pub(in super::super) commands: SyncSender<Command>,
    pub(in super::super) ended: bool,
}

impl TokenStream {
    /// The next token; `None` when the engine gave the request up.
    pub(in super::super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Produced>> {
        let produced = ready!(self.receiver.poll_recv(cx));
        self.ended = produced.is_none_or(|produced| produced.last);
        Poll::Ready(produced)
    }

    /// The next token, if it has come.
    fn take_next(&mut self) -> Option<Produced> {
        let produced = self.receiver.try_recv().ok()?;
        self.ended = produced.last;
        Some(produced)
    }
}

impl Drop for TokenStream {
    fn drop(&mut self) {
        if !self.ended {
            // When the command finds no room, the engine notices with the next token that nobody takes.
            _ = self.commands.try_send(Command::Abort(self.key));
        }
    }
}

/// The body of a streamed answer.
#[derive(Debug)]
pub(in super::super) struct EventStream {
    tokens: TokenStream,
    vocabulary: Arc<Tokens>,
    heading: Heading,
    /// The beginning of every event, up to its choices.
    prefix: String,
    produced: usize,
    cached_tokens: usize,
    done: bool,
}

impl EventStream {
    pub(in super::super) fn new(heading: Heading, tokens: TokenStream, vocabulary: Arc<Tokens>) -> Self {
        let object = match heading.api {
            Api::Chat => "chat.completion.chunk",
            Api::Completions => "text_completion",
        };
        let quoted = |text: &str| serde_json::to_string(text).expect("a string is plain data");
        let prefix = format!(
            "data: {{\"id\":{},\"object\":\"{object}\",\"created\":{},\"model\":{},\"choices\":[",
            quoted(&heading.id),
            heading.created,
            quoted(&heading.model),
        );
        Self { tokens, vocabulary, heading, prefix, produced: 0, cached_tokens: 0, done: false }
    }

    fn write(&mut self, out: &mut String, produced: Produced) {
        self.cached_tokens = produced.cached_tokens;
        let text = self.vocabulary.text(produced.token);
        let finish = if produced.last { "\"length\"" } else { "null" };
        match self.heading.api {
            Api::Completions => {
                write_completion(out, &self.prefix, &self.heading, self.produced, text, finish, produced.token);
            }
            Api::Chat => write_chat(out, &self.prefix, &self.heading, self.produced, text, produced),
        }
        self.produced += 1;
        if produced.last {
            self.write_end(out);
        }
    }

    fn write_end(&mut self, out: &mut String) {
        if self.heading.include_usage {
            let usage = Usage::new(self.heading.prompt_tokens, self.produced, self.cached_tokens);
            let usage = serde_json::to_string(&usage).expect("a usage is plain data");
            _ = write!(out, "{}],\"usage\":{usage}}}\n\n", self.prefix);
        }
        out.push_str(DONE);
        self.done = true;
    }
}

impl Body for EventStream {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    /// All tokens that have come since the last frame, as one frame.
    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        if this.done {
            return Poll::Ready(None);
        }
        let Some(first) = ready!(this.tokens.poll_next(cx)) else {
            this.done = true;
            let refusal = Refusal::with_status(StatusCode::INTERNAL_SERVER_ERROR, "the engine gave the request up");
            return Poll::Ready(Some(Ok(Frame::data(
                [refusal.event(), Bytes::from_static(DONE.as_bytes())].concat().into(),
            ))));
        };
        let mut out = String::with_capacity(2 * this.prefix.len() + 256);
        this.write(&mut out, first);
        while !this.done {
            let Some(next) = this.tokens.take_next() else { break };
            this.write(&mut out, next);
        }
        Poll::Ready(Some(Ok(Frame::data(out.into()))))
    }
}

fn write_completion(
    out: &mut String,
    prefix: &str,
    heading: &Heading,
    produced: usize,
    text: &str,
    finish: &str,
    token: TokenId,
) {
    out.push_str(prefix);
    _ = write!(
        out,
        "{{\"index\":0,\"text\":\"{text}\",\"logprobs\":null,\"finish_reason\":{finish},\"stop_reason\":null,\"prompt_token_ids\":"
    );
    match heading.prompt_token_ids.as_ref().filter(|_| produced == 0) {
        Some(ids) => write_ids(out, ids),
        None => out.push_str("null"),
    }
    out.push_str(",\"token_ids\":");
    match heading.prompt_token_ids {
        Some(_) => write_ids(out, &[token]),
        None => out.push_str("null"),
    }
    out.push_str("}]}\n\n");
}

fn write_chat(out: &mut String, prefix: &str, heading: &Heading, before: usize, text: &str, produced: Produced) {
    if before == 0 {
        out.push_str(prefix);
        out.push_str("{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"logprobs\":null,\"finish_reason\":null}],");
        out.push_str("\"prompt_token_ids\":");
        match &heading.prompt_token_ids {
            Some(ids) => write_ids(out, ids),
            None => out.push_str("null"),
        }
        out.push_str("}\n\n");
    }
    out.push_str(prefix);
    _ = write!(out, "{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}},\"logprobs\":null,");
    out.push_str(if produced.last {
        "\"finish_reason\":\"length\",\"stop_reason\":null,"
    } else {
        "\"finish_reason\":null,"
    });
    out.push_str("\"token_ids\":");
    match heading.prompt_token_ids {
        Some(_) => write_ids(out, &[produced.token]),
        None => out.push_str("null"),
    }
    out.push_str("}]}\n\n");
}

fn write_ids(out: &mut String, ids: &[TokenId]) {
    out.push_str(&serde_json::to_string(ids).expect("numbers are plain data"));
}
