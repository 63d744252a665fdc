//! Between agents of one machine, by memory that both have mapped: across PID, IPC and network namespaces, as long as they see
//! the same folder.
//!
//! The side that reads connects to a Unix socket and is given the pool's memory to map, read only, with its seals and the board of
//! leases. From then on it copies by itself: it looks on the board before and after, and takes the sum of what it copied. What it
//! has to say (that it has what it needs, that a lease is still wanted) goes through a ring in shared memory.
//!
//! Memory that cannot be mapped, an engine's own or a file that anybody can cut off, goes by one of two other ways, which the side
//! that reads chooses and tells who asks:
//!
//! - `cma`: it reads the other process's memory by its address (`process_vm_readv`), where both are of one PID namespace and the
//!   system allows it. Number and addresses are told over the socket alone, once the two know each other, with a random word that
//!   every read reads too: it proves that it is the right process.
//! - `staged`: it asks through the ring for blocks to be copied into slots of memory that it made, is answered through another,
//!   and copies from there. The side that serves checks every request.

mod client;
mod line;
mod message;
mod peer;
mod populate;
mod ring;
mod serving;
mod socket;
mod staging;

use std::collections::HashMap;
use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use llmd_core::{Error, ErrorKind, Result};

use self::client::{Client, Serves};
use self::peer::{Begins, Peer, Reads};
use self::populate::Populate;
use self::socket::Listener;
use self::staging::StagedJob;
use super::job::{self, Inbox};
use super::left_alone::LeftAlone;
use super::local::not_started;
use super::poller::Poller;
use super::target::Target;
use super::{Cost, Ending, Home, Note, Transfer, TransferId, Transport, Trust, Way, bell};
use crate::device::Device;
use crate::folder;
use crate::grant::Grant;
use crate::pool::Pool;
use crate::region::Known;

/// The same message written again, if these bytes are one.
#[cfg(any(test, feature = "testing"))]
pub(crate) fn message_again(bytes: &[u8]) -> Option<Vec<u8>> {
    message::Message::decode(bytes).ok().map(|message| message.encode())
}

/// Between agents of one machine, by shared memory.
///
/// Its socket lies in a folder that both see: by default one of the user's own below the system's folder for temporary files. In
/// containers it is a volume that they share, [named](Self::in_folder).
#[derive(Debug, Default)]
pub struct Shm {
    folder: Option<PathBuf>,
    has_no_cma: bool,
    /// What imports memory that peers export, where that is all that is moved.
    device: Option<Arc<dyn Device>>,
    started: Option<Started>,
}

#[derive(Debug)]
struct Started {
    home: Arc<Home>,
    /// In which it was started: the socket is not a forked child's to remove.
    process: u32,
    path: PathBuf,
    listener: Listener,
    poller: Poller,
    /// Wakes us for what is in a ring; peers have it.
    doorbell: OwnedFd,
    /// What processes that read our memory know us by.
    known: Known,
    /// What grants call it.
    name: &'static str,
    /// By what peers' memory is reached that is not mapped.
    by: Reads,
    clients: HashMap<u64, Client>,
    peers: HashMap<Target, Peer>,
    peer_tokens: HashMap<u64, Target>,
    /// Those that could not be reached, until when they are left alone, and why.
    left_alone: LeftAlone<Target>,
    next_token: u64,
    /// Whether nobody looks by itself, so that rings have to wake us.
    is_asleep: bool,
    /// When it was last looked for what came over sockets.
    heard_at: Duration,
    inbox: Arc<Inbox>,
    jobs: HashMap<TransferId, Job>,
    endings: Vec<Ending>,
}

/// A transfer under way.
#[derive(Debug)]
enum Job {
    /// Of what lies at this place.
    Copy(Target, Arc<dyn job::Job>),
    Staged(Arc<StagedJob>),
}

const LISTENER: u64 = 0;
const DOORBELL: u64 = 1;
const FIRST_TOKEN: u64 = 2;

/// How many peers are served at once, and how many are read from.
const MAX_PEERS: usize = 4096;
/// How often sockets are looked at by one who spins: it takes a call of the system.
const OFTEN: Duration = Duration::from_micros(10);
/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(5);

impl Shm {
    /// With its socket in this folder, which is made for this user alone if it is not there.
    pub fn in_folder(folder: impl Into<PathBuf>) -> Self {
        Self { folder: Some(folder.into()), ..Self::default() }
    }

    /// Without reading other processes' memory by its address: what cannot be mapped is copied by the side that serves it.
    #[must_use]
    pub fn without_cma(self) -> Self {
        Self { has_no_cma: true, ..self }
    }

    pub(super) fn with_folder(self, folder: PathBuf) -> Self {
        Self { folder: Some(folder), ..self }
    }

