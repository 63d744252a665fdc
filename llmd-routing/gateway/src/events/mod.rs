//! KV events of running engines, from their sockets into an index.
//!
//! Every worker has two tasks, one that reads its event stream and one that asks it for replay. They decode what they
//! get and hand it to the one task that owns the index's writer and a [`Sequencer`](llmd_core::event::Sequencer) per
//! worker. The queue between them is bounded: a writer that falls behind makes the sockets wait, the engine then drops
//! what it cannot send, and the sequencer asks for it again.

mod ear;
mod replay;
mod settings;
mod shared;
mod status;
mod stream;
mod subscriptions;
mod wire;
mod worker;
mod writer;

pub use settings::{EngineSaid, EventSettings, KvEventSource};
pub use status::WorkerStatus;
pub use subscriptions::Subscriptions;
