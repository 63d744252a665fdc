//! What each block of a pool adds up to, where peers can read it.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use llmd_core::Result;

use crate::copy::Expected;
use crate::region::{Access, Words};

/// What each block of a pool adds up to. A block is sealed when it is first lent, and no more when nobody holds it any longer.
///
/// Of each block there are two words: what is known of it (how often it was lent, and how far its sum is), and the sum.
#[derive(Debug)]
pub(crate) struct Seals(Words);

/// The right to say one block's sum, for as long as it is the same content.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticket {
    block: u32,
    /// What the state was when it was given.
    state: u64,
}

const OPEN: u64 = 0;
const SUMMING: u64 = 1;
const WRITING: u64 = 2;
const SEALED: u64 = 3;
/// The part of a state that is not how often the block was lent.
const STAGE: u64 = 3;
const NEXT: u64 = 4;

impl Seals {
    pub(crate) fn new(blocks: u32) -> Result<Self> {
        Ok(Self(Words::ours("llmd-seals", blocks as usize * 2)?))
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.0.fd()
    }

    /// Begins to seal a block; `None` when it is sealed or being sealed already.
    pub(crate) fn begin(&self, block: u32) -> Option<Ticket> {
        let state = self.state(block)?;
        let now = state.load(Ordering::Relaxed);
        let summing = (now & !STAGE) | SUMMING;
        let is_open = now & STAGE == OPEN;
        let is_ours = is_open && state.compare_exchange(now, summing, Ordering::Acquire, Ordering::Relaxed).is_ok();
        is_ours.then_some(Ticket { block, state: summing })
    }

    /// Says the sum. When the block was taken back since, nobody hears it.
    pub(crate) fn seal(&self, ticket: Ticket, sum: u64) {
        let Some(state) = self.state(ticket.block) else { return };
        let with = |stage: u64| (ticket.state & !STAGE) | stage;
        // Nobody opens the block while its sum is written, so that it is never that of other content.
        if state.compare_exchange(ticket.state, with(WRITING), Ordering::Acquire, Ordering::Relaxed).is_ok() {
            self.0.all()[ticket.block as usize * 2 + 1].store(sum, Ordering::Relaxed);
            // Whoever sees that it is sealed sees the sum.
            state.store(with(SEALED), Ordering::Release);
        }
    }

    /// Nobody says the sum: the block is as it was before, and sealed when it is lent again.
    pub(crate) fn give_up(&self, ticket: Ticket) {
        let Some(state) = self.state(ticket.block) else { return };
        let open = (ticket.state & !STAGE).wrapping_add(NEXT);
        // When it was taken back since, it is open already, or somebody else's.
        let _given_up = state.compare_exchange(ticket.state, open, Ordering::AcqRel, Ordering::Relaxed);
    }

    /// Nobody holds the block any longer: what is in it may change.
    pub(crate) fn open(&self, block: u32) {
        let Some(state) = self.state(block) else { return };
        let next = |now: u64| (now & STAGE != WRITING).then_some((now & !STAGE).wrapping_add(NEXT));
        // Someone who writes is done after one store.
        while state.fetch_update(Ordering::AcqRel, Ordering::Relaxed, next).is_err() {
            std::hint::spin_loop();
        }
    }

    fn state(&self, block: u32) -> Option<&AtomicU64> {
        self.0.all().get(block as usize * 2)
    }
}

impl Expected for Seals {
    fn sum(&self, block: u32) -> Option<u64> {
        sealed(&self.0, block)
    }
}

#[cfg(feature = "nixl")]
impl AsRef<Words> for Seals {
    fn as_ref(&self) -> &Words {
        &self.0
    }
}

/// What a block adds up to, by its two words as they were read twice, one after the other: words that are read together may not be
/// seen in the order in which they were written.
#[cfg(feature = "nixl")]
pub(crate) fn sealed_since([before, _]: [u64; 2], [state, sum]: [u64; 2]) -> Option<u64> {
    (before == state && state & STAGE == SEALED).then_some(sum)
}

/// The seals of a peer's pool.
#[derive(Debug)]
pub(crate) struct SealsView(Words);

impl SealsView {
    pub(crate) fn from_peer(fd: OwnedFd, blocks: u32) -> Result<Self> {
        Ok(Self(Words::from_peer(fd, blocks as usize * 2, Access::Read)?))
    }
}

impl Expected for SealsView {
    fn sum(&self, block: u32) -> Option<u64> {
        sealed(&self.0, block)
    }
}

fn sealed(words: &Words, block: u32) -> Option<u64> {
    let at = block as usize * 2;
    let [state, sum] = words.all().get(at..at + 2)? else { return None };
    // Whoever sees that it is sealed sees the sum.
    (state.load(Ordering::Acquire) & STAGE == SEALED).then(|| sum.load(Ordering::Relaxed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_sealed_once_for_each_content() {
        let seals = Seals::new(4).unwrap();
        assert_eq!(seals.sum(2), None);
        let ticket = seals.begin(2).unwrap();
        assert!(seals.begin(2).is_none(), "somebody is at it");
        assert_eq!(seals.sum(2), None);
        seals.seal(ticket, 77);
        assert_eq!((seals.sum(2), seals.sum(1), seals.sum(9)), (Some(77), None, None));
        assert!(seals.begin(2).is_none());
        seals.open(2);
        assert_eq!(seals.sum(2), None);
        seals.seal(ticket, 78);
        assert_eq!(seals.sum(2), None, "of content that is gone");
        seals.seal(seals.begin(2).unwrap(), 79);
        assert_eq!(seals.sum(2), Some(79));
        seals.open(2);
        let ticket = seals.begin(2).unwrap();
        seals.give_up(ticket);
        let again = seals.begin(2).unwrap();
        seals.give_up(ticket);
        seals.seal(ticket, 80);
        assert_eq!(seals.sum(2), None, "by one who gave up");
        seals.seal(again, 79);
        let view = SealsView::from_peer(seals.fd().try_clone_to_owned().unwrap(), 4).unwrap();
        assert_eq!(view.sum(2), Some(79));
        assert!(SealsView::from_peer(seals.fd().try_clone_to_owned().unwrap(), 5000).is_err());
    }
}
