//! Words for lists of every length: handed out, taken back, handed out again.

use std::sync::Arc;

use super::memory::Stable;
use super::sync::AtomicU64;

/// The longest list: one chunk must hold it, and classes are counted up to here.
pub(super) const MAX_WORDS: usize = 1 << 24;

/// Hands out words of a [`Stable`] list. A list has the length of its class, which is at most an eighth longer than asked.
#[derive(Debug)]
pub(super) struct Arena {
    words: Arc<Stable<AtomicU64>>,
    next: usize,
    free: Vec<Vec<u32>>,
    bytes: usize,
}

impl Arena {
    pub(super) fn new(words: Arc<Stable<AtomicU64>>) -> Self {
        // Address 0 is never handed out, so that a list that is not there can have it.
        Self { words, next: 4, free: vec![Vec::new(); class(MAX_WORDS) + 1], bytes: 0 }
    }

    /// Bytes that were asked of the system.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether lists of `len` words in all can be taken before addresses are used up, which is at 32 GiB.
    pub(super) const fn has_room(&self, len: usize) -> bool {
        self.next + 2 * len + 2 * MAX_WORDS < u32::MAX as usize
    }

    /// Room for `len` words, and how many there are.
    pub(super) fn take(&mut self, len: usize) -> (u32, u32) {
        let class = class(len.max(1));
        let len = class_len(class);
        if let Some(at) = self.free[class].pop() {
            return (at, len as u32);
        }
        let at = Stable::<AtomicU64>::fit(self.next, len);
        self.bytes += self.words.reserve(at, len);
        self.next = at + len;
        (u32::try_from(at).expect("whoever takes has asked for room"), len as u32)
    }

    /// Takes back what [`take`](Self::take) gave, with the length that it said.
    pub(super) fn give_back(&mut self, at: u32, len: u32) {
        if len > 0 {
            self.free[class(len as usize)].push(at);
        }
    }
}

/// Up to 64 words in steps of 4, then eight steps to each doubling.
const fn class(len: usize) -> usize {
    if len <= 64 {
        return len.div_ceil(4);
    }
    let doubling = (len - 1).ilog2() as usize;
    let step = (1 << doubling) / 8;
    16 + (doubling - 6) * 8 + (len - (1 << doubling)).div_ceil(step)
}

const fn class_len(class: usize) -> usize {
    if class <= 16 {
        return class * 4;
    }
    let doubling = 6 + (class - 17) / 8;
    let step = (1 << doubling) / 8;
    (1 << doubling) + ((class - 17) % 8 + 1) * step
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_is_long_enough_and_not_much_longer() {
        for len in (1..5000).chain([65_535, 65_536, 65_537, 100_000, MAX_WORDS]) {
            let given = class_len(class(len));
            assert!(given >= len && given <= len + (len / 8).max(3), "{given} for {len}");
            assert_eq!(class(given), class(len), "it is found again by its length");
        }
    }

    #[test]
    fn what_was_taken_back_is_handed_out_again() {
        let mut arena = Arena::new(Arc::new(Stable::new()));
        let (first, len) = arena.take(100);
        let (second, _) = arena.take(100);
        assert!(second >= first + len);
        arena.give_back(first, len);
        assert_eq!(arena.take(len as usize), (first, len));
    }
}
