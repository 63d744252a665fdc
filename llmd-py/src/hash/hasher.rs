//! Naming the blocks of a prompt.

use llmd_core::hash::EngineHasher;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::args::{Items, count, namespace};
use crate::buffer::{Out, Tokens};
use crate::error::raise;
use crate::event::Name;

/// Names the blocks of a prompt as an engine does, bit for bit.
///
/// `scheme` is one of `SCHEMES`: vLLM's `--prefix-caching-hash-algo` behind `vllm-`, or `sglang`. `block_size` is in tokens
/// (SGLang: page). vLLM's are taken for those of the newest version, started without `PYTHONHASHSEED`: `seed` says what it
/// was set to, and `engine_version` which version it is, such as `"0.30"`.
///
/// Raises `InvalidError` for a scheme, block size, seed or version that is none, and `UnsupportedError` for `"llmd"`: the
/// names that an index makes for itself do not leave it.
#[pyclass(frozen, module = "llmd_py")]
#[derive(Debug)]
pub(crate) struct BlockHasher {
    hasher: EngineHasher,
}

impl BlockHasher {
    /// What names blocks.
    pub(super) const fn engine(&self) -> &EngineHasher {
        &self.hasher
    }

    /// The names of a prompt one behind the other as objects.
    pub(super) fn objects<'py>(&self, py: Python<'py>, names: &[u8]) -> Vec<Bound<'py, PyBytes>> {
        names.chunks_exact(self.digest_len()).map(|name| PyBytes::new(py, name)).collect()
    }
}

#[pymethods]
impl BlockHasher {
    /// The names of every scheme.
    #[classattr]
    const SCHEMES: (&'static str, &'static str, &'static str, &'static str, &'static str) = {
        let [sha256, sha256_cbor, xxhash, xxhash_cbor, sglang] = EngineHasher::SCHEMES;
        (sha256, sha256_cbor, xxhash, xxhash_cbor, sglang)
    };

    #[new]
    #[pyo3(signature = (scheme, block_size=16, *, seed=None, engine_version=None))]
    fn new(scheme: &str, block_size: i64, seed: Option<&str>, engine_version: Option<&str>) -> PyResult<Self> {
        let mut hasher = EngineHasher::new(scheme, count("block_size", block_size)?).map_err(raise)?;
        if let Some(version) = engine_version {
            hasher = hasher.with_engine_version(version).map_err(raise)?;
        }
        if let Some(seed) = seed {
            hasher = hasher.with_seed(seed).map_err(raise)?;
        }
        Ok(Self { hasher })
    }

    /// The scheme.
    #[getter]
    fn scheme(&self) -> &'static str {
        self.hasher.scheme()
    }

    /// Tokens per block.
    #[getter]
    fn block_size(&self) -> usize {
        self.hasher.block_size()
    }

    /// Bytes per name: 32 or 16.
    #[getter]
    fn digest_len(&self) -> usize {
        self.hasher.digest_len()
    }

    /// The names of all full blocks, first block first. A rest that fills no block has no name.
    ///
    /// `tokens` is a buffer of integers in one dimension or a sequence of `int`. `lora` is the adapter's name and
    /// `lora_path` where the engine loaded it from, `salt` the tenant's salt, `mm` the images and other items: for each its
    /// identifier, its first placeholder token and how many there are.
    ///
    /// Raises `InvalidError` for a token that is none, by value and position; when the engine draws its seed by chance and
    /// none was given; and when vLLM hashes the adapter's path and it is not given. `UnsupportedError` for adapters and
    /// items of SGLang.
    #[pyo3(signature = (tokens, *, lora=None, salt=None, mm=None, lora_path=None))]
    fn hash<'py>(
        &self,
        py: Python<'py>,
        tokens: Tokens,
        lora: Option<String>,
        salt: Option<String>,
        mm: Option<Items>,
        lora_path: Option<String>,
    ) -> PyResult<Vec<Bound<'py, PyBytes>>> {
        let namespace = namespace(lora, lora_path, salt, mm)?;
        let hash = |tokens: &[_]| {
            let mut names = Vec::new();
            self.hasher.hash_into(tokens, &namespace, &mut names).map(|_| names)
        };
        let names = tokens.read(py, hash).map_err(raise)?;
        Ok(self.objects(py, &names))
    }

    /// Write the names of all full blocks to `out`, first block first and nothing between them: a writable buffer of as many
    /// bytes, `digest_len` for each block. Returns how many names there are. The other arguments are those of `hash`.
    ///
    /// Raises `InvalidError` for an `out` of another length, and otherwise what `hash` raises.
    #[pyo3(signature = (out, tokens, *, lora=None, salt=None, mm=None, lora_path=None))]
    #[expect(clippy::too_many_arguments, reason = "they are Python's keyword arguments")]
    fn hash_into(
        &self,
        py: Python<'_>,
        out: Out,
        tokens: Tokens,
        lora: Option<String>,
        salt: Option<String>,
        mm: Option<Items>,
        lora_path: Option<String>,
    ) -> PyResult<usize> {
        let namespace = namespace(lora, lora_path, salt, mm)?;
        let mut names = Vec::new();
        let blocks = tokens.read(py, |tokens| self.hasher.hash_into(tokens, &namespace, &mut names)).map_err(raise)?;
        out.write_bytes(py, &names)?;
        Ok(blocks)
    }

    /// The names of all full blocks as the engine's events have them, for queries: integers, or the whole names as bytes where
    /// the engine publishes those. The other arguments, and errors, are those of `hash`.
    #[pyo3(signature = (tokens, *, ints=true, lora=None, salt=None, mm=None, lora_path=None))]
    #[expect(clippy::too_many_arguments, reason = "they are Python's keyword arguments")]
    fn event_names(
        &self,
        py: Python<'_>,
        tokens: Tokens,
        ints: bool,
        lora: Option<String>,
        salt: Option<String>,
        mm: Option<Items>,
        lora_path: Option<String>,
    ) -> PyResult<Vec<Name>> {
        let namespace = namespace(lora, lora_path, salt, mm)?;
        let names = tokens.read(py, |tokens| self.hasher.event_names(tokens, &namespace, ints)).map_err(raise)?;
        Ok(Name::all(&names))
    }

    /// The integer that events say in place of this name. vLLM's is without a sign, SGLang's with one.
    ///
    /// Raises `InvalidError` when it is no name of `digest_len` bytes.
    fn event_int(&self, name: &[u8]) -> PyResult<i128> {
        let bits = self.hasher.event_int(name).map_err(raise)?;
        Ok(if self.hasher.event_int_is_signed() { i128::from(bits.cast_signed()) } else { i128::from(bits) })
    }

    fn __repr__(&self) -> String {
        format!("<BlockHasher: {}, blocks of {} tokens>", self.scheme(), self.block_size())
    }
}
