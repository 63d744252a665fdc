//! The stages of a request, and what goes to each.

use super::body::Body;
use crate::Headers;

/// In which order the stages of a request run, and whose failure is the client's.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Order {
    /// Both at once. The prefill's response is discarded, and goes on when the client has gone.
    Concurrent,
    /// Both at once, but nothing of decode's response goes to the client before prefill has succeeded. When it fails, decode is
    /// ended and its response is the client's, as it is. llm-d waits 30 s, then answers 504.
    ConcurrentHeld,
    /// Decode is tried first, with [`Connector::attempt`](super::Connector::attempt); where
    /// [`below_threshold`](super::below_threshold) says so of its response, prefill and decode follow.
    DecodeFirst,
    /// Prefill, then decode. An HTTP error of prefill is the client's response, as it is.
    Sequential,
}

/// What the response of a prefill that succeeded is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum PrefillResponse {
    /// What it says of KV goes into decode's body.
    Copied,
    /// Nothing.
    Discarded,
}

/// What one engine is sent.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Leg<'a> {
    /// The body.
    pub body: Body<'a>,
    /// What is set beside the headers that the client sent.
    pub headers: Headers,
}

/// What the decoder is sent, and what becomes of its response.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Decode<'a> {
    /// What it is sent.
    pub leg: Leg<'a>,
    /// Where it has the prompt's KV from.
    pub kv: Kv,
    /// What its response says of cached tokens is to be this; `None` when the response stays as it is. See
    /// [`CachedTokens`](super::CachedTokens).
    pub cached_tokens: Option<u64>,
}

/// Where a decoder has a prompt's KV from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Kv {
    /// From the prefiller.
    Handed,
    /// From itself: the prefiller has said nothing of KV, so that its work was in vain. Worth a warning.
    Recomputed,
}

impl<'a> Leg<'a> {
    /// This body, without headers of ours.
    pub fn new(body: Body<'a>) -> Self {
        Self { body, headers: Headers::default() }
    }

    /// The same, with this header.
    #[must_use]
    pub fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.insert(name, value);
        self
    }
}

impl<'a> Decode<'a> {
    /// A decode of what was handed over, whose response stays as it is.
    pub const fn handed(leg: Leg<'a>) -> Self {
        Self { leg, kv: Kv::Handed, cached_tokens: None }
    }
}
