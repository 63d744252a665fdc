//! What all connections share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError};

use http::StatusCode;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::clock::Clock;
use super::driver::Command;
use super::kv::Kv;
use super::metrics::Counts;
use super::publish::{BUFFER_STEPS, Faults, MAX_QUEUE};
use super::refusal::Refusal;
use super::tokens::Tokens;
use crate::model::{Adapter, EngineSettings};
use crate::process::Ready;

/// One engine as its connections see it.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) model: String,
    pub(super) adapters: Vec<Adapter>,
    pub(super) settings: EngineSettings,
    pub(super) tokens: Arc<Tokens>,
    pub(super) clock: Clock,
    /// The bytes of its blocks, where it has any.
    pub(super) kv: Option<Arc<Kv>>,
    pub(super) counts: Arc<Mutex<Counts>>,
    pub(super) faults: Arc<Mutex<Faults>>,
    pub(super) commands: SyncSender<Command>,
    pub(super) ready: Ready,
    pub(super) topic: String,
    /// What outputs are made from, together with each prompt.
    pub(super) seed: u64,
    /// Seconds since 1970 when the engine came up.
    pub(super) created: u64,
    pub(super) next_key: AtomicU64,
}

impl Server {
    /// Gives the engine's thread something to do before its next step.
    pub(super) fn command(&self, command: Command) -> Result<(), Refusal> {
        self.commands.try_send(command).map_err(|error| match error {
            TrySendError::Disconnected(_) => Self::gone(),
            TrySendError::Full(_) => Refusal::with_status(StatusCode::SERVICE_UNAVAILABLE, "too many commands wait"),
        })
    }

    pub(super) fn gone() -> Refusal {
        Refusal::with_status(StatusCode::INTERNAL_SERVER_ERROR, "the engine has stopped")
    }

    /// A name for a request, never used twice.
    pub(super) fn key(&self) -> u64 {
        // Only uniqueness matters; nothing is ordered by it.
        self.next_key.fetch_add(1, Ordering::Relaxed)
    }

    /// What vLLM's `/kv_event_sources` says of one data-parallel rank.
    pub(super) fn kv_event_sources(&self) -> Value {
        json!({ "0": {
            "enable_kv_cache_events": true,
            "publisher": "zmq",
            "endpoint": self.ready.kv_events,
            "replay_endpoint": self.ready.replay,
            "buffer_steps": BUFFER_STEPS,
            "hwm": MAX_QUEUE,
            "max_queue_size": MAX_QUEUE,
            "topic": self.topic,
        }})
    }
}
