//! An exact index that is fed batch by batch, under the names of its workers.
//!
//! This is what an embedder needs who receives the engines' messages by himself: a [`Feed`] decodes each payload, puts it
//! in order, applies it, and says what is missing. Whoever has a replay socket feeds what the engine replays by the same
//! call; whoever has none calls [`Feed::give_up`], or does nothing and waits until [`FeedSettings::recover_within`] has
//! passed.
//!
//! ```
//! use std::time::Duration;
//! use llmd_core::feed::Feed;
//! use llmd_core::index::{IndexSettings, WorkerState};
//!
//! let feed = Feed::new(IndexSettings::default().with_block_size(4))?;
//! let payload = |second: u8| [b"\x92\xca\x3f\x80\x00", &[second][..], b"\x91\x91\xb0AllBlocksCleared"].concat();
//!
//! let fed = feed.apply(Duration::ZERO, "decode-0", Some(0), &payload(0))?;
//! assert_eq!((fed.state, fed.missing_from), (WorkerState::Exact, None));
//! let fed = feed.apply(Duration::ZERO, "decode-0", Some(2), &payload(2))?;
//! assert_eq!((fed.state, fed.missing_from), (WorkerState::Recovering, Some(0)));
//!
//! // What the engine replays, from number 0 on.
//! assert!(feed.apply(Duration::ZERO, "decode-0", Some(0), &payload(0))?.duplicate);
//! let fed = feed.apply(Duration::ZERO, "decode-0", Some(1), &payload(1))?;
//! assert_eq!((fed.state, fed.missing_from, fed.events.len()), (WorkerState::Exact, None, 2));
//! # Ok::<(), llmd_core::Error>(())
//! ```

mod doubt;
mod fed;
mod follow;
mod names;
#[cfg(test)]
mod property;
mod settings;
mod snapshot;
#[cfg(test)]
mod tests;
mod turns;
mod worker;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use fed::Fed;
pub use follow::{FeedWriter, Followed};
pub use settings::FeedSettings;

use self::names::Names;
use self::turns::Turns;
use self::worker::Worker;
use crate::event::{KvEventBatch, Numbered, SequencerCounts, number_batch};
use crate::index::{
    ExactIndex, ExactReader, ExactWriter, IndexSettings, IndexStats, IndexWriter as _, PrefixIndex as _, Resident,
    WorkerState,
};
use crate::{Error, ErrorKind, Result, WorkerId};

/// The number that ends a replay; no batch has it.
const END: u64 = u64::MAX;

/// An exact index that is fed batch by batch, under the names of its workers, from any thread.
///
/// Cheap to clone: clones are the same index. Whoever reads does not wait for whoever feeds.
#[derive(Clone)]
pub struct Feed(Arc<Inner>);

struct Inner {
    settings: IndexSettings,
    limits: FeedSettings,
    reader: ExactReader,
    names: Names,
    writing: Turns<Writing>,
}

/// What one thread at a time changes.
struct Writing {
    index: ExactWriter,
    workers: HashMap<WorkerId, Worker>,
    /// How many ids were given out. None is given twice.
    given: u32,
}

impl Feed {
    /// An empty index, with the limits that [`FeedSettings`] has by default.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when a block has no tokens.
    pub fn new(settings: IndexSettings) -> Result<Self> {
        Self::with_limits(settings, FeedSettings::default())
    }

    /// An empty index, with these limits.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when a block has no tokens.
    pub fn with_limits(settings: IndexSettings, limits: FeedSettings) -> Result<Self> {
        if settings.block_size == 0 {
            return Err(invalid("block_size is 0; expected at least 1 token".into()));
        }
        let (index, reader) = ExactIndex::new(settings);
        let writing = Turns::new(Writing { index, workers: HashMap::new(), given: 0 });
        Ok(Self(Arc::new(Inner { settings, limits, reader, names: Names::default(), writing })))
    }

    /// What the index was made with.
    pub fn settings(&self) -> &IndexSettings {
        &self.0.settings
    }

    /// Tokens per block.
    pub fn block_size(&self) -> usize {
        self.0.settings.block_size
    }

    /// The reading end.
    pub fn reader(&self) -> &ExactReader {
        &self.0.reader
    }

    /// The worker of this name; a new one, when there is none yet.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when the name is empty or longer than 1,024 bytes; [`ErrorKind::Exhausted`] when there are
    /// [`FeedSettings::max_workers`] already.
    pub fn worker(&self, name: &str) -> Result<WorkerId> {
        match self.0.names.id(name) {
            Some(worker) => Ok(worker),
            None => self.enlist(&mut self.0.writing.wait(), name),
        }
    }

    /// The worker of this name; `None` when there is none. Waits for nobody.
    pub fn id(&self, name: &str) -> Option<WorkerId> {
        self.0.names.id(name)
    }

    /// The name of a worker; `None` when there is no such worker. Waits for nobody.
    pub fn name(&self, worker: WorkerId) -> Option<Arc<str>> {
        self.0.names.name(worker)
    }

