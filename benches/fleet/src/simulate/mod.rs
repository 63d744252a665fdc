//! A fleet in virtual time: hours of load on many engines, replayed in seconds.
//!
//! - [`Engine`]: the engine of [`model`](crate::model), written for speed: a step costs what changes in it.
//! - [`Load`]: what is asked of the fleet, when: inference-perf's stages, conversations.
//! - [`scenario`]: fleets and loads with published tables beside them, and our own.
//! - [`Run`]: a load on a [`Fleet`], routed by llmd's own scheduler as a configuration says.
//!
//! Nothing here sleeps, reads a clock or owns a thread. The same seed gives the same run.

mod driver;
mod engine;
mod load;
pub mod scenario;

pub use driver::{Death, Fleet, Outcome, PhaseOutcome, Pulls, Run, Served, Worst};
pub use engine::{Admitted, Engine, Experts, Finished, Job, Machine, Prompt, StepReport, Stream};
pub use load::{Arrivals, Client, Conversation, Load, Phase, Sessions, SharedPrefix, Spread, Stage, Turn, staged};
