//! From a number to a place: a hash table that readers search while the writer changes it, and that grows by small steps.
//!
//! A bucket is one cache line of four slots. It counts the keys that passed it by on their way to a later bucket, so a
//! search ends at a bucket that nobody passed, and nothing ever moves when a key is taken out. The buckets lie in segments,
//! which a directory finds by the first bits of the key's hash; a segment that is full is made anew, half as large again or in
//! two, while readers go on in the old one. One that found nothing there looks whether the directory changed meanwhile.
//!
//! The lines of an old segment serve another one soon. All that is stored in lines is stored with release, so a reader that
//! has seen any of it sees, after its fence, that the directory changed.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use super::Place;
use super::memory::{Stable, prefetch};
use super::sync::{AtomicU32, AtomicU64, Ordering, fence};

// Models are small: every atomic that is there takes time in each order that is tried.
const SLOTS: usize = if cfg!(loom) { 2 } else { 4 };
/// Buckets of a segment that is divided when it is full.
const MAX_BUCKETS: u32 = if cfg!(loom) { 3 } else { 1536 };
const FIRST_BUCKETS: u32 = if cfg!(loom) { 2 } else { 4 };
/// Of a hundred slots, how many are used before a segment grows: from so many up to [`SPREAD`] more, differently from segment
/// to segment. They fill alike, and would all have to grow within a moment.
const FULL: usize = if cfg!(loom) { 84 } else { 74 };
const SPREAD: usize = 18;
/// The most that a bucket counts; it then stays "passed by" until its segment is made anew.
const OFTEN: u64 = 0xff;

/// Four keys with their places: one cache line, since a [`Stable`] list begins at one.
type Line = [[AtomicU64; 2]; SLOTS];

/// Bits of an entry of the directory that say how many buckets the segment has; behind them stands its number.
const BUCKET_BITS: u32 = 12;

/// What readers see of a table.
pub(super) struct TableView {
    lines: Stable<Line>,
    /// For each beginning of a hash its segment: the first bucket, the number of the segment, and how many buckets it has.
    directory: Stable<AtomicU64>,
    /// Where the directory begins, and how many bits of a hash it tells apart.
    root: AtomicU64,
    /// Counts how often segments were made anew.
    changes: AtomicU32,
    /// Not known to those who can choose keys.
    secret: u64,
}

/// The one that changes a table.
#[derive(Debug)]
pub(super) struct Table {
    view: Arc<TableView>,
    segments: Vec<Segment>,
    bits: u32,
    /// Where the directory begins.
    directory_at: usize,
    next_line: usize,
    next_entry: usize,
    free: Vec<(u32, u32)>,
    len: usize,
    bytes: usize,
}

#[derive(Clone, Copy, Debug)]
struct Segment {
    first: u32,
    buckets: u32,
    /// How many bits of their hashes all its keys have in common, and which.
    depth: u32,
    prefix: u32,
    len: u32,
}

impl TableView {
    fn new(secret: u64) -> Self {
        // Models are made for one way to spread keys.
        let secret = if cfg!(loom) { 1 } else { secret | 1 };
        Self {
            lines: Stable::new(),
            directory: Stable::new(),
            root: AtomicU64::new(0),
            changes: AtomicU32::new(0),
            secret,
        }
    }

    /// The place of `key`, for a reader.
    #[inline]
    pub(super) fn get(&self, key: u64) -> Option<Place> {
        loop {
            let changes = self.changes.load(Ordering::Acquire);
            if let Some((line, slot)) = self.find(key) {
                let [held, place] = self.slot(line, slot);
                let place = Place::unpack(place.load(Ordering::Acquire));
                // Since the key was seen in it, the slot may have been cleared, and become another key's.
                if place.is_some() && held.load(Ordering::Relaxed) == key {
                    return place;
                }
            }
            fence(Ordering::Acquire);
            if self.changes.load(Ordering::Relaxed) == changes {
                return None;
            }
        }
    }

    /// Asks for the line in which `key` would be.
    #[inline]
    pub(super) fn prefetch(&self, key: u64) {
        let hash = self.hash(key);
        let (first, buckets) = self.segment(hash);
        prefetch(self.lines.at((first + home(hash, buckets)) as usize));
    }

