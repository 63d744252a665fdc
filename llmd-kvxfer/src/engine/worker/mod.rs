//! What runs beside a shard's memory: the agent's work for both sides of a hand-over.

mod core;
mod door;
mod settings;
mod stats;
mod thread;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use llmd_core::{Error, ErrorKind, GroupIdx, Result};
use parking_lot::Mutex;

pub use self::settings::WorkerSettings;
pub use self::stats::WorkerStats;
use super::place::Place;
use crate::agent::Agent;
use crate::grant::AgentId;
use crate::pool::Pool;
use crate::session::RequestId;
use crate::session::decode::FailedBlock;
use crate::transport::{Bell, process};

/// Runs both sides of hand-overs for one shard of an engine, told what to do by the engine's [`Scheduler`](super::Scheduler).
///
/// It has one thread, which sleeps unless there is something to do. Whatever the agent says is the worker's from now on: nobody else
/// polls that agent. It ends when this is dropped; what the agent does by itself goes on.
pub struct Worker {
    shared: Arc<Shared>,
    place: Place,
    thread: Option<JoinHandle<()>>,
}

/// What became of requests since it was last asked for.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Done {
    /// Requests that were computed here and that nobody reads any more: their blocks may be reused.
    pub sent: Vec<RequestId>,
    /// Requests for which blocks were allocated and into which nothing is written any more.
    pub received: Vec<RequestId>,
    /// Of those that were received, the blocks that are not here.
    pub failed: Vec<(RequestId, Vec<FailedBlock>)>,
}

impl Done {
    fn len(&self) -> usize {
        self.sent.len() + self.received.len()
    }

    fn append(&mut self, other: &mut Self) {
        self.sent.append(&mut other.sent);
        self.received.append(&mut other.received);
        self.failed.append(&mut other.failed);
    }
}

/// What the thread and its owner both see.
#[derive(Debug)]
struct Shared {
    /// In which process the thread is.
    process: u32,
    is_over: AtomicBool,
    bell: Bell,
    done: Mutex<Done>,
    stats: Mutex<WorkerStats>,
    agent: Agent,
}

/// How many cache groups a worker may have.
const MAX_GROUPS: usize = super::message::MAX_GROUPS;

impl Worker {
    /// Runs hand-overs of these pools, one for each cache group, for a scheduler that has this key.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] for settings that make no sense, no groups, one that is named twice, and an empty key;
    /// [`ErrorKind::Unavailable`] when it cannot listen where it is to, or in a forked child.
    pub fn new(agent: Agent, groups: Vec<(GroupIdx, Pool)>, key: &[u8], settings: WorkerSettings) -> Result<Self> {
        settings.check()?;
        if key.is_empty() {
            return Err(invalid("an empty key, expected one of 1 byte or more".into()));
        }
        if groups.is_empty() || groups.len() > MAX_GROUPS {
            return Err(invalid(format!("{} groups, expected 1 to {MAX_GROUPS}", groups.len())));
        }
        for (place, (group, _)) in groups.iter().enumerate() {
            if groups[..place].iter().any(|(earlier, _)| earlier == group) {
                return Err(invalid(format!("group {} twice, expected once", group.0)));
            }
        }
        let boot = AgentId::random()?;
        let place = match &settings.bind {
            Some(bind) => Place::parse(bind)?,
            None => Place::in_folder(settings.folder.as_deref(), boot)?,
        };
        let shared = Arc::new(Shared {
            process: process(),
            is_over: AtomicBool::new(false),
            bell: Bell::new()?,
            done: Mutex::default(),
            stats: Mutex::default(),
            agent: agent.clone(),
        });
        let core = core::Core::new(agent, groups, &settings)?;
        let (listener, place) = place.listen()?;
        let door = door::Door::new(listener, boot, key, &settings, &core);
        let thread = std::thread::Builder::new().name("llmd-worker".into()).spawn({
            let shared = Arc::clone(&shared);
            move || thread::run(&shared, core, door)
        });
        let thread = thread.map_err(|cause| {
            place.remove();
            Error::new(ErrorKind::Exhausted, "the worker's thread cannot be started").with_source(cause)
        })?;
        Ok(Self { shared, place, thread: Some(thread) })
    }

    /// Where its scheduler finds it.
    pub fn address(&self) -> String {
        self.place.to_string()
    }

    /// What became of requests since this was last asked for. Waits for nothing.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] in a forked child.
    pub fn take(&self) -> Result<Done> {
        self.is_ours()?;
        Ok(std::mem::take(&mut self.shared.done.lock()))
    }

    /// What was counted since it was made.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] in a forked child.
    pub fn stats(&self) -> Result<WorkerStats> {
        self.is_ours()?;
        let mut stats = self.shared.stats.lock().clone();
        stats.agent = self.shared.agent.stats();
        Ok(stats)
    }

    fn is_ours(&self) -> Result<()> {
        let here = process();
        if here == self.shared.process {
            return Ok(());
        }
        let message =
            format!("a worker of process {}, in its forked child {here}: make one there", self.shared.process);
        Err(Error::new(ErrorKind::Unavailable, message))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if process() != self.shared.process {
            // In a forked child there is no such thread, and the socket is the parent's: all of it is left as it is.
            std::mem::forget(Arc::clone(&self.shared));
            std::mem::forget(self.thread.take());
            return;
        }
        self.shared.is_over.store(true, Ordering::SeqCst);
        self.shared.bell.ring();
        if let Some(thread) = self.thread.take() {
            // One that panicked has said so, and there is nobody to tell it to.
            let _ended = thread.join();
        }
        self.place.remove();
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Worker({})", self.place)
    }
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::Invalid, message)
}
