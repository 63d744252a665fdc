//! How many leading blocks of a prompt each worker holds.

use std::convert::Infallible;
use std::sync::{Arc, OnceLock};

use llmd_core::hash::Chain;
use llmd_core::index::{self, WorkerOverlap};
use llmd_core::{Medium, WorkerId};
use pyo3::exceptions::PyKeyError;
use pyo3::inspect::PyStaticExpr;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyIterator, PyList};
use pyo3::{type_hint_identifier, type_hint_subscript};

use super::dense;
use super::explain::PrefixExplanation;
use super::shared::Shared;
use crate::buffer::{Out, Workers};
use crate::error::raise;

/// How many leading blocks of a prompt each worker holds: a read-only mapping from a worker's name to a number of blocks.
///
/// Workers that hold not even the first block are not in it. It is an answer of one moment and does not change.
#[pyclass(frozen, mapping, module = "llmd_py")]
#[derive(Debug)]
pub(crate) struct Overlap {
    index: Arc<Shared>,
    chain: Chain,
    found: index::Overlap,
    /// Made when names are first asked for: most overlaps are only asked for one or two.
    named: OnceLock<Vec<(Arc<str>, WorkerOverlap)>>,
}

impl Overlap {
    pub(super) const fn new(index: Arc<Shared>, chain: Chain, found: index::Overlap) -> Self {
        Self { index, chain, found, named: OnceLock::new() }
    }

    /// Each worker that holds the first block, by its id. A worker that was removed since has no name and is left out.
    fn named(&self) -> &[(Arc<str>, WorkerOverlap)] {
        self.named.get_or_init(|| {
            let feed = self.index.reading();
            self.found.iter().filter_map(|found| Some((feed.name(found.worker)?, found))).collect()
        })
    }

    /// As of when names were first asked for, if they were: whoever walks over the names finds each of them.
    fn find(&self, worker: &str) -> Option<WorkerOverlap> {
        match self.named.get() {
            Some(named) => named.iter().find(|(name, _)| **name == *worker).map(|&(_, found)| found),
            None => self.found.get(self.index.reading().id(worker)?),
        }
    }

    /// The same for a worker that may hold nothing.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`](llmd_core::ErrorKind) when nobody has heard of the worker.
    fn held(&self, worker: &str) -> PyResult<WorkerOverlap> {
        if let Some(found) = self.find(worker) {
            return Ok(found);
        }
        self.index.reading().state(worker).map_err(raise)?;
        Ok(WorkerOverlap::none(WorkerId(u32::MAX)))
    }

    fn dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let dict = PyDict::new(py);
        for (name, found) in self.named() {
            dict.set_item(&**name, found.leading)?;
        }
        Ok(dict)
    }
}

#[pymethods]
impl Overlap {
    /// How many full blocks the prompt has.
    #[getter]
    fn blocks(&self) -> usize {
        self.chain.blocks().len()
    }

    /// Tokens per block.
    #[getter]
    fn block_size(&self) -> usize {
        self.chain.block_size()
    }

    /// How many leading blocks lie on the storage that all workers share, whoever holds what besides.
    #[getter]
    fn shared(&self) -> u32 {
        self.found.shared()
    }

    /// Write how many leading blocks each of `workers` holds to `out`, as `PrefixIndex.leading_into` does.
    fn leading_into(&self, py: Python<'_>, out: Out, workers: Workers) -> PyResult<()> {
        let mut numbers = workers.into_vec(py);
        dense::tell(&self.found, &mut numbers);
        out.write_u32(py, &numbers)
    }

    /// The worker that holds the most leading blocks, the one that is known longest among equals; `None` when nobody
    /// holds the first.
    fn best(&self) -> Option<&str> {
        let (first, rest) = self.named().split_first()?;
        let best = rest.iter().fold(first, |best, next| if next.1.leading > best.1.leading { next } else { best });
        Some(&best.0)
    }

