//! A bucket of names: one cache line of eight slots.
//!
//! A slot has the place of a name and its tag, which are bits of its hash. The first bits of all slots together are a number:
//! how many names passed the bucket by on their way to a later one.

use super::super::Place;
use super::super::sync::{AtomicU64, Ordering};

pub(super) const SLOTS: usize = 8;

/// The bit of a slot that is not its own.
const PASSED: u64 = 1;
const TAG_BITS: u32 = 22;
const TAG: u64 = ((1 << TAG_BITS) - 1) << 1;
const OFF_BITS: u32 = 13;
const OFF_AT: u32 = TAG_BITS + 1;
const RUN_AT: u32 = OFF_AT + OFF_BITS;
/// More passed a bucket by than it can count: it stays so until its segment is made anew.
const OFTEN: u64 = (1 << SLOTS) - 1;

/// How many blocks a run can have that a slot can tell apart.
pub(in super::super) const MAX_OFF: usize = 1 << OFF_BITS;
/// Runs with greater numbers have no room in a slot.
pub(in super::super) const MAX_RUNS: usize = 1 << (64 - RUN_AT);

pub(super) type Bucket = [AtomicU64; SLOTS];

/// What was seen in a bucket.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    /// A bit for each slot with the tag that was looked for.
    alike: u32,
    pub(super) is_passed: bool,
}

/// Looks for a tag.
#[inline]
pub(super) fn look(bucket: &Bucket, tag: u64) -> Seen {
    let (mut seen, mut all) = (Seen::default(), 0);
    for (nth, slot) in bucket.iter().enumerate() {
        let slot = slot.load(Ordering::Relaxed);
        all |= slot;
        seen.alike |= u32::from((slot ^ tag) & TAG == 0) << nth;
    }
    seen.is_passed = all & PASSED != 0;
    seen
}

impl Seen {
    /// Slots with the tag.
    #[inline]
    fn slots(self) -> impl Iterator<Item = usize> {
        let rest = |&alike: &u32| Some(alike & (alike - 1)).filter(|&rest| rest != 0);
        let first = Some(self.alike).filter(|&alike| alike != 0);
        std::iter::successors(first, rest).map(|alike| alike.trailing_zeros() as usize)
    }

    /// The place of a name with the tag, if it is the right one.
    #[inline]
    pub(super) fn place(self, bucket: &Bucket, is_it: impl Fn(Place) -> bool) -> Option<Place> {
        self.slots().find_map(|nth| place(slot(bucket, nth)).filter(|&place| is_it(place)))
    }

    /// Which slot with the tag has this in it.
    #[inline]
    pub(super) fn slot(self, bucket: &Bucket, wanted: u64) -> Option<usize> {
        self.slots().find(|&nth| slot(bucket, nth) == wanted)
    }
}

/// What is in a slot, without what it says for its bucket.
#[inline]
pub(super) fn slot(bucket: &Bucket, nth: usize) -> u64 {
    bucket[nth].load(Ordering::Relaxed) & !PASSED
}

/// Fills a slot, or empties it with 0.
#[inline]
pub(super) fn set(bucket: &Bucket, nth: usize, to: u64) {
    let slot = &bucket[nth];
    slot.store(slot.load(Ordering::Relaxed) & PASSED | to, Ordering::Relaxed);
}

/// A slot in which nothing is: the first run has a number above 0.
#[inline]
pub(super) fn empty(bucket: &Bucket) -> Option<usize> {
    bucket.iter().position(|slot| slot.load(Ordering::Relaxed) <= PASSED)
}

/// How many names passed a bucket by.
#[inline]
pub(super) fn passed(bucket: &Bucket) -> u64 {
    bucket.iter().enumerate().map(|(nth, slot)| (slot.load(Ordering::Relaxed) & PASSED) << nth).sum()
}

/// One name more, or less, passes a bucket by.
#[inline]
pub(super) fn pass(bucket: &Bucket, more: bool) {
    let new = match (passed(bucket), more) {
        (OFTEN, _) | (0, false) => return,
        (count, true) => count + 1,
        (count, false) => count - 1,
    };
    for (nth, slot) in bucket.iter().enumerate() {
        slot.store(slot.load(Ordering::Relaxed) & !PASSED | new >> nth & 1, Ordering::Relaxed);
    }
}

/// What a slot has of a hash.
#[inline]
pub(super) const fn tag(hash: u64) -> u64 {
    hash << 1 & TAG
}

/// Which of a segment's buckets is that of a name with this in its slot: the first bits of its tag say so.
#[inline]
pub(super) const fn home(slot: u64, buckets: u32) -> u32 {
    ((((slot & TAG) >> 1) * buckets as u64) >> TAG_BITS) as u32
}

#[inline]
pub(super) const fn pack(place: Place, tag: u64) -> u64 {
    (place.run as u64) << RUN_AT | (place.off as u64) << OFF_AT | tag
}

/// The place in a slot; `None` when it is empty.
#[inline]
pub(super) const fn place(slot: u64) -> Option<Place> {
    let (run, off) = ((slot >> RUN_AT) as u32, (slot >> OFF_AT) as u32 & (MAX_OFF - 1) as u32);
    if run == super::super::ROOT { None } else { Some(Place { run, off }) }
}

/// The bucket behind another; the first one behind the last.
#[inline]
pub(super) const fn next(bucket: u32, buckets: u32) -> u32 {
    if bucket + 1 == buckets { 0 } else { bucket + 1 }
}
