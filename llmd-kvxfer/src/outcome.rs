//! How a transfer ended, and what it brought block by block.

use std::fmt;

use llmd_core::{Error, ErrorKind, Result};
use smallvec::SmallVec;

/// How an operation ended. Each ends in exactly one of these.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Outcome {
    /// It was cancelled, and nothing writes any more.
    Cancelled,
    /// What arrived is not what was sent.
    Corrupt,
    /// The peer does not let us.
    Denied,
    /// Every block is here.
    Done,
    /// A device or a socket failed, here.
    Io,
    /// The peer is gone, or cannot be reached.
    PeerLost,
    /// The grant is over: the blocks may hold other content by now.
    Stale,
    /// It took too long.
    Timeout,
}

impl Outcome {
    /// Every outcome, for counters and bindings that must cover them all.
    pub const ALL: [Self; 8] = [
        Self::Cancelled,
        Self::Corrupt,
        Self::Denied,
        Self::Done,
        Self::Io,
        Self::PeerLost,
        Self::Stale,
        Self::Timeout,
    ];

    /// Where it stands in [`ALL`](Self::ALL).
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Its name, as metrics spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cancelled => "cancelled",
            Self::Corrupt => "corrupt",
            Self::Denied => "denied",
            Self::Done => "done",
            Self::Io => "io",
            Self::PeerLost => "peer_lost",
            Self::Stale => "stale",
            Self::Timeout => "timeout",
        }
    }
}

/// As metrics spell it.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which blocks of an operation are good: a bit for each, in the order of the operation's list.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Blocks {
    /// Bits beyond `len` are 0.
    words: SmallVec<[u64; 4]>,
    len: usize,
}

impl Blocks {
    /// At most how many blocks an operation has.
    pub const MAX: usize = 1 << 20;

    /// So many blocks, none of them good.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] for more than [`MAX`](Self::MAX).
    pub fn none(len: usize) -> Result<Self> {
        if len > Self::MAX {
            return Err(Error::new(ErrorKind::Invalid, format!("{len} blocks: expected at most {}", Self::MAX)));
        }
        Ok(Self { words: SmallVec::from_elem(0, len.div_ceil(64)), len })
    }

    /// So many blocks, all of them good.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] for more than [`MAX`](Self::MAX).
    pub fn full(len: usize) -> Result<Self> {
        let mut blocks = Self::none(len)?;
        blocks.words.fill(u64::MAX);
        if let (Some(last), 1..) = (blocks.words.last_mut(), len % 64) {
            *last >>= 64 - len % 64;
        }
        Ok(blocks)
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// This block is good.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when there is no such block.
    pub fn set(&mut self, block: usize) -> Result<()> {
        if block >= self.len {
            return Err(Error::new(ErrorKind::Invalid, format!("block {block}: expected less than {}", self.len)));
        }
        self.words[block / 64] |= 1 << (block % 64);
        Ok(())
    }

    /// Whether this block is there and good.
    pub fn get(&self, block: usize) -> bool {
        block < self.len && self.words[block / 64] >> (block % 64) & 1 == 1
    }

    /// From `first` on, those are good of which `is_good` says so, counted from there.
    pub(crate) fn replace(&mut self, first: usize, is_good: impl Fn(usize) -> bool) {
        for block in first..self.len {
            let bit = 1 << (block % 64);
            if is_good(block - first) {
                self.words[block / 64] |= bit;
            } else {
                self.words[block / 64] &= !bit;
            }
        }
    }

    /// How many are good.
    pub fn count(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Whether all are good.
    pub fn all(&self) -> bool {
        self.count() == self.len
    }

    /// Those that are not good, in order.
    pub fn iter_failed(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.len).filter(|block| !self.get(*block))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_outcome_has_a_name_and_a_place_of_its_own() {
        let names: BTreeSet<_> = Outcome::ALL.iter().map(Outcome::to_string).collect();
        assert_eq!(names.len(), Outcome::ALL.len());
        assert!(Outcome::ALL.iter().enumerate().all(|(index, outcome)| outcome.index() == index));
    }

    #[test]
    fn more_blocks_than_an_operation_has_are_refused() {
        assert_eq!(Blocks::none(Blocks::MAX + 1).unwrap_err().to_string(), "1048577 blocks: expected at most 1048576");
        assert_eq!(Blocks::full(Blocks::MAX).unwrap().count(), Blocks::MAX);
        assert_eq!(Blocks::none(3).unwrap().set(3).unwrap_err().to_string(), "block 3: expected less than 3");
    }

    proptest! {
        #[test]
        fn blocks_are_a_set_of_numbers(len in 0..200_usize, good in prop::collection::btree_set(0..200_usize, 0..200)) {
            let good: BTreeSet<_> = good.into_iter().filter(|block| *block < len).collect();
            let mut blocks = Blocks::none(len).unwrap();
            for block in &good {
                blocks.set(*block).unwrap();
            }
            prop_assert_eq!(blocks.count(), good.len());
            prop_assert_eq!(blocks.iter_failed().collect::<Vec<_>>(), (0..len).filter(|b| !good.contains(b)).collect::<Vec<_>>());
            prop_assert!((0..220).all(|block| blocks.get(block) == good.contains(&block)));
            prop_assert_eq!(blocks == Blocks::full(len).unwrap(), blocks.all());
            prop_assert_eq!(Blocks::full(len).unwrap().iter_failed().count(), 0);
        }
    }
}
