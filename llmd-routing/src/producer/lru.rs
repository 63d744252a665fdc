//! The last things that were used.

use std::collections::{BTreeMap, HashMap};

/// A set of digests that forgets the one that was used longest ago when there are too many.
#[derive(Debug)]
pub(super) struct Lru {
    capacity: usize,
    turns: HashMap<u128, u64>,
    /// By when they were used last.
    used: BTreeMap<u64, u128>,
    next: u64,
}

impl Lru {
    /// Nothing yet, and never more than `capacity`.
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity, turns: HashMap::new(), used: BTreeMap::new(), next: 0 }
    }

    /// Uses one.
    pub(super) fn touch(&mut self, digest: u128) {
        if let Some(before) = self.turns.insert(digest, self.next) {
            self.used.remove(&before);
        }
        self.used.insert(self.next, digest);
        self.next += 1;
        while self.used.len() > self.capacity {
            if let Some((_, oldest)) = self.used.pop_first() {
                self.turns.remove(&oldest);
            }
        }
    }

    /// Whether it is there; this does not use it.
    pub(super) fn contains(&self, digest: u128) -> bool {
        self.turns.contains_key(&digest)
    }

    pub(super) fn len(&self) -> usize {
        self.used.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// It holds what a list of all uses, read backwards, has first.
        #[test]
        fn the_last_that_were_used_are_there(capacity in 0..6_usize, uses in prop::collection::vec(0..9_u128, 0..60)) {
            let mut lru = Lru::new(capacity);
            uses.iter().for_each(|&digest| lru.touch(digest));
            let mut last: Vec<u128> = Vec::new();
            for &digest in uses.iter().rev() {
                if last.len() < capacity && !last.contains(&digest) {
                    last.push(digest);
                }
            }
            prop_assert_eq!(lru.len(), last.len());
            prop_assert!((0..9).all(|digest| lru.contains(digest) == last.contains(&digest)));
        }
    }
}