    /// Every worker with its name, by id. Waits for nobody.
    pub fn names(&self) -> Vec<(WorkerId, Arc<str>)> {
        self.0.names.all()
    }

    /// Takes one batch as it came from the engine; makes the worker, if it is new.
    ///
    /// With `seq`, the number that the engine gave the batch, it is put in order: batches after a gap wait, while
    /// [`Fed::missing_from`] says from where the engine should replay, and a batch that came before is skipped. A replay
    /// is fed by this call too, in order and including the number that was asked for: by it the engine proves that it is
    /// the same. A batch 0 that was not asked for is that of an engine that was started anew.
    ///
    /// Without `seq` nobody can know what is missing: the batch is applied at once, and the worker is
    /// [`WorkerState::Approximate`] until it is [cleared](Self::clear) or its engine is started anew.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Corrupt`] when nothing of the payload can be read: a numbered one keeps its place, and the worker is
    /// not exact any more. [`ErrorKind::Invalid`], with nothing changed, when the payload is larger than
    /// [`FeedSettings::max_payload`], when the number is 2^64 - 1, which ends a replay, and when the worker is followed by
    /// a live stream; as [`worker`](Self::worker) otherwise.
    pub fn apply(&self, now: Duration, worker: &str, seq: Option<u64>, payload: &[u8]) -> Result<Fed> {
        let limit = self.0.limits.max_payload;
        if payload.len() > limit {
            return Err(invalid(format!("a batch of {} bytes; expected at most {limit}", payload.len())));
        }
        let batch = number_batch(seq.unwrap_or_default(), payload);
        self.take(now, worker, seq, batch)
    }

    /// The same for a batch that was decoded before, such as those of a
    /// [`TrtllmDecoder`](crate::event::TrtllmDecoder), under its number.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`], with nothing changed, as for [`apply`](Self::apply); as [`worker`](Self::worker) otherwise.
    pub fn apply_numbered(&self, now: Duration, worker: &str, batch: Numbered<KvEventBatch>) -> Result<Fed> {
        let Numbered { seq, fingerprint, made_at, clears_gpu, beyond_gpu, unreadable, batch } = batch;
        let batch = Numbered { seq, fingerprint, made_at, clears_gpu, beyond_gpu, unreadable, batch: Ok(batch) };
        self.take(now, worker, Some(seq), batch)
    }

    fn take(
        &self,
        now: Duration,
        worker: &str,
        seq: Option<u64>,
        batch: Numbered<Result<KvEventBatch>>,
    ) -> Result<Fed> {
        if seq == Some(END) {
            return Err(invalid(format!("batch number {END} ends a replay and is no batch")));
        }
        let mut writing = self.0.writing.wait();
        let id = self.enlist(&mut writing, worker)?;
        let (index, known) = writing.unfollowed(id, worker)?;
        let mut fed = match seq {
            Some(_) => known.hear(now, batch, index, &self.0.limits),
            None => known.take(now, batch, index),
        }
        .map_err(|error| Error::new(error.kind(), format!("worker {worker:?}: {error}")))?;
        fed.state = self.0.reader.state(id);
        Ok(fed)
    }

    /// What is missing of a worker will not come: what waits is applied, and the worker is approximate. Nothing happens
    /// when nothing is missing.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when nobody has heard of the worker, or when it is followed by a live stream.
    pub fn give_up(&self, now: Duration, worker: &str) -> Result<Fed> {
        let mut writing = self.0.writing.wait();
        let id = self.known(worker)?;
        let (index, known) = writing.unfollowed(id, worker)?;
        let mut fed = known.make_do(now, index);
        fed.state = self.0.reader.state(id);
        Ok(fed)
    }

    /// How far the answers about a worker can be trusted. Waits for nobody.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when nobody has heard of the worker.
    pub fn state(&self, worker: &str) -> Result<WorkerState> {
        self.known(worker).map(|id| self.0.reader.state(id))
    }

    /// From which number on the engine of a worker should replay, inclusive, when something is missing.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when nobody has heard of the worker.
    pub fn missing_from(&self, worker: &str) -> Result<Option<u64>> {
        let writing = self.0.writing.wait();
        let id = self.known(worker)?;
        Ok(writing.workers.get(&id).and_then(Worker::missing_from))
    }

    /// The stream of a worker was connected anew: whoever speaks now must prove to be the engine that spoke before. What
    /// is to be replayed for it is said by [`missing_from`](Self::missing_from).
    ///
    /// Not to say so is to trust numbers alone: they do not show an engine that was started anew, unheard until it had
    /// come exactly as far as the one before.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when nobody has heard of the worker, or when it is followed by a live stream.
    pub fn reconnected(&self, now: Duration, worker: &str) -> Result<()> {
        let mut writing = self.0.writing.wait();
        let id = self.known(worker)?;
        let (index, known) = writing.unfollowed(id, worker)?;
        known.reconnected(now, index);
        Ok(())
    }

