//! A client that sees exactly what comes.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client as Pooled;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};

use super::soon;

/// A client of one server.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    server: SocketAddr,
    pooled: Pooled<HttpConnector, Full<Bytes>>,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    /// What came, and whether it came to a clean end.
    pub(crate) body: Bytes,
    pub(crate) whole: bool,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {:?}", self.body))
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    /// The message of an error in OpenAI's shape.
    pub(crate) fn error(&self) -> String {
        let error = &self.json()["error"];
        assert_eq!(error["code"], self.status, "{error}");
        assert!(error["type"].is_string(), "{error}");
        error["message"].as_str().unwrap().to_owned()
    }
}

impl Client {
    pub(crate) fn of(server: SocketAddr) -> Self {
        Self { server, pooled: Pooled::builder(TokioExecutor::new()).build_http() }
    }

    pub(crate) fn server(&self) -> SocketAddr {
        self.server
    }

    pub(crate) fn request(&self, method: Method, path: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
        let uri = format!("http://{}{path}", self.server);
        Request::builder().method(method).uri(uri).body(Full::new(body.into())).unwrap()
    }

    /// The head of an answer, as soon as it is there. Dropping it goes away.
    pub(crate) async fn begin(&self, request: Request<Full<Bytes>>) -> Response<Incoming> {
        soon("an answer", self.pooled.request(request)).await.unwrap()
    }

    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Answer {
        finish(self.begin(request).await).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path, "")).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::POST, path, body.to_string())).await
    }

    /// A completion by model `m`.
    pub(crate) async fn complete(&self) -> Answer {
        self.post("/v1/completions", &json!({"model": "m", "prompt": "hello"})).await
    }

    /// The beginning of a streamed completion by model `m`.
    pub(crate) async fn stream(&self) -> Response<Incoming> {
        let body = json!({"model": "m", "prompt": "hello", "stream": true}).to_string();
        self.begin(self.request(Method::POST, "/v1/completions", body)).await
    }
}

/// The next piece of a streamed answer; `None` at a clean end.
pub(crate) async fn piece(response: &mut Response<Incoming>) -> Option<Result<String, String>> {
    let frame = soon("a piece", response.body_mut().frame()).await?;
    let data = frame.map(|frame| frame.into_data().unwrap_or_default());
    Some(data.map(|data| String::from_utf8(data.into()).unwrap()).map_err(|error| error.to_string()))
}

/// Reads an answer to its end.
pub(crate) async fn finish(response: Response<Incoming>) -> Answer {
    let (head, mut body) = response.into_parts();
    let (mut read, mut whole) = (Vec::new(), true);
    while let Some(frame) = soon("the rest of an answer", body.frame()).await {
        match frame {
            Ok(frame) => read.extend_from_slice(&frame.into_data().unwrap_or_default()),
            Err(_) => {
                whole = false;
                break;
            }
        }
    }
    Answer { status: head.status.as_u16(), headers: head.headers, body: read.into(), whole }
}
