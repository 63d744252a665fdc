//! Published figures, and how the same is measured here.

use crate::simulate::driver::{Outcome, PhaseOutcome};

/// What is measured of a run, or of one of its stages.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Measure {
    /// Mean seconds to the first token.
    FirstToken,
    /// Tokens that come out per second.
    OutputPerS,
    /// Requests per second that are answered.
    RequestsPerS,
    /// Tokens of prompts and outputs per second.
    TokensPerS,
    /// Mean seconds to the last token.
    Whole,
}

impl Measure {
    /// The beginning of a figure's name.
    pub const fn key(self) -> &'static str {
        match self {
            Self::FirstToken => "ttft_mean_s",
            Self::OutputPerS => "out_tok_s",
            Self::RequestsPerS => "requests_per_s",
            Self::TokensPerS => "total_tok_s",
            Self::Whole => "e2e_mean_s",
        }
    }

    /// What it is, in words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::FirstToken => "mean seconds to the first token",
            Self::OutputPerS => "output tokens/s",
            Self::RequestsPerS => "requests/s",
            Self::TokensPerS => "input and output tokens/s",
            Self::Whole => "mean seconds to the last token",
        }
    }

    /// Whether more is better.
    pub const fn more_is_better(self) -> bool {
        matches!(self, Self::OutputPerS | Self::RequestsPerS | Self::TokensPerS)
    }

    /// The figure of a phase.
    pub fn of_phase(self, phase: &PhaseOutcome) -> f64 {
        let mean = |seconds: fn(&crate::simulate::Served) -> f64| {
            phase.served.iter().map(seconds).sum::<f64>() / phase.served.len().max(1) as f64
        };
        match self {
            Self::FirstToken => mean(|served| served.first_token.as_secs_f64()),
            Self::OutputPerS => phase.output_per_s(),
            Self::RequestsPerS => phase.requests_per_s(),
            Self::TokensPerS => phase.tokens_per_s(),
            Self::Whole => mean(|served| served.whole.as_secs_f64()),
        }
    }

    /// The figure of a run: the mean of its stages, as llm-d's tables have it; times are those of all requests.
    pub fn of(self, outcome: &Outcome) -> f64 {
        let mean = |seconds: fn(&crate::simulate::Served) -> f64| {
            let (sum, count) =
                outcome.served().fold((0.0, 0), |(sum, count), served| (sum + seconds(served), count + 1));
            sum / f64::from(count.max(1))
        };
        match self {
            Self::FirstToken => mean(|served| served.first_token.as_secs_f64()),
            Self::Whole => mean(|served| served.whole.as_secs_f64()),
            _ => outcome.mean(|phase| self.of_phase(phase)),
        }
    }
}

/// A published figure.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Row {
    /// What is measured.
    pub measure: Measure,
    /// The rate of the stage that it stands for; `None` for the whole.
    pub rate: Option<f64>,
    /// What was published.
    pub published: f64,
    /// By how many percent the simulation may differ.
    pub within: Option<f64>,
}

impl Row {
    pub(super) const fn whole(measure: Measure, published: f64) -> Self {
        Self { measure, rate: None, published, within: None }
    }

    pub(super) const fn at(measure: Measure, rate: f64, published: f64) -> Self {
        Self { measure, rate: Some(rate), published, within: None }
    }

    pub(super) const fn within(self, percent: f64) -> Self {
        Self { within: Some(percent), ..self }
    }

    /// The same figure of a run; `None` when the run has no such stage.
    pub fn simulated(&self, outcome: &Outcome) -> Option<f64> {
        match self.rate {
            None => Some(self.measure.of(outcome)),
            Some(rate) => {
                let phase = outcome.counted().find(|phase| (phase.rate - rate).abs() < 1e-9)?;
                Some(self.measure.of_phase(phase))
            }
        }
    }
}
