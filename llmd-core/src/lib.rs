//! What a block of KV cache is, who holds it, and how to name it: the part of llmd that everything else stands on.
//!
//! No I/O, no async, no clock: bytes, tokens and times come in as arguments, answers go out.
//!
//! - [`hash`]: token ids → block hashes; llmd's own keyed scheme, and the engines' own, bit for bit.
//! - [`event`]: KV events of any engine and version → [`event::KvEvent`]; a [`event::Sequencer`] that notices what is
//!   missing.
//! - [`feed`]: an index that is fed batch by batch, under the names of its workers.
//! - [`index`]: for a prompt, how many leading blocks each worker holds, and why not more.

#![warn(clippy::exhaustive_enums, clippy::exhaustive_structs)]

mod block;
mod error;
pub mod event;
pub mod feed;
pub mod hash;
pub mod index;
mod medium;
pub mod protocol;
mod state;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod worker;

pub use block::{BlockHash, ExternalBlockHash, GroupIdx, TokenId};
pub use error::{Error, ErrorKind, Result};
pub use medium::{Locality, Medium};
pub use worker::WorkerId;
