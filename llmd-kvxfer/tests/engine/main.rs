//! Engines of a scheduler and workers, which hand over requests to each other: real agents, real sockets.

#![expect(clippy::unwrap_used, reason = "what fails in a test says where")]

mod door;
mod faults;
mod fleet;
mod handover;
mod latency;
mod processes;
