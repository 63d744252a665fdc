//! Words from one process to another through memory that both have mapped.
//!
//! One side pushes, the other takes. Neither believes what the other could have written: places are kept privately, and what the
//! memory says of them is checked. The side that takes may go to sleep; it says so in the memory, and whoever pushes then wakes it.

use std::sync::atomic::{AtomicU64, Ordering};

use llmd_core::{Error, ErrorKind};

/// What goes in one step.
pub(super) type Slot = [u64; SLOT];

const SLOT: usize = 8;
/// How many slots there are, so that a side that is away for a moment loses nothing.
const SLOTS: u64 = 256;

/// Where the words stand: each of the first three has a cache line of its own.
const PUSHED: usize = 0;
const TAKEN: usize = 8;
const ASLEEP: usize = 16;
const FIRST: usize = 24;

/// How many words a ring needs.
pub(super) const WORDS: usize = FIRST + SLOTS as usize * SLOT;

/// A word that two threads share.
pub(super) trait Word {
    fn load(&self, ordering: Ordering) -> u64;
    fn store(&self, value: u64, ordering: Ordering);
    fn fence(ordering: Ordering);
}

impl Word for AtomicU64 {
    fn load(&self, ordering: Ordering) -> u64 {
        Self::load(self, ordering)
    }

    fn store(&self, value: u64, ordering: Ordering) {
        Self::store(self, value, ordering);
    }

    fn fence(ordering: Ordering) {
        std::sync::atomic::fence(ordering);
    }
}

/// The side that pushes.
#[derive(Debug, Default)]
pub(super) struct Pusher {
    pushed: u64,
}

/// What became of a push.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Pushed {
    /// The other side will see it.
    Seen,
    /// The other side sleeps: wake it.
    WakeIt,
    /// There is no room.
    Full,
}

impl Pusher {
    pub(super) fn push(&mut self, words: &[impl Word], slot: &Slot) -> Pushed {
        // What was taken is free: whoever took it read it before it said so.
        let taken = words[TAKEN].load(Ordering::Acquire);
        if self.pushed.wrapping_sub(taken) >= SLOTS {
            return Pushed::Full;
        }
        let at = FIRST + (self.pushed % SLOTS) as usize * SLOT;
        for (word, &value) in words[at..at + SLOT].iter().zip(slot) {
            word.store(value, Ordering::Relaxed);
        }
        self.pushed += 1;
        // Whoever sees the number sees the slot.
        words[PUSHED].store(self.pushed, Ordering::Release);
        wake(words)
    }
}

/// Either this side sees that the other sleeps, or the other sees what was pushed before it does.
fn wake<W: Word>(words: &[W]) -> Pushed {
    W::fence(Ordering::SeqCst);
    if words[ASLEEP].load(Ordering::Relaxed) == 0 { Pushed::Seen } else { Pushed::WakeIt }
}

/// The side that takes.
#[derive(Debug, Default)]
pub(super) struct Taker {
    taken: u64,
}

/// The other side wrote what nobody writes who means well.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Broken;

impl From<Broken> for Error {
    fn from(Broken: Broken) -> Self {
        Self::new(ErrorKind::Corrupt, "a ring in which more was pushed than there is room for")
    }
}

impl Taker {
    pub(super) fn take(&mut self, words: &[impl Word]) -> Result<Option<Slot>, Broken> {
        // Whoever sees the number sees the slot.
        let there = words[PUSHED].load(Ordering::Acquire).wrapping_sub(self.taken);
        if there == 0 {
            return Ok(None);
        }
        if there > SLOTS {
            return Err(Broken);
        }
        let at = FIRST + (self.taken % SLOTS) as usize * SLOT;
        let slot = std::array::from_fn(|place| words[at + place].load(Ordering::Relaxed));
        self.taken += 1;
        // It was read before this.
        words[TAKEN].store(self.taken, Ordering::Release);
        Ok(Some(slot))
    }

    /// Says that this side sleeps from now on, unless there is something to take.
    pub(super) fn sleep<W: Word>(&self, words: &[W]) -> bool {
        words[ASLEEP].store(1, Ordering::Relaxed);
        W::fence(Ordering::SeqCst);
        let is_empty = words[PUSHED].load(Ordering::Acquire) == self.taken;
        if !is_empty {
            self.wake(words);
        }
        is_empty
    }

