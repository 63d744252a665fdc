//! Atomics as those who hold a place and those who give it back share them: the standard ones, or loom's, which tries every
//! order in which threads may see what they do (`cargo xtask loom`).

#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU64, Ordering};
#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
