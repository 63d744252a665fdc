//! Deciders: whether a request goes through a stage of its own.

mod always;
mod multimodal;
mod prefix_based;

pub use always::AlwaysDecider;
pub use multimodal::MultimodalDecider;
pub(crate) use prefix_based::Parameters as PrefixBasedParameters;
pub use prefix_based::PrefixBasedDecider;