    /// Nothing but memory of devices, which this one imports.
    pub(super) fn importing(device: Arc<dyn Device>) -> Self {
        Self { device: Some(device), ..Self::default() }
    }

    fn started(&mut self) -> Result<&mut Started> {
        self.started.as_mut().ok_or_else(not_started)
    }
}

impl Transport for Shm {
    fn name(&self) -> &'static str {
        if self.device.is_some() { "cuda_ipc" } else { "shm" }
    }

    fn trust(&self) -> Trust {
        Trust::Trusting
    }

    fn start(&mut self, home: &Arc<Home>) -> Result<()> {
        let folder = self.folder.clone().unwrap_or_else(folder::of_user);
        folder::prepare(&folder)?;
        let engine = self.device.as_ref().map(|device| home.engine(device)).transpose()?;
        let what = if engine.is_some() { folder::IPC } else { "" };
        let path = folder.join(format!("{}{what}{}", home.agent(), folder::SOCKET));
        let listener = folder::listen_at(&path, Listener::bind)?;
        let (poller, doorbell) = (Poller::new()?, bell::new_eventfd()?);
        poller.add(listener.as_fd(), LISTENER)?;
        poller.add(doorbell.as_fd(), DOORBELL)?;
        self.started = Some(Started {
            home: Arc::clone(home),
            process: std::process::id(),
            path,
            listener,
            poller,
            doorbell,
            known: Known::new()?,
            name: self.name(),
            by: Reads { may_cma: !self.has_no_cma, engine },
            clients: HashMap::new(),
            peers: HashMap::new(),
            peer_tokens: HashMap::new(),
            left_alone: LeftAlone::new(MAX_PEERS, &home.counts.forgotten_peers),
            next_token: FIRST_TOKEN,
            is_asleep: false,
            heard_at: Duration::ZERO,
            inbox: Inbox::new(),
            jobs: HashMap::new(),
            endings: Vec::new(),
        });
        Ok(())
    }

    fn address(&self) -> Option<String> {
        self.started.as_ref().map(|started| started.path.display().to_string())
    }

    fn register(&mut self, pool: &Pool) -> Result<()> {
        if self.device.is_none() {
            return Ok(());
        }
        let there = pool.region().device();
        if there.is_some_and(|there| there.device().abilities().ipc) {
            return Ok(());
        }
        let message = format!("pool {}, expected one in a device whose memory other processes can import", pool.id());
        Err(Error::new(ErrorKind::Unsupported, message))
    }

    fn unregister(&mut self, pool: &Pool) {
        let Some(started) = &mut self.started else { return };
        started.peers.values_mut().for_each(|peer| peer.forget(pool.id()));
    }

    fn reach(&self, grant: &Grant, _pool: &Pool) -> Result<Cost> {
        let started = self.started.as_ref().ok_or_else(not_started)?;
        let unavailable = |why: String| Error::new(ErrorKind::Unavailable, why);
        let address = grant.address(self.name()).ok_or_else(|| unavailable("the grant names no socket".into()))?;
        // Until it is known how it is reached.
        let way = if self.device.is_some() { Way::Ipc } else { Way::Mapped };
        let cost = Cost { way: "", ..way.cost() };
        let target = Target::of(grant, self.name());
        if let Some(peer) = started.peers.get(&target) {
            return Ok(peer.cost(grant.pool()).unwrap_or(cost));
        }
        started.left_alone.check(started.home.now(), &target)?;
        if !Path::new(address).exists() {
            return Err(unavailable(format!("{address} is not there: the two see different folders, or it is gone")));
        }
        Ok(cost)
    }

    fn post(&mut self, now: Duration, transfer: Transfer) -> Result<Option<Ending>> {
        let started = self.started()?;
        let peer = started.peer(now, &transfer.grant)?;
        let id = transfer.id;
        let Some((transfer, source)) = peer.ready(transfer)? else { return Ok(None) };
        match source {
            Ok(begins) => started.begin(id, transfer, begins),
            Err(ending) => Ok(Some(ending)),
        }
    }

    fn cancel(&mut self, transfer: TransferId) {
        let Some(started) = &mut self.started else { return };
        match started.jobs.get(&transfer) {
            Some(Job::Copy(_, job)) => job.cancel(),
            Some(Job::Staged(job)) => job.cancel(),
            None => {}
        }
        for peer in started.peers.values_mut() {
            started.endings.extend(peer.cancel(transfer));
        }
    }

    fn tell(&mut self, now: Duration, grant: &Grant, note: Note) -> Result<()> {
        self.started()?.peer(now, grant)?.tell(note)
    }

    fn poll(&mut self, now: Duration, ended: &mut Vec<Ending>) -> bool {
        let Some(started) = &mut self.started else { return false };
        let mut is_any = started.take_notes();
        is_any |= started.take_answers(now);
        if now.saturating_sub(started.heard_at) >= OFTEN {
            started.heard_at = now;
            let is_heard = started.hear(now);
            if is_heard {
                started.stay_asleep();
            }
            is_any |= is_heard;
            started.give_up(now);
        }
        let known = ended.len();
        is_any |= started.inbox.take(ended);
        for ending in &ended[known..] {
            started.jobs.remove(&ending.id);
        }
        is_any |= !started.endings.is_empty();
        ended.append(&mut started.endings);
        is_any
    }

    fn sleep(&mut self) -> bool {
        let Some(started) = &mut self.started else { return true };
        started.is_asleep = started.inbox.is_empty() && started.endings.is_empty() && started.are_rings_asleep();
        let may = started.is_asleep;
        if !may {
            self.awake();
        }
        may
    }

    fn awake(&mut self) {
        let Some(started) = &mut self.started else { return };
        started.is_asleep = false;
        started.clients.values().for_each(Client::awake);
        started.peers.values().for_each(Peer::awake);
    }

    fn next_deadline(&self) -> Option<Duration> {
        let started = self.started.as_ref()?;
        let peers = started.peers.values().flat_map(|peer| [peer.deadline(), peer.retry()]).flatten();
        peers.chain(started.clients.values().filter_map(Client::deadline)).min()
    }

    fn wake_fd(&self) -> Option<BorrowedFd<'_>> {
        self.started.as_ref().map(|started| started.poller.as_fd())
    }

    fn peers(&self) -> usize {
        self.started.as_ref().map_or(0, |started| started.peers.len() + started.clients.len())
    }
}

