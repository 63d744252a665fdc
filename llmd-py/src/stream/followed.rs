//! The workers that one stream follows.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use std::{mem, process};

use llmd_core::feed::Followed;
use llmd_core::index::{IndexWriter as _, PrefixIndex as _, WorkerState};
use llmd_core::{Error, ErrorKind, Result, WorkerId};
use llmd_gateway::events::{EngineSaid, EventSettings, KvEventSource, Subscriptions, WorkerStatus};
use parking_lot::Mutex;
use tokio::runtime::Runtime;
use tokio::time::timeout;

use super::status::state;
use crate::clock::clock;
use crate::fork::{self, Forked};
use crate::index::Shared;
use crate::runtime::runtime;

/// How long the writer is waited for when a worker is followed no longer. It answers between two batches.
const WRITER_ANSWERS: Duration = Duration::from_secs(2);

/// What a stream follows. Nobody who holds a lock in here waits for anything, or for Python.
pub(super) struct Following {
    index: Arc<Shared>,
    /// The process that its tasks are in.
    process: u32,
    open: Mutex<Option<Open>>,
}

struct Open {
    runtime: &'static Runtime,
    subscriptions: Arc<Subscriptions>,
    workers: BTreeMap<String, Followed>,
}

impl Following {
    /// Follows nobody yet.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] when the index cannot be written to, or when the system gives no threads.
    pub(super) fn start(index: Arc<Shared>) -> Result<Arc<Self>> {
        let runtime = runtime()?;
        let writer = index.writing()?.writer();
        let entered = runtime.enter();
        let subscriptions = Arc::new(Subscriptions::start(EventSettings::default(), writer, clock().clone()));
        drop(entered);
        let open = Mutex::new(Some(Open { runtime, subscriptions, workers: BTreeMap::new() }));
        let following = Arc::new(Self { index, process: process::id(), open });
        let forked: Arc<dyn Forked> = Arc::<Self>::clone(&following);
        fork::tell(Arc::downgrade(&forked));
        Ok(following)
    }

    /// Follows a worker from now on.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when an endpoint is none, when the worker is followed already, or after the end.
    pub(super) fn watch(&self, worker: &str, source: KvEventSource) -> Result<()> {
        self.with(|open| {
            let followed = self.index.writing()?.follow(worker)?;
            open.subscriptions.watch(followed.worker(), worker, source)?;
            open.workers.insert(worker.to_owned(), followed);
            Ok(())
        })
    }

    /// Follows a worker no longer. Waits for the writer.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when it is not followed, or after the end.
    pub(super) fn unwatch(&self, worker: &str) -> Result<()> {
        let (runtime, subscriptions, followed) = self.with(|open| {
            let followed = open.workers.remove(worker).ok_or_else(|| open.not_followed(worker))?;
            Ok((open.runtime, Arc::clone(&open.subscriptions), followed))
        })?;
        let _ = end(runtime, &subscriptions, [followed]);
        Ok(())
    }

    /// A worker's engine says this of itself elsewhere.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when it is not followed, or after the end.
    pub(super) fn engine_said(&self, worker: &str, said: EngineSaid) -> Result<()> {
        self.with(|open| {
            let followed = open.workers.get(worker).ok_or_else(|| open.not_followed(worker))?;
            open.subscriptions.engine_said(followed.worker(), said);
            Ok(())
        })
    }

    /// Every worker's name and status, and how far the index can be trusted about it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] after the end.
    pub(super) fn status(&self) -> Result<Vec<(WorkerStatus, WorkerState)>> {
        let status = self.with(|open| Ok(open.subscriptions.status()))?;
        let reader = self.index.reading().reader();
        Ok(status
            .into_iter()
            .map(|status| (reader.state(status.worker), status))
            .map(|(state, status)| (status, state))
            .collect())
    }

    /// Whether every worker is exact.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] after the end.
    pub(super) fn is_exact(&self) -> Result<bool> {
        Ok(self.status()?.iter().all(|(status, indexed)| state(status, *indexed) == WorkerState::Exact))
    }

    /// Waits on the runtime for this long, which is short.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] after the end.
    pub(super) fn pause(&self, pause: Duration) -> Result<()> {
        let runtime = self.with(|open| Ok(open.runtime))?;
        runtime.block_on(async { tokio::time::sleep(pause).await });
        Ok(())
    }

    /// Follows nobody any longer; the index forgets what was followed. Waits for the writer.
    ///
    /// In a forked child there is no writer, and nothing to wait for.
    pub(super) fn close(&self) {
        if process::id() == self.process {
            let Some(Open { runtime, subscriptions, workers }) = self.open.lock().take() else { return };
            let _ = end(runtime, &subscriptions, workers.into_values());
            return;
        }
        // The list can be locked only by a thread that the child does not have, where there is no GIL.
        let Some(Open { subscriptions, workers, .. }) = self.open.try_lock().and_then(|mut open| open.take()) else {
            return;
        };
        // To end its tasks would wake threads that are not there.
        mem::forget(subscriptions);
        if self.index.is_torn() {
            mem::forget(workers);
        }
    }

    fn with<T>(&self, work: impl FnOnce(&mut Open) -> Result<T>) -> Result<T> {
        if process::id() != self.process {
            let message = "the event stream belongs to the process that this one was forked from; make it anew";
            return Err(Error::new(ErrorKind::Unavailable, message));
        }
        match &mut *self.open.lock() {
            Some(open) => work(open),
            None => Err(Error::new(ErrorKind::Invalid, "the event stream is closed")),
        }
    }
}

/// How many workers an error lists.
const MAX_LISTED: usize = 8;

impl Open {
    fn not_followed(&self, worker: &str) -> Error {
        let known: Vec<_> = self.workers.keys().take(MAX_LISTED).collect();
        Error::new(ErrorKind::Invalid, format!("worker {worker:?} is not followed, expected one of {known:?}"))
    }
}

/// Lets go of workers, once the writer has. If it does not answer in time, they stay followed for ever: whoever followed
/// them next could be written over.
fn end(
    runtime: &Runtime,
    subscriptions: &Subscriptions,
    workers: impl IntoIterator<Item = Followed>,
) -> Result<(), ()> {
    let workers: Vec<_> = workers.into_iter().collect();
    for followed in &workers {
        subscriptions.unwatch(followed.worker());
    }
    let gone = async {
        for followed in &workers {
            while subscriptions.residents(followed.worker()).await.is_some() {
                tokio::task::yield_now().await;
            }
        }
    };
    runtime.block_on(async { timeout(WRITER_ANSWERS, gone).await }).map_err(|_| mem::forget(workers))
}

impl Drop for Following {
    fn drop(&mut self) {
        self.close();
    }
}

/// Nothing follows the workers in the child: what is known of them grows old there.
impl Forked for Following {
    fn in_child(&self) {
        let Some(open) = self.open.try_lock() else { return };
        let Some(open) = &*open else { return };
        // The index was told before, since it was there before.
        if self.index.is_torn() {
            return;
        }
        let mut writer = self.index.reading().writer();
        let workers: Vec<WorkerId> = open.workers.values().map(Followed::worker).collect();
        for worker in workers {
            writer.set_state(worker, WorkerState::Approximate);
        }
    }
}