    /// Says that this side looks by itself from now on.
    pub(super) fn wake(&self, words: &[impl Word]) {
        words[ASLEEP].store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words() -> Vec<AtomicU64> {
        (0..WORDS).map(|_| AtomicU64::new(0)).collect()
    }

    #[test]
    fn what_is_pushed_is_taken_in_order_and_never_lost() {
        let words = words();
        let (mut pusher, mut taker) = (Pusher::default(), Taker::default());
        let (mut pushed, mut taken) = (0_u64, 0_u64);
        for round in 0..2000 {
            for _ in 0..round % 300 {
                match pusher.push(&words, &[pushed; SLOT]) {
                    Pushed::Full => assert_eq!(pushed - taken, SLOTS),
                    _ => pushed += 1,
                }
            }
            for _ in 0..round % 170 {
                match taker.take(&words).unwrap() {
                    None => assert_eq!(pushed, taken),
                    Some(slot) => {
                        assert_eq!(slot, [taken; SLOT]);
                        taken += 1;
                    }
                }
            }
        }
        assert!(taken > 100_000);
    }

    #[test]
    fn one_who_sleeps_is_to_be_woken() {
        let words = words();
        let (mut pusher, mut taker) = (Pusher::default(), Taker::default());
        assert_eq!(pusher.push(&words, &[1; SLOT]), Pushed::Seen);
        assert!(!taker.sleep(&words), "there is something to take");
        taker.take(&words).unwrap();
        assert!(taker.sleep(&words));
        assert_eq!(pusher.push(&words, &[2; SLOT]), Pushed::WakeIt);
        taker.wake(&words);
        assert_eq!(pusher.push(&words, &[3; SLOT]), Pushed::Seen);
    }

    #[test]
    fn a_number_that_nobody_pushed_is_not_believed() {
        let words = words();
        words[PUSHED].store(SLOTS + 1, Ordering::Relaxed);
        assert_eq!(Taker::default().take(&words), Err(Broken));
    }
}

#[cfg(all(test, loom))]
mod models {
    use loom::sync::Arc;
    use loom::sync::atomic::{AtomicU64, fence};
    use loom::thread;

    use super::*;

    impl Word for AtomicU64 {
        fn load(&self, ordering: Ordering) -> u64 {
            Self::load(self, ordering)
        }

        fn store(&self, value: u64, ordering: Ordering) {
            Self::store(self, value, ordering);
        }

        fn fence(ordering: Ordering) {
            fence(ordering);
        }
    }

    /// Only the words that two slots need are made: loom follows each.
    fn words() -> Arc<Vec<AtomicU64>> {
        Arc::new((0..FIRST + 2 * SLOT).map(|_| AtomicU64::new(0)).collect())
    }

    #[test]
    fn a_slot_is_whole_whenever_it_is_seen() {
        loom::model(|| {
            let words = words();
            let pushing = thread::spawn({
                let words = Arc::clone(&words);
                move || {
                    let mut pusher = Pusher::default();
                    for value in 1..=2 {
                        pusher.push(&words, &[value; SLOT]);
                    }
                }
            });
            let mut taker = Taker::default();
            for expected in 1..=2 {
                if let Some(slot) = taker.take(&words).unwrap() {
                    assert_eq!(slot, [expected; SLOT]);
                } else {
                    break;
                }
            }
            pushing.join().unwrap();
        });
    }

    #[test]
    fn nobody_sleeps_through_a_push() {
        loom::model(|| {
            let words = words();
            let pushing = thread::spawn({
                let words = Arc::clone(&words);
                move || Pusher::default().push(&words, &[1; SLOT])
            });
            let mut taker = Taker::default();
            let is_asleep = taker.sleep(&words);
            let pushed = pushing.join().unwrap();
            assert!(!is_asleep || pushed == Pushed::WakeIt, "it sleeps, and nobody wakes it");
            assert_eq!(taker.take(&words).unwrap(), Some([1; SLOT]));
        });
    }
}
