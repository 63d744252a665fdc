//! Admitters: whether a request is sent anywhere. They refuse requests of less importance than 0 and no others.

mod latency_slo;
mod probabilistic;
mod saturation;

pub use latency_slo::LatencySloAdmitter;
pub(crate) use latency_slo::Parameters as LatencySloParameters;
pub(crate) use probabilistic::Parameters as ProbabilisticParameters;
pub use probabilistic::{ProbabilisticAdmitter, ProbabilisticSettings};
pub use saturation::SaturationAdmitter;

use std::borrow::Cow;

use crate::plugin::Refusal;

/// The status of the answer to a request that is refused when the parameters do not say: too many requests.
pub(crate) const TOO_MANY: u16 = 429;

/// Why a request is refused: with 429 llm-d's reason for those that come when there is too much to do, with another status
/// none, as in llm-d.
fn refusal(status: u16, message: impl Into<Cow<'static, str>>) -> Refusal {
    if status == TOO_MANY { Refusal::saturated(message) } else { Refusal::new(status, message) }
}
