//! Where requests can go, and how busy it is there.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use llmd_core::protocol::{ROLE_LABEL, Role};
use llmd_core::{Medium, WorkerId};

use crate::InFlight;

/// An address that requests can go to, with what is known about it now.
///
/// Shared by all who look at it: the scheduler, whoever scrapes its metrics, and the guards of the requests that it is
/// working on.
#[derive(Debug)]
pub struct Endpoint {
    name: String,
    address: String,
    labels: BTreeMap<String, String>,
    worker: WorkerId,
    rank: Option<u32>,
    metrics: ArcSwapOption<EngineMetrics>,
    times_said: AtomicU64,
    attributes: ArcSwap<BTreeMap<String, f64>>,
    in_flight: Arc<InFlight>,
}

impl Endpoint {
    /// An endpoint at `address` (`host:port`), whose cache the index knows as `worker`.
    pub fn new(name: impl Into<String>, address: impl Into<String>, worker: WorkerId) -> Self {
        Self {
            name: name.into(),
            address: address.into(),
            labels: BTreeMap::new(),
            worker,
            rank: None,
            metrics: ArcSwapOption::empty(),
            times_said: AtomicU64::new(0),
            attributes: ArcSwap::default(),
            in_flight: Arc::default(),
        }
    }

    /// The data-parallel ranks behind one address, an endpoint each, called `<name>-rank-<n>` as in llm-d: `workers` are
    /// their caches in the order of the ranks, from 0. Each is scored by itself, and a decision names the rank.
    pub fn ranks(name: &str, address: &str, workers: impl IntoIterator<Item = WorkerId>) -> impl Iterator<Item = Self> {
        (0..).zip(workers).map(move |(rank, worker)| {
            let endpoint = Self::new(format!("{name}-rank-{rank}"), address, worker);
            Self { rank: Some(rank), ..endpoint }
        })
    }

    /// The same, as this data-parallel rank of the engine at its address.
    #[must_use]
    pub fn with_rank(self, rank: u32) -> Self {
        Self { rank: Some(rank), ..self }
    }

    /// The same, with these labels.
    #[must_use]
    pub fn with_labels<K: Into<String>, V: Into<String>>(self, labels: impl IntoIterator<Item = (K, V)>) -> Self {
        let labels = labels.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
        Self { labels, ..self }
    }

    /// The same, counting and measured with `in_flight`: for an endpoint that takes the place of one that still has requests.
    #[must_use]
    pub fn with_in_flight(self, in_flight: Arc<InFlight>) -> Self {
        Self { in_flight, ..self }
    }

    /// The name that people know it by.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where requests go: `host:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Its labels.
    pub const fn labels(&self) -> &BTreeMap<String, String> {
        &self.labels
    }

    /// What its role label says; `None` when it has none, or one that nobody knows.
    pub fn role(&self) -> Option<Role> {
        self.labels.get(ROLE_LABEL).and_then(|label| Role::from_label(label))
    }

    /// The worker whose cache its requests use.
    pub const fn worker(&self) -> WorkerId {
        self.worker
    }

    /// The data-parallel rank that requests are for; `None` when the engine at the address has one, or chooses itself.
    pub const fn rank(&self) -> Option<u32> {
        self.rank
    }

    /// What others measure of it under this name, such as `GPUUtilization`; `None` when nobody did.
    pub fn attribute(&self, name: &str) -> Option<f64> {
        self.attributes.load().get(name).copied()
    }

    /// Takes what others measure of it under a name.
    pub fn set_attribute(&self, name: impl Into<String>, value: f64) {
        let name = name.into();
        self.attributes.rcu(|known| {
            let mut all = BTreeMap::clone(known);
            all.insert(name.clone(), value);
            all
        });
    }

    /// What it last said about itself; `None` when it never did.
    pub fn metrics(&self) -> Option<Arc<EngineMetrics>> {
        self.metrics.load_full()
    }

    /// Takes what it says about itself.
    pub fn set_metrics(&self, metrics: EngineMetrics) {
        self.metrics.store(Some(Arc::new(metrics)));
        // Release: whoever sees that it said something sees what it said.
        self.times_said.fetch_add(1, Ordering::Release);
    }

    /// How often it said something about itself: what was read after this many times is what it says as long as they are
    /// no more.
    pub(crate) fn times_said(&self) -> u64 {
        self.times_said.load(Ordering::Acquire)
    }

    /// How long it takes to decode, by how long a plugin that measures it expected: over its last answers, and `None` when there
    /// were fewer than eight, or none within five minutes. Only how endpoints compare means something.
    pub fn pace(&self, now: Duration) -> Option<f64> {
        self.in_flight.pace().ratio(now)
    }

    /// What was sent there and has not ended.
    pub const fn in_flight(&self) -> &Arc<InFlight> {
        &self.in_flight
    }
}

/// Name and address.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.address)
    }
}

/// What an engine said about itself, once.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct EngineMetrics {
    /// When it was read.
    pub updated: Duration,
    /// Requests that wait for a place in the batch; `None` when it does not say.
    pub waiting_requests: Option<u64>,
    /// Requests in the batch.
    pub running_requests: Option<u64>,
    /// How much of its KV cache running requests hold, from 0 to 1.
    pub kv_cache_usage: Option<f64>,
    /// Tokens per block of its cache.
    pub block_size: Option<u32>,
    /// Blocks of its cache.
    pub num_blocks: Option<u64>,
    /// Its adapters; `None` when it says nothing of any.
    pub lora: Option<LoraMetrics>,
    /// Seconds that it takes to load a cached token from each medium, by [`Medium::index`], as it measures.
    pub load_s_per_token: [Option<f64>; Medium::ALL.len()],
    /// Seconds that it takes to compute a token of a prompt, as it measures.
    pub prefill_s_per_token: Option<f64>,
}

/// What an engine says about its adapters.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct LoraMetrics {
    /// Names of those that a request in the batch uses.
    pub running: Vec<String>,
    /// Names of those that a request that waits uses.
    pub waiting: Vec<String>,
    /// How many fit into its memory at once.
    pub max: u32,
}
