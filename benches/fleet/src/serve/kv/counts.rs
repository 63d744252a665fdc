//! What is counted of KV that came from other engines.

use llmd_kvxfer::{Fetched, Outcome};

/// What came from other engines, in blocks.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(in super::super) struct KvCounts {
    /// Those that came and hold what their name says, every byte.
    pub(in super::super) verified: u64,
    /// Those that were found to be corrupt, and were not used.
    pub(in super::super) corrupt: u64,
    /// Those that were said to be right and were not.
    pub(in super::super) corrupt_served: u64,
    /// Those that did not come, and were computed again.
    pub(in super::super) recomputed: u64,
    /// Bytes that came.
    pub(in super::super) bytes: u64,
    /// Fetches, by [`Outcome::ALL`].
    pub(in super::super) ended: [u64; Outcome::ALL.len()],
}

impl KvCounts {
    /// Counts a fetch that ended: which blocks are said to have come, and which of those are right.
    pub(super) fn fetched(&mut self, fetched: &Fetched, came: &[bool], right: &[bool]) {
        self.count(fetched.outcome, came, right);
        self.bytes += fetched.bytes;
    }

    fn count(&mut self, outcome: Outcome, came: &[bool], right: &[bool]) {
        let count = |flags: &[bool]| flags.iter().filter(|&&flag| flag).count() as u64;
        let (came_in_all, verified) = (count(came), count(right));
        let missed = came.len() as u64 - came_in_all;
        self.verified += verified;
        self.corrupt_served += came_in_all - verified;
        self.corrupt += if outcome == Outcome::Corrupt { missed } else { 0 };
        self.recomputed += came.len() as u64 - verified;
        if let Some(place) = Outcome::ALL.iter().position(|known| *known == outcome) {
            self.ended[place] += 1;
        }
    }

    /// Counts blocks whose fetch could not be begun.
    pub(super) const fn not_begun(&mut self, blocks: usize) {
        self.recomputed += blocks as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_block_is_verified_or_computed_again() {
        let mut counts = KvCounts::default();
        counts.count(Outcome::Done, &[true; 3], &[true; 3]);
        counts.count(Outcome::Corrupt, &[true, false, true], &[true, false, true]);
        counts.count(Outcome::Stale, &[false; 2], &[false; 2]);
        counts.not_begun(4);
        assert_eq!((counts.verified, counts.corrupt, counts.corrupt_served, counts.recomputed), (5, 1, 0, 7));
        counts.count(Outcome::Done, &[true; 2], &[true, false]);
        assert_eq!((counts.verified, counts.corrupt_served), (6, 1), "a promise was broken");
        assert_eq!(counts.ended.iter().sum::<u64>(), 4);
    }
}
