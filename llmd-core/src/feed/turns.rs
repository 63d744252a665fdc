//! Something that one thread at a time changes, and whether any is at it: what a forked child must know.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::{Mutex, MutexGuard};

/// A value that threads change in turn.
///
/// That the lock is free does not say that a forked child may take it: who waits stands in a table that all locks of the
/// process share, and a thread that just gave the lock to the next may still hold a part of it.
#[derive(Debug)]
pub(super) struct Turns<T> {
    value: Mutex<T>,
    /// How many threads change it, wait to, or are about to leave.
    inside: AtomicUsize,
}

/// The turn of one thread, until this drops.
#[derive(Debug)]
pub(super) struct Turn<'a, T> {
    // Dropped in this order: whoever still unlocks is still inside.
    value: MutexGuard<'a, T>,
    _inside: Inside<'a>,
}

#[derive(Debug)]
struct Inside<'a>(&'a AtomicUsize);

impl<T> Turns<T> {
    pub(super) const fn new(value: T) -> Self {
        Self { value: Mutex::new(value), inside: AtomicUsize::new(0) }
    }

    /// Waits for those before.
    pub(super) fn wait(&self) -> Turn<'_, T> {
        // Relaxed: the child of a fork sees what the forking thread saw, and the lock orders everything else.
        self.inside.fetch_add(1, Ordering::Relaxed);
        let inside = Inside(&self.inside);
        Turn { value: self.value.lock(), _inside: inside }
    }

    /// Whether any thread is at it. In a forked child none ever leaves that was.
    pub(super) fn are_taken(&self) -> bool {
        self.inside.load(Ordering::Relaxed) > 0
    }
}

impl<T> Deref for Turn<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for Turn<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Duration;

    use super::*;

    #[test]
    fn who_changes_it_and_who_waits_to_is_at_it() {
        let turns = Turns::new(0);
        assert!(!turns.are_taken());
        let first = turns.wait();
        thread::scope(|scope| {
            scope.spawn(|| *turns.wait() += 1);
            while turns.inside.load(Ordering::Relaxed) < 2 {
                thread::sleep(Duration::from_millis(1));
            }
            assert!(turns.are_taken());
            drop(first);
        });
        assert!(!turns.are_taken());
        assert_eq!(*turns.wait(), 1);
    }
}
