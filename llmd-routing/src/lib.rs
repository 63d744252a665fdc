//! Which endpoint, and when: llm-d's endpoint picker as a library.

#![warn(clippy::exhaustive_enums, clippy::exhaustive_structs)]

mod endpoint;
mod needs;
mod request;

pub use endpoint::{Endpoint, EngineMetrics, InFlight, InFlightGuard, Pool};
pub use needs::Needs;
pub use request::{Headers, Request};
