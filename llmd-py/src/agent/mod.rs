//! Moving KV: agents, their pools, and what becomes of what is fetched.

mod awaited;
mod event;
mod grant;
mod kept;
mod layout;
mod op;
mod pool;
mod report;
mod settings;
mod shared;

use std::os::fd::{AsRawFd as _, RawFd};
use std::path::PathBuf;
use std::sync::Arc;

use llmd_kvxfer::{Fetch, Lease};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyType};

use self::event::Event;
pub(crate) use self::event::{Fetched, LeaseEnded};
pub(crate) use self::grant::Grant;
use self::grant::Granted;
pub(crate) use self::kept::Kept;
pub(crate) use self::layout::KvLayout;
pub(crate) use self::op::FetchOp;
pub(crate) use self::pool::KvPool;
pub(crate) use self::report::{AgentStats, Considered};
use self::settings::Settings;
use self::shared::Shared;
use crate::args::{ByName, seconds};
use crate::buffer::Blocks;
use crate::dlpack::Memory;
use crate::error::raise;
use crate::whole::{Whole, named};

/// Lends blocks of its pools to other agents, and fetches theirs.
///
/// `transports` are tried in the order of what they are expected to cost: `"shm"` between processes of one machine, with its socket
/// in `folder` (by default a folder of the user's own), and `"local"` between the agents of one process. Agents of a `tenant` prove it
/// by its `key`; without one nothing is proven, and who may connect is the matter of the folder's permissions. `serve` has the keys of
/// other tenants who are let in. `check` says when what arrives is held against what was granted: `"always"`, `"remote"` or `"off"`.
///
/// An agent has one thread, which serves others while the caller computes, and a few that copy; none of them needs the GIL. It ends
/// by `close`, at the end of `with`, or when it is garbage. A forked child has none of its threads: there it raises
/// `UnavailableError`, and another can be made.
///
/// Raises `InvalidError` for a transport of another name and for settings that make no sense, and what a transport says that cannot
/// begin.
#[pyclass(frozen, module = "llmd_py")]
#[derive(Debug)]
pub(crate) struct Agent(Arc<Shared>);

impl Agent {
    pub(crate) fn agent(&self) -> PyResult<llmd_kvxfer::Agent> {
        self.0.agent().map_err(raise)
    }
}

