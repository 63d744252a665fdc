//! What a plugin is told as a request goes on.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use crate::{Endpoint, Headers};

/// What a plugin does as one request goes on. It belongs to that request and goes away with it.
///
/// The order is: picked, once per endpoint tried; the first token, at most once; and then either the end or an abort, once.
pub trait Hooks: Debug + Send + Sync {
    /// The request goes to this endpoint.
    fn picked(&mut self, picked: &Picked<'_>) {
        let _ = picked;
    }

    /// Adds headers to the response of the endpoint that answers.
    fn response_headers(&self, endpoint: &Endpoint, headers: &mut Headers) {
        let _ = (endpoint, headers);
    }

    /// The first token came back.
    fn first_token(&mut self, now: Duration) {
        let _ = now;
    }

    /// The response is complete.
    fn end(&mut self, now: Duration, usage: &Usage) {
        let _ = (now, usage);
    }

    /// The request ended without a complete response.
    fn abort(&mut self) {}
}

/// Where a request goes.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Picked<'a> {
    /// The endpoint.
    pub endpoint: &'a Arc<Endpoint>,
    /// All endpoints that were there to choose from.
    pub pool: &'a [Arc<Endpoint>],
    /// When.
    pub now: Duration,
}

impl<'a> Picked<'a> {
    /// `endpoint`, out of `pool`, at `now`.
    pub const fn new(endpoint: &'a Arc<Endpoint>, pool: &'a [Arc<Endpoint>], now: Duration) -> Self {
        Self { endpoint, pool, now }
    }
}

/// What an engine says a request took, in tokens.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Usage {
    /// Of the prompt.
    pub prompt_tokens: Option<u64>,
    /// Of the prompt, that it did not compute.
    pub cached_tokens: Option<u64>,
    /// That it made.
    pub completion_tokens: Option<u64>,
}
