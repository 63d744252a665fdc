//! Where requests can go, as Python sees it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use llmd_core::{Medium, WorkerId};
use llmd_routing::{EngineMetrics, LoraMetrics};
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

/// The id of a worker, which an index knows by name.
fn worker_id(index: Option<&Arc<Shared>>, worker: &str) -> PyResult<WorkerId> {
    match index {
        Some(index) => index.writing().and_then(|feed| feed.worker(worker)).map_err(raise),
        // Relaxed: only uniqueness matters.
        None => Ok(WorkerId(NEXT_UNINDEXED.fetch_add(1, Ordering::Relaxed))),
    }
}

fn not_empty<'a>(texts: impl IntoIterator<Item = (&'a str, &'a str)>) -> PyResult<()> {
    for (what, text) in texts {
        if text.is_empty() {
            return Err(invalid(format!("the {what} of an endpoint is empty, expected at least one character")));
        }
    }
    Ok(())
}

#[pymethods]
impl Endpoint {
    /// An endpoint of this name at `address` (`host:port`).
    ///
    /// `index` is the scheduler's, if it has one, and `worker` the name under which its KV events go in there; by default the
    /// endpoint's own. A worker that is removed from the index and comes back is another one: make its endpoint anew then.
    /// `labels` are what filters look at. `rank` is the data-parallel rank that requests are for, where the engine there has
    /// several.
    ///
    /// Raises `InvalidError` for an empty name or address, `ExhaustedError` when the index has no room for the worker.
    #[new]
    #[pyo3(signature = (name, address, *, index=None, worker=None, labels=None, rank=None))]
    fn new(
        name: String,
        address: String,
        index: Option<&Bound<'_, PrefixIndex>>,
        worker: Option<String>,
        labels: Option<ByName<String>>,
        rank: Option<Whole>,
    ) -> PyResult<Self> {
        let worker = worker.unwrap_or_else(|| name.clone());
        not_empty([("name", &name[..]), ("address", &address), ("worker", &worker)])?;
        let rank = named(rank, "rank")?;
        let index = index.map(|index| Arc::clone(index.get().shared()));
        let id = worker_id(index.as_ref(), &worker)?;
        let inner = llmd_routing::Endpoint::new(name, address, id)
            .with_labels(labels.map(|labels| labels.0).unwrap_or_default());
        let inner = match rank {
            Some(rank) => inner.with_rank(rank),
            None => inner,
        };
        Ok(Self { inner: Arc::new(inner), worker, index })
    }

