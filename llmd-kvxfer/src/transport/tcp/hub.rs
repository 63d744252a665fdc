//! All connections of one agent, and the work of moving what comes and goes on them.

use std::collections::HashMap;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use llmd_core::{Error, Result};
use parking_lot::{Mutex, RwLock};

use super::super::copiers::{Step, Work};
use super::super::job::Inbox;
use super::super::poller::{Interest, Poller};
use super::super::target::Target;
use super::landing::Landing;
use super::pull::Ended;
use super::rooms::Rooms;
use super::stream::{BUDGET, Stream};
use crate::transport::Home;

/// All connections of one agent.
///
/// While something comes or goes, a [`Pump`] is among the work of the threads that copy, and they wait for the connections by
/// themselves. When nothing did for a while, the agent's thread is woken by what comes next, and has them begin again.
#[derive(Debug)]
pub(super) struct Hub {
    pub(super) home: Arc<Home>,
    pub(super) inbox: Arc<Inbox>,
    /// The connections.
    data: Poller,
    /// What the agent's thread sleeps on: who wants in, and `data` while nobody pumps.
    pub(super) outer: Poller,
    streams: RwLock<HashMap<u64, Arc<Stream>>>,
    /// Those that wait for what no connection tells of: blocks to be sealed, a device.
    parked: Mutex<Vec<Arc<Stream>>>,
    /// What devices do for connections that are over.
    adrift: Mutex<Vec<Landing>>,
    /// How often a thread looked for something to do.
    turns: AtomicUsize,
    /// Through which segments of devices pass.
    pub(super) rooms: Arc<Rooms>,
    news: Mutex<Vec<News>>,
    has_news: AtomicBool,
    is_pumping: AtomicBool,
    gate: Arc<Gate>,
}

/// What the transport is told by its connections.
#[derive(Debug)]
pub(super) enum News {
    /// This agent is there, and is the one that was meant.
    Ready(Target),
    /// A connection is over; without an error when the other side closed it.
    Gone { token: u64, error: Option<Error> },
}

/// The token of `data` in `outer`.
pub(super) const DATA: u64 = 1;

impl Hub {
    pub(super) fn new(home: &Arc<Home>) -> Result<Arc<Self>> {
        let (data, outer) = (Poller::new()?, Poller::new()?);
        outer.add_once(data.as_fd(), DATA, Interest::Read)?;
        let (home, inbox, gate) = (Arc::clone(home), Inbox::new(), Arc::default());
        let (streams, parked, adrift, turns, rooms, news) = Default::default();
        let (has_news, is_pumping) = Default::default();
        Ok(Arc::new(Self {
            home,
            inbox,
            data,
            outer,
            streams,
            parked,
            adrift,
            turns,
            rooms,
            news,
            has_news,
            is_pumping,
            gate,
        }))
    }

