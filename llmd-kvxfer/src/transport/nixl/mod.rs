//! By NIXL's own library: over InfiniBand, NVLink and EFA, and whatever else UCX finds.
//!
//! Two agents first say over a connection of TCP who they are, that they may, which NIXL they have, and where the pools lie, with
//! their seals and the board of leases. From then on the side that reads does it by NIXL alone:
//!
//! ```text
//! the lease's words and the seals ──▶ a slot     does the lease hold?
//! the bytes of the blocks         ──▶ a slot
//! the lease's words and the seals ──▶ a slot     did it hold all the time? what should the blocks add up to?
//! a slot                          ──▶ the pool   copied by plan, held against the sums
//! ```
//!
//! A slot is memory of our own: see [`reads`]. What is said of a lease goes over the connection.

mod client;
mod known;
mod lent;
mod link;
mod message;
mod pace;
mod peer;
mod reads;
mod slot;
mod version;

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use llmd_core::{Error, ErrorKind, Result};

use self::client::Client;
use self::lent::Lent;
use self::link::Link;
use self::peer::{Peer, Said};
use self::reads::Reads;
use self::slot::{Slots, blocks_of_period};
use super::left_alone::LeftAlone;
use super::local::{not_started, refused};
use super::poller::Poller;
use super::target::Target;
use super::{Cost, Ending, Home, Note, Transfer, TransferId, Transport, Trust, outcome_of};
use crate::grant::Grant;
use crate::nixl::{AgentSettings, Nixl};
use crate::outcome::Outcome;
use crate::pool::Pool;

/// Between agents of one tenant, by NIXL's own library, which is loaded when the agent is built: over InfiniBand, NVLink, EFA and
/// whatever else it finds. Without the library the agent is not built, and says where it was looked for.
///
/// It listens on a port of TCP: of this machine alone, unless [an address](Self::listening_at) is given that others reach. Who
/// connects there proves that it has the tenant's key, and everything after that is signed by it. **Without a key the network must
/// be trusted**: NIXL believes what it is told of a peer, and may crash on what somebody made up. NIXL's own ports are open to
/// whoever reaches them, key or not, so that they too belong into a network where only peers are.
///
/// Both sides must have the same version of NIXL, and refuse each other by name when they have not. Blocks arrive in memory of the
/// transport first and are copied from there: 64 MiB of it, [if not said otherwise](Self::slots). What NIXL writes late, after a
/// read has failed, is written there and not over what an engine has put in its blocks since.
///
/// It takes pools in the host's memory that may be written.
#[derive(Debug)]
pub struct NixlTransport {
    library: Option<PathBuf>,
    version: Option<String>,
    listening_at: SocketAddr,
    reached_at: Option<SocketAddr>,
    settings: AgentSettings,
    slots: usize,
    slot_bytes: u64,
    started: Option<Started>,
}

impl Default for NixlTransport {
    fn default() -> Self {
        Self {
            library: None,
            version: None,
            listening_at: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            reached_at: None,
            settings: AgentSettings::default(),
            slots: 8,
            slot_bytes: 8 << 20,
            started: None,
        }
    }
}

#[derive(Debug)]
struct Started {
    home: Arc<Home>,
    version: String,
    listener: TcpListener,
    address: SocketAddr,
    poller: Poller,
    lent: Lent,
    reads: Reads,
    clients: HashMap<u64, Client>,
    peers: HashMap<Target, Peer>,
    peer_tokens: HashMap<u64, Target>,
    /// Pools that a peer wants nobody to read any more, and that NIXL may still be reading.
    leaving: Vec<(Target, u32)>,
    /// Those that could not be reached, until when they are left alone, and why.
    left_alone: LeftAlone<Target>,
    next_token: u64,
    /// When connections are tried again that did not take what they were sent.
    flush_at: Option<Duration>,
    slot_bytes: u64,
    endings: Vec<Ending>,
}

const NAME: &str = "nixl";
const LISTENER: u64 = 0;

/// How many peers are served at once, and how many are read from.
const MAX_PEERS: usize = 4096;
/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// How often a connection is tried again that does not take what it is sent.
const FLUSH_EVERY: Duration = Duration::from_millis(1);

impl NixlTransport {
    /// With the library at this path, or in this folder: see [`Nixl::load`].
    #[must_use]
    pub fn library(self, path: impl Into<PathBuf>) -> Self {
        Self { library: Some(path.into()), ..self }
    }

