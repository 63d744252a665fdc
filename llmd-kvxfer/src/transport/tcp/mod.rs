//! Between agents that reach each other by TCP.
//!
//! The side that reads has a few connections to the other, and asks on each for a few segments of what it wants at a time: more is
//! never sent. What comes goes from the connection into the blocks, and what goes comes from the pool, without a copy between, unless
//! a pool is in a device: then it passes through memory of the host, a segment at a time. The side that serves checks every request,
//! and says after the last byte of each segment whether the lease still held.

mod buffer;
mod crossing;
mod hub;
mod landing;
mod link;
mod message;
mod pull;
mod pulling;
mod rooms;
mod runs;
mod scatter;
mod serving;
#[cfg(feature = "tls")]
mod session;
mod socket;
mod stream;
#[cfg(feature = "tls")]
mod tls;

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use llmd_core::{Error, ErrorKind, Result};

use self::hub::{DATA, Hub, News};
use self::link::Protection;
use self::pull::{Peer, Pull};
use self::pulling::Pulling;
use self::serving::Serving;
use self::socket::Socket;
use self::stream::{Role, Stream};
#[cfg(feature = "tls")]
pub use self::tls::Tls;
use super::left_alone::LeftAlone;
use super::local::not_started;
use super::target::Target;
use super::{Cost, Ending, Home, Note, Transfer, TransferId, Transport, Trust, outcome_of};
use crate::device::MAX_BUFFER_BYTES;
use crate::grant::Grant;
use crate::handshake::Connecting;
use crate::outcome::{Blocks, Outcome};
use crate::pool::Pool;

/// The same message written again, if these bytes are one that is asked, and if they are one that answers.
#[cfg(any(test, feature = "testing"))]
pub(crate) fn messages_again(bytes: &[u8]) -> [Option<Vec<u8>>; 2] {
    let ask = message::Ask::decode(bytes).ok().map(|ask| ask.encode());
    [ask, message::Answer::decode(bytes).ok().map(|answer| answer.encode())]
}

/// Between agents that reach each other by TCP. Each read is checked by the side that granted it.
///
/// Who may read what is proven by the tenant's key. The bytes themselves go as they are, unless TLS is switched on
/// (feature `tls`).
#[derive(Debug)]
pub struct Tcp {
    listener: Option<TcpListener>,
    listens: SocketAddr,
    advertised: Option<String>,
    streams: usize,
    protection: Protection,
    started: Option<Started>,
}

#[derive(Debug)]
struct Started {
    hub: Arc<Hub>,
    listener: TcpListener,
    address: String,
    streams: usize,
    protection: Protection,
    /// Connections of peers that read from us.
    clients: usize,
    peers: HashMap<Target, Streams>,
    /// Those of which the handshake is not over.
    shaking: Vec<Arc<Stream>>,
    /// Those that could not be reached, until when they are left alone, and why.
    left_alone: LeftAlone<Target>,
    pulls: HashMap<TransferId, (Target, Arc<Pull>)>,
    next_token: u64,
}

/// The connections to a peer that is read from.
#[derive(Debug)]
struct Streams {
    peer: Arc<Peer>,
    streams: Vec<Arc<Stream>>,
}

const LISTENER: u64 = 0;
const FIRST_TOKEN: u64 = DATA + 1;

const NAME: &str = "tcp";

/// How many peers are read from, and how many connections are served at once.
const MAX_PEERS: usize = 4096;
const MAX_CLIENTS: usize = 16 << 10;
/// How many connections to one peer there may be.
const MAX_STREAMS: usize = 64;
/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// What a transfer is expected to cost before one was measured.
const COST: Cost = Cost::new(Duration::from_micros(60), 3e9);

impl Tcp {
    /// Listens here; at port 0 at one that is free.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] when that is no address of this machine, or somebody listens there already.
    pub fn bind(at: impl ToSocketAddrs) -> Result<Self> {
        let listen = || {
            let listener = TcpListener::bind(at)?;
            listener.set_nonblocking(true)?;
            let listens = listener.local_addr()?;
            Ok((listener, listens))
        };
        let (listener, listens) = listen().map_err(|cause: std::io::Error| {
            Error::new(ErrorKind::Unavailable, format!("an address to listen at by TCP: {cause}")).with_source(cause)
        })?;
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let streams = (cores / 2).clamp(2, 4);
        let protection = Protection::Plain;
        Ok(Self { listener: Some(listener), listens, advertised: None, streams, protection, started: None })
    }