    /// The data-parallel ranks behind one address, an endpoint each, called `<name>-rank-<n>` as in llm-d: each is scored by
    /// itself, and a decision names the rank.
    ///
    /// `count` is how many there are, and `workers` the names under which their KV events go into `index`, in the order of
    /// the ranks; by default the endpoints' own. `labels` are those of each.
    ///
    /// Raises `InvalidError` for an empty name or address, and when there are not as many workers as ranks;
    /// `ExhaustedError` when the index has no room for a worker.
    #[staticmethod]
    #[pyo3(signature = (name, address, count, *, index=None, workers=None, labels=None))]
    fn ranks(
        name: &str,
        address: &str,
        count: Whole,
        index: Option<&Bound<'_, PrefixIndex>>,
        workers: Option<Vec<String>>,
        labels: Option<ByName<String>>,
    ) -> PyResult<Vec<Self>> {
        let count: u16 = count.named("count")?;
        not_empty([("name", name), ("address", address)])?;
        let workers = workers.unwrap_or_else(|| (0..count).map(|rank| format!("{name}-rank-{rank}")).collect());
        if workers.len() != usize::from(count) {
            return Err(invalid(format!("there are {} workers, expected {count}, one for each rank", workers.len())));
        }
        not_empty(workers.iter().map(|worker| ("worker", &worker[..])))?;
        let index = index.map(|index| Arc::clone(index.get().shared()));
        let ids = workers.iter().map(|worker| worker_id(index.as_ref(), worker)).collect::<PyResult<Vec<_>>>()?;
        let labels = labels.map(|labels| labels.0).unwrap_or_default();
        let ranks = llmd_routing::Endpoint::ranks(name, address, ids).zip(workers);
        let object = |(inner, worker): (llmd_routing::Endpoint, _)| Self {
            inner: Arc::new(inner.with_labels(labels.clone())),
            worker,
            index: index.clone(),
        };
        Ok(ranks.map(object).collect())
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

    /// The data-parallel rank that requests are for; None when the engine at the address has one, or chooses itself.
    #[getter]
    fn rank(&self) -> Option<u32> {
        self.inner.rank()
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

    /// What others than the engine measure of it under this name; None when nobody did.
    fn attribute(&self, name: &str) -> Option<f64> {
        self.inner.attribute(name)
    }

    /// Takes what others than the engine measure of it under a name, such as `GPUUtilization`.
    ///
    /// A scheduler whose `needs.attributes` is true reads it.
    fn set_attribute(&self, name: String, value: f64) {
        self.inner.set_attribute(name, value);
    }

    /// Takes what the engine says about itself now: requests that wait and that run, how much of its KV cache running
    /// requests hold (0 to 1), tokens per block, blocks. What is left out counts as not said.
    ///
    /// Of its adapters it says how many fit into its memory at once, `max_lora`, and the names of those that requests in the
    /// batch, and those that wait, use. `load_s_per_token`, by medium (`"GPU"`, `"CPU"`, `"STORAGE"`), and
    /// `prefill_s_per_token` are the seconds that it takes to load a cached token, and to compute one.
    ///
    /// A scheduler whose `needs.metrics` is true reads it. Raises `InvalidError` for what is out of range.
    #[pyo3(signature = (
        *, waiting_requests=None, running_requests=None, kv_cache_usage=None, block_size=None, num_blocks=None,
        max_lora=None, running_lora_adapters=None, waiting_lora_adapters=None, load_s_per_token=None,
        prefill_s_per_token=None
    ))]
    #[expect(clippy::too_many_arguments, reason = "keywords, which Python's callers give by name")]
    fn set_metrics(
        &self,
        waiting_requests: Option<Whole>,
        running_requests: Option<Whole>,
        kv_cache_usage: Option<f64>,
        block_size: Option<Whole>,
        num_blocks: Option<Whole>,
        max_lora: Option<Whole>,
        running_lora_adapters: Option<Vec<String>>,
        waiting_lora_adapters: Option<Vec<String>>,
        load_s_per_token: Option<ByName<f64>>,
        prefill_s_per_token: Option<f64>,
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
        metrics.lora = lora(named(max_lora, "max_lora")?, running_lora_adapters, waiting_lora_adapters)?;
        for (name, seconds) in load_s_per_token.map(|seconds| seconds.0).unwrap_or_default() {
            let seconds = per_token(&format!("load_s_per_token[{name:?}]"), seconds)?;
            metrics.load_s_per_token[medium(&name)?.index()] = Some(seconds);
        }
        metrics.prefill_s_per_token =
            prefill_s_per_token.map(|seconds| per_token("prefill_s_per_token", seconds)).transpose()?;
        self.inner.set_metrics(metrics);
        Ok(())
    }

    fn __repr__(&self) -> String {
        format!("Endpoint({:?}, {:?})", self.inner.name(), self.inner.address())
    }
}

/// What an engine says about its adapters, if it does.
fn lora(max: Option<u32>, running: Option<Vec<String>>, waiting: Option<Vec<String>>) -> PyResult<Option<LoraMetrics>> {
    let Some(max) = max else {
        return match running.or(waiting) {
            Some(adapters) => Err(invalid(format!("max_lora is None, expected a number beside {adapters:?}"))),
            None => Ok(None),
        };
    };
    let mut lora = LoraMetrics::default();
    (lora.max, lora.running, lora.waiting) = (max, running.unwrap_or_default(), waiting.unwrap_or_default());
    Ok(Some(lora))
}

fn medium(name: &str) -> PyResult<Medium> {
    let known = Medium::ALL.into_iter().find(|medium| medium.as_str() == name);
    known.ok_or_else(|| {
        let [known @ .., last] = Medium::ALL.map(Medium::as_str);
        invalid(format!("medium {name:?}: expected {} or {last}", known.join(", ")))
    })
}

fn per_token(argument: &str, seconds: f64) -> PyResult<f64> {
    if seconds.is_finite() && seconds >= 0.0 {
        return Ok(seconds);
    }
    Err(invalid(format!("{argument} {seconds}: expected seconds, 0 or more")))
}
