//! What runs where an engine decides.

use std::collections::BTreeMap;
use std::sync::Arc;

use llmd_core::{GroupIdx, Result};
use llmd_kvxfer::engine::{Scheduler, SchedulerSettings, SchedulerStats};
use llmd_kvxfer::session::Reuse;
use llmd_kvxfer::session::decode::{Allocation, Loading};
use parking_lot::Mutex;
use pyo3::prelude::*;
use pyo3::types::PyType;

use super::{closed, is_ours};
use crate::args::seconds;
use crate::buffer::Blocks;
use crate::error::{invalid, raise};
use crate::whole::{Whole, named};

/// Tells the workers of an engine what the engine decided, and knows what it asks.
///
/// `workers` are the addresses of all `KvWorker`s, in the order of their shards, with the same `key`; it waits until all are there. No
/// call waits for them but `computed`, which has so many seconds of `patience`. A worker that is lost is connected with anew.
///
/// `loading` says how the engine takes tokens from outside: `"background"` between its steps, up to the whole prompt, or within a
/// `"step"`, as full blocks that leave a token to compute. Fewer than `min_tokens` are computed here.
///
/// It ends by `close`, at the end of `with`, or when it is garbage. In a forked child it raises `UnavailableError`.
///
/// Raises `InvalidError` for settings that make no sense and for workers that are not these shards, `DeniedError` when one has another
/// key, and `UnavailableError` when one is not there, or has another scheduler.
#[pyclass(frozen, module = "llmd_py")]
#[derive(Debug)]
pub(crate) struct KvScheduler {
    process: u32,
    scheduler: Mutex<Option<Arc<Scheduler>>>,
}

impl KvScheduler {
    fn with<R: Send>(&self, py: Python<'_>, work: impl FnOnce(&Scheduler) -> Result<R> + Send) -> PyResult<R> {
        py.detach(|| {
            is_ours(self.process, "scheduler")?;
            let scheduler = self.scheduler.lock().clone().ok_or_else(|| closed("scheduler"))?;
            work(&scheduler)
        })
        .map_err(raise)
    }
}

