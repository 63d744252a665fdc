//! A peer that we read from.

#![expect(unsafe_code, reason = "metadata is vouched for where it comes from one who has proved who it is")]

use std::collections::HashMap;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use llmd_core::{Error, ErrorKind, Result};

use super::super::{Home, Note, Transfer, TransferId};
use super::link::{Incoming, Link};
use super::message::{Found, Message, Place};
use super::version;
use crate::grant::AgentId;
use crate::handshake::{Connecting, Refused};
use crate::layout::KvLayout;
use crate::lease::LeaseId;
use crate::nixl::Metadata;
use crate::plan::Plan;

/// A peer that we read from, from when we began to connect.
#[derive(Debug)]
pub(super) struct Peer {
    link: Link,
    agent: AgentId,
    deadline: Duration,
    stage: Stage,
    pools: HashMap<u32, Asked>,
    waiting: Vec<Transfer>,
    notes: Vec<Note>,
    /// When it was last told that we read.
    said: Option<Duration>,
}

#[derive(Debug)]
enum Stage {
    /// Until it has answered.
    Connecting(Connecting),
    /// Until it has said which NIXL it has.
    Proved,
    /// It can be asked.
    Met,
}

#[derive(Debug)]
enum Asked {
    Waiting,
    There(Arc<Theirs>),
    Refused(Error),
}

/// A pool of a peer's.
#[derive(Debug)]
pub(super) struct Theirs {
    pub(super) pool: u32,
    pub(super) layout: KvLayout,
    pub(super) is_sealed: bool,
    memory: Place,
    seals: Place,
    board: Place,
    /// From the layout to itself: the order in which a block's bytes are summed.
    pub(super) own: Plan,
    /// How many runs a block has.
    pub(super) runs: usize,
}

/// What a peer said that others have to do something about.
#[derive(Debug)]
pub(super) enum Said {
    /// Where a pool is, and NIXL's metadata of who has registered it, for which this peer has vouched.
    Found { metadata: Metadata, theirs: Arc<Theirs> },
    /// A pool cannot be had: those who wait for it end.
    NotFound,
    /// A pool is not to be read any more.
    Leave { pool: u32 },
}

/// How many transfers, and notes, may wait for one peer to answer.
const MAX_WAITING: usize = 4096;
/// How often it is told that we read.
const SAID_EVERY: Duration = Duration::from_millis(2);
/// How many bytes a word of a board or of seals has, and how many of them belong together.
const WORDS: u64 = 16;

impl Peer {
    /// Begins to connect.
    pub(super) fn connect(home: &Home, deadline: Duration, to: SocketAddr, agent: AgentId) -> Result<Self> {
        let (connecting, hello) = Connecting::new(&home.me, &home.tenant, &home.keys)?;
        let mut link = Link::connect(to)?;
        link.send(&hello)?;
        let (stage, pools) = (Stage::Connecting(connecting), HashMap::new());
        Ok(Self { link, agent, deadline, stage, pools, waiting: Vec::new(), notes: Vec::new(), said: None })
    }

    /// Whether both know who the other is, and have the same NIXL.
    pub(super) fn is_met(&self) -> bool {
        matches!(self.stage, Stage::Met)
    }

    /// When it has to have answered.
    pub(super) fn deadline(&self) -> Option<Duration> {
        (!self.is_met()).then_some(self.deadline)
    }

    /// Whether something waits for it to take it.
    pub(super) fn is_going(&self) -> bool {
        self.link.is_going()
    }

    pub(super) fn flush(&mut self) -> Result<()> {
        self.link.flush()
    }

    /// The pool that a transfer reads, or why it cannot be had; `None` while it has not said.
    pub(super) fn theirs(&mut self, pool: u32) -> Option<Result<Arc<Theirs>>> {
        match self.pools.get(&pool)? {
            Asked::Waiting => None,
            Asked::There(theirs) => Some(Ok(Arc::clone(theirs))),
            Asked::Refused(error) => {
                let error = Error::new(error.kind(), error.to_string());
                // It is asked for again by the next that wants it.
                self.pools.remove(&pool);
                Some(Err(error))
            }
        }
    }

