//! Workers that a live stream feeds, and the writing end for whoever follows it.

use super::{Feed, Worker};
use crate::WorkerId;
use crate::event::KvEvent;
use crate::index::{Applied, ExactWriter, IndexWriter, Resident, WorkerState};

/// The writing end of a [`Feed`] for whoever follows live streams. It writes of the workers that are
/// [followed](Feed::follow); what it is told of others is ignored.
#[derive(Clone, Debug)]
pub struct FeedWriter(Feed);

impl FeedWriter {
    pub(super) const fn new(feed: Feed) -> Self {
        Self(feed)
    }

    fn write<T: Default>(&self, worker: WorkerId, how: impl FnOnce(&mut ExactWriter) -> T) -> T {
        let mut writing = self.0.0.writing.wait();
        let is_followed = writing.workers.get(&worker).is_some_and(Worker::is_followed);
        if is_followed { how(&mut writing.index) } else { T::default() }
    }
}

impl IndexWriter for FeedWriter {
    fn apply(&mut self, worker: WorkerId, timestamp: f64, events: &[KvEvent]) -> Applied {
        self.write(worker, |index| index.apply(worker, timestamp, events))
    }

    fn set_state(&mut self, worker: WorkerId, state: WorkerState) {
        self.write(worker, |index| index.set_state(worker, state));
    }

    fn clear(&mut self, worker: WorkerId) {
        self.write(worker, |index| index.clear(worker));
    }

    /// Forgets the blocks of a worker; its name and its id stay.
    fn remove_worker(&mut self, worker: WorkerId) {
        self.write(worker, |index| index.remove_worker(worker));
    }

    fn residents(&self, worker: WorkerId) -> Vec<Resident> {
        self.0.0.writing.wait().index.residents(worker)
    }
}

/// A worker is followed by a live stream as long as this is held.
#[must_use = "the worker is followed no longer when this drops"]
#[derive(Debug)]
pub struct Followed {
    feed: Feed,
    worker: WorkerId,
}

impl Followed {
    pub(super) const fn new(feed: Feed, worker: WorkerId) -> Self {
        Self { feed, worker }
    }

    /// Who is followed.
    pub const fn worker(&self) -> WorkerId {
        self.worker
    }
}

/// What the stream said is forgotten.
impl Drop for Followed {
    fn drop(&mut self) {
        let mut writing = self.feed.0.writing.wait();
        writing.index.remove_worker(self.worker);
        writing.workers.insert(self.worker, Worker::new(self.worker, &self.feed.0.limits));
    }
}
