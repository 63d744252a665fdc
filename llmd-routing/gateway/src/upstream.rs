//! The way to the endpoints: one pool of connections for requests and for looking at them.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioTimer};

use crate::settings::Settings;

/// Talks to endpoints. Clones share connections.
#[derive(Clone, Debug)]
pub(crate) struct Upstream {
    client: Client<HttpConnector, Full<Bytes>>,
    poll_timeout: Duration,
    poll_bytes: usize,
}

impl Upstream {
    pub(crate) fn new(settings: &Settings) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(settings.timeouts.connect));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(settings.timeouts.idle_connection)
            .build(connector);
        Self { client, poll_timeout: settings.timeouts.poll, poll_bytes: settings.limits.poll_bytes }
    }

    /// Sends a request. Dropping the future, or the body that comes of it, ends the request at the endpoint.
    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Error> {
        self.client.request(request).await
    }

    /// What an endpoint answers about itself, in one piece.
    pub(crate) async fn get(&self, authority: &str, path: &str) -> Result<Bytes, Unanswered> {
        let answer = tokio::time::timeout(self.poll_timeout, self.get_unhurried(authority, path));
        answer.await.unwrap_or_else(|_| Err(Unanswered::Failed(format!("no answer within {:?}", self.poll_timeout))))
    }

    async fn get_unhurried(&self, authority: &str, path: &str) -> Result<Bytes, Unanswered> {
        let uri = Uri::builder().scheme("http").authority(authority).path_and_query(path).build();
        let mut request = Request::new(Full::default());
        *request.method_mut() = Method::GET;
        *request.uri_mut() = uri.map_err(|error| Unanswered::Failed(error.to_string()))?;
        let response = self.client.request(request).await.map_err(|error| Unanswered::Failed(because(&error)))?;
        if response.status() != StatusCode::OK {
            return Err(Unanswered::Status(response.status()));
        }
        let body = Limited::new(response.into_body(), self.poll_bytes).collect().await;
        Ok(body.map_err(|error| Unanswered::Failed(because(error.as_ref())))?.to_bytes())
    }
}

/// Why an endpoint did not say what it was asked about itself.
#[derive(Debug)]
pub(crate) enum Unanswered {
    /// It was not reached, or its answer was too slow, too long, or broke off.
    Failed(String),
    /// It answered with something else than 200.
    Status(StatusCode),
}

impl fmt::Display for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(why) => f.write_str(why),
            Self::Status(status) => write!(f, "status {status}"),
        }
    }
}

/// An error with all that caused it, in one line.
pub(crate) fn because(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