    /// Has a transfer wait until the peer has said where its pool is.
    pub(super) fn wait(&mut self, transfer: Transfer) -> Result<()> {
        if self.waiting.len() >= MAX_WAITING {
            let message = format!("{MAX_WAITING} transfers wait for agent {}, expected less", self.agent);
            return Err(Error::new(ErrorKind::Exhausted, message));
        }
        let pool = transfer.grant.pool();
        if !self.pools.contains_key(&pool) {
            if self.is_met() {
                self.link.send(&Message::Find { pool }.encode())?;
            }
            self.pools.insert(pool, Asked::Waiting);
        }
        self.waiting.push(transfer);
        Ok(())
    }

    /// Takes back one that waits.
    pub(super) fn cancel(&mut self, transfer: TransferId) -> Option<Transfer> {
        let place = self.waiting.iter().position(|waiting| waiting.id == transfer)?;
        Some(self.waiting.swap_remove(place))
    }

    /// All that wait.
    pub(super) fn take_waiting(&mut self) -> Vec<Transfer> {
        std::mem::take(&mut self.waiting)
    }

    /// A pool is there from now on.
    pub(super) fn found(&mut self, theirs: Result<Arc<Theirs>>, pool: u32) {
        self.pools.insert(pool, theirs.map_or_else(Asked::Refused, Asked::There));
    }

    /// A pool is not read any more.
    pub(super) fn left(&mut self, pool: u32) -> Result<()> {
        self.link.send(&Message::Left { pool }.encode())
    }

    /// Says something of a lease, or keeps it until the peer has answered.
    pub(super) fn tell(&mut self, note: Note) -> Result<()> {
        if self.is_met() {
            return self.link.send(&Message::Say(note).encode());
        }
        if self.notes.len() >= MAX_WAITING {
            let message = format!("{MAX_WAITING} notes wait for agent {}, expected less", self.agent);
            return Err(Error::new(ErrorKind::Exhausted, message));
        }
        self.notes.push(note);
        Ok(())
    }

    /// Has the peer answer reads, for a while.
    pub(super) fn reading(&mut self, now: Duration) -> Result<()> {
        if self.said.is_some_and(|said| now < said + SAID_EVERY) {
            return Ok(());
        }
        self.said = Some(now);
        self.link.send(&Message::Reading.encode())
    }

    /// Takes what it sent. An error ends it.
    pub(super) fn hear(&mut self, ours: &str) -> Result<Vec<Said>> {
        let mut said = Vec::new();
        loop {
            match self.link.receive()? {
                Incoming::Nothing => return Ok(said),
                Incoming::Closed => {
                    let message = format!("agent {} closed the connection", self.agent);
                    return Err(Error::new(ErrorKind::Unavailable, message));
                }
                Incoming::Message(bytes) => said.extend(self.take(&bytes, ours)?),
            }
        }
    }

    fn take(&mut self, bytes: &[u8], ours: &str) -> Result<Option<Said>> {
        match std::mem::replace(&mut self.stage, Stage::Proved) {
            Stage::Connecting(connecting) => self.on_answer(connecting, bytes, ours).map(|()| None),
            Stage::Proved => self.on_met(bytes, ours).map(|()| None),
            Stage::Met => {
                self.stage = Stage::Met;
                self.on_message(Message::decode(bytes)?)
            }
        }
    }

    fn on_answer(&mut self, connecting: Connecting, bytes: &[u8], ours: &str) -> Result<()> {
        let signed = connecting.signed(bytes);
        let (who, proof) = connecting.on_answer(bytes, &[])?;
        if who.agent != self.agent {
            let message = format!("agent {} listens there, expected {}: it was restarted", who.agent, self.agent);
            return Err(Error::new(ErrorKind::Unavailable, message));
        }
        self.link.send(&proof)?;
        self.link.sign(signed?);
        self.link.send(&Message::Meet { version: ours.to_owned() }.encode())
    }

