//! Memory that grows and never moves or goes away, so that readers may look at it while the writer writes.

#![expect(unsafe_code, reason = "chunks are allocated raw, so that they are zero without being touched and never move")]

use std::alloc::{Layout, handle_alloc_error};
use std::fmt;
use std::marker::PhantomData;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};

/// Bytes of the first chunk; each further one is twice as large as the one before.
const FIRST_BYTES: usize = 4096;
const MAX_CHUNKS: usize = 26;
/// What a huge page takes. Chunks that are no smaller ask for such pages: they are read at random places.
const HUGE_PAGE: usize = 2 << 20;

/// What chunks are made of.
///
/// # Safety
///
/// All bits zero must be a value, which may be changed while others look at it, and which needs no drop.
pub(super) unsafe trait Cell: Sync {}

// SAFETY: atomics are numbers, may be changed by anybody at any time, and are not dropped.
unsafe impl Cell for AtomicU32 {}
// SAFETY: as above.
unsafe impl Cell for AtomicU64 {}
// SAFETY: as above, several of them.
unsafe impl<T: Cell, const N: usize> Cell for [T; N] {}

/// A list of cells that grows and never moves. One thread at a time makes it grow; any number read it.
pub(super) struct Stable<T> {
    chunks: [AtomicPtr<T>; MAX_CHUNKS],
    owns: PhantomData<T>,
}

impl<T: Cell> Stable<T> {
    /// Cells of the first chunk.
    const FIRST: usize = FIRST_BYTES / size_of::<T>();

    pub(super) fn new() -> Self {
        let new = Self { chunks: [const { AtomicPtr::new(ptr::null_mut()) }; MAX_CHUNKS], owns: PhantomData };
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
        let bytes = FIRST_BYTES << chunk;
        self.chunks[chunk].store(zeroed(bytes).cast(), Ordering::Release);
        bytes
    }

    /// Chunk and place in it.
    #[inline]
    const fn split(at: usize) -> (usize, usize) {
        let from_first = at.saturating_add(Self::FIRST);
        let chunk = (from_first.ilog2() - Self::FIRST.ilog2()) as usize;
        (chunk, from_first - (Self::FIRST << chunk))
    }
}

impl<T> Drop for Stable<T> {
    fn drop(&mut self) {
        for (chunk, cells) in self.chunks.iter_mut().enumerate() {
            let cells = *cells.get_mut();
            if !cells.is_null() {
                // SAFETY: `zeroed` gave it for as many bytes, and nobody can look at it any more.
                unsafe { free(cells.cast(), FIRST_BYTES << chunk) };
            }
        }
    }
}

impl<T> fmt::Debug for Stable<T> {
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

const fn layout(bytes: usize) -> Layout {
    let align = if bytes < HUGE_PAGE { 64 } else { HUGE_PAGE };
    match Layout::from_size_align(bytes, align) {
        Ok(layout) => layout,
        Err(_) => panic!("a chunk is a power of two"),
    }
}

/// Zeroed memory on a huge page's boundary, of which nothing is there before it is touched.
#[cfg(unix)]
fn zeroed(bytes: usize) -> *mut u8 {
    use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};

    if bytes < HUGE_PAGE {
        // SAFETY: the layout has a size.
        return given(unsafe { std::alloc::alloc_zeroed(layout(bytes)) }, bytes);
    }
    // SAFETY: a new mapping at an address of the system's choice touches nothing that exists.
    let map = unsafe {
        mmap_anonymous(ptr::null_mut(), bytes + HUGE_PAGE, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)
    };
    let Ok(map) = map else { handle_alloc_error(layout(bytes)) };
    let map = map.cast::<u8>();
    let before = map.align_offset(HUGE_PAGE);
    // SAFETY: all of these lie in the mapping just made; what is cut off at both ends is used by nobody, and advice changes
    // no content.
    unsafe {
        let aligned = map.add(before);
        if before > 0 {
            let _ = munmap(map.cast(), before);
        }
        if HUGE_PAGE > before {
            let _ = munmap(aligned.add(bytes).cast(), HUGE_PAGE - before);
        }
        #[cfg(target_os = "linux")]
        let _ = madvise(aligned.cast(), bytes, Advice::LinuxHugepage);
        aligned
    }
}

#[cfg(not(unix))]
fn zeroed(bytes: usize) -> *mut u8 {
    // SAFETY: the layout has a size.
    given(unsafe { std::alloc::alloc_zeroed(layout(bytes)) }, bytes)
}

fn given(cells: *mut u8, bytes: usize) -> *mut u8 {
    if cells.is_null() {
        handle_alloc_error(layout(bytes));
    }
    cells
}

/// # Safety
///
/// `cells` came from [`zeroed`] for as many bytes, and is not used again.
unsafe fn free(cells: *mut u8, bytes: usize) {
    #[cfg(unix)]
    if bytes >= HUGE_PAGE {
        // SAFETY: the mapping is exactly these bytes, and ours.
        let _ = unsafe { rustix::mm::munmap(cells.cast(), bytes) };
        return;
    }
    // SAFETY: it was allocated with the same layout.
    unsafe { std::alloc::dealloc(cells, layout(bytes)) };
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
