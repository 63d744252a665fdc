//! KV events of running engines, from their sockets into an index.

mod settings;
mod status;

pub use settings::{EventSettings, KvEventSource};
pub use status::WorkerStatus;
