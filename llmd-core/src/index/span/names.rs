//! From a shared name to its place: a hash table in which a name takes eight bytes.
//!
//! A slot has the place and some bits of the name's hash, its *tag*, but not the name: that stands in its run, and is looked
//! at there when the tag is the same. A bucket is one cache line of eight slots, and counts the names that passed it by
//! on their way to a later one. Only the writer searches, so a name that had to pass its bucket by moves back when a slot
//! becomes free.
//!
//! Buckets lie in segments, which a directory finds by the first bits of a hash. A segment that is full is made anew, larger
//! or in two, so that no growth takes long. The former needs the tags alone; the latter looks at every name.

use std::ops::Range;

use super::Place;
use super::memory::{Stable, prefetch};
use super::sync::{AtomicU64, Ordering};

const SLOTS: usize = 8;
/// Buckets of a segment that is divided when it is full.
const MAX_BUCKETS: u32 = 192;
const FIRST_BUCKETS: u32 = 2;
/// Of a hundred slots, how many are used before a segment grows: from so many up to [`SPREAD`] more, differently from segment
/// to segment. They fill alike, and would all have to grow within a moment.
const FULL: u32 = 70;
const SPREAD: u32 = 16;

/// A bucket: in each slot the place of a name and its tag. The first bits of all slots together are a number: how many
/// names passed the bucket by.
type Line = [AtomicU64; SLOTS];

/// The bit of a slot that is not its own.
const PASSED: u64 = 1;
const TAG_BITS: u32 = 22;
const TAG: u64 = ((1 << TAG_BITS) - 1) << 1;
const OFF_BITS: u32 = 13;
const OFF_AT: u32 = TAG_BITS + 1;
const RUN_AT: u32 = OFF_AT + OFF_BITS;
/// More passed a bucket by than it can count: it stays so until its segment is made anew.
const OFTEN: u64 = (1 << SLOTS) - 1;

/// How many names ahead their lines are asked for.
const AHEAD: usize = 8;

/// How many blocks a run can have whose names are kept here.
pub(super) const MAX_OFF: usize = 1 << OFF_BITS;
/// Runs with greater numbers have no room in a slot.
pub(super) const MAX_RUNS: usize = 1 << (64 - RUN_AT);

/// Bits of an entry of the directory that say how many buckets the segment has; behind them stands its number.
const BUCKET_BITS: u32 = 12;

/// Names and their places; the names themselves stand in the runs.
#[derive(Debug)]
pub(super) struct Names {
    lines: Stable<Line>,
    /// For each beginning of a hash its segment: the first bucket, the number of the segment, and how many buckets it has.
    directory: Vec<u64>,
    segments: Vec<Segment>,
    /// How many bits of a hash the directory tells apart.
    bits: u32,
    next_line: usize,
    free: Vec<(u32, u32)>,
    len: usize,
    bytes: usize,
    /// Not known to those who can choose names.
    secret: u64,
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

/// Where a name belongs, until its segment is made anew.
#[derive(Clone, Copy, Debug, Default)]
struct Spot {
    tag: u64,
    segment: u32,
    /// Of the segment.
    first: u32,
    buckets: u32,
    /// The bucket where the name belongs.
    home: u32,
}

/// What became of a name that was to be kept.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Inserted {
    Known,
    New,
    /// It is new, and a segment was made anew for it.
    Grown,
}

/// What was seen in a bucket.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    /// A bit for each slot with the tag that was looked for.
    alike: u32,
    is_passed: bool,
}

#[inline]
fn look(line: &Line, tag: u64) -> Seen {
    let (mut seen, mut all) = (Seen::default(), 0);
    for (nth, slot) in line.iter().enumerate() {
        let slot = slot.load(Ordering::Relaxed);
        all |= slot;
        seen.alike |= u32::from((slot ^ tag) & TAG == 0) << nth;
    }
    seen.is_passed = all & PASSED != 0;
    seen
}