impl Started {
    /// Has the other side of each ring wake us; `false` when there is something in one.
    fn are_rings_asleep(&self) -> bool {
        self.clients.values().all(Client::sleep) && self.peers.values().all(Peer::sleep)
    }

    /// A ring may have come while the agent's thread sleeps, by whoever polls besides: its other side has to wake that thread too.
    fn stay_asleep(&self) {
        if self.is_asleep && !self.are_rings_asleep() {
            self.home.bell.ring();
        }
    }

    /// The one that granted, connected with or about to be.
    fn peer(&mut self, now: Duration, grant: &Grant) -> Result<&mut Peer> {
        let target = Target::of(grant, self.name);
        if !self.peers.contains_key(&target) {
            self.connect(now, grant, target)?;
        }
        let peer = self.peers.get_mut(&target);
        peer.ok_or_else(|| Error::new(ErrorKind::Internal, "a peer is gone that was there"))
    }

    fn connect(&mut self, now: Duration, grant: &Grant, target: Target) -> Result<()> {
        if self.peers.len() >= MAX_PEERS {
            let message = format!("{MAX_PEERS} peers are read from by shared memory, expected less");
            return Err(Error::new(ErrorKind::Exhausted, message));
        }
        self.left_alone.check(now, &target)?;
        let path = grant.address(self.name);
        let path = path.ok_or_else(|| Error::new(ErrorKind::Unavailable, "the grant names no socket"))?;
        let token = self.token();
        let peer = Peer::connect(&self.home, now + HANDSHAKE, Path::new(path), target.agent, self.by.clone())
            .inspect_err(|error| self.left_alone.remember(now, target, error))?;
        self.poller.add(peer.as_fd(), token)?;
        self.peer_tokens.insert(token, target);
        self.peers.insert(target, peer);
        self.stay_asleep();
        Ok(())
    }

    fn token(&mut self) -> u64 {
        self.next_token += 1;
        self.next_token
    }

    /// What came over sockets.
    fn hear(&mut self, now: Duration) -> bool {
        let ready = self.poller.ready();
        for &token in &ready {
            match token {
                LISTENER => self.let_in(now),
                DOORBELL => bell::quiet(self.doorbell.as_fd()),
                token if self.clients.contains_key(&token) => self.hear_client(token),
                token => self.hear_peer(now, token),
            }
        }
        !ready.is_empty()
    }

