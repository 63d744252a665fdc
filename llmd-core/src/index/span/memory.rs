//! Memory that grows and never moves or goes away, so that readers may look at it while the writer writes.

#![expect(unsafe_code, reason = "cells are reached through pointers to chunks, which never move")]

use std::fmt;
use std::marker::PhantomData;
use std::ptr;

use super::sync::{AtomicPtr, AtomicU32, AtomicU64, Ordering};
use super::system::{free, zeroed};

/// Bytes of the first chunk; each further one is twice as large as the one before.
const FIRST_BYTES: usize = 4096;
const MAX_CHUNKS: usize = 26;

/// What chunks are made of.
///
/// # Safety
///
/// All bits zero must be a value, which may be changed while others look at it, and which needs no drop.
pub(super) unsafe trait Cell: Sync + Sized {
    /// The value of which all bits are zero, for models: loom's atomics are more than their bits.
    #[cfg(loom)]
    fn zero() -> Self;
}

// SAFETY: atomics are numbers, may be changed by anybody at any time, and are not dropped.
unsafe impl Cell for AtomicU32 {
    #[cfg(loom)]
    fn zero() -> Self {
        Self::new(0)
    }
}

// SAFETY: as above.
unsafe impl Cell for AtomicU64 {
    #[cfg(loom)]
    fn zero() -> Self {
        Self::new(0)
    }
}

// SAFETY: as above, several of them.
unsafe impl<T: Cell, const N: usize> Cell for [T; N] {
    #[cfg(loom)]
    fn zero() -> Self {
        std::array::from_fn(|_| T::zero())
    }
}

/// A list of cells that grows and never moves. One thread at a time makes it grow; any number read it.
pub(super) struct Stable<T: Cell> {
    chunks: [AtomicPtr<T>; MAX_CHUNKS],
    owns: PhantomData<T>,
}

impl<T: Cell> Stable<T> {
    /// Cells of the first chunk.
    const FIRST: usize = if cfg!(loom) { 2 } else { FIRST_BYTES / size_of::<T>() };

    pub(super) fn new() -> Self {
        let new = Self { chunks: std::array::from_fn(|_| AtomicPtr::new(ptr::null_mut())), owns: PhantomData };
        new.reserve(0, 1);
        new
    }

    /// The cell at `at`. Where there is none, one of those at the beginning: a reader that adds up numbers of different
    /// moments comes here, finds out, and looks again.
    #[inline]
    pub(super) fn at(&self, at: usize) -> &T {
        let (chunk, offset) = Self::split(at);
        let cells = self.chunks.get(chunk).map_or(ptr::null_mut(), |cells| cells.load(Ordering::Acquire));
        let (cells, offset) =
            if cells.is_null() { (self.chunks[0].load(Ordering::Acquire), 0) } else { (cells, offset) };
        // SAFETY: a chunk that is there has `FIRST << chunk` cells, which were zeroed when it was made and are never freed
        // before `self` is; `split` gives an offset below that, and chunk 0 is there from the beginning.
        unsafe { &*cells.add(offset) }
    }

    /// The cells `at..at + len`, which were reserved together; for the writer, who knows that they were.
    ///
    /// # Panics
    ///
    /// When they are not there.
    #[inline]
    pub(super) fn cells(&self, at: usize, len: usize) -> &[T] {
        let (chunk, offset) = Self::split(at);
        let cells = self.chunks[chunk].load(Ordering::Acquire);
        assert!(!cells.is_null() && offset + len <= Self::FIRST << chunk, "cells that were reserved are there");
        // SAFETY: as in `at`; the chunk has as many cells behind the first of these.
        unsafe { std::slice::from_raw_parts(cells.add(offset), len) }
    }

    /// Every cell that there is.
    pub(super) fn all(&self) -> impl Iterator<Item = &T> {
        let chunks = self.chunks.iter().enumerate().filter(|(_, cells)| !cells.load(Ordering::Acquire).is_null());
        chunks.flat_map(|(chunk, _)| {
            let len = Self::FIRST << chunk;
            self.cells(len - Self::FIRST, len)
        })
    }

