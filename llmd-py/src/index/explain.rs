//! Why a prompt is, or is not, in a worker's cache.

use llmd_core::Medium;
use llmd_core::index;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::overlap::Counts;
use super::shared::{Shared, word};

/// Where each worker's prefix of a prompt ends, and why. `str()` is one line per worker.
#[pyclass(frozen, module = "llmd_py")]
#[derive(Debug)]
pub(crate) struct PrefixExplanation {
    explained: index::Explanation,
    names: Vec<String>,
    text: String,
}

impl PrefixExplanation {
    pub(super) fn new(index: &Shared, explained: index::Explanation) -> Self {
        let name = |worker| index.reading().name(worker);
        let text = explained.named(name).to_string();
        let names = explained.workers.iter().map(|worker| match name(worker.worker()) {
            Some(name) => name.to_string(),
            None => worker.worker().to_string(),
        });
        Self { names: names.collect(), text, explained }
    }
}

#[pymethods]
impl PrefixExplanation {
    /// How many full blocks the prompt has.
    #[getter]
    fn blocks(&self) -> usize {
        self.explained.blocks
    }

    /// Tokens per block.
    #[getter]
    fn block_size(&self) -> usize {
        self.explained.block_size
    }

    /// Every worker that the index knows.
    #[getter]
    fn workers(&self) -> Vec<WorkerExplanation> {
        let workers = self.names.iter().zip(&self.explained.workers);
        workers.map(|(name, worker)| WorkerExplanation { name: name.clone(), worker: worker.clone() }).collect()
    }

    fn __str__(&self) -> &str {
        &self.text
    }

    fn __repr__(&self) -> String {
        format!("<PrefixExplanation of {} blocks: {} workers>", self.explained.blocks, self.names.len())
    }
}

/// Where one worker's prefix of a prompt ends, and why.
#[pyclass(frozen, module = "llmd_py")]
#[derive(Debug)]
pub(crate) struct WorkerExplanation {
    name: String,
    worker: index::WorkerExplanation,
}

#[pymethods]
impl WorkerExplanation {
    /// The worker's name.
    #[getter]
    fn name(&self) -> &str {
        &self.name
    }

    /// How far what follows can be trusted: `"exact"`, `"recovering"` or `"approximate"`.
    #[getter]
    fn state(&self) -> &'static str {
        word(self.worker.state)
    }

    /// How many leading blocks it holds.
    #[getter]
    fn leading(&self) -> u32 {
        self.worker.overlap.leading
    }

    /// How many leading blocks lie on each medium: `"GPU"`, `"CPU"`, `"STORAGE"`.
    #[getter]
    fn by_medium<'py>(&self, py: Python<'py>) -> PyResult<Counts<'py>> {
        let counts = PyDict::new(py);
        for medium in Medium::ALL {
            counts.set_item(medium.as_str(), self.worker.overlap.on(medium))?;
        }
        Ok(Counts(counts))
    }

    /// How many leading blocks lie on the storage that all workers share.
    #[getter]
    fn shared(&self) -> u32 {
        self.worker.overlap.shared
    }

    /// Of a hybrid model, the first KV-cache group that did not allow a longer hit; `None` when the prompt ends there, and for
    /// every other model.
    #[getter]
    fn limited_by(&self) -> Option<u32> {
        self.worker.limited_by.map(|group| group.0)
    }

    /// Which block `next` tells of, counted from 0.
    #[getter]
    fn ends(&self) -> u32 {
        self.worker.ends
    }

    /// What became of the first block that is not held, in words; `None` when all are held.
    #[getter]
    fn next(&self) -> Option<String> {
        self.worker.next.map(|fate| fate.to_string())
    }

    /// How many blocks behind the end of the prefix are held all the same, and are of no use.
    #[getter]
    fn held_behind(&self) -> usize {
        self.worker.held_behind
    }

    /// How many blocks the worker holds of which the index does not know where in which prompt they stand.
    #[getter]
    fn unplaced(&self) -> usize {
        self.worker.unplaced
    }

    fn __repr__(&self) -> String {
        format!("<WorkerExplanation: {} holds {} leading, {}>", self.name, self.leading(), self.state())
    }
}
