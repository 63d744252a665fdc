//! The segments of a table of names: buckets that follow each other, found by the first bits of a hash.

use std::collections::HashMap;
use std::ops::Range;

use super::super::Place;
use super::super::memory::Stable;
use super::super::sync::Ordering;
use super::bucket::{Bucket, SLOTS, home, look, next, pass, place, set, slot};

/// Buckets of a segment that is divided when it is full.
const MAX_BUCKETS: u32 = 192;
const FIRST_BUCKETS: u32 = 2;
/// Of a hundred slots, how many are used before a segment grows: from so many up to [`SPREAD`] more, differently from segment
/// to segment. They fill alike, and would all have to grow within a moment.
const FULL: u32 = 70;
const SPREAD: u32 = 16;

/// Bits of an entry of the directory that say how many buckets the segment has; behind them stands its number.
const BUCKET_BITS: u32 = 8;

const MAX_SEGMENTS: usize = 1 << (32 - BUCKET_BITS);

#[derive(Debug)]
pub(super) struct Segments {
    buckets: Stable<Bucket>,
    /// For each beginning of a hash its segment: the first bucket, the number of the segment, and how many buckets it has.
    directory: Vec<u64>,
    all: Vec<Segment>,
    /// How many bits of a hash the directory tells apart.
    bits: u32,
    next: usize,
    /// Segments that were made anew, by how many buckets they had.
    free: HashMap<u32, Vec<u32>>,
    bytes: usize,
}

#[derive(Clone, Copy, Debug)]
struct Segment {
    first: u32,
    buckets: u32,
    /// How many bits of their hashes all its names have in common, and which.
    depth: u32,
    prefix: u32,
    len: u32,
    /// How many names it has when it is full.
    most: u32,
}

impl Segments {
    pub(super) fn new() -> Self {
        let mut segments = Self {
            buckets: Stable::new(),
            directory: vec![0],
            all: Vec::new(),
            bits: 0,
            next: 0,
            free: HashMap::new(),
            bytes: 0,
        };
        let (first, most) = (segments.take(FIRST_BUCKETS), most(0, FIRST_BUCKETS));
        segments.all.push(Segment { first, buckets: FIRST_BUCKETS, depth: 0, prefix: 0, len: 0, most });
        segments.publish(0);
        segments
    }

    /// Bytes that were asked of the system.
    pub(super) fn bytes(&self) -> usize {
        let free: usize = self.free.values().map(|free| free.capacity() * size_of::<u32>()).sum();
        self.bytes + free + self.directory.capacity() * size_of::<u64>() + self.all.capacity() * size_of::<Segment>()
    }

    /// The segment of a hash: its number, its first bucket and how many it has.
    #[inline]
    pub(super) fn of(&self, hash: u64) -> (u32, u32, u32) {
        let entry = if self.bits == 0 { 0 } else { hash >> (64 - self.bits) };
        let segment = self.directory[entry as usize];
        let (first, low) = ((segment >> 32) as u32, segment as u32);
        (low >> BUCKET_BITS, first, low & ((1 << BUCKET_BITS) - 1))
    }

    #[inline]
    pub(super) fn bucket(&self, at: u32) -> &Bucket {
        self.buckets.at(at as usize)
    }

    /// Whether there are so many segments that there may soon be no number for a further one.
    #[inline]
    pub(super) fn are_many(&self) -> bool {
        self.all.len() > MAX_SEGMENTS / 8 * 7
    }

    #[inline]
    pub(super) fn is_full(&self, segment: u32) -> bool {
        let segment = &self.all[segment as usize];
        segment.len >= segment.most
    }

    /// A segment has one name more.
    #[inline]
    pub(super) fn add(&mut self, segment: u32) {
        self.all[segment as usize].len += 1;
    }

    /// A segment has one name less.
    #[inline]
    pub(super) fn take_off(&mut self, segment: u32) {
        self.all[segment as usize].len -= 1;
    }

