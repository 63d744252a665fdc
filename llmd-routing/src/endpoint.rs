//! Where requests can go, and how busy it is there.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use llmd_core::WorkerId;
use llmd_core::protocol::{ROLE_LABEL, Role};

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
    metrics: ArcSwapOption<EngineMetrics>,
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
            metrics: ArcSwapOption::empty(),
            in_flight: Arc::default(),
        }
    }

    /// The same, with these labels.
    #[must_use]
    pub fn with_labels<K: Into<String>, V: Into<String>>(self, labels: impl IntoIterator<Item = (K, V)>) -> Self {
        let labels = labels.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
        Self { labels, ..self }
    }

    /// The same, counting with `in_flight`: for an endpoint that takes the place of one that still has requests.
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

    /// What it last said about itself; `None` when it never did.
    pub fn metrics(&self) -> Option<Arc<EngineMetrics>> {
        self.metrics.load_full()
    }

    /// Takes what it says about itself.
    pub fn set_metrics(&self, metrics: EngineMetrics) {
        self.metrics.store(Some(Arc::new(metrics)));
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
}

/// What was sent to an endpoint and has not ended, counted by the sender: as fresh as can be, and blind to what others
/// send.
#[derive(Debug, Default)]
pub struct InFlight {
    requests: AtomicU64,
    tokens: AtomicU64,
}

impl InFlight {
    /// Requests.
    pub fn requests(&self) -> u64 {
        // Relaxed: a count that guards nothing; whoever must see its own writes holds the scheduler's lock.
        self.requests.load(Ordering::Relaxed)
    }

    /// Tokens of prompts that were not in the endpoint's cache, as far as the sender knew.
    pub fn tokens(&self) -> u64 {
        // Relaxed: as above.
        self.tokens.load(Ordering::Relaxed)
    }

    /// Counts a request in; it is counted out when the guard drops.
    #[must_use = "the request is counted out when the guard drops"]
    pub fn admit(self: &Arc<Self>, tokens: u64) -> InFlightGuard {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.tokens.fetch_add(tokens, Ordering::Relaxed);
        InFlightGuard { load: Arc::clone(self), tokens }
    }
}

/// A request that is counted until this drops.
#[derive(Debug)]
pub struct InFlightGuard {
    load: Arc<InFlight>,
    tokens: u64,
}

impl InFlightGuard {
    /// Counts the tokens out, and leaves the request: its prompt has been computed.
    pub fn release_tokens(&mut self) {
        self.load.tokens.fetch_sub(std::mem::take(&mut self.tokens), Ordering::Relaxed);
    }
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        self.release_tokens();
        self.load.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The endpoints of one model, as they are at one moment.
#[derive(Clone, Debug, Default)]
pub struct Pool(Arc<[Arc<Endpoint>]>);

impl Pool {
    /// A pool of these endpoints.
    pub fn new(endpoints: impl IntoIterator<Item = Arc<Endpoint>>) -> Self {
        Self(endpoints.into_iter().collect())
    }
}

impl Deref for Pool {
    type Target = [Arc<Endpoint>];

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl FromIterator<Endpoint> for Pool {
    fn from_iter<I: IntoIterator<Item = Endpoint>>(endpoints: I) -> Self {
        Self::new(endpoints.into_iter().map(Arc::new))
    }
}
