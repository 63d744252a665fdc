//! Who is inside something that has locks, so that a forked child knows whether they are free.

use std::sync::atomic::{AtomicU64, Ordering};

use llmd_core::ErrorKind;
use pyo3::prelude::*;

use crate::error::exception;

/// How many threads of this process are inside. In a forked child the count stands still at what it was in the parent: 0
/// says that no lock was held, and anything else that one may be held for ever.
#[derive(Debug)]
pub(crate) struct Occupancy(AtomicU64);

/// One thread that is inside, until this drops.
#[derive(Debug)]
pub(crate) struct Inside<'a> {
    occupancy: &'a Occupancy,
    /// Whether this is the first to come in since the process was forked.
    pub(crate) first_since_fork: bool,
}

const COUNT_BITS: u32 = 32;
const COUNT: u64 = (1 << COUNT_BITS) - 1;

impl Default for Occupancy {
    fn default() -> Self {
        Self(AtomicU64::new(of(std::process::id(), 0)))
    }
}

/// The process and the count in one word, for both change at once.
const fn of(process: u32, count: u64) -> u64 {
    (process as u64) << COUNT_BITS | count
}

impl Occupancy {
    /// Comes in. `None` in a forked child when a thread of its parent was inside at the time.
    pub(crate) fn enter(&self) -> Option<Inside<'_>> {
        let mine = of(std::process::id(), 0);
        let enter = |state| match state {
            _ if state & !COUNT == mine => Some(state + 1),
            _ if state & COUNT == 0 => Some(mine + 1),
            _ => None,
        };
        // Acquire and Release: what happened inside is seen by who comes in later; locks order those who are inside.
        let before = self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, enter).ok()?;
        Some(Inside { occupancy: self, first_since_fork: before & !COUNT != mine })
    }

    /// Comes in.
    ///
    /// # Errors
    ///
    /// `UnavailableError` in a forked child when a thread of its parent was inside at the time.
    pub(crate) fn enter_or_refuse(&self, what: &str) -> PyResult<Inside<'_>> {
        self.enter().ok_or_else(|| {
            let message =
                format!("another thread was using the {what} while this process was forked: make it anew here");
            exception(ErrorKind::Unavailable, message)
        })
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.occupancy.0.fetch_sub(1, Ordering::Release);
    }
}