    /// Makes a segment that is full anew; `hash_of` tells the hash of the name at a place.
    #[cold]
    pub(super) fn grow(&mut self, segment: u32, hash_of: impl Fn(Place) -> u64) {
        let owner = segment as usize;
        let old = self.all[owner];
        if old.buckets < MAX_BUCKETS {
            let buckets = (2 * old.buckets).min(MAX_BUCKETS);
            let first = self.take(buckets);
            self.all[owner] = Segment { first, buckets, most: most(owner, buckets), ..old };
            self.pour(old, [first; 2], buckets, |_| 0);
            self.publish(owner);
        } else {
            if old.depth == self.bits {
                self.double();
            }
            let buckets = MAX_BUCKETS / 3 * 2;
            let halves = [self.take(buckets), self.take(buckets)];
            let len = self.pour(old, halves, buckets, |place| (hash_of(place) >> (63 - old.depth) & 1) as usize);
            let other = self.all.len();
            let half = |half: usize| Segment {
                first: halves[half],
                buckets,
                depth: old.depth + 1,
                prefix: old.prefix << 1 | half as u32,
                len: len[half],
                most: most([owner, other][half], buckets),
            };
            self.all[owner] = half(0);
            self.all.push(half(1));
            self.publish(owner);
            self.publish(other);
        }
        self.free.entry(old.buckets).or_default().push(old.first);
    }

    /// Puts the names of a segment that is full into new ones of so many buckets; says how many went where.
    fn pour(&self, old: Segment, into: [u32; 2], buckets: u32, half_of: impl Fn(Place) -> usize) -> [u32; 2] {
        let mut len = [0; 2];
        for bucket in self.buckets.cells(old.first as usize, old.buckets as usize) {
            // All at once, since each of them may have to be fetched.
            let slots: [u64; SLOTS] = std::array::from_fn(|nth| slot(bucket, nth));
            let halves = slots.map(|slot| place(slot).map(&half_of));
            for (slot, half) in slots.into_iter().zip(halves) {
                if let Some(half) = half {
                    self.put(into[half], buckets, slot);
                    len[half] += 1;
                }
            }
        }
        len
    }

    /// Puts a name that is not there into a segment in which there is room.
    #[inline]
    fn put(&self, first: u32, buckets: u32, new: u64) {
        let mut at = home(new, buckets);
        for _ in 0..buckets {
            let bucket = self.bucket(first + at);
            if let Some(nth) = look(bucket, new).empty() {
                set(bucket, nth, new);
                return;
            }
            pass(bucket, true);
            at = next(at, buckets);
        }
        unreachable!("{buckets} buckets are full");
    }

    /// The entries of the directory that lead to a segment.
    fn entries(&self, owner: usize) -> Range<usize> {
        let Segment { depth, prefix, .. } = self.all[owner];
        let shared = self.bits - depth;
        (prefix as usize) << shared..(prefix as usize + 1) << shared
    }

    /// Twice as long a directory: one bit more of a hash is told apart.
    fn double(&mut self) {
        self.bits += 1;
        self.directory = self.directory.iter().flat_map(|&entry| [entry; 2]).collect();
    }

    fn publish(&mut self, number: usize) {
        let Segment { first, buckets, .. } = self.all[number];
        assert!(number < MAX_SEGMENTS, "an entry of the directory tells {MAX_SEGMENTS} segments apart");
        let entry = u64::from(first) << 32 | (number as u64) << BUCKET_BITS | u64::from(buckets);
        let entries = self.entries(number);
        self.directory[entries].fill(entry);
    }

    /// Empty buckets that follow each other.
    fn take(&mut self, buckets: u32) -> u32 {
        if let Some(first) = self.free.get_mut(&buckets).and_then(Vec::pop) {
            for bucket in self.buckets.cells(first as usize, buckets as usize) {
                bucket.iter().for_each(|slot| slot.store(0, Ordering::Relaxed));
            }
            return first;
        }
        let first = Stable::<Bucket>::fit(self.next, buckets as usize);
        self.bytes += self.buckets.reserve(first, buckets as usize);
        self.next = first + buckets as usize;
        u32::try_from(first).expect("2^32 buckets are 256 GiB")
    }

    /// The buckets in use.
    #[cfg(test)]
    pub(super) fn in_use(&self) -> impl Iterator<Item = &Bucket> {
        self.all.iter().flat_map(|segment| self.buckets.cells(segment.first as usize, segment.buckets as usize))
    }
}

/// How many names a segment has when it is full.
const fn most(number: usize, buckets: u32) -> u32 {
    let full = FULL + ((number as u32).wrapping_mul(0x9e37_79b9) >> 16) % SPREAD;
    buckets * SLOTS as u32 * full / 100
}
