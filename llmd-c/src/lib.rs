//! llmd for C: the crates, translated. The manual is `include/llmd.h`, made from the declarations here.
//!
//! Handles are opaque and come in by shared reference, since C's callers are concurrent; whoever is handed one owns it and
//! frees it. Everything that can fail returns a status, and gives an error object to those who want one.

#![expect(non_camel_case_types, reason = "names are C's")]

pub mod agent;
mod boundary;
pub mod bytes;
pub mod check;
mod clock;
pub mod decision;
pub mod device;
pub mod endpoint;
pub mod error;
pub mod events;
mod filled;
mod given;
pub mod hasher;
pub mod index;
pub mod layout;
pub mod namespace;
mod quiet;
pub mod region;
pub mod request;
pub mod scheduler;
mod sized;
pub mod status;
pub mod string;
pub mod version;
