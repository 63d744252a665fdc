//! What an agent says of itself and of its transports.

use std::collections::BTreeMap;

use llmd_kvxfer::Outcome;
use pyo3::prelude::*;

/// A transport that was considered for a grant: the first of a list that can would be taken.
#[pyclass(frozen, module = "llmd_py")]
#[derive(Debug)]
pub(crate) struct Considered(pub(super) llmd_kvxfer::Considered);

#[pymethods]
impl Considered {
    /// Which.
    #[getter]
    fn transport(&self) -> &'static str {
        self.0.transport
    }

    /// What it is expected to take before the first byte, in seconds; `None` when it cannot be taken.
    #[getter]
    fn latency(&self) -> Option<f64> {
        self.0.cost.as_ref().ok().map(|cost| cost.latency.as_secs_f64())
    }

    /// From then on, in bytes a second; `None` when it cannot be taken.
    #[getter]
    fn rate(&self) -> Option<f64> {
        self.0.cost.as_ref().ok().map(|cost| cost.rate)
    }

    /// Why it cannot be taken; `None` when it can.
    #[getter]
    fn why(&self) -> Option<&str> {
        self.0.cost.as_ref().err().map(String::as_str)
    }

    fn __repr__(&self) -> String {
        match &self.0.cost {
            Ok(cost) => format!("<Considered {}: {:?}, {:.1} GB/s>", self.0.transport, cost.latency, cost.rate / 1e9),
            Err(why) => format!("<Considered {}: {why}>", self.0.transport),
        }
    }
}

/// What an agent has now, and what it counted since it was built.
#[pyclass(frozen, eq, get_all, module = "llmd_py")]
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct AgentStats {
    /// Leases that hold.
    leases: usize,
    /// Operations under way.
    operations: usize,
    /// Peers that it is connected with.
    peers: usize,
    /// Operations that ended, by their outcomes' names.
    ended: BTreeMap<&'static str, u64>,
    /// Bytes that were fetched.
    fetched_bytes: u64,
    /// Operations that were begun again on another transport.
    fallbacks: u64,
    /// Bytes that were sent to others; not those that others copied by themselves.
    served_bytes: u64,
    /// Reads that were denied.
    denied_reads: u64,
    /// Reads with a lease that had ended.
    stale_reads: u64,
    /// Peers that were not let in.
    refused_peers: u64,
    /// Messages that were none.
    malformed_messages: u64,
    /// Notes of leases that had ended, or of none.
    lost_notes: u64,
    /// Bytes that were fetched by `shm` out of memory of a peer that this process mapped.
    mapped_bytes: u64,
    /// Bytes that were fetched by `shm` out of a peer's memory by its address.
    cma_bytes: u64,
    /// Bytes that were fetched by `shm` and copied there by the peer.
    staged_bytes: u64,
    /// Bytes that were fetched by `cuda_ipc` out of memory that another process's device exported.
    ipc_bytes: u64,
}

impl AgentStats {
    pub(super) fn new(stats: &llmd_kvxfer::AgentStats) -> Self {
        Self {
            leases: stats.leases,
            operations: stats.operations,
            peers: stats.peers,
            ended: Outcome::ALL.into_iter().map(Outcome::as_str).zip(stats.ended).collect(),
            fetched_bytes: stats.fetched_bytes,
            fallbacks: stats.fallbacks,
            served_bytes: stats.served_bytes,
            denied_reads: stats.denied_reads,
            stale_reads: stats.stale_reads,
            refused_peers: stats.refused_peers,
            malformed_messages: stats.malformed_messages,
            lost_notes: stats.lost_notes,
            mapped_bytes: stats.mapped_bytes,
            cma_bytes: stats.cma_bytes,
            staged_bytes: stats.staged_bytes,
            ipc_bytes: stats.ipc_bytes,
        }
    }
}

#[pymethods]
impl AgentStats {
    fn __repr__(&self) -> String {
        let Self { leases, operations, peers, fetched_bytes, .. } = self;
        format!("<AgentStats: {leases} leases, {operations} operations, {peers} peers, {fetched_bytes} bytes fetched>")
    }
}
