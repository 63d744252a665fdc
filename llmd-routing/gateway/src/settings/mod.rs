//! What can be set about a gateway: every time-out, every bound, with its default.

mod duration;

use std::collections::BTreeMap;
use std::time::Duration;

use llmd_core::{Error, ErrorKind, Result};
use serde::Deserialize;

use crate::events::EventSettings;

/// What can be set about a gateway. Every default is in the field's description; durations are written as `250ms`,
/// `5s`, `2m`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[non_exhaustive]
pub struct Settings {
    /// Serves `/debug/…` and adds `x-llmd-…` headers to responses. They tell what is cached: for trusted clients only.
    /// Default: no.
    pub debug: bool,
    /// Makes every random choice repeatable. Default: none, chance is the operating system's.
    pub seed: Option<u64>,
    /// How long things may take.
    pub timeouts: Timeouts,
    /// How much there may be of things.
    pub limits: Limits,
    /// When an endpoint is left alone, and when it is taken back.
    pub ejection: Ejection,
    /// How the gateway stops.
    pub drain: Drain,
    /// How often endpoints are looked at.
    pub polling: Polling,
    /// What requests are told apart by, besides their model.
    pub requests: Requests,
    /// Who sees to the stages of a request that is prefilled at one endpoint and decoded at another.
    pub disaggregation: Disaggregation,
    /// The limits of event subscriptions. In code only: YAML does not say them.
    #[serde(skip)]
    pub events: EventSettings,
}

impl Settings {
    /// Settings as YAML has them.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] with line and column, for what is unknown or of the wrong type.
    pub fn from_yaml(text: &str) -> Result<Self> {
        serde_saphyr::from_str(text).map_err(|error| Error::new(ErrorKind::Invalid, error.to_string()))
    }
}

/// What requests are told apart by, besides their model.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[non_exhaustive]
pub struct Requests {
    /// Priorities by the name of an objective, which a request says in `x-llm-d-inference-objective`; what is below 0 may be
    /// refused when there is too much to do. llm-d's `InferenceObjective`. Default: none, and every request has priority 0.
    pub objectives: BTreeMap<String, i32>,
    /// The header that says whose a request is. Set it where something in front of the gateway writes it, and not the
    /// client. Default: none.
    pub tenant_header: Option<String>,
    /// Whether answers are read for the tokens that they took, for `/metrics`. Plugins that need them are given them all
    /// the same. Default: yes.
    #[serde(rename = "countTokens")]
    pub count_tokens: CountTokens,
}

/// Who sees to the stages of a request that is prefilled at one endpoint and decoded at another.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[non_exhaustive]
pub struct Disaggregation {
    /// By which connector the gateway has a request prefilled, and then decoded: `kv-nixl`, `kv-shared-storage`, `llmd` or
    /// `nixlv2`. Default: none, and a sidecar before the engine that decodes does it, as `x-prefiller-host-port` says.
    pub connector: Option<String>,
}

/// Whether answers are read for the tokens that they took.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum CountTokens {
    /// For every answer.
    #[default]
    Always,
    /// Only where a plugin needs them.
    Needed,
}

/// How long things may take. There is no limit on a whole request: a long answer is not a failure.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[non_exhaustive]
pub struct Timeouts {
    /// From a client's connection to the head of its request. Default: 30 s.
    #[serde(with = "duration")]
    pub request_head: Duration,
    /// Between two pieces of a request's body. Default: 30 s.
    #[serde(with = "duration")]
    pub request_body: Duration,
    /// To connect to an endpoint. Default: 2 s.
    #[serde(with = "duration")]
    pub connect: Duration,
    /// From a request that was sent to an endpoint to the first byte of its answer's body: queueing and prefill.
    /// Default: 10 min.
    #[serde(with = "duration")]
    pub first_byte: Duration,
    /// Between two pieces of an answer. Default: 5 min.
    #[serde(with = "duration")]
    pub between_bytes: Duration,
    /// How long a connection to an endpoint is kept without use. Default: 4 s, below the 5 s after which uvicorn closes
    /// it, so that requests rarely meet a closing connection.
    #[serde(with = "duration")]
    pub idle_connection: Duration,
    /// For one look at an endpoint: its metrics, its models, its health. Default: 2 s.
    #[serde(with = "duration")]
    pub poll: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            request_head: Duration::from_secs(30),
            request_body: Duration::from_secs(30),
            connect: Duration::from_secs(2),
            first_byte: Duration::from_secs(600),
            between_bytes: Duration::from_secs(300),
            idle_connection: Duration::from_secs(4),
            poll: Duration::from_secs(2),
        }
    }
}

