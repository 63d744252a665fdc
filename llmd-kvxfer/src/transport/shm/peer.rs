//! A peer that we read from.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use llmd_core::{Error, ErrorKind, Result};

use super::super::job::{Memory, Source};
use super::super::{Cost, Ending, Home, Note, Transfer, TransferId, Way, outcome_of};
use super::line::{Ear, Line};
use super::message::{Answer, Message, to_slot};
use super::socket::{Incoming, Received, Socket};
use super::staging::{MAX_SLOT, NewArea, SLOT, StagedSource, Staging};
use crate::copy::{Expected, Packed};
use crate::device::{CopyEngine, DeviceMemory, IpcHandle};
use crate::grant::AgentId;
use crate::handshake::{Connecting, Refused};
use crate::layout::KvLayout;
use crate::outcome::Outcome;
use crate::plan::Plan;
use crate::pool::{BoardView, Pool, SealsView};
use crate::region::{Access, Mapping, Process, Told};

/// A peer that we read from, from when we began to connect.
#[derive(Debug)]
pub(super) struct Peer {
    socket: Socket,
    agent: AgentId,
    deadline: Duration,
    /// Until it has answered.
    connecting: Option<Connecting>,
    /// Whether its memory may be read by its address.
    may_cma: bool,
    /// What copies out of memory that it exports.
    engine: Option<Arc<CopyEngine>>,
    /// What we say; until it can be woken by it, it is not ready.
    pub(super) line: Arc<Line>,
    /// What it answers.
    ear: Ear,
    staging: Arc<Staging>,
    pools: HashMap<u32, PeersPool>,
    mapped: Vec<Arc<Mapping>>,
    /// How blocks of its pools are packed for ours.
    packed: HashMap<(u32, u32), Arc<Packed>>,
    waiting: Vec<Transfer>,
    notes: Vec<Note>,
}

#[derive(Debug)]
enum PeersPool {
    Asked,
    There(Arc<There>),
    Refused(Error),
}

#[derive(Debug)]
struct There {
    memory: Reached,
    seals: Arc<SealsView>,
    board: Arc<BoardView>,
    layout: KvLayout,
    /// The order in which its blocks are summed.
    own: Arc<Plan>,
}

/// How its memory is reached.
#[derive(Debug)]
enum Reached {
    Mapped(Arc<Mapping>),
    Cma(Process),
    /// A device has imported it.
    Imported(Arc<CopyEngine>, DeviceMemory),
    /// By its own help alone, and why.
    Staged(&'static str),
}

/// By what a peer's memory is reached that is not mapped.
#[derive(Clone, Debug)]
pub(super) struct Reads {
    /// By its address.
    pub(super) may_cma: bool,
    /// By the device that imports it.
    pub(super) engine: Option<Arc<CopyEngine>>,
}

/// A transfer that can begin now, or that ended instead.
pub(super) type Begun = (Transfer, Result<Begins, Ending>);

/// What a transfer that can begin reads from.
#[derive(Debug)]
pub(super) enum Begins {
    Copy(Source),
    Staged(StagedSource),
}

/// How many bytes are read by their address before they are copied on, where they are not read to their places.
const PACKED: u64 = 256 << 10;

/// How many transfers, and notes, may wait for one peer to answer.
const MAX_WAITING: usize = 4096;

impl Peer {
    /// Begins to connect.
    pub(super) fn connect(home: &Home, deadline: Duration, path: &Path, agent: AgentId, by: Reads) -> Result<Self> {
        let Reads { may_cma, engine } = by;
        let (connecting, hello) = Connecting::new(&home.me, &home.tenant, &home.keys)?;
        let (line, ear) = (Arc::new(Line::new()?), Ear::new()?);
        let socket = Socket::connect(path)?;
        socket.send(&hello, &[])?;
        Ok(Self {
            socket,
            agent,
            deadline,
            connecting: Some(connecting),
            may_cma,
            engine,
            staging: Staging::new(Arc::clone(&line)),
            line,
            ear,
            pools: HashMap::new(),
            mapped: Vec::new(),
            packed: HashMap::new(),
            waiting: Vec::new(),
            notes: Vec::new(),
        })
    }

    pub(super) fn is_ready(&self) -> bool {
        self.line.is_ready()
    }

    /// When it has to have answered.
    pub(super) fn deadline(&self) -> Option<Duration> {
        (!self.is_ready()).then_some(self.deadline)
    }

    /// When something is to be said to it again that found no room.
    pub(super) fn retry(&self) -> Option<Duration> {
        self.staging.deadline()
    }

