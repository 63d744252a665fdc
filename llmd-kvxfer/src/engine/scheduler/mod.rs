//! What runs where an engine decides: it tells the workers, and knows what the engine asks.

mod fit;
mod known;
mod link;
mod settings;
mod state;
mod stats;
mod thread;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use llmd_core::{Error, ErrorKind, GroupIdx, Result};
use parking_lot::{Mutex, MutexGuard};

pub use self::settings::SchedulerSettings;
use self::state::State;
pub use self::stats::SchedulerStats;
use super::clock::Clock;
use super::place::Place;
use crate::session::decode::Allocation;
use crate::session::{Params, RequestId, Reuse};
use crate::transport::{Bell, process};

/// Tells the workers of an engine what the engine decided.
///
/// No call waits for a worker, but for [`computed`](Self::computed), which waits for its answer and no longer than it has patience. A
/// worker that is lost is connected with anew by a thread, which sleeps meanwhile; what it missed is said to it then.
pub struct Scheduler {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread and its owner both see.
#[derive(Debug)]
struct Shared {
    /// In which process the thread is.
    process: u32,
    is_over: AtomicBool,
    bell: Bell,
    clock: Clock,
    state: Mutex<State>,
}

impl Scheduler {
    /// Connects with all workers of an engine, in the order of their shards, and waits until all are there.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] for settings and addresses that make no sense, workers that are not these shards, and workers with other
    /// groups than each other; [`ErrorKind::Denied`] when one has another key; [`ErrorKind::Unavailable`] when one is not there in time, or
    /// has another scheduler.
    pub fn new<A: AsRef<str>>(workers: &[A], key: &[u8], settings: SchedulerSettings) -> Result<Self> {
        settings.check()?;
        if key.is_empty() {
            return Err(invalid("an empty key, expected one of 1 byte or more".into()));
        }
        if workers.is_empty() || workers.len() > Params::MAX_PARTS {
            return Err(invalid(format!("{} workers, expected 1 to {}", workers.len(), Params::MAX_PARTS)));
        }
        let places = workers.iter().map(|address| Place::parse(address.as_ref())).collect::<Result<Vec<_>>>()?;
        let clock = Clock::new();
        let connect_within = settings.connect_within;
        let state = State::new(places, key, settings)?;
        let (is_over, bell) = (AtomicBool::new(false), Bell::new()?);
        let shared = Arc::new(Shared { process: process(), is_over, bell, clock, state: Mutex::new(state) });
        thread::connect_all(&shared, connect_within)?;
        let thread = std::thread::Builder::new().name("llmd-scheduler".into()).spawn({
            let shared = Arc::clone(&shared);
            move || thread::run(&shared)
        });
        let thread = thread.map_err(|cause| {
            Error::new(ErrorKind::Exhausted, "the scheduler's thread cannot be started").with_source(cause)
        })?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// A request was computed: these blocks hold its first `tokens` tokens, in each group from a token on, the last perhaps not
    /// full. Gives what stands as [`GRANT`](llmd_core::protocol::GRANT) in the answer; then the engine keeps the blocks until every
    /// worker says that they were [`sent`](super::Done::sent). `None` when they cannot be fetched, and are the engine's as before.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] for no tokens, no groups, a group that is named twice or that the workers do not have, and a request
    /// of which blocks are lent already; [`ErrorKind::Unavailable`] in a forked child.
    pub fn computed(
        &self,
        id: &RequestId,
        tokens: u32,
        groups: Vec<(GroupIdx, u32, Vec<u32>)>,
    ) -> Result<Option<String>> {
        let params = self.state()?.computed(self.shared.clock, id, tokens, groups);
        self.shared.rouse();
        Ok(params?.map(|params| params.to_text()))
    }

    /// A request arrived whose prompt has so many tokens, with this text as [`GRANT`](llmd_core::protocol::GRANT). Its leases are kept
    /// while it waits. When a worker is not there, or too many requests are known, nothing [matches](Self::matched), and
    /// [`stats`](Self::stats) say so.
    ///
    /// # Errors
    ///
    /// It is computed here then: [`ErrorKind::Invalid`] for a text that cannot be read, for what does not fit here, with what differs,
    /// a prompt of no tokens, and a request that is known already; [`ErrorKind::Unavailable`] in a forked child.
    pub fn arrive(&self, id: &RequestId, prompt_tokens: u32, text: &str) -> Result<()> {
        let arrived = self.state()?.arrive(self.shared.clock.now(), id, prompt_tokens, text);
        self.shared.rouse();
        arrived
    }

    /// How many tokens can come from outside, behind `local_tokens` that are here, as
    /// [`Decode::matched`](crate::session::decode::Decode::matched) says it. 0 also in a forked child. Changes nothing, and asks nobody.
    pub fn matched(&self, id: &RequestId, local_tokens: u32) -> u32 {
        self.state().map_or(0, |state| state.matched(id, local_tokens))
    }

    /// The engine allocated blocks for so many tokens from outside, behind those that are here: every worker says that it
    /// [`received`](super::Done::received) them, once. With 0 tokens it wants nothing, or says once more what it had said.
    ///
    /// # Errors
    ///
    /// Nothing changes then: [`ErrorKind::Invalid`] when the request is being fetched, when these are more tokens than can come, and
    /// when the groups are not the blocks of these tokens; [`ErrorKind::Unavailable`] in a forked child.
    pub fn allocated(
        &self,
        id: &RequestId,
        local_tokens: u32,
        external_tokens: u32,
        groups: Vec<Allocation>,
    ) -> Result<()> {
        let now = self.shared.clock.now();
        let allocated = self.state()?.allocated(now, id, local_tokens, external_tokens, groups);
        self.shared.rouse();
        allocated
    }

    /// The engine does not want the request any more. When the answer is [`Later`](Reuse::Later) its blocks may be reused when
    /// every worker says that it was [`sent`](super::Done::sent) or [`received`](super::Done::received), whichever is due.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] in a forked child.
    pub fn abort(&self, id: &RequestId) -> Result<Reuse> {
        let reuse = self.state()?.abort(self.shared.clock.now(), id);
        self.shared.rouse();
        Ok(reuse)
    }

    /// The engine takes the blocks back, and may ask for the request again. The answer is as that to [`abort`](Self::abort).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] in a forked child.
    pub fn preempted(&self, id: &RequestId) -> Result<Reuse> {
        let reuse = self.state()?.preempted(self.shared.clock.now(), id);
        self.shared.rouse();
        Ok(reuse)
    }

    /// What was counted since it was made.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] in a forked child.
    pub fn stats(&self) -> Result<SchedulerStats> {
        let mut state = self.state()?;
        state.hear(self.shared.clock.now());
        Ok(state.stats())
    }

    /// What is known, unless this is a forked child, in which it may be locked for ever.
    fn state(&self) -> Result<MutexGuard<'_, State>> {
        let here = process();
        if here == self.shared.process {
            return Ok(self.shared.state.lock());
        }
        let message =
            format!("a scheduler of process {}, in its forked child {here}: make one there", self.shared.process);
        Err(Error::new(ErrorKind::Unavailable, message))
    }
}

impl Shared {
    /// Has the thread look, when a connection was lost meanwhile.
    fn rouse(&self) {
        if self.state.lock().is_any_lost() {
            self.bell.ring();
        }
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        if process() != self.shared.process {
            // In a forked child there is no such thread, and the connections are the parent's: all of it is left as it is.
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
    }
}

impl fmt::Debug for Scheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scheduler")
    }
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::Invalid, message)
}
