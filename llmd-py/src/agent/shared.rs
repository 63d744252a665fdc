//! An agent, and who of this process waits for what of it.

use std::collections::{HashMap, VecDeque};
use std::process;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use llmd_core::{Error, ErrorKind, Result};
use llmd_kvxfer::{Agent, Event, Fetch, OpId};
use parking_lot::Mutex;

use super::awaited::{Awaited, Future};
use super::event::Fetched;

/// An agent, the operations of it that somebody has, and what happened of which nobody has heard.
///
/// Threads that wait for a lock in here may hold the GIL, so that nobody who holds one waits for the GIL.
#[derive(Debug)]
pub(super) struct Shared {
    /// The process that its threads are in.
    process: u32,
    agent: Mutex<Option<Agent>>,
    /// Operations of which the end is not known yet.
    ops: Mutex<HashMap<u64, Weak<Ending>>>,
    unheard: Mutex<VecDeque<Event>>,
    pub(super) awaited: Mutex<Awaited>,
}

/// The end of an operation, once it is known.
#[derive(Debug)]
pub(super) struct Ending {
    pub(super) op: OpId,
    ended: OnceLock<Fetched>,
    futures: Mutex<Vec<Future>>,
}

/// How many events may be kept of which nobody has heard.
const MAX_UNHEARD: usize = 1 << 17;

impl Shared {
    pub(super) fn new(agent: Agent) -> Self {
        Self {
            process: process::id(),
            agent: Mutex::new(Some(agent)),
            ops: Mutex::default(),
            unheard: Mutex::default(),
            awaited: Mutex::default(),
        }
    }

    /// The agent.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] in a forked child, whatever was locked when it was forked, and [`ErrorKind::Invalid`] when it is
    /// closed.
    pub(super) fn agent(&self) -> Result<Agent> {
        let here = process::id();
        if here != self.process {
            let message = format!("an agent of process {}, in its forked child {here}: build one there", self.process);
            return Err(Error::new(ErrorKind::Unavailable, message));
        }
        self.agent.lock().clone().ok_or_else(|| Error::new(ErrorKind::Invalid, "the agent is closed"))
    }

    /// Ends it, and gives whoever awaits its operations, to be told. Waits for its threads.
    pub(super) fn close(&self) -> Vec<Future> {
        if process::id() != self.process {
            return Vec::new();
        }
        drop(self.agent.lock().take());
        self.futures()
    }

    /// Begins an operation.
    ///
    /// # Errors
    ///
    /// What [`Agent::submit`] says.
    pub(super) fn submit(&self, fetch: &Fetch<'_>) -> Result<Arc<Ending>> {
        let agent = self.agent()?;
        // Locked all the while, so that nobody hears of its end before it is known here.
        let mut ops = self.ops.lock();
        let op = agent.submit(fetch)?;
        let ending = Arc::new(Ending { op, ended: OnceLock::new(), futures: Mutex::default() });
        ops.insert(op.number(), Arc::downgrade(&ending));
        Ok(ending)
    }

    /// Waits so long for an operation to end: how it did, if it did.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when there is no such operation, and those of [`agent`](Self::agent).
    pub(super) fn wait(&self, ending: &Ending, time: Duration) -> Result<Option<Fetched>> {
        let agent = self.agent()?;
        if let Some(known) = ending.ended.get() {
            return Ok(Some(known.clone()));
        }
        match agent.wait(ending.op, time) {
            Ok(fetched) => {
                self.ops.lock().remove(&ending.op.number());
                Ok(Some(ending.ended.get_or_init(|| Fetched(Arc::new(fetched))).clone()))
            }
            Err(error) if error.kind() == ErrorKind::Unavailable => Ok(ending.ended.get().cloned()),
            Err(error) => {
                // Somebody who polls has heard of it, and may be about to say so.
                drop(self.ops.lock());
                ending.ended.get().cloned().map(Some).ok_or(error)
            }
        }
    }

    /// What happened since, and has not been heard of by whoever awaits it; gives those who are to be told.
    ///
    /// # Errors
    ///
    /// Those of [`agent`](Self::agent), and [`ErrorKind::Exhausted`] when too much happened of which nobody has heard.
    pub(super) fn hear(&self) -> Result<Vec<(Future, Fetched)>> {
        let agent = self.agent()?;
        let (mut unheard, mut told) = (self.unheard.lock(), Vec::new());
        if unheard.len() > MAX_UNHEARD {
            let message =
                format!("{} events that nobody heard of, expected at most {MAX_UNHEARD}: poll", unheard.len());
            return Err(Error::new(ErrorKind::Exhausted, message));
        }
        let (mut ops, mut events) = (self.ops.lock(), Vec::new());
        agent.poll(&mut events)?;
        for event in events {
            let Event::Fetched(fetched) = &event else {
                unheard.push_back(event);
                continue;
            };
            let Some(ending) = ops.remove(&fetched.op.number()).and_then(|ending| ending.upgrade()) else {
                unheard.push_back(event);
                continue;
            };
            let ended = ending.ended.get_or_init(|| Fetched(Arc::new(fetched.clone()))).clone();
            let futures = ending.futures();
            if futures.is_empty() {
                unheard.push_back(event);
            }
            told.extend(futures.into_iter().map(|future| (future, ended.clone())));
        }
        Ok(told)
    }

    /// What nobody has heard of.
    pub(super) fn unheard(&self) -> Vec<Event> {
        self.unheard.lock().drain(..).collect()
    }

    /// Whoever awaits an operation.
    pub(super) fn futures(&self) -> Vec<Future> {
        let ops: Vec<_> = self.ops.lock().values().filter_map(Weak::upgrade).collect();
        ops.iter().flat_map(|ending| ending.futures()).collect()
    }

    /// Whether somebody awaits an operation.
    pub(super) fn is_awaited(&self) -> bool {
        let ops: Vec<_> = self.ops.lock().values().filter_map(Weak::upgrade).collect();
        ops.iter().any(|ending| !ending.futures.lock().is_empty())
    }
}

impl Ending {
    pub(super) fn ended(&self) -> Option<&Fetched> {
        self.ended.get()
    }

    /// Has a future told when it ends.
    pub(super) fn tell(&self, future: Future) {
        self.futures.lock().push(future);
    }

    /// Those that are to be told, each once.
    pub(super) fn futures(&self) -> Vec<Future> {
        std::mem::take(&mut *self.futures.lock())
    }
}

/// The class of an event that Python is told of.
pub(super) fn event(event: Event) -> Option<super::event::Event> {
    match event {
        Event::Fetched(fetched) => Some(super::event::Event::Fetched(Fetched(Arc::new(fetched)))),
        Event::LeaseEnded(ended) => Some(ended.into()),
        // Of what this version does not know.
        _ => None,
    }
}