    /// What it would cost to read a pool of it, once it is known how it is reached.
    pub(super) fn cost(&self, pool: u32) -> Option<Cost> {
        match self.pools.get(&pool)? {
            PeersPool::There(there) => Some(there.way().cost()),
            PeersPool::Asked | PeersPool::Refused(_) => None,
        }
    }

    /// A pool of ours is gone.
    pub(super) fn forget(&mut self, ours: u32) {
        self.packed.retain(|&(_, pool), _| pool != ours);
    }

    /// What the transfer reads from; `None` when it has to wait for its pool to be mapped.
    pub(super) fn ready(&mut self, transfer: Transfer) -> Result<Option<Begun>> {
        let pool = transfer.grant.pool();
        if let Some(begun) = self.begun(&transfer) {
            return Ok(Some((transfer, begun)));
        }
        if self.waiting.len() >= MAX_WAITING {
            let message = format!("{MAX_WAITING} transfers wait for agent {}, expected less", self.agent);
            return Err(Error::new(ErrorKind::Exhausted, message));
        }
        self.waiting.push(transfer);
        self.ask(pool)?;
        Ok(None)
    }

    /// Says something through the ring, or once it is there.
    pub(super) fn tell(&mut self, note: Note) -> Result<()> {
        if !self.is_ready() {
            if self.notes.len() >= MAX_WAITING {
                let message = format!("{MAX_WAITING} notes wait for agent {}, expected less", self.agent);
                return Err(Error::new(ErrorKind::Exhausted, message));
            }
            self.notes.push(note);
            return Ok(());
        }
        if self.line.push(&to_slot(&note)) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Exhausted, format!("agent {} does not take what it is told", self.agent)))
    }

    /// Takes what it answered, and says how much.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Corrupt`] when it wrote what nobody writes who means well: that ends it.
    pub(super) fn take_answers(&mut self, home: &Home, now: Duration) -> Result<usize> {
        self.staging.retry(now);
        let mut count = 0;
        while let Some(slot) = self.ear.take()? {
            self.staging.landed(home, Answer::from_slot(&slot)?)?;
            count += 1;
        }
        Ok(count)
    }

    pub(super) fn sleep(&self) -> bool {
        self.ear.sleep()
    }

    pub(super) fn awake(&self) {
        self.ear.awake();
    }

    /// Ends one that waits.
    pub(super) fn cancel(&mut self, transfer: TransferId) -> Option<Ending> {
        let place = self.waiting.iter().position(|waiting| waiting.id == transfer)?;
        let transfer = self.waiting.swap_remove(place);
        let why = format!("agent {} had not answered", self.agent);
        Some(Ending::failed(transfer.id, transfer.blocks.len(), Outcome::Cancelled, why))
    }

    /// Its pools that were mapped since this was asked last.
    pub(super) fn newly_mapped(&mut self) -> Vec<Arc<Mapping>> {
        std::mem::take(&mut self.mapped)
    }

    /// Takes what it sent, and gives the transfers that can begin now. An error ends it.
    pub(super) fn hear(&mut self, doorbell: BorrowedFd<'_>) -> Result<Vec<Begun>> {
        loop {
            match self.socket.receive()? {
                Incoming::Nothing => break,
                Incoming::Closed => {
                    let message = format!("agent {} closed the connection", self.agent);
                    return Err(Error::new(ErrorKind::Unavailable, message));
                }
                Incoming::Message(received) => self.take(received, doorbell)?,
            }
        }
        let mut begun = Vec::new();
        for transfer in std::mem::take(&mut self.waiting) {
            match self.begun(&transfer) {
                Some(source) => begun.push((transfer, source)),
                None => self.waiting.push(transfer),
            }
        }
        Ok(begun)
    }

    /// All that waited, now that it is lost.
    pub(super) fn end(mut self, error: &Error) -> Vec<Ending> {
        let outcome = outcome_of(error.kind());
        self.staging.lose(outcome, &error.to_string());
        let ended = std::mem::take(&mut self.waiting).into_iter();
        ended.map(|transfer| Ending::failed(transfer.id, transfer.blocks.len(), outcome, error.to_string())).collect()
    }

    fn take(&mut self, Received { bytes, fds }: Received, doorbell: BorrowedFd<'_>) -> Result<()> {
        if let Some(connecting) = self.connecting.take() {
            let (who, proof) = connecting.on_answer(&bytes, &[])?;
            if who.agent != self.agent {
                let message = format!("agent {} listens there, expected {}: it was restarted", who.agent, self.agent);
                return Err(Error::new(ErrorKind::Unavailable, message));
            }
            self.socket.send(&proof, &[])?;
            self.socket.send(&Message::Ring.encode(), &[self.line.fd(), self.ear.fd(), doorbell])?;
            let asked: Vec<_> = self.pools.keys().copied().collect();
            return asked.into_iter().try_for_each(|pool| self.socket.send(&Message::Map { pool }.encode(), &[]));
        }
        if let Some(refused) = Refused::decode(&bytes)? {
            return Err(refused.into_error());
        }
        let mut fds = fds.into_iter();
        let mut fd = || fds.next().ok_or_else(|| Error::new(ErrorKind::Corrupt, "a message without its descriptors"));
        match Message::decode(&bytes)? {
            Message::Ring => {
                self.line.wakes(fd()?);
                // Those that find no room are lost, as all are that an agent does not take.
                std::mem::take(&mut self.notes).into_iter().for_each(|note| drop(self.tell(note)));
            }
            Message::Mapped { pool, len, layout } => {
                let (memory, seals, board) = (fd()?, fd()?, fd()?);
                let reached = Reached::map(&memory, len).inspect(|reached| {
                    if let Reached::Mapped(mapping) = reached {
                        self.mapped.push(Arc::clone(mapping));
                    }
                });
                let there = reached.and_then(|memory| There::new(memory, len, *layout, seals, board));
                self.pools.insert(pool, there.map_or_else(PeersPool::Refused, PeersPool::There));
            }
            Message::Unmapped { pool, len, layout, told } => {
                let (seals, board) = (fd()?, fd()?);
                let there = There::new(Reached::try_cma(self.may_cma, told, len), len, *layout, seals, board);
                self.pools.insert(pool, there.map_or_else(PeersPool::Refused, PeersPool::There));
            }
            Message::Exported { pool, len, layout, handle } => {
                let (seals, board) = (fd()?, fd()?);
                let there = self.import(len, &handle);
                let there = there.and_then(|memory| There::new(memory, len, *layout, seals, board));
                self.pools.insert(pool, there.map_or_else(PeersPool::Refused, PeersPool::There));
            }
            Message::Area { area, .. } => self.staging.is_there(area)?,
            Message::NotMapped { pool, refused } => {
                self.pools.insert(pool, PeersPool::Refused(refused.into_error()));
            }
            Message::Map { .. } => return Err(Error::new(ErrorKind::Corrupt, "the side that serves asks for a pool")),
        }
        Ok(())
    }

    fn ask(&mut self, pool: u32) -> Result<()> {
        if self.pools.contains_key(&pool) {
            return Ok(());
        }
        self.pools.insert(pool, PeersPool::Asked);
        if self.connecting.is_some() { Ok(()) } else { self.socket.send(&Message::Map { pool }.encode(), &[]) }
    }

    /// What a transfer reads from, or how it ended; `None` while its pool is not there.
    fn begun(&mut self, transfer: &Transfer) -> Option<Result<Begins, Ending>> {
        let grant = &transfer.grant;
        let failed = |outcome, why: String| Err(Ending::failed(transfer.id, transfer.blocks.len(), outcome, why));
        let there = match self.pools.get(&grant.pool())? {
            PeersPool::Asked => return None,
            PeersPool::There(there) => Arc::clone(there),
            PeersPool::Refused(error) => {
                let ending = failed(outcome_of(error.kind()), error.to_string());
                // It is asked for again by the next that wants it.
                self.pools.remove(&grant.pool());
                return Some(ending);
            }
        };
        if let Err(outcome) = there.board.check(grant.lease(), grant.tag()) {
            return Some(failed(outcome, format!("lease {} does not hold", grant.lease())));
        }
        if there.layout != *grant.layout() {
            return Some(failed(Outcome::Denied, format!("the grant lays pool {} out as it is not", grant.pool())));
        }
        let begins = self.begins(transfer, &there);
        Some(begins.or_else(|error| failed(outcome_of(error.kind()), error.to_string())))
    }

    fn begins(&mut self, transfer: &Transfer, there: &There) -> Result<Begins> {
        let grant = &transfer.grant;
        let (blocks, standing) = (grant.all_blocks(), Arc::clone(&there.board) as _);
        let memory = match &there.memory {
            Reached::Mapped(memory) => Memory::Mapped(Arc::clone(memory) as _),
            Reached::Cma(process) => {
                Memory::Process(*process, self.packed(grant.pool(), &there.layout, &transfer.pool, PACKED)?)
            }
            Reached::Imported(engine, memory) => Memory::Device(Arc::clone(engine), memory.clone()),
            Reached::Staged(_) => {
                let packed = self.packed(grant.pool(), &there.layout, &transfer.pool, SLOT)?;
                let area = self.area(packed.bytes())?;
                let check = transfer.is_checked.then(|| Arc::clone(&there.seals) as Arc<dyn Expected>);
                let staging = Arc::clone(&self.staging);
                return Ok(Begins::Staged(StagedSource { staging, area, packed, blocks, check, standing }));
            }
        };
        let check = transfer.is_checked.then(|| (Arc::clone(&there.own), Arc::clone(&there.seals) as _));
        let places = grant.places();
        let places = places.start as usize..places.end as usize;
        Ok(Begins::Copy(Source { memory, way: Some(there.way()), blocks, places, check, standing }))
    }

    /// Has the device import what it exports.
    fn import(&self, len: u64, handle: &IpcHandle) -> Result<Reached> {
        let engine = self.engine.as_ref();
        let engine =
            engine.ok_or_else(|| Error::new(ErrorKind::Corrupt, "memory of a device, which nobody asked for"))?;
        let memory = engine.import(handle)?;
        if memory.len() != len {
            return Err(not_so(len, &format!("expected the {} that the handle names", memory.len())));
        }
        Ok(Reached::Imported(Arc::clone(engine), memory))
    }

    fn packed(&mut self, theirs: u32, layout: &KvLayout, ours: &Pool, bytes: u64) -> Result<Arc<Packed>> {
        if let Some(packed) = self.packed.get(&(theirs, ours.id())) {
            return Ok(Arc::clone(packed));
        }
        let packed = Arc::new(Packed::new(layout, ours.layout(), bytes, MAX_SLOT)?);
        self.packed.insert((theirs, ours.id()), Arc::clone(&packed));
        Ok(packed)
    }

    /// Slots with room for so many bytes, which it is told of when they are new.
    fn area(&self, bytes: u64) -> Result<usize> {
        let (area, new) = self.staging.area(bytes)?;
        if let Some(NewArea { area, slots, slot_bytes, fd }) = new {
            self.socket.send(&Message::Area { area, slots, slot_bytes }.encode(), &[fd.as_fd()])?;
        }
        Ok(area)
    }
}