    /// Says which version of NIXL the library is, where that does not show: by itself it is the version of the wheel that the
    /// library came in, or what the library's bytes add up to. Agents that say the same read each other.
    #[must_use]
    pub fn version(self, version: impl Into<String>) -> Self {
        Self { version: Some(version.into()), ..self }
    }

    /// Listens here for peers; with port 0 at one that is free.
    #[must_use]
    pub fn listening_at(self, address: SocketAddr) -> Self {
        Self { listening_at: address, ..self }
    }

    /// Tells peers that it is reached here, where that is another address than the one that it listens at.
    #[must_use]
    pub fn reached_at(self, address: SocketAddr) -> Self {
        Self { reached_at: Some(address), ..self }
    }

    /// What NIXL is told: its backend and parameters.
    #[must_use]
    pub fn settings(self, settings: AgentSettings) -> Self {
        Self { settings, ..self }
    }

    /// Has so many slots of so many bytes each, into which blocks are read first. The default is 8 of 8 MiB: blocks that are larger
    /// need larger slots.
    #[must_use]
    pub fn slots(self, slots: usize, bytes: u64) -> Self {
        Self { slots, slot_bytes: bytes, ..self }
    }

    fn started(&mut self) -> Result<&mut Started> {
        self.started.as_mut().ok_or_else(not_started)
    }

    fn listen(&self) -> Result<(TcpListener, SocketAddr)> {
        let refused = |cause: std::io::Error| {
            let message = format!("{}, expected an address to listen at: {cause}", self.listening_at);
            Error::new(ErrorKind::Unavailable, message).with_source(cause)
        };
        let listener = TcpListener::bind(self.listening_at).map_err(refused)?;
        listener.set_nonblocking(true).map_err(refused)?;
        let bound = listener.local_addr().map_err(refused)?;
        let reached =
            self.reached_at.map(|at| if at.port() == 0 { SocketAddr::new(at.ip(), bound.port()) } else { at });
        let address = reached.unwrap_or(bound);
        if address.ip().is_unspecified() {
            let message = format!("{address} in grants, expected an address at which peers reach this agent");
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        Ok((listener, address))
    }
}

impl Transport for NixlTransport {
    fn name(&self) -> &'static str {
        NAME
    }

    fn trust(&self) -> Trust {
        Trust::Trusting
    }

    fn start(&mut self, home: &Arc<Home>) -> Result<()> {
        let nixl = Nixl::load(self.library.as_deref())?;
        let version = match &self.version {
            Some(version) => version::named(version)?,
            None => version::of_library(nixl.path())?,
        };
        let (listener, address) = self.listen()?;
        let poller = Poller::new()?;
        poller.add(listener.as_fd(), LISTENER)?;
        let lent = Lent::new(&nixl, &self.settings, home)?;
        let name = format!("{}-reads", lent::name_of(home.agent()));
        let mut slots = Slots::new(nixl, self.settings.clone(), name, self.slots, self.slot_bytes)?;
        slots.agent()?;
        self.started = Some(Started {
            home: Arc::clone(home),
            version,
            listener,
            address,
            poller,
            lent,
            reads: Reads::new(home, slots),
            clients: HashMap::new(),
            peers: HashMap::new(),
            peer_tokens: HashMap::new(),
            leaving: Vec::new(),
            left_alone: LeftAlone::new(MAX_PEERS, &home.counts.forgotten_peers),
            next_token: LISTENER,
            flush_at: None,
            slot_bytes: self.slot_bytes,
            endings: Vec::new(),
        });
        Ok(())
    }

    fn address(&self) -> Option<String> {
        self.started.as_ref().map(|started| started.address.to_string())
    }

    fn register(&mut self, pool: &Pool) -> Result<()> {
        self.started()?.lent.register(pool)
    }

    fn unregister(&mut self, pool: &Pool) {
        let Some(started) = &mut self.started else { return };
        started.reads.unregister(pool.id());
        for client in started.lent.unregister(pool.id()) {
            if started.clients.get_mut(&client).is_some_and(|client| client.leave(pool.id()).is_err()) {
                started.drop_client(client);
            }
        }
    }