    /// The number of the last batch of a worker that entered the index; `None` when none did since all was forgotten.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when nobody has heard of the worker.
    pub fn last_seq(&self, worker: &str) -> Result<Option<u64>> {
        let writing = self.0.writing.wait();
        let id = self.known(worker)?;
        Ok(writing.workers.get(&id).and_then(Worker::last_seq))
    }

    /// What happened to a worker's stream so far. A followed one is counted by who follows it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when nobody has heard of the worker.
    pub fn counts(&self, worker: &str) -> Result<SequencerCounts> {
        let writing = self.0.writing.wait();
        let id = self.known(worker)?;
        Ok(writing.workers.get(&id).map(Worker::counts).unwrap_or_default())
    }

    /// Forgets the blocks of a worker whose engine was told to empty its cache.
    ///
    /// What the engine said before may still be on its way. So a worker is exact again when its stream says that all
    /// blocks are gone, as engines do when their cache is reset, or when it begins anew.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when nobody has heard of the worker, or when it is followed by a live stream.
    pub fn clear(&self, worker: &str) -> Result<()> {
        let mut writing = self.0.writing.wait();
        let id = self.known(worker)?;
        let (index, known) = writing.unfollowed(id, worker)?;
        known.clear(index);
        Ok(())
    }

    /// Forgets a worker. Its id is not given to another; who comes by the same name later gets a new one.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when nobody has heard of the worker, or when it is followed by a live stream.
    pub fn remove_worker(&self, worker: &str) -> Result<()> {
        let mut writing = self.0.writing.wait();
        let id = self.known(worker)?;
        writing.unfollowed(id, worker)?;
        writing.workers.remove(&id);
        writing.index.remove_worker(id);
        self.0.names.remove(id);
        Ok(())
    }

    /// How much is held, and what was dropped.
    pub fn stats(&self) -> IndexStats {
        self.0.reader.stats()
    }

    /// What a worker holds, in no particular order, as its engine names it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when nobody has heard of the worker.
    pub fn residents(&self, worker: &str) -> Result<Vec<Resident>> {
        let writing = self.0.writing.wait();
        self.known(worker).map(|id| writing.index.residents(id))
    }

    /// The writing end for whoever follows live streams: it writes of the workers that are [followed](Self::follow), and
    /// of no other.
    pub fn writer(&self) -> FeedWriter {
        FeedWriter::new(self.clone())
    }

    /// A worker is followed by a live stream from now on, which writes by [`writer`](Self::writer): as long as this is
    /// held, nobody else feeds it. What was known of the worker is forgotten, now and when it ends.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when it is followed already; as [`worker`](Self::worker) otherwise.
    pub fn follow(&self, worker: &str) -> Result<Followed> {
        let mut writing = self.0.writing.wait();
        let id = self.enlist(&mut writing, worker)?;
        let (index, known) = writing.unfollowed(id, worker)?;
        index.remove_worker(id);
        *known = Worker::followed(id);
        drop(writing);
        Ok(Followed::new(self.clone(), id))
    }

    /// Whether somebody feeds it at this moment, or waits to. In a child that was forked while another thread did, it stays so for
    /// ever, and whatever would feed it there would wait for ever.
    pub fn is_writing(&self) -> bool {
        self.0.writing.are_taken()
    }

    /// In a forked child, before anything else is asked there: nobody will feed it any more, nor end what a thread of the parent
    /// was at. Readers do not wait for that; they leave out what was being changed, and explanations what is remembered.
    pub fn lose_writer(&self) {
        self.0.reader.lose_writer();
    }

    /// The worker of this name, which is made if there is room for it.
    fn enlist(&self, writing: &mut Writing, name: &str) -> Result<WorkerId> {
        if let Some(worker) = self.0.names.id(name) {
            return Ok(worker);
        }
        names::check(name)?;
        let limit = self.0.limits.max_workers;
        let next = writing.given.checked_add(1).filter(|_| writing.workers.len() < limit);
        let next = next.ok_or_else(|| {
            Error::new(ErrorKind::Exhausted, format!("no room for worker {}: there are {limit}", names::quoted(name)))
        })?;
        let worker = WorkerId(writing.given);
        self.0.names.add(worker, name);
        writing.given = next;
        writing.workers.insert(worker, Worker::new(worker, &self.0.limits));
        Ok(worker)
    }

    fn known(&self, name: &str) -> Result<WorkerId> {
        self.0.names.id(name).ok_or_else(|| self.0.names.unknown(name))
    }
}

impl Writing {
    /// A worker that whoever likes may feed.
    fn unfollowed(&mut self, id: WorkerId, name: &str) -> Result<(&mut ExactWriter, &mut Worker)> {
        match self.workers.get_mut(&id) {
            Some(known) if !known.is_followed() => Ok((&mut self.index, known)),
            Some(_) => Err(invalid(format!("worker {} is followed by a live stream", names::quoted(name)))),
            None => Err(Error::new(ErrorKind::Internal, format!("worker {} has no sequencer", names::quoted(name)))),
        }
    }
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::Invalid, message)
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed").field("settings", &self.0.settings).field("stats", &self.stats()).finish_non_exhaustive()
    }
}
