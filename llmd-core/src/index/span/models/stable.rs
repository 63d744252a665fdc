//! Memory that grows while it is read.

use super::super::memory::Stable;
use super::super::sync::{AtomicU64, Ordering};
use super::explore;

/// A cell that is not in the first chunk.
const FAR: usize = 5;

#[test]
fn what_was_written_into_a_new_chunk_is_found_by_who_was_told_of_it() {
    let shared = || (Stable::<AtomicU64>::new(), AtomicU64::new(0));
    let write = |(words, told): &(Stable<AtomicU64>, AtomicU64)| {
        words.reserve(FAR, 1);
        words.at(FAR).store(7, Ordering::Relaxed);
        told.store(1, Ordering::Release);
    };
    let orders = explore(3, shared, write, |(words, told)| {
        if told.load(Ordering::Acquire) == 1 {
            assert_eq!(words.at(FAR).load(Ordering::Relaxed), 7);
        }
    });
    assert!(orders > 2, "{orders}");
}

#[test]
fn who_was_told_nothing_finds_the_beginning_or_a_cell_of_a_whole_chunk() {
    let shared = || {
        let words = Stable::<AtomicU64>::new();
        words.at(0).store(9, Ordering::Relaxed);
        words
    };
    let write = |words: &Stable<AtomicU64>| {
        words.reserve(FAR, 1);
        words.at(FAR).store(7, Ordering::Relaxed);
    };
    let orders = explore(3, shared, write, |words| {
        let first = words.at(FAR).load(Ordering::Relaxed);
        let second = words.at(FAR).load(Ordering::Relaxed);
        assert!([9, 0, 7].contains(&first) && [9, 0, 7].contains(&second), "{first}, {second}");
        assert!(first != 7 || second == 7, "a cell that was there stays");
    });
    assert!(orders > 10, "{orders}");
}
