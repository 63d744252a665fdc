//! What is known about each worker's event stream, for metrics and for people.

use std::time::Duration;

use llmd_core::WorkerId;
use llmd_core::index::WorkerState;

/// One worker's event stream, as of now.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct WorkerStatus {
    /// Who.
    pub worker: WorkerId,
    /// What its watcher calls it.
    pub name: String,
    /// How far the index can be trusted about it.
    pub state: WorkerState,
    /// The number of the last batch that entered the index.
    pub last_seq: Option<u64>,
    /// How often batches were found missing.
    pub gaps: u64,
    /// How often the engine was asked for replay, probes of a quiet stream included.
    pub replays: u64,
    /// How often the engine was found to have been started anew.
    pub restarts: u64,
    /// Batches that were dropped: unreadable ones, and those beyond `max_waiting_batches`.
    pub dropped_batches: u64,
    /// Events that could not be read, in batches that could.
    pub event_errors: u64,
    /// Batches that entered the index.
    pub applied_batches: u64,
    /// When the last batch entered the index, by the gateway's clock.
    pub last_event: Option<Duration>,
    /// Changes of state and when they were, oldest first; the newest `max_timeline` of them.
    pub timeline: Vec<(Duration, WorkerState)>,
}