#[pymethods]
impl KvScheduler {
    #[new]
    #[pyo3(signature = (
        workers, *, key, block_tokens=None, min_tokens=None, loading="background", patience=0.1
    ))]
    fn new(
        py: Python<'_>,
        workers: Vec<String>,
        key: Vec<u8>,
        block_tokens: Option<Whole>,
        min_tokens: Option<Whole>,
        loading: &str,
        patience: f64,
    ) -> PyResult<Self> {
        let mut settings = SchedulerSettings::default();
        if let Some(tokens) = named(block_tokens, "block_tokens")? {
            settings.block_tokens = tokens;
        }
        if let Some(tokens) = named(min_tokens, "min_tokens")? {
            settings.min_tokens = tokens;
        }
        settings.loading = match loading {
            "background" => Loading::InBackground,
            "step" => Loading::InStep,
            _ => return Err(invalid(format!("loading is {loading:?}, expected \"background\" or \"step\""))),
        };
        settings.patience = seconds("patience", patience)?;
        let scheduler = py.detach(|| Scheduler::new(&workers, &key, settings)).map_err(raise)?;
        Ok(Self { process: std::process::id(), scheduler: Mutex::new(Some(Arc::new(scheduler))) })
    }

    /// A request was computed: its first `tokens` tokens are in these blocks, by group, each with the token at which the first block
    /// begins; the last may be partly filled. Gives what goes into the answer as `kv_transfer_params["grant"]`; then the engine keeps
    /// the blocks until every worker says that it was sent. `None` when it cannot be fetched: the blocks are the engine's as before.
    ///
    /// Raises `InvalidError` for no tokens, other groups than the workers have, and a request that is lent already.
    fn computed(
        &self,
        py: Python<'_>,
        request: &str,
        tokens: Whole,
        groups: Vec<(Whole, Whole, Blocks)>,
    ) -> PyResult<Option<String>> {
        let (id, tokens) = (super::request(request)?, tokens.named("tokens")?);
        let groups = groups.into_iter().map(|(group, from_token, blocks)| {
            Ok((GroupIdx(group.named("group")?), from_token.named("from_token")?, blocks.into_vec(py)))
        });
        let groups = groups.collect::<PyResult<Vec<_>>>()?;
        self.with(py, |scheduler| scheduler.computed(&id, tokens, groups))
    }

    /// A request arrived with this text, whose prompt has so many tokens. Its leases are kept while it waits.
    ///
    /// Raises `InvalidError`, and then it is computed here, for a text that cannot be read, for what does not fit here, with what
    /// differs, and for a request that is known already.
    fn arrive(&self, py: Python<'_>, request: &str, prompt_tokens: Whole, grant: &str) -> PyResult<()> {
        let (id, prompt_tokens) = (super::request(request)?, prompt_tokens.named("prompt_tokens")?);
        self.with(py, |scheduler| scheduler.arrive(&id, prompt_tokens, grant))
    }

    /// How many tokens can come from outside, behind `local_tokens` that are here. Changes nothing, and asks nobody.
    fn matched(&self, py: Python<'_>, request: &str, local_tokens: Whole) -> PyResult<u32> {
        let (id, local_tokens) = (super::request(request)?, local_tokens.named("local_tokens")?);
        self.with(py, |scheduler| Ok(scheduler.matched(&id, local_tokens)))
    }

    /// The engine allocated blocks for so many tokens from outside, behind those that are here: by group, how many tokens a block has,
    /// the token at which the first begins, and the blocks without those of local hits. Every worker says once that it was received.
    ///
    /// Raises `InvalidError`, and nothing changes, for more tokens than match, and for blocks that are not those of these tokens.
    fn allocated(
        &self,
        py: Python<'_>,
        request: &str,
        local_tokens: Whole,
        external_tokens: Whole,
        groups: Vec<(Whole, Whole, Whole, Blocks)>,
    ) -> PyResult<()> {
        let id = super::request(request)?;
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
        self.with(py, |scheduler| scheduler.allocated(&id, local, external, groups))
    }

    /// The engine does not want the request any more. True when its blocks are still in use: they may be reused when every worker says
    /// that it was sent, or received, whichever is due.
    fn abort(&self, py: Python<'_>, request: &str) -> PyResult<bool> {
        let id = super::request(request)?;
        Ok(self.with(py, |scheduler| scheduler.abort(&id))? != Reuse::Now)
    }

    /// The engine takes the request's blocks back, and may ask for it again. True as for `abort`.
    fn preempted(&self, py: Python<'_>, request: &str) -> PyResult<bool> {
        let id = super::request(request)?;
        Ok(self.with(py, |scheduler| scheduler.preempted(&id))? != Reuse::Now)
    }

    /// What was counted since it was made, by name.
    fn stats(&self, py: Python<'_>) -> PyResult<BTreeMap<&'static str, u64>> {
        self.with(py, Scheduler::stats).map(|stats| flat(&stats))
    }

    /// Ends it: its workers give up what waits. Closing again does nothing.
    fn close(&self, py: Python<'_>) {
        if is_ours(self.process, "scheduler").is_ok() {
            py.detach(|| {
                let scheduler = self.scheduler.lock().take();
                drop(scheduler);
            });
        }
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
        "<KvScheduler>".to_owned()
    }
}

fn flat(stats: &SchedulerStats) -> BTreeMap<&'static str, u64> {
    [
        ("connected", stats.connected as u64),
        ("requests", stats.requests as u64),
        ("answered", stats.answered),
        ("not_granted", stats.not_granted),
        ("too_late", stats.too_late),
        ("too_long", stats.too_long),
        ("arrived", stats.arrived),
        ("malformed", stats.malformed),
        ("unfitting", stats.unfitting),
        ("not_connected", stats.not_connected),
        ("refused", stats.refused),
        ("allocated", stats.allocated),
        ("aborted", stats.aborted),
        ("preempted", stats.preempted),
        ("lost_workers", stats.lost_workers),
        ("failed_attempts", stats.failed_attempts),
        ("malformed_messages", stats.malformed_messages),
    ]
    .into()
}
