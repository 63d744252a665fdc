//! What the gateway counts and measures. Names are llm-d's where it has one, with the prefix `llmd_`.

mod cap;

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use self::cap::Cap;

/// How many models, and how many endpoints, have series of their own; the others share those of `other`.
pub(crate) const MAX_LABELS: usize = 1_000;

/// Why attempts fail.
pub(crate) const RETRY_REASONS: [&str; 5] = ["answer", "connect", "reset", "status", "timeout"];

/// The content type of what [`exposition`] gives.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Everything that is counted as it happens. What can be looked up is told by [`StateCollector`](crate::collector::StateCollector) instead.
#[derive(Debug)]
pub(crate) struct Telemetry {
    models: Cap,
    endpoints: Cap,
    requests: Family<Model, Counter>,
    errors: Family<ModelError, Counter>,
    refusals: Family<ErrorCode, Counter>,
    durations: Family<Model, Histogram, fn() -> Histogram>,
    ttfts: Family<Model, Histogram, fn() -> Histogram>,
    input_tokens: Family<Model, Counter>,
    output_tokens: Family<Model, Counter>,
    cached_tokens: Family<Model, Counter>,
    running: Family<Model, Gauge>,
    decisions: Histogram,
    retries: Family<EndpointReason, Counter>,
    ejections: Family<EndpointName, Counter>,
    scrape_errors: Family<EndpointName, Counter>,
    tokenize_errors: Counter,
    disaggregated: Family<ModelDecision, Counter>,
    prefills: Histogram,
    prefill_fallbacks: Family<ModelReason, Counter>,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Model {
    model_name: String,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ModelError {
    model_name: String,
    error_code: String,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ModelDecision {
    model_name: String,
    decision_type: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ModelReason {
    model_name: String,
    reason: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ErrorCode {
    error_code: u16,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct EndpointName {
    endpoint_name: String,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct EndpointReason {
    endpoint_name: String,
    reason: &'static str,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self {
            models: Cap::new(MAX_LABELS),
            endpoints: Cap::new(MAX_LABELS),
            requests: Family::default(),
            errors: Family::default(),
            refusals: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.005, 2.0, 18))),
            ttfts: Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.001, 2.0, 18))),
            input_tokens: Family::default(),
            output_tokens: Family::default(),
            cached_tokens: Family::default(),
            running: Family::default(),
            decisions: Histogram::new(exponential_buckets(1e-6, 2.0, 18)),
            retries: Family::default(),
            ejections: Family::default(),
            scrape_errors: Family::default(),
            tokenize_errors: Counter::default(),
            disaggregated: Family::default(),
            prefills: Histogram::new(exponential_buckets(0.001, 2.0, 18)),
            prefill_fallbacks: Family::default(),
        }
    }
}

