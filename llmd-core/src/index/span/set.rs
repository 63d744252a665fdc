//! A set of columns: up to four in one word, a bitmap beyond.

use super::Column;
use super::arena::Arena;
use super::memory::Stable;
use super::sync::{AtomicU64, Ordering};

const INLINE: u32 = 4;
const BITMAP: u32 = 1 << 31;
/// Where in a bitmap's kind the number of its words begins; below it, how many columns are in it.
const WORDS_AT: u32 = 17;
/// How few columns a bitmap has when it becomes a word again.
const FEW: u32 = 2;

/// A set of columns. What it leads to belongs to it alone.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Set {
    kind: u32,
    /// Four columns, or where the bitmap is.
    data: u64,
}

type Words = Stable<AtomicU64>;

impl Set {
    pub(super) const fn of(column: Column) -> Self {
        Self { kind: 1, data: column as u64 }
    }

    #[inline]
    pub(super) const fn from_parts(kind: u32, data: u64) -> Self {
        Self { kind, data }
    }

    #[inline]
    pub(super) const fn parts(self) -> (u32, u64) {
        (self.kind, self.data)
    }

    #[inline]
    pub(super) const fn is_empty(self) -> bool {
        self.kind == 0
    }

    /// Whether it is this column and no other.
    #[inline]
    pub(super) const fn is_only(self, column: Column) -> bool {
        self.kind == 1 && self.data as Column == column
    }

    #[inline]
    const fn is_bitmap(self) -> bool {
        self.kind & BITMAP != 0
    }

    /// Where its bitmap begins, if it has one: for asking for that memory early.
    #[inline]
    pub(super) const fn address(self) -> Option<usize> {
        if self.is_bitmap() { Some(self.data as usize) } else { None }
    }

    #[inline]
    const fn words(self) -> usize {
        ((self.kind & !BITMAP) >> WORDS_AT) as usize
    }

    /// How many columns are in it.
    pub(super) const fn len(self) -> usize {
        (self.kind & ((1 << WORDS_AT) - 1)) as usize
    }

    #[inline]
    pub(super) fn contains(self, words: &Words, column: Column) -> bool {
        if self.is_bitmap() {
            let word = usize::from(column >> 6);
            word < self.words() && words.at(self.data as usize + word).load(Ordering::Relaxed) >> (column & 63) & 1 == 1
        } else {
            let mut rest = self.data;
            for _ in 0..self.kind.min(INLINE) {
                if rest as Column == column {
                    return true;
                }
                rest >>= 16;
            }
            false
        }
    }

    /// Adds its columns to `bits`, as far as these reach.
    #[inline]
    pub(super) fn add_to(self, words: &Words, bits: &mut [u64]) {
        if self.is_bitmap() {
            let at = self.data as usize;
            for (word, bits) in bits.iter_mut().enumerate().take(self.words()) {
                *bits |= words.at(at.wrapping_add(word)).load(Ordering::Relaxed);
            }
        } else {
            let mut rest = self.data;
            for _ in 0..self.kind.min(INLINE) {
                let column = rest as Column;
                if let Some(word) = bits.get_mut(usize::from(column >> 6)) {
                    *word |= 1 << (column & 63);
                }
                rest >>= 16;
            }
        }
    }

    /// Every column in it.
    pub(super) fn for_each(self, words: &Words, mut tell: impl FnMut(Column)) {
        if !self.is_bitmap() {
            (0..self.kind.min(INLINE)).for_each(|nth| tell((self.data >> (16 * nth)) as Column));
            return;
        }
        for word in 0..self.words() {
            let mut bits = words.at((self.data as usize).wrapping_add(word)).load(Ordering::Relaxed);
            while bits != 0 {
                tell((word * 64) as Column + bits.trailing_zeros() as Column);
                bits &= bits - 1;
            }
        }
    }

    /// The set with a column that is not in it.
    pub(super) fn with(self, arena: &mut Arena, words: &Words, column: Column) -> Self {
        debug_assert!(!self.contains(words, column), "it is there once");
        if !self.is_bitmap() && self.kind < INLINE {
            return self.and(column);
        }
        let needed = usize::from(column >> 6) + 1;
        if self.is_bitmap() && needed <= self.words() {
            flip(words, self.data as usize, column);
            return Self { kind: self.kind + 1, ..self };
        }
        let mut largest = column;
        self.for_each(words, |other| largest = largest.max(other));
        let (at, len) = arena.take(usize::from(largest >> 6) + 1);
        (0..len).for_each(|word| words.at((at + word) as usize).store(0, Ordering::Relaxed));
        self.for_each(words, |other| flip(words, at as usize, other));
        flip(words, at as usize, column);
        let grown = Self { kind: BITMAP | len << WORDS_AT | (self.len() as u32 + 1), data: at.into() };
        self.give_back(arena);
        grown
    }

    /// The set without a column that is in it.
    pub(super) fn without(self, arena: &mut Arena, words: &Words, column: Column) -> Self {
        debug_assert!(self.contains(words, column), "it is there");
        if self.is_bitmap() {
            flip(words, self.data as usize, column);
            let less = Self { kind: self.kind - 1, ..self };
            if less.len() > FEW as usize {
                return less;
            }
            let mut few = Self::default();
            less.for_each(words, |other| few = few.and(other));
            self.give_back(arena);
            return few;
        }
        let mut less = Self::default();
        self.for_each(words, |other| {
            if other != column {
                less = less.and(other);
            }
        });
        less
    }

    /// Gives its memory back; it is not to be used again.
    pub(super) fn give_back(self, arena: &mut Arena) {
        if self.is_bitmap() {
            arena.give_back(self.data as u32, self.words() as u32);
        }
    }

    /// One more in a word that has room.
    const fn and(self, column: Column) -> Self {
        Self { kind: self.kind + 1, data: self.data | (column as u64) << (16 * self.kind) }
    }
}

fn flip(words: &Words, at: usize, column: Column) {
    let word = words.at(at + usize::from(column >> 6));
    word.store(word.load(Ordering::Relaxed) ^ 1 << (column & 63), Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_set_is_a_set(flips in proptest::collection::vec(prop_oneof![0..12_u16, any::<u16>()], 0..60)) {
            let words = Arc::new(Words::new());
            let (mut arena, mut set, mut model) = (Arena::new(Arc::clone(&words)), Set::default(), BTreeSet::new());
            for column in flips {
                if model.insert(column) {
                    set = set.with(&mut arena, &words, column);
                } else {
                    model.remove(&column);
                    set = set.without(&mut arena, &words, column);
                }
                let mut all = BTreeSet::new();
                set.for_each(&words, |column| assert!(all.insert(column)));
                prop_assert_eq!(&all, &model);
                prop_assert_eq!((set.len(), set.is_empty()), (model.len(), model.is_empty()));
                let mut bits = [0_u64; 1024];
                set.add_to(&words, &mut bits);
                let bit = |column: &u16| bits[usize::from(column >> 6)] >> (column & 63) & 1 == 1;
                prop_assert!(model.iter().all(bit));
                prop_assert_eq!(bits.iter().map(|bits| bits.count_ones() as usize).sum::<usize>(), model.len());
            }
        }
    }
}
