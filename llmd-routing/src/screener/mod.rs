//! Screeners: who may be chosen by any profile.

mod rollout;
mod shares;

pub(crate) use rollout::Parameters as RolloutParameters;
pub use rollout::{HeaderSelector, RolloutScreener, RolloutSettings, SelectorMode};
pub use shares::{Gating, GatingMode};