    fn reach(&self, grant: &Grant, pool: &Pool) -> Result<Cost> {
        let started = self.started.as_ref().ok_or_else(not_started)?;
        address_in(grant)?;
        let together = blocks_of_period(grant.layout(), pool.layout()).saturating_mul(grant.layout().block_bytes());
        if together > started.slot_bytes {
            let message =
                format!("{together} bytes that go together, expected at most a slot's {}", started.slot_bytes);
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        let target = Target::of(grant, NAME);
        if !started.peers.contains_key(&target) {
            started.left_alone.check(started.home.now(), &target)?;
        }
        Ok(Cost::new(Duration::from_micros(50), 4e9))
    }

    fn post(&mut self, now: Duration, transfer: Transfer) -> Result<Option<Ending>> {
        let started = self.started()?;
        let target = Target::of(&transfer.grant, NAME);
        let peer = started.peer(now, &transfer.grant, target)?;
        let ending = match peer.theirs(transfer.grant.pool()) {
            None => {
                peer.wait(transfer)?;
                None
            }
            Some(Err(error)) => Some(refused(&transfer, &error)),
            Some(Ok(theirs)) => {
                peer.reading(now)?;
                started.reads.begin(now, target, transfer, theirs)?
            }
        };
        // The agent's thread may sleep until later than there is something to do now.
        started.home.bell.ring();
        Ok(ending)
    }

    fn cancel(&mut self, transfer: TransferId) {
        let Some(started) = &mut self.started else { return };
        started.reads.cancel(transfer);
        let waited = started.peers.values_mut().find_map(|peer| peer.cancel(transfer));
        started.endings.extend(waited.map(|waited| {
            Ending::failed(transfer, waited.blocks.len(), Outcome::Cancelled, "its peer had not answered")
        }));
    }

    fn tell(&mut self, now: Duration, grant: &Grant, note: Note) -> Result<()> {
        let started = self.started()?;
        started.peer(now, grant, Target::of(grant, NAME))?.tell(note)?;
        started.home.bell.ring();
        Ok(())
    }

    fn poll(&mut self, now: Duration, ended: &mut Vec<Ending>) -> bool {
        let Some(started) = &mut self.started else { return false };
        let mut is_any = started.hear(now);
        started.give_up(now);
        is_any |= started.read(now, ended);
        started.lent.poll(now);
        started.flush(now);
        is_any |= !started.endings.is_empty();
        ended.append(&mut started.endings);
        is_any
    }

    fn sleep(&mut self) -> bool {
        self.started.as_ref().is_none_or(|started| started.reads.is_quiet() && started.endings.is_empty())
    }

    fn next_deadline(&self) -> Option<Duration> {
        let started = self.started.as_ref()?;
        let handshakes = started.peers.values().filter_map(Peer::deadline);
        let handshakes = handshakes.chain(started.clients.values().filter_map(Client::deadline));
        let ours = [started.reads.next_deadline(), started.lent.next_deadline(), started.flush_at];
        handshakes.chain(ours.into_iter().flatten()).min()
    }

    fn wake_fd(&self) -> Option<BorrowedFd<'_>> {
        self.started.as_ref().map(|started| started.poller.as_fd())
    }

    fn peers(&self) -> usize {
        self.started.as_ref().map_or(0, |started| started.peers.len() + started.clients.len())
    }
}

/// Where a grant says that its agent is reached.
fn address_in(grant: &Grant) -> Result<SocketAddr> {
    let place = grant.address(NAME);
    let place = place.ok_or_else(|| Error::new(ErrorKind::Unavailable, "the grant names no address of NIXL's"))?;
    place.parse().map_err(|_| {
        Error::new(ErrorKind::Unavailable, format!("`{place}` in the grant, expected an address with a port"))
    })
}

impl Started {
    /// The one that granted, connected with or about to be.
    fn peer(&mut self, now: Duration, grant: &Grant, target: Target) -> Result<&mut Peer> {
        if !self.peers.contains_key(&target) {
            self.connect(now, grant, target)?;
        }
        let peer = self.peers.get_mut(&target);
        peer.ok_or_else(|| Error::new(ErrorKind::Internal, "a peer is gone that was there"))
    }

