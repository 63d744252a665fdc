//! What happened to operations and leases.

use std::sync::Arc;

use pyo3::prelude::*;

/// How an operation ended.
#[pyclass(frozen, module = "llmd_py")]
#[derive(Clone, Debug)]
pub(crate) struct Fetched(pub(super) Arc<llmd_kvxfer::Fetched>);

#[pymethods]
impl Fetched {
    /// The operation's number.
    #[getter]
    fn op(&self) -> u64 {
        self.0.op.number()
    }

    /// `"done"`, or why not all is here: `"cancelled"`, `"corrupt"`, `"denied"`, `"io"`, `"peer_lost"`, `"stale"` or `"timeout"`.
    #[getter]
    fn outcome(&self) -> &'static str {
        self.0.outcome.as_str()
    }

    /// Whether every block is where it was to go, as it was sent.
    #[getter]
    fn ok(&self) -> bool {
        self.0.outcome == llmd_kvxfer::Outcome::Done
    }

    /// How many blocks were to be fetched into.
    #[getter]
    fn blocks(&self) -> usize {
        self.0.blocks.len()
    }

    /// The places, in the list of blocks, of those that hold nothing that can be relied on.
    #[getter]
    fn failed_blocks(&self) -> Vec<usize> {
        self.0.blocks.failed().collect()
    }

    /// How many bytes were brought.
    #[getter]
    fn bytes(&self) -> u64 {
        self.0.bytes
    }

    /// By which transport.
    #[getter]
    fn transport(&self) -> &'static str {
        self.0.transport
    }

    /// How long it took.
    #[getter]
    fn seconds(&self) -> f64 {
        self.0.took.as_secs_f64()
    }

    /// What happened, where the outcome alone does not say it.
    #[getter]
    fn why(&self) -> Option<&str> {
        self.0.why.as_deref()
    }

    fn __repr__(&self) -> String {
        let llmd_kvxfer::Fetched { outcome, blocks, bytes, transport, took, why, .. } = &*self.0;
        let why = why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        let (arrived, all) = (blocks.count(), blocks.len());
        format!("<Fetched: {outcome}, {arrived} of {all} blocks, {bytes} bytes by {transport} in {took:?}{why}>")
    }
}

/// A lease that ended: from now on the engine may use its blocks again.
#[pyclass(frozen, module = "llmd_py")]
#[derive(Debug)]
pub(crate) struct LeaseEnded(llmd_kvxfer::LeaseEnded);

#[pymethods]
impl LeaseEnded {
    /// Which, as `Grant.lease` says it.
    #[getter]
    fn lease(&self) -> (u32, u64) {
        (self.0.lease.slot, self.0.lease.generation)
    }

    /// How: `"finished"` when all consumers have what they need, `"lapsed"` when its time was over, `"released"` when it was taken back.
    #[getter]
    fn end(&self) -> &'static str {
        self.0.end.as_str()
    }

    /// The number of the pool that its blocks are of.
    #[getter]
    fn pool(&self) -> u32 {
        self.0.pool
    }

    /// Those of its blocks that no other lease holds.
    #[getter]
    fn free(&self) -> Vec<u32> {
        self.0.free.clone()
    }

    fn __repr__(&self) -> String {
        let llmd_kvxfer::LeaseEnded { lease, end, pool, free, .. } = &self.0;
        format!("<LeaseEnded: {lease} {}, {} blocks of pool {pool} are free>", end.as_str(), free.len())
    }
}

/// Something that happened.
#[derive(Debug, IntoPyObject)]
pub(super) enum Event {
    Fetched(Fetched),
    LeaseEnded(LeaseEnded),
}

impl From<llmd_kvxfer::LeaseEnded> for Event {
    fn from(ended: llmd_kvxfer::LeaseEnded) -> Self {
        Self::LeaseEnded(LeaseEnded(ended))
    }
}
