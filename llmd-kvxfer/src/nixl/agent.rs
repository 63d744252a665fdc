//! An agent: memory, peers, transfers, notifications.

#![expect(unsafe_code, reason = "posting a transfer is sound only while our memory is kept, which is seen to here")]

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::fmt;
use std::sync::Arc;

use llmd_core::{Error, ErrorKind, Result};

use super::capi::Interface;
use super::memory::{Memory, MemoryKind};
use super::metadata::Metadata;
use super::session::{Direction, Progress, Request, Session};
use crate::plan::Copy;

/// The most copies of a transfer.
pub const MAX_COPIES: usize = 1 << 20;
/// The most bytes of a notification, sent or received.
pub const MAX_MESSAGE: usize = 64 << 10;
/// The most bytes of a name.
pub const MAX_NAME: usize = 256;
/// The most peers that an agent knows.
pub const MAX_PEERS: usize = 4096;
/// The most ranges of memory that an agent has registered.
pub const MAX_REGISTRATIONS: usize = 65_536;

/// How an agent is made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AgentSettings {
    /// NIXL's plugin that moves the bytes: `UCX` unless said otherwise.
    pub backend: String,
    /// What the backend is told, such as `num_threads` or `ucx_devices`: nothing unless said otherwise.
    pub params: BTreeMap<String, String>,
    /// How many transfers may be in flight: 1,024 unless said otherwise.
    pub max_transfers: usize,
}

impl Default for AgentSettings {
    fn default() -> Self {
        Self { backend: "UCX".to_owned(), params: BTreeMap::new(), max_transfers: 1024 }
    }
}

/// Names one transfer of one agent; never used twice.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct TransferId(u64);

impl fmt::Display for TransferId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "transfer {}", self.0)
    }
}

/// Memory of a peer, as the peer says where it lies.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a range of somebody's memory is this")]
pub struct Remote<'a> {
    /// The peer's name.
    pub peer: &'a str,
    /// Where its memory begins.
    pub address: u64,
    /// How many bytes it has.
    pub len: u64,
    /// Where it lies.
    pub kind: MemoryKind,
    /// The number of its device.
    pub device: u64,
}

/// What happened.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// A transfer ended.
    Ended {
        /// Which.
        id: TransferId,
        /// Well: every byte is there, and the peer is told if it was to be. Or not, and then what is in the local blocks means nothing, and
        /// **goes on meaning nothing**: NIXL does not say when the last byte of a transfer that failed is written. The agent keeps
        /// the memory until it is dropped. Before blocks named in such a read are used for anything else, drop the agent.
        outcome: Result<()>,
    },
    /// A peer said something.
    Notified {
        /// The name by which it goes. Nobody proves names.
        peer: String,
        /// What it said.
        message: Vec<u8>,
    },
}

/// Memory that peers of an agent may read and write. When the last clone is dropped, and every transfer that names it has ended, the
/// agent's next [`poll`](Agent::poll) takes that back and lets go of the memory.
#[derive(Clone, Debug)]
pub struct Registration(Arc<Registered>);

impl Registration {
    /// The memory.
    pub fn memory(&self) -> &Memory {
        &self.0.memory
    }
}

#[derive(Debug)]
struct Registered {
    memory: Memory,
    /// Shared with the agent that has registered it.
    agent: Arc<CString>,
}

/// An agent of NIXL's: see [the module](super).
///
/// It may be moved between threads. Dropping it closes its connections; transfers in flight end with it, and memory is let go of after
/// that. It is better dropped when none is [in flight](Self::in_flight): UCX 1.23 may end the process of a peer that is answering a read
/// over TCP when the reader goes away.
#[derive(Debug)]
pub struct Agent {
    // The first, so that it is dropped before any memory is.
    session: Session,
    name: Arc<CString>,
    peers: BTreeMap<String, Peer>,
    /// In flight, or not given back by NIXL.
    transfers: Vec<Transfer>,
    registered: Vec<Arc<Registered>>,
    /// Named in a transfer that failed, or not given back by NIXL: kept as long as the session.
    doubtful: Vec<Arc<Registered>>,
    max_transfers: usize,
    next_id: u64,
    dropped: u64,
}

