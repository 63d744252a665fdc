//! What engines say about their caches.

mod batch;
mod kv;
mod trtllm;
mod words;

pub(crate) use batch::{EventError, KvEventBatch, decode_batch};
pub(crate) use kv::{AllBlocksCleared, BlockRemoved, BlockStored, Event, events};
pub(crate) use trtllm::{TrtllmDecoder, TrtllmEvents};
pub(crate) use words::Name;
