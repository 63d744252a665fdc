//! What TensorRT-LLM says about its cache.

use llmd_core::event;
use pyo3::prelude::*;

use super::{EventError, KvEventBatch};
use crate::buffer::Payload;
use crate::error::raise;
use crate::guarded::Guarded;
use crate::whole::{Whole, named};

/// Reads what one TensorRT-LLM engine says of its cache: the answer of `trtllm-serve` to `POST /kv_cache_events`, or what the
/// `LLM` class gives by `get_kv_cache_events()`, as JSON.
///
/// What its events leave unsaid the decoder remembers: one of them reads all that an engine says, in order. `block_size` is the
/// engine's `tokens_per_block`. Blocks that do not lie in GPU memory are remembered up to `max_places`, 1,048,576 by default;
/// those beyond are errors of their batches.
#[pyclass(frozen, module = "llmd_py")]
#[derive(Debug)]
pub(crate) struct TrtllmDecoder(Guarded<event::TrtllmDecoder>);

#[pymethods]
impl TrtllmDecoder {
    #[new]
    #[pyo3(signature = (block_size, *, max_places=None))]
    fn new(block_size: Whole, max_places: Option<Whole>) -> PyResult<Self> {
        let decoder = event::TrtllmDecoder::new(block_size.named("block_size")?);
        let decoder = match named(max_places, "max_places")? {
            Some(max_places) => decoder.with_max_places(max_places),
            None => decoder,
        };
        Ok(Self(Guarded::new("decoder", decoder)))
    }

    /// Read what the engine says next: `bytes` or a contiguous buffer of them, a list of events or one event.
    ///
    /// An event that cannot be read keeps its number, with its errors, and nothing else is lost.
    ///
    /// Raises `CorruptError` when the bytes are neither a list nor an event.
    fn decode(&self, py: Python<'_>, answer: Payload<'_>) -> PyResult<TrtllmEvents> {
        answer.read(py, |answer| self.0.with(|decoder| decoder.decode(answer)))?.map(TrtllmEvents).map_err(raise)
    }

    /// How many blocks are remembered that do not lie in GPU memory.
    #[getter]
    fn places(&self) -> PyResult<usize> {
        self.0.with(|decoder| decoder.places())
    }

    /// How many blocks were not remembered, since there was no room.
    #[getter]
    fn places_dropped(&self) -> PyResult<u64> {
        self.0.with(|decoder| decoder.places_dropped())
    }

    fn __repr__(&self) -> PyResult<String> {
        Ok(format!("<TrtllmDecoder: {} blocks beyond GPU memory>", self.places()?))
    }
}

/// What a TensorRT-LLM engine said, event by event.
#[pyclass(frozen, module = "llmd_py")]
#[derive(Debug)]
pub(crate) struct TrtllmEvents(event::TrtllmEvents);

#[pymethods]
impl TrtllmEvents {
    /// Each event that has a number, as a batch by itself, in the order in which they came: `PrefixIndex.apply_batch` takes
    /// them, each under the worker of its `data_parallel_rank`.
    #[getter]
    fn batches(&self) -> Vec<KvEventBatch> {
        self.0.batches.iter().cloned().map(KvEventBatch::of_numbered).collect()
    }

    /// What could not be read of events whose number or rank is not known: the first 64. Nothing else is lost.
    #[getter]
    fn errors(&self) -> Vec<EventError> {
        self.0.errors.iter().map(EventError::new).collect()
    }

    /// How many more errors there were.
    #[getter]
    fn errors_dropped(&self) -> usize {
        self.0.errors_dropped
    }

    fn __len__(&self) -> usize {
        self.0.batches.len()
    }

    fn __repr__(&self) -> String {
        let errors = self.0.errors.len() + self.0.errors_dropped;
        format!("<TrtllmEvents: {} batches, {errors} errors>", self.0.batches.len())
    }
}