impl Reached {
    fn map(memory: &OwnedFd, len: u64) -> Result<Self> {
        let len = usize::try_from(len).map_err(|_| not_so(len, "expected one that can be mapped"))?;
        Ok(Self::Mapped(Arc::new(Mapping::from_peer(memory.as_fd(), len, Access::Read)?)))
    }

    fn try_cma(may_cma: bool, told: Told, len: u64) -> Self {
        if !may_cma {
            return Self::Staged("process_vm_readv is not to be used");
        }
        match usize::try_from(len).map(|len| Process::probe(told, len)) {
            Ok(Ok(process)) => Self::Cma(process),
            Ok(Err(error)) if error.kind() == ErrorKind::Unavailable => {
                Self::Staged("the two do not know each other's process by its number")
            }
            Ok(Err(error)) if error.kind() == ErrorKind::Denied => Self::Staged("process_vm_readv is not allowed"),
            Ok(Err(_)) | Err(_) => Self::Staged("the memory is none that process_vm_readv reads"),
        }
    }
}

impl There {
    fn new(memory: Reached, len: u64, layout: KvLayout, seals: OwnedFd, board: OwnedFd) -> Result<Arc<Self>> {
        if layout.end() > len {
            return Err(not_so(len, &format!("expected the {} that its layout has", layout.end())));
        }
        let seals = Arc::new(SealsView::from_peer(seals, layout.shape().blocks)?);
        let board = Arc::new(BoardView::from_peer(board)?);
        let own = Arc::new(Plan::new(&layout, &layout)?);
        Ok(Arc::new(Self { memory, seals, board, layout, own }))
    }

    fn way(&self) -> Way {
        match self.memory {
            Reached::Mapped(_) => Way::Mapped,
            Reached::Cma(_) => Way::Cma,
            Reached::Imported(..) => Way::Ipc,
            Reached::Staged(why) => Way::Staged(why),
        }
    }
}

fn not_so(len: u64, why: &str) -> Error {
    Error::new(ErrorKind::Corrupt, format!("a pool of {len} bytes, {why}"))
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Transfers have the slots that they come through, and these have those that wait for them.
        self.staging.lose(Outcome::PeerLost, "the agent that reads is over");
    }
}

impl AsFd for Peer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
