//! A worker: the thread that hands over what one rank has, beside the engine's own.

use std::fmt;
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use llmd_core::{Error, ErrorKind, GroupIdx, Result};
use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::answer::Done;
use super::duties::{Counts, Duties, Terms};
use super::link::{Link, Nonce, Side, check, greeted, greeting, nonce, prove};
use super::listener::Listener;
use super::message::{Command, Reply};
use crate::agent::{Agent, AgentStats};
use crate::layout::KvLayout;
use crate::pool::Pool;
use crate::session::{decode, prefill};
use crate::transport::Bell;

/// How a worker is made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WorkerSettings {
    /// What it and its scheduler prove to each other: the same for both, and nobody else's.
    pub key: Vec<u8>,
    /// Which rank it is, over the engine's tensor and pipeline ranks, from 0; and how many there are.
    pub shard: u32,
    /// How many ranks there are.
    pub shards: u32,
    /// Where its socket is made; by default a folder of the user's own below the system's for temporary files.
    pub folder: Option<PathBuf>,
    /// In place of a socket, where it listens: `tcp://HOST:PORT`, for engines of several machines. At port 0 at one that is free.
    pub bind: Option<String>,
    /// How many consumers finish what is lent of each part: 2 where decoders have twice as many ranks. Default: 1.
    pub consumers: u32,
    /// What bounds what is lent.
    pub prefill: prefill::Settings,
    /// What bounds what is fetched.
    pub decode: decode::Settings,
}

impl WorkerSettings {
    /// With this key, one rank, and defaults.
    pub fn new(key: impl Into<Vec<u8>>) -> Self {
        Self {
            key: key.into(),
            shard: 0,
            shards: 1,
            folder: None,
            bind: None,
            consumers: 1,
            prefill: prefill::Settings::default(),
            decode: decode::Settings::default(),
        }
    }
}

/// One rank of an engine: it lends what the engine computed, and fetches what others did, as its [`Scheduler`](super::Scheduler) says.
///
/// It has one thread, which sleeps unless there is something to do, and needs nothing of the engine's own.
#[derive(Debug)]
pub struct Worker {
    shared: Arc<Shared>,
    address: String,
    process: u32,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    bell: Bell,
    is_over: AtomicBool,
    done: Mutex<Done>,
    stats: Mutex<WorkerStats>,
}

/// What a worker counted since it was made.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct WorkerStats {
    /// What was lent.
    pub prefill: prefill::Counts,
    /// What was fetched.
    pub decode: decode::Counts,
    /// What its agent counted.
    pub agent: AgentStats,
    /// Requests that are held now.
    pub held: usize,
    /// Leases that could not be prolonged, because as many are as may be.
    pub not_kept: u64,
    /// Producers that could not be told that nothing more is wanted. Their leases lapse.
    pub not_finished: u64,
    /// Fetches that could not be begun.
    pub not_begun: u64,
    /// What a scheduler said that could not be done.
    pub refused_commands: u64,
    /// Connections that were not its scheduler's.
    pub refused_schedulers: u64,
    /// How often its scheduler went away.
    pub lost_schedulers: u64,
    /// Defects that were caught. Everything that was under way was told to be lost.
    pub caught_panics: u64,
}

impl Worker {
    /// Begins to serve: pools of an agent, each the blocks of a cache group.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] for settings that make no sense; [`ErrorKind::Unavailable`] when it cannot listen there.
    pub fn start(agent: Agent, groups: Vec<(GroupIdx, Pool)>, settings: WorkerSettings) -> Result<Self> {
        let WorkerSettings { key, shard, shards, folder, bind, consumers, prefill, decode } = settings;
        let invalid = |message: String| Err(Error::new(ErrorKind::Invalid, message));
        if groups.is_empty() {
            return invalid("a worker of no group, expected one or more".into());
        }
        if shard >= shards {
            return invalid(format!("shard {shard} of {shards}, expected less"));
        }
        if key.is_empty() {
            return invalid("a key of 0 bytes, expected one or more".into());
        }
        let listener = match bind {
            Some(address) => Listener::at(&address)?,
            None => {
                let folder = folder.unwrap_or_else(|| {
                    std::env::temp_dir().join(format!("llmd-{}", rustix::process::getuid().as_raw()))
                });
                Listener::within(&folder, &format!("{}-worker.sock", agent.id()))?
            }
        };
        let address = listener.address();
        let layouts = groups.iter().map(|(group, pool)| (*group, pool.layout().clone())).collect();
        let shared = Arc::new(Shared {
            bell: Bell::new()?,
            is_over: AtomicBool::new(false),
            done: Mutex::default(),
            stats: Mutex::default(),
        });
        let duties = Duties::new(agent, &groups, Terms { prefill, decode, consumers })?;
        let hello = Reply::Hello { shard, shards, groups: layouts };
        let serving = Serving { shared: Arc::clone(&shared), listener, key, hello, duties, state: State::Alone };
        let thread = std::thread::Builder::new().name("llmd-worker".into()).spawn(move || serving.run());
        let thread = thread.map_err(|cause| {
            Error::new(ErrorKind::Exhausted, "a worker's thread cannot be started").with_source(cause)
        })?;
        let thread = Mutex::new(Some(thread));
        Ok(Self { shared, address, process: std::process::id(), thread })
    }

