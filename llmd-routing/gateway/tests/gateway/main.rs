//! What the gateway promises, tried on real sockets against engines that behave well and badly.

#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

mod cache;
mod cost;
mod discovery;
mod drain;
mod limits;
mod models;
mod observability;
mod passing;
mod program;
#[path = "../publisher/mod.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod publisher;
mod retries;
mod stages;
mod support;
