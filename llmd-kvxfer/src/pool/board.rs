//! Which leases hold, where peers can read it.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

use llmd_core::{Error, ErrorKind, Result};

use crate::lease::{Fence, LeaseId};
use crate::outcome::Outcome;
use crate::region::{Access, Words};

/// Which leases hold: of each slot the generation of the one that does, or 0, and its capability's tag.
///
/// A peer that copies by itself looks before its copy and after it. Leases are taken off before anybody is told that they ended, so
/// a copy after which the lease still stands is of blocks that were not used again.
#[derive(Clone, Debug)]
pub(crate) struct Board(Arc<Words>);

impl Board {
    pub(crate) fn new(slots: usize) -> Result<Self> {
        Ok(Self(Arc::new(Words::ours("llmd-board", slots * 2)?)))
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.0.fd()
    }

    /// Whether a lease still holds, after what was read before this.
    pub(crate) fn holds(&self, lease: LeaseId) -> bool {
        holds(&self.0, lease)
    }
}

impl Fence for Board {
    fn raise(&mut self, lease: LeaseId, tag: u64) {
        let at = lease.slot as usize * 2;
        let Some([generation, place]) = self.0.all().get(at..at + 2) else { return };
        place.store(tag, Ordering::Relaxed);
        // Whoever sees the lease sees its tag.
        generation.store(lease.generation, Ordering::Release);
    }

    fn lower(&mut self, lease: LeaseId) {
        if let Some(generation) = self.0.all().get(lease.slot as usize * 2) {
            generation.store(0, Ordering::Relaxed);
            // Before anything that is written to its blocks from now on.
            fence(Ordering::SeqCst);
        }
    }
}

#[cfg(feature = "nixl")]
impl AsRef<Words> for Board {
    fn as_ref(&self) -> &Words {
        &self.0
    }
}

/// What a lease's two words on a board say, however they were read: whether it holds, and is of one who has the capability of this
/// tag.
#[cfg(feature = "nixl")]
pub(crate) fn standing([generation, right]: [u64; 2], lease: LeaseId, tag: u64) -> Result<(), Outcome> {
    match generation {
        there if there != lease.generation => Err(Outcome::Stale),
        _ if right != tag => Err(Outcome::Denied),
        _ => Ok(()),
    }
}

/// The board of a peer.
#[derive(Debug)]
pub(crate) struct BoardView(Words);

impl BoardView {
    pub(crate) fn from_peer(fd: OwnedFd) -> Result<Self> {
        Ok(Self(Words::from_peer(fd, 2, Access::Read)?))
    }

    /// Before a copy: whether the lease holds, and is of one who has the capability of this tag.
    pub(crate) fn check(&self, lease: LeaseId, tag: u64) -> Result<(), Outcome> {
        let at = lease.slot as usize * 2;
        let Some([generation, right]) = self.0.all().get(at..at + 2) else { return Err(Outcome::Denied) };
        match generation.load(Ordering::Acquire) {
            there if there != lease.generation => Err(Outcome::Stale),
            _ if right.load(Ordering::Relaxed) != tag => Err(Outcome::Denied),
            _ => Ok(()),
        }
    }

    /// After a copy: whether the lease still holds.
    pub(crate) fn holds(&self, lease: LeaseId) -> bool {
        holds(&self.0, lease)
    }
}

fn holds(words: &Words, lease: LeaseId) -> bool {
    // What was read of the blocks was read before this.
    fence(Ordering::SeqCst);
    words.all().get(lease.slot as usize * 2).is_some_and(|there| there.load(Ordering::Acquire) == lease.generation)
}

/// A board for this many leases cannot be had.
pub(crate) fn slots(max_leases: usize) -> Result<usize> {
    match max_leases {
        1..=MAX_SLOTS => Ok(max_leases),
        _ => Err(Error::new(ErrorKind::Invalid, format!("max_leases {max_leases}, expected 1 to {MAX_SLOTS}"))),
    }
}

const MAX_SLOTS: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_sees_which_leases_hold() {
        let mut board = Board::new(8).unwrap();
        let view = BoardView::from_peer(board.fd().try_clone_to_owned().unwrap()).unwrap();
        let lease = LeaseId { slot: 3, generation: 5 };
        let (right, wrong) = (0x11, 0x22);
        assert_eq!(view.check(lease, right), Err(Outcome::Stale));
        board.raise(lease, right);
        assert_eq!((view.check(lease, right), view.check(lease, wrong)), (Ok(()), Err(Outcome::Denied)));
        assert!(view.holds(lease) && board.holds(lease));
        assert_eq!(view.check(LeaseId { slot: 1 << 30, ..lease }, right), Err(Outcome::Denied));
        board.lower(lease);
        assert!(!view.holds(lease) && !board.holds(lease));
        assert_eq!(view.check(lease, right), Err(Outcome::Stale));
    }
}
