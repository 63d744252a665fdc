//! Who holds which prompt.

mod chain;
mod dense;
mod explain;
mod fed;
mod file;
mod limits;
mod overlap;
mod prefix;
mod shared;
mod stats;

pub(crate) use chain::Chain;
pub(crate) use explain::{PrefixExplanation, WorkerExplanation};
pub(crate) use fed::Fed;
pub(crate) use overlap::Overlap;
pub(crate) use prefix::PrefixIndex;
pub(crate) use shared::{Shared, word};
pub(crate) use stats::IndexStats;
