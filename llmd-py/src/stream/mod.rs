//! KV events of running engines, followed live.

mod events;
mod followed;
mod status;

pub(crate) use events::KvEventStream;
pub(crate) use status::WorkerStatus;
