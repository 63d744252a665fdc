//! Moving KV between engines.
//!
//! A [`KvLayout`] says where in an engine's memory each part of its KV cache lies, and a [`Plan`] which bytes go where between two
//! of them, whatever their order of axes, tokens per block and shards:
//!
//! ```
//! use llmd_kvxfer::{KvLayout, KvShape, Plan};
//!
//! // Two layers of 8 blocks of 16 tokens, 4 heads with keys and values of 128 elements of 2 bytes.
//! let shape = KvShape { layers: 2, blocks: 8, heads: 4, tokens: 16, parts: 2, content: 256 };
//! let prefill = KvLayout::named("LBNHC", shape)?;
//! let decode = KvLayout::named("LBHNC", shape)?;
//! let plan = Plan::new(&prefill, &decode)?;
//! assert!(plan.is_complete());
//! // Three blocks there, three blocks here: each token's part of each head and layer is a copy of its own.
//! let bytes: u64 = plan.copies(&[5, 6, 1], &[0, 1, 2])?.map(|copy| copy.len).sum();
//! assert_eq!(bytes, 3 * 2 * 4 * 16 * 2 * 256);
//! # Ok::<(), llmd_core::Error>(())
//! ```
//!
//! A [`Device`](device::Device) is one kind of memory, the host's or an accelerator's, whose driver is loaded at run time;
//! [`Staging`](device::Staging) makes the copies of a plan between it and the host, each part in the way that takes least.
//!
//! Layouts and plans do no I/O, own no thread and read no clock, and neither does staging: it is polled. What moves bytes between
//! engines (regions, transports, leases, the agent) is to come.

#![warn(clippy::exhaustive_enums, clippy::exhaustive_structs)]

pub mod device;
mod layout;
mod plan;
#[cfg(feature = "testing")]
pub mod testing;

pub use layout::{Axis, KvLayout, KvShape};
pub use plan::{Copies, Copy, Plan};
