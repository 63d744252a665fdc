//! The scheduler of an engine.

use std::collections::BTreeMap;

use llmd_core::{Error, ErrorKind, GroupIdx, Result};
use llmd_kvxfer::engine::{Scheduler, SchedulerSettings};
use llmd_kvxfer::session::decode::{Allocation, Loading};
use parking_lot::Mutex;
use pyo3::prelude::*;

use super::{is_ours, named as request_named};
use crate::args::seconds;
use crate::buffer::Blocks;
use crate::error::{invalid, raise};
use crate::whole::{Whole, named};

/// Where the requests and blocks of an engine are known: it tells the engine's workers what is handed over.
///
/// `workers` are their addresses and keys, in the order of their ranks. `loading` says how the engine takes tokens from outside: in the
/// `"background"`, where they may be the whole prompt, or within a `"step"`. Fewer than `min_tokens` are not worth it. No call waits for
/// longer than `patience` seconds.
///
/// Raises `UnavailableError` and `DeniedError` when a worker cannot be reached, or has another key.
#[pyclass(frozen, module = "llmd_py")]
#[derive(Debug)]
pub(crate) struct KvScheduler {
    scheduler: Mutex<Option<Scheduler>>,
    process: u32,
}

impl KvScheduler {
    fn with<T>(&self, py: Python<'_>, ask: impl FnOnce(&mut Scheduler) -> Result<T> + Send) -> PyResult<T>
    where
        T: Send,
    {
        let asked = || {
            is_ours(self.process, "a scheduler")?;
            let mut scheduler = self.scheduler.lock();
            let closed = || Error::new(ErrorKind::Invalid, "the scheduler is closed");
            scheduler.as_mut().ok_or_else(closed).and_then(ask)
        };
        py.detach(asked).map_err(raise)
    }
}

#[pymethods]
impl KvScheduler {
    #[new]
    #[pyo3(signature = (workers, *, block_tokens=None, min_tokens=None, loading="background", patience=1.0))]
    fn new(
        py: Python<'_>,
        workers: Vec<(String, Vec<u8>)>,
        block_tokens: Option<Whole>,
        min_tokens: Option<Whole>,
        loading: &str,
        patience: f64,
    ) -> PyResult<Self> {
        let mut settings = SchedulerSettings::default();
        settings.block_tokens = named(block_tokens, "block_tokens")?.unwrap_or(settings.block_tokens);
        settings.min_tokens = named(min_tokens, "min_tokens")?.unwrap_or(settings.min_tokens);
        settings.patience = seconds("patience", patience)?;
        settings.loading = match loading {
            "background" => Loading::InBackground,
            "step" => Loading::InStep,
            other => return Err(invalid(format!("loading is {other:?}, expected \"background\" or \"step\""))),
        };
        let scheduler = py.detach(|| Scheduler::connect(workers, settings)).map_err(raise)?;
        Ok(Self { scheduler: Mutex::new(Some(scheduler)), process: std::process::id() })
    }

    /// A request was computed: so many of its tokens are in these blocks, by group, each from the token on at which its first block
    /// begins. Gives what the answer has to say as `grant`: then the engine keeps the blocks until every worker has said that they were
    /// sent. `None` when they are the engine's.
    ///
    /// Raises `UnavailableError` when a worker cannot be reached.
    fn computed(
        &self,
        py: Python<'_>,
        request: &str,
        tokens: Whole,
        groups: Vec<(Whole, Whole, Blocks)>,
    ) -> PyResult<Option<String>> {
        let (request, tokens) = (request_named(request).map_err(raise)?, tokens.named("tokens")?);
        let groups = groups.into_iter().map(|(group, from_token, blocks)| {
            Ok((GroupIdx(group.named("group")?), from_token.named("from_token")?, blocks.into_vec(py)))
        });
        let groups = groups.collect::<PyResult<Vec<_>>>()?;
        self.with(py, |scheduler| scheduler.computed(&request, tokens, groups))
    }

    /// A request arrived whose prompt has so many tokens, with what the prefiller's answer said as `grant`.
    ///
    /// It is computed here when it raises: `InvalidError` and `UnsupportedError` when that cannot be read, or is of caches that are not
    /// like ours; `ExhaustedError`; `UnavailableError`.
    fn arrive(&self, py: Python<'_>, request: &str, prompt_tokens: Whole, grant: &str) -> PyResult<()> {
        let (request, tokens) = (request_named(request).map_err(raise)?, prompt_tokens.named("prompt_tokens")?);
        self.with(py, |scheduler| scheduler.arrive(&request, tokens, grant))
    }

    /// How many tokens can come from outside, behind so many that are here.
    fn matched(&self, py: Python<'_>, request: &str, local_tokens: Whole) -> PyResult<u32> {
        let (request, local) = (request_named(request).map_err(raise)?, local_tokens.named("local_tokens")?);
        self.with(py, |scheduler| Ok(scheduler.matched(&request, local)))
    }

    /// The engine allocated blocks for so many tokens from outside, by group: how many tokens a block has, at which token the first
    /// begins, and the blocks. Every worker says when they are received. With 0 tokens it wants nothing.
    ///
    /// Raises `UnavailableError` when a worker cannot be told: those that were say so all the same.
    fn allocated(
        &self,
        py: Python<'_>,
        request: &str,
        local_tokens: Whole,
        external_tokens: Whole,
        groups: Vec<(Whole, Whole, Whole, Blocks)>,
    ) -> PyResult<()> {
        let request = request_named(request).map_err(raise)?;
        let (local, external) = (local_tokens.named("local_tokens")?, external_tokens.named("external_tokens")?);
        let groups = groups.into_iter().map(|(group, block_tokens, from_token, blocks)| {
            Ok(Allocation {
                group: GroupIdx(group.named("group")?),
                block_tokens: block_tokens.named("block_tokens")?,
                from_token: from_token.named("from_token")?,
                blocks: blocks.into_vec(py),
            })
        });
        let groups = groups.collect::<PyResult<Vec<_>>>()?;
        self.with(py, |scheduler| scheduler.allocated(&request, local, external, groups))
    }

    /// The engine does not want a request any more.
    fn abort(&self, py: Python<'_>, request: &str) -> PyResult<()> {
        let request = request_named(request).map_err(raise)?;
        self.with(py, |scheduler| scheduler.abort(&request))
    }

    /// The engine takes the blocks of a request back that is being fetched.
    fn preempted(&self, py: Python<'_>, request: &str) -> PyResult<()> {
        let request = request_named(request).map_err(raise)?;
        self.with(py, |scheduler| scheduler.preempted(&request))
    }

    /// What it counted, by name.
    fn stats(&self, py: Python<'_>) -> PyResult<BTreeMap<&'static str, u64>> {
        let stats = self.with(py, |scheduler| Ok(scheduler.stats()))?;
        Ok(BTreeMap::from([
            ("grants", stats.granted),
            ("grants_microseconds", stats.grants_took.as_micros() as u64),
            ("grants_refused", stats.not_granted),
            ("grants_late", stats.late_grants),
            ("offers", stats.arrived),
            ("offers_refused", stats.refused_offers),
            ("workers_lost", stats.lost_workers),
            ("workers_connected", stats.connected_workers),
        ]))
    }

    /// Leaves the workers.
    fn close(&self, py: Python<'_>) {
        if is_ours(self.process, "a scheduler").is_ok() {
            py.detach(|| drop(self.scheduler.lock().take()));
        }
    }
}
