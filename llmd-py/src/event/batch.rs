//! One message of an event stream.

use llmd_core::event::{self, KvEvent, Numbered};
use pyo3::prelude::*;
use std::sync::Arc;

use super::kv::{self, Event};
use crate::buffer::Payload;
use crate::error::{invalid, raise};

/// Read the payload of one message of an engine's event stream: vLLM's of any version, or SGLang's.
///
/// `payload` is `bytes` or a contiguous buffer of them. An event that cannot be read becomes one of `errors`; nothing
/// else in the batch is lost.
///
/// Raises `CorruptError` when the payload is no batch at all.
#[pyfunction]
pub(crate) fn decode_batch(py: Python<'_>, payload: Payload<'_>) -> PyResult<KvEventBatch> {
    payload.read(py, event::decode_batch).map(KvEventBatch::new).map_err(raise)
}

/// One message of an engine's event stream, or one event of TensorRT-LLM.
#[pyclass(frozen, module = "llmd_py")]
#[derive(Debug)]
pub(crate) struct KvEventBatch {
    timestamp: f64,
    events: Arc<Vec<KvEvent>>,
    errors: Vec<event::EventError>,
    errors_dropped: usize,
    data_parallel_rank: Option<u32>,
    /// Its number, and what else puts it in order.
    numbered: Option<Numbered<()>>,
}

impl KvEventBatch {
    fn new(batch: event::KvEventBatch) -> Self {
        let event::KvEventBatch { timestamp, events, errors, errors_dropped, data_parallel_rank, .. } = batch;
        Self { timestamp, events: Arc::new(events), errors, errors_dropped, data_parallel_rank, numbered: None }
    }

    /// One that has a number.
    pub(super) fn of_numbered(given: Numbered<event::KvEventBatch>) -> Self {
        let numbered = with_batch(&given, ());
        Self { numbered: Some(numbered), ..Self::new(given.batch) }
    }

    /// As an index takes it.
    ///
    /// # Errors
    ///
    /// `InvalidError` when it has no number.
    pub(crate) fn numbered(&self) -> PyResult<Numbered<event::KvEventBatch>> {
        let numbered = self.numbered.as_ref().ok_or_else(|| invalid("the batch has no number: apply its payload"))?;
        let mut batch = event::KvEventBatch::default();
        batch.timestamp = self.timestamp;
        batch.events = self.events.to_vec();
        batch.errors.clone_from(&self.errors);
        batch.errors_dropped = self.errors_dropped;
        batch.data_parallel_rank = self.data_parallel_rank;
        Ok(with_batch(numbered, batch))
    }
}

/// Another batch with the same number.
fn with_batch<A, B>(numbered: &Numbered<A>, batch: B) -> Numbered<B> {
    Numbered::new(numbered.seq, numbered.fingerprint, batch)
        .made_at(numbered.made_at)
        .clearing_gpu(numbered.clears_gpu)
        .beyond_gpu(numbered.beyond_gpu)
        .unreadable(numbered.unreadable)
}

#[pymethods]
impl KvEventBatch {
    /// When the engine made it, in seconds of the engine's clock.
    #[getter]
    fn timestamp(&self) -> f64 {
        self.timestamp
    }

    /// What happened, in order, without what could not be read.
    #[getter]
    fn events(&self) -> Vec<Event> {
        kv::events(&self.events)
    }

    /// What could not be read, each with its place: the first 64.
    #[getter]
    fn errors(&self) -> Vec<EventError> {
        self.errors.iter().map(EventError::new).collect()
    }

    /// How many more errors there were.
    #[getter]
    fn errors_dropped(&self) -> usize {
        self.errors_dropped
    }

    /// The data-parallel rank that speaks, where the engine says so.
    #[getter]
    fn data_parallel_rank(&self) -> Option<u32> {
        self.data_parallel_rank
    }

    /// The number that the engine gave it, where the batch itself says so: TensorRT-LLM's do, and no others.
    #[getter]
    fn seq(&self) -> Option<u64> {
        self.numbered.as_ref().map(|numbered| numbered.seq)
    }

    /// How many events there are.
    fn __len__(&self) -> usize {
        self.events.len()
    }

    fn __repr__(&self) -> String {
        let errors = self.errors.len() + self.errors_dropped;
        format!("<KvEventBatch of {} events and {errors} errors, at {}>", self.events.len(), self.timestamp)
    }
}

/// One event of a batch that could not be read. `str()` says it in one line.
#[pyclass(frozen, eq, get_all, module = "llmd_py")]
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct EventError {
    /// Which event of the batch it is, counted from 0; how many events there are, when it is something behind them.
    event: usize,
    /// The first byte of the payload that could not be read.
    byte: usize,
    /// The field it stands in, as the engine names it; empty when no field had begun.
    field: &'static str,
    /// What was found and what was expected.
    message: String,
    /// All of it in one line.
    line: String,
}

impl EventError {
    pub(crate) fn new(error: &event::EventError) -> Self {
        let line = error.to_string();
        Self { event: error.event, byte: error.byte, field: error.field, message: error.message.clone(), line }
    }
}

#[pymethods]
impl EventError {
    fn __str__(&self) -> &str {
        &self.line
    }

    fn __repr__(&self) -> String {
        format!("<EventError: {}>", self.line)
    }
}