    /// Where peers find it, such as `10.0.0.7:7777`: for those that listen at all addresses of the machine, or behind another.
    #[must_use]
    pub fn advertise(self, address: impl Into<String>) -> Self {
        Self { advertised: Some(address.into()), ..self }
    }

    /// How many connections there are to each peer that is read from. The default is half of the cores, 2 to 4.
    #[must_use]
    pub const fn streams(mut self, streams: usize) -> Self {
        self.streams = streams;
        self
    }

    /// Encrypts all that is said, and has both sides prove by a certificate who they are. Peers that speak no TLS are refused, and so
    /// are those of which the certificate is not as [`Tls`] says.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(self, tls: Tls) -> Self {
        Self { protection: Protection::Tls(tls), ..self }
    }

    /// Where it listens.
    pub const fn listens(&self) -> SocketAddr {
        self.listens
    }

    fn advertised(&self) -> Result<String> {
        let invalid = |message: String| Err(Error::new(ErrorKind::Invalid, message));
        match &self.advertised {
            None if self.listens.ip().is_unspecified() => invalid(format!(
                "TCP at {}, which is no address that peers can connect to: say which they can by advertise",
                self.listens
            )),
            None => Ok(self.listens.to_string()),
            Some(address) => match address.parse::<SocketAddr>() {
                Ok(there) if there.port() != 0 && !there.ip().is_unspecified() => Ok(address.clone()),
                _ => invalid(format!("`{address}` to be advertised, expected an IP address and a port")),
            },
        }
    }

    fn started(&mut self) -> Result<&mut Started> {
        self.started.as_mut().ok_or_else(not_started)
    }
}

