//! One rank of an engine.

use std::collections::BTreeMap;
use std::path::PathBuf;

use llmd_core::{Error, ErrorKind, GroupIdx, Result};
use llmd_kvxfer::engine::{Worker, WorkerSettings, WorkerStats};
use llmd_kvxfer::{Agent as KvAgent, Outcome};
use parking_lot::Mutex;
use pyo3::prelude::*;

use super::is_ours;
use crate::agent::{Agent, KvPool};
use crate::args::seconds;
use crate::error::raise;
use crate::whole::{Whole, named};

/// What came of requests: those that were sent, those that were received, and of these, which blocks of which groups are not here.
type Taken = (Vec<String>, Vec<String>, Vec<(String, Vec<(u32, u32)>)>);

/// One rank of an engine: it lends what the engine computed and fetches what others did, as its `KvScheduler` says, on a thread that
/// does not need the GIL.
///
/// `groups` are the agent's pools by cache group; `shard` of `shards` says which of the engine's ranks it is. It listens on a socket in
/// `folder`, by default one of the user's own, or with `bind` at `tcp://HOST:PORT`; both sides prove that they have `key`. What is lent
/// is kept for `lease_seconds` without a word of whoever wants it and for `hold_at_most` with one, until so many `consumers` have it.
/// What is fetched has to be here after `fetch_within` seconds.
///
/// Raises `InvalidError` for settings that make no sense, and `UnavailableError` when it cannot listen there.
#[pyclass(frozen, module = "llmd_py")]
#[derive(Debug)]
pub(crate) struct KvWorker {
    worker: Mutex<Option<Worker>>,
    address: String,
    process: u32,
}

impl KvWorker {
    fn with<T>(&self, ask: impl FnOnce(&Worker) -> T) -> Result<T> {
        is_ours(self.process, "a worker")?;
        let worker = self.worker.lock();
        worker.as_ref().map(ask).ok_or_else(|| Error::new(ErrorKind::Invalid, "the worker is closed"))
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
        let agent: KvAgent = agent.get().agent()?;
        let pools = groups.into_iter().map(|(group, pool)| Ok((GroupIdx(group.named("group")?), pool.get().0.clone())));
        let pools = pools.collect::<PyResult<Vec<_>>>()?;
        let mut settings = WorkerSettings::new(key);
        settings.shard = named(shard, "shard")?.unwrap_or(0);
        settings.shards = named(shards, "shards")?.unwrap_or(1);
        (settings.folder, settings.bind) = (folder, bind);
        settings.consumers = named(consumers, "consumers")?.unwrap_or(1);
        settings.prefill.ttl = seconds("lease_seconds", lease_seconds)?;
        settings.prefill.hold_at_most = seconds("hold_at_most", hold_at_most)?;
        settings.decode.fetch_within = seconds("fetch_within", fetch_within)?;
        settings.decode.wait_at_most = seconds("wait_at_most", wait_at_most)?;
        settings.decode.retries = named(retries, "retries")?.unwrap_or(settings.decode.retries);
        settings.decode.block_tokens = named(block_tokens, "block_tokens")?.unwrap_or(settings.decode.block_tokens);
        let worker = py.detach(|| Worker::start(agent, pools, settings)).map_err(raise)?;
        let address = worker.address().to_owned();
        Ok(Self { worker: Mutex::new(Some(worker)), address, process: std::process::id() })
    }

    /// Where its scheduler finds it.
    #[getter]
    fn address(&self) -> &str {
        &self.address
    }

    /// What came of requests since it was asked last: those of which others have what they wanted, so that their blocks may be reused;
    /// those that were to be fetched and are here, whole or not; and of these, by request, the groups and blocks that are not.
    fn take(&self) -> PyResult<Taken> {
        let done = self.with(Worker::take).map_err(raise)?;
        let names = |requests: Vec<llmd_kvxfer::session::RequestId>| {
            requests.into_iter().map(|request| request.as_str().to_owned()).collect()
        };
        let failed = done.failed.into_iter().map(|failed| {
            let blocks = failed.blocks.into_iter().map(|failed| (failed.group.0, failed.block)).collect();
            (failed.request.as_str().to_owned(), blocks)
        });
        Ok((names(done.sent), names(done.received), failed.collect()))
    }

    /// What it counted, by name.
    fn stats(&self) -> PyResult<BTreeMap<&'static str, u64>> {
        self.with(Worker::stats).map(|stats| counted(&stats)).map_err(raise)
    }

    /// Ends it: nothing more is lent or fetched.
    fn close(&self, py: Python<'_>) {
        if is_ours(self.process, "a worker").is_ok() {
            py.detach(|| drop(self.worker.lock().take()));
        }
    }
}

impl Drop for KvWorker {
    fn drop(&mut self) {
        if is_ours(self.process, "a worker").is_err() {
            std::mem::forget(self.worker.lock().take());
        }
    }
}

/// What a worker counted, each under a name of its own.
fn counted(stats: &WorkerStats) -> BTreeMap<&'static str, u64> {
    let WorkerStats { prefill, decode, agent, held, .. } = stats;
    let mut counted = BTreeMap::from([
        ("requests_lent", prefill.answered),
        ("requests_not_lent", prefill.not_granted + prefill.refused + prefill.invalid),
        ("requests_overdue", prefill.overdue),
        ("leases_finished", prefill.finished),
        ("leases_lapsed", prefill.lapsed),
        ("leases_released", prefill.released),
        ("requests_arrived", decode.arrived),
        ("requests_loaded", decode.loaded),
        ("requests_recomputed", decode.recomputed + decode.gone),
        ("requests_late", decode.late),
        ("requests_malformed", decode.malformed + decode.refused),
        ("blocks_loaded", decode.blocks_loaded),
        ("blocks_failed", decode.blocks_failed),
        ("fetches_retried", decode.retried),
        ("fetched_bytes", agent.fetched_bytes),
        ("served_bytes", agent.served_bytes),
        ("fallbacks", agent.fallbacks),
        ("denied_reads", agent.denied_reads),
        ("stale_reads", agent.stale_reads),
        ("refused_peers", agent.refused_peers),
        ("malformed_messages", agent.malformed_messages),
        ("leases_not_kept", stats.not_kept),
        ("producers_not_told", stats.not_finished),
        ("fetches_not_begun", stats.not_begun),
        ("refused_commands", stats.refused_commands),
        ("refused_schedulers", stats.refused_schedulers),
        ("lost_schedulers", stats.lost_schedulers),
        ("caught_panics", stats.caught_panics),
        ("requests_held", *held as u64),
    ]);
    let fetches = decode.outcomes.iter().zip(Outcome::ALL);
    counted.extend(fetches.map(|(&count, outcome)| (fetches_that(outcome), count)));
    counted
}

const fn fetches_that(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Done => "fetches_done",
        Outcome::Corrupt => "fetches_corrupt",
        Outcome::Stale => "fetches_stale",
        Outcome::Timeout => "fetches_timeout",
        Outcome::PeerLost => "fetches_peer_lost",
        Outcome::Cancelled => "fetches_cancelled",
        Outcome::Denied => "fetches_denied",
        Outcome::Io => "fetches_io",
        _ => "fetches_otherwise",
    }
}
