//! Answers that come from the gateway itself when it cannot pass a request on, in OpenAI's shape.

use std::fmt;

use http::header::{ALLOW, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};
use llmd_core::{Error, ErrorKind};
use llmd_routing::plugin;
use serde_json::json;

use super::{Body, json_response};

/// How llm-d says why a request was sent nowhere.
const DROPPED_REASON: &str = "x-llm-d-request-dropped-reason";

/// Why a request is not passed on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    /// What clients switch on, as OpenAI and vLLM name it.
    kind: &'static str,
    /// The field of the request that is wrong.
    param: Option<&'static str>,
    message: String,
    allow: Option<&'static str>,
    /// Why a scheduler sent the request nowhere, in llm-d's words.
    dropped: Option<&'static str>,
}

impl Refusal {
    fn new(status: StatusCode, kind: &'static str, message: impl Into<String>) -> Self {
        Self { status, kind, param: None, message: message.into(), allow: None, dropped: None }
    }

    /// 400: the body is not what it must be.
    pub(crate) fn invalid(param: Option<&'static str>, message: impl Into<String>) -> Self {
        Self { param, ..Self::new(StatusCode::BAD_REQUEST, "invalid_request_error", message) }
    }

    /// 404: no such path.
    pub(crate) fn no_path(path: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NotFoundError", format!("there is nothing at {path}"))
    }

    /// 404: no endpoint serves the model; the message says which are served.
    pub(crate) fn no_model(model: &str, known: &[String]) -> Self {
        let known = if known.is_empty() { "none yet".into() } else { known.join(", ") };
        let message = format!("The model `{model}` does not exist; served are: {known}");
        Self { param: Some("model"), ..Self::new(StatusCode::NOT_FOUND, "NotFoundError", message) }
    }

    /// 404: what was asked for is not remembered.
    pub(crate) fn no_such(what: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NotFoundError", what)
    }

    /// 405: the path answers to these methods only.
    pub(crate) fn wrong_method(allow: &'static str) -> Self {
        let message = format!("expected {allow}");
        Self { allow: Some(allow), ..Self::new(StatusCode::METHOD_NOT_ALLOWED, "invalid_request_error", message) }
    }

    /// 408: the body came too slowly.
    pub(crate) fn too_slow() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "invalid_request_error", "the request's body did not come in time")
    }

    /// 413: the body is longer than allowed.
    pub(crate) fn too_large(limit: usize) -> Self {
        let message = format!("the request's body is larger than the {limit} bytes that are taken");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "invalid_request_error", message)
    }

    /// 502: an endpoint failed, and so did all that were tried after it.
    pub(crate) fn bad_gateway(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_GATEWAY, "BadGatewayError", message)
    }

    /// 503: not now.
    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailableError", message)
    }

    /// 504: an endpoint took too long, and so did all that were tried after it.
    pub(crate) fn timeout(message: impl Into<String>) -> Self {
        Self::new(StatusCode::GATEWAY_TIMEOUT, "GatewayTimeoutError", message)
    }

    /// The answer.
    pub(crate) fn into_response(self) -> Response<Body> {
        let error = json!({
            "message": self.message,
            "type": self.kind,
            "param": self.param,
            "code": self.status.as_u16(),
        });
        let mut response = json_response(self.status, &json!({ "error": error }));
        if self.status == StatusCode::SERVICE_UNAVAILABLE || self.status == StatusCode::TOO_MANY_REQUESTS {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if let Some(reason) = self.dropped {
            response.headers_mut().insert(DROPPED_REASON, HeaderValue::from_static(reason));
        }
        if let Some(allow) = self.allow {
            response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
        }
        response
    }
}

/// For logs.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.status, self.message)
    }
}

/// What a decision's error means to a client: a refusal of the scheduler keeps its status and its reason.
impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        if let Some(refusal) = plugin::Refusal::of(&error)
            && let Ok(status) = StatusCode::from_u16(refusal.status)
        {
            return Self { dropped: refusal.reason, ..Self::new(status, type_of(status), message) };
        }
        match error.kind() {
            ErrorKind::Exhausted => Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limit_error", message),
            ErrorKind::Invalid => Self::invalid(None, message),
            ErrorKind::Unavailable => Self::unavailable(message),
            _ => Self::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalServerError", message),
        }
    }
}

/// What clients switch on, as OpenAI and vLLM name it for a status.
fn type_of(status: StatusCode) -> &'static str {
    match status {
        StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED => "authentication_error",
        StatusCode::PRECONDITION_FAILED => "PreconditionFailedError",
        StatusCode::SERVICE_UNAVAILABLE => "ServiceUnavailableError",
        StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
        status if status.is_client_error() => "invalid_request_error",
        _ => "InternalServerError",
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    async fn body(response: Response<Body>) -> serde_json::Value {
        let body = response.into_body().collect().await.unwrap().to_bytes();
        serde_json::from_slice(&body).unwrap()
    }

    #[tokio::test]
    async fn a_refusal_has_openais_shape() {
        let response = Refusal::no_model("gpt", &["a".into(), "b".into()]).into_response();

        assert_eq!(response.status(), StatusCode::NOT_FOUND);
        assert_eq!(
            body(response).await,
            json!({"error": {
                "message": "The model `gpt` does not exist; served are: a, b",
                "type": "NotFoundError",
                "param": "model",
                "code": 404,
            }})
        );
    }

    #[test]
    fn what_may_be_tried_again_says_when() {
        let response = Refusal::unavailable("busy").into_response();
        assert_eq!(response.headers()[RETRY_AFTER], "1");
    }

    #[test]
    fn a_refusal_of_the_scheduler_keeps_its_status_and_its_reason() {
        let table = [
            (plugin::Refusal::saturated("full"), 429, Some("rejected-saturated")),
            (plugin::Refusal::no_endpoints("nobody"), 503, Some("rejected-no-endpoints")),
            (plugin::Refusal::new(412, "not cached"), 412, None),
            (plugin::Refusal::new(500, "as llm-d says it"), 500, None),
        ];
        for (refusal, status, reason) in table {
            let response = Refusal::from(Error::from(refusal)).into_response();
            let said = response.headers().get(DROPPED_REASON).map(|reason| reason.to_str().unwrap());
            assert_eq!((response.status().as_u16(), said), (status, reason));
        }
    }

    #[test]
    fn a_decisions_error_becomes_the_status_that_llm_d_gives() {
        let table = [
            (ErrorKind::Exhausted, StatusCode::TOO_MANY_REQUESTS),
            (ErrorKind::Unavailable, StatusCode::SERVICE_UNAVAILABLE),
            (ErrorKind::Invalid, StatusCode::BAD_REQUEST),
            (ErrorKind::Internal, StatusCode::INTERNAL_SERVER_ERROR),
        ];
        for (kind, status) in table {
            assert_eq!(Refusal::from(Error::new(kind, "why")).status, status, "{kind:?}");
        }
    }
}