impl Transport for Tcp {
    fn name(&self) -> &'static str {
        NAME
    }

    fn trust(&self) -> Trust {
        Trust::Enforcing
    }

    fn start(&mut self, home: &Arc<Home>) -> Result<()> {
        let address = self.advertised()?;
        if !(1..=MAX_STREAMS).contains(&self.streams) {
            let message = format!("{} connections to each peer, expected 1 to {MAX_STREAMS}", self.streams);
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        let listener = self.listener.take();
        let listener =
            listener.ok_or_else(|| Error::new(ErrorKind::Invalid, "a transport that was started already"))?;
        let hub = Hub::new(home)?;
        hub.outer.add(listener.as_fd(), LISTENER)?;
        self.started = Some(Started {
            hub,
            listener,
            address,
            streams: self.streams,
            protection: self.protection.clone(),
            clients: 0,
            peers: HashMap::new(),
            shaking: Vec::new(),
            left_alone: LeftAlone::new(MAX_PEERS, &home.counts.forgotten_peers),
            pulls: HashMap::new(),
            next_token: FIRST_TOKEN,
        });
        Ok(())
    }

    fn address(&self) -> Option<String> {
        self.started.as_ref().map(|started| started.address.clone())
    }

    fn register(&mut self, _pool: &Pool) -> Result<()> {
        Ok(())
    }

    fn unregister(&mut self, _pool: &Pool) {}

    fn reach(&self, grant: &Grant, _pool: &Pool) -> Result<Cost> {
        let started = self.started.as_ref().ok_or_else(not_started)?;
        address_of(grant)?;
        started.left_alone.check(started.hub.home.now(), &Target::of(grant, self.name()))?;
        Ok(COST)
    }

    fn post(&mut self, now: Duration, transfer: Transfer) -> Result<Option<Ending>> {
        let started = self.started()?;
        if !transfer.pool.region().is_writable() {
            let message = "a region that is only for reading, expected one to fetch into";
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        if transfer.pool.engine().is_some() && transfer.plan.period_bytes() > MAX_BUFFER_BYTES {
            let bytes = transfer.plan.period_bytes();
            let message = format!("{bytes} bytes at once into a device, expected at most {MAX_BUFFER_BYTES}");
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        if transfer.blocks.is_empty() {
            let blocks = Blocks::none(0);
            return Ok(Some(Ending { id: transfer.id, outcome: Outcome::Done, blocks, bytes: 0, why: None }));
        }
        let there = started.peer(now, &transfer.grant)?;
        let (id, pull) = (transfer.id, Pull::new(transfer, there.streams.len()));
        let (target, streams) = (there.peer.target, there.streams.clone());
        there.peer.add(Arc::clone(&pull))?;
        started.pulls.insert(id, (target, pull));
        started.run(&streams);
        Ok(None)
    }

    fn cancel(&mut self, transfer: TransferId) {
        let Some(started) = &mut self.started else { return };
        started.cancel(transfer);
    }

    fn tell(&mut self, now: Duration, grant: &Grant, note: Note) -> Result<()> {
        let started = self.started()?;
        let there = started.peer(now, grant)?;
        there.peer.tell(note)?;
        let first = there.streams[..1].to_vec();
        started.run(&first);
        Ok(())
    }

    fn poll(&mut self, now: Duration, ended: &mut Vec<Ending>) -> bool {
        let Some(started) = &mut self.started else { return false };
        let mut is_any = started.hear(now);
        is_any |= started.take_news(now);
        started.give_up(now);
        let known = ended.len();
        is_any |= started.hub.inbox.take(ended);
        for ending in &ended[known..] {
            started.pulls.remove(&ending.id);
        }
        is_any
    }

    fn sleep(&mut self) -> bool {
        let Some(started) = &self.started else { return true };
        started.hub.inbox.is_empty() && !started.hub.has_news()
    }

    fn next_deadline(&self) -> Option<Duration> {
        let shaking = self.started.as_ref()?.shaking.iter();
        shaking.filter(|stream| !stream.is_shaken()).map(|stream| stream.deadline).min()
    }

    fn wake_fd(&self) -> Option<BorrowedFd<'_>> {
        self.started.as_ref().map(|started| started.hub.outer.as_fd())
    }

    fn peers(&self) -> usize {
        self.started.as_ref().map_or(0, |started| started.peers.len() + started.clients)
    }
}

impl Started {
    /// The one that granted, connected with or about to be.
    fn peer(&mut self, now: Duration, grant: &Grant) -> Result<&Streams> {
        let target = Target::of(grant, NAME);
        if !self.peers.contains_key(&target) {
            self.connect(now, grant, target)?;
        }
        let there = self.peers.get(&target);
        there.ok_or_else(|| Error::new(ErrorKind::Internal, "a peer is gone that was there"))
    }

    fn connect(&mut self, now: Duration, grant: &Grant, target: Target) -> Result<()> {
        if self.peers.len() >= MAX_PEERS {
            let message = format!("{MAX_PEERS} peers are read from by TCP, expected less");
            return Err(Error::new(ErrorKind::Exhausted, message));
        }
        self.left_alone.check(now, &target)?;
        let address = address_of(grant)?;
        let peer = Peer::new(target);
        let mut streams = Vec::new();
        for place in 0..self.streams {
            match self.connect_one(now, address, &peer, place == 0) {
                Ok(stream) => streams.push(stream),
                Err(error) => {
                    streams.iter().for_each(|stream: &Arc<Stream>| self.drop_stream(stream));
                    self.left_alone.remember(now, target, &error);
                    return Err(error);
                }
            }
        }
        self.peers.insert(target, Streams { peer, streams });
        Ok(())
    }

    fn connect_one(&mut self, now: Duration, to: SocketAddr, peer: &Arc<Peer>, has_notes: bool) -> Result<Arc<Stream>> {
        let home = &self.hub.home;
        let (connecting, hello) = Connecting::new(&home.me, &home.tenant, &home.keys)?;
        let link = self.protection.connecting(to)?;
        let pulling = Pulling::new(peer, has_notes, link, connecting, &hello);
        self.add(now, Socket::connect(to)?, Role::Pulling(Box::new(pulling)))
    }

    fn add(&mut self, now: Duration, socket: Socket, role: Role) -> Result<Arc<Stream>> {
        self.next_token += 1;
        let stream = Stream::new(self.next_token, socket, now + HANDSHAKE, role);
        self.hub.add(&stream)?;
        self.shaking.push(Arc::clone(&stream));
        Ok(stream)
    }

    /// Has connections look for what there is to do, and the threads that copy wait for what comes of it.
    fn run(&self, streams: &[Arc<Stream>]) {
        streams.iter().for_each(|stream| stream.run(&self.hub, 0));
        self.hub.pump();
    }

    fn cancel(&self, transfer: TransferId) {
        let Some((target, pull)) = self.pulls.get(&transfer) else { return };
        pull.stop(Outcome::Cancelled, None, &self.hub.ended());
        // Connections that bring some of it let go of it.
        if let Some(there) = self.peers.get(target) {
            self.run(&there.streams);
        }
    }

    /// Who wants in, and whether there is something to move.
    fn hear(&mut self, now: Duration) -> bool {
        let ready = self.hub.outer.ready();
        for &token in &ready {
            match token {
                LISTENER => self.let_in(now),
                _ => self.hub.pump(),
            }
        }
        !ready.is_empty()
    }

    fn let_in(&mut self, now: Duration) {
        while let Ok(Some(socket)) = Socket::accept(&self.listener) {
            if self.clients >= MAX_CLIENTS {
                self.hub.home.counts.refused_peers.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            let Ok(link) = self.protection.listening(&socket) else { continue };
            if self.add(now, socket, Role::Serving(Box::new(Serving::new(link)))).is_ok() {
                self.clients += 1;
            }
        }
    }

    fn take_news(&mut self, now: Duration) -> bool {
        let news = self.hub.take_news();
        let is_any = !news.is_empty();
        for news in news {
            match news {
                News::Ready(target) => self.left_alone.forget(&target),
                News::Gone { token, error } => self.gone(now, token, error),
            }
        }
        is_any
    }

    /// A connection is over, and with one to a peer that is read from all of them.
    fn gone(&mut self, now: Duration, token: u64, error: Option<Error>) {
        let Some(stream) = self.hub.stream(token) else { return };
        self.drop_stream(&stream);
        match stream.end() {
            Role::Serving(mut serving) => {
                self.clients -= 1;
                self.hub.drift(serving.coming());
                let counts = &self.hub.home.counts;
                match error.map(|error| error.kind()) {
                    Some(_) if !serving.is_in() => &counts.refused_peers,
                    Some(ErrorKind::Corrupt) => &counts.malformed,
                    _ => return,
                }
                .fetch_add(1, Ordering::Relaxed);
            }
            Role::Pulling(pulling) => {
                let target = pulling.peer().target;
                let closed = || Error::new(ErrorKind::Unavailable, format!("agent {target} closed the connection"));
                let error = error.unwrap_or_else(closed);
                self.lose(now, target, &error, *pulling);
            }
            Role::Over => {}
        }
    }

    fn lose(&mut self, now: Duration, target: Target, error: &Error, first: Pulling) {
        let Some(there) = self.peers.remove(&target) else { return };
        self.left_alone.remember(now, target, error);
        let (outcome, ended) = (outcome_of(error.kind()), self.hub.ended());
        for pull in there.peer.take() {
            pull.stop(outcome, Some(error.to_string()), &ended);
        }
        let mut lost = vec![first];
        for stream in &there.streams {
            self.hub.remove(stream.token);
            if let Role::Pulling(pulling) = stream.end() {
                lost.push(*pulling);
            }
        }
        for mut pulling in lost {
            // What it brought may be on its way into a device: that ends by itself.
            self.hub.drift(pulling.landing());
            pulling.into_segments().for_each(|segment| segment.fail(outcome, error.to_string(), &ended));
        }
    }

    fn drop_stream(&self, stream: &Arc<Stream>) {
        self.hub.remove(stream.token);
    }

    /// Ends those of which the handshake takes too long.
    fn give_up(&mut self, now: Duration) {
        let hub = &self.hub;
        self.shaking.retain(|stream| {
            let is_late = now >= stream.deadline && !stream.is_shaken();
            if is_late {
                let error = Error::new(ErrorKind::Unavailable, format!("a peer did not answer in {HANDSHAKE:?}"));
                hub.say(News::Gone { token: stream.token, error: Some(error) });
            }
            !is_late && !stream.is_shaken() && !stream.is_over()
        });
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        self.hub.close();
    }
}

fn address_of(grant: &Grant) -> Result<SocketAddr> {
    let address = grant.address(NAME);
    let address = address.ok_or_else(|| Error::new(ErrorKind::Unavailable, "the grant names no TCP address"))?;
    address.parse().map_err(|_| {
        let message = format!("the grant's TCP address `{address}`, expected an IP address and a port");
        Error::new(ErrorKind::Unavailable, message)
    })
}
