//! What runs beside a shard's memory.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use llmd_core::{GroupIdx, Result};
use llmd_kvxfer::Outcome;
use llmd_kvxfer::engine::{Worker, WorkerSettings, WorkerStats};
use parking_lot::Mutex;
use pyo3::prelude::*;
use pyo3::types::PyType;

use super::{closed, is_ours};
use crate::agent::{Agent, KvPool};
use crate::args::seconds;
use crate::error::raise;
use crate::whole::Whole;

/// A request, and the blocks of its groups that are not here.
type Failed = (String, Vec<(u32, u32)>);

/// Runs hand-overs for one shard of an engine's KV cache, where its memory is: one thread, which needs no GIL, does for `agent` and its
/// pools, by cache group, whatever the engine's `KvScheduler` tells it. Nobody else polls that agent from then on.
///
/// It listens at a socket in `folder` (by default one of the user's own), or at `bind`, such as `"tcp://10.0.0.1:0"`, for one
/// scheduler at a time, which has the same `key`. Leases last `lease_seconds` unless they are kept, and no longer than `hold_at_most`
/// altogether; `consumers` is how many workers of the other engine need a block of this shard. What others computed waits at most
/// `wait_at_most` seconds and is fetched within `fetch_within`, and again `retries` times when a peer is lost.
///
/// It ends by `close`, at the end of `with`, or when it is garbage. In a forked child it raises `UnavailableError`.
///
/// Raises `InvalidError` for settings that make no sense, and `UnavailableError` when it cannot listen.
#[pyclass(frozen, module = "llmd_py")]
#[derive(Debug)]
pub(crate) struct KvWorker {
    process: u32,
    address: String,
    worker: Mutex<Option<Arc<Worker>>>,
}

impl KvWorker {
    fn with<R: Send>(&self, py: Python<'_>, work: impl FnOnce(&Worker) -> Result<R> + Send) -> PyResult<R> {
        py.detach(|| {
            is_ours(self.process, "worker")?;
            let worker = self.worker.lock().clone().ok_or_else(|| closed("worker"))?;
            work(&worker)
        })
        .map_err(raise)
    }
}

