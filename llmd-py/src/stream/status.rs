//! One worker's event stream, in numbers.

use std::time::Duration;

use llmd_core::index::WorkerState;
use llmd_gateway::events;
use pyo3::prelude::*;

use crate::index::word;

/// One worker's event stream, as of when it was asked for.
#[pyclass(frozen, get_all, module = "llmd_py")]
#[derive(Debug)]
pub(crate) struct WorkerStatus {
    /// How far the index can be trusted about it: `"exact"`, `"recovering"` or `"approximate"`.
    state: &'static str,
    /// The number of the last batch that entered the index.
    last_seq: Option<u64>,
    /// How often batches were found missing.
    gaps: u64,
    /// How often the engine was asked for replay, probes of a quiet stream included.
    replays: u64,
    /// How often the engine was found to have been started anew.
    restarts: u64,
    /// Batches and messages that could not be read at all, and batches beyond a limit, which are asked for later.
    dropped_batches: u64,
    /// Events that could not be read, in batches that could.
    event_errors: u64,
    /// Batches that entered the index.
    applied_batches: u64,
    /// Seconds since the last batch entered the index; `None` when there was none.
    quiet_for: Option<f64>,
    /// How many seconds old the last batch was when it entered the index, by the clocks of the engine and this machine.
    lag: Option<f64>,
    /// Whether the engine stores blocks while its stream says nothing of it.
    silent: bool,
    /// Whether the engine announces hits as if it had stored the blocks.
    announces_hits: bool,
    /// Changes of state, oldest first, each with how many seconds ago it was: the newest 256.
    timeline: Vec<(f64, &'static str)>,
}

impl WorkerStatus {
    /// The status as of `now`. `indexed` is what the index says of the worker, which knows of blocks without a place.
    pub(super) fn new(now: Duration, status: &events::WorkerStatus, indexed: WorkerState) -> Self {
        let ago = |then| now.saturating_sub(then).as_secs_f64();
        Self {
            state: word(state(status, indexed)),
            last_seq: status.last_seq,
            gaps: status.gaps,
            replays: status.replays,
            restarts: status.restarts,
            dropped_batches: status.dropped_batches,
            event_errors: status.event_errors,
            applied_batches: status.applied_batches,
            quiet_for: status.last_event.map(ago),
            lag: status.lag.map(|lag| lag.as_secs_f64()),
            silent: status.silent,
            announces_hits: status.announces_hits,
            timeline: status.timeline.iter().map(|&(then, state)| (ago(then), word(state))).collect(),
        }
    }
}

/// The less trusting of what the stream and the index say: each can know of something that the other does not.
pub(super) fn state(status: &events::WorkerStatus, indexed: WorkerState) -> WorkerState {
    match status.state {
        WorkerState::Exact => indexed,
        state => state,
    }
}

#[pymethods]
impl WorkerStatus {
    fn __repr__(&self) -> String {
        let Self { state, gaps, restarts, applied_batches, .. } = self;
        let last = self.last_seq.map_or_else(|| "nothing yet".to_owned(), |seq| format!("up to {seq}"));
        format!("<WorkerStatus: {state}, {last}; {applied_batches} batches, {gaps} gaps, {restarts} restarts>")
    }
}
