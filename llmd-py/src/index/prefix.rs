//! The index itself.

use std::path::PathBuf;
use std::sync::Arc;

use llmd_core::feed::Feed;
use llmd_core::index::PrefixIndex as _;
use pyo3::prelude::*;

use super::explain::PrefixExplanation;
use super::file;
use super::limits::Limits;
use super::shared::{Shared, word};
use super::{Fed, IndexStats, Overlap};
use crate::args::{Items, count, namespace};
use crate::buffer::{Payload, Tokens};
use crate::clock;
use crate::error::raise;
use crate::whole::{Whole, named};

/// Who holds which prefix: an exact index that is fed with the KV events of engines, under names that you choose.
///
/// One worker is one owner of a cache: one data-parallel rank of one engine. Any thread may feed it and any thread may
/// ask; who asks waits for nobody. `block_size` is in tokens and is the engines' own. All limits are bounds on memory;
/// what goes beyond is dropped and counted in `stats()`:
///
/// - `max_workers`: workers, 4,096 by default; beyond, `ExhaustedError`.
/// - `max_blocks`: blocks of one worker, 4,194,304 by default.
/// - `max_orphans`: blocks of one worker that wait for their parent, 16,384 by default.
/// - `max_remembered`: blocks of one worker that are gone and are remembered for `explain`, 16,384 by default.
/// - `max_waiting`: batches of one worker that wait for those before them, 4,096 by default.
/// - `max_payload`: bytes of one batch, 64 MiB by default; beyond, `InvalidError`.
/// - `recover_within`: seconds that missing batches are waited for, 10 by default; 0 when nobody can replay.
///
/// Raises `InvalidError` when `block_size` is 0.
#[pyclass(frozen, module = "llmd_py")]
#[derive(Debug)]
pub(crate) struct PrefixIndex {
    shared: Arc<Shared>,
}

impl PrefixIndex {
    /// What the streams that feed it share with it.
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}