#[pymethods]
impl KvWorker {
    #[new]
    #[pyo3(signature = (
        agent, groups, *, key, shard=None, shards=None, folder=None, bind=None, lease_seconds=30.0, hold_at_most=480.0,
        fetch_within=20.0, wait_at_most=480.0, retries=None, consumers=None, block_tokens=None
    ))]
    #[expect(clippy::too_many_arguments, reason = "they are Python's keyword arguments")]
    fn new(
        py: Python<'_>,
        agent: &Bound<'_, Agent>,
        groups: Vec<(Whole, Py<KvPool>)>,
        key: Vec<u8>,
        shard: Option<Whole>,
        shards: Option<Whole>,
        folder: Option<PathBuf>,
        bind: Option<String>,
        lease_seconds: f64,
        hold_at_most: f64,
        fetch_within: f64,
        wait_at_most: f64,
        retries: Option<Whole>,
        consumers: Option<Whole>,
        block_tokens: Option<Whole>,
    ) -> PyResult<Self> {
        let mut settings = WorkerSettings::default();
        let set = |value: Option<Whole>, name: &str, place: &mut u32| -> PyResult<()> {
            if let Some(value) = value {
                *place = value.named(name)?;
            }
            Ok(())
        };
        set(shard, "shard", &mut settings.shard)?;
        set(shards, "shards", &mut settings.shards)?;
        set(retries, "retries", &mut settings.decode.retries)?;
        set(block_tokens, "block_tokens", &mut settings.decode.block_tokens)?;
        if let Some(consumers) = consumers {
            settings.consumers = consumers.named("consumers")?;
        }
        settings.prefill.ttl = seconds("lease_seconds", lease_seconds)?;
        settings.prefill.hold_at_most = seconds("hold_at_most", hold_at_most)?;
        settings.decode.fetch_within = seconds("fetch_within", fetch_within)?;
        settings.decode.wait_at_most = seconds("wait_at_most", wait_at_most)?;
        (settings.folder, settings.bind) = (folder, bind);
        let groups =
            groups.into_iter().map(|(group, pool)| Ok((GroupIdx(group.named("group")?), pool.get().0.clone())));
        let (groups, agent) = (groups.collect::<PyResult<Vec<_>>>()?, agent.get().agent()?);
        let worker = py.detach(|| Worker::new(agent, groups, &key, settings)).map_err(raise)?;
        let address = worker.address();
        Ok(Self { process: std::process::id(), address, worker: Mutex::new(Some(Arc::new(worker))) })
    }

    /// Where its scheduler finds it.
    #[getter]
    fn address(&self) -> &str {
        &self.address
    }

    /// What became of requests since this was last asked for, without waiting: those that were sent, whose blocks nobody reads any
    /// more; those that were received, into whose blocks nothing is written any more; and of the latter, those with blocks that are not
    /// here, as pairs of a group and a block. A request that was lent is sent once, and one for which blocks were allocated is received
    /// once, however it ended.
    fn take(&self, py: Python<'_>) -> PyResult<(Vec<String>, Vec<String>, Vec<Failed>)> {
        let done = self.with(py, Worker::take)?;
        let named = |requests: Vec<llmd_kvxfer::session::RequestId>| {
            requests.iter().map(|request| request.as_str().to_owned()).collect::<Vec<_>>()
        };
        let failed = done.failed.into_iter().map(|(request, blocks)| {
            let blocks = blocks.iter().map(|failed| (failed.group.0, failed.block)).collect();
            (request.as_str().to_owned(), blocks)
        });
        Ok((named(done.sent), named(done.received), failed.collect()))
    }

    /// What was counted since it was made, by name.
    fn stats(&self, py: Python<'_>) -> PyResult<BTreeMap<String, u64>> {
        self.with(py, Worker::stats).map(|stats| flat(&stats))
    }

    /// Ends it. What the agent has begun goes on, and nobody hears of it. Closing again does nothing.
    fn close(&self, py: Python<'_>) {
        if is_ours(self.process, "worker").is_ok() {
            py.detach(|| {
                let worker = self.worker.lock().take();
                drop(worker);
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
        format!("<KvWorker {}>", self.address)
    }
}

fn flat(stats: &WorkerStats) -> BTreeMap<String, u64> {
    let (prefill, decode, agent) = (&stats.prefill, &stats.decode, &stats.agent);
    let counts = [
        ("computed", prefill.computed),
        ("answered", prefill.answered),
        ("not_granted", prefill.not_granted),
        ("freed", prefill.freed),
        ("overdue", prefill.overdue),
        ("leases_finished", prefill.finished),
        ("leases_lapsed", prefill.lapsed),
        ("leases_released", prefill.released),
        ("refused", prefill.refused + prefill.invalid + decode.refused + stats.refused_untold),
        ("aborted", prefill.aborted + decode.aborted),
        ("arrived", decode.arrived),
        ("malformed", decode.malformed),
        ("waited_out", decode.waited_out),
        ("not_wanted", decode.not_wanted),
        ("gone", decode.gone),
        ("loaded", decode.loaded),
        ("recomputed", decode.recomputed),
        ("preempted", decode.preempted),
        ("late", decode.late),
        ("useless", decode.useless),
        ("retried", decode.retried),
        ("blocks_loaded", decode.blocks_loaded),
        ("blocks_failed", decode.blocks_failed),
        ("lending", stats.lending as u64),
        ("loading", stats.loading as u64),
        ("schedulers", stats.schedulers),
        ("refused_schedulers", stats.refused_schedulers),
        ("lost_schedulers", stats.lost_schedulers),
        ("malformed_messages", stats.malformed_messages),
        ("given_up", stats.given_up),
        ("refused_grants", stats.refused_grants),
        ("refused_fetches", stats.refused_fetches),
        ("unheard", stats.unheard),
        ("misunderstood", stats.misunderstood),
        ("panics", stats.panics),
        ("leases", agent.leases as u64),
        ("operations", agent.operations as u64),
        ("peers", agent.peers as u64),
        ("fetched_bytes", agent.fetched_bytes),
        ("served_bytes", agent.served_bytes),
        ("mapped_bytes", agent.mapped_bytes),
        ("cma_bytes", agent.cma_bytes),
        ("staged_bytes", agent.staged_bytes),
        ("ipc_bytes", agent.ipc_bytes),
        ("fallbacks", agent.fallbacks),
        ("denied_reads", agent.denied_reads),
        ("stale_reads", agent.stale_reads),
        ("refused_peers", agent.refused_peers),
        ("lost_notes", agent.lost_notes),
    ];
    let fetches = Outcome::ALL.into_iter().zip(decode.outcomes);
    let fetches = fetches.map(|(outcome, count)| (format!("fetches_{}", outcome.as_str()), count));
    counts.into_iter().map(|(name, count)| (name.to_owned(), count)).chain(fetches).collect()
}