impl Seen {
    /// The place of a name with the tag, if it is the right one.
    #[inline]
    fn alike(self, line: &Line, is_it: impl Fn(Place) -> bool) -> Option<Place> {
        let mut alike = self.alike;
        while alike != 0 {
            if let Some(place) = place(line[alike.trailing_zeros() as usize].load(Ordering::Relaxed))
                && is_it(place)
            {
                return Some(place);
            }
            alike &= alike - 1;
        }
        None
    }

    /// Which slot with the tag has this in it.
    #[inline]
    fn slot(self, line: &Line, wanted: u64) -> Option<usize> {
        let mut alike = self.alike;
        while alike != 0 {
            let nth = alike.trailing_zeros() as usize;
            if line[nth].load(Ordering::Relaxed) & !PASSED == wanted {
                return Some(nth);
            }
            alike &= alike - 1;
        }
        None
    }
}

impl Names {
    /// Who does not know the secret cannot choose names that lie together.
    pub(super) fn new(secret: u64) -> Self {
        let mut names = Self {
            lines: Stable::new(),
            directory: Vec::new(),
            segments: Vec::new(),
            bits: 0,
            next_line: 0,
            free: Vec::new(),
            len: 0,
            bytes: 0,
            secret: secret | 1,
        };
        let first = names.take(FIRST_BUCKETS);
        let most = most(0, FIRST_BUCKETS);
        names.segments.push(Segment { first, buckets: FIRST_BUCKETS, depth: 0, prefix: 0, len: 0, most });
        names.directory.push(0);
        names.publish(0);
        names
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// Bytes that were asked of the system.
    pub(super) fn bytes(&self) -> usize {
        self.bytes + self.directory.capacity() * size_of::<u64>() + self.segments.capacity() * size_of::<Segment>()
    }

    /// Asks for the line in which `name` would be.
    #[inline]
    pub(super) fn prefetch(&self, name: u64) {
        self.ask_for(self.spot(name));
    }

    /// The place of a name; `name_of` tells the name of a place.
    #[inline]
    pub(super) fn get(&self, name: u64, name_of: impl Fn(Place) -> u64) -> Option<Place> {
        self.find(name, self.spot(name), name_of)
    }

    /// Keeps a name that is not there yet; says whether that was so. From now on `name_of` has to tell it.
    #[inline]
    pub(super) fn insert(&mut self, name: u64, own: Place, name_of: impl Fn(Place) -> u64) -> bool {
        let spot = self.spot(name);
        self.insert_at(spot, name, own, name_of) != Inserted::Known
    }

    /// Keeps the names of blocks that follow each other, of which the first one has this place; tells of each whether
    /// it is new, and from then on `name_of` has to tell it.
    #[inline]
    pub(super) fn insert_all(
        &mut self,
        names: &[u64],
        first: Place,
        name_of: impl Fn(Place) -> u64,
        mut tell: impl FnMut(usize, bool),
    ) {
        let mut spots = [Spot::default(); AHEAD];
        for (spot, &name) in spots.iter_mut().zip(names) {
            *spot = self.spot(name);
            self.ask_for(*spot);
        }
        for (nth, &name) in names.iter().enumerate() {
            let spot = spots[nth % AHEAD];
            if let Some(&later) = names.get(nth + AHEAD) {
                spots[nth % AHEAD] = self.spot(later);
                self.ask_for(spots[nth % AHEAD]);
            }
            let own = Place { off: first.off + nth as u32, ..first };
            let inserted = self.insert_at(spot, name, own, &name_of);
            if inserted == Inserted::Grown {
                for (later, &name) in names.iter().enumerate().skip(nth + 1).take(AHEAD) {
                    spots[later % AHEAD] = self.spot(name);
                }
            }
            tell(nth, inserted != Inserted::Known);
        }
    }

    /// Takes a name out; says whether it was there, at this place.
    #[inline]
    pub(super) fn remove(&mut self, name: u64, own: Place) -> bool {
        let spot = self.spot(name);
        self.remove_at(spot, own)
    }

    /// Takes out the names of blocks that follow each other, of which the first one has this place; 0 is none.
    #[inline]
    pub(super) fn remove_all(&mut self, names: impl ExactSizeIterator<Item = u64> + Clone, first: Place) {
        let mut spots = [Spot::default(); AHEAD];
        let mut later = names.clone();
        for (spot, name) in spots.iter_mut().zip(&mut later) {
            *spot = self.spot(name);
            self.ask_for(*spot);
        }
        for (nth, name) in names.enumerate() {
            let spot = spots[nth % AHEAD];
            if let Some(later) = later.next() {
                spots[nth % AHEAD] = self.spot(later);
                self.ask_for(spots[nth % AHEAD]);
            }
            if name != 0 {
                self.remove_at(spot, Place { off: first.off + nth as u32, ..first });
            }
        }
    }

    #[inline]
    fn spot(&self, name: u64) -> Spot {
        let hash = self.hash(name);
        let (segment, first, buckets) = self.segment(hash);
        let tag = tag(hash);
        Spot { tag, segment, first, buckets, home: home(tag, buckets) }
    }

    #[inline]
    fn ask_for(&self, spot: Spot) {
        prefetch(self.lines.at((spot.first + spot.home) as usize));
    }

    #[inline]
    fn find(&self, name: u64, spot: Spot, name_of: impl Fn(Place) -> u64) -> Option<Place> {
        let mut bucket = spot.home;
        for _ in 0..spot.buckets {
            let line = self.line(spot, bucket);
            let seen = look(line, spot.tag);
            if let Some(place) = seen.alike(line, |place| name_of(place) == name) {
                return Some(place);
            }
            if !seen.is_passed {
                return None;
            }
            bucket = next(bucket, spot.buckets);
        }
        None
    }

    #[inline]
    fn insert_at(&mut self, mut spot: Spot, name: u64, own: Place, name_of: impl Fn(Place) -> u64) -> Inserted {
        let mut inserted = Inserted::New;
        let segment = &self.segments[spot.segment as usize];
        if segment.len >= segment.most {
            if self.find(name, spot, &name_of).is_some() {
                return Inserted::Known;
            }
            self.grow(spot.segment as usize, &name_of);
            inserted = Inserted::Grown;
            spot = self.spot(name);
        }
        let mut bucket = spot.home;
        let mut free = None;
        // Every bucket may be one that names pass by: once around is enough.
        for _ in 0..spot.buckets {
            let line = self.line(spot, bucket);
            let seen = look(line, spot.tag);
            if seen.alike(line, |place| name_of(place) == name).is_some() {
                return Inserted::Known;
            }
            if free.is_none() {
                free = line.iter().position(is_empty).map(|slot| (bucket, slot));
            }
            if free.is_some() && !seen.is_passed {
                break;
            }
            bucket = next(bucket, spot.buckets);
        }
        let (end, slot) = free.expect("a segment grows before it is full");
        self.pass_until(spot, end, true);
        self.set(spot.first + end, slot, pack(own) | spot.tag);
        self.segments[spot.segment as usize].len += 1;
        self.len += 1;
        inserted
    }

    #[inline]
    fn remove_at(&mut self, spot: Spot, own: Place) -> bool {
        let mut bucket = spot.home;
        for _ in 0..spot.buckets {
            let line = self.line(spot, bucket);
            let seen = look(line, spot.tag);
            if let Some(slot) = seen.slot(line, pack(own) | spot.tag) {
                self.set(spot.first + bucket, slot, 0);
                self.segments[spot.segment as usize].len -= 1;
                self.len -= 1;
                self.pass_until(spot, bucket, false);
                if seen.is_passed {
                    self.pull(spot, bucket, slot);
                }
                return true;
            }
            if !seen.is_passed {
                return false;
            }
            bucket = next(bucket, spot.buckets);
        }
        false
    }

    #[inline]
    fn line(&self, spot: Spot, bucket: u32) -> &Line {
        self.lines.at((spot.first + bucket) as usize)
    }

    /// The first bits choose a segment, the last ones a bucket in it.
    #[inline]
    const fn hash(&self, name: u64) -> u64 {
        let mixed = (name ^ self.secret).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed ^ (mixed >> 32)).wrapping_mul(self.secret)
    }

