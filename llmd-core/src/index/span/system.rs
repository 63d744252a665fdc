//! Where chunks of cells come from: zeroed memory, straight from the system where it is large.

#![expect(unsafe_code, reason = "chunks are allocated raw, so that they are zero without being touched")]

use std::alloc::{Layout, handle_alloc_error};
#[cfg(unix)]
use std::ptr;

use super::memory::Cell;

/// What a huge page takes. Chunks that are no smaller ask for such pages: they are read at random places.
const HUGE_PAGE: usize = 2 << 20;

/// So many cells, all zero.
pub(super) fn zeroed<T: Cell>(cells: usize) -> *mut T {
    zeroed_bytes(cells * size_of::<T>()).cast()
}

/// # Safety
///
/// `cells` came from [`zeroed`] for as many, and is not used again.
pub(super) unsafe fn free<T: Cell>(cells: *mut T, len: usize) {
    // SAFETY: as said; cells need no drop.
    unsafe { free_bytes(cells.cast(), len * size_of::<T>()) };
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
fn zeroed_bytes(bytes: usize) -> *mut u8 {
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
fn zeroed_bytes(bytes: usize) -> *mut u8 {
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
/// `cells` came from [`zeroed_bytes`] for as many bytes, and is not used again.
unsafe fn free_bytes(cells: *mut u8, bytes: usize) {
    #[cfg(unix)]
    if bytes >= HUGE_PAGE {
        // SAFETY: the mapping is exactly these bytes, and ours.
        let _ = unsafe { rustix::mm::munmap(cells.cast(), bytes) };
        return;
    }
    // SAFETY: it was allocated with the same layout.
    unsafe { std::alloc::dealloc(cells, layout(bytes)) };
}