/// How much there may be of things.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[non_exhaustive]
pub struct Limits {
    /// Connections from clients; more wait in the operating system's queue. Default: 16,384.
    pub connections: usize,
    /// Requests at a time; more are answered with 503. Default: 4,096.
    pub requests: usize,
    /// Bytes of a request's body; larger ones are answered with 413. Default: 64 MiB.
    pub body_bytes: usize,
    /// Endpoints that one request is tried on, in the order of their rank. Default: 8.
    pub attempts: usize,
    /// Prompts that are turned into tokens at a time; more wait. Default: the number of processors.
    pub tokenizers: usize,
    /// Bytes of an endpoint's answer about itself: metrics, models. Default: 4 MiB.
    pub poll_bytes: usize,
    /// Bytes of a prefiller's answer, where the gateway sees to the stages itself. Default: 4 MiB.
    pub prefill_bytes: usize,
    /// Models, adapters included; more are not served, and logged. Default: 1,000.
    pub models: usize,
    /// Decisions that are remembered for `/debug/decisions`. Default: 4,096.
    pub decisions: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 16_384,
            requests: 4_096,
            body_bytes: 64 << 20,
            attempts: 8,
            tokenizers: std::thread::available_parallelism().map_or(1, Into::into),
            poll_bytes: 4 << 20,
            prefill_bytes: 4 << 20,
            models: 1_000,
            decisions: 4_096,
        }
    }
}

/// When an endpoint is left alone, and when it is taken back.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[non_exhaustive]
pub struct Ejection {
    /// Failures in a row after which an endpoint gets no more requests. Default: 3.
    pub consecutive_failures: u32,
    /// How long it is left alone the first time; doubled each time that it fails again after it was taken back.
    /// Default: 1 s.
    #[serde(with = "duration")]
    pub base: Duration,
    /// The longest time it is left alone. Default: 30 s.
    #[serde(with = "duration")]
    pub max: Duration,
    /// After that time, how often `GET /health` is asked until it answers. Default: 1 s.
    #[serde(with = "duration")]
    pub probe_interval: Duration,
}

impl Default for Ejection {
    fn default() -> Self {
        Self {
            consecutive_failures: 3,
            base: Duration::from_secs(1),
            max: Duration::from_secs(30),
            probe_interval: Duration::from_secs(1),
        }
    }
}

/// How the gateway stops.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[non_exhaustive]
pub struct Drain {
    /// How long new connections are still taken while `/ready` says no, so that load balancers go elsewhere first.
    /// Default: 0.
    #[serde(with = "duration")]
    pub notice: Duration,
    /// How long requests that have begun may go on after that; then they are cut. Default: 30 s.
    #[serde(with = "duration")]
    pub timeout: Duration,
}

impl Default for Drain {
    fn default() -> Self {
        Self { notice: Duration::ZERO, timeout: Duration::from_secs(30) }
    }
}

/// How often endpoints are looked at.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[non_exhaustive]
pub struct Polling {
    /// Between two readings of an endpoint's metrics, where a plugin needs them. Default: 200 ms; llm-d reads them every
    /// 50 ms, which has been seen to slow engines down.
    #[serde(with = "duration")]
    pub metrics: Duration,
    /// The age at which metrics say nothing any more. Default: 2 s.
    #[serde(with = "duration")]
    pub metrics_stale: Duration,
    /// Between two questions for an endpoint's models and event source, where its entry does not say them. Until the
    /// first answer it is asked four times a second. Default: 10 s.
    #[serde(with = "duration")]
    pub models: Duration,
    /// Between two looks at the endpoints file. Default: 1 s.
    #[serde(with = "duration")]
    pub endpoints_file: Duration,
}

impl Default for Polling {
    fn default() -> Self {
        Self {
            metrics: Duration::from_millis(200),
            metrics_stale: Duration::from_secs(2),
            models: Duration::from_secs(10),
            endpoints_file: Duration::from_secs(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_has_its_default() {
        let settings = Settings::from_yaml("timeouts: {firstByte: 1500ms}\nlimits: {attempts: 2}").unwrap();

        assert_eq!(settings.timeouts.first_byte, Duration::from_millis(1500));
        assert_eq!(settings.timeouts.connect, Timeouts::default().connect);
        assert_eq!(settings.limits.attempts, 2);
        assert_eq!(settings.drain, Drain::default());
    }

    #[test]
    fn an_unknown_field_is_an_error_with_its_place() {
        let error = Settings::from_yaml("timeouts:\n  firstbyte: 1s\n").unwrap_err();

        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains("firstbyte"), "{error}");
        assert!(error.to_string().contains("line 2"), "{error}");
    }

    #[test]
    fn a_duration_without_a_unit_is_an_error() {
        let error = Settings::from_yaml("drain: {timeout: \"30\"}").unwrap_err();

        assert!(error.to_string().contains("a number and a unit, as in 250ms, 5s or 2m"), "{error}");
    }
}
