//! What is moved: blocks at random places, in several lists, so that nothing can be merged and nothing is in a cache.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use llmd_core::{Error, ErrorKind, Result};
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use serde::{Deserialize, Serialize};

/// Payload that lies between two transfers of the same list, where the pool has as much. With where it goes that is a
/// gibibyte, several times what a last cache holds.
const COLD: usize = 512 << 20;
/// Lists at most: those of single blocks would be many.
const MOST_LISTS: usize = 2048;

/// A size of block, how many of them a transfer moves, and how often.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub(crate) struct Point {
    /// Bytes of a block.
    pub(crate) size: usize,
    /// Blocks of a transfer.
    pub(crate) blocks: usize,
    /// Transfers that are timed, at most.
    pub(crate) pulls: usize,
}

impl Point {
    /// Bytes that a transfer moves.
    pub(crate) const fn bytes(self) -> usize {
        self.size * self.blocks
    }

    /// Lists that are used in turn.
    pub(crate) fn lists(self) -> usize {
        COLD.div_ceil(self.bytes().max(1)).clamp(2, MOST_LISTS).min(self.pulls.max(2))
    }
}

/// A point with its lists, as both sides of a subject are given it.
#[derive(Clone, Debug)]
pub(crate) struct Work {
    pub(crate) point: Point,
    lists: Vec<List>,
}

/// The blocks of one transfer: `theirs[n]` goes to `mine[n]`. On either side they are different ones.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct List {
    theirs: Vec<u32>,
    mine: Vec<u32>,
}

impl List {
    /// Where they lie at the side that has them.
    pub(crate) fn theirs(&self) -> &[u32] {
        &self.theirs
    }

    /// Where they go.
    pub(crate) fn mine(&self) -> &[u32] {
        &self.mine
    }

    fn is_distinct(&self) -> bool {
        [&self.theirs, &self.mine].into_iter().all(|side| side.iter().collect::<HashSet<_>>().len() == side.len())
    }
}

impl Work {
    /// The same lists whenever the point and the pool are the same.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when the pool has too few blocks.
    pub(crate) fn at(point: Point, pool: usize) -> Result<Self> {
        let has = pool / point.size;
        if has < point.blocks.max(4) || u32::try_from(has).is_err() {
            let message =
                format!("a pool of {pool} bytes: expected room for {} blocks of {}", point.blocks, point.size);
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        let mut rng = StdRng::seed_from_u64((point.size * 31 + point.blocks) as u64);
        let [theirs, mine] = [(); 2].map(|()| sides(point, has, &mut rng));
        let lists = theirs.into_iter().zip(mine).map(|(theirs, mine)| List { theirs, mine }).collect();
        Ok(Self { point, lists })
    }

    /// The list of transfer number `pull`.
    pub(crate) fn list(&self, pull: usize) -> &List {
        &self.lists[pull % self.lists.len()]
    }

    /// Transfers of one measurement: one to warm up, those that are timed, and one that is checked. Each has its number,
    /// counted from 0, and happens once; a side that hands out something for each transfer hands out this many.
    pub(crate) const fn transfers(&self) -> usize {
        self.point.pulls + 2
    }

    /// Writes the lists, little-endian numbers of four bytes: of each list what is theirs, then what is mine.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] when the file cannot be written.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let numbers = self.lists.iter().flat_map(|list| list.theirs.iter().chain(&list.mine));
        let bytes: Vec<u8> = numbers.flat_map(|number| number.to_le_bytes()).collect();
        fs::write(path, bytes).map_err(|error| {
            Error::new(ErrorKind::Unavailable, format!("{} cannot be written", path.display())).with_source(error)
        })
    }

    /// Reads what [`write`](Self::write) wrote.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] when the file cannot be read, [`ErrorKind::Corrupt`] when it holds no whole lists.
    pub(crate) fn read(point: Point, path: &Path) -> Result<Self> {
        let bytes = fs::read(path).map_err(|error| {
            Error::new(ErrorKind::Unavailable, format!("{} cannot be read", path.display())).with_source(error)
        })?;
        let (numbers, rest) = bytes.as_chunks::<4>();
        let numbers: Vec<_> = numbers.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect();
        if point.blocks == 0 || numbers.is_empty() || !rest.is_empty() || numbers.len() % (2 * point.blocks) != 0 {
            let message =
                format!("{} holds {} bytes: expected lists of {} blocks", path.display(), bytes.len(), point.blocks);
            return Err(Error::new(ErrorKind::Corrupt, message));
        }
        let lists = numbers.chunks_exact(2 * point.blocks).map(|list| {
            let (theirs, mine) = list.split_at(point.blocks);
            List { theirs: theirs.into(), mine: mine.into() }
        });
        let lists: Vec<_> = lists.collect();
        if !lists.iter().all(List::is_distinct) {
            let message = format!("{} names a block twice in a list: expected different ones", path.display());
            return Err(Error::new(ErrorKind::Corrupt, message));
        }
        Ok(Self { point, lists })
    }
}

