//! The event streams that are followed, as the rest of the gateway sees them.

use std::sync::Arc;

use llmd_core::index::{IndexWriter, Resident};
use llmd_core::{Error, ErrorKind, Result, WorkerId};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::AbortOnDropHandle;
use zeromq::Endpoint;

use super::ear::Heard;
use super::shared::{Question, Shared, Watched};
use super::writer::Writer;
use super::{EngineSaid, EventSettings, KvEventSource, WorkerStatus};
use crate::Clock;

/// How many questions about residents may wait for the writer; then those who ask wait.
const MAX_QUESTIONS: usize = 16;

/// The event streams that are followed, and the one task that writes what they say into an index.
///
/// Everything stops when it is dropped.
#[derive(Debug)]
pub struct Subscriptions {
    shared: Arc<Shared>,
    questions: mpsc::Sender<Question>,
    heard: mpsc::Sender<(WorkerId, u64, Heard)>,
    _writer: AbortOnDropHandle<()>,
}

impl Subscriptions {
    /// Starts the writer, which follows nobody yet.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn start(settings: EventSettings, writer: impl IndexWriter + 'static, clock: Clock) -> Self {
        let shared = Arc::new(Shared::default());
        let (questions, asked) = mpsc::channel(MAX_QUESTIONS);
        let (writer, hearing) = Writer::new(writer, settings, clock, Arc::clone(&shared));
        let heard = writer.heard();
        let writer = AbortOnDropHandle::new(tokio::spawn(writer.run(hearing, asked)));
        Self { shared, questions, heard, _writer: writer }
    }

    /// Follows a worker from now on. A worker that is watched already is forgotten first, unless nothing changes.
    ///
    /// Its engine need not be up: it is tried until it is.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when the source names an endpoint that is none.
    pub fn watch(&self, worker: WorkerId, name: impl Into<String>, source: KvEventSource) -> Result<()> {
        for endpoint in std::iter::once(&source.endpoint).chain(&source.replay_endpoint) {
            endpoint.parse::<Endpoint>().map_err(|error| {
                let message = format!("event endpoint {endpoint:?} is not one; expected tcp://host:port or ipc://path");
                Error::new(ErrorKind::Invalid, message).with_source(error)
            })?;
        }
        let mut watched = self.shared.watched.lock();
        if let Some(same) = watched.workers.get(&worker).filter(|watched| watched.source == source) {
            same.status.lock().name = name.into();
            return Ok(());
        }
        watched.begun += 1;
        let watch = watched.begun;
        let status = Arc::new(Mutex::new(WorkerStatus::new(worker, name.into())));
        watched.workers.insert(worker, Watched { watch, source, status });
        self.shared.change.notify_one();
        Ok(())
    }

    /// Follows a worker no longer, and forgets its blocks.
    pub fn unwatch(&self, worker: WorkerId) {
        self.shared.watched.lock().workers.remove(&worker);
        self.shared.change.notify_one();
    }

    /// The engine of a worker says this of itself elsewhere: where its stream says nothing of blocks that it must have
    /// stored, or counts more than it has, the worker is approximate. Nothing happens when it is not watched; when the
    /// writer is far behind, it does without.
    pub fn engine_said(&self, worker: WorkerId, said: EngineSaid) {
        let watch = self.shared.watched.lock().workers.get(&worker).map(|watched| watched.watch);
        if let Some(watch) = watch {
            _ = self.heard.try_send((worker, watch, Heard::Engine(said)));
        }
    }

    /// The number of the last batch of a worker that entered the index, and what the worker holds as of then; `None`
    /// when it is not followed. The writer pauses while it makes the list: this is for debugging.
    pub async fn residents(&self, worker: WorkerId) -> Option<(Option<u64>, Vec<Resident>)> {
        let (answer, answered) = oneshot::channel();
        self.questions.send(Question { worker, answer }).await.ok()?;
        answered.await.ok()?
    }

    /// Every worker that is watched, by id.
    pub fn status(&self) -> Vec<WorkerStatus> {
        self.shared.watched.lock().workers.values().map(|watched| watched.status.lock().clone()).collect()
    }
}
