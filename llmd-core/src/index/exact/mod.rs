//! The exact index: what engines say, counted copy by copy.
//!
//! The writer keeps each worker's blocks in columns of the span index, by the engine's names, and what has no place beside
//! it. Readers walk the span index. `docs/adr/0010` says why it is built this way.

mod closely;
mod content;
mod context;
mod evicting;
mod explained;
mod interned;
mod memory;
mod namespaces;
mod orphans;
mod persist;
mod reader;
mod shared;
mod sweeping;
#[cfg(test)]
mod tests;
mod worker;

use std::collections::HashMap;
use std::sync::Arc;

pub use reader::ExactReader;

use self::context::{Context, GivenUp, Pool, Scratch};
use self::interned::Interned;
use self::namespaces::Namespaces;
use self::shared::{Shared, WorkerView};
use self::sweeping::Fading;
use self::worker::{Worker, at_once};
use super::roster::Roster;
use super::span::{Column, Span};
use super::{Applied, IndexSettings, IndexStats, IndexWriter, Resident, WorkerState};
use crate::WorkerId;
use crate::event::KvEvent;

/// How many events ahead their first names are asked for, or behind those that are worked on together when these are more.
const AHEAD: usize = 8;

/// The exact index, for engines that send KV events.
///
/// What it answers is what the engine will take from its cache, as far as the events have come, for dense models and for
/// hybrid ones. [`WorkerState::Exact`] is never said of a worker of which blocks cannot be placed: those of a size that is
/// no multiple of the index's, those of cache groups whose rules are not known, and those that only an offload tier has
/// named so far; nor of a hybrid model that holds blocks elsewhere than on its GPU. They are counted as residents, and
/// until [`clear`](IndexWriter::clear) or until they find their place, the worker is [`WorkerState::Approximate`].
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ExactIndex;

impl ExactIndex {
    /// An empty index: its one writer, and a reader to be cloned.
    ///
    /// # Panics
    ///
    /// When `settings.block_size` is 0.
    #[expect(clippy::new_ret_no_self, reason = "an index is its two ends")]
    pub fn new(settings: IndexSettings) -> (ExactWriter, ExactReader) {
        let span = Span::new(settings.key.number(b"of names"));
        let shared = Arc::new(Shared::new(&settings, span.view()));
        let reader = ExactReader::new(Arc::clone(&shared));
        let writer = ExactWriter {
            shared,
            settings,
            span,
            interned: Interned::default(),
            namespaces: Namespaces::default(),
            pool: Pool::default(),
            given_up: HashMap::new(),
            scratch: Scratch::default(),
            fading: Fading::default(),
            order: 0,
            workers: HashMap::new(),
            is_news: true,
            stats: IndexStats::default(),
            beside: 0,
        };
        (writer, reader)
    }
}

/// Takes what engines say into an [`ExactIndex`].
///
/// Workers are made by the first call that names one and stay until [`remove_worker`](IndexWriter::remove_worker): how
/// many there are is for the caller to bound.
#[derive(Debug)]
pub struct ExactWriter {
    shared: Arc<Shared>,
    settings: IndexSettings,
    span: Span,
    interned: Interned,
    namespaces: Namespaces,
    pool: Pool,
    given_up: HashMap<Column, GivenUp>,
    scratch: Scratch,
    fading: Fading,
    order: u64,
    workers: HashMap<WorkerId, Worker>,
    /// Whether readers have to be told who is there.
    is_news: bool,
    stats: IndexStats,
    /// Bytes that the workers' own tables take.
    beside: usize,
}

impl Worker {
    /// What readers are to be told of it, when that is not what they were told last.
    fn changed_view(&mut self) -> Option<WorkerView> {
        let state = match self.state {
            WorkerState::Exact if !self.is_complete() => WorkerState::Approximate,
            state => state,
        };
        let seen = (state, self.unplaced(), self.other_size());
        if self.shown == Some(seen) {
            return None;
        }
        self.shown = Some(seen);
        let (state, unplaced, other_size) = seen;
        Some(WorkerView { state, unplaced, other_size, memory: self.memory() })
    }
}

impl ExactWriter {
    /// What the index was made with.
    pub const fn settings(&self) -> &IndexSettings {
        &self.settings
    }

    /// How much is held, and what was dropped.
    pub const fn stats(&self) -> IndexStats {
        self.stats
    }