    /// Number, first bucket and number of buckets of a segment.
    #[inline]
    fn segment(&self, hash: u64) -> (u32, u32, u32) {
        let entry = if self.bits == 0 { 0 } else { hash >> (64 - self.bits) };
        let segment = self.directory[entry as usize];
        let (first, low) = ((segment >> 32) as u32, segment as u32);
        (low >> BUCKET_BITS, first, low & ((1 << BUCKET_BITS) - 1))
    }

    /// Fills a slot, without what it says for its bucket.
    #[inline]
    fn set(&self, line: u32, slot: usize, to: u64) {
        let slot = &self.lines.at(line as usize)[slot];
        slot.store(slot.load(Ordering::Relaxed) & PASSED | to, Ordering::Relaxed);
    }

    /// One name more, or less, passes a bucket by.
    #[inline]
    fn pass(&self, line: u32, more: bool) {
        let line = self.lines.at(line as usize);
        let count = passed(line);
        let new = match (count, more) {
            (OFTEN, _) | (0, false) => return,
            (_, true) => count + 1,
            (_, false) => count - 1,
        };
        for (nth, slot) in line.iter().enumerate() {
            let old = slot.load(Ordering::Relaxed);
            slot.store(old & !PASSED | new >> nth & 1, Ordering::Relaxed);
        }
    }

