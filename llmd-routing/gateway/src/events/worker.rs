//! One worker as the writer sees it: its sequencer, its tasks, and what is said about it.

use std::sync::Arc;
use std::time::Duration;

use llmd_core::WorkerId;
use llmd_core::event::{Doubts, ReplayId, Sequencer, SequencerSettings, Step};
use llmd_core::index::{IndexWriter, WorkerState};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};
use tokio_util::task::AbortOnDropHandle;

use super::EventSettings;
use super::ear::{Ear, Heard};
use super::replay::Replayer;
use super::shared::Watched;
use super::status::WorkerStatus;
use super::stream;
use super::wire::Decoded;
use crate::Clock;

/// One worker, whose tasks end when it is dropped.
#[derive(Debug)]
pub(super) struct Worker {
    id: WorkerId,
    sequencer: Sequencer<Decoded>,
    doubts: Doubts,
    clock: Clock,
    status: Arc<Mutex<WorkerStatus>>,
    wanted: watch::Sender<Option<(ReplayId, u64)>>,
    max_timeline: usize,
    /// Batches and messages of which nothing could be read.
    unreadable: u64,
    _tasks: Vec<AbortOnDropHandle<()>>,
}

impl Worker {
    /// Begins to follow a worker.
    pub(super) fn follow(
        watched: &Watched,
        settings: &EventSettings,
        clock: &Clock,
        turns: &Arc<Semaphore>,
        ear: &Ear,
    ) -> Self {
        let (wanted, receiver) = watch::channel(None);
        let follow = stream::follow(watched.source.clone(), settings.clone(), clock.clone(), ear.clone());
        let mut tasks = vec![AbortOnDropHandle::new(tokio::spawn(follow))];
        if let Some(endpoint) = watched.source.replay_endpoint.clone() {
            let (settings, clock, turns) = (settings.clone(), clock.clone(), Arc::clone(turns));
            let replayer = Replayer { endpoint, settings, clock, turns, ear: ear.clone() };
            tasks.push(AbortOnDropHandle::new(tokio::spawn(replayer.serve(receiver))));
        }
        Self {
            id: ear.worker(),
            sequencer: Sequencer::new(sequencer_settings(settings, watched.source.replay_endpoint.is_some())),
            doubts: Doubts::new(settings.silence),
            clock: clock.clone(),
            status: Arc::clone(&watched.status),
            wanted,
            max_timeline: settings.max_timeline,
            unreadable: 0,
            _tasks: tasks,
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Duration> {
        self.sequencer.next_deadline()
    }

    pub(super) fn last_seq(&self) -> Option<u64> {
        self.sequencer.last_seq()
    }

    /// Takes what was heard from the worker.
    pub(super) fn hear(&mut self, now: Duration, heard: Heard, index: &mut impl IndexWriter) {
        match heard {
            Heard::Down => self.sequencer.disconnected(now),
            Heard::Engine(said) => {
                self.doubts.stored(now, said.stored);
                said.gpu_blocks.into_iter().for_each(|blocks| self.doubts.set_gpu_blocks(blocks));
            }
            Heard::Live(batch) => self.sequencer.live(now, batch),
            Heard::Noise(error) => {
                self.unreadable += 1;
                tracing::warn!(worker = %self.id, %error, "a message of the event stream is dropped");
            }
            Heard::Reply(id, batch) => self.sequencer.replayed(now, id, batch),
            Heard::ReplayEnded(id) => self.sequencer.replay_ended(now, id),
            Heard::ReplayFailed(id) => self.sequencer.replay_failed(now, id),
            Heard::Up => self.sequencer.connected(now),
        }
        self.carry_out(now, index);
    }

    /// Does what has become due.
    pub(super) fn tick(&mut self, now: Duration, index: &mut impl IndexWriter) {
        self.sequencer.tick(now);
        self.carry_out(now, index);
    }

    fn carry_out(&mut self, now: Duration, index: &mut impl IndexWriter) {
        while let Some(step) = self.sequencer.next_step() {
            match step {
                Step::Apply { seq, batch } => self.apply(now, seq, batch, index),
                Step::Clear => {
                    self.doubts.cleared();
                    index.clear(self.id);
                }
                Step::Replay { id, from } => drop(self.wanted.send_replace(Some((id, from)))),
                Step::State(state) => self.enter(now, state, index),
                _ => {}
            }
        }
        self.enter(now, self.sequencer.state(), index);
        self.status.lock().count(self.sequencer.last_seq(), &self.sequencer.counts(), self.unreadable);
    }

    fn apply(&mut self, now: Duration, seq: u64, batch: Decoded, index: &mut impl IndexWriter) {
        let batch = match batch {
            Ok(batch) => batch,
            Err(error) => {
                self.unreadable += 1;
                return tracing::warn!(worker = %self.id, seq, %error, "an event batch cannot be read");
            }
        };
        index.apply(self.id, batch.timestamp, &batch.events);
        self.doubts.applied(&batch.events);
        for error in &batch.errors {
            tracing::warn!(worker = %self.id, seq, %error, "an event cannot be read");
        }
        let mut status = self.status.lock();
        status.last_event = Some(now);
        let made = Duration::try_from_secs_f64(batch.timestamp).ok();
        status.lag = made.map(|made| self.clock.since_1970().saturating_sub(made));
        status.event_errors += (batch.errors.len() + batch.errors_dropped) as u64;
    }

    /// The numbers say `state`: so far the worker can be trusted, unless something else speaks against its stream.
    fn enter(&self, now: Duration, state: WorkerState, index: &mut impl IndexWriter) {
        let state = self.doubts.judge(now, state);
        let (silent, announces_hits) = (self.doubts.is_silent(now), self.doubts.announces_hits());
        {
            let mut status = self.status.lock();
            (status.silent, status.announces_hits) = (silent, announces_hits);
            if state == status.state {
                return;
            }
            status.enter(now, state, self.max_timeline);
        }
        tracing::info!(worker = %self.id, %state, silent, announces_hits, "what is known of a worker is now");
        index.set_state(self.id, state);
    }
}

fn sequencer_settings(settings: &EventSettings, replay: bool) -> SequencerSettings {
    let mut sequencer = SequencerSettings::default();
    sequencer.replay = replay;
    sequencer.max_waiting = settings.max_waiting_batches;
    sequencer.max_attempts = settings.max_replay_attempts;
    sequencer.backoff = settings.replay_backoff;
    sequencer.max_backoff = settings.replay_backoff_max;
    sequencer.probe_after = settings.probe_after;
    sequencer.disconnect_grace = settings.disconnect_grace;
    sequencer
}