    /// How many leading blocks lie on each medium: `"GPU"`, `"CPU"`, `"STORAGE"`. Of a worker that holds none, 0.
    ///
    /// Raises `InvalidError` when nobody has heard of the worker.
    fn by_medium<'py>(&self, py: Python<'py>, worker: &str) -> PyResult<Counts<'py>> {
        let found = self.held(worker)?;
        let counts = PyDict::new(py);
        for medium in Medium::ALL {
            counts.set_item(medium.as_str(), found.on(medium))?;
        }
        Ok(Counts(counts))
    }

    /// How many tokens of the prompt the worker would take from its cache: whole blocks, and never the last token, which
    /// is always computed.
    ///
    /// Raises `InvalidError` when nobody has heard of the worker.
    fn hit_tokens(&self, worker: &str) -> PyResult<usize> {
        Ok(self.chain.hit_tokens(self.held(worker)?.leading as usize))
    }

    /// Where each worker's prefix ends, and why: as of now, which may be later than this answer.
    fn explain(&self, py: Python<'_>) -> PyResult<PrefixExplanation> {
        let (index, chain) = (&self.index, &self.chain);
        let explained = py.detach(|| index.explain(chain))?;
        Ok(PrefixExplanation::new(index, explained))
    }

    /// The blocks of this worker, or `default`.
    #[pyo3(signature = (key, default=None, /))]
    fn get<'py>(&self, key: &Bound<'py, PyAny>, default: Option<Bound<'py, PyAny>>) -> PyResult<Bound<'py, PyAny>> {
        let py = key.py();
        match key.extract::<&str>().ok().and_then(|worker| self.find(worker)) {
            Some(found) => Ok(found.leading.into_pyobject(py)?.into_any()),
            None => Ok(default.unwrap_or_else(|| py.None().into_bound(py))),
        }
    }

    /// The workers.
    fn keys<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        view(slf, "KeysView")
    }

    /// Their blocks.
    fn values<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        view(slf, "ValuesView")
    }

    /// The workers with their blocks.
    fn items<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        view(slf, "ItemsView")
    }

    fn __getitem__(&self, worker: &str) -> PyResult<u32> {
        self.find(worker).map(|found| found.leading).ok_or_else(|| PyKeyError::new_err(worker.to_owned()))
    }

    fn __contains__(&self, key: &Bound<'_, PyAny>) -> bool {
        key.extract::<&str>().is_ok_and(|worker| self.find(worker).is_some())
    }

    fn __len__(&self) -> usize {
        self.named().len()
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Names<'py>> {
        let names = PyList::new(py, self.named().iter().map(|(name, _)| &**name))?;
        names.try_iter().map(Names)
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> PyResult<bool> {
        let py = other.py();
        match other.cast::<Self>() {
            Ok(other) => self.dict(py)?.eq(other.get().dict(py)?),
            Err(_) => self.dict(py)?.eq(other),
        }
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!("<Overlap of {} blocks: {}>", self.blocks(), self.dict(py)?.repr()?))
    }
}

/// A view of the mapping, as `collections.abc` makes it from any mapping.
fn view<'py>(overlap: &Bound<'py, Overlap>, class: &str) -> PyResult<Bound<'py, PyAny>> {
    overlap.py().import("collections.abc")?.getattr(class)?.call1((overlap,))
}

/// Names, one after another.
pub(crate) struct Names<'py>(Bound<'py, PyIterator>);

impl<'py> IntoPyObject<'py> for Names<'py> {
    type Target = PyIterator;
    type Output = Bound<'py, PyIterator>;
    type Error = Infallible;

    const OUTPUT_TYPE: PyStaticExpr = type_hint_subscript!(
        type_hint_identifier!("collections.abc", "Iterator"),
        type_hint_identifier!("builtins", "str")
    );

    fn into_pyobject(self, _: Python<'py>) -> Result<Self::Output, Infallible> {
        Ok(self.0)
    }
}

/// How many of each.
pub(crate) struct Counts<'py>(pub(super) Bound<'py, PyDict>);

impl<'py> IntoPyObject<'py> for Counts<'py> {
    type Target = PyDict;
    type Output = Bound<'py, PyDict>;
    type Error = Infallible;

    const OUTPUT_TYPE: PyStaticExpr = type_hint_subscript!(
        type_hint_identifier!("builtins", "dict"),
        type_hint_identifier!("builtins", "str"),
        type_hint_identifier!("builtins", "int")
    );

    fn into_pyobject(self, _: Python<'py>) -> Result<Self::Output, Infallible> {
        Ok(self.0)
    }
}
