//! What is known about each worker's event stream, for metrics and for people.

use std::time::Duration;

use llmd_core::WorkerId;
use llmd_core::event::SequencerCounts;
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
    /// What was dropped: batches and messages that could not be read at all, and batches beyond `max_waiting_batches`,
    /// which are asked for later.
    pub dropped_batches: u64,
    /// Events that could not be read, in batches that could.
    pub event_errors: u64,
    /// Batches that entered the index.
    pub applied_batches: u64,
    /// When the last batch entered the index, by the gateway's clock.
    pub last_event: Option<Duration>,
    /// How old the last batch was when it entered the index, by the clocks of the engine and the gateway.
    pub lag: Option<Duration>,
    /// Whether the engine stores blocks while its stream says nothing of it.
    pub silent: bool,
    /// Whether the engine announces hits as if it had stored the blocks.
    pub announces_hits: bool,
    /// Changes of state and when they were, oldest first; the newest `max_timeline` of them.
    pub timeline: Vec<(Duration, WorkerState)>,
}

impl WorkerStatus {
    /// The status of a worker that has not been heard of.
    pub(super) fn new(worker: WorkerId, name: String) -> Self {
        Self {
            worker,
            name,
            state: WorkerState::default(),
            last_seq: None,
            gaps: 0,
            replays: 0,
            restarts: 0,
            dropped_batches: 0,
            event_errors: 0,
            applied_batches: 0,
            last_event: None,
            lag: None,
            silent: false,
            announces_hits: false,
            timeline: Vec::new(),
        }
    }

    pub(super) fn count(&mut self, last_seq: Option<u64>, counts: &SequencerCounts, unreadable: u64) {
        self.last_seq = last_seq;
        self.gaps = counts.gaps;
        self.replays = counts.replays;
        self.restarts = counts.restarts;
        self.dropped_batches = counts.dropped + unreadable;
        self.applied_batches = counts.applied;
    }

    pub(super) fn enter(&mut self, now: Duration, state: WorkerState, max_timeline: usize) {
        self.state = state;
        if self.timeline.len() >= max_timeline.max(1) {
            self.timeline.remove(0);
        }
        self.timeline.push((now, state));
    }
}