    /// One name more, or less, passes the buckets by from its own one up to this.
    #[inline]
    fn pass_until(&self, spot: Spot, end: u32, more: bool) {
        let mut bucket = spot.home;
        while bucket != end {
            self.pass(spot.first + bucket, more);
            bucket = next(bucket, spot.buckets);
        }
    }

    /// Fills a slot that became free with a name that had to pass its bucket by, and then the slot of that one, and so on.
    fn pull(&self, segment: Spot, mut bucket: u32, mut slot: usize) {
        while let Some((from, from_slot)) = self.passer(segment, bucket) {
            let moved = self.line(segment, from)[from_slot].load(Ordering::Relaxed) & !PASSED;
            self.set(segment.first + from, from_slot, 0);
            self.set(segment.first + bucket, slot, moved);
            self.pass_until(Spot { home: bucket, ..segment }, from, false);
            (bucket, slot) = (from, from_slot);
        }
    }

    /// The nearest name behind a bucket that passed it by.
    fn passer(&self, segment: Spot, bucket: u32) -> Option<(u32, usize)> {
        let Spot { buckets, .. } = segment;
        let mut from = bucket;
        for far in 1..buckets {
            if passed(self.line(segment, from)) == 0 {
                return None;
            }
            from = next(from, buckets);
            for (nth, slot) in self.line(segment, from).iter().enumerate() {
                let slot = slot.load(Ordering::Relaxed);
                let home = home(slot & TAG, buckets);
                let by = if from >= home { from - home } else { from + buckets - home };
                if place(slot).is_some() && by >= far {
                    return Some((from, nth));
                }
            }
        }
        None
    }

    /// Makes a segment that is full anew.
    #[cold]
    fn grow(&mut self, owner: usize, name_of: impl Fn(Place) -> u64) {
        let old = self.segments[owner];
        if old.buckets < MAX_BUCKETS {
            let buckets = (2 * old.buckets).min(MAX_BUCKETS);
            let first = self.take(buckets);
            self.segments[owner] = Segment { first, buckets, most: most(owner, buckets), ..old };
            self.pour(old, [first; 2], buckets, |_| 0);
            self.publish(owner);
        } else {
            if old.depth == self.bits {
                self.double();
            }
            let buckets = MAX_BUCKETS / 3 * 2;
            let halves = [self.take(buckets), self.take(buckets)];
            let half_of = |place| (self.hash(name_of(place)) >> (63 - old.depth) & 1) as usize;
            let len = self.pour(old, halves, buckets, half_of);
            let other = self.segments.len();
            let half = |half: usize| Segment {
                first: halves[half],
                buckets,
                depth: old.depth + 1,
                prefix: old.prefix << 1 | half as u32,
                len: len[half],
                most: most([owner, other][half], buckets),
            };
            self.segments[owner] = half(0);
            self.segments.push(half(1));
            self.publish(owner);
            self.publish(other);
        }
        self.free.push((old.first, old.buckets));
    }

