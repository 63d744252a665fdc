//! What is said to the other side through a ring, and what is heard of it.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;

use llmd_core::Result;
use parking_lot::Mutex;

use super::super::bell;
use super::ring::{self, Broken, Pushed, Pusher, Slot, Taker};
use crate::region::{Access, Words};

/// A ring through which any thread of ours says something to the other side.
pub(super) struct Line {
    words: Words,
    pusher: Mutex<Pusher>,
    /// What wakes the other side, once that is known.
    doorbell: OnceLock<OwnedFd>,
}

impl Line {
    pub(super) fn new() -> Result<Self> {
        Ok(Self::of(Words::shared("llmd-ring", ring::WORDS)?))
    }

    pub(super) fn from_peer(fd: OwnedFd, doorbell: OwnedFd) -> Result<Self> {
        let line = Self::of(Words::from_peer(fd, ring::WORDS, Access::Write)?);
        line.wakes(doorbell);
        Ok(line)
    }

    fn of(words: Words) -> Self {
        Self { words, pusher: Mutex::default(), doorbell: OnceLock::new() }
    }

    /// From now on this is what wakes the other side.
    pub(super) fn wakes(&self, doorbell: OwnedFd) {
        // Whatever it is that the other side sent, writing to it must not wait.
        let _quick = rustix::fs::fcntl_setfl(&doorbell, rustix::fs::OFlags::NONBLOCK);
        // A second one would be the same.
        let _known = self.doorbell.set(doorbell);
    }

    /// Whether the other side can be woken.
    pub(super) fn is_ready(&self) -> bool {
        self.doorbell.get().is_some()
    }

    /// Says it; `false` when there is no room.
    pub(super) fn push(&self, slot: &Slot) -> bool {
        let pushed = self.pusher.lock().push(self.words.all(), slot);
        if pushed != Pushed::Seen
            && let Some(doorbell) = self.doorbell.get()
        {
            bell::ring(doorbell.as_fd());
        }
        pushed != Pushed::Full
    }

    /// What the other side takes from.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.words.fd()
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line").field("is_ready", &self.is_ready()).finish_non_exhaustive()
    }
}

/// A ring through which the other side says something.
#[derive(Debug)]
pub(super) struct Ear {
    words: Words,
    taker: Taker,
}

impl Ear {
    pub(super) fn new() -> Result<Self> {
        Ok(Self { words: Words::shared("llmd-ring", ring::WORDS)?, taker: Taker::default() })
    }

    pub(super) fn from_peer(fd: OwnedFd) -> Result<Self> {
        Ok(Self { words: Words::from_peer(fd, ring::WORDS, Access::Write)?, taker: Taker::default() })
    }

    /// What was said next.
    pub(super) fn take(&mut self) -> Result<Option<Slot>, Broken> {
        self.taker.take(self.words.all())
    }

    /// Has the other side wake us from now on; `false` when there is something to take.
    pub(super) fn sleep(&self) -> bool {
        self.taker.sleep(self.words.all())
    }

    pub(super) fn awake(&self) {
        self.taker.wake(self.words.all());
    }

    /// What the other side pushes to.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.words.fd()
    }
}
