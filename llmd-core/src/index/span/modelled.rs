//! In models: loom's atomics, and chunks of them.
//!
//! Loom tries an order of a store and the load before it by another thread only when no load of the storing thread comes
//! between them: it keeps one access per atomic. The writer looks at nearly everything before it changes it, so its loads,
//! which can see nothing but what it stored itself, are hidden from loom; otherwise hardly any order would be tried.

#![expect(
    unsafe_code,
    reason = "chunks are pointers, as outside of models, and the writer looks without synchronizing"
)]

use std::cell::Cell as Slot;
use std::thread_local;

use loom::sync::atomic as loomed;
use loom::thread::ThreadId;

use super::memory::Cell;
use super::sync::Ordering;

thread_local! {
    /// Loom's threads take turns in one thread of the system.
    static WRITER: Slot<Option<ThreadId>> = const { Slot::new(None) };
}

/// From here on the thread that calls this is the only one that stores anything.
pub(super) fn become_writer() {
    WRITER.set(Some(loom::thread::current().id()));
}

/// No thread is the writer.
pub(super) fn forget_writer() {
    WRITER.set(None);
}

fn is_writer() -> bool {
    WRITER.get().is_some_and(|writer| writer == loom::thread::current().id())
}

macro_rules! atomic {
    ($name:ident, $number:ty) => {
        #[derive(Debug, Default)]
        pub(super) struct $name(loomed::$name);

        impl $name {
            pub(super) fn new(number: $number) -> Self {
                Self(loomed::$name::new(number))
            }

            pub(super) fn load(&self, ordering: Ordering) -> $number {
                if is_writer() {
                    // SAFETY: nobody else stores.
                    return unsafe { self.0.unsync_load() };
                }
                self.0.load(ordering)
            }

            pub(super) fn store(&self, number: $number, ordering: Ordering) {
                self.0.store(number, ordering);
            }
        }
    };
}

atomic!(AtomicU32, u32);
atomic!(AtomicU64, u64);

impl AtomicU32 {
    pub(super) fn fetch_add(&self, number: u32, ordering: Ordering) -> u32 {
        self.0.fetch_add(number, ordering)
    }
}

#[derive(Debug)]
pub(super) struct AtomicPtr<T>(loomed::AtomicPtr<T>);

impl<T> AtomicPtr<T> {
    pub(super) fn new(to: *mut T) -> Self {
        Self(loomed::AtomicPtr::new(to))
    }

    pub(super) fn load(&self, ordering: Ordering) -> *mut T {
        if is_writer() {
            // SAFETY: nobody else stores.
            return unsafe { self.0.unsync_load() };
        }
        self.0.load(ordering)
    }

    pub(super) fn store(&self, to: *mut T, ordering: Ordering) {
        self.0.store(to, ordering);
    }
}

/// So many cells, all zero.
pub(super) fn zeroed<T: Cell>(cells: usize) -> *mut T {
    Box::into_raw((0..cells).map(|_| T::zero()).collect::<Box<[T]>>()).cast()
}

/// # Safety
///
/// `cells` came from [`zeroed`] for as many, and is not used again.
pub(super) unsafe fn free<T: Cell>(cells: *mut T, len: usize) {
    // SAFETY: as said; it was a box of so many.
    drop(unsafe { Box::from_raw(std::ptr::slice_from_raw_parts_mut(cells, len)) });
}
