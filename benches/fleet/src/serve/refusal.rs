//! Answers to requests that cannot be served, in OpenAI's shape with vLLM's names.

use bytes::Bytes;
use http::{Response, StatusCode};
use llmd_core::{Error, ErrorKind};
use serde_json::json;

use super::answer::{AnswerBody, json_answer};

/// Why a request is not served.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    /// The field that is wrong.
    param: Option<&'static str>,
    message: String,
}

impl Refusal {
    pub(super) fn bad(param: &'static str, message: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, param: Some(param), message: message.into() }
    }

    pub(super) fn with_status(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, param: None, message: message.into() }
    }

    pub(super) fn unknown_model(model: &str) -> Self {
        Self {
            status: StatusCode::NOT_FOUND,
            param: Some("model"),
            message: format!("The model `{model}` does not exist."),
        }
    }

    pub(super) fn answer(&self) -> Response<AnswerBody> {
        json_answer(self.status, &self.json())
    }

    /// The same as an event of a stream that has begun.
    pub(super) fn event(&self) -> Bytes {
        format!("data: {}\n\n", self.json()).into()
    }

    fn json(&self) -> serde_json::Value {
        let kind = match self.status {
            StatusCode::NOT_FOUND => "NotFoundError",
            status if status.is_client_error() => "BadRequestError",
            StatusCode::SERVICE_UNAVAILABLE => "ServiceUnavailableError",
            _ => "InternalServerError",
        };
        json!({ "error": { "message": self.message, "type": kind, "param": self.param, "code": self.status.as_u16() } })
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let status = match error.kind() {
            ErrorKind::Invalid | ErrorKind::Unsupported => StatusCode::BAD_REQUEST,
            ErrorKind::Exhausted | ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::with_status(status, error.to_string())
    }
}