#[pymethods]
impl Agent {
    #[new]
    #[pyo3(signature = (
        name, transports=None, *, tenant=None, key=None, serve=None, check="always", folder=None, copy_threads=None, spin=None,
        max_leases=None, max_operations=None
    ))]
    #[expect(clippy::too_many_arguments, reason = "they are Python's keyword arguments")]
    fn new(
        py: Python<'_>,
        name: String,
        transports: Option<Vec<String>>,
        tenant: Option<String>,
        key: Option<Vec<u8>>,
        serve: Option<ByName<Vec<u8>>>,
        check: &str,
        folder: Option<PathBuf>,
        copy_threads: Option<Whole>,
        spin: Option<f64>,
        max_leases: Option<Whole>,
        max_operations: Option<Whole>,
    ) -> PyResult<Self> {
        let settings = Settings {
            transports,
            tenant,
            key,
            serve: serve.map(|serve| serve.0).unwrap_or_default(),
            check,
            folder,
            copy_threads: named(copy_threads, "copy_threads")?,
            spin: spin.map(|spin| seconds("spin", spin)).transpose()?,
            max_leases: named(max_leases, "max_leases")?,
            max_operations: named(max_operations, "max_operations")?,
        };
        let agent = py.detach(|| settings.build(name)).map_err(raise)?;
        Ok(Self(Arc::new(Shared::new(agent))))
    }

    /// Which agent this is: another after each start.
    #[getter]
    fn id(&self) -> PyResult<String> {
        Ok(self.agent()?.id().to_string())
    }

    /// Takes memory in, laid out like this: from now on its blocks can be granted, and blocks fetched into it. `memory` is a `Region`,
    /// or what one can be made of: a writable buffer, a DLPack tensor, a path, a file descriptor. With `tenant`, it is for peers of
    /// that tenant alone.
    ///
    /// Raises `InvalidError` when the memory is shorter than its layout; `UnsupportedError` when no transport of the agent can move
    /// such memory; `DeniedError` when it is another tenant's already.
    #[pyo3(signature = (memory, layout, *, tenant=None))]
    fn register(
        &self,
        py: Python<'_>,
        memory: Memory,
        layout: &Bound<'_, KvLayout>,
        tenant: Option<&str>,
    ) -> PyResult<KvPool> {
        let (agent, layout) = (self.agent()?, layout.get().0.clone());
        let register = || match tenant {
            Some(tenant) => agent.register_for(tenant, memory.0, layout),
            None => agent.register(memory.0, layout),
        };
        py.detach(register).map(KvPool).map_err(raise)
    }

    /// Forgets a pool: leases of its blocks are released, and no grant names it again. Its memory stays as long as somebody has it.
    fn unregister(&self, pool: &Bound<'_, KvPool>) -> PyResult<()> {
        self.agent()?.unregister(&pool.get().0).map_err(raise)
    }

    /// Lends blocks of a pool for so many seconds without a heartbeat, at most ten times that or `at_most` with them, to so many
    /// `consumers`, and gives the bytes that name them to others. Nobody may write them until `poll` says that they are free.
    ///
    /// Raises `InvalidError` for blocks that the pool does not have, and `ExhaustedError` when as many leases hold as may.
    #[pyo3(signature = (pool, blocks, *, seconds, consumers=None, at_most=None))]
    fn grant<'py>(
        &self,
        py: Python<'py>,
        pool: &Bound<'_, KvPool>,
        blocks: Blocks,
        seconds: f64,
        consumers: Option<Whole>,
        at_most: Option<f64>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let mut terms = Lease::new(crate::args::seconds("seconds", seconds)?);
        if let Some(consumers) = named(consumers, "consumers")? {
            terms = terms.consumers(consumers);
        }
        if let Some(at_most) = at_most {
            terms = terms.at_most(crate::args::seconds("at_most", at_most)?);
        }
        let grant = self.agent()?.grant(&pool.get().0, &blocks.into_vec(py), terms).map_err(raise)?;
        Ok(PyBytes::new(py, &grant.to_bytes()))
    }

    /// Takes a lease back, whoever reads: they are told that it is stale. Says whether it still held.
    ///
    /// Raises `InvalidError` for a grant of another agent.
    fn release(&self, grant: Granted) -> PyResult<bool> {
        let agent = self.agent()?;
        if grant.0.agent() != agent.id() {
            let message = format!("a grant of agent {}, expected one of agent {}", grant.0.agent(), agent.id());
            return Err(crate::error::invalid(message));
        }
        agent.release(grant.0.lease()).map_err(raise)
    }

    /// Begins to bring all blocks of a grant into these blocks of a pool of ours, within `timeout` seconds, by one of `transports` or
    /// by whichever is fastest. With `hold`, whoever granted is told only by `finish` that nothing more is needed. Those of a higher
    /// `priority` go first.
    ///
    /// Raises, and then nothing was begun, `InvalidError` and `UnsupportedError` for blocks and layouts that do not fit;
    /// `UnavailableError` when no transport reaches the agent, with why for each; `ExhaustedError` when too many operations are under
    /// way.
    #[pyo3(signature = (grant, pool, blocks, *, timeout=30.0, transports=None, hold=false, priority=None))]
    #[expect(clippy::too_many_arguments, reason = "they are Python's keyword arguments")]
    fn fetch(
        &self,
        py: Python<'_>,
        grant: Granted,
        pool: &Bound<'_, KvPool>,
        blocks: Blocks,
        timeout: f64,
        transports: Option<Vec<String>>,
        hold: bool,
        priority: Option<Whole>,
    ) -> PyResult<FetchOp> {
        let (pool, blocks) = (&pool.get().0, blocks.into_vec(py));
        let only: Option<Vec<&str>> =
            transports.as_ref().map(|transports| transports.iter().map(String::as_str).collect());
        let mut fetch = Fetch::new(&grant.0, pool, &blocks).within(seconds("timeout", timeout)?);
        if let Some(only) = &only {
            fetch = fetch.only(only);
        }
        if hold {
            fetch = fetch.and_hold();
        }
        if let Some(priority) = named(priority, "priority")? {
            fetch = fetch.with_priority(priority);
        }
        let ending = py.detach(|| self.0.submit(&fetch)).map_err(raise)?;
        Ok(FetchOp { shared: Arc::clone(&self.0), ending })
    }

    /// What happened since: a `Fetched` for each operation that ended, unless somebody waited for it, and a `LeaseEnded` for each lease
    /// of ours that did. Some thousand at a time; does not wait.
    fn poll(&self, py: Python<'_>) -> PyResult<Vec<Event>> {
        let mut events = self.0.unheard();
        for (future, fetched) in self.0.hear().map_err(raise)? {
            future.succeed(py, fetched);
        }
        events.extend(self.0.unheard());
        Ok(events.into_iter().filter_map(shared::event).collect())
    }

    /// A descriptor that is readable when `poll` has something to say, for loops: it is the agent's, and not to be read or closed.
    fn fileno(&self) -> PyResult<RawFd> {
        Ok(self.agent()?.wake_fd().as_raw_fd())
    }

    /// Has a grant's lease prolonged until what this gives is closed: for one that waits to be fetched.
    ///
    /// Raises `ExhaustedError` when too many are kept.
    fn keep(&self, grant: Granted) -> PyResult<Kept> {
        self.agent()?.keep(&grant.0).map(Kept::new).map_err(raise)
    }

    /// Says that this agent needs nothing more of a grant: of one that was never fetched, or fetched with `hold`.
    ///
    /// Raises `UnavailableError` when the agent that granted cannot be reached: then the lease ends by itself.
    fn finish(&self, grant: Granted) -> PyResult<()> {
        self.agent()?.finish(&grant.0).map_err(raise)
    }

    /// What each transport would cost for this grant, or why it would not do; the first that can is the one that would be taken.
    fn consider(&self, grant: Granted, pool: &Bound<'_, KvPool>) -> PyResult<Vec<Considered>> {
        Ok(self.agent()?.consider(&grant.0, &pool.get().0).into_iter().map(Considered).collect())
    }

    /// What it has now, and what it counted since it was built.
    fn stats(&self) -> PyResult<AgentStats> {
        Ok(AgentStats::new(&self.agent()?.stats()))
    }

    /// Ends the agent: what is under way is left, and its leases can be read no more. Closing again does nothing.
    fn close(&self, py: Python<'_>) {
        let futures = py.detach(|| self.0.close());
        for future in futures {
            future.fail(py, crate::error::invalid("the agent is closed"));
        }
        awaited::look_away(py, &self.0);
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
        match self.0.agent() {
            Ok(agent) => format!("<Agent {}>", agent.id()),
            Err(error) => format!("<Agent: {error}>"),
        }
    }
}