    /// Where the next `len` cells that follow each other in memory can begin, at `at` or behind it.
    pub(super) fn fit(at: usize, len: usize) -> usize {
        let (mut chunk, offset) = Self::split(at);
        if offset + len <= Self::FIRST << chunk {
            return at;
        }
        loop {
            chunk += 1;
            if len <= Self::FIRST << chunk {
                return (Self::FIRST << chunk) - Self::FIRST;
            }
        }
    }

    /// Makes the cells `at..at + len`, which [`fit`](Self::fit) one chunk; says how many bytes that took.
    pub(super) fn reserve(&self, at: usize, len: usize) -> usize {
        let (chunk, offset) = Self::split(at);
        assert!(chunk < MAX_CHUNKS && offset + len <= Self::FIRST << chunk, "cells that are made fit one chunk");
        if !self.chunks[chunk].load(Ordering::Relaxed).is_null() {
            return 0;
        }
        self.chunks[chunk].store(zeroed(Self::FIRST << chunk), Ordering::Release);
        FIRST_BYTES << chunk
    }

    /// Chunk and place in it.
    #[inline]
    const fn split(at: usize) -> (usize, usize) {
        let from_first = at.saturating_add(Self::FIRST);
        let chunk = (from_first.ilog2() - Self::FIRST.ilog2()) as usize;
        (chunk, from_first - (Self::FIRST << chunk))
    }
}

impl<T: Cell> Drop for Stable<T> {
    fn drop(&mut self) {
        for (chunk, cells) in self.chunks.iter().enumerate() {
            let cells = cells.load(Ordering::Relaxed);
            if !cells.is_null() {
                // SAFETY: `zeroed` gave it for as many cells, and nobody can look at it any more.
                unsafe { free(cells, Self::FIRST << chunk) };
            }
        }
    }
}

impl<T: Cell> fmt::Debug for Stable<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stable").finish_non_exhaustive()
    }
}

/// Asks for the memory behind a cell, which will be needed soon.
#[inline]
pub(super) fn prefetch<T>(cell: &T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: it reads nothing, whatever the address; every x86-64 has it.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(ptr::from_ref(cell).cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = cell;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_stay_where_they_are() {
        let words = Stable::<AtomicU64>::new();
        let mut at = 0;
        let mut kept = Vec::new();
        for len in [2, 500, 12, 3000, 100_000, 7, 600_000] {
            at = Stable::<AtomicU64>::fit(at, len);
            words.reserve(at, len);
            for place in [at, at + len - 1] {
                assert_eq!(words.at(place).load(Ordering::Relaxed), 0);
                words.at(place).store(place as u64 + 1, Ordering::Relaxed);
                kept.push((place, ptr::from_ref(words.at(place))));
            }
            let (first, last) = (ptr::from_ref(words.at(at)), ptr::from_ref(words.at(at + len - 1)));
            assert_eq!(last as usize - first as usize, (len - 1) * 8, "they follow each other in memory");
            at += len;
        }
        for (place, cell) in kept {
            assert_eq!(words.at(place).load(Ordering::Relaxed), place as u64 + 1);
            assert!(ptr::eq(words.at(place), cell));
        }
    }

    #[test]
    fn what_is_not_there_is_the_beginning() {
        let words = Stable::<AtomicU64>::new();
        words.at(0).store(9, Ordering::Relaxed);
        assert_eq!(words.at(usize::from(u16::MAX) << 10).load(Ordering::Relaxed), 9);
        assert_eq!(words.at(u32::MAX as usize * 2).load(Ordering::Relaxed), 9);
    }

    #[test]
    fn any_number_is_an_address() {
        let words = Stable::<AtomicU64>::new();
        for chunk in 1..8 {
            words.reserve((Stable::<AtomicU64>::FIRST << chunk) - Stable::<AtomicU64>::FIRST, 1);
        }
        words.at(0).store(9, Ordering::Relaxed);
        for bit in 40..64 {
            assert_eq!(words.at(1 << bit).load(Ordering::Relaxed), 9, "at 2^{bit}");
        }
        assert_eq!(words.at(usize::MAX).load(Ordering::Relaxed), 9);
    }
}
