//! The index itself.

use std::path::PathBuf;
use std::sync::Arc;

use llmd_core::TokenId;
use llmd_core::feed::Feed;
use llmd_core::hash::{self, Namespace};
use llmd_core::index::{ExactReader, PrefixIndex as _, Resident};
use pyo3::prelude::*;

use super::explain::PrefixExplanation;
use super::file;
use super::limits::Limits;
use super::shared::{Shared, word};
use super::{Chain, Fed, IndexStats, Overlap, dense};
use crate::args::{Items, Names, count, namespace};
use crate::buffer::{Out, Payload, Tokens, Workers};
use crate::clock;
use crate::error::raise;
use crate::event::{KvEventBatch, Name};
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
/// - `max_remembered`: blocks of one worker that are gone and are remembered for `explain`, 4,096 by default.
/// - `max_waiting`: batches of one worker that wait for those before them, 4,096 by default.
/// - `max_payload`: bytes of one batch, 64 MiB by default; beyond, `InvalidError`.
/// - `recover_within`: seconds that missing batches are waited for, 10 by default; 0 when nobody can replay.
/// - `silence_blocks` and `silence_patience`: how many blocks an engine must have `stored`, and for how many seconds its stream
///   may say nothing of them, until the worker is approximate; 64 and 5 by default.
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
        max_waiting = None, max_payload = None, recover_within = None, silence_blocks = None, silence_patience = None
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
        silence_blocks: Option<Whole>,
        silence_patience: Option<f64>,
    ) -> PyResult<Self> {
        let limits = Limits {
            max_workers,
            max_blocks,
            max_orphans,
            max_remembered,
            max_waiting,
            max_payload,
            recover_within,
            silence_blocks,
            silence_patience,
        };
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
        max_payload = None, recover_within = None, silence_blocks = None, silence_patience = None
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
        silence_blocks: Option<Whole>,
        silence_patience: Option<f64>,
    ) -> PyResult<Self> {
        let limits = Limits {
            max_workers,
            max_blocks,
            max_orphans,
            max_remembered,
            max_waiting,
            max_payload,
            recover_within,
            silence_blocks,
            silence_patience,
        };
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

    /// The same for a batch that was decoded before and has a number, such as those of a `TrtllmDecoder`.
    ///
    /// Raises `InvalidError` for a batch without a number, and otherwise what `apply` raises.
    fn apply_batch(&self, py: Python<'_>, worker: &str, batch: &Bound<'_, KvEventBatch>) -> PyResult<Fed> {
        let feed = self.shared.writing().map_err(raise)?;
        let batch = batch.get().numbered()?;
        py.detach(|| feed.apply_numbered(clock::now(), worker, batch)).map(Fed::new).map_err(raise)
    }

    /// How many leading blocks of a prompt each worker holds.
    ///
    /// `tokens` is a buffer of integers in one dimension (a NumPy array, an `array`, a `memoryview`; 32-bit ones are read
    /// where they lie) or a sequence of `int`. What else decides whether two prompts share their KV: the name of the
    /// adapter (`lora`), the tenant's salt (`salt`), and the images and other items (`mm`): for each its identifier, its
    /// first placeholder token and how many there are. `names` is what the engines call the full blocks, where that can be
    /// computed (`BlockHasher.event_names`): it finds blocks of hybrid models of which events say no more than the name.
    ///
    /// Raises `InvalidError` for a token that is none, by value and position.
    #[pyo3(signature = (tokens, *, lora=None, salt=None, mm=None, names=None))]
    fn query(
        &self,
        py: Python<'_>,
        tokens: Tokens,
        lora: Option<String>,
        salt: Option<String>,
        mm: Option<Items>,
        names: Option<Names>,
    ) -> PyResult<Overlap> {
        let namespace = namespace(lora, None, salt, mm)?;
        let reader = self.shared.reading().reader();
        let (chain, found) = tokens.read(py, |tokens| {
            let chain = hashed(reader, tokens, &namespace, names);
            let found = reader.query(&chain);
            (chain, found)
        });
        Ok(Overlap::new(Arc::clone(&self.shared), chain, found))
    }

    /// Write how many leading blocks of a prompt each of `workers` holds to `out`, in their order.
    ///
    /// `workers` are numbers that `worker` gave, in a buffer or a sequence as tokens are; one that nobody knows holds nothing.
    /// `out` is a writable buffer of as many unsigned integers of 32 bits (`np.uint32`, `array("I")`). The other arguments are
    /// those of `query`.
    ///
    /// Raises `InvalidError` for an `out` of another length or format, and for a token that is none.
    #[pyo3(signature = (out, workers, tokens, *, lora=None, salt=None, mm=None, names=None))]
    #[expect(clippy::too_many_arguments, reason = "they are Python's keyword arguments")]
    fn leading_into(
        &self,
        py: Python<'_>,
        out: Out,
        workers: Workers,
        tokens: Tokens,
        lora: Option<String>,
        salt: Option<String>,
        mm: Option<Items>,
        names: Option<Names>,
    ) -> PyResult<()> {
        let namespace = namespace(lora, None, salt, mm)?;
        let reader = self.shared.reading().reader();
        let (names, mut numbers) = (names.unwrap_or_default().0, workers.into_vec(py));
        tokens.read(py, |tokens| dense::leading_of(reader, tokens, &namespace, names, &mut numbers));
        out.write_u32(py, &numbers)
    }

    /// A prompt to be asked for again and again, and to go on with tokens as they are made. Arguments and errors are those of
    /// `query`.
    #[pyo3(signature = (tokens, *, lora=None, salt=None, mm=None, names=None))]
    fn chain(
        &self,
        py: Python<'_>,
        tokens: Tokens,
        lora: Option<String>,
        salt: Option<String>,
        mm: Option<Items>,
        names: Option<Names>,
    ) -> PyResult<Chain> {
        let namespace = namespace(lora, None, salt, mm)?;
        let reader = self.shared.reading().reader();
        let chain = tokens.read(py, |tokens| hashed(reader, tokens, &namespace, names));
        Ok(Chain::new(Arc::clone(&self.shared), namespace, chain))
    }

    /// Where each worker's prefix of a prompt ends, and why. Arguments and errors are those of `query`.
    #[pyo3(signature = (tokens, *, lora=None, salt=None, mm=None, names=None))]
    fn explain(
        &self,
        py: Python<'_>,
        tokens: Tokens,
        lora: Option<String>,
        salt: Option<String>,
        mm: Option<Items>,
        names: Option<Names>,
    ) -> PyResult<PrefixExplanation> {
        let namespace = namespace(lora, None, salt, mm)?;
        let reader = self.shared.reading().reader();
        let explained = tokens.read(py, |tokens| self.shared.explain(&hashed(reader, tokens, &namespace, names)))?;
        Ok(PrefixExplanation::new(&self.shared, explained))
    }

    /// The number of the worker of this name; a new one, when there is none yet. No other worker of the index ever has it.
    ///
    /// Raises `InvalidError` for a name that is empty or longer than 1,024 bytes, and `ExhaustedError` beyond `max_workers`.
    fn worker(&self, name: &str) -> PyResult<u32> {
        self.shared.writing().and_then(|feed| feed.worker(name)).map(|worker| worker.0).map_err(raise)
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

    /// The engine of a worker stored at least `blocks` more blocks since this was last told, as something else than its stream
    /// says: its counters, or requests that completed. When the stream says nothing of `silence_blocks` of them within
    /// `silence_patience`, the worker is approximate from the next telling on, and until a batch comes.
    ///
    /// Raises `InvalidError` when nobody has heard of the worker, or when it is followed by a `KvEventStream`.
    fn stored(&self, worker: &str, blocks: Whole) -> PyResult<()> {
        let blocks = blocks.named("blocks")?;
        self.shared.writing().and_then(|feed| feed.stored(clock::now(), worker, blocks)).map_err(raise)
    }

    /// GPU memory of the worker's engine has so many blocks. An engine of which more copies are counted announces hits too;
    /// it is never exact.
    ///
    /// Raises `InvalidError` when nobody has heard of the worker, or when it is followed by a `KvEventStream`.
    fn set_gpu_blocks(&self, worker: &str, blocks: Whole) -> PyResult<()> {
        let blocks = blocks.named("blocks")?;
        self.shared.writing().and_then(|feed| feed.set_gpu_blocks(clock::now(), worker, blocks)).map_err(raise)
    }

    /// The worker's engine announces hits as if it had stored the blocks, since requests ask it to (vLLM's
    /// `kv_cache_report_mode: full`): it is never exact from now on.
    ///
    /// Raises `InvalidError` when nobody has heard of the worker, or when it is followed by a `KvEventStream`.
    fn set_announces_hits(&self, worker: &str) -> PyResult<()> {
        self.shared.writing().and_then(|feed| feed.set_announces_hits(clock::now(), worker)).map_err(raise)
    }

    /// How many seconds old the newest batch of a worker is that entered the index; `None` when there is none. `now` is what
    /// the engine's clock says, by default this machine's seconds since 1970, as vLLM's; less than nothing, when the two differ.
    ///
    /// Raises `InvalidError` when nobody has heard of the worker.
    #[pyo3(signature = (worker, *, now=None))]
    fn lag(&self, worker: &str, now: Option<f64>) -> PyResult<Option<f64>> {
        let now = now.unwrap_or_else(clock::since_1970);
        self.shared.writing().and_then(|feed| feed.lag(worker, now)).map_err(raise)
    }

    /// What a worker holds, in no particular order, as its engine names it: for each block its KV-cache group, what it lies on
    /// (`"GPU"`, `"CPU"` or `"STORAGE"`), its name, and how many copies there are. Whoever feeds the index waits meanwhile.
    ///
    /// Raises `InvalidError` when nobody has heard of the worker.
    fn residents(&self, py: Python<'_>, worker: &str) -> PyResult<Vec<(u32, &'static str, Name, u32)>> {
        let feed = self.shared.writing().map_err(raise)?;
        let residents = py.detach(|| feed.residents(worker)).map_err(raise)?;
        let told = |held: &Resident| (held.group.0, held.medium.as_str(), Name::new(&held.block), held.copies);
        Ok(residents.iter().map(told).collect())
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

/// The chain of a prompt, with the engines' names for its blocks where they are given.
fn hashed(reader: &ExactReader, tokens: &[TokenId], namespace: &Namespace, names: Option<Names>) -> hash::Chain {
    let chain = reader.hasher().chain(tokens, namespace);
    match names {
        Some(names) => chain.with_names(names.0),
        None => chain,
    }
}
