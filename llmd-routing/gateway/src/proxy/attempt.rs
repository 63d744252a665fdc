//! One attempt to have a request answered by one endpoint, up to the first byte of the answer's body.

use std::time::Duration;

use bytes::Bytes;
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderMap, Method, Request, StatusCode, Uri, response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Frame, Incoming};
use llmd_core::{Error, ErrorKind};
use llmd_routing::plugin::HeaderChanges;

use super::headers::{self, REQUEST_ID};
use crate::answer::Refusal;
use crate::clock::Clock;
use crate::telemetry::RETRY_REASONS;
use crate::upstream::{Upstream, because};

/// A request as each endpoint gets it.
#[derive(Clone, Debug)]
pub(super) struct Outgoing {
    pub(super) method: Method,
    pub(super) path: PathAndQuery,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// An answer whose body has begun, or has ended without a byte.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) head: response::Parts,
    pub(super) first: Option<Frame<Bytes>>,
    pub(super) rest: Incoming,
}

/// An attempt that failed before anything of it reached the client, so that another endpoint may be tried.
#[derive(Debug)]
pub(super) enum Failure {
    /// No connection came about.
    Connect(String),
    /// The connection ended before the first byte.
    Reset(String),
    /// What it answered to a prefill is nothing that a decoder could use.
    Useless(String),
    /// The endpoint said that it, or what is behind it, does not work: 502, 503 or 504.
    Status(Box<Answer>),
    /// The first byte did not come in time.
    Timeout(Duration),
}

impl Failure {
    /// One of the reasons that metrics know.
    pub(super) fn reason(&self) -> &'static str {
        let [answer, connect, reset, status, timeout] = RETRY_REASONS;
        match self {
            Self::Connect(_) => connect,
            Self::Reset(_) => reset,
            Self::Status(_) => status,
            Self::Timeout(_) => timeout,
            Self::Useless(_) => answer,
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Connect(why) => write!(f, "cannot be connected to: {why}"),
            Self::Reset(why) => write!(f, "broke off before its first byte: {why}"),
            Self::Status(answer) => write!(f, "answered {}", answer.head.status),
            Self::Timeout(after) => write!(f, "sent no byte within {after:?}"),
            Self::Useless(why) => write!(f, "gave an answer that is of no use: {why}"),
        }
    }
}

/// What the client is told when this was the last attempt; an endpoint's own answer is passed on instead.
impl Failure {
    pub(super) fn into_answer(self, endpoint: &str) -> Result<Answer, Refusal> {
        let message = format!("endpoint {endpoint} {self}, and no other is left to try");
        match self {
            Self::Status(answer) => Ok(*answer),
            Self::Timeout(_) => Err(Refusal::timeout(message)),
            Self::Connect(_) | Self::Reset(_) | Self::Useless(_) => Err(Refusal::bad_gateway(message)),
        }
    }
}

impl Outgoing {
    /// The request's id, for logs.
    pub(super) fn id(&self) -> &str {
        self.headers.get(REQUEST_ID).and_then(|id| id.to_str().ok()).unwrap_or_default()
    }

    fn to(&self, authority: &str, changes: &HeaderChanges) -> Result<Request<Full<Bytes>>, http::Error> {
        let authority = changes.destination.as_deref().unwrap_or(authority);
        let uri = Uri::builder().scheme(Scheme::HTTP).authority(authority).path_and_query(self.path.clone()).build()?;
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = uri;
        request.headers_mut().clone_from(&self.headers);
        headers::change(request.headers_mut(), changes);
        Ok(request)
    }
}

/// Sends the request, changed as its decision asks, and waits for the first byte of the answer's body: until then nothing is passed on, so that the
/// request can still move. Engines send the head of a stream before they have computed anything.
pub(super) async fn attempt(
    upstream: &Upstream,
    authority: &str,
    request: &Outgoing,
    changes: &HeaderChanges,
    patience: Duration,
    clock: &Clock,
) -> Result<Answer, Failure> {
    let request = request.to(authority, changes).map_err(|error| {
        let message = format!("{authority:?} is no address");
        Failure::Connect(Error::new(ErrorKind::Invalid, message).with_source(error).to_string())
    })?;
    tokio::select! {
        answer = exchange(upstream, request) => answer,
        () = clock.sleep_until(clock.now() + patience) => Err(Failure::Timeout(patience)),
    }
}

async fn exchange(upstream: &Upstream, request: Request<Full<Bytes>>) -> Result<Answer, Failure> {
    let response = upstream.send(request).await.map_err(|error| {
        let why = because(&error);
        if error.is_connect() { Failure::Connect(why) } else { Failure::Reset(why) }
    })?;
    let (head, mut rest) = response.into_parts();
    let first = rest.frame().await.transpose().map_err(|error| Failure::Reset(because(&error)))?;
    let answer = Answer { head, first, rest };
    match answer.head.status {
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
            Err(Failure::Status(Box::new(answer)))
        }
        _ => Ok(answer),
    }
}
