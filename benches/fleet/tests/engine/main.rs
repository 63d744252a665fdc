//! Engine processes as their clients and subscribers see them.
#![expect(clippy::unwrap_used, reason = "what fails in a test says where")]

mod events;
mod handover;
mod http;
mod support;
