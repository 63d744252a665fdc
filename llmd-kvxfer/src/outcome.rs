//! How an operation ended, and for which blocks.

use std::fmt;

use smallvec::SmallVec;

/// How an operation ended. Each ends exactly once, in one of these.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Outcome {
    /// Every block is where it was to go, as it was sent.
    Done,
    /// Its caller took it back.
    Cancelled,
    /// What arrived is not what was sealed: compute it again.
    Corrupt,
    /// The other side refused: the grant was not its own, or not for this one.
    Denied,
    /// This machine failed: a socket, a mapping, a device.
    Io,
    /// The other side is gone.
    PeerLost,
    /// The lease ended before all was read: compute it again.
    Stale,
    /// Its time was over.
    Timeout,
}

impl Outcome {
    /// Every one, for bindings that must cover them all.
    pub const ALL: [Self; 8] = [
        Self::Done,
        Self::Cancelled,
        Self::Corrupt,
        Self::Denied,
        Self::Io,
        Self::PeerLost,
        Self::Stale,
        Self::Timeout,
    ];

    /// Where it stands in [`ALL`](Self::ALL).
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Its name, as metrics and bindings have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Cancelled => "cancelled",
            Self::Corrupt => "corrupt",
            Self::Denied => "denied",
            Self::Io => "io",
            Self::PeerLost => "peer_lost",
            Self::Stale => "stale",
            Self::Timeout => "timeout",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which blocks of an operation arrived, by their place in its list.
#[derive(Clone, Eq, PartialEq)]
pub struct Blocks {
    words: SmallVec<[u64; 4]>,
    len: usize,
}

impl Blocks {
    /// How many an operation may have.
    pub const MAX: usize = 1 << 20;

    /// So many, none of which arrived.
    pub fn none(len: usize) -> Self {
        Self { words: SmallVec::from_elem(0, len.div_ceil(64)), len }
    }

    /// So many, all of which arrived.
    pub fn all(len: usize) -> Self {
        let mut words = SmallVec::from_elem(u64::MAX, len.div_ceil(64));
        if let Some(last) = words.last_mut().filter(|_| !len.is_multiple_of(64)) {
            *last = (1 << (len % 64)) - 1;
        }
        Self { words, len }
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Says that this one arrived. One that is not there is left.
    pub fn set(&mut self, block: usize) {
        if block < self.len {
            self.words[block / 64] |= 1 << (block % 64);
        }
    }

    /// Says that this one did not.
    pub fn clear(&mut self, block: usize) {
        if block < self.len {
            self.words[block / 64] &= !(1 << (block % 64));
        }
    }

    /// From `first` on, those arrived of which `has` says so, counted from there.
    pub(crate) fn replace(&mut self, first: usize, has: impl Fn(usize) -> bool) {
        for block in first..self.len {
            if has(block - first) {
                self.set(block);
            } else {
                self.clear(block);
            }
        }
    }

    /// Whether this one arrived.
    pub fn has(&self, block: usize) -> bool {
        block < self.len && self.words[block / 64] >> (block % 64) & 1 == 1
    }

    /// How many arrived.
    pub fn count(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Whether all did.
    pub fn is_all(&self) -> bool {
        self.count() == self.len
    }

    /// The places of those that did not arrive.
    pub fn failed(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.len).filter(|&block| !self.has(block))
    }
}

impl fmt::Debug for Blocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Blocks({} of {})", self.count(), self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_counted_one_by_one() {
        let mut blocks = Blocks::none(130);
        for place in (0..130).filter(|place| place % 3 != 0) {
            blocks.set(place);
        }
        blocks.set(4000);
        assert_eq!((blocks.count(), blocks.failed().count()), (86, 44));
        assert!(!blocks.is_all() && !blocks.has(129) && blocks.has(128) && !blocks.has(4000));
        for (place, outcome) in Outcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome.index(), place);
        }
        for len in [0, 1, 63, 64, 65, 130, 300] {
            let mut all = Blocks::all(len);
            assert!(all.is_all() && all.len() == len);
            all.clear(0);
            assert_eq!(all.failed().count(), len.min(1));
        }
    }
}
