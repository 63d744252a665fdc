//! The one task that owns the index's writer: it puts every worker's stream in order and applies it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use llmd_core::WorkerId;
use llmd_core::index::IndexWriter;
use tokio::sync::{Semaphore, mpsc};

use super::EventSettings;
use super::ear::{Ear, Heard};
use super::shared::{Question, Shared};
use super::worker::Worker;
use crate::Clock;

/// The writer's task.
#[derive(Debug)]
pub(super) struct Writer<W> {
    index: W,
    settings: EventSettings,
    clock: Clock,
    shared: Arc<Shared>,
    turns: Arc<Semaphore>,
    workers: BTreeMap<WorkerId, Entry>,
    deadlines: BTreeSet<(Duration, WorkerId)>,
    heard: mpsc::Sender<(WorkerId, u64, Heard)>,
}

#[derive(Debug)]
struct Entry {
    watch: u64,
    deadline: Option<Duration>,
    worker: Worker,
}

impl<W: IndexWriter> Writer<W> {
    /// A writer that has not begun, and what it will hear.
    pub(super) fn new(
        index: W,
        settings: EventSettings,
        clock: Clock,
        shared: Arc<Shared>,
    ) -> (Self, mpsc::Receiver<(WorkerId, u64, Heard)>) {
        let (heard, hearing) = mpsc::channel(settings.max_queued.max(1));
        let turns = Arc::new(Semaphore::new(settings.max_replays.max(1)));
        let (workers, deadlines) = (BTreeMap::new(), BTreeSet::new());
        (Self { index, settings, clock, shared, turns, workers, deadlines, heard }, hearing)
    }

    /// The way to the writer.
    pub(super) fn heard(&self) -> mpsc::Sender<(WorkerId, u64, Heard)> {
        self.heard.clone()
    }

    /// Works until it is aborted.
    pub(super) async fn run(
        mut self,
        mut hearing: mpsc::Receiver<(WorkerId, u64, Heard)>,
        mut questions: mpsc::Receiver<Question>,
    ) {
        loop {
            let due = self.deadlines.first().map(|&(deadline, _)| deadline);
            let clock = self.clock.clone();
            tokio::select! {
                () = self.shared.changed() => self.reconcile(),
                Some((worker, watch, heard)) = hearing.recv() => self.hear(worker, watch, heard),
                Some(question) = questions.recv() => self.answer(question),
                () = clock.sleep_until(due.unwrap_or_default()), if due.is_some() => self.tick(),
            }
        }
    }

    /// Makes the workers that are followed those that are watched.
    fn reconcile(&mut self) {
        let watched = self.shared.watched();
        let gone =
            |id: &WorkerId, entry: &mut Entry| watched.get(id).is_none_or(|watched| watched.watch != entry.watch);
        for (id, entry) in self.workers.extract_if(.., gone) {
            if let Some(deadline) = entry.deadline {
                self.deadlines.remove(&(deadline, id));
            }
            self.index.remove_worker(id);
        }
        for (id, watched) in watched {
            if self.workers.contains_key(&id) {
                continue;
            }
            let ear = Ear { worker: id, watch: watched.watch, heard: self.heard.clone() };
            let worker = Worker::follow(&watched, &self.settings, &self.clock, &self.turns, &ear);
            self.workers.insert(id, Entry { watch: watched.watch, deadline: None, worker });
        }
    }

    fn hear(&mut self, id: WorkerId, watch: u64, heard: Heard) {
        let Some(entry) = self.workers.get_mut(&id).filter(|entry| entry.watch == watch) else { return };
        entry.worker.hear(self.clock.now(), heard, &mut self.index);
        entry.schedule(id, &mut self.deadlines);
    }

    fn answer(&self, question: Question) {
        let answer = self
            .workers
            .get(&question.worker)
            .map(|entry| (entry.worker.last_seq(), self.index.residents(question.worker)));
        drop(question.answer.send(answer));
    }

    fn tick(&mut self) {
        let now = self.clock.now();
        while let Some(&(deadline, id)) = self.deadlines.first().filter(|(deadline, _)| *deadline <= now) {
            self.deadlines.remove(&(deadline, id));
            let Some(entry) = self.workers.get_mut(&id) else { continue };
            entry.deadline = None;
            entry.worker.tick(now, &mut self.index);
            entry.schedule(id, &mut self.deadlines);
        }
    }
}

impl Entry {
    /// Moves the worker's deadline to where its sequencer wants it.
    fn schedule(&mut self, id: WorkerId, deadlines: &mut BTreeSet<(Duration, WorkerId)>) {
        let deadline = self.worker.next_deadline();
        if deadline == self.deadline {
            return;
        }
        if let Some(old) = std::mem::replace(&mut self.deadline, deadline) {
            deadlines.remove(&(old, id));
        }
        deadlines.extend(deadline.map(|deadline| (deadline, id)));
    }
}