    /// Where its scheduler finds it.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What came of requests since it was asked last. Waits for nothing.
    pub fn take(&self) -> Done {
        std::mem::take(&mut self.shared.done.lock())
    }

    /// What it counted.
    pub fn stats(&self) -> WorkerStats {
        self.shared.stats.lock().clone()
    }

    /// Ends it: nothing more is lent or fetched.
    pub fn close(&self) {
        if self.process != std::process::id() {
            return;
        }
        self.shared.is_over.store(true, Ordering::SeqCst);
        self.shared.bell.ring();
        if let Some(thread) = self.thread.lock().take() {
            // One that panicked has been caught, and there is nobody to tell it to.
            let _ended = thread.join();
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.close();
        // In a forked child its thread is not there.
        if self.process != std::process::id() {
            std::mem::forget(self.thread.lock().take());
        }
    }
}

/// The thread.
struct Serving {
    shared: Arc<Shared>,
    listener: Listener,
    key: Vec<u8>,
    hello: Reply,
    duties: Duties,
    state: State,
}

/// What there is of a scheduler.
#[derive(Debug)]
enum State {
    Alone,
    /// It connected, was greeted with this nonce, and has to prove itself until then.
    Greeted {
        link: Link,
        nonce: Nonce,
        until: Duration,
    },
    In(Link),
}

/// How long a proof may take.
const PROOF: Duration = Duration::from_secs(5);
/// How often it is looked at what agents and machines have, if nothing wakes it.
const LOOK_UP: Duration = Duration::from_secs(1);

impl Serving {
    fn run(mut self) {
        while !self.shared.is_over.load(Ordering::SeqCst) {
            self.shared.bell.quiet();
            let turned = catch_unwind(AssertUnwindSafe(|| self.turn()));
            if !matches!(turned, Ok(Ok(()))) {
                let mut done = self.shared.done.lock();
                self.duties.lose_all(&mut done);
                drop(done);
                self.shared.stats.lock().caught_panics += u64::from(turned.is_err());
                self.lose();
                if matches!(turned, Ok(Err(_))) {
                    // The agent is over: there is nothing left to serve with.
                    return;
                }
            }
            self.sleep();
        }
    }

    fn turn(&mut self) -> Result<()> {
        let now = self.duties.agent().now();
        self.hear(now);
        let mut done = Done::default();
        let went = self.duties.go_on(now, &mut done);
        if done != Done::default() {
            let mut all = self.shared.done.lock();
            all.sent.append(&mut done.sent);
            all.received.append(&mut done.received);
            all.failed.append(&mut done.failed);
        }
        went?;
        self.answer();
        self.count();
        Ok(())
    }

    /// What the scheduler says, or who wants to be it.
    fn hear(&mut self, now: Duration) {
        if let State::Greeted { until, .. } = &self.state
            && *until <= now
        {
            self.refuse();
        }
        if !matches!(self.state, State::In(_)) {
            self.let_in(now);
        }
        self.prove();
        for _ in 0..AT_ONCE {
            let State::In(link) = &mut self.state else { return };
            match link.hear().and_then(|heard| heard.map(|bytes| Command::decode(&bytes)).transpose()) {
                Ok(Some(command)) => {
                    let mut done = self.shared.done.lock();
                    self.duties.take(now, command, &mut done);
                }
                Ok(None) => return,
                Err(_) => return self.lose(),
            }
        }
        // There may be more.
        self.shared.bell.ring();
    }

