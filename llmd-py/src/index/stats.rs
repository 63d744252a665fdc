//! How much an index holds.

use llmd_core::index;
use pyo3::prelude::*;

/// How much an index holds now, and what it could not take since it was made.
#[pyclass(frozen, eq, get_all, module = "llmd_py")]
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct IndexStats {
    /// Workers that are known.
    workers: usize,
    /// Different blocks that somebody holds and whose place is known.
    blocks: usize,
    /// What all workers hold, a block once for each worker, cache group and medium.
    residents: usize,
    /// Residents that wait for their parent.
    orphans: usize,
    /// Residents of which no event has said the tokens in a way that places them.
    unplaced: usize,
    /// Blocks of removed copies that are remembered.
    remembered: usize,
    /// Blocks dropped because a limit was reached.
    dropped: u64,
    /// Blocks that came in events which cannot be placed: another block size, or a cache group that is not full attention.
    unplaceable: u64,
    /// Removals of blocks that were not held.
    unknown_removals: u64,
    /// Bytes that the tables take, about, free places included; 0 where they are not counted.
    bytes: usize,
}

impl IndexStats {
    pub(super) const fn new(stats: &index::IndexStats) -> Self {
        Self {
            workers: stats.workers,
            blocks: stats.blocks,
            residents: stats.held.residents,
            orphans: stats.held.orphans,
            unplaced: stats.held.unplaced,
            remembered: stats.remembered,
            dropped: stats.dropped,
            unplaceable: stats.unplaceable,
            unknown_removals: stats.unknown_removals,
            bytes: stats.bytes,
        }
    }
}

#[pymethods]
impl IndexStats {
    fn __repr__(&self) -> String {
        let Self { workers, blocks, residents, dropped, .. } = self;
        format!("<IndexStats: {blocks} blocks, {residents} residents of {workers} workers, {dropped} dropped>")
    }
}