#[derive(Debug)]
struct Peer {
    name: CString,
    metadata: Metadata,
}

struct Transfer {
    id: TransferId,
    peer: String,
    /// `None` once it has been given back.
    request: Option<Request>,
    memory: Arc<Registered>,
    /// Whether its end has been told, or nobody wants to know.
    is_told: bool,
}

impl fmt::Debug for Transfer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} with {}", self.id, self.peer)
    }
}

impl Agent {
    pub(super) fn new(interface: Arc<Interface>, name: &str, settings: &AgentSettings) -> Result<Self> {
        let (name, backend) = (c_name(name, "an agent")?, c_name(&settings.backend, "a backend")?);
        let params = settings.params.iter();
        let params =
            params.map(|(key, value)| Ok((c_name(key, "a parameter")?, c_name(value, "a parameter's value")?)));
        let params = params.collect::<Result<Vec<_>>>()?;
        let params = params.iter().map(|(key, value)| (key.as_c_str(), value.as_c_str()));
        Ok(Self {
            session: Session::new(interface, &name, &backend, params)?,
            name: Arc::new(name),
            peers: BTreeMap::new(),
            transfers: Vec::new(),
            registered: Vec::new(),
            doubtful: Vec::new(),
            max_transfers: settings.max_transfers,
            next_id: 0,
            dropped: 0,
        })
    }

    /// Lets peers read and write `memory`, and transfers name it. Peers see it in the [`metadata`](Self::metadata) made after that.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Exhausted`] when [`MAX_REGISTRATIONS`] are registered; what NIXL says otherwise.
    pub fn register(&mut self, memory: Memory) -> Result<Registration> {
        if self.registered.len() >= MAX_REGISTRATIONS {
            let message = format!("{MAX_REGISTRATIONS} ranges of memory are registered: none may be added");
            return Err(Error::new(ErrorKind::Exhausted, message));
        }
        self.session.register(&memory)?;
        let registered = Arc::new(Registered { memory, agent: Arc::clone(&self.name) });
        self.registered.push(Arc::clone(&registered));
        Ok(Registration(registered))
    }

    /// How peers reach this agent and what it has registered, for their `add_remote_agent` or [`add_peer`](Self::add_peer).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Exhausted`] when it is longer than [`MAX_METADATA`](super::MAX_METADATA); what NIXL says otherwise.
    pub fn metadata(&self) -> Result<Metadata> {
        Metadata::of_nixl(self.session.metadata()?)
    }

    /// Makes a peer of this name known by its metadata, or takes newer metadata of one that is: it has registered more, or has been
    /// started anew. The metadata is kept, and a peer that NIXL loses is connected to again when it is next named.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when the name is none, or the metadata is another agent's or not what this NIXL takes;
    /// [`ErrorKind::Exhausted`] when [`MAX_PEERS`] are known, or the peer has to be connected to anew and transfers with it are in
    /// flight: when they have ended, it can be.
    pub fn add_peer(&mut self, name: &str, metadata: &Metadata) -> Result<()> {
        let c_name = c_name(name, "a peer")?;
        if !self.peers.contains_key(name) && self.peers.len() >= MAX_PEERS {
            return Err(Error::new(ErrorKind::Exhausted, format!("{MAX_PEERS} peers are known: none may be added")));
        }
        // Of a peer that goes on, NIXL takes what is new; of one that was started anew it refuses everything until the old is forgotten.
        if self.load(&c_name, metadata).is_err() {
            self.must_be_idle(name)?;
            self.session.forget(&c_name);
            self.load(&c_name, metadata)?;
        }
        self.peers.insert(name.to_owned(), Peer { name: c_name, metadata: metadata.clone() });
        Ok(())
    }

    /// Closes the connection to a peer and forgets it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Exhausted`] while transfers with it are in flight.
    pub fn remove_peer(&mut self, name: &str) -> Result<()> {
        self.must_be_idle(name)?;
        if let Some(peer) = self.peers.remove(name) {
            self.session.forget(&peer.name);
        }
        Ok(())
    }