    pub(super) fn ended(&self) -> Ended<'_> {
        Ended { inbox: &self.inbox, bell: &self.home.bell }
    }

    pub(super) fn add(&self, stream: &Arc<Stream>) -> Result<()> {
        self.streams.write().insert(stream.token, Arc::clone(stream));
        let added = self.data.add_once(stream.socket.as_fd(), stream.token, Interest::ReadAndWrite);
        added.inspect_err(|_| self.remove(stream.token))
    }

    pub(super) fn remove(&self, token: u64) {
        self.streams.write().remove(&token);
    }

    pub(super) fn stream(&self, token: u64) -> Option<Arc<Stream>> {
        self.streams.read().get(&token).cloned()
    }

    pub(super) fn arm(&self, stream: &Stream, interest: Interest) -> Result<()> {
        self.data.arm(stream.socket.as_fd(), stream.token, interest)
    }

    /// Has this connection's turn come again soon.
    pub(super) fn park(&self, stream: &Arc<Stream>) {
        let mut parked = self.parked.lock();
        if !parked.iter().any(|there| Arc::ptr_eq(there, stream)) {
            parked.push(Arc::clone(stream));
        }
    }

    /// Goes on with what a device does for a connection that is over.
    pub(super) fn drift(self: &Arc<Self>, landings: impl IntoIterator<Item = Landing>) {
        let mut adrift = self.adrift.lock();
        let before = adrift.len();
        adrift.extend(landings);
        let is_any = adrift.len() > before;
        drop(adrift);
        if is_any {
            self.pump();
        }
    }

    pub(super) fn say(&self, news: News) {
        self.news.lock().push(news);
        self.has_news.store(true, Ordering::Release);
        self.home.bell.ring();
    }

    pub(super) fn take_news(&self) -> Vec<News> {
        if !self.has_news.swap(false, Ordering::AcqRel) {
            return Vec::new();
        }
        std::mem::take(&mut self.news.lock())
    }

    pub(super) fn has_news(&self) -> bool {
        self.has_news.load(Ordering::Acquire)
    }

    /// Has the threads that copy wait for connections, unless they do.
    pub(super) fn pump(self: &Arc<Self>) {
        if self.is_pumping.swap(true, Ordering::SeqCst) {
            return;
        }
        let pump = Arc::new(Pump { hub: Arc::downgrade(self), gate: Arc::clone(&self.gate) });
        // The agent's thread may sleep on meanwhile; when it cannot be told so, it wakes for nothing. It is told before anybody can
        // pump, since whoever is done with it has the thread look again.
        let _quiet = self.outer.arm(self.data.as_fd(), DATA, Interest::Nothing);
        if self.home.copiers.submit(pump).is_err() {
            self.rest();
        }
    }

    /// Takes the turn of one connection that is ready.
    fn step(self: &Arc<Self>) -> Step {
        // Those that wait have their turn too while connections are always ready.
        let turn = self.turns.fetch_add(1, Ordering::Relaxed);
        if !turn.is_multiple_of(MOST_BEFORE_OTHERS) && self.one(Duration::ZERO) {
            return Step::Others;
        }
        if self.go_on() {
            return Step::Later;
        }
        if self.one(PATIENCE) {
            return Step::Others;
        }
        self.rest();
        // Another thread may have added something since: it thought that this one would see it.
        if !self.parked.lock().is_empty() || !self.adrift.lock().is_empty() {
            self.pump();
        }
        Step::Taken
    }

    /// Has those go on that wait for what no connection tells of. Says whether there are any.
    fn go_on(self: &Arc<Self>) -> bool {
        let (parked, adrift) = (std::mem::take(&mut *self.parked.lock()), std::mem::take(&mut *self.adrift.lock()));
        let is_any = !parked.is_empty() || !adrift.is_empty();
        parked.iter().for_each(|stream| stream.run(self, BUDGET));
        let left: Vec<_> = adrift.into_iter().filter_map(|landing| landing.go_on(&self.ended())).collect();
        self.adrift.lock().extend(left);
        is_any
    }

    /// Has the agent's thread wait for connections.
    fn rest(&self) {
        self.is_pumping.store(false, Ordering::SeqCst);
        // It cannot fail but when the poller is gone.
        let _armed = self.outer.arm(self.data.as_fd(), DATA, Interest::Read);
    }

    fn one(self: &Arc<Self>, within: Duration) -> bool {
        let Some(token) = self.data.one(within) else { return false };
        if let Some(stream) = self.stream(token) {
            stream.run(self, BUDGET);
        }
        // Another thread may have left meanwhile, since it saw nothing to do.
        self.pump();
        true
    }

    /// Ends all connections, and waits until nobody moves anything any more.
    pub(super) fn close(&self) {
        self.gate.close();
        for stream in self.streams.write().drain().map(|(_, stream)| stream) {
            stream.end();
        }
        self.parked.lock().clear();
        self.adrift.lock().clear();
    }
}

/// How many connections have their turns before those that wait for something else.
const MOST_BEFORE_OTHERS: usize = 16;
/// How long a thread waits for a connection before it lets the agent's thread do so.
const PATIENCE: Duration = Duration::from_millis(1);

/// The work of moving what comes and goes. It keeps nothing alive, so that no thread that copies is the last to have the agent.
struct Pump {
    hub: Weak<Hub>,
    gate: Arc<Gate>,
}

impl Work for Pump {
    fn step(&self) -> Step {
        self.gate.pass(|| self.hub.upgrade().map_or(Step::Taken, |hub| hub.step())).unwrap_or(Step::Taken)
    }
}

/// Lets threads in until it is closed, and is closed when all are out.
#[derive(Debug, Default)]
struct Gate {
    inside: AtomicUsize,
    is_closed: AtomicBool,
}

impl Gate {
    fn pass<T>(&self, inside: impl FnOnce() -> T) -> Option<T> {
        self.inside.fetch_add(1, Ordering::SeqCst);
        let result = (!self.is_closed.load(Ordering::SeqCst)).then(inside);
        self.inside.fetch_sub(1, Ordering::SeqCst);
        result
    }

    fn close(&self) {
        self.is_closed.store(true, Ordering::SeqCst);
        while self.inside.load(Ordering::SeqCst) > 0 {
            std::thread::yield_now();
        }
    }
}
