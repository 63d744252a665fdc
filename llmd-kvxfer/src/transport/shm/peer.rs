//! A peer that we read from.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use llmd_core::{Error, ErrorKind, Result};

use super::super::job::Source;
use super::super::{Ending, Home, Note, Transfer, TransferId, bell, outcome_of};
use super::message::{Message, to_slot};
use super::ring::{self, Pushed, Pusher};
use super::socket::{Incoming, Received, Socket};
use crate::grant::AgentId;
use crate::handshake::{Connecting, Refused};
use crate::layout::KvLayout;
use crate::outcome::Outcome;
use crate::plan::Plan;
use crate::pool::{BoardView, SealsView};
use crate::region::{Access, Mapping, Words, cannot_shrink};

/// A peer that we read from, from when we began to connect.
#[derive(Debug)]
pub(super) struct Peer {
    socket: Socket,
    agent: AgentId,
    deadline: Duration,
    /// Until it has answered.
    connecting: Option<Connecting>,
    ring: Words,
    pusher: Pusher,
    /// What wakes it; until this has come, it is not ready.
    doorbell: Option<OwnedFd>,
    pools: HashMap<u32, MappedPool>,
    waiting: Vec<Transfer>,
    notes: Vec<Note>,
}

#[derive(Debug)]
enum MappedPool {
    Asked,
    There(Arc<There>),
    Refused(Error),
}

#[derive(Debug)]
struct There {
    memory: Arc<Mapping>,
    seals: Arc<SealsView>,
    board: Arc<BoardView>,
    layout: KvLayout,
    /// The order in which its blocks are summed.
    own: Arc<Plan>,
}

/// A transfer that can begin now, or that ended instead.
pub(super) type Begun = (Transfer, Result<Source, Ending>);

/// How many transfers, and notes, may wait for one peer to answer.
const MAX_WAITING: usize = 4096;

impl Peer {
    /// Begins to connect.
    pub(super) fn connect(home: &Home, deadline: Duration, path: &Path, agent: AgentId) -> Result<Self> {
        let (connecting, hello) = Connecting::new(&home.me, &home.tenant, &home.keys)?;
        let ring = Words::shared("llmd-ring", ring::WORDS)?;
        let socket = Socket::connect(path)?;
        socket.send(&hello, &[])?;
        Ok(Self {
            socket,
            agent,
            deadline,
            connecting: Some(connecting),
            ring,
            pusher: Pusher::default(),
            doorbell: None,
            pools: HashMap::new(),
            waiting: Vec::new(),
            notes: Vec::new(),
        })
    }

    pub(super) fn is_ready(&self) -> bool {
        self.doorbell.is_some()
    }

    /// When it has to have answered.
    pub(super) fn deadline(&self) -> Option<Duration> {
        (!self.is_ready()).then_some(self.deadline)
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
        let Some(doorbell) = &self.doorbell else {
            if self.notes.len() >= MAX_WAITING {
                let message = format!("{MAX_WAITING} notes wait for agent {}, expected less", self.agent);
                return Err(Error::new(ErrorKind::Exhausted, message));
            }
            self.notes.push(note);
            return Ok(());
        };
        match self.pusher.push(self.ring.all(), &to_slot(&note)) {
            Pushed::Seen => Ok(()),
            Pushed::WakeIt => {
                bell::ring(doorbell.as_fd());
                Ok(())
            }
            Pushed::Full => {
                bell::ring(doorbell.as_fd());
                Err(Error::new(ErrorKind::Exhausted, format!("agent {} does not take what it is told", self.agent)))
            }
        }
    }

    /// Ends one that waits.
    pub(super) fn cancel(&mut self, transfer: TransferId) -> Option<Ending> {
        let place = self.waiting.iter().position(|waiting| waiting.id == transfer)?;
        let transfer = self.waiting.swap_remove(place);
        let why = format!("agent {} had not answered", self.agent);
        Some(Ending::failed(transfer.id, transfer.blocks.len(), Outcome::Cancelled, why))
    }