    fn let_in(&mut self, now: Duration) {
        // A later one takes the place of one that has not proven itself: that is how a stranger keeps nobody out.
        while let Ok(Some(mut link)) = self.listener.accept() {
            let Ok(nonce) = nonce() else { return };
            if link.say(&greeting(&nonce)).is_ok() {
                if matches!(self.state, State::Greeted { .. }) {
                    self.refuse();
                }
                self.state = State::Greeted { link, nonce, until: now + PROOF };
            }
        }
    }

    /// What one that was greeted says: its nonce, and that it has the key.
    fn prove(&mut self) {
        let State::Greeted { link, nonce: ours, .. } = &mut self.state else { return };
        let mut proven = || {
            let Some(said) = link.hear()? else { return Ok(false) };
            let (greeting, proof) = said.split_at(said.len().saturating_sub(32));
            let theirs = greeted(greeting)?;
            check(&self.key, Side::Scheduler, ours, &theirs, proof)?;
            link.say(&prove(&self.key, Side::Worker, ours, &theirs))?;
            link.say(&self.hello.encode())?;
            Ok::<_, Error>(true)
        };
        match proven() {
            Ok(false) => {}
            Ok(true) => {
                if let State::Greeted { link, .. } = std::mem::replace(&mut self.state, State::Alone) {
                    self.state = State::In(link);
                }
            }
            Err(_) => self.refuse(),
        }
    }

    fn refuse(&mut self) {
        self.state = State::Alone;
        self.shared.stats.lock().refused_schedulers += 1;
    }

    fn lose(&mut self) {
        if matches!(std::mem::replace(&mut self.state, State::Alone), State::In(_)) {
            self.shared.stats.lock().lost_schedulers += 1;
            self.duties.orphan(self.duties.agent().now());
            // Somebody else may be waiting to be let in.
            self.shared.bell.ring();
        }
    }

    fn answer(&mut self) {
        let replies = std::mem::take(&mut self.duties.replies);
        let State::In(link) = &mut self.state else { return };
        let said = replies.iter().try_for_each(|reply| link.say(&reply.encode())).and_then(|()| link.flush());
        if said.is_err() {
            self.lose();
        }
    }

    fn count(&self) {
        let Counts { not_kept, not_finished, not_begun, refused_commands } = self.duties.counts;
        let (prefill, decode) = self.duties.machines();
        let mut stats = self.shared.stats.lock();
        stats.prefill.clone_from(prefill);
        stats.decode.clone_from(decode);
        stats.agent = self.duties.agent().stats();
        stats.held = self.duties.held();
        (stats.not_kept, stats.not_finished) = (not_kept, not_finished);
        (stats.not_begun, stats.refused_commands) = (not_begun, refused_commands);
    }

    fn sleep(&self) {
        let now = self.duties.agent().now();
        let deadline = self.duties.next_deadline().map(|deadline| deadline.saturating_sub(now));
        let left = deadline.map_or(LOOK_UP, |deadline| deadline.min(LOOK_UP));
        let timeout = Timespec { tv_sec: left.as_secs() as _, tv_nsec: left.subsec_nanos().into() };
        let mut all = vec![
            PollFd::from_borrowed_fd(self.shared.bell.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.duties.agent().wake_fd(), PollFlags::IN),
        ];
        match &self.state {
            State::Alone => {}
            State::Greeted { link, .. } => all.push(PollFd::from_borrowed_fd(link.as_fd(), PollFlags::IN)),
            State::In(link) => {
                let flags = if link.has_output() { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
                all.push(PollFd::from_borrowed_fd(link.as_fd(), flags));
            }
        }
        if !matches!(self.state, State::In(_)) {
            all.push(PollFd::from_borrowed_fd(self.listener.as_fd(), PollFlags::IN));
        }
        // It fails when a signal came: then it looks.
        let _woken = poll(&mut all, Some(&timeout));
    }
}

/// How many commands are heard in one go.
const AT_ONCE: usize = 256;

impl fmt::Debug for Serving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serving").field("state", &self.state).finish_non_exhaustive()
    }
}

/// How the caches of a rank lie, by group.
pub(super) type Layouts = Vec<(GroupIdx, KvLayout)>;
