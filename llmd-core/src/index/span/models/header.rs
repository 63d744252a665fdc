//! The header of a run, and the words that it leads to.

use super::super::memory::Stable;
use super::super::run::{Header, Run};
use super::super::set::Set;
use super::super::sync::{AtomicU64, Ordering};
use super::explore;

/// A header every field of which says `n`.
fn header(n: u32) -> Header {
    Header {
        start: n,
        len: n,
        before: n.into(),
        head: n.into(),
        end: n.into(),
        whole: Set::from_parts(n, n.into()),
        digests: n,
        groups: n,
        list: n,
    }
}

struct Shared {
    run: Run,
    words: Stable<AtomicU64>,
}

impl Shared {
    fn new() -> Self {
        Self { run: Run::default(), words: Stable::new() }
    }

    fn set(&self, at: u32, word: u64) {
        self.words.at(at as usize).store(word, Ordering::Relaxed);
    }

    fn word(&self, at: u32) -> u64 {
        self.words.at(at as usize).load(Ordering::Relaxed)
    }
}

#[test]
fn a_header_and_its_words_are_of_one_moment() {
    let write = |shared: &Shared| {
        shared.run.begin();
        shared.set(0, 1);
        shared.run.finish(&header(1));
    };
    let orders = explore(2, Shared::new, write, |shared| {
        let (version, found) = shared.run.read();
        let word = shared.word(0);
        if shared.run.is_still(version) {
            assert_eq!(found, header(word as u32));
        }
    });
    assert!(orders > 10_000, "{orders}");
}

#[test]
fn words_that_another_run_took_over_are_not_believed() {
    const MINE: u64 = 7;
    let shared = || {
        let shared = Shared::new();
        shared.set(0, MINE);
        shared.set(1, MINE);
        shared
    };
    // The run moves its list from 0 to 1, and something else takes over 0.
    let write = |shared: &Shared| {
        shared.run.begin();
        shared.run.finish(&Header { list: 1, ..Header::default() });
        shared.set(0, 9);
    };
    let orders = explore(2, shared, write, |shared| {
        let (version, found) = shared.run.read();
        let word = shared.word(found.list);
        if shared.run.is_still(version) {
            assert_eq!(word, MINE, "in {}", found.list);
        }
    });
    assert!(orders > 10_000, "{orders}");
}