    /// The first bits choose a segment, the last ones a bucket in it.
    #[inline]
    const fn hash(&self, key: u64) -> u64 {
        let mixed = (key ^ self.secret).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed ^ (mixed >> 32)).wrapping_mul(self.secret)
    }

    /// First bucket and number of buckets of a segment.
    #[inline]
    fn segment(&self, hash: u64) -> (u32, u32) {
        let root = self.root.load(Ordering::Acquire);
        let (_, first, buckets) = self.entry((root >> 8) as usize, (root & 0xff) as u32, hash);
        (first, buckets)
    }

    /// Number, first bucket and number of buckets of a segment.
    #[inline]
    fn entry(&self, directory_at: usize, bits: u32, hash: u64) -> (u32, u32, u32) {
        let entry = if bits == 0 { 0 } else { hash >> (64 - bits) };
        let segment = self.directory.at(directory_at + entry as usize).load(Ordering::Acquire);
        let (first, low) = ((segment >> 32) as u32, segment as u32);
        (low >> BUCKET_BITS, first, (low & ((1 << BUCKET_BITS) - 1)).max(1))
    }

    #[inline]
    fn slot(&self, line: u32, slot: usize) -> &[AtomicU64; 2] {
        &self.lines.at(line as usize)[slot]
    }

    #[inline]
    fn find(&self, key: u64) -> Option<(u32, usize)> {
        let hash = self.hash(key);
        let (first, buckets) = self.segment(hash);
        self.find_in(first, buckets, hash, key)
    }

    #[inline]
    fn find_in(&self, first: u32, buckets: u32, hash: u64, key: u64) -> Option<(u32, usize)> {
        let mut bucket = home(hash, buckets);
        for _ in 0..buckets {
            let line = self.lines.at((first + bucket) as usize);
            for (slot, [held, place]) in line.iter().enumerate() {
                if held.load(Ordering::Relaxed) == key {
                    // Who sees the key sees that the slot was cleared before it, and no place of the key that was there.
                    fence(Ordering::Acquire);
                    if place.load(Ordering::Acquire) >> 8 != 0 {
                        return Some((first + bucket, slot));
                    }
                }
            }
            if line[0][1].load(Ordering::Relaxed) & OFTEN == 0 {
                return None;
            }
            bucket = next(bucket, buckets);
        }
        None
    }
}

impl fmt::Debug for TableView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TableView").finish_non_exhaustive()
    }
}

#[inline]
fn home(hash: u64, buckets: u32) -> u32 {
    ((u64::from(hash as u32) * u64::from(buckets)) >> 32) as u32
}

/// Of a hundred slots of a segment, how many are used before it grows.
#[inline]
const fn full(number: u32) -> usize {
    FULL + (number.wrapping_mul(0x9e37_79b9) >> 16) as usize % SPREAD
}

#[inline]
const fn next(bucket: u32, buckets: u32) -> u32 {
    if bucket + 1 == buckets { 0 } else { bucket + 1 }
}

impl Table {
    /// Who does not know the secret cannot choose keys that lie together.
    pub(super) fn new(secret: u64) -> Self {
        let mut table = Self {
            view: Arc::new(TableView::new(secret)),
            segments: Vec::new(),
            bits: 0,
            directory_at: 0,
            next_line: 0,
            next_entry: 0,
            free: Vec::new(),
            len: 0,
            bytes: 0,
        };
        let first = table.lines(FIRST_BUCKETS);
        table.segments.push(Segment { first, buckets: FIRST_BUCKETS, depth: 0, prefix: 0, len: 0 });
        table.make_directory();
        table
    }

