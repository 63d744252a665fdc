//! What became of a batch that was fed.

use crate::event::{EventError, KvEvent};
use crate::index::{Applied, WorkerState};

/// What became of a batch that was fed.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Fed {
    /// The events that were taken into the index, in order: none while the batch waits for others, and those of all that
    /// waited when it was the one that was missing.
    pub events: Vec<KvEvent>,
    /// What of this batch could not be read, each with its place in it.
    pub errors: Vec<EventError>,
    /// How many more errors there were.
    pub errors_dropped: usize,
    /// What became of `events`.
    pub applied: Applied,
    /// How far the answers about the worker can be trusted now.
    pub state: WorkerState,
    /// Whether the batch came before, and was skipped.
    pub duplicate: bool,
    /// From which number on the engine should replay, inclusive, when something is missing.
    pub missing_from: Option<u64>,
}

impl Fed {
    /// Adds what became of some more events.
    pub(super) fn add(&mut self, events: Vec<KvEvent>, applied: Applied) {
        self.events.extend(events);
        self.applied.stored += applied.stored;
        self.applied.removed += applied.removed;
        self.applied.orphaned += applied.orphaned;
        self.applied.unknown_removals += applied.unknown_removals;
        self.applied.dropped += applied.dropped;
    }
}
