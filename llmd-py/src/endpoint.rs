//! Where requests can go, as Python sees it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use llmd_core::WorkerId;
use llmd_routing::EngineMetrics;
use pyo3::prelude::*;

use crate::args::ByName;
use crate::clock;
use crate::error::{invalid, raise};
use crate::index::{PrefixIndex, Shared};
use crate::whole::{Whole, named};

/// The next number of a worker that no index knows. Indexes give out theirs from 0.
static NEXT_UNINDEXED: AtomicU32 = AtomicU32::new(1 << 31);

/// An address that requests can go to, with what is known about it now.
///
/// Make each endpoint once and keep it: its requests in flight, its metrics and what a scheduler remembers about it hang on
/// the object, not on the name.
#[pyclass(frozen, module = "llmd_py")]
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) inner: Arc<llmd_routing::Endpoint>,
    worker: String,
    /// The index that its worker is of.
    index: Option<Arc<Shared>>,
}

impl Endpoint {
    /// Whether its worker is one of `index`, or of none when that is `None`.
    pub(crate) fn is_of(&self, index: Option<&Arc<Shared>>) -> bool {
        self.index.as_ref().map(Arc::as_ptr) == index.map(Arc::as_ptr)
    }
}

#[pymethods]
impl Endpoint {
    /// An endpoint of this name at `address` (`host:port`).
    ///
    /// `index` is the scheduler's, if it has one, and `worker` the name under which its KV events go in there; by default the
    /// endpoint's own. A worker that is removed from the index and comes back is another one: make its endpoint anew then.
    /// `labels` are what filters look at.
    ///
    /// Raises `InvalidError` for an empty name or address, `ExhaustedError` when the index has no room for the worker.
    #[new]
    #[pyo3(signature = (name, address, *, index=None, worker=None, labels=None))]
    fn new(
        name: String,
        address: String,
        index: Option<&Bound<'_, PrefixIndex>>,
        worker: Option<String>,
        labels: Option<ByName<String>>,
    ) -> PyResult<Self> {
        for (what, text) in [("name", Some(&name)), ("address", Some(&address)), ("worker", worker.as_ref())] {
            if text.is_some_and(String::is_empty) {
                return Err(invalid(format!("the {what} of an endpoint is empty, expected at least one character")));
            }
        }
        let worker = worker.unwrap_or_else(|| name.clone());
        let index = index.map(|index| Arc::clone(index.get().shared()));
        let id = match &index {
            Some(index) => index.writing().and_then(|feed| feed.worker(&worker)).map_err(raise)?,
            // Relaxed: only uniqueness matters.
            None => WorkerId(NEXT_UNINDEXED.fetch_add(1, Ordering::Relaxed)),
        };
        let inner = llmd_routing::Endpoint::new(name, address, id)
            .with_labels(labels.map(|labels| labels.0).unwrap_or_default());
        Ok(Self { inner: Arc::new(inner), worker, index })
    }

    /// The name that people know it by.
    #[getter]
    fn name(&self) -> &str {
        self.inner.name()
    }

    /// Where requests go: `host:port`.
    #[getter]
    fn address(&self) -> &str {
        self.inner.address()
    }

    /// The name under which its KV events go into an index.
    #[getter]
    fn worker(&self) -> &str {
        &self.worker
    }

    /// Its labels, copied.
    #[getter]
    fn labels(&self) -> BTreeMap<String, String> {
        self.inner.labels().clone()
    }

    /// What was sent there by this process and has not ended: requests, and tokens of their prompts that were not in its
    /// cache.
    #[getter]
    fn in_flight(&self) -> (u64, u64) {
        let in_flight = self.inner.in_flight();
        (in_flight.requests(), in_flight.tokens())
    }

    /// Takes what the engine says about itself now: requests that wait and that run, how much of its KV cache running
    /// requests hold (0 to 1), tokens per block, blocks. What is left out counts as not said.
    ///
    /// A scheduler whose `needs.metrics` is true reads it. Raises `InvalidError` for what is out of range.
    #[pyo3(signature = (
        *, waiting_requests=None, running_requests=None, kv_cache_usage=None, block_size=None, num_blocks=None
    ))]
    fn set_metrics(
        &self,
        waiting_requests: Option<Whole>,
        running_requests: Option<Whole>,
        kv_cache_usage: Option<f64>,
        block_size: Option<Whole>,
        num_blocks: Option<Whole>,
    ) -> PyResult<()> {
        if let Some(usage) = kv_cache_usage.filter(|usage| !(0.0..=1.0).contains(usage)) {
            return Err(invalid(format!("kv_cache_usage {usage}: expected 0 to 1")));
        }
        let mut metrics = EngineMetrics::default();
        metrics.updated = clock::now();
        metrics.waiting_requests = named(waiting_requests, "waiting_requests")?;
        metrics.running_requests = named(running_requests, "running_requests")?;
        metrics.kv_cache_usage = kv_cache_usage;
        metrics.block_size = named(block_size, "block_size")?;
        metrics.num_blocks = named(num_blocks, "num_blocks")?;
        self.inner.set_metrics(metrics);
        Ok(())
    }

    fn __repr__(&self) -> String {
        format!("Endpoint({:?}, {:?})", self.inner.name(), self.inner.address())
    }
}
