//! Which endpoint, and when: llm-d's endpoint picker as a library.

#![warn(clippy::exhaustive_enums, clippy::exhaustive_structs)]

pub mod config;
mod endpoint;
pub mod filter;
mod handler;
mod needs;
pub mod picker;
pub mod plugin;
pub mod producer;
mod profile;
mod request;
mod scheduler;
pub mod scorer;
pub mod session;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use config::{EndpointPickerConfig, SchedulerBuilder};
pub use endpoint::{Endpoint, EngineMetrics, InFlight, InFlightGuard, Pool};
pub use handler::SingleProfileHandler;
pub use needs::Needs;
pub use plugin::Usage;
pub use profile::Profile;
pub use request::{Headers, Request};
pub use scheduler::{
    Decision, Description, EndpointExplanation, Explanation, Fate, ProfileExplanation, Scheduler, Turn,
};