    /// Reads a peer's memory into ours: every copy is from its memory to the registered one, and ends before `poll` says so. The peer
    /// gets `notification` then.
    ///
    /// Between processes of one host that see each other, NIXL copies here, and not while it is polled.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when the peer is not known, there are no copies or too many, one is empty or goes past the end of either
    /// memory, the memory is another agent's, or the peer has not registered its own; [`ErrorKind::Exhausted`] when too many are in
    /// flight; [`ErrorKind::Unavailable`] when the peer is not there. Once a peer was tried, an error means what it does in [`Event::Ended`].
    pub fn read(
        &mut self,
        from: &Remote<'_>,
        to: &Registration,
        copies: &[Copy],
        notification: Option<&[u8]>,
    ) -> Result<TransferId> {
        self.start(Direction::Read, to, from, copies, notification)
    }

    /// Writes our memory to a peer's: the other way round than [`read`](Self::read).
    ///
    /// # Errors
    ///
    /// Those of [`read`](Self::read).
    pub fn write(
        &mut self,
        from: &Registration,
        to: &Remote<'_>,
        copies: &[Copy],
        notification: Option<&[u8]>,
    ) -> Result<TransferId> {
        self.start(Direction::Write, from, to, copies, notification)
    }

    /// Lets a transfer end without an event. It is not stopped: what it writes to stays in use until it has ended.
    pub fn ignore(&mut self, id: TransferId) {
        if let Some(transfer) = self.transfers.iter_mut().find(|transfer| transfer.id == id) {
            transfer.is_told = true;
        }
    }

    /// How many transfers are in flight.
    pub fn in_flight(&self) -> usize {
        self.transfers.len()
    }

    /// Sends a peer a message by itself.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when the peer is not known or the message is longer than [`MAX_MESSAGE`]; [`ErrorKind::Unavailable`]
    /// when the peer is not there.
    pub fn notify(&mut self, peer: &str, message: &[u8]) -> Result<()> {
        short_enough(message)?;
        let name = self.connected(peer)?;
        self.session.notify(&name, message).map_err(|error| {
            self.give_up(peer, &name);
            lost(peer).with_source(error)
        })
    }

    /// Goes on with what is in flight, answers peers, and adds what has happened since to `events`.
    ///
    /// # Errors
    ///
    /// What NIXL says when it cannot take notifications; `events` holds the rest all the same.
    pub fn poll(&mut self, events: &mut Vec<Event>) -> Result<()> {
        let heard = self.hear(events);
        self.end(events);
        self.sweep();
        heard
    }

    /// How many notifications were dropped: too long, or from a peer whose name is no text.
    pub fn dropped_notifications(&self) -> u64 {
        self.dropped
    }

    fn start(
        &mut self,
        direction: Direction,
        ours: &Registration,
        theirs: &Remote<'_>,
        copies: &[Copy],
        notification: Option<&[u8]>,
    ) -> Result<TransferId> {
        notification.map_or(Ok(()), short_enough)?;
        if self.transfers.len() >= self.max_transfers {
            let message = format!("{} transfers are in flight: no more may be", self.max_transfers);
            return Err(Error::new(ErrorKind::Exhausted, message));
        }
        if !Arc::ptr_eq(&ours.0.agent, &self.name) {
            return Err(invalid("the memory is registered with another agent".to_owned()));
        }
        check(direction, ours.memory().len(), theirs, copies)?;

        let name = self.connected(theirs.peer)?;
        let request = self.prepare(direction, &ours.0.memory, theirs, &name, copies, notification)?;
        // SAFETY: every span of ours lies in `ours`, which `check` has seen to. The transfer keeps it until it is done; where it fails,
        // `doubtful` keeps it for as long as the session, which is dropped first.
        let progress = unsafe { self.session.post(&request) };
        let id = TransferId(self.next_id);
        self.next_id += 1;
        let peer = theirs.peer.to_owned();
        let mut transfer = Transfer { id, peer, request: Some(request), memory: Arc::clone(&ours.0), is_told: false };
        if let Progress::Failed(status) = progress {
            self.keep(&transfer.memory);
            transfer.is_told = true;
            self.release(&mut transfer);
            let was_lost = !self.session.knows(&name);
            if transfer.request.is_some() {
                self.transfers.push(transfer);
            }
            self.give_up(theirs.peer, &name);
            return Err(broken(theirs.peer, was_lost, status));
        }
        self.transfers.push(transfer);
        Ok(id)
    }