/// One side of every list: no block lies beside another of its list. Where the pool is too small for that, no block
/// follows its neighbour in the order of the list.
fn sides(point: Point, has: usize, rng: &mut StdRng) -> Vec<Vec<u32>> {
    let number = |block: usize| u32::try_from(block).expect("blocks of a pool were counted in 32 bits");
    if has >= 2 * point.blocks {
        let mut apart: Vec<_> = (0..has / 2).map(|block| number(2 * block)).collect();
        apart.shuffle(rng);
        let from = |list: usize| apart.iter().cycle().skip(list * point.blocks % apart.len()).take(point.blocks);
        return (0..point.lists()).map(|list| from(list).copied().collect()).collect();
    }
    let one = |rng: &mut StdRng| {
        let mut list: Vec<_> = (0..has).map(number).collect();
        list.shuffle(rng);
        list.truncate(point.blocks);
        while let Some(at) = list.windows(2).position(|pair| pair[0].abs_diff(pair[1]) == 1) {
            let other = rng.random_range(0..list.len());
            list.swap(at, other);
        }
        list
    };
    (0..point.lists()).map(|_| one(rng)).collect()
}

/// The word that a pool holds at a place once it is filled: none like it is elsewhere.
pub(crate) const fn word(place: usize) -> u64 {
    (place as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POOL: usize = 64 << 20;

    fn works() -> impl Iterator<Item = Work> {
        let points = [(4096, 1024, 100), (65536, 256, 40), (1 << 20, 64, 4), (4096, 1, 5000)];
        points.into_iter().map(|(size, blocks, pulls)| Work::at(Point { size, blocks, pulls }, POOL).unwrap())
    }

    #[test]
    fn no_block_follows_its_neighbour_and_none_comes_twice() {
        for work in works() {
            assert!(work.lists.len() >= 2);
            for side in work.lists.iter().flat_map(|list| [list.theirs(), list.mine()]) {
                assert_eq!(side.len(), work.point.blocks);
                assert!(side.windows(2).all(|pair| pair[0].abs_diff(pair[1]) > 1), "{:?}", work.point);
                let mut sorted = side.to_vec();
                sorted.sort_unstable();
                sorted.dedup();
                assert_eq!(sorted.len(), work.point.blocks);
                assert!((*sorted.last().unwrap() as usize) < POOL / work.point.size);
            }
        }
    }

    #[test]
    fn lists_that_follow_each_other_share_no_block_where_there_is_room() {
        let work = Work::at(Point { size: 4096, blocks: 1024, pulls: 100 }, POOL).unwrap();
        assert!(work.list(0).theirs.iter().all(|block| !work.list(1).theirs.contains(block)));
        assert_ne!(work.list(0).theirs, work.list(0).mine);
    }

    #[test]
    fn lists_are_read_as_they_were_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lists");
        for work in works() {
            work.write(&path).unwrap();
            assert_eq!(Work::read(work.point, &path).unwrap().lists, work.lists);
        }
        fs::write(&path, [0; 12]).unwrap();
        let refused = |blocks| Work::read(Point { size: 4096, blocks, pulls: 1 }, &path).unwrap_err().kind();
        assert_eq!(refused(1), ErrorKind::Corrupt);
        fs::write(&path, [0; 16]).unwrap();
        assert_eq!(refused(2), ErrorKind::Corrupt);
    }

    #[test]
    fn a_pool_that_is_too_small_is_refused() {
        assert!(Work::at(Point { size: 1 << 20, blocks: 65, pulls: 2 }, POOL).is_err());
    }

    #[test]
    fn every_place_has_a_word_of_its_own() {
        let mut words: Vec<_> = (0..10_000).map(word).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), 10_000);
    }
}