    fn connect(&mut self, now: Duration, grant: &Grant, target: Target) -> Result<()> {
        if self.peers.len() >= MAX_PEERS {
            return Err(Error::new(
                ErrorKind::Exhausted,
                format!("{MAX_PEERS} peers are read from by NIXL, expected less"),
            ));
        }
        self.left_alone.check(now, &target)?;
        let to = address_in(grant)?;
        let token = self.token();
        let peer = Peer::connect(&self.home, now + HANDSHAKE, to, target.agent)
            .inspect_err(|error| self.left_alone.remember(now, target, error))?;
        self.poller.add(peer.as_fd(), token)?;
        self.peer_tokens.insert(token, target);
        self.peers.insert(target, peer);
        Ok(())
    }

    fn token(&mut self) -> u64 {
        self.next_token += 1;
        self.next_token
    }

    /// What came over connections.
    fn hear(&mut self, now: Duration) -> bool {
        let ready = self.poller.ready();
        for &token in &ready {
            match token {
                LISTENER => self.let_in(now),
                token if self.clients.contains_key(&token) => self.hear_client(now, token),
                token => self.hear_peer(now, token),
            }
        }
        !ready.is_empty()
    }

    fn let_in(&mut self, now: Duration) {
        while let Ok(Some(link)) = Link::accept(&self.listener) {
            if self.clients.len() >= MAX_PEERS {
                self.home.counts.refused_peers.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            let token = self.token();
            if self.poller.add(link.as_fd(), token).is_ok() {
                self.clients.insert(token, Client::new(link, token, now + HANDSHAKE));
            }
        }
    }

    fn hear_client(&mut self, now: Duration, token: u64) {
        let Some(client) = self.clients.get_mut(&token) else { return };
        if let Err(error) = client.hear(now, &self.home, &self.version, &mut self.lent) {
            let counts = &self.home.counts;
            let count = if error.kind() == ErrorKind::Corrupt { &counts.malformed } else { &counts.refused_peers };
            count.fetch_add(1, Ordering::Relaxed);
            self.drop_client(token);
        } else if client.is_gone() {
            self.drop_client(token);
        }
    }

    fn drop_client(&mut self, token: u64) {
        self.clients.remove(&token);
        self.lent.gone(token);
    }

    fn hear_peer(&mut self, now: Duration, token: u64) {
        let Some(&target) = self.peer_tokens.get(&token) else { return };
        let Some(peer) = self.peers.get_mut(&target) else { return };
        let said = match peer.hear(&self.version) {
            Ok(said) => said,
            Err(error) => return self.lose(now, target, &error),
        };
        if peer.is_met() {
            self.left_alone.forget(&target);
        }
        for said in said {
            match said {
                Said::Found { metadata, theirs } => {
                    let pool = theirs.pool;
                    let known = self.reads.know(target, metadata).map(|()| theirs);
                    if let Some(peer) = self.peers.get_mut(&target) {
                        peer.found(known, pool);
                    }
                }
                Said::NotFound => {}
                Said::Leave { pool } => {
                    self.reads.leave(target, pool);
                    self.leaving.push((target, pool));
                }
            }
        }
        self.begin_waiting(now, target);
    }

    /// Those that waited for their pools.
    fn begin_waiting(&mut self, now: Duration, target: Target) {
        let Some(peer) = self.peers.get_mut(&target) else { return };
        let mut lost = None;
        for transfer in peer.take_waiting() {
            let (id, blocks) = (transfer.id, transfer.blocks.len());
            let begun = match peer.theirs(transfer.grant.pool()) {
                Some(Ok(theirs)) => match peer.reading(now) {
                    Ok(()) => self.reads.begin(now, target, transfer, theirs),
                    Err(error) => {
                        let ending = refused(&transfer, &error);
                        lost = Some(error);
                        Ok(Some(ending))
                    }
                },
                Some(Err(error)) => Ok(Some(refused(&transfer, &error))),
                None => peer.wait(transfer).map(|()| None),
            };
            let failed = |error: Error| Some(Ending::failed(id, blocks, outcome_of(error.kind()), error.to_string()));
            self.endings.extend(begun.unwrap_or_else(failed));
        }
        if let Some(error) = lost {
            self.lose(now, target, &error);
        }
    }

    fn lose(&mut self, now: Duration, target: Target, error: &Error) {
        self.reads.lose(target, error);
        self.leaving.retain(|(there, _)| *there != target);
        let Some(mut peer) = self.peers.remove(&target) else { return };
        self.peer_tokens.retain(|_, there| *there != target);
        self.left_alone.remember(now, target, error);
        let waited = peer.take_waiting();
        self.endings.extend(waited.iter().map(|transfer| refused(transfer, error)));
    }

    /// Goes on with reads, and has the peers answer that are read from.
    fn read(&mut self, now: Duration, ended: &mut Vec<Ending>) -> bool {
        let mut failed = Vec::new();
        let is_any = self.reads.poll(now, ended, &mut failed);
        for target in self.reads.read_from() {
            let Some(peer) = self.peers.get_mut(&target) else { continue };
            if let Err(error) = peer.reading(now) {
                failed.push((target, error));
            }
        }
        let reads = &self.reads;
        let all = std::mem::take(&mut self.leaving).into_iter();
        let (left, leaving): (Vec<_>, _) = all.partition(|&(target, pool)| !reads.is_read(target, pool));
        self.leaving = leaving;
        for (target, pool) in left {
            if let Some(Err(error)) = self.peers.get_mut(&target).map(|peer| peer.left(pool)) {
                failed.push((target, error));
            }
        }
        for (target, error) in failed {
            self.lose(now, target, &error);
        }
        is_any
    }

    /// Gives connections what waits.
    fn flush(&mut self, now: Duration) {
        let peers = self.peers.iter_mut().filter(|(_, peer)| peer.is_going());
        let failed: Vec<_> = peers.filter_map(|(&target, peer)| Some((target, peer.flush().err()?))).collect();
        failed.iter().for_each(|(target, error)| self.lose(now, *target, error));
        let clients = self.clients.iter_mut().filter(|(_, client)| client.is_going());
        let failed: Vec<u64> = clients.filter_map(|(&token, client)| client.flush().err().map(|_| token)).collect();
        failed.into_iter().for_each(|token| self.drop_client(token));
        let is_going = self.peers.values().any(Peer::is_going) || self.clients.values().any(Client::is_going);
        self.flush_at = is_going.then_some(now + FLUSH_EVERY);
    }

    /// Ends those of which the handshake takes too long.
    fn give_up(&mut self, now: Duration) {
        let is_late = |deadline: Option<Duration>| deadline.is_some_and(|deadline| now >= deadline);
        let clients = self.clients.iter().filter(|(_, client)| is_late(client.deadline()));
        let clients: Vec<u64> = clients.map(|(&token, _)| token).collect();
        clients.into_iter().for_each(|token| self.drop_client(token));
        let peers = self.peers.iter().filter(|(_, peer)| is_late(peer.deadline()));
        let peers: Vec<Target> = peers.map(|(&target, _)| target).collect();
        for target in peers {
            let error = Error::new(ErrorKind::Unavailable, format!("agent {target} did not answer in {HANDSHAKE:?}"));
            self.lose(now, target, &error);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::Agent;

    fn refused(transport: NixlTransport) -> Error {
        Agent::builder("decode-0").transport(transport).build().unwrap_err()
    }

    #[test]
    fn without_the_library_no_agent_is_built_and_it_says_what_was_looked_for() {
        let refused = refused(NixlTransport::default().library("nowhere/libnixl_capi.so"));
        assert_eq!(refused.kind(), ErrorKind::Unsupported);
        assert_eq!(
            refused.to_string(),
            "no NIXL to load: tried nowhere/libnixl_capi.so (not there); LLMD_NIXL_LIBRARY can name the library"
        );
    }

    #[test]
    fn an_address_that_nobody_reaches_is_refused() {
        let everywhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let said = NixlTransport::default().listening_at(everywhere).listen().unwrap_err();
        assert_eq!(said.kind(), ErrorKind::Invalid);
        let here = SocketAddr::from((Ipv4Addr::new(10, 0, 0, 7), 0));
        let (listener, address) = NixlTransport::default().listening_at(everywhere).reached_at(here).listen().unwrap();
        assert_eq!((address.ip(), address.port()), (here.ip(), listener.local_addr().unwrap().port()));
        let taken = listener.local_addr().unwrap();
        let said = NixlTransport::default().listening_at(taken).listen().unwrap_err();
        assert_eq!(said.kind(), ErrorKind::Unavailable);
    }

    #[test]
    fn what_was_never_started_says_so() {
        let mut transport = NixlTransport::default();
        let (mut ended, now) = (Vec::new(), Duration::ZERO);
        assert!(!transport.poll(now, &mut ended) && transport.sleep() && transport.address().is_none());
        assert!(transport.started().is_err() && transport.wake_fd().is_none() && transport.next_deadline().is_none());
    }
}
