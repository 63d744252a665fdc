//! From a shared name to its place: a hash table in which a name takes eight bytes.
//!
//! A slot has the place and some bits of the name's hash, its *tag*, but not the name: that stands in its run, and is looked
//! at there when the tag is the same. A bucket is one cache line of eight slots, and counts the names that passed it by
//! on their way to a later one. Only the writer searches, so a name that had to pass its bucket by moves back when a slot
//! becomes free.
//!
//! Buckets lie in segments, which a directory finds by the first bits of a hash. A segment that is full is made anew, larger
//! or in two, so that no growth takes long. The former needs the tags alone; the latter looks at every name.

mod bucket;
mod segments;
#[cfg(test)]
mod tests;

use self::bucket::{Bucket, home, look, next, pack, pass, passed, place, set, slot, tag};
pub(super) use self::bucket::{MAX_OFF, MAX_RUNS};
use self::segments::Segments;
use super::Place;
use super::memory::prefetch;

/// How many names ahead their buckets are asked for.
const AHEAD: usize = 16;

/// Names and their places; the names themselves stand in the runs.
#[derive(Debug)]
pub(super) struct Names {
    segments: Segments,
    len: usize,
    /// Not known to those who can choose names.
    secret: u64,
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

impl Names {
    /// Who does not know the secret cannot choose names that lie together.
    pub(super) fn new(secret: u64) -> Self {
        Self { segments: Segments::new(), len: 0, secret: secret | 1 }
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// Whether there is room for some thousands more: there is for ten thousand million.
    #[inline]
    pub(super) fn have_room(&self) -> bool {
        !self.segments.are_many()
    }

    /// Bytes that were asked of the system.
    pub(super) fn bytes(&self) -> usize {
        self.segments.bytes()
    }

    /// Asks for the bucket of a name.
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
                let was_there = self.remove_at(spot, Place { off: first.off + nth as u32, ..first });
                debug_assert!(was_there, "a name that stands in a run leads there");
            }
        }
    }

    #[inline]
    fn spot(&self, name: u64) -> Spot {
        let hash = hash(self.secret, name);
        let (segment, first, buckets) = self.segments.of(hash);
        let tag = tag(hash);
        Spot { tag, segment, first, buckets, home: home(tag, buckets) }
    }

    #[inline]
    fn ask_for(&self, spot: Spot) {
        prefetch(self.bucket(spot, spot.home));
    }

    #[inline]
    fn bucket(&self, spot: Spot, at: u32) -> &Bucket {
        self.segments.bucket(spot.first + at)
    }

    #[inline]
    fn find(&self, name: u64, spot: Spot, name_of: impl Fn(Place) -> u64) -> Option<Place> {
        let mut at = spot.home;
        for _ in 0..spot.buckets {
            let bucket = self.bucket(spot, at);
            let seen = look(bucket, spot.tag);
            if let Some(place) = seen.place(bucket, |place| name_of(place) == name) {
                return Some(place);
            }
            if !seen.is_passed {
                return None;
            }
            at = next(at, spot.buckets);
        }
        None
    }

    #[inline]
    fn insert_at(&mut self, mut spot: Spot, name: u64, own: Place, name_of: impl Fn(Place) -> u64) -> Inserted {
        let mut inserted = Inserted::New;
        if self.segments.is_full(spot.segment) {
            if self.find(name, spot, &name_of).is_some() {
                return Inserted::Known;
            }
            self.grow(spot.segment, &name_of);
            inserted = Inserted::Grown;
            spot = self.spot(name);
        }
        let mut at = spot.home;
        let mut free = None;
        // Every bucket may be one that names pass by: once around is enough.
        for _ in 0..spot.buckets {
            let bucket = self.bucket(spot, at);
            let seen = look(bucket, spot.tag);
            if seen.place(bucket, |place| name_of(place) == name).is_some() {
                return Inserted::Known;
            }
            if free.is_none() {
                free = seen.empty().map(|nth| (at, nth));
            }
            if free.is_some() && !seen.is_passed {
                break;
            }
            at = next(at, spot.buckets);
        }
        let (at, nth) = free.expect("a segment grows before it is full");
        self.pass_until(spot, at, true);
        set(self.bucket(spot, at), nth, pack(own, spot.tag));
        self.segments.add(spot.segment);
        self.len += 1;
        inserted
    }

    #[cold]
    fn grow(&mut self, segment: u32, name_of: impl Fn(Place) -> u64) {
        let Self { segments, secret, .. } = self;
        segments.grow(segment, |place| hash(*secret, name_of(place)));
    }

    #[inline]
    fn remove_at(&mut self, spot: Spot, own: Place) -> bool {
        let mut at = spot.home;
        for _ in 0..spot.buckets {
            let bucket = self.bucket(spot, at);
            let seen = look(bucket, spot.tag);
            if let Some(nth) = seen.slot(bucket, pack(own, spot.tag)) {
                set(bucket, nth, 0);
                self.segments.take_off(spot.segment);
                self.len -= 1;
                self.pass_until(spot, at, false);
                if seen.is_passed {
                    self.pull(spot, at, nth);
                }
                return true;
            }
            if !seen.is_passed {
                return false;
            }
            at = next(at, spot.buckets);
        }
        false
    }

    /// One name more, or less, passes the buckets by from its own one up to this.
    #[inline]
    fn pass_until(&self, spot: Spot, end: u32, more: bool) {
        let mut at = spot.home;
        while at != end {
            pass(self.bucket(spot, at), more);
            at = next(at, spot.buckets);
        }
    }

    /// Fills a slot that became free with a name that had to pass its bucket by, and then the slot of that one, and so on.
    fn pull(&self, spot: Spot, mut at: u32, mut nth: usize) {
        while let Some((from, from_nth)) = self.passer(spot, at) {
            let bucket = self.bucket(spot, from);
            set(self.bucket(spot, at), nth, slot(bucket, from_nth));
            set(bucket, from_nth, 0);
            self.pass_until(Spot { home: at, ..spot }, from, false);
            (at, nth) = (from, from_nth);
        }
    }

    /// The nearest name behind a bucket that passed it by.
    fn passer(&self, spot: Spot, at: u32) -> Option<(u32, usize)> {
        let buckets = spot.buckets;
        let mut from = at;
        for far in 1..buckets {
            if passed(self.bucket(spot, from)) == 0 {
                return None;
            }
            from = next(from, buckets);
            let bucket = self.bucket(spot, from);
            for nth in 0..bucket.len() {
                let slot = slot(bucket, nth);
                let home = home(slot, buckets);
                let by = if from >= home { from - home } else { from + buckets - home };
                if place(slot).is_some() && by >= far {
                    return Some((from, nth));
                }
            }
        }
        None
    }
}

/// The first bits choose a segment, the last ones a bucket in it.
#[inline]
const fn hash(secret: u64, name: u64) -> u64 {
    let mixed = (name ^ secret).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 32)).wrapping_mul(secret);
    mixed ^ (mixed >> 32)
}
