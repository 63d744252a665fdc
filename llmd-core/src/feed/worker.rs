//! One worker as its feed sees it: its sequencer, and whether the answers about it can be trusted.

use std::sync::Arc;
use std::time::Duration;

use super::{Fed, FeedSettings};
use crate::event::{Doubts, KvEventBatch, Numbered, Sequencer, SequencerCounts, SequencerSettings, Step};
use crate::index::{ExactWriter, IndexWriter as _, Standing, WorkerState};
use crate::{Error, Result, WorkerId};

/// One worker.
#[derive(Debug)]
pub(super) struct Worker {
    id: WorkerId,
    is_followed: bool,
    /// `None` is a batch of which nothing could be read.
    sequencer: Sequencer<Option<KvEventBatch>>,
    /// Whether a batch without a number is among what is known.
    unnumbered: bool,
    /// Whether a batch with a number was ever heard.
    numbered: bool,
    /// Since when something is missing and nothing of it came.
    missing_since: Option<Duration>,
    doubts: Doubts,
    /// The state that the index was told last.
    told: WorkerState,
    /// The time that was told last.
    now: Duration,
    /// The newest batch that entered the index, by its engine's clock in seconds.
    newest: Option<f64>,
}

impl Worker {
    pub(super) fn new(id: WorkerId, limits: &FeedSettings) -> Self {
        let settings = SequencerSettings { max_waiting: limits.max_waiting, ..SequencerSettings::default() };
        Self {
            id,
            is_followed: false,
            sequencer: Sequencer::new(settings),
            unnumbered: false,
            numbered: false,
            missing_since: None,
            doubts: Doubts::new(limits.silence),
            told: WorkerState::default(),
            now: Duration::ZERO,
            newest: None,
        }
    }

    /// A worker of whom a snapshot tells: from here on the engine must prove to be the same.
    pub(super) fn resumed(id: WorkerId, standing: &Standing, limits: &FeedSettings) -> Self {
        let new = Self::new(id, limits);
        let mut sequencer = Sequencer::resumed(*new.sequencer.settings(), standing.anchor);
        if standing.anchor.last.is_some() {
            sequencer.connected(Duration::ZERO);
        }
        let newest = standing.anchor.newest.map(|newest| newest.as_secs_f64());
        Self { sequencer, numbered: standing.numbered, unnumbered: standing.unnumbered, newest, ..new }
    }

    /// Whether something is held of which no numbered batch can have told.
    pub(super) const fn mistrust(&mut self, holds: bool) {
        self.unnumbered |= holds;
    }

    /// What a snapshot tells of it.
    pub(super) fn standing(&self, name: Arc<str>) -> Standing {
        let mut standing = Standing::new(name).with_anchor(self.sequencer.anchor());
        (standing.numbered, standing.unnumbered) = (self.numbered, self.unnumbered);
        standing
    }

    /// A worker that a live stream feeds.
    pub(super) fn followed(id: WorkerId) -> Self {
        Self { is_followed: true, ..Self::new(id, &FeedSettings::default()) }
    }

    pub(super) const fn is_followed(&self) -> bool {
        self.is_followed
    }

    pub(super) const fn counts(&self) -> SequencerCounts {
        self.sequencer.counts()
    }

    pub(super) fn missing_from(&self) -> Option<u64> {
        self.sequencer.missing_from()
    }

    pub(super) fn last_seq(&self) -> Option<u64> {
        self.sequencer.last_seq()
    }

    pub(super) const fn newest(&self) -> Option<f64> {
        self.newest
    }

    /// What is known of the worker from elsewhere.
    pub(super) fn doubt(&mut self, now: Duration, index: &mut ExactWriter, what: impl FnOnce(&mut Doubts)) {
        what(&mut self.doubts);
        self.tell(now, self.sequencer.state(), index);
    }

    /// Whoever speaks now must prove to be the same engine.
    pub(super) fn reconnected(&mut self, now: Duration, index: &mut ExactWriter) {
        self.sequencer.reconnected(now);
        self.carry_out(now, index, &mut Fed::default());
    }

