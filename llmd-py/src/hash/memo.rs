//! Names that were made for a session before.

use llmd_core::hash::{self, EngineHasher};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::BlockHasher;
use crate::args::{Items, namespace};
use crate::buffer::Tokens;
use crate::error::raise;
use crate::guarded::Guarded;
use crate::whole::Whole;

/// Remembers the names of each session's last prompt: of the next one that begins as that did, only what follows is hashed.
///
/// `max_tokens` is how many tokens it keeps together, where each session counts as 64 more; sessions that were asked for longest
/// ago make room. What is taken from memory was compared, token by token.
#[pyclass(frozen, module = "llmd_py")]
#[derive(Debug)]
pub(crate) struct SessionMemo {
    hasher: Py<BlockHasher>,
    memo: Guarded<hash::SessionMemo<EngineHasher>>,
}

#[pymethods]
impl SessionMemo {
    #[new]
    #[pyo3(signature = (hasher, *, max_tokens))]
    fn new(hasher: Py<BlockHasher>, max_tokens: Whole) -> PyResult<Self> {
        let memo = hash::SessionMemo::new(hasher.get().engine().clone(), max_tokens.named("max_tokens")?);
        Ok(Self { hasher, memo: Guarded::new("memo", memo) })
    }

    /// The names of all full blocks, and how many of them were remembered of `session`. The other arguments, and errors, are
    /// those of `BlockHasher.hash`.
    #[pyo3(signature = (session, tokens, *, lora=None, salt=None, mm=None, lora_path=None))]
    #[expect(clippy::too_many_arguments, reason = "they are Python's keyword arguments")]
    fn hash<'py>(
        &self,
        py: Python<'py>,
        session: &str,
        tokens: Tokens,
        lora: Option<String>,
        salt: Option<String>,
        mm: Option<Items>,
        lora_path: Option<String>,
    ) -> PyResult<(Vec<Bound<'py, PyBytes>>, usize)> {
        let namespace = namespace(lora, lora_path, salt, mm)?;
        let mut names = Vec::new();
        let hash = |tokens: &[_]| self.memo.with(|memo| memo.hash_into(session, tokens, &namespace, &mut names));
        let remembered = tokens.read(py, hash)?.map_err(raise)?;
        Ok((self.hasher.get().objects(py, &names), remembered))
    }

    /// Forget what was hashed for a session.
    fn forget(&self, session: &str) -> PyResult<()> {
        self.memo.with(|memo| memo.forget(session))
    }

    /// How many tokens are remembered, and 64 more for each session.
    #[getter]
    fn tokens(&self) -> PyResult<usize> {
        self.memo.with(|memo| memo.tokens())
    }

    /// How many sessions had to make room for others, or were too long by themselves.
    #[getter]
    fn dropped(&self) -> PyResult<u64> {
        self.memo.with(|memo| memo.dropped())
    }

    /// How many sessions are remembered.
    fn __len__(&self) -> PyResult<usize> {
        self.memo.with(|memo| memo.sessions())
    }

    /// True, also when no session is remembered.
    fn __bool__(&self) -> bool {
        true
    }

    fn __repr__(&self) -> PyResult<String> {
        let (sessions, tokens) = self.memo.with(|memo| (memo.sessions(), memo.tokens()))?;
        Ok(format!("<SessionMemo: {sessions} sessions, {tokens} tokens>"))
    }
}
