//! What a plugin is told as a request goes on.

use std::borrow::Cow;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use super::{Attributes, Stage};
use crate::{Endpoint, Headers};

/// What a plugin does as one request goes on. It belongs to that request and goes away with it.
///
/// The order is: picked, once per endpoint tried; the first token, at most once; and then either the end or an abort, once.
pub trait Hooks: Debug + Send + Sync {
    /// A stage of the request goes to this endpoint.
    fn picked(&mut self, picked: &Picked<'_>) {
        let _ = picked;
    }

    /// Changes the headers of the request that goes to the endpoints.
    fn request_headers(&self, route: &Route<'_>, changes: &mut HeaderChanges) {
        let _ = (route, changes);
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

    /// Says something of a complete response to whoever embeds the scheduler.
    fn report(&self, usage: &Usage, report: &mut Vec<Reported>) {
        let _ = (usage, report);
    }

    /// The request ended without a complete response.
    fn abort(&mut self) {}
}

/// Where a stage of a request goes.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Picked<'a> {
    /// The endpoint.
    pub endpoint: &'a Arc<Endpoint>,
    /// All endpoints that were there to choose from.
    pub pool: &'a [Arc<Endpoint>],
    /// The stage that it does. Who decodes is whoever the profile that decides chose.
    pub stage: Stage,
    /// The profile that chose; empty where nobody said.
    pub profile: &'a str,
    /// When.
    pub now: Duration,
}

impl<'a> Picked<'a> {
    /// `endpoint`, out of `pool`, at `now`, decodes.
    pub const fn new(endpoint: &'a Arc<Endpoint>, pool: &'a [Arc<Endpoint>], now: Duration) -> Self {
        Self { endpoint, pool, stage: Stage::Decode, profile: "", now }
    }

    /// The same, for this stage.
    #[must_use]
    pub const fn of(self, stage: Stage) -> Self {
        Self { stage, ..self }
    }

    /// The same, chosen by the profile of this name.
    #[must_use]
    pub const fn by(self, profile: &'a str) -> Self {
        Self { profile, ..self }
    }
}

/// The endpoints that a request goes through, in the order of its stages.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Route<'a> {
    /// Each stage that has an endpoint of its own, with that endpoint and its place in the pool; each encoder that was picked.
    pub stages: SmallVec<[(Stage, &'a Arc<Endpoint>, usize); 3]>,
    /// All endpoints that were there to choose from.
    pub pool: &'a [Arc<Endpoint>],
    /// What the producers made for the request.
    pub attributes: &'a Attributes,
}

impl<'a> Route<'a> {
    /// The endpoint of a stage; `None` when it has none of its own.
    pub fn endpoint(&self, stage: Stage) -> Option<&'a Arc<Endpoint>> {
        self.stages.iter().find(|(known, ..)| *known == stage).map(|&(_, endpoint, _)| endpoint)
    }

    /// The place in the pool of the endpoint that computes the prompt.
    pub fn computes(&self) -> Option<usize> {
        let find = |wanted| self.stages.iter().find(|(stage, ..)| *stage == wanted).map(|&(.., place)| place);
        find(Stage::Prefill).or_else(|| find(Stage::Decode))
    }
}

/// Changes to the headers of a request on its way to the endpoints: first what is removed, then what is set.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct HeaderChanges {
    /// Names, in lower case, of headers that the client may have sent and that go no further.
    pub remove: Vec<Cow<'static, str>>,
    /// Headers in the place of those of the same name.
    pub set: Headers,
    /// Where the request is sent (`host:port`) in the place of its endpoint's address; `None` where it is sent there.
    pub destination: Option<String>,
}

/// One thing that is reported of a complete response.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Reported {
    /// The namespace of its name, as Envoy's dynamic metadata has it.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: i64,
}

impl Reported {
    /// This value under this name.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>, value: i64) -> Self {
        Self { namespace: namespace.into(), name: name.into(), value }
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
