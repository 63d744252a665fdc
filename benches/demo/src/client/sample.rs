//! What the client saw of one request.

use std::time::Duration;

use http::HeaderMap;

/// How a request ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Outcome {
    /// The stream ended as it should, with the usage.
    Done,
    /// Nothing of an answer came, and why.
    Failed(String),
    /// The answer had begun and broke off, and why.
    Cut(String),
}

/// One request: times are wall time since the race began, tokens are simulated ones.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) id: String,
    pub(crate) prompt_tokens: usize,
    pub(crate) sent: Duration,
    /// How much later than planned it was sent.
    pub(crate) late: Duration,
    pub(crate) first_token: Option<Duration>,
    pub(crate) ended: Duration,
    pub(crate) output_tokens: usize,
    /// Cached tokens of the prompt, as the engine reports them.
    pub(crate) cached: Option<usize>,
    pub(crate) endpoint: String,
    /// Cached tokens of the prompt, as the gateway predicted them when it chose.
    pub(crate) predicted: usize,
    /// Microseconds that the gateway took to choose.
    pub(crate) decision_us: Option<f64>,
    pub(crate) attempts: usize,
    pub(crate) outcome: Outcome,
}

impl Sample {
    /// A request that has just been sent.
    pub(crate) fn new(id: String, prompt_tokens: usize, sent: Duration) -> Self {
        Self {
            id,
            prompt_tokens,
            sent,
            late: Duration::ZERO,
            first_token: None,
            ended: sent,
            output_tokens: 0,
            cached: None,
            endpoint: String::new(),
            predicted: 0,
            decision_us: None,
            attempts: 1,
            outcome: Outcome::Failed("not answered".to_owned()),
        }
    }

    /// The number at the end of the id.
    pub(crate) fn number(&self) -> Option<usize> {
        self.id.rsplit('-').next()?.parse().ok()
    }

    /// Takes what the gateway says about its choice from the `x-llmd-*` headers.
    pub(crate) fn note(&mut self, headers: &HeaderMap) {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        self.endpoint = text("x-llmd-endpoint").unwrap_or_default().to_owned();
        self.predicted = text("x-llmd-predicted-cached-tokens").and_then(|value| value.parse().ok()).unwrap_or(0);
        self.decision_us = text("x-llmd-decision-us").and_then(|value| value.parse().ok());
        self.attempts = text("x-llmd-attempts").and_then(|value| value.parse().ok()).unwrap_or(1);
    }

    /// Whether it ended as it should.
    pub(crate) fn is_done(&self) -> bool {
        self.outcome == Outcome::Done
    }

    /// Milliseconds of engine time from sending to the first token.
    pub(crate) fn ttft_ms(&self, speed: f64) -> Option<f64> {
        self.first_token.map(|first| first.saturating_sub(self.sent).as_secs_f64() * 1000.0 * speed)
    }

    /// Tokens between the prediction and what the engine reported, both at most all but the last of the prompt, which
    /// an engine always computes.
    pub(crate) fn prediction_error(&self) -> Option<usize> {
        let most = self.prompt_tokens.saturating_sub(1);
        self.cached.map(|cached| self.predicted.min(most).abs_diff(cached.min(most)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prediction_is_capped_at_all_but_the_last_token() {
        let mut sample = Sample::new("exact_prefix-12".to_owned(), 64, Duration::ZERO);
        assert_eq!(sample.prediction_error(), None);

        (sample.predicted, sample.cached) = (64, Some(48));
        assert_eq!(sample.prediction_error(), Some(15));
        assert_eq!(sample.number(), Some(12));
    }

    #[test]
    fn what_the_gateway_says_is_taken_from_its_headers() {
        let mut headers = HeaderMap::new();
        headers.insert("x-llmd-endpoint", "e2".parse().unwrap());
        headers.insert("x-llmd-predicted-cached-tokens", "128".parse().unwrap());
        headers.insert("x-llmd-decision-us", "14.5".parse().unwrap());
        headers.insert("x-llmd-attempts", "2".parse().unwrap());
        let mut sample = Sample::new("a-1".to_owned(), 200, Duration::ZERO);
        sample.note(&headers);

        assert_eq!((sample.endpoint.as_str(), sample.predicted, sample.attempts), ("e2", 128, 2));
        assert_eq!(sample.decision_us, Some(14.5));
    }
}