    fn let_in(&mut self, now: Duration) {
        while let Ok(Some(socket)) = self.listener.accept() {
            if self.clients.len() >= MAX_PEERS {
                self.home.counts.refused_peers.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            let token = self.token();
            if self.poller.add(socket.as_fd(), token).is_ok() {
                self.clients.insert(token, Client::new(socket, now + HANDSHAKE));
            }
        }
    }

    fn hear_client(&mut self, token: u64) {
        let Some(client) = self.clients.get_mut(&token) else { return };
        let by = Serves { doorbell: self.doorbell.as_fd(), known: &self.known, exports: self.by.engine.is_some() };
        if client.hear(&self.home, &by).is_err() {
            self.home.counts.refused_peers.fetch_add(1, Ordering::Relaxed);
            self.clients.remove(&token);
        } else if client.is_gone() {
            // It is gone: what it wrote wrongly at last is nobody's matter any more.
            let _taken = client.take_notes(&self.home);
            self.clients.remove(&token);
        }
    }

    fn hear_peer(&mut self, now: Duration, token: u64) {
        let Some(&target) = self.peer_tokens.get(&token) else { return };
        let Some(peer) = self.peers.get_mut(&target) else { return };
        match peer.hear(self.doorbell.as_fd()) {
            Ok(begun) => {
                if peer.is_ready() {
                    self.left_alone.forget(&target);
                }
                let mapped = peer.newly_mapped();
                for (transfer, begins) in begun {
                    self.begin_late(transfer, begins);
                }
                for mapping in &mapped {
                    // Without it the first fetches take longer.
                    let _submitted = self.home.copiers.submit(Populate::new(mapping));
                }
            }
            Err(error) => self.lose(now, target, &error),
        }
    }

    /// Begins a transfer; it is over at once when it is small.
    fn begin(&mut self, id: TransferId, transfer: Transfer, begins: Begins) -> Result<Option<Ending>> {
        match begins {
            Begins::Copy(source) => {
                let target = Target::of(&transfer.grant, self.name);
                let (ending, job) = job::begin(&self.home, &self.inbox, transfer, source)?;
                self.jobs.extend(job.map(|job| (id, Job::Copy(target, job))));
                Ok(ending)
            }
            Begins::Staged(source) => {
                let staging = Arc::clone(&source.staging);
                let job = staging.begin(&self.home, &self.inbox, transfer, source)?;
                self.jobs.insert(id, Job::Staged(job));
                Ok(None)
            }
        }
    }

    /// A transfer that waited until it was known how its pool is reached.
    fn begin_late(&mut self, transfer: Transfer, begins: Result<Begins, Ending>) {
        let (id, blocks) = (transfer.id, transfer.blocks.len());
        let begun = match begins {
            Ok(begins) => self.begin(id, transfer, begins),
            Err(ending) => Ok(Some(ending)),
        };
        let ending = begun.unwrap_or_else(|error| {
            Some(Ending::failed(id, blocks, super::outcome_of(error.kind()), error.to_string()))
        });
        self.endings.extend(ending);
    }

    fn lose(&mut self, now: Duration, target: Target, error: &Error) {
        let Some(peer) = self.peers.remove(&target) else { return };
        self.peer_tokens.retain(|_, there| *there != target);
        self.left_alone.remember(now, target, error);
        self.endings.extend(peer.end(error));
        for job in self.jobs.values() {
            if let Job::Copy(from, job) = job
                && *from == target
            {
                job.lose_peer();
            }
        }
    }

    /// What clients pushed into their rings.
    fn take_notes(&mut self) -> bool {
        let (mut is_any, mut broken) = (false, Vec::new());
        for (&token, client) in &mut self.clients {
            match client.take_notes(&self.home) {
                Ok(count) => is_any |= count > 0,
                Err(_) => broken.push(token),
            }
        }
        for token in broken {
            self.home.counts.malformed.fetch_add(1, Ordering::Relaxed);
            self.clients.remove(&token);
        }
        is_any
    }

    /// What peers answered.
    fn take_answers(&mut self, now: Duration) -> bool {
        let (mut is_any, mut broken) = (false, Vec::new());
        for (&target, peer) in &mut self.peers {
            match peer.take_answers(&self.home, now) {
                Ok(count) => is_any |= count > 0,
                Err(error) => {
                    let lost = Error::new(ErrorKind::Unavailable, format!("agent {target}: {error}"));
                    broken.push((target, lost.with_source(error)));
                }
            }
        }
        for (target, error) in broken {
            self.home.counts.malformed.fetch_add(1, Ordering::Relaxed);
            self.lose(now, target, &error);
        }
        is_any
    }

    /// Ends those of which the handshake takes too long.
    fn give_up(&mut self, now: Duration) {
        self.clients.retain(|_, client| client.deadline().is_none_or(|deadline| now < deadline));
        let late = self.peers.iter().find(|(_, peer)| peer.deadline().is_some_and(|deadline| now >= deadline));
        if let Some(target) = late.map(|(target, _)| *target) {
            let error = Error::new(ErrorKind::Unavailable, format!("agent {target} did not answer in {HANDSHAKE:?}"));
            self.lose(now, target, &error);
        }
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if self.process == std::process::id() {
            // Whoever removed it already wanted it gone too.
            let _removed = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests;
