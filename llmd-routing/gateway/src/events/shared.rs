//! What the subscriptions and the writer share: who is watched, and what the writer is asked.

use std::collections::BTreeMap;
use std::sync::Arc;

use llmd_core::WorkerId;
use llmd_core::index::Resident;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use super::{KvEventSource, WorkerStatus};

/// What a worker holds, asked of the writer.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) worker: WorkerId,
    pub(super) answer: oneshot::Sender<Option<(Option<u64>, Vec<Resident>)>>,
}

/// What is watched, changed by whoever discovers workers and read by the writer.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) watched: Mutex<Watches>,
    pub(super) change: Notify,
}

/// The workers that are watched, and how many watches have begun.
#[derive(Debug, Default)]
pub(super) struct Watches {
    pub(super) begun: u64,
    pub(super) workers: BTreeMap<WorkerId, Watched>,
}

/// One worker that is watched.
#[derive(Clone, Debug)]
pub(super) struct Watched {
    /// Tells apart two watches of one worker.
    pub(super) watch: u64,
    pub(super) source: KvEventSource,
    pub(super) status: Arc<Mutex<WorkerStatus>>,
}

impl Shared {
    /// Waits until what is watched has changed.
    pub(super) async fn changed(&self) {
        self.change.notified().await;
    }

    /// What is watched now.
    pub(super) fn watched(&self) -> BTreeMap<WorkerId, Watched> {
        self.watched.lock().workers.clone()
    }
}
