//! An operation under way.

use std::sync::Arc;
use std::time::Duration;

use llmd_core::{Error, ErrorKind};
use pyo3::inspect::PyStaticExpr;
use pyo3::prelude::*;
use pyo3::{PyTypeInfo as _, type_hint_identifier, type_hint_subscript};

use super::awaited;
use super::event::Fetched;
use super::shared::{Ending, Shared};
use crate::args::seconds;
use crate::clock;
use crate::error::raise;

/// How long a wait looks away: how long Ctrl-C can take.
const WAIT_SLICE: Duration = Duration::from_millis(10);

/// Blocks that are being fetched: `wait()`, `await`, or `Agent.poll()` say how that ended.
///
/// Until then nobody may read or write the blocks that are fetched into.
#[pyclass(frozen, module = "llmd_py")]
#[derive(Debug)]
pub(crate) struct FetchOp {
    pub(super) shared: Arc<Shared>,
    pub(super) ending: Arc<Ending>,
}

/// What `await` wants, which says to type checkers what it gives.
#[derive(Debug)]
struct Awaitable<'py>(Bound<'py, PyAny>);

impl<'py> IntoPyObject<'py> for Awaitable<'py> {
    type Target = PyAny;
    type Output = Bound<'py, PyAny>;
    type Error = std::convert::Infallible;

    const OUTPUT_TYPE: PyStaticExpr = type_hint_subscript!(
        type_hint_identifier!("collections.abc", "Generator"),
        type_hint_identifier!("typing", "Any"),
        type_hint_identifier!("typing", "Any"),
        Fetched::TYPE_HINT
    );

    fn into_pyobject(self, _: Python<'py>) -> Result<Self::Output, Self::Error> {
        Ok(self.0)
    }
}

#[pymethods]
impl FetchOp {
    /// The operation's number in its agent.
    #[getter]
    fn id(&self) -> u64 {
        self.ending.op.number()
    }

    /// How it ended, once somebody has heard of it; `None` until then. Does not look.
    #[getter]
    fn ended(&self) -> Option<Fetched> {
        self.ending.ended().cloned()
    }

    /// Waits until it ends, for at most `timeout` seconds, and copies meanwhile. It ends by itself when the time is over that it was
    /// given. The GIL is given up, and Ctrl-C is answered.
    ///
    /// Raises `UnavailableError` when it takes longer, and in a forked child, and `InvalidError` when the agent is closed.
    #[pyo3(signature = (timeout=None))]
    fn wait(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Fetched> {
        let timeout = timeout.map(|timeout| seconds("timeout", timeout)).transpose()?;
        let deadline = timeout.map(|timeout| clock::now().saturating_add(timeout));
        loop {
            let left = deadline.map_or(WAIT_SLICE, |deadline| deadline.saturating_sub(clock::now()));
            let wait = || self.shared.wait(&self.ending, left.min(WAIT_SLICE));
            if let Some(fetched) = py.detach(wait).map_err(raise)? {
                for future in self.ending.futures() {
                    future.succeed(py, fetched.clone());
                }
                return Ok(fetched);
            }
            if left.is_zero() {
                let (op, timeout) = (self.ending.op, timeout.unwrap_or_default());
                let message = format!("operation {op} did not end in {timeout:?}");
                return Err(raise(Error::new(ErrorKind::Unavailable, message)));
            }
            py.check_signals()?;
        }
    }

    /// Ends it, as `"cancelled"` unless it was faster. That end still comes, and not before nothing is written to its blocks any more.
    ///
    /// Raises `UnavailableError` in a forked child, and `InvalidError` when the agent is closed.
    fn cancel(&self) -> PyResult<()> {
        self.shared.agent().and_then(|agent| agent.cancel(self.ending.op)).map_err(raise)
    }

    /// Awaits its end on the running loop of asyncio, which looks when the agent has something to say. One loop at a time may await
    /// operations of an agent.
    fn __await__<'py>(&self, py: Python<'py>) -> PyResult<Awaitable<'py>> {
        let future = awaited::future(py, &self.shared, &self.ending)?;
        future.call_method0("__await__").map(Awaitable)
    }

    fn __repr__(&self) -> String {
        match self.ending.ended() {
            Some(ended) => format!("<FetchOp {}: {}>", self.ending.op, ended.0.outcome),
            None => format!("<FetchOp {}>", self.ending.op),
        }
    }
}
