//! What became of a batch.

use std::sync::Arc;

use llmd_core::event::{self, KvEvent};
use llmd_core::feed;
use llmd_core::index::Applied;
use pyo3::prelude::*;

use super::shared::word;
use crate::event::{Event, EventError, events};

/// What became of a batch that an index was fed.
#[pyclass(frozen, module = "llmd_py")]
#[derive(Debug)]
pub(crate) struct Fed {
    events: Arc<Vec<KvEvent>>,
    errors: Vec<event::EventError>,
    errors_dropped: usize,
    applied: Applied,
    state: &'static str,
    duplicate: bool,
    missing_from: Option<u64>,
}

impl Fed {
    pub(super) fn new(fed: feed::Fed) -> Self {
        let feed::Fed { events, errors, errors_dropped, applied, state, duplicate, missing_from, .. } = fed;
        Self { events: Arc::new(events), errors, errors_dropped, applied, state: word(state), duplicate, missing_from }
    }
}

#[pymethods]
impl Fed {
    /// The events that were taken into the index, in order: none while the batch waits for others, and those of all that
    /// waited when it was the one that was missing.
    #[getter]
    fn events(&self) -> Vec<Event> {
        events(&self.events)
    }

    /// What of this batch could not be read, each with its place in it: the first 64.
    #[getter]
    fn errors(&self) -> Vec<EventError> {
        self.errors.iter().map(EventError::new).collect()
    }

    /// How many more errors there were.
    #[getter]
    fn errors_dropped(&self) -> usize {
        self.errors_dropped
    }

    /// How far the answers about the worker can be trusted now: `"exact"`, `"recovering"` or `"approximate"`.
    #[getter]
    fn state(&self) -> &'static str {
        self.state
    }

    /// Whether the batch came before, and was skipped.
    #[getter]
    fn duplicate(&self) -> bool {
        self.duplicate
    }

    /// From which number on the engine should replay, inclusive; `None` when nothing is missing.
    #[getter]
    fn missing_from(&self) -> Option<u64> {
        self.missing_from
    }

    /// Copies of blocks that were added.
    #[getter]
    fn stored(&self) -> usize {
        self.applied.stored
    }

    /// Copies of blocks that were taken away.
    #[getter]
    fn removed(&self) -> usize {
        self.applied.removed
    }

    /// Blocks that wait for their parent, counted in `stored` too.
    #[getter]
    fn orphaned(&self) -> usize {
        self.applied.orphaned
    }

    /// Removals of blocks that were not held: a sign that events were lost.
    #[getter]
    fn unknown_removals(&self) -> usize {
        self.applied.unknown_removals
    }

    /// Blocks that were dropped because a limit was reached.
    #[getter]
    fn dropped(&self) -> usize {
        self.applied.dropped
    }

    /// How many events were taken.
    fn __len__(&self) -> usize {
        self.events.len()
    }

    /// True, also when no event was taken.
    fn __bool__(&self) -> bool {
        true
    }

    fn __repr__(&self) -> String {
        let Self { applied: Applied { stored, removed, .. }, state, .. } = self;
        let missing = self.missing_from.map(|from| format!(", missing from {from}")).unwrap_or_default();
        let duplicate = if self.duplicate { ", a duplicate" } else { "" };
        format!("<Fed: {} events, {stored} stored, {removed} removed, {state}{missing}{duplicate}>", self.events.len())
    }
}
