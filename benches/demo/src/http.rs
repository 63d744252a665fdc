//! A small HTTP client: JSON with a deadline, and streams.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use llmd_core::{Error, ErrorKind, Result};
use serde::de::DeserializeOwned;

/// How long an answer that is not a stream may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// Connections that are kept and used again; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Http {
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Http {
    /// A client without connections.
    pub(crate) fn new() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector);
        Self { client }
    }

    /// Posts JSON and gives the response as soon as its headers are there.
    ///
    /// # Errors
    ///
    /// The reason, in words, when there was no response.
    pub(crate) async fn stream(
        &self,
        url: &str,
        body: Bytes,
        headers: &[(HeaderName, &str)],
    ) -> Result<Response<Incoming>, String> {
        let mut request = Request::post(url).header(http::header::CONTENT_TYPE, "application/json");
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        let request = request.body(Full::new(body)).map_err(|error| error.to_string())?;
        self.client.request(request).await.map_err(|error| with_causes(&error))
    }

    /// What `GET url` answers, as text.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] when the answer is not 200 or does not come in time.
    pub(crate) async fn text(&self, url: &str) -> Result<String> {
        let body = self.answer(Method::GET, url, Bytes::new()).await?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    /// What `GET url` answers, as JSON of this type.
    ///
    /// # Errors
    ///
    /// As [`text`](Self::text), and [`ErrorKind::Corrupt`] when it is no such JSON.
    pub(crate) async fn json<T: DeserializeOwned>(&self, url: &str) -> Result<T> {
        let body = self.answer(Method::GET, url, Bytes::new()).await?;
        serde_json::from_slice(&body)
            .map_err(|error| Error::new(ErrorKind::Corrupt, format!("GET {url}: unexpected answer: {error}")))
    }

    /// Posts JSON and throws a good answer away.
    ///
    /// # Errors
    ///
    /// As [`text`](Self::text).
    pub(crate) async fn post(&self, url: &str, body: &serde_json::Value) -> Result<()> {
        self.answer(Method::POST, url, body.to_string().into()).await.map(drop)
    }

    async fn answer(&self, method: Method, url: &str, body: Bytes) -> Result<Bytes> {
        let failed = |why: String| Error::new(ErrorKind::Unavailable, format!("{method} {url}: {why}"));
        let request = Request::builder()
            .method(&method)
            .uri(url)
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|error| failed(error.to_string()))?;
        let exchange = async {
            let response = self.client.request(request).await.map_err(|error| with_causes(&error))?;
            let status = response.status();
            let body = response.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes();
            if status == StatusCode::OK {
                return Ok(body);
            }
            Err(format!("{status}: {}", String::from_utf8_lossy(&body).chars().take(200).collect::<String>()))
        };
        match tokio::time::timeout(DEADLINE, exchange).await {
            Ok(answer) => answer.map_err(failed),
            Err(_) => Err(failed(format!("no answer within {} s", DEADLINE.as_secs()))),
        }
    }
}

/// An error and what caused it, in one line.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