    /// The lists of a transfer, in NIXL's form.
    fn prepare(
        &self,
        direction: Direction,
        ours: &Memory,
        theirs: &Remote<'_>,
        peer: &CStr,
        copies: &[Copy],
        notification: Option<&[u8]>,
    ) -> Result<Request> {
        let mut our_spans = self.session.spans(ours.kind(), ours.device())?;
        let mut their_spans = self.session.spans(theirs.kind, theirs.device)?;
        for copy in copies {
            let (our_offset, their_offset) = match direction {
                Direction::Read => (copy.to, copy.from),
                Direction::Write => (copy.from, copy.to),
            };
            let len = copy.len as usize;
            our_spans.push((ours.address() + our_offset) as usize, len)?;
            their_spans.push((theirs.address + their_offset) as usize, len)?;
        }
        self.session.prepare(direction, &our_spans, peer, &their_spans, notification)
    }

    /// The peer's name, and NIXL knows it: from its metadata again, where it was lost.
    fn connected(&mut self, peer: &str) -> Result<CString> {
        let Some(Peer { name, metadata }) = self.peers.get(peer) else {
            return Err(invalid(format!("no peer is known as {peer:?}: expected one that was added")));
        };
        if !self.session.knows(name) {
            self.session.load(metadata).map_err(|error| lost(peer).with_source(error))?;
        }
        Ok(name.clone())
    }

    /// Gives metadata to NIXL, which must be of the agent `expected`.
    fn load(&mut self, expected: &CStr, metadata: &Metadata) -> Result<()> {
        let name = self.session.load(metadata).map_err(|error| {
            invalid(format!("{metadata:?}: expected that of {expected:?} as it is now")).with_source(error)
        })?;
        if name.as_c_str() == expected {
            return Ok(());
        }
        // Of a peer with transfers in flight nothing is taken back: what it named for itself is added to what it had.
        let is_busy = name.to_str().is_ok_and(|name| self.must_be_idle(name).is_err());
        if !is_busy {
            self.session.forget(&name);
        }
        Err(invalid(format!("{metadata:?}, of {name:?}: expected that of {expected:?}")))
    }

    fn must_be_idle(&self, peer: &str) -> Result<()> {
        match self.transfers.iter().filter(|transfer| transfer.peer == peer).count() {
            0 => Ok(()),
            busy => Err(Error::new(
                ErrorKind::Exhausted,
                format!("{busy} transfers with {peer:?} are in flight: expected none"),
            )),
        }
    }

    /// After something went wrong with a peer: the next call begins with a new connection, since a failed one stays so.
    fn give_up(&mut self, peer: &str, name: &CStr) {
        if self.must_be_idle(peer).is_ok() {
            self.session.forget(name);
        }
    }

    fn hear(&mut self, events: &mut Vec<Event>) -> Result<()> {
        let dropped = &mut self.dropped;
        self.session.hear(|peer, message| match peer.to_str() {
            Ok(peer) if message.len() <= MAX_MESSAGE => {
                events.push(Event::Notified { peer: peer.to_owned(), message: message.to_vec() });
            }
            _ => *dropped += 1,
        })
    }

    /// Asks about every transfer in flight, and takes out those that have ended.
    fn end(&mut self, events: &mut Vec<Event>) {
        let mut in_flight = std::mem::take(&mut self.transfers);
        let mut broken_peers = Vec::new();
        in_flight.retain_mut(|transfer| {
            let Some(request) = &transfer.request else { return false };
            let outcome = match self.session.progress(request) {
                Progress::InFlight => return true,
                Progress::Done => Ok(()),
                Progress::Failed(status) => {
                    let peer = self.peers.get(&transfer.peer);
                    let was_lost = peer.is_none_or(|peer| !self.session.knows(&peer.name));
                    self.keep(&transfer.memory);
                    broken_peers.push(transfer.peer.clone());
                    Err(broken(&transfer.peer, was_lost, status))
                }
            };
            self.release(transfer);
            if !std::mem::replace(&mut transfer.is_told, true) {
                events.push(Event::Ended { id: transfer.id, outcome });
            }
            transfer.request.is_some()
        });
        self.transfers = in_flight;
        for peer in broken_peers {
            if let Some(name) = self.peers.get(&peer).map(|peer| peer.name.clone()) {
                self.give_up(&peer, &name);
            }
        }
    }