    pub(super) fn view(&self) -> Arc<TableView> {
        Arc::clone(&self.view)
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// Bytes that were asked of the system.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    #[inline]
    pub(super) fn prefetch(&self, key: u64) {
        self.view.prefetch(key);
    }

    #[inline]
    pub(super) fn get(&self, key: u64) -> Option<Place> {
        let (line, slot) = self.view.find(key)?;
        Place::unpack(self.view.slot(line, slot)[1].load(Ordering::Relaxed))
    }

    /// Keeps a key that is not there yet; gives back the place of one that is.
    #[inline]
    pub(super) fn insert(&mut self, key: u64, place: Place) -> Result<(), Place> {
        let hash = self.view.hash(key);
        let (mut number, mut first, mut buckets) = self.view.entry(self.directory_at, self.bits, hash);
        if (self.segments[number as usize].len as usize + 1) * 100 > buckets as usize * SLOTS * full(number) {
            if let Some(there) = self.get(key) {
                return Err(there);
            }
            self.grow(number as usize);
            (number, first, buckets) = self.view.entry(self.directory_at, self.bits, hash);
        }
        let mut bucket = home(hash, buckets);
        let mut free = None;
        // Every bucket may be one that keys pass by: once around is enough.
        for _ in 0..buckets {
            let line = self.view.lines.at((first + bucket) as usize);
            for [held, packed] in line {
                if held.load(Ordering::Relaxed) == key
                    && let Some(there) = Place::unpack(packed.load(Ordering::Relaxed))
                {
                    return Err(there);
                }
            }
            if free.is_none() {
                let empty = |[_, packed]: &[AtomicU64; 2]| packed.load(Ordering::Relaxed) >> 8 == 0;
                free = line.iter().position(empty).map(|slot| (bucket, slot));
            }
            if free.is_some() && line[0][1].load(Ordering::Relaxed) & OFTEN == 0 {
                break;
            }
            bucket = next(bucket, buckets);
        }
        let (end, slot) = free.expect("a segment grows before it is full");
        bucket = home(hash, buckets);
        while bucket != end {
            self.pass(first + bucket, true);
            bucket = next(bucket, buckets);
        }
        let [held, packed] = self.view.slot(first + end, slot);
        let passed = packed.load(Ordering::Relaxed) & OFTEN;
        held.store(key, Ordering::Release);
        packed.store(place.pack() | passed, Ordering::Release);
        self.segments[number as usize].len += 1;
        self.len += 1;
        Ok(())
    }

    /// Takes a key out; says whether it was there.
    #[inline]
    pub(super) fn remove(&mut self, key: u64) -> bool {
        let hash = self.view.hash(key);
        let (number, first, buckets) = self.view.entry(self.directory_at, self.bits, hash);
        let Some((line, slot)) = self.view.find_in(first, buckets, hash, key) else { return false };
        let held = &self.view.slot(line, slot)[1];
        held.store(held.load(Ordering::Relaxed) & OFTEN, Ordering::Release);
        let mut bucket = home(hash, buckets);
        while first + bucket != line {
            self.pass(first + bucket, false);
            bucket = next(bucket, buckets);
        }
        self.segments[number as usize].len -= 1;
        self.len -= 1;
        true
    }

    /// Puts a key that is not there into a segment in which there is room.
    #[inline]
    fn put(&self, first: u32, buckets: u32, key: u64, packed: u64) {
        let mut bucket = home(self.view.hash(key), buckets);
        loop {
            let line = self.view.lines.at((first + bucket) as usize);
            for [held, place] in line {
                let old = place.load(Ordering::Relaxed);
                if old >> 8 == 0 {
                    held.store(key, Ordering::Release);
                    place.store(packed | old & OFTEN, Ordering::Release);
                    return;
                }
            }
            self.pass(first + bucket, true);
            bucket = next(bucket, buckets);
        }
    }

    /// One key more, or less, passes a bucket by.
    fn pass(&self, line: u32, more: bool) {
        let count = &self.view.slot(line, 0)[1];
        let old = count.load(Ordering::Relaxed);
        match (old & OFTEN, more) {
            (OFTEN, _) | (0, false) => {}
            (_, true) => count.store(old + 1, Ordering::Release),
            (_, false) => count.store(old - 1, Ordering::Release),
        }
    }

    /// Makes a segment that is full anew.
    #[cold]
    pub(super) fn grow(&mut self, owner: usize) {
        let old = self.segments[owner];
        if old.buckets < MAX_BUCKETS {
            // 4, 6, 8, 12, 16, 24, …
            let buckets = if old.buckets.is_power_of_two() { old.buckets / 2 * 3 } else { old.buckets / 3 * 4 };
            let first = self.lines(buckets);
            self.segments[owner] = Segment { first, buckets, ..old };
            self.pour(old, [first; 2], buckets);
            self.publish(owner);
        } else {
            if old.depth == self.bits {
                self.double();
            }
            let buckets = MAX_BUCKETS / 3 * 2;
            let halves = [self.lines(buckets), self.lines(buckets)];
            let len = self.pour(old, halves, buckets);
            let other = self.segments.len();
            let half = |half: usize| Segment {
                first: halves[half],
                buckets,
                depth: old.depth + 1,
                prefix: old.prefix << 1 | half as u32,
                len: len[half],
            };
            self.segments[owner] = half(0);
            self.segments.push(half(1));
            self.publish(owner);
            self.publish(other);
        }
        self.view.changes.fetch_add(1, Ordering::Release);
        self.free.push((old.first, old.buckets));
    }

    /// Puts the keys of a segment that is full into new ones of so many buckets, by the bit of their hashes behind those
    /// that they have in common; says how many went where.
    fn pour(&self, old: Segment, into: [u32; 2], buckets: u32) -> [u32; 2] {
        let mut len = [0; 2];
        for line in old.first..old.first + old.buckets {
            for slot in 0..SLOTS {
                let [key, place] = self.view.slot(line, slot);
                let packed = place.load(Ordering::Relaxed) & !OFTEN;
                if packed == 0 {
                    continue;
                }
                let key = key.load(Ordering::Relaxed);
                let half = (self.view.hash(key) >> (63 - old.depth) & 1) as usize;
                self.put(into[half], buckets, key, packed);
                len[half] += 1;
            }
        }
        len
    }

    /// The entries of the directory that lead to a segment.
    fn entries(&self, owner: usize) -> Range<usize> {
        let Segment { depth, prefix, .. } = self.segments[owner];
        let shared = self.bits - depth;
        (prefix as usize) << shared..(prefix as usize + 1) << shared
    }

    /// Twice as long a directory: one bit more of a hash is told apart.
    fn double(&mut self) {
        self.bits += 1;
        self.make_directory();
    }

    fn make_directory(&mut self) {
        let len = 1 << self.bits;
        let at = Stable::<AtomicU64>::fit(self.next_entry, len);
        self.bytes += self.view.directory.reserve(at, len);
        self.next_entry = at + len;
        self.directory_at = at;
        (0..self.segments.len()).for_each(|number| self.publish(number));
        self.view.root.store((at as u64) << 8 | u64::from(self.bits), Ordering::Release);
    }

    fn publish(&self, number: usize) {
        let Segment { first, buckets, .. } = self.segments[number];
        let segment = u64::from(first) << 32 | (number as u64) << BUCKET_BITS | u64::from(buckets);
        for entry in self.entries(number) {
            self.view.directory.at(self.directory_at + entry).store(segment, Ordering::Release);
        }
    }

    /// Empty buckets that follow each other.
    fn lines(&mut self, buckets: u32) -> u32 {
        if let Some(place) = self.free.iter().position(|&(_, len)| len == buckets) {
            let (first, _) = self.free.swap_remove(place);
            for line in first..first + buckets {
                for slot in 0..SLOTS {
                    self.view.slot(line, slot)[1].store(0, Ordering::Release);
                }
            }
            return first;
        }
        let first = Stable::<Line>::fit(self.next_line, buckets as usize);
        self.bytes += self.view.lines.reserve(first, buckets as usize);
        self.next_line = first + buckets as usize;
        u32::try_from(first).expect("2^32 lines are 256 GiB")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn place(n: u64) -> Place {
        Place { run: (n % 1000) as u32 + 1, off: (n % 77) as u32 }
    }

    #[test]
    fn every_key_is_found_while_the_table_grows_and_none_when_it_is_empty() {
        const KEYS: u64 = 50_000;
        let mut table = Table::new(0x5eed);
        let view = table.view();
        for key in 1..=KEYS {
            assert_eq!(table.insert(key, place(key)), Ok(()));
            assert_eq!(table.insert(key, place(0)), Err(place(key)), "it is there already");
        }
        assert_eq!(table.len(), KEYS as usize);
        assert!((1..=KEYS).all(|key| view.get(key) == Some(place(key))));
        assert!((KEYS + 1..2 * KEYS).all(|key| view.get(key).is_none()));
        assert!((1..=KEYS).all(|key| table.remove(key)));
        assert!((1..=KEYS).all(|key| !table.remove(key) && view.get(key).is_none()));
        assert_eq!(table.len(), 0);
        let passed = table.segments.iter().flat_map(|segment| segment.first..segment.first + segment.buckets);
        assert!(passed.into_iter().all(|line| view.slot(line, 0)[1].load(Ordering::Relaxed) == 0), "nobody passes");
    }

    #[test]
    fn a_reader_finds_what_is_there_while_others_come_and_go() {
        const KEYS: u64 = 30_000;
        let mut table = Table::new(0x5eed);
        for key in 1..=100 {
            table.insert(key, place(key)).unwrap();
        }
        let view = table.view();
        std::thread::scope(|scope| {
            let reading = scope.spawn(move || {
                let mut rounds = 0_u64;
                while view.get(KEYS).is_none() {
                    assert!((1..=100).all(|key| view.get(key) == Some(place(key))));
                    rounds += 1;
                }
                rounds
            });
            for key in 101..=KEYS {
                table.insert(key, place(key)).unwrap();
                if key % 3 == 0 && key != KEYS {
                    table.remove(key);
                }
            }
            reading.join().unwrap();
        });
    }

    proptest! {
        #[test]
        fn the_table_is_a_map(secret: u64, steps in proptest::collection::vec((0..300_u64, any::<bool>()), 0..2000)) {
            let (mut table, mut model) = (Table::new(secret), HashMap::new());
            for (at, (key, is_new)) in steps.into_iter().enumerate() {
                let at = place(at as u64);
                if is_new {
                    let there = model.get(&key).copied();
                    prop_assert_eq!(table.insert(key, at), there.map_or(Ok(()), Err));
                    model.entry(key).or_insert(at);
                } else {
                    prop_assert_eq!(table.remove(key), model.remove(&key).is_some());
                }
            }
            prop_assert_eq!(table.len(), model.len());
            for key in 0..300 {
                prop_assert_eq!(table.view.get(key), model.get(&key).copied());
            }
        }
    }
}
