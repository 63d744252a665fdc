//! A prompt that grows, ready to be asked for again and again.

use std::mem;
use std::sync::Arc;

use llmd_core::hash::{self, Namespace};
use llmd_core::index::PrefixIndex as _;
use pyo3::prelude::*;

use super::dense;
use super::explain::PrefixExplanation;
use super::overlap::Overlap;
use super::shared::Shared;
use crate::args::Names;
use crate::buffer::{Out, Tokens, Workers};
use crate::error::raise;
use crate::guarded::Guarded;

/// A prompt as an index sees it: it can be asked for again without being hashed again, and goes on as tokens are made.
///
/// Made by `PrefixIndex.chain`, and asks that index.
#[pyclass(frozen, module = "llmd_py")]
#[derive(Debug)]
pub(crate) struct Chain {
    index: Arc<Shared>,
    namespace: Namespace,
    chain: Guarded<hash::Chain>,
}

impl Chain {
    pub(super) fn new(index: Arc<Shared>, namespace: Namespace, chain: hash::Chain) -> Self {
        Self { index, namespace, chain: Guarded::new("chain", chain) }
    }
}

#[pymethods]
impl Chain {
    /// How many full blocks the prompt has.
    #[getter]
    fn blocks(&self) -> PyResult<usize> {
        self.chain.with(|chain| chain.blocks().len())
    }

    /// Tokens per block.
    #[getter]
    fn block_size(&self) -> usize {
        self.index.reading().block_size()
    }

    /// How many tokens the prompt has, those that fill no block included.
    #[getter]
    fn tokens(&self) -> PyResult<usize> {
        self.chain.with(|chain| chain.tokens())
    }

    /// Go on with more tokens, as they are made; what fills no block yet is kept.
    ///
    /// Raises `InvalidError` for a token that is none, by value and position.
    fn extend(&self, py: Python<'_>, tokens: Tokens) -> PyResult<()> {
        let (hasher, namespace) = (self.index.reading().reader().hasher(), &self.namespace);
        tokens.read(py, |tokens| self.chain.with(|chain| chain.extend(hasher, tokens, namespace)))?.map_err(raise)
    }

    /// Say what the engines call the full blocks, first block first, in place of what was said before: integers or bytes, as
    /// their events have them. `BlockHasher.event_names` makes them. They find blocks of hybrid models of which events say no
    /// more than the name.
    fn set_names(&self, names: Names) -> PyResult<()> {
        self.chain.with(|chain| *chain = mem::take(chain).with_names(names.0))
    }

    /// How many leading blocks of the prompt each worker holds.
    fn query(&self) -> PyResult<Overlap> {
        let reader = self.index.reading().reader();
        let (chain, found) = self.chain.with(|chain| (chain.clone(), reader.query(chain)))?;
        Ok(Overlap::new(Arc::clone(&self.index), chain, found))
    }

    /// Write how many leading blocks each of `workers` holds to `out`, as `PrefixIndex.leading_into` does.
    fn leading_into(&self, py: Python<'_>, out: Out, workers: Workers) -> PyResult<()> {
        let mut numbers = workers.into_vec(py);
        let reader = self.index.reading().reader();
        self.chain.with(|chain| dense::leading(reader, chain, &mut numbers))?;
        out.write_u32(py, &numbers)
    }

    /// Where each worker's prefix ends, and why.
    fn explain(&self, py: Python<'_>) -> PyResult<PrefixExplanation> {
        let index = &self.index;
        let explained = py.detach(|| self.chain.with(|chain| index.explain(chain)))??;
        Ok(PrefixExplanation::new(index, explained))
    }

    fn __repr__(&self) -> PyResult<String> {
        let (blocks, tokens) = self.chain.with(|chain| (chain.blocks().len(), chain.tokens()))?;
        Ok(format!("<Chain of {blocks} blocks, {tokens} tokens>"))
    }
}
