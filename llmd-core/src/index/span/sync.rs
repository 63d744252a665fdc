//! Atomics as readers and the writer share them: the standard ones, or loom's, which tries every order in which threads may
//! see what they do (`cargo xtask loom`).

/// Of one that nobody changes while another thread is there, loom has nothing to try.
pub(super) use std::sync::atomic::AtomicBool;

#[cfg(not(loom))]
pub(super) use std::hint::spin_loop;
#[cfg(not(loom))]
pub(super) use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering, fence};

#[cfg(loom)]
pub(super) use loom::hint::spin_loop;
#[cfg(loom)]
pub(super) use loom::sync::atomic::{Ordering, fence};

#[cfg(loom)]
pub(super) use super::system::{AtomicPtr, AtomicU32, AtomicU64};