    /// Takes what it sent, and gives the transfers that can begin now. An error ends it.
    pub(super) fn hear(&mut self) -> Result<Vec<Begun>> {
        loop {
            match self.socket.receive()? {
                Incoming::Nothing => break,
                Incoming::Closed => {
                    let message = format!("agent {} closed the connection", self.agent);
                    return Err(Error::new(ErrorKind::Unavailable, message));
                }
                Incoming::Message(received) => self.take(received)?,
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
    pub(super) fn end(self, error: &Error) -> Vec<Ending> {
        let outcome = outcome_of(error.kind());
        let ended = self.waiting.into_iter();
        ended.map(|transfer| Ending::failed(transfer.id, transfer.blocks.len(), outcome, error.to_string())).collect()
    }

    fn take(&mut self, Received { bytes, fds }: Received) -> Result<()> {
        if let Some(connecting) = self.connecting.take() {
            let (who, proof) = connecting.on_answer(&bytes)?;
            if who.agent != self.agent {
                let message = format!("agent {} listens there, expected {}: it was restarted", who.agent, self.agent);
                return Err(Error::new(ErrorKind::Unavailable, message));
            }
            self.socket.send(&proof, &[])?;
            self.socket.send(&Message::Ring.encode(), &[self.ring.fd()])?;
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
                self.doorbell = Some(fd()?);
                // Those that find no room are lost, as all are that an agent does not take.
                std::mem::take(&mut self.notes).into_iter().for_each(|note| drop(self.tell(note)));
            }
            Message::Mapped { pool, len, layout } => {
                let (memory, seals, board) = (fd()?, fd()?, fd()?);
                let there = There::map(&memory, len, *layout, seals, board);
                self.pools.insert(pool, there.map_or_else(MappedPool::Refused, MappedPool::There));
            }
            Message::NotMapped { pool, refused } => {
                self.pools.insert(pool, MappedPool::Refused(refused.into_error()));
            }
            Message::Map { .. } => return Err(Error::new(ErrorKind::Corrupt, "the side that serves asks for a pool")),
        }
        Ok(())
    }

    fn ask(&mut self, pool: u32) -> Result<()> {
        if self.pools.contains_key(&pool) {
            return Ok(());
        }
        self.pools.insert(pool, MappedPool::Asked);
        if self.connecting.is_some() { Ok(()) } else { self.socket.send(&Message::Map { pool }.encode(), &[]) }
    }

    /// What a transfer reads from, or how it ended; `None` while its pool is not there.
    fn begun(&mut self, transfer: &Transfer) -> Option<Result<Source, Ending>> {
        let grant = &transfer.grant;
        let failed = |outcome, why: String| Err(Ending::failed(transfer.id, transfer.blocks.len(), outcome, why));
        let there = match self.pools.get(&grant.pool())? {
            MappedPool::Asked => return None,
            MappedPool::There(there) => there,
            MappedPool::Refused(error) => {
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
        let check = transfer.is_checked.then(|| (Arc::clone(&there.own), Arc::clone(&there.seals) as _));
        let places = grant.places();
        Some(Ok(Source {
            memory: Arc::clone(&there.memory) as _,
            blocks: grant.all_blocks(),
            places: places.start as usize..places.end as usize,
            check,
            standing: Arc::clone(&there.board) as _,
        }))
    }
}

impl There {
    fn map(memory: &OwnedFd, len: u64, layout: KvLayout, seals: OwnedFd, board: OwnedFd) -> Result<Arc<Self>> {
        let invalid = |why: &str| Error::new(ErrorKind::Corrupt, format!("a pool of {len} bytes, {why}"));
        let there = rustix::fs::fstat(memory).ok().and_then(|stat| u64::try_from(stat.st_size).ok());
        if !cannot_shrink(memory.as_fd()) || there.is_none_or(|there| there < len) {
            return Err(invalid("expected one that is as long and stays so"));
        }
        if layout.end() > len {
            return Err(invalid(&format!("expected the {} that its layout has", layout.end())));
        }
        let len = usize::try_from(len).map_err(|_| invalid("expected one that can be mapped"))?;
        let memory = Arc::new(Mapping::new(memory.as_fd(), len, Access::Read)?);
        let seals = Arc::new(SealsView::from_peer(seals, layout.shape().blocks)?);
        let board = Arc::new(BoardView::from_peer(board)?);
        let own = Arc::new(Plan::new(&layout, &layout)?);
        Ok(Arc::new(Self { memory, seals, board, layout, own }))
    }
}

impl AsFd for Peer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