    /// Puts the names of a segment that is full into new ones of so many buckets; says how many went where.
    fn pour(&self, old: Segment, into: [u32; 2], buckets: u32, half_of: impl Fn(Place) -> usize) -> [u32; 2] {
        let mut len = [0; 2];
        for line in old.first..old.first + old.buckets {
            // All at once, since each of them may have to be fetched.
            let slots = self.lines.at(line as usize).each_ref().map(|slot| slot.load(Ordering::Relaxed) & !PASSED);
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
        let mut bucket = home(new & TAG, buckets);
        loop {
            let line = self.lines.at((first + bucket) as usize);
            for slot in line {
                if is_empty(slot) {
                    slot.store(new | slot.load(Ordering::Relaxed), Ordering::Relaxed);
                    return;
                }
            }
            self.pass(first + bucket, true);
            bucket = next(bucket, buckets);
        }
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
        self.directory = self.directory.iter().flat_map(|&entry| [entry; 2]).collect();
    }

    fn publish(&mut self, number: usize) {
        let Segment { first, buckets, .. } = self.segments[number];
        let entry = u64::from(first) << 32 | (number as u64) << BUCKET_BITS | u64::from(buckets);
        let entries = self.entries(number);
        self.directory[entries].fill(entry);
    }

    /// Empty buckets that follow each other.
    fn take(&mut self, buckets: u32) -> u32 {
        if let Some(place) = self.free.iter().position(|&(_, len)| len == buckets) {
            let (first, _) = self.free.swap_remove(place);
            for line in self.lines.cells(first as usize, buckets as usize) {
                line.iter().for_each(|slot| slot.store(0, Ordering::Relaxed));
            }
            return first;
        }
        let first = Stable::<Line>::fit(self.next_line, buckets as usize);
        self.bytes += self.lines.reserve(first, buckets as usize);
        self.next_line = first + buckets as usize;
        u32::try_from(first).expect("2^32 lines are 256 GiB")
    }
}

#[inline]
const fn tag(hash: u64) -> u64 {
    hash << 1 & TAG
}

/// The first bits of a tag choose the bucket.
#[inline]
const fn home(tag: u64, buckets: u32) -> u32 {
    (((tag >> 1) * buckets as u64) >> TAG_BITS) as u32
}

#[inline]
const fn pack(place: Place) -> u64 {
    (place.run as u64) << RUN_AT | (place.off as u64) << OFF_AT
}

#[inline]
const fn place(slot: u64) -> Option<Place> {
    let (run, off) = ((slot >> RUN_AT) as u32, (slot >> OFF_AT) as u32 & (MAX_OFF - 1) as u32);
    if run == super::ROOT { None } else { Some(Place { run, off }) }
}

/// The first run has a number above 0.
#[inline]
fn is_empty(slot: &AtomicU64) -> bool {
    slot.load(Ordering::Relaxed) <= PASSED
}

/// How many names passed a bucket by.
#[inline]
fn passed(line: &Line) -> u64 {
    line.iter().enumerate().map(|(nth, slot)| (slot.load(Ordering::Relaxed) & PASSED) << nth).sum()
}

/// How many names a segment has when it is full.
const fn most(number: usize, buckets: u32) -> u32 {
    let full = FULL + ((number as u32).wrapping_mul(0x9e37_79b9) >> 16) % SPREAD;
    buckets * SLOTS as u32 * full / 100
}

#[inline]
const fn next(bucket: u32, buckets: u32) -> u32 {
    if bucket + 1 == buckets { 0 } else { bucket + 1 }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    /// The n-th place there is, in runs of ten blocks.
    fn place(n: u64) -> Place {
        Place { run: (n / 10) as u32 + 1, off: (n % 10) as u32 }
    }

    /// Any name stands at the place of its number.
    fn name_of(place: Place) -> u64 {
        u64::from(place.run - 1) * 10 + u64::from(place.off)
    }

    fn nobody_passes(names: &Names) -> bool {
        let lines = names.segments.iter().flat_map(|segment| segment.first..segment.first + segment.buckets);
        lines.into_iter().all(|line| passed(names.lines.at(line as usize)) == 0)
    }

    #[test]
    fn every_name_is_found_while_segments_grow_and_none_when_they_are_empty() {
        const NAMES: u64 = 50_000;
        let mut names = Names::new(0x5eed);
        for name in 0..NAMES {
            assert!(names.insert(name, place(name), name_of));
            assert!(!names.insert(name, place(NAMES), name_of), "it is there already");
        }
        assert_eq!(names.len(), NAMES as usize);
        assert!((0..NAMES).all(|name| names.get(name, name_of) == Some(place(name))));
        assert!((NAMES..2 * NAMES).all(|name| names.get(name, name_of).is_none()));
        assert!(!names.remove(7, place(8)), "it is elsewhere");
        assert!((0..NAMES).all(|name| names.remove(name, place(name))));
        assert!((0..NAMES).all(|name| !names.remove(name, place(name)) && names.get(name, name_of).is_none()));
        assert_eq!(names.len(), 0);
        assert!(nobody_passes(&names));
    }

    #[test]
    fn a_name_takes_little_more_than_its_slot() {
        const NAMES: u64 = 1_000_000;
        let mut names = Names::new(0x5eed);
        for run in 0..NAMES / 10 {
            let new: Vec<u64> = (run * 10..run * 10 + 10).collect();
            names.insert_all(&new, place(run * 10), name_of, |_, is_new| assert!(is_new));
        }
        let segments: u32 = names.segments.iter().map(|segment| segment.buckets).sum();
        let each = segments as usize * size_of::<Line>() / NAMES as usize;
        assert!((9..=13).contains(&each), "{each} bytes");
    }

    proptest! {
        #[test]
        fn names_are_a_map(
            secret: u64,
            steps in proptest::collection::vec((1..300_u64, 1..30_u64, any::<bool>()), 0..300),
        ) {
            let (mut names, mut model) = (Names::new(secret), HashMap::new());
            for (first, len, is_new) in steps {
                let range: Vec<u64> = (first..first + len).collect();
                if is_new {
                    let mut new = Vec::new();
                    names.insert_all(&range, place(first), name_of, |nth, is_new| new.push((range[nth], is_new)));
                    // Blocks stand in one run: what lies in the next one is elsewhere, and named there.
                    let wanted: Vec<_> = range.iter().map(|&name| (name, !model.contains_key(&name))).collect();
                    prop_assert_eq!(new, wanted);
                    for (nth, &name) in range.iter().enumerate() {
                        let stands = Place { off: place(first).off + nth as u32, ..place(first) };
                        model.entry(name).or_insert(stands);
                    }
                } else {
                    let known = model.get(&first).copied();
                    prop_assert_eq!(known.is_some_and(|place| names.remove(first, place)), model.remove(&first).is_some());
                }
                prop_assert_eq!(names.len(), model.len());
            }
            for name in 1..330 {
                prop_assert_eq!(names.get(name, name_of), model.get(&name).copied());
            }
            let left: Vec<_> = model.into_iter().collect();
            for (name, place) in left {
                names.remove_all([name, 0].into_iter(), place);
            }
            prop_assert!(names.len() == 0 && nobody_passes(&names));
        }
    }
}