    /// Gives a transfer back to NIXL; where it does not take it, it stays.
    fn release(&mut self, transfer: &mut Transfer) {
        transfer.request = transfer.request.take().and_then(|request| self.session.release(request).err());
    }

    /// Keeps memory as long as the session.
    fn keep(&mut self, memory: &Arc<Registered>) {
        if !self.doubtful.iter().any(|kept| Arc::ptr_eq(kept, memory)) {
            self.doubtful.push(Arc::clone(memory));
        }
    }

    /// Deregisters what nobody holds any more.
    fn sweep(&mut self) {
        let mut kept = std::mem::take(&mut self.registered);
        kept.retain(|registered| {
            if Arc::strong_count(registered) > 1 {
                return true;
            }
            if self.session.deregister(&registered.memory).is_err() {
                self.doubtful.push(Arc::clone(registered));
            }
            false
        });
        self.registered = kept;
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if !self.transfers.is_empty() {
            // Connections are closed before what runs over them is given back, so that UCX ends it in that order too.
            self.peers.values().for_each(|peer| self.session.forget(&peer.name));
            // Who notified us at last is of no interest any more.
            drop(self.session.hear(|_, _| {}));
        }
        for mut transfer in std::mem::take(&mut self.transfers) {
            self.release(&mut transfer);
            // Closing the session ends it, and the memory must be there until then.
            self.doubtful.push(transfer.memory);
        }
    }
}

fn c_name(name: &str, what: &str) -> Result<CString> {
    match CString::new(name) {
        Ok(c_name) if !name.is_empty() && name.len() <= MAX_NAME => Ok(c_name),
        _ => Err(invalid(format!("{name:?} as the name of {what}: expected 1 to {MAX_NAME} bytes without a zero"))),
    }
}

fn short_enough(message: &[u8]) -> Result<()> {
    if message.len() <= MAX_MESSAGE {
        return Ok(());
    }
    Err(invalid(format!("a notification of {} bytes: expected at most {MAX_MESSAGE}", message.len())))
}

/// Every copy has bytes and lies inside both memories.
fn check(direction: Direction, our_len: u64, theirs: &Remote<'_>, copies: &[Copy]) -> Result<()> {
    if copies.is_empty() || copies.len() > MAX_COPIES {
        return Err(invalid(format!("{} copies: expected 1 to {MAX_COPIES}", copies.len())));
    }
    if theirs.address.checked_add(theirs.len).is_none() {
        let Remote { address, len, .. } = theirs;
        return Err(invalid(format!(
            "{len} bytes at {address:#x} of a peer: expected an end of the address space after them"
        )));
    }
    let (from_len, to_len) = match direction {
        Direction::Read => (theirs.len, our_len),
        Direction::Write => (our_len, theirs.len),
    };
    let fits = |start: u64, len: u64, end: u64| start.checked_add(len).is_some_and(|last| last <= end);
    match copies
        .iter()
        .find(|copy| copy.len == 0 || !fits(copy.from, copy.len, from_len) || !fits(copy.to, copy.len, to_len))
    {
        None => Ok(()),
        Some(copy) => Err(invalid(format!("{copy:?}: expected some bytes within {from_len} there and {to_len} here"))),
    }
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::Invalid, message)
}

fn lost(peer: &str) -> Error {
    Error::new(ErrorKind::Unavailable, format!("the peer {peer:?} is not there"))
}

fn broken(peer: &str, was_lost: bool, status: impl fmt::Display) -> Error {
    if was_lost {
        lost(peer)
    } else {
        Error::new(ErrorKind::Unavailable, format!("NIXL's transfer with {peer:?} failed: {status}"))
    }
}