    /// Works on one worker, counts what changed, and lets readers see its state.
    fn work<T>(&mut self, id: WorkerId, at: f64, how: impl FnOnce(&mut Worker, &mut Context<'_>) -> T) -> T {
        let worker = self.workers.entry(id).or_insert_with(|| Worker::new(id));
        let (before, unplaceable) = (worker.counted, worker.unplaceable());
        let mut cx = Context {
            span: &mut self.span,
            interned: &mut self.interned,
            namespaces: &mut self.namespaces,
            pool: &mut self.pool,
            given_up: &mut self.given_up,
            scratch: &mut self.scratch,
            hasher: &self.shared.hasher,
            settings: &self.settings,
            at,
            order: &mut self.order,
        };
        let answer = how(worker, &mut cx);
        if self.pool.is_missed {
            worker.is_missing_something();
        }
        let after = worker.recount();
        self.stats.held -= before.held;
        self.stats.held += after.held;
        self.stats.remembered = self.stats.remembered - before.remembered + after.remembered;
        self.stats.unplaceable += worker.unplaceable() - unplaceable;
        self.beside = self.beside - before.bytes + after.bytes;
        self.is_news |= worker.is_news;
        if let Some(view) = worker.changed_view() {
            self.shared.show(id, view);
        }
        answer
    }

    /// Cleans up a little, and lets readers see who is there and the numbers.
    fn publish(&mut self) {
        self.sweep();
        if self.is_news || self.pool.is_news {
            self.is_news = false;
            self.pool.is_news = false;
            let seats = self.workers.values_mut().map(|worker| {
                worker.is_news = false;
                worker.seat()
            });
            let roster = Roster::new(seats.collect(), self.pool.column, self.span.columns());
            self.shared.roster.store(Arc::new(roster));
        }
        if let Some(marks) = self.namespaces.take_news() {
            self.shared.namespaces.store(marks);
        }
        self.stats.workers = self.workers.len();
        self.stats.blocks = self.span.blocks();
        self.stats.runs = self.span.runs();
        self.stats.names = self.span.names();
        self.stats.bytes = self.span.bytes() + self.interned.bytes() + self.beside;
        *self.shared.stats.lock() = self.stats;
    }
}

impl IndexWriter for ExactWriter {
    fn apply(&mut self, worker: WorkerId, timestamp: f64, events: &[KvEvent]) -> Applied {
        let mut applied = Applied::default();
        self.work(worker, timestamp, |known, cx| {
            let mut rest = events;
            while let Some(event) = rest.first() {
                let now = if let KvEvent::BlockRemoved(removed) = event { at_once(rest, removed) } else { 1 };
                if let Some(later) = rest.get(now.max(AHEAD)) {
                    look_ahead(later, known, cx);
                }
                match event {
                    KvEvent::AllBlocksCleared => applied.removed += known.empty_gpu(cx),
                    KvEvent::BlockRemoved(_) => known.remove(&rest[..now], cx, &mut applied),
                    KvEvent::BlockStored(stored) => known.store(stored, cx, &mut applied),
                }
                rest = &rest[now..];
            }
        });
        self.stats.dropped += applied.dropped as u64;
        self.stats.unknown_removals += applied.unknown_removals as u64;
        self.evict(applied.stored);
        if self.pool.is_missed {
            self.tell_of_missed_pool();
        }
        self.publish();
        applied
    }

    fn set_state(&mut self, worker: WorkerId, state: WorkerState) {
        self.work(worker, 0.0, |known, _| known.state = state);
        self.publish();
    }

    fn clear(&mut self, worker: WorkerId) {
        if self.workers.contains_key(&worker) {
            self.work(worker, 0.0, |known, cx| known.clear(cx));
            self.publish();
        }
    }

    fn remove_worker(&mut self, worker: WorkerId) {
        if self.workers.contains_key(&worker) {
            self.work(worker, 0.0, |known, cx| known.leave(cx));
            self.is_news = true;
            if let Some(known) = self.workers.remove(&worker) {
                self.stats.remembered -= known.counted.remembered;
                self.beside -= known.counted.bytes;
            }
            self.shared.workers.pin().remove(&worker);
            self.publish();
        }
    }

    fn residents(&self, worker: WorkerId) -> Vec<Resident> {
        let known = self.workers.get(&worker);
        known.map(|known| known.residents(&self.span, &self.interned)).unwrap_or_default()
    }
}

/// Asks for the memory that an event a little later will look at.
#[inline]
fn look_ahead(later: &KvEvent, worker: &Worker, cx: &Context<'_>) {
    let name = match later {
        KvEvent::AllBlocksCleared => None,
        KvEvent::BlockRemoved(removed) => removed.block_hashes.first(),
        KvEvent::BlockStored(stored) => stored.parent_block_hash.as_ref(),
    };
    if let Some(name) = name {
        cx.span.look_ahead(worker.namer(), cx.interned.number(name));
    }
}
