//! What one request adds to the gateway's metrics.

use std::sync::Arc;
use std::time::Duration;

use super::usage::TokenUsage;
use crate::clock::Clock;
use crate::telemetry::{RequestLabels, Telemetry};

/// One request's entry in the metrics. Dropped without an end, the client went away.
#[derive(Debug)]
pub(super) struct Account {
    telemetry: Arc<Telemetry>,
    labels: RequestLabels,
    clock: Clock,
    began: Duration,
    settled: bool,
}

impl Account {
    pub(super) fn open(telemetry: Arc<Telemetry>, model: &str, clock: Clock, began: Duration) -> Self {
        let labels = telemetry.request(model);
        Self { telemetry, labels, clock, began, settled: false }
    }

    /// Under which labels it is counted.
    pub(super) const fn labels(&self) -> &RequestLabels {
        &self.labels
    }

    /// The first byte of the answer came.
    pub(super) fn first_byte(&self) {
        self.telemetry.first_byte(&self.labels, self.clock.now() - self.began);
    }

    /// The answer is complete.
    pub(super) fn complete(&mut self, usage: Option<TokenUsage>) {
        self.settled = true;
        if let Some(usage) = usage {
            let cached = usage.cached_tokens().unwrap_or(0);
            self.telemetry.tokens(&self.labels, usage.prompt_tokens, cached, usage.completion_tokens);
        }
    }

    /// The request failed: `code` is a status, or a word for what has none.
    pub(super) fn fail(&mut self, code: &str) {
        self.settled = true;
        self.telemetry.request_failed(&self.labels, code);
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        if !self.settled {
            self.telemetry.request_failed(&self.labels, "client_gone");
        }
        self.telemetry.ended(&self.labels, self.clock.now() - self.began);
    }
}
