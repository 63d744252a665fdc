//! llmd for Python: the crates, translated.

mod agent;
mod args;
mod buffer;
mod chance;
mod check;
mod clock;
mod connector;
mod decision;
mod dlpack;
mod endpoint;
mod engine;
mod error;
mod event;
mod explanation;
mod fork;
mod gateway;
mod guarded;
mod hash;
mod headers;
mod index;
mod occupancy;
mod pool;
mod request;
mod runtime;
mod scheduler;
mod stages;
mod stream;
mod whole;

use pyo3::prelude::*;

/// The compiled half of `llmd_py`; its names are re-exported there.
#[pymodule(gil_used = false)]
mod _native {
    use pyo3::PyTypeInfo as _;
    use pyo3::types::{PyMapping, PySequence};

    use super::*;

    #[pymodule_export]
    #[expect(non_upper_case_globals, reason = "Python calls it so")]
    const __version__: &str = env!("CARGO_PKG_VERSION");

    #[pymodule_export]
    use super::agent::{Agent, AgentStats, Considered, FetchOp, Fetched, Grant, Kept, KvLayout, KvPool, LeaseEnded};
    #[pymodule_export]
    use super::check::{Problem, check_config};
    #[pymodule_export]
    use super::connector::{Connector, Handover, Leg};
    #[pymodule_export]
    use super::decision::Decision;
    #[pymodule_export]
    use super::dlpack::Region;
    #[pymodule_export]
    use super::endpoint::Endpoint;
    #[pymodule_export]
    use super::engine::{KvScheduler, KvWorker};
    #[pymodule_export]
    use super::error::_raise;
    #[pymodule_export]
    use super::event::{
        AllBlocksCleared, BlockRemoved, BlockStored, EventError, KvEventBatch, TrtllmDecoder, TrtllmEvents,
        decode_batch,
    };
    #[pymodule_export]
    use super::explanation::Explanation;
    #[pymodule_export]
    use super::gateway::_run_gateway;
    #[pymodule_export]
    use super::hash::{BlockHasher, SessionMemo};
    #[pymodule_export]
    use super::headers::HeaderChanges;
    #[pymodule_export]
    use super::index::{Chain, Fed, IndexStats, Overlap, PrefixExplanation, PrefixIndex, WorkerExplanation};
    #[pymodule_export]
    use super::pool::Pool;
    #[pymodule_export]
    use super::request::Request;
    #[pymodule_export]
    use super::scheduler::{Needs, Scheduler};
    #[pymodule_export]
    use super::stages::{NextStep, StageRoute};
    #[pymodule_export]
    use super::stream::{KvEventStream, WorkerStatus};

    #[pymodule_init]
    fn init() -> PyResult<()> {
        clock::now();
        Python::attach(|py| {
            PyMapping::register::<Overlap>(py)?;
            // Else made once, on first use, by whichever thread: a child that is forked meanwhile would wait for it for ever.
            PySequence::type_object(py);
            error::prepare(py);
            buffer::prepare(py);
            fork::watch(py)
        })
    }
}
