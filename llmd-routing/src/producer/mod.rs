//! Producers: what is found out about a request before its endpoints are scored.

mod inflight_load;
mod precise_prefix_cache;

pub(crate) use inflight_load::Parameters as InFlightLoadParameters;
pub use inflight_load::{InFlightLoad, OutputEstimate, Reservation};
pub use precise_prefix_cache::{PrecisePrefixCache, TierWeights};
