//! Live events into an index.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use llmd_gateway::events::{EngineSaid, KvEventSource};
use pyo3::prelude::*;
use pyo3::types::PyType;

use super::followed::Following;
use super::status::WorkerStatus;
use crate::args::{ByName, seconds};
use crate::clock;
use crate::error::raise;
use crate::index::PrefixIndex;
use crate::whole::{Whole, named};

/// How long `wait_exact` looks away: how late it can be, and how long Ctrl-C can take.
const WAIT_SLICE: Duration = Duration::from_millis(10);

/// Follows the event streams of running engines and feeds them into an index, asking for replay when something is missing.
///
/// `workers` says for each worker's name where its engine publishes: the PUB socket and the ROUTER socket that answers for
/// what was missed, as `tcp://host:port` or `ipc://path`. Without the second, a gap costs all that is known of the worker.
/// Engines need not be up: they are tried until they are. `topic` is what the topics of all of them begin with.
///
/// While a stream follows a worker, nobody else feeds it. When the stream is closed, by `close`, at the end of `with`, or
/// when it is garbage, the index forgets the blocks of its workers. The work is done by two threads per process, which
/// never need the GIL. A forked child has none of them: there, the stream raises `UnavailableError`, its workers are
/// approximate, and a new stream can be made once this one is closed.
///
/// Raises `InvalidError` for an endpoint that is none and for a worker that is followed already.
#[pyclass(frozen, module = "llmd_py")]
#[derive(Debug)]
pub(crate) struct KvEventStream {
    index: Py<PrefixIndex>,
    following: Arc<Following>,
    topic: String,
}

/// Where a worker publishes: with a socket that replays, or without.
#[derive(FromPyObject)]
enum Source {
    Both((String, Option<String>)),
    Published(String),
}

#[pymethods]
impl KvEventStream {
    #[new]
    #[pyo3(signature = (index, workers=None, *, topic=""))]
    fn new(py: Python<'_>, index: Py<PrefixIndex>, workers: Option<ByName<Source>>, topic: &str) -> PyResult<Self> {
        let following = Following::start(Arc::clone(index.get().shared())).map_err(raise)?;
        let stream = Self { index, following, topic: topic.to_owned() };
        for (worker, source) in workers.map(|workers| workers.0).unwrap_or_default() {
            if let Err(error) = stream.watch(&worker, source) {
                stream.close(py);
                return Err(error);
            }
        }
        Ok(stream)
    }

    /// The index that is fed.
    #[getter]
    fn index(&self, py: Python<'_>) -> Py<PrefixIndex> {
        self.index.clone_ref(py)
    }

    /// Follow one more worker, which publishes at `source`. What the index knew of it is forgotten.
    ///
    /// Raises `InvalidError` for an endpoint that is none, for a worker that is followed already, and when the stream is
    /// closed.
    fn watch(&self, worker: &str, source: Source) -> PyResult<()> {
        let (endpoint, replay_endpoint) = match source {
            Source::Both(both) => both,
            Source::Published(endpoint) => (endpoint, None),
        };
        let source = KvEventSource { endpoint, replay_endpoint, topic: self.topic.clone() };
        self.following.watch(worker, source).map_err(raise)
    }

    /// Follow a worker no longer. The index forgets its blocks.
    ///
    /// Raises `InvalidError` when it is not followed, and when the stream is closed.
    fn unwatch(&self, py: Python<'_>, worker: &str) -> PyResult<()> {
        py.detach(|| self.following.unwatch(worker)).map_err(raise)
    }

    /// A worker's engine says this of itself elsewhere than on its stream: at least how many blocks it stored since this was last
    /// told (its counters, or requests that completed), and how many blocks its GPU memory has. Where the stream says nothing of
    /// what was stored, or counts more than there is room for, the worker is approximate.
    ///
    /// Raises `InvalidError` when the worker is not followed, and when the stream is closed.
    #[pyo3(signature = (worker, *, stored=None, gpu_blocks=None))]
    fn engine_said(&self, worker: &str, stored: Option<Whole>, gpu_blocks: Option<Whole>) -> PyResult<()> {
        let stored = named(stored, "stored")?.unwrap_or_default();
        let said = EngineSaid { stored, gpu_blocks: named(gpu_blocks, "gpu_blocks")? };
        self.following.engine_said(worker, said).map_err(raise)
    }

    /// Each worker's stream in numbers, by the worker's name.
    ///
    /// Raises `InvalidError` when the stream is closed.
    fn status(&self) -> PyResult<BTreeMap<String, WorkerStatus>> {
        let (now, status) = (clock::now(), self.following.status().map_err(raise)?);
        Ok(status
            .iter()
            .map(|(status, indexed)| (status.name.clone(), WorkerStatus::new(now, status, *indexed)))
            .collect())
    }

    /// Wait until all workers are exact, for at most `timeout` seconds: whether they are. A stream without workers is.
    ///
    /// Raises `InvalidError` when the stream is closed.
    #[pyo3(signature = (timeout=None))]
    fn wait_exact(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        let timeout = timeout.map(|timeout| seconds("timeout", timeout)).transpose()?;
        let deadline = timeout.map(|timeout| clock::now().saturating_add(timeout));
        while !self.following.is_exact().map_err(raise)? {
            let left = deadline.map_or(WAIT_SLICE, |deadline| deadline.saturating_sub(clock::now()));
            if left.is_zero() {
                return Ok(false);
            }
            py.detach(|| self.following.pause(left.min(WAIT_SLICE))).map_err(raise)?;
            py.check_signals()?;
        }
        Ok(true)
    }

    /// Follow nobody any longer. The index forgets the blocks of those that were followed. Closing again does nothing.
    fn close(&self, py: Python<'_>) {
        py.detach(|| self.following.close());
    }

    fn __enter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __exit__(
        &self,
        py: Python<'_>,
        _exc_type: Option<Bound<'_, PyType>>,
        _exc_value: Option<Bound<'_, PyAny>>,
        _traceback: Option<Bound<'_, PyAny>>,
    ) {
        self.close(py);
    }

    fn __repr__(&self) -> String {
        match self.following.status() {
            Ok(status) => format!("<KvEventStream of {} workers>", status.len()),
            Err(error) => format!("<KvEventStream: {error}>"),
        }
    }
}

impl fmt::Debug for Following {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Following").finish_non_exhaustive()
    }
}
