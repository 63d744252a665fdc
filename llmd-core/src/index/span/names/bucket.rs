//! A bucket of names: one cache line of eight slots.
//!
//! A slot has the place of a name and its tag, which are bits of its hash. The first bits of all slots together are a number:
//! how many names passed the bucket by on their way to a later one.

#![cfg_attr(
    target_arch = "x86_64",
    expect(unsafe_code, reason = "vectors are for processors that have them, as this one has")
)]

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
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Seen {
    /// A bit for each slot with the tag that was looked for.
    alike: u32,
    /// A bit for each slot in which nothing is: the first run has a number above 0.
    empty: u32,
    pub(super) is_passed: bool,
}

/// Looks for a tag.
#[inline]
pub(super) fn look(bucket: &Bucket, tag: u64) -> Seen {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86-64 has SSE2.
    return unsafe { look_at_once(bucket, tag) };
    #[cfg(not(target_arch = "x86_64"))]
    look_one_by_one(bucket, tag)
}

#[cfg_attr(target_arch = "x86_64", cfg_attr(not(test), expect(dead_code, reason = "what the other one is held to")))]
#[inline]
fn look_one_by_one(bucket: &Bucket, tag: u64) -> Seen {
    let (mut seen, mut all) = (Seen::default(), 0);
    for (nth, slot) in bucket.iter().enumerate() {
        let slot = slot.load(Ordering::Relaxed);
        all |= slot;
        seen.alike |= u32::from((slot ^ tag) & TAG == 0) << nth;
        seen.empty |= u32::from(slot <= PASSED) << nth;
    }
    seen.is_passed = all & PASSED != 0;
    seen
}

/// Tag and bit stand in the lower half of a slot, the run in the upper one: four halves are looked at together.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "sse2")]
#[inline]
fn look_at_once(bucket: &Bucket, tag: u64) -> Seen {
    use std::arch::x86_64::{
        __m128i, _mm_and_si128, _mm_castps_si128, _mm_castsi128_ps, _mm_cmpeq_epi32, _mm_movemask_ps, _mm_or_si128,
        _mm_set_epi64x, _mm_set1_epi32, _mm_setzero_si128, _mm_shuffle_ps, _mm_slli_epi32,
    };

    const LOWER: i32 = 0b10_00_10_00;
    const UPPER: i32 = 0b11_01_11_01;
    let slot = |nth: usize| bucket[nth].load(Ordering::Relaxed).cast_signed();
    let four = |nth: usize| {
        let two = |nth: usize| _mm_castsi128_ps(_mm_set_epi64x(slot(nth + 1), slot(nth)));
        let (first, last) = (two(nth), two(nth + 2));
        let lower = _mm_castps_si128(_mm_shuffle_ps::<LOWER>(first, last));
        (lower, _mm_castps_si128(_mm_shuffle_ps::<UPPER>(first, last)))
    };
    let bits = |equal: __m128i| _mm_movemask_ps(_mm_castsi128_ps(equal)).cast_unsigned();
    let (tags, wanted) = (_mm_set1_epi32(TAG as i32), _mm_set1_epi32((tag & TAG) as i32));
    let alike = |lower: __m128i| bits(_mm_cmpeq_epi32(_mm_and_si128(lower, tags), wanted));
    let runs = _mm_set1_epi32(-1 << (RUN_AT - 32));
    let empty = |upper: __m128i| bits(_mm_cmpeq_epi32(_mm_and_si128(upper, runs), _mm_setzero_si128()));
    let ((lower, upper), (later_lower, later_upper)) = (four(0), four(4));
    Seen {
        alike: alike(lower) | alike(later_lower) << 4,
        empty: empty(upper) | empty(later_upper) << 4,
        is_passed: bits(_mm_slli_epi32::<31>(_mm_or_si128(lower, later_lower))) != 0,
    }
}

impl Seen {
    /// Slots with the tag.
    #[inline]
    fn slots(self) -> impl Iterator<Item = usize> {
        let rest = |&alike: &u32| Some(alike & (alike - 1)).filter(|&rest| rest != 0);
        let first = Some(self.alike).filter(|&alike| alike != 0);
        std::iter::successors(first, rest).map(|alike| alike.trailing_zeros() as usize)
    }

    /// The first slot in which nothing is.
    #[inline]
    pub(super) fn empty(self) -> Option<usize> {
        Some(self.empty.trailing_zeros() as usize).filter(|&nth| nth < SLOTS)
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Few tags and runs, so that some are alike and some are empty.
        #[test]
        fn slots_are_seen_alike_at_once_and_one_by_one(
            slots in prop::array::uniform8((0..3_u64, 0..3_u32, 0..3_u32, 0..2_u64)),
            wanted in 0..3_u64,
        ) {
            let tag_of = |number: u64| tag(number * 0x15_5555);
            let slots = slots.map(|(tag, run, off, passed)| match run {
                0 => passed,
                _ => pack(Place { run: run * 0x7ff_ffff, off: off * 0xfff }, tag_of(tag)) | passed,
            });
            let bucket: Bucket = slots.map(AtomicU64::new);
            prop_assert_eq!(look(&bucket, tag_of(wanted)), look_one_by_one(&bucket, tag_of(wanted)));
            let first = slots.iter().position(|&slot| slot <= PASSED);
            prop_assert_eq!(look(&bucket, 0).empty(), first);
        }
    }
}