#[pymethods]
impl PrefixIndex {
    #[new]
    #[pyo3(signature = (
        block_size = 16, *, max_workers = None, max_blocks = None, max_orphans = None, max_remembered = None,
        max_waiting = None, max_payload = None, recover_within = None
    ))]
    #[expect(clippy::too_many_arguments, reason = "they are Python's keyword arguments")]
    fn new(
        block_size: i64,
        max_workers: Option<Whole>,
        max_blocks: Option<Whole>,
        max_orphans: Option<Whole>,
        max_remembered: Option<Whole>,
        max_waiting: Option<Whole>,
        max_payload: Option<Whole>,
        recover_within: Option<f64>,
    ) -> PyResult<Self> {
        let limits =
            Limits { max_workers, max_blocks, max_orphans, max_remembered, max_waiting, max_payload, recover_within };
        let (settings, limits) = limits.settings()?;
        let settings = settings.with_block_size(count("block_size", block_size)?);
        let feed = Feed::with_limits(settings, limits).map_err(raise)?;
        Ok(Self { shared: Shared::new(feed) })
    }

    /// The index that `snapshot` wrote to `path`. The bounds are those of the class, and may differ from before.
    ///
    /// Every worker is recovering, and `missing_from` is the last batch that was applied. When the engine's replay from
    /// there on is fed, or its stream goes on with that very batch, the worker is exact again if it was before.
    ///
    /// Raises `CorruptError` when the file is no snapshot or damaged, `UnsupportedError` when a newer version wrote it,
    /// `ExhaustedError` when it holds more than the bounds allow, and `UnavailableError` when it cannot be read.
    #[staticmethod]
    #[pyo3(signature = (
        path, *, max_workers = None, max_blocks = None, max_orphans = None, max_remembered = None, max_waiting = None,
        max_payload = None, recover_within = None
    ))]
    #[expect(clippy::too_many_arguments, reason = "they are Python's keyword arguments")]
    fn restore(
        py: Python<'_>,
        path: PathBuf,
        max_workers: Option<Whole>,
        max_blocks: Option<Whole>,
        max_orphans: Option<Whole>,
        max_remembered: Option<Whole>,
        max_waiting: Option<Whole>,
        max_payload: Option<Whole>,
        recover_within: Option<f64>,
    ) -> PyResult<Self> {
        let limits =
            Limits { max_workers, max_blocks, max_orphans, max_remembered, max_waiting, max_payload, recover_within };
        let (settings, limits) = limits.settings()?;
        let restore = || Feed::restore_with_limits(settings, limits, &file::read(&path)?);
        let feed = py.detach(restore).map_err(raise)?;
        Ok(Self { shared: Shared::new(feed) })
    }

    /// Write everything that is known to a file, for `restore`, in place of what was there: whole, or not at all.
    ///
    /// Workers that a `KvEventStream` follows are left out, and so are batches that wait for others. The file holds the
    /// secret that the index names blocks with, and only its owner can read it.
    ///
    /// Raises `UnavailableError` when the file cannot be written.
    fn snapshot(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        let feed = self.shared.writing().map_err(raise)?;
        py.detach(|| file::write(&path, &feed.snapshot())).map_err(raise)
    }

    /// Tokens per block.
    #[getter]
    fn block_size(&self) -> usize {
        self.shared.reading().block_size()
    }

    /// Take one batch as it came from the engine; a worker that is new is made.
    ///
    /// `payload` is the message's bytes: `bytes` or a contiguous buffer of them. With `seq`, the number that the engine
    /// gave it, the batch is put in order: one that came before is skipped, and batches after a gap wait while
    /// `missing_from` of the answer says from where the engine should replay. Feed what it replays by this call too,
    /// beginning with that number; or call `give_up`. Without `seq` nobody can know what is missing: the worker is
    /// approximate.
    ///
    /// Raises `CorruptError` when nothing of the payload can be read; `InvalidError`, with nothing changed, when the
    /// worker is followed by a `KvEventStream` or when the payload is larger than `max_payload`; `ExhaustedError` beyond
    /// `max_workers`.
    #[pyo3(signature = (worker, payload, *, seq=None))]
    fn apply(&self, py: Python<'_>, worker: &str, payload: Payload<'_>, seq: Option<Whole>) -> PyResult<Fed> {
        let feed = self.shared.writing().map_err(raise)?;
        let seq = named(seq, "seq")?;
        payload.read(py, |payload| feed.apply(clock::now(), worker, seq, payload)).map(Fed::new).map_err(raise)
    }

    /// What is missing of a worker will not come: what waits is applied, and the worker is approximate. Nothing happens
    /// when nothing is missing.
    ///
    /// Raises `InvalidError` when nobody has heard of the worker, or when it is followed by a `KvEventStream`.
    fn give_up(&self, worker: &str) -> PyResult<Fed> {
        let feed = self.shared.writing().map_err(raise)?;
        feed.give_up(clock::now(), worker).map(Fed::new).map_err(raise)
    }

    /// How many leading blocks of a prompt each worker holds.
    ///
    /// `tokens` is a buffer of integers in one dimension (a NumPy array, an `array`, a `memoryview`; 32-bit ones are read
    /// where they lie) or a sequence of `int`. What else decides whether two prompts share their KV: the name of the
    /// adapter (`lora`), the tenant's salt (`salt`), and the images and other items (`mm`): for each its identifier, its
    /// first placeholder token and how many there are.
    ///
    /// Raises `InvalidError` for a token that is none, by value and position.
    #[pyo3(signature = (tokens, *, lora=None, salt=None, mm=None))]
    fn query(
        &self,
        py: Python<'_>,
        tokens: Tokens,
        lora: Option<String>,
        salt: Option<String>,
        mm: Option<Items>,
    ) -> PyResult<Overlap> {
        let namespace = namespace(lora, None, salt, mm)?;
        let reader = self.shared.reading().reader();
        let (chain, found) = tokens.read(py, |tokens| {
            let chain = reader.hasher().chain(tokens, &namespace);
            let found = reader.query(&chain);
            (chain, found)
        });
        Ok(Overlap::new(Arc::clone(&self.shared), chain, found))
    }

    /// Where each worker's prefix of a prompt ends, and why. Arguments and errors are those of `query`.
    #[pyo3(signature = (tokens, *, lora=None, salt=None, mm=None))]
    fn explain(
        &self,
        py: Python<'_>,
        tokens: Tokens,
        lora: Option<String>,
        salt: Option<String>,
        mm: Option<Items>,
    ) -> PyResult<PrefixExplanation> {
        let namespace = namespace(lora, None, salt, mm)?;
        let reader = self.shared.reading().reader();
        let explained = tokens.read(py, |tokens| reader.explain(&reader.hasher().chain(tokens, &namespace)));
        Ok(PrefixExplanation::new(&self.shared, explained))
    }

    /// How far the answers about a worker can be trusted: `"exact"`, as of its last batch; `"recovering"`, while something
    /// is missing and has been asked for; or `"approximate"`.
    ///
    /// Raises `InvalidError` when nobody has heard of the worker.
    fn state(&self, worker: &str) -> PyResult<&'static str> {
        self.shared.reading().state(worker).map(word).map_err(raise)
    }

    /// From which number on the engine should replay, inclusive; `None` when nothing of the worker is missing.
    ///
    /// Raises `InvalidError` when nobody has heard of the worker.
    fn missing_from(&self, worker: &str) -> PyResult<Option<u64>> {
        self.shared.writing().and_then(|feed| feed.missing_from(worker)).map_err(raise)
    }

    /// The names of the workers, the one that is known longest first.
    fn workers(&self) -> Vec<String> {
        self.shared.reading().names().into_iter().map(|(_, name)| name.to_string()).collect()
    }

    /// Forget the blocks of a worker whose engine was told to empty its cache. It is exact again when its stream says
    /// that all blocks are gone, as engines do then, or when it begins anew.
    ///
    /// Raises `InvalidError` when nobody has heard of the worker, or when it is followed by a `KvEventStream`.
    fn clear(&self, worker: &str) -> PyResult<()> {
        self.shared.writing().and_then(|feed| feed.clear(worker)).map_err(raise)
    }

    /// Forget a worker and its name.
    ///
    /// Raises `InvalidError` when nobody has heard of the worker, or when it is followed by a `KvEventStream`.
    fn remove_worker(&self, worker: &str) -> PyResult<()> {
        self.shared.writing().and_then(|feed| feed.remove_worker(worker)).map_err(raise)
    }

    /// How much is held, and what was dropped.
    fn stats(&self) -> PyResult<IndexStats> {
        self.shared.writing().map(|feed| IndexStats::new(&feed.stats())).map_err(raise)
    }

    fn __repr__(&self) -> String {
        let feed = self.shared.reading();
        format!("<PrefixIndex: blocks of {} tokens, {} workers>", feed.block_size(), feed.names().len())
    }
}
