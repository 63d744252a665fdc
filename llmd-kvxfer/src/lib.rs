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
//! A [`Region`] is memory, and with its layout an [`Agent`] makes a [`Pool`] of it. The engine that has computed a request grants its
//! blocks; the [`Grant`] goes with the request as bytes; the engine that decodes it fetches them, by whichever [`Transport`] is
//! fastest. [`session`] holds the two state machines that hand over a request, and [`engine`] runs them in the processes of one; with feature `nixl` the module of that name reaches
//! NIXL's own agents.
//!
//! Layouts, plans, leases, grants and sessions do no I/O, own no thread and read no clock.

#![warn(clippy::exhaustive_enums, clippy::exhaustive_structs)]

mod agent;
mod chance;
mod copy;
pub mod device;
pub mod engine;
mod folder;
mod grant;
mod handshake;
mod layout;
mod lease;
#[cfg(feature = "nixl")]
pub mod nixl;
mod outcome;
mod plan;
mod pool;
mod region;
pub mod session;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod transport;
mod wire;

pub use agent::{Agent, AgentBuilder, AgentStats, Considered, Event, Fetch, Fetched, Kept, OpId};
pub use grant::{Address, AgentId, Grant};
pub use layout::{Axis, KvLayout, KvShape};
pub use lease::{Capability, Lease, LeaseEnd, LeaseId};
pub use outcome::{Blocks, Outcome};
pub use plan::{Copies, Copy, Plan};
pub use pool::Pool;
pub use region::{DlpackForm, HostMemory, Region, delete_dlpack};
#[cfg(feature = "nixl")]
pub use transport::NixlTransport;
#[cfg(feature = "tls")]
pub use transport::Tls;
pub use transport::{
    Check, Cost, CudaIpc, Ending, Home, LeaseEnded, Local, Note, Notified, Reading, Shm, Tcp, Transfer, TransferId,
    Transport, Trust, Word,
};