impl Telemetry {
    /// Adds all series to a registry.
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register("request", "Requests for a model that is served", self.requests.clone());
        registry.register("request_error", "Requests that failed, by status or reason", self.errors.clone());
        registry.register(
            "request_refused",
            "Requests that the gateway answered with an error of its own, by status",
            self.refusals.clone(),
        );
        registry.register(
            "request_duration_seconds",
            "From the head of a request to the last byte of its answer",
            self.durations.clone(),
        );
        registry.register(
            "request_ttft_seconds",
            "From the head of a request to the first byte of its answer",
            self.ttfts.clone(),
        );
        registry.register("request_input_tokens", "Prompt tokens, as engines count them", self.input_tokens.clone());
        registry.register("request_output_tokens", "Answer tokens, as engines count them", self.output_tokens.clone());
        registry.register(
            "request_cached_tokens",
            "Prompt tokens that engines took from their caches",
            self.cached_tokens.clone(),
        );
        registry.register("request_running", "Requests that have not ended", self.running.clone());
        registry.register(
            "scheduler_e2e_duration_seconds",
            "How long it took to choose an endpoint, tokens being there",
            self.decisions.clone(),
        );
        registry.register("retries", "Attempts that failed and were followed by another", self.retries.clone());
        registry.register("ejections", "How often an endpoint was left alone for failing", self.ejections.clone());
        registry.register("scrape_errors", "Readings of metrics that failed", self.scrape_errors.clone());
        registry.register(
            "tokenize_errors",
            "Prompts that could not be turned into tokens, and were routed without",
            self.tokenize_errors.clone(),
        );
        registry.register(
            "disagg_decision",
            "Requests whose stages the gateway saw to, by where they were done",
            self.disaggregated.clone(),
        );
        registry.register(
            "prefill_duration_seconds",
            "From a prefill that was sent to its answer, other endpoints that were tried included",
            self.prefills.clone(),
        );
        registry.register(
            "prefill_fallbacks",
            "Requests that nobody could prefill, and that the endpoint that decodes computed by itself",
            self.prefill_fallbacks.clone(),
        );
    }

    /// Counts a request in; dropping what comes back counts it out.
    pub(crate) fn request(&self, model: &str) -> RequestLabels {
        let model = Model { model_name: self.models.label(model) };
        self.requests.get_or_create(&model).inc();
        let running = self.running.get_or_create(&model).clone();
        running.inc();
        RequestLabels { model, running }
    }

    pub(crate) fn request_failed(&self, request: &RequestLabels, code: impl Into<String>) {
        let labels = ModelError { model_name: request.model.model_name.clone(), error_code: code.into() };
        self.errors.get_or_create(&labels).inc();
    }

    /// The gateway answered with an error of its own.
    pub(crate) fn refused(&self, status: u16) {
        self.refusals.get_or_create(&ErrorCode { error_code: status }).inc();
    }

    pub(crate) fn first_byte(&self, request: &RequestLabels, after: Duration) {
        self.ttfts.get_or_create(&request.model).observe(after.as_secs_f64());
    }

    pub(crate) fn ended(&self, request: &RequestLabels, after: Duration) {
        self.durations.get_or_create(&request.model).observe(after.as_secs_f64());
    }

    pub(crate) fn tokens(&self, request: &RequestLabels, input: u64, cached: u64, output: u64) {
        self.input_tokens.get_or_create(&request.model).inc_by(input);
        self.cached_tokens.get_or_create(&request.model).inc_by(cached);
        self.output_tokens.get_or_create(&request.model).inc_by(output);
    }

    pub(crate) fn decided(&self, took: Duration) {
        self.decisions.observe(took.as_secs_f64());
    }

    pub(crate) fn retried(&self, endpoint: &str, reason: &'static str) {
        let labels = EndpointReason { endpoint_name: self.endpoints.label(endpoint), reason };
        self.retries.get_or_create(&labels).inc();
    }

    pub(crate) fn ejected(&self, endpoint: &str) {
        self.ejections.get_or_create(&EndpointName { endpoint_name: self.endpoints.label(endpoint) }).inc();
    }

    pub(crate) fn scrape_failed(&self, endpoint: &str) {
        self.scrape_errors.get_or_create(&EndpointName { endpoint_name: self.endpoints.label(endpoint) }).inc();
    }

    pub(crate) fn tokenize_failed(&self) {
        self.tokenize_errors.inc();
    }

    /// Whether a request goes through two endpoints.
    pub(crate) fn staged(&self, request: &RequestLabels, apart: bool) {
        let decision_type = if apart { "prefill-decode" } else { "decode-only" };
        let labels = ModelDecision { model_name: request.model.model_name.clone(), decision_type };
        self.disaggregated.get_or_create(&labels).inc();
    }

    pub(crate) fn prefilled(&self, took: Duration) {
        self.prefills.observe(took.as_secs_f64());
    }

    /// The endpoint that decodes does the whole of a request.
    pub(crate) fn prefill_fell_back(&self, request: &RequestLabels, reason: &'static str) {
        let labels = ModelReason { model_name: request.model.model_name.clone(), reason };
        self.prefill_fallbacks.get_or_create(&labels).inc();
    }

    /// Drops the series of an endpoint that is gone.
    pub(crate) fn forget_endpoint(&self, endpoint: &str) {
        self.endpoints.forget(endpoint);
        let name = EndpointName { endpoint_name: endpoint.to_owned() };
        self.ejections.remove(&name);
        self.scrape_errors.remove(&name);
        for reason in RETRY_REASONS {
            self.retries.remove(&EndpointReason { endpoint_name: endpoint.to_owned(), reason });
        }
    }
}

/// The labels of one request, which is counted as running until this drops.
#[derive(Debug)]
pub(crate) struct RequestLabels {
    model: Model,
    running: Gauge,
}

impl Drop for RequestLabels {
    fn drop(&mut self) {
        self.running.dec();
    }
}

/// Everything in OpenMetrics' text form.
pub(crate) fn exposition(registry: &Registry) -> String {
    let mut text = String::new();
    encode(&mut text, registry).expect("a string takes everything");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_counted_under_its_model() {
        let (telemetry, mut registry) = (Telemetry::default(), Registry::with_prefix("llmd"));
        telemetry.register(&mut registry);
        let request = telemetry.request("m");
        telemetry.request_failed(&request, "502");
        telemetry.first_byte(&request, Duration::from_millis(3));

        let text = exposition(&registry);
        for line in [
            "llmd_request_total{model_name=\"m\"} 1",
            "llmd_request_error_total{model_name=\"m\",error_code=\"502\"} 1",
            "llmd_request_ttft_seconds_count{model_name=\"m\"} 1",
            "llmd_request_running{model_name=\"m\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
        drop(request);
        assert!(exposition(&registry).contains("llmd_request_running{model_name=\"m\"} 0"));
    }

    #[test]
    fn an_endpoint_that_is_gone_has_no_series() {
        let (telemetry, mut registry) = (Telemetry::default(), Registry::with_prefix("llmd"));
        telemetry.register(&mut registry);
        telemetry.ejected("e0");
        telemetry.scrape_failed("e0");
        telemetry.retried("e0", RETRY_REASONS[0]);
        assert_eq!(exposition(&registry).matches("e0").count(), 3);

        telemetry.forget_endpoint("e0");
        assert_eq!(exposition(&registry).matches("e0").count(), 0);
    }
}