    fn on_met(&mut self, bytes: &[u8], ours: &str) -> Result<()> {
        if let Some(refused) = Refused::decode(bytes)? {
            return Err(refused.into_error());
        }
        let Message::Met { version } = Message::decode(bytes)? else {
            return Err(Error::new(ErrorKind::Corrupt, "a peer that does not say which NIXL it has"));
        };
        version::is_same(ours, &version)?;
        self.stage = Stage::Met;
        for pool in self.pools.keys() {
            self.link.send(&Message::Find { pool: *pool }.encode())?;
        }
        std::mem::take(&mut self.notes).into_iter().try_for_each(|note| self.link.send(&Message::Say(note).encode()))
    }

    fn on_message(&mut self, message: Message) -> Result<Option<Said>> {
        match message {
            Message::Found(found) => {
                let Found { pool, layout, is_sealed, memory, seals, board, metadata } = *found;
                let theirs = Theirs::new(pool, layout, is_sealed, [memory, seals, board]);
                match theirs.and_then(|theirs| Ok((Arc::new(theirs), vouched(metadata)?))) {
                    Ok((theirs, metadata)) => Ok(Some(Said::Found { metadata, theirs })),
                    Err(error) => {
                        self.found(Err(error), pool);
                        Ok(Some(Said::NotFound))
                    }
                }
            }
            Message::NotFound { pool, refused } => {
                self.found(Err(refused.into_error()), pool);
                Ok(Some(Said::NotFound))
            }
            Message::Leave { pool } => {
                self.pools.remove(&pool);
                Ok(Some(Said::Leave { pool }))
            }
            other => Err(Error::new(ErrorKind::Corrupt, format!("{other:?}, from the side that serves"))),
        }
    }
}

impl Theirs {
    fn new(pool: u32, layout: KvLayout, is_sealed: bool, [memory, seals, board]: [Place; 3]) -> Result<Self> {
        let blocks = u64::from(layout.shape().blocks);
        for (what, place, needed) in [("bytes", memory, layout.end()), ("bytes of seals", seals, blocks * WORDS)] {
            if place.len < needed {
                let message = format!("a pool of {} {what}, expected the {needed} that its layout has", place.len);
                return Err(Error::new(ErrorKind::Corrupt, message));
            }
        }
        let own = Plan::new(&layout, &layout)?;
        let runs = own.copies(&[0], &[0])?.count();
        Ok(Self { pool, layout, is_sealed, memory, seals, board, own, runs })
    }

    /// Where its memory begins.
    pub(super) fn address(&self) -> u64 {
        self.memory.address
    }

    /// Where a lease's words are on the board, if it has such a one.
    pub(super) fn on_board(&self, lease: LeaseId) -> Option<u64> {
        let at = u64::from(lease.slot) * WORDS;
        (at + WORDS <= self.board.len).then_some(self.board.address + at)
    }

    /// Where a block's seal is.
    pub(super) fn seal(&self, block: u32) -> u64 {
        self.seals.address + u64::from(block) * WORDS
    }
}

/// What a peer said that is [`Stage::Met`].
fn vouched(metadata: Vec<u8>) -> Result<Metadata> {
    // SAFETY: it came over a connection whose other side has proved that it has the tenant's key, which signs every message, and
    // which said that it has the NIXL that we have; without a key, the network between the two is trusted, as `NixlTransport` says.
    // Agents of a tenant trust each other as this transport is `Trusting`.
    unsafe { Metadata::vouched(metadata) }
}

impl AsFd for Peer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.link.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_that_is_shorter_than_its_layout_is_refused() {
        let layout = KvLayout::opaque("amx", 9, 64).unwrap();
        let place = |len| Place { address: 1 << 20, len };
        let theirs = |memory, seals| Theirs::new(0, layout.clone(), true, [place(memory), place(seals), place(32)]);
        let there = theirs(576, 144).unwrap();
        assert_eq!(there.seal(8), (1 << 20) + 128);
        let on_board = |slot| there.on_board(LeaseId { slot, generation: 1 });
        assert_eq!((on_board(1), on_board(2), on_board(u32::MAX)), (Some((1 << 20) + 16), None, None));
        for (memory, seals) in [(575, 144), (576, 143)] {
            assert_eq!(theirs(memory, seals).unwrap_err().kind(), ErrorKind::Corrupt);
        }
    }
}