    /// Takes a batch at its place in the order.
    pub(super) fn hear(
        &mut self,
        now: Duration,
        batch: Numbered<Result<KvEventBatch>>,
        index: &mut ExactWriter,
        limits: &FeedSettings,
    ) -> Result<Fed> {
        let Numbered { seq, fingerprint, made_at, clears_gpu, beyond_gpu, unreadable, batch } = batch;
        let (mut fed, batch, error) = unpack(batch);
        let batch = Numbered { seq, fingerprint, made_at, clears_gpu, beyond_gpu, unreadable, batch };
        let before = self.sequencer.counts();
        self.numbered = true;
        fed.duplicate = self.sequencer.heard(now, batch);
        let after = self.sequencer.counts();
        self.wait(now, after.applied > before.applied, limits);
        self.carry_out(now, index, &mut fed);
        error.map_or(Ok(fed), Err)
    }

    /// Takes a batch that has no number.
    pub(super) fn take(
        &mut self,
        now: Duration,
        batch: Numbered<Result<KvEventBatch>>,
        index: &mut ExactWriter,
    ) -> Result<Fed> {
        self.unnumbered = true;
        self.tell(now, self.sequencer.state(), index);
        let (mut fed, batch, error) = unpack(batch.batch);
        self.apply(batch, index, &mut fed);
        fed.missing_from = self.sequencer.missing_from();
        error.map_or(Ok(fed), Err)
    }

    /// Makes do with what waits.
    pub(super) fn make_do(&mut self, now: Duration, index: &mut ExactWriter) -> Fed {
        let mut fed = Fed::default();
        self.sequencer.make_do(now);
        self.missing_since = None;
        self.carry_out(now, index, &mut fed);
        fed
    }

    /// The engine was told to empty its cache.
    pub(super) fn clear(&mut self, index: &mut ExactWriter) {
        self.sequencer.emptied();
        self.unnumbered &= !self.numbered;
        self.carry_out(self.now, index, &mut Fed::default());
        index.clear(self.id);
    }

    /// Gives up what has been missing for too long.
    fn wait(&mut self, now: Duration, progress: bool, limits: &FeedSettings) {
        if self.sequencer.missing_from().is_none() {
            self.missing_since = None;
            return;
        }
        let since = *self.missing_since.get_or_insert(now);
        if progress && !limits.recover_within.is_zero() {
            self.missing_since = Some(now);
        } else if now.saturating_sub(since) >= limits.recover_within {
            self.sequencer.make_do(now);
            self.missing_since = None;
        }
    }

    fn carry_out(&mut self, now: Duration, index: &mut ExactWriter, fed: &mut Fed) {
        while let Some(step) = self.sequencer.next_step() {
            match step {
                Step::Apply { batch, .. } => self.apply(batch, index, fed),
                Step::Clear => {
                    self.unnumbered = false;
                    self.doubts.cleared();
                    self.newest = None;
                    index.clear(self.id);
                }
                Step::State(state) => self.tell(now, state, index),
                // Who feeds is told by `missing_from`.
                Step::Replay { .. } => {}
            }
        }
        if self.numbered {
            self.tell(now, self.sequencer.state(), index);
        }
        fed.missing_from = self.sequencer.missing_from();
    }

    fn apply(&mut self, batch: Option<KvEventBatch>, index: &mut ExactWriter, fed: &mut Fed) {
        let Some(batch) = batch else { return };
        let applied = index.apply(self.id, batch.timestamp, &batch.events);
        self.doubts.applied(&batch.events);
        self.newest = Some(batch.timestamp);
        fed.add(batch.events, applied);
    }

    /// Tells the index how far the worker can be trusted, when its numbered batches can be trusted this far.
    fn tell(&mut self, now: Duration, state: WorkerState, index: &mut ExactWriter) {
        self.now = now;
        let state = if self.unnumbered { WorkerState::Approximate } else { self.doubts.judge(now, state) };
        if std::mem::replace(&mut self.told, state) != state {
            index.set_state(self.id, state);
        }
    }
}

/// What to report of a batch, the batch itself, and why it cannot be read.
fn unpack(batch: Result<KvEventBatch>) -> (Fed, Option<KvEventBatch>, Option<Error>) {
    match batch {
        Ok(mut batch) => {
            let errors = std::mem::take(&mut batch.errors);
            let fed = Fed { errors, errors_dropped: batch.errors_dropped, ..Fed::default() };
            (fed, Some(batch), None)
        }
        Err(error) => (Fed::default(), None, Some(error)),
    }
}
